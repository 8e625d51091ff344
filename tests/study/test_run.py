"""A study from end to end: causal chain, money, variants and what the DSO may see."""

from __future__ import annotations

import itertools
import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from heila_mosaik.domain.profiles import Follower
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.store import RunFolderExistsError
from heila_mosaik.study import run as study_run
from heila_mosaik.study.run import run_scenario

KINDS = (
    "ActivationNotification",
    "Bid",
    "ControlSignal",
    "FlexibilityForecast",
    "FlexibilityRequest",
    "Measurements",
    "Offer",
    "OfferList",
    "OperationPlan",
    "PriceForecast",
    "ReserveNotification",
    "SettlementStatement",
    "VerificationNotification",
    "WeatherForecast",
)


def sent(run: RunFolder, kind: str) -> dict[str, tuple[pd.Timestamp, dict]]:
    """First sending and body of each object of a kind, by identity."""
    rows = run.messages[run.messages["kind"] == kind].sort_values("sent_at", kind="stable")
    found: dict[str, tuple[pd.Timestamp, dict]] = {}
    for at, body in zip(rows["sent_at"], map(json.loads, rows["body"]), strict=True):
        found.setdefault(body["id"], (at, body))
    return found


def test_every_information_object_of_the_sequence_occurs(congested):
    assert congested.status == congested.baseline.status == "complete"
    assert not congested.damaged()
    assert set(KINDS) <= set(congested.messages["kind"])
    assert set(congested.messages["status"]) == {"delivered"}
    assert (congested.messages["delivered_at"] > congested.messages["sent_at"]).all()
    assert congested.messages["id"].is_unique


def test_cause_comes_before_effect(congested):
    offers, requests, lists, bids, reserves, activations, verifications, settlements = (
        sent(congested, kind)
        for kind in (
            "Offer",
            "FlexibilityRequest",
            "OfferList",
            "Bid",
            "ReserveNotification",
            "ActivationNotification",
            "VerificationNotification",
            "SettlementStatement",
        )
    )
    for at, body in lists.values():
        assert requests[body["request"]][0] < at
        assert all(offers[offer["id"]][0] < at for offer in body["offers"])
    bid_on: dict[str, pd.Timestamp] = {}
    for at, body in bids.values():
        assert any(listed < at for listed, other in lists.values() if other["request"] == body["request"])
        bid_on |= {purchase["offer"]: at for purchase in body["purchases"]}
    for at, body in reserves.values():
        assert bid_on[body["offer"]] < at
        offer = offers[body["offer"]][1]
        assert offer["p_min_mw"] - 1e-9 <= body["p_min_mw"] <= body["p_max_mw"] <= offer["p_max_mw"] + 1e-9
        assert (body["location"], body["start"]) == (offer["location"], offer["start"])
        assert at < pd.Timestamp(body["start"])
    assert activations
    for at, body in activations.values():
        when, reserve = reserves[body["reserve"]]
        assert when < at
        assert reserve["p_min_mw"] - 1e-9 <= body["p_mw"] <= reserve["p_max_mw"] + 1e-9
        assert pd.Timestamp(reserve["start"]) <= pd.Timestamp(body["start"])
        assert pd.Timestamp(body["stop"]) <= pd.Timestamp(reserve["stop"])
    for at, body in verifications.values():
        assert reserves[body["reserve"]][0] < at
        assert pd.Timestamp(body["stop"]) <= at
    called = {body["reserve"] for _, body in activations.values()}
    assert called & {body["reserve"] for _, body in verifications.values()}
    for at, body in settlements.values():
        assert verifications[body["verification"]][0] < at
        assert verifications[body["verification"]][1]["reserve"] == body["reserve"]


def test_activation_travels_from_the_dso_to_the_devices(congested):
    rows = congested.messages[congested.messages["kind"] == "ActivationNotification"]
    assert {("dms", "ams")} < set(zip(rows["sender"], rows["receiver"], strict=True))
    receivers = set(rows.loc[rows["sender"] == "ams", "receiver"])
    assert receivers
    assert all(name.startswith("mgms_") for name in receivers)
    controls = congested.messages[congested.messages["kind"] == "ControlSignal"]
    assert all(name.startswith("mgms_") for name in controls["sender"])
    assert all(name.startswith(("cems_", "ied_")) for name in controls["receiver"])


def test_activation_moves_power_the_wanted_way(congested):
    """Over all activations, the points of common coupling move against the same day without trade as asked."""
    moved = congested.series("pcc_p_mw") - congested.baseline.series("pcc_p_mw")
    activations = sent(congested, "ActivationNotification").values()
    asked = sum(body["p_mw"] for _, body in activations)
    places = {body["location"] for _, body in activations}
    got = 0.0
    for _, body in activations:
        inside = (moved.index > pd.Timestamp(body["start"])) & (moved.index <= pd.Timestamp(body["stop"]))
        got += moved.loc[inside, body["location"]].sum() if inside.any() else 0.0
    assert places
    assert abs(asked) > 0
    assert np.sign(asked) == np.sign(got)


