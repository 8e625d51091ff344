"""A study with the virtual laboratory in the loop: one short run that several tests look at."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from heila_mosaik.bridges.audit import verify_audit
from heila_mosaik.bridges.iec104.client import LinkSettings
from heila_mosaik.bridges.lab_child import virtual_lab
from heila_mosaik.bridges.point_files import load_points
from heila_mosaik.cli.hil_dashboard import page
from heila_mosaik.domain.realtime import Overrun
from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.hil import HilRecord
from heila_mosaik.results.hil_figures import hil_figures, hil_sentences
from heila_mosaik.results.report import write_report
from heila_mosaik.study.hil import HilOptions, RehearsalTooSlowError, check_hil, run_hil
from heila_mosaik.study.hil_replay import NothingToReplayError, replay_hil
from heila_mosaik.study.loader import load_scenario

SCENARIOS = Path(__file__).parents[2] / "scenarios"
SHORT = SCENARIOS / "multipower_hil_short.yaml"
POINTS = SCENARIOS / "multipower_points.csv"
ARMED = ("breaker_command", "der_p_setpoint", "der_q_setpoint")


@pytest.fixture(scope="module")
def port():
    with virtual_lab(POINTS) as found:
        yield found


def _options(port: int, **changes) -> HilOptions:
    base = HilOptions(
        points=POINTS, link=LinkSettings(host="127.0.0.1", port=port), speed=1000.0, overrun=Overrun.CATCH_UP,
        who="test", connect_s=60.0, baseline=False, rehearsal=False, study_timeout_s=30.0,
    )  # fmt: skip
    return replace(base, **changes)


def _check(port: int, settings=(), **changes):
    options = _options(port, **changes)
    return check_hil(load_scenario(SHORT, settings).scenario, options), options


@pytest.fixture(scope="module")
def shown():
    """Dashboards drawn during the run."""
    return []


@pytest.fixture(scope="module")
def record(port, tmp_path_factory, shown):
    checked, options = _check(port, arm=ARMED)

    def operate(session):
        def draw(monitor):
            console = Console(file=StringIO(), width=160, height=50, force_terminal=True)
            console.print(page(monitor, 50))
            shown.append(console.file.getvalue())

        session.draw = draw

    return HilRecord(RunFolder(run_hil(checked, tmp_path_factory.mktemp("hil") / "run", options, operate=operate)))


def test_a_call_moves_breaker_and_unit_and_is_read_back(record):
    figures = hil_figures(record)
    assert record.run.status == "complete"
    # at this speed the next set point may follow before the read-back of one that changed little
    superseded = figures["orders"].get("superseded", 0)
    assert figures["orders"]["sent"] == figures["orders"]["confirmed"] + superseded
    assert figures["orders"]["confirmed"] > 3 + superseded
    assert not {"unknown", "refused"} & figures["orders"].keys()
    breaker = [e for e in record.events if e["kind"] == "order" and e["name"] == "breaker_command"]
    assert [e["value"] for e in breaker if e["state"] == "sent"][:2] == [0.0, 1.0]
    assert verify_audit(record.folder / "audit.jsonl") == []


def test_what_was_measured_is_what_the_study_computed_with(record):
    measured = record.frame_of_samples()["multipower_der.p_mw"]
    used = record.run.series("resource_p_mw")["multipower_der"]
    assert np.array_equal(measured.to_numpy(), used.to_numpy())
    assert measured.max() > 0.1


def test_the_delivery_of_the_laboratory_is_verified_and_settled(record):
    found = [b for b in record.run.bodies("VerificationNotification") if b["location"] == "multipower"]
    asked = np.array([np.mean(b["requested_p_mw"]) for b in found])
    got = np.array([np.mean(np.subtract(b["measured_p_mw"], b["baseline_p_mw"])) for b in found])
    called = np.abs(asked) > 0.05
    assert called.any()
    # At this speed the breaker takes minutes of the study: the first periods fall short, later ones do not.
    assert np.isclose(got[called], asked[called], atol=0.05).any()
    reserves = {b["reserve"] for b in found}
    assert reserves & {line["reserve"] for s in record.run.bodies("SettlementStatement") for line in _lines(s)}


def _lines(statement: dict) -> list[dict]:
    return statement.get("lines") or [statement]


def test_every_step_has_its_lag_and_the_report_says_so(record):
    assert record.steps["step"].tolist() == list(range(36))
    assert (record.steps["lag_s"] >= 0).all()
    assert "36 steps of 0.3 s at 1000 × real time" in hil_sentences(record)[0]
    html = write_report(record.run.path).read_text(encoding="utf-8")
    assert "Equipment in the loop" in html
    assert "hil-histogram" in html


def test_the_recording_replays_to_the_same_bytes(record, tmp_path):
    drawn = []
    found = replay_hil(record.run.path, tmp_path / "replay", draw=lambda monitor: drawn.append(monitor.done))
    assert found.different == ()
    assert len(found.same) > 10
    assert drawn


def test_the_dashboard_shows_what_an_operator_needs(record, shown):
    assert record.run.status == "complete"
    last = shown[-1]
    for words in ("EMERGENCY STOP", "der_p_setpoint", "breaker_status", "good", "lag p50", "link", "activation"):
        assert words in last


def test_a_dry_run_only_reads(port, tmp_path):
    checked, options = _check(port, ["duration_h=0.5"])
    record = HilRecord(RunFolder(run_hil(checked, tmp_path / "run", options)))
    assert [e for e in record.events if e["kind"] == "order"] == []
    assert {e["reason"] for e in record.events if e["kind"] == "refusal"} <= {"not_armed"}
    assert len(record.readings) > 10


def test_a_rehearsal_that_cannot_keep_the_pace_touches_no_equipment(tmp_path):
    checked, options = _check(1, ["duration_h=0.5"], speed=100_000.0, overrun=Overrun.STOP, rehearsal=True)
    with pytest.raises(RehearsalTooSlowError, match="Nothing was sent") as caught:
        run_hil(checked, tmp_path / "run", options)
    assert 0 < caught.value.possible < 100_000
    assert not (tmp_path / "run" / "hil").exists()
    with pytest.raises(NothingToReplayError):
        replay_hil(tmp_path / "run", tmp_path / "again")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"arm": ("der_p",)}, "--arm"),
        ({"arm_s": 1e6}, "--arm-for"),
        ({"start_at": datetime(2020, 1, 1, tzinfo=UTC)}, "--start-at"),
        ({"start_at": datetime(2999, 1, 1)}, "--start-at"),  # noqa: DTZ001
    ],
)
def test_wrong_options_are_refused_before_anything_is_built(changes, where):
    with pytest.raises(ProblemsError) as caught:
        _check(1, **changes)
    assert [problem.where for problem in caught.value.problems] == [where]


def test_a_start_in_the_future_is_taken():
    checked, _ = _check(1, start_at=datetime.now(UTC) + timedelta(hours=1))
    assert checked.microgrids == ("multipower",)
    assert checked.binding.breakers == ("multipower_pcc",)
    assert set(checked.binding.resources) == {"multipower_der"}


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("multipower_der.p_mw", "multipower_dre.p_mw", "the study has no 'multipower_dre'"),
        ("multipower_pcc.closed", "windhof.closed", "no point measures"),
        ("setpoint_float,kW,0.001,,-0.5,0.5", "setpoint_float,kW,0.001,,-0.2,0.5", "multipower_der has -0.5 to 0.5"),
        ("feeder.p_mw", "windhof.p_mw", "would have to explain the rest"),
    ],
)
def test_points_that_do_not_fit_the_study_are_named_with_their_line(tmp_path, old, new, what):
    text = POINTS.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "points.csv"
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(ProblemsError) as caught:
        _check(1, points=path)
    matching = [problem for problem in caught.value.problems if what in problem.what]
    assert matching
    assert str(path) in matching[0].where


def test_the_power_of_a_whole_microgrid_leaves_the_rest_to_its_load(tmp_path):
    text = POINTS.read_text(encoding="utf-8").replace("feeder.p_mw", "multipower.p_mw")
    path = tmp_path / "points.csv"
    path.write_text(text, encoding="utf-8")
    scenario = load_scenario(SHORT).scenario
    microgrid = scenario.microgrids.also[0]
    load = type(microgrid).model_validate(microgrid.model_dump() | {"resources": [
        *microgrid.model_dump()["resources"], {"name": "rest", "type": "load", "managed_by": "ied", "p_mw": 0.1}
    ]})  # fmt: skip
    changed = scenario.model_copy(
        update={"microgrids": scenario.microgrids.model_copy(update={"also": (load,)})}
    ).placed_in(scenario.folder)
    checked = check_hil(changed, _options(1, points=path))
    assert checked.binding.resources["rest"].element == "multipower"
    assert checked.binding.resources["rest"].less == ("multipower_der",)
    assert load_points(path)["feeder_p"].element == "multipower"
