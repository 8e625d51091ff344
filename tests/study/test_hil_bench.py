from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from heila_mosaik.bridges.audit import verify_audit
from heila_mosaik.bridges.broker import find_mosquitto
from heila_mosaik.bridges.iec104.backends import Backend
from heila_mosaik.cli import bench_hil_tables
from heila_mosaik.cli.app import app
from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.hil import HilRecord
from heila_mosaik.study import hil_bench, hil_bench_lag
from heila_mosaik.study.hil_bench_figures import BenchError, Leg, Rate
from heila_mosaik.study.hil_bench_signals import answer, child

needs_broker = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


@needs_broker
@pytest.mark.parametrize("backend", Backend)
def test_every_way_is_measured_from_end_to_end(tmp_path, monkeypatch, backend):
    monkeypatch.setattr(hil_bench, "_WARM", 0)
    monkeypatch.setattr(hil_bench, "_RATE_S", 1.0)
    legs, rates = asyncio.run(hil_bench.run_bench(tmp_path, count=2, travel_s=0.05, backend=backend, rates=(200.0,)))
    times = {leg.name: min(leg.ms) for leg in legs}
    assert len(times) == len(legs) == 8
    assert all(len(leg.ms) == 2 for leg in legs)
    assert all(ms > 0 for ms in times.values())
    # What passes the breaker takes its travel time, what goes on to a database or another process longer than without.
    assert times["breaker command, MGMS database to read-back"] > 50
    assert times["activation, AMS to relay and back as verification"] > 50
    assert times["feeder voltage, relay to MGMS database"] > times["feeder voltage, relay to study attribute"]
    assert times["set point, study's process to confirmation"] > times["set point, bridge to confirmation"]
    (rate,) = rates
    assert rate.arrived == rate.sent - rate.dropped - rate.reported_lost
    assert verify_audit(tmp_path / "audit.jsonl") == []


def test_the_lag_of_an_armed_study_is_measured_step_by_step(tmp_path, monkeypatch):
    monkeypatch.setattr(hil_bench_lag, "PERIOD_S", 0.2)
    leg = hil_bench_lag.measure_lag(tmp_path / "run", hil_bench_lag.find_scenario(), 5)
    record = HilRecord(RunFolder(tmp_path / "run"))
    assert [1e3 * lag for lag in record.steps["lag_s"]] == list(leg.ms)
    assert len(leg.ms) == 5
    assert {e["name"] for e in record.events if e["kind"] == "phase" and e["phase"] == "armed"} == {
        "breaker_command",
        "der_p_setpoint",
        "der_q_setpoint",
    }


def _say_nothing(plan, pipe):
    if plan == "end":
        return
    pipe.recv()


@pytest.mark.parametrize(("plan", "said"), [("end", "ended by itself"), ("wait", "said nothing for 0.6 s")])
def test_a_process_that_ends_or_hangs_ends_the_measurement(plan, said):
    with child(_say_nothing, plan) as pipe, pytest.raises(BenchError, match=said):
        asyncio.run(answer(pipe, "the station", 20.0 if plan == "end" else 0.6))


def test_a_leg_knows_whether_its_target_is_met():
    leg = Leg(name="x", ms=tuple(range(1, 101)), target=((50, 60.0), (99, 98.0)))
    assert leg.quantile(50) == 50.5
    assert leg.met is False
    assert Leg(name="x", ms=(1.0,), target=((99, 1.0),)).met is True
    assert Leg(name="x", ms=(1.0,)).met is None


@pytest.mark.parametrize(
    ("per_s", "arrived", "dropped", "lost", "met"),
    [
        (2000.0, 10_000, 0, 0, True),
        (2000.0, 9_999, 1, 0, False),
        (20_000.0, 9_000, 600, 400, True),
        (20_000.0, 9_000, 600, 0, False),
        (20_000.0, 10_001, 0, 0, False),
    ],
)
def test_loss_fails_a_rate_up_to_the_target_and_only_unsaid_loss_above(per_s, arrived, dropped, lost, met):
    rate = Rate(sent_per_s=per_s, sent=10_000, arrived=arrived, dropped=dropped, reported_lost=lost)
    assert rate.met is met


def test_table_json_and_page_show_published_values_and_targets(capsys):
    legs = [
        Leg(name="voltage", ms=(1.0, 2.0), published_ms=483.0),
        Leg(name="set point", ms=(0.5, 3.0), target=((50, 1.0),)),
    ]
    rates = [Rate(sent_per_s=100.0, sent=500, arrived=498, dropped=2, reported_lost=0)]
    bench_hil_tables.show(legs, rates, 0.05, "hat")
    printed = capsys.readouterr().out
    for words in ("483", "p50 ≤ 1 NOT met", "498 of 500 arrived, 2 dropped by the station", "breaker travel 50 ms"):
        assert words in printed
    answered = bench_hil_tables.as_dict(legs, rates, 0.05, "hat")
    assert answered["legs"][1]["met"] is False
    assert answered["rates"][0]["missing"] == 2
    html = bench_hil_tables.page(legs, 0.05, "hat")
    assert json.dumps("voltage") in html
    assert "published 483 ms" in html


def test_everything_that_would_end_the_measurement_is_said_before_it_begins(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("heila_mosaik.bridges.broker.find_mosquitto", lambda: None)
    words = ["bench", "hil", "--backend", "104", "--rate", "-1", "--plot", str(tmp_path / "no" / "plot.html")]
    caught = CliRunner().invoke(app, words).exception
    assert isinstance(caught, ProblemsError)
    assert [problem.where for problem in caught.problems] == ["--backend", "--rate", "PATH", "--plot"]


def test_no_repetition_is_none():
    assert CliRunner().invoke(app, ["bench", "hil", "-n", "0"]).exit_code == 2