def test_payments_balance_and_rest_on_the_verification(congested):
    settlements = sent(congested, "SettlementStatement").values()
    verifications, reserves = sent(congested, "VerificationNotification"), sent(congested, "ReserveNotification")
    accounts: dict[str, float] = defaultdict(float)
    for _, body in settlements:
        total = body["availability_eur"] + body["activation_eur"] + body["reactive_eur"] - body["penalty_eur"]
        accounts[body["payer"]] -= total
        accounts[body["payee"]] += total
        reserve, verification = reserves[body["reserve"]][1], verifications[body["verification"]][1]
        assert (body["payer"], body["payee"]) == (reserve["buyer"], reserve["seller"])
        hours = verification["step_s"] / 3600.0
        requested = sum(verification["requested_p_mw"]) * hours
        assert body["requested_mwh"] == pytest.approx(requested, abs=1e-9)
        assert abs(body["activation_eur"]) == pytest.approx(
            abs(body["delivered_mwh"]) * reserve["price_eur_per_mwh"], abs=1e-6
        )
    assert sum(accounts.values()) == pytest.approx(0.0, abs=1e-9)
    periods = [(body["reserve"], body["start"]) for _, body in settlements]
    assert len(periods) == len(set(periods))


def test_verification_measures_what_was_recorded(congested):
    """Measured power in verifications of microgrids is the recorded one within meter noise."""
    pcc = congested.series("pcc_p_mw")
    size = congested.series("resource_p_mw").abs().sum(axis=1)
    checked = 0
    for _, body in sent(congested, "VerificationNotification").values():
        if body["location"] not in pcc:
            continue  # a resource verified itself
        start, step = pd.Timestamp(body["start"]), pd.Timedelta(seconds=body["step_s"])
        for k, value in enumerate(body["measured_p_mw"]):
            at = (start + k * step).floor("900s")
            assert value == pytest.approx(pcc.loc[at, body["location"]], abs=0.025 * size[at])
            checked += 1
    assert checked


@pytest.mark.parametrize(
    "changes",
    [
        {"microgrids": {"control": "centralised"}},
        {"microgrids": {"control": "distributed"}},
        {"market": {"commercial": "mgms_prices"}},
        {"market": {"clearing": "pay_as_clear"}},
        {"market": {"product": "CRP-2"}},
        {"market": {"product": "SRP"}},
        {"microgrids": {"baseline_method": "meter_before"}},
    ],
    ids=lambda changes: "-".join(str(v) for part in changes.values() for v in part.values()),
)
def test_every_variant_trades(changes, make_scenario, tmp_path):
    out = run_scenario(
        make_scenario(start="2016-08-22T06:00:00+00:00", duration_h=4, **changes), tmp_path / "run", baseline=False
    )
    run = RunFolder(out)
    assert run.status == "complete"
    reserves = run.bodies("ReserveNotification")
    assert reserves
    delivered = [body for body in reserves if pd.Timestamp(body["start"]) < pd.Timestamp("2016-08-22T09:00Z")]
    settled = {body["reserve"] for body in run.bodies("SettlementStatement")}
    assert {body["id"] for body in delivered} == settled & {body["id"] for body in delivered}
    wanted = changes.get("market", {}).get("product", "CRP")
    assert {body["product"] for body in reserves} == {wanted}
    if changes.get("market", {}).get("commercial") == "mgms_prices":
        assert any(body["price_up_eur_per_mwh"] for body in run.bodies("FlexibilityForecast"))


def test_the_dso_cannot_read_the_plant(make_scenario, tmp_path, monkeypatch):
    """With telemetry cut, all that is said and decided is the same whatever the plain loads really draw."""
    world = study_run.run_world

    def messages(name: str, factor: float, cut: bool) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        def run(parts):
            grown = {
                key: Follower(rating=f.rating * (factor if key.startswith("load_") else 1.0), column=f.column)
                for key, f in parts.followers.items()
            }
            world(replace(parts, followers=grown, measuring=None if cut else parts.measuring))

        monkeypatch.setattr(study_run, "run_world", run)
        run_folder = RunFolder(run_scenario(make_scenario(duration_h=1.5), tmp_path / name, baseline=False))
        return run_folder.messages, run_folder.records, run_folder.series("bus_vm_pu")

    plain, heavy = messages("plain", 1.0, True), messages("heavy", 1.5, True)
    assert np.abs(plain[2] - heavy[2]).max().max() > 1e-4
    pd.testing.assert_frame_equal(plain[0], heavy[0])
    pd.testing.assert_frame_equal(plain[1], heavy[1])
    seen = messages("seen", 1.5, False)
    assert (seen[1]["event"] == "state_estimated").any()
    assert not seen[0].equals(heavy[0])


def test_without_flexibility_there_is_one_run_and_no_buyer(make_scenario, tmp_path):
    run = RunFolder(run_scenario(make_scenario(duration_h=1, flexibility=False), tmp_path / "run"))
    assert run.baseline is None
    assert "estimate_vm_pu" not in run.tables()
    assert not {"dms", "sau"} & set(run.messages["sender"])
    assert not {"Bid", "ReserveNotification"} & set(run.messages["kind"])


def test_progress_covers_both_runs(congested, make_scenario, tmp_path):
    seen = []
    run_scenario(make_scenario(duration_h=0.5), tmp_path / "run", progress=seen.append)
    phases = [phase for phase, _ in itertools.groupby(item.phase for item in seen)]
    assert phases == ["build", "baseline", "flexibility"]
    assert all(item.start <= item.simulated <= item.stop for item in seen)
    with pytest.raises(RunFolderExistsError):
        run_scenario(make_scenario(duration_h=0.5), tmp_path / "run")


def test_an_error_in_mid_run_leaves_a_readable_folder(make_scenario, tmp_path):
    def stop(progress):
        if progress.phase == "flexibility" and progress.simulated.minute == 45:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_scenario(make_scenario(duration_h=1), tmp_path / "run", progress=stop)
    run = RunFolder(tmp_path / "run")
    assert run.status == "incomplete"
    assert len(run.series("bus_vm_pu")) >= 3
    assert run.baseline.status == "complete"
