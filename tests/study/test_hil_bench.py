from __future__ import annotations

import asyncio
import json

import pytest

from heila_mosaik.bridges.audit import verify_audit
from heila_mosaik.bridges.broker import find_mosquitto
from heila_mosaik.cli import bench_hil
from heila_mosaik.study import hil_bench
from heila_mosaik.study.hil_bench_figures import Leg, Rate

needs_broker = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


@needs_broker
def test_every_way_is_measured_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.setattr(hil_bench, "_WARM", 0)
    legs, rates = asyncio.run(hil_bench.run_bench(tmp_path, count=2, travel_s=0.05, rates=(200.0,)))
    times = {leg.name: min(leg.ms) for leg in legs}
    assert len(times) == len(legs) == 7
    assert all(ms > 0 for ms in times.values())
    # What passes the breaker takes its travel time, what goes on to a database takes longer than without.
    assert times["breaker command, MGMS database to read-back"] > 50
    assert times["activation, AMS to relay and back as verification"] > 50
    assert times["feeder voltage, relay to MGMS database"] > times["feeder voltage, relay to study attribute"]
    (rate,) = rates
    assert rate.arrived >= rate.sent - rate.dropped - rate.reported_lost
    assert verify_audit(tmp_path / "audit.jsonl") == []


def test_a_leg_knows_whether_its_target_is_met():
    leg = Leg(name="x", ms=tuple(range(1, 101)), target=((50, 60.0), (99, 98.0)))
    assert leg.quantile(50) == 50.5
    assert leg.met is False
    assert Leg(name="x", ms=(1.0,), target=((99, 1.0),)).met is True
    assert Leg(name="x", ms=(1.0,)).met is None


def test_table_and_page_show_published_values_and_targets(capsys):
    legs = [
        Leg(name="voltage", ms=(1.0, 2.0), published_ms=483.0),
        Leg(name="set point", ms=(0.5, 3.0), target=((50, 1.0),)),
    ]
    rates = [Rate(sent_per_s=100.0, sent=500, arrived=498, dropped=2, reported_lost=0)]
    bench_hil.show(legs, rates, 0.05)
    printed = capsys.readouterr().out
    for words in ("483", "p50 ≤ 1 NOT met", "498 of 500 arrived, 2 dropped by the station", "breaker travel 50 ms"):
        assert words in printed
    html = bench_hil.page(legs, 0.05)
    assert json.dumps("voltage") in html
    assert "published 483 ms" in html
