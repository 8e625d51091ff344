"""Resources without voltage, behind an open contactor, and as the source of an island."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.resources import (
    BatterySpec,
    EvSpec,
    HeatPumpSpec,
    LoadSpec,
    PvSpec,
    ShiftableLoadSpec,
)
from heila_mosaik.simulators.resources import UNSERVED, Fleet

START = datetime(2016, 1, 18, 16, tzinfo=UTC)
SPECS = {
    "battery": BatterySpec(p_max_mw=1.0, s_max_mva=1.2, energy_mwh=2.0),
    "sun": PvSpec(p_rated_mw=0.5, s_max_mva=0.6),
    "cars": EvSpec(chargers=10, p_max_mw=0.011, sessions_per_day=20.0),
    "heat": HeatPumpSpec(p_max_mw=0.4, heat_demand_mw_at_minus10=0.8, storage_mwh_thermal=1.0),
    "oven": ShiftableLoadSpec(p_mw=0.2, duration_min=60, starts_per_day=2, window=(15.0, 20.0)),
    "house": LoadSpec(p_mw=0.3, q_mvar=0.1),
}


def run(steps, *, dark=(), forming=None, before=(), fleet=None, start=START):
    """A fleet after some minutes; ``before`` are signals taken first."""
    fleet = fleet or Fleet(SPECS, start, seed=3)
    fleet.take(before)
    for step in range(steps):
        now = start + timedelta(minutes=step)
        fleet.step(now, 60.0, 600.0, 2.0, None, dark=dark, forming=forming)
    return fleet


def test_without_voltage_nothing_is_drawn_or_fed_and_no_energy_appears():
    fleet = run(120)
    later = START + timedelta(hours=2)
    content = fleet.models[0].e_mwh
    run(60, dark=tuple(SPECS), fleet=fleet, start=later)
    assert fleet.columns["P[MW]"] == [0.0] * len(SPECS)
    assert fleet.columns["Q[MVar]"] == [0.0] * len(SPECS)
    assert fleet.columns[UNSERVED] == [0.0] * (len(SPECS) - 1) + [0.3]
    assert fleet.models[0].e_mwh == pytest.approx(content, rel=1e-4)
    for model in fleet.models:
        assert model.book.residual_mwh == pytest.approx(0.0, abs=1e-9), model.name
    assert fleet.models[-1].book.unserved_mwh == pytest.approx(0.3)


def test_a_run_that_stood_still_is_finished_later():
    fleet = run(30, start=START.replace(hour=15))
    energy = fleet.models[4].book.useful_mwh
    assert energy == pytest.approx(0.1)
    run(45, dark=("oven",), fleet=fleet, start=START.replace(hour=15, minute=30))
    assert fleet.models[4].book.useful_mwh == energy
    run(40, fleet=fleet, start=START.replace(hour=16, minute=15))
    assert fleet.models[4].book.useful_mwh == pytest.approx(0.2)


def test_an_open_contactor_holds_until_it_is_closed():
    def contactor(closed):
        return ControlSignal(id="c", target="house", start=START, stop=START + timedelta(minutes=1), closed=closed)

    fleet = run(5, before=[contactor(False)])
    assert fleet.columns["P[MW]"][-1] == 0.0
    assert fleet.columns[UNSERVED][-1] == pytest.approx(0.3)
    run(1, before=[contactor(True)], fleet=fleet, start=START + timedelta(minutes=5))
    assert fleet.columns["P[MW]"][-1] == pytest.approx(0.3)


def test_the_source_of_an_island_books_what_the_island_took():
    fleet = run(1)
    battery = fleet.models[0]
    before = battery.e_mwh
    signal = ControlSignal(id="s", target="battery", start=START, stop=START + timedelta(hours=1), p_mw=0.7)
    fleet.take([signal])
    fleet.settle({"battery": -0.6}, 60.0)
    run(1, forming={"battery": -0.6}, fleet=fleet, start=START + timedelta(minutes=1))
    # the set point is not followed: the island decides
    assert fleet.columns["P[MW]"][0] == -0.6
    assert before - battery.e_mwh == pytest.approx(0.6 / 0.95 / 60.0, rel=1e-3)
    assert battery.book.residual_mwh == pytest.approx(0.0, abs=1e-12)
