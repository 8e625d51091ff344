"""The reserve market in a study: bought a day ahead, followed at the sites, verified, settled, sold once."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from heila_mosaik.cli.checking import find_problems
from heila_mosaik.domain.codec import from_json_dict
from heila_mosaik.domain.information import ReserveNotification
from heila_mosaik.domain.reserves import droop_fcr_n, occupied
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.reserves import reserve_figures
from heila_mosaik.results.trades import frequency_reserves
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.run import run_scenario

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios/fcr_day.yaml"
SHORT = ("step_s=60", "duration_h=11")


@pytest.fixture(scope="module")
def cycle(tmp_path_factory):
    """From 16:00 to 03:00 in minutes, the DSO included."""
    scenario = load_scenario(SCENARIO, SHORT).scenario
    return RunFolder(run_scenario(scenario, tmp_path_factory.mktemp("fcr") / "run", baseline=False))


def reserves(run):
    return [from_json_dict("ReserveNotification", body) for body in frequency_reserves(run)]


def test_the_tso_buys_every_hour_of_the_next_day_by_the_published_times(cycle):
    hourly = defaultdict(float)
    for each in reserves(cycle):
        assert isinstance(each, ReserveNotification)
        assert each.buyer == "tso"
        hourly[str(each.product), each.start] += -each.p_min_mw
    first = pd.Timestamp("2016-08-22T00:00:00+03:00")
    assert {start for _, start in hourly} == {first + pd.Timedelta(hours=k) for k in range(24)}
    assert hourly["FCR-N", first] == pytest.approx(0.7)
    assert hourly["FCR-D", first] == pytest.approx(1.0)
    rows = cycle.messages[cycle.messages["kind"] == "ReserveNotification"]
    bought = rows[[json.loads(body)["product"].startswith("FCR") for body in rows["body"]]]
    assert bought["sent_at"].min() >= pd.Timestamp("2016-08-21T22:00:00+03:00")
    assert bought["sent_at"].max() < first


def test_one_marginal_price_an_hour(cycle):
    prices = defaultdict(set)
    for each in reserves(cycle):
        prices[str(each.product), each.start].add(each.availability_eur_per_mw_h)
    assert all(len(found) == 1 for found in prices.values())


def test_the_sites_follow_the_frequency_in_the_truth(cycle):
    """Batteries move against the frequency of the step before, by what was sold, around their plan."""
    frequency, power = cycle.series("frequency_hz")["hz"], cycle.series("resource_p_mw")
    names = [name for name in power.columns if name.endswith("_battery")]
    hour = slice(pd.Timestamp("2016-08-21T21:05Z"), pd.Timestamp("2016-08-21T21:14Z"))
    moved = power.loc[hour, names].sum(axis=1)
    sold = sum(-each.p_min_mw for each in reserves(cycle) if str(each.product) == "FCR-N") / 24.0
    asked = pd.Series(droop_fcr_n(frequency.to_numpy(), sold), index=frequency.index).shift(1).loc[hour]
    # the plan is flat within the quarter: what moves is the droop
    assert np.corrcoef(moved, asked)[0, 1] > 0.98
    assert np.ptp(moved) == pytest.approx(np.ptp(asked), rel=0.1)


def test_verification_and_money(cycle):
    figures = reserve_figures(cycle)
    assert figures is not None
    for product in ("FCR-N", "FCR-D"):
        part = figures["products"][product]
        assert part["periods"] >= 40
        assert part["success_share"] > 0.95
        assert part["maintained_share"] == pytest.approx(1.0, abs=0.02)
    ours = {each.id for each in reserves(cycle)}
    statements = [body for body in cycle.bodies("SettlementStatement") if body["reserve"] in ours]
    assert {(body["payer"], body["payee"]) for body in statements} == {("tso", "ams")}
    keys = [(body["reserve"], body["start"]) for body in statements]
    assert len(keys) == len(set(keys))


def test_what_the_tso_holds_is_not_sold_to_the_dso(cycle):
    """Flexibility offered for congestion plus the range reserves occupy stays within what the microgrid has."""
    held = defaultdict(list)
    for each in reserves(cycle):
        held[each.location].append(each)
    plans = cycle.messages[(cycle.messages["kind"] == "OperationPlan") & (cycle.messages["sender"].str[:4] == "mgms")]
    plans = [(at, json.loads(body)) for at, body in zip(plans["sent_at"], plans["body"], strict=True)]
    cleared = pd.Timestamp("2016-08-21T19:05Z")
    checked = 0
    for body in cycle.bodies("FlexibilityForecast"):
        issued = pd.Timestamp(body["issued_at"])
        if body["product"] != "CRP" or issued < cleared or body["subject"] not in held:
            continue
        whole = max(
            (plan for at, plan in plans if plan["subject"] == body["subject"] and at <= issued + pd.Timedelta("1s")),
            key=lambda plan: plan["issued_at"],
        )["profile"]
        free = body["profile"]
        if whole["start"] != free["start"]:
            continue
        for k in range(8):
            moment = pd.Timestamp(free["start"]) + pd.Timedelta(seconds=free["step_s"] * k)
            ranges = [occupied(each) for each in held[body["subject"]] if each.start <= moment < each.stop]
            up, down = sum(r[0] for r in ranges), sum(r[1] for r in ranges)
            if not ranges:
                continue
            if free["p_min_mw"][k] < free["p_mw"][k] - 1e-9:
                assert free["p_min_mw"][k] - up >= whole["p_min_mw"][k] - 1e-6
            if free["p_max_mw"][k] > free["p_mw"][k] + 1e-9:
                assert free["p_max_mw"][k] + down <= whole["p_max_mw"][k] + 1e-6
            checked += 1
    assert checked >= 16


def test_the_users_own_frequency(tmp_path):
    times = pd.date_range("2016-08-21T13:00Z", periods=3 * 60, freq="1min")
    table = pd.DataFrame({"time": [each.isoformat() for each in times], "frequency_hz": 50.0})
    table.loc[30:, "frequency_hz"] = 49.7
    table.to_csv(tmp_path / "hz.csv", index=False)
    mine = tmp_path / "mine.yaml"
    grid = SCENARIO.parents[1] / "grids/rural_mv"
    text = SCENARIO.read_text(encoding="utf-8").replace("grid: rural_mv", f"grid: {grid}")
    mine.write_text(text.replace("reserves:", "series:\n  frequency: hz.csv\nreserves:"), encoding="utf-8")
    settings = ("step_s=60", "duration_h=1", "market.intraday.enabled=false")
    assert find_problems(mine, settings)[1] == ()
    scenario = load_scenario(mine, settings).scenario
    run = RunFolder(run_scenario(scenario, tmp_path / "run", baseline=False))
    assert run.series("frequency_hz")["hz"].tolist() == [50.0] * 30 + [49.7] * 30
    table["frequency_hz"] -= 50.0
    table.to_csv(tmp_path / "hz.csv", index=False)
    _, problems = find_problems(mine, settings)
    assert any("not its deviation" in problem.remedy for problem in problems)
    (tmp_path / "hz.csv").unlink()
    assert any("hz.csv" in problem.where for problem in find_problems(mine, settings)[1])


def test_shares_of_more_than_the_batteries_are_refused():
    _, problems = find_problems(SCENARIO, ("reserves.fcr_n_share=0.8",))
    assert any("more than the batteries" in problem.what + problem.remedy for problem in problems)
