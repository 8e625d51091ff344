"""Generating units of the Grid simulator obey caps and set points, and their characteristic otherwise."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower.networks as nw
import pytest

from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.domain.voltvar import Characteristic, Inverter
from heila_mosaik.domain.voltvar.means import Curtailable
from heila_mosaik.errors import ProblemsError
from heila_mosaik.simulators.grid import GridSimulator

START = datetime(2026, 3, 1, tzinfo=UTC)
CURVE = Characteristic(vm_pu=(0.90, 1.10), share=(-1.0, 1.0))


def started(*, units: bool = True):
    net = nw.create_cigre_network_mv(with_der="pv_wind")
    simulator = GridSimulator()
    simulator.init("Grid", step_size=60, start=START)
    unit = Inverter(element="sgen.8", bus=7, s_max_mva=1.6, q_max_mvar=0.5, characteristic=CURVE)
    cap = Curtailable(element="sgen.8", bus=7, rated_mw=1.5, price_eur_per_mwh=450.0)
    given = {"inverters": (unit,), "curtailable": (cap,)} if units else {}
    simulator.create(1, "Grid", net=net, **given)
    return simulator


def signal(minute: int, minutes: int, **what: float) -> ControlSignal:
    start = START + timedelta(minutes=minute)
    return ControlSignal(id="c", target="sgen.8", start=start, stop=start + timedelta(minutes=minutes), **what)


def step(simulator, minute, *signals):
    inputs = {"Grid-0": {"controls": {"host": list(signals)}}} if signals else {}
    simulator.step(60 * minute, inputs, 60)
    found = simulator.get_data({"Grid-0": ["sgen_P[MW]", "sgen_Q[MVar]", "Vm[pu]", "units"]})["Grid-0"]
    return found["sgen_P[MW]"][8], found["sgen_Q[MVar]"][8], found["Vm[pu]"][7], found["units"]


def test_characteristic_rules_without_a_set_point():
    _, q, vm, units = step(started(), 0)
    assert -q == pytest.approx(0.5 * CURVE.at(vm)[0], abs=1e-5)
    assert units["sgen.8", Quantity.REACTIVE_POWER] == -q
    assert units["sgen.8", Quantity.ACTIVE_POWER] == -1.5


def test_set_point_and_cap_hold_for_their_time_and_lapse():
    simulator = started()
    free = step(simulator, 0)
    p, q, vm, _ = step(simulator, 1, signal(2, 3, q_mvar=0.4), signal(1, 2, p_mw=-0.7))
    assert (p, q) == (0.7, pytest.approx(free[1], abs=0.1))  # the set point has not begun
    assert -step(simulator, 2)[1] == pytest.approx(0.4)
    p, q, vm, _ = step(simulator, 3)
    assert (p, -q) == (1.5, pytest.approx(0.4))  # the cap has lapsed
    p, q, vm, _ = step(simulator, 5)
    assert -q == pytest.approx(0.5 * CURVE.at(vm)[0], abs=1e-5)


def test_a_cap_lets_less_wind_through_unchanged_and_what_is_asked_comes_back():
    simulator = started()
    step(simulator, 0, signal(0, 10, p_mw=-0.7))
    inputs = {"Sgen-8": {"P[MW]": {"wind": 0.3}}}
    simulator.step(60, inputs, 60)
    assert simulator.get_data({"Sgen-8": ["P[MW]"]})["Sgen-8"]["P[MW]"] == 0.3
    simulator.step(120, {"Sgen-8": {"P[MW]": {"wind": 1.2}}}, 60)
    assert simulator.get_data({"Sgen-8": ["P[MW]"]})["Sgen-8"]["P[MW]"] == 0.7
    simulator.step(660, {}, 60)
    assert simulator.get_data({"Sgen-8": ["P[MW]"]})["Sgen-8"]["P[MW]"] == 1.2


def test_reactive_power_stays_within_the_apparent_power():
    simulator = started()
    _, q, _, _ = step(simulator, 0, signal(0, 5, q_mvar=9.0))
    assert -q == pytest.approx(0.5)
    simulator.step(60, {"Sgen-8": {"P[MW]": {"wind": 1.59}}}, 60)
    q = simulator.get_data({"Sgen-8": ["Q[MVar]"]})["Sgen-8"]["Q[MVar]"]
    assert -q == pytest.approx(np.sqrt(1.6**2 - 1.59**2))


def test_commands_to_units_nobody_controls_are_refused():
    with pytest.raises(ProblemsError, match=r"sgen\.8"):
        step(started(units=False), 0, signal(0, 5, p_mw=-0.5))
