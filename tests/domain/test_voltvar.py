"""Volt/VAR optimisation against brute force, pandapower's own Q(V) control and pandapower's optimal power flow."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pandapower as pp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandapower.control.controller.DERController import DERController, QModelQVCurve, QVCurve

from heila_mosaik.domain.voltvar import (
    QV_DEFAULT,
    Characteristic,
    Device,
    Weights,
    assess,
    optimise_reactive,
    place,
    plan_day,
    present,
    respond,
    search,
)
from heila_mosaik.domain.voltvar.devices import wear_eur
from tests.domain.voltvar_cases import brute_force, feeder, inverters


def cost_of(engine, p, q, devices, limits, weights, count=None):
    def cost(at):
        if count is not None:
            count.append(at)
        place(engine, devices, at)
        return assess(engine, p, q, limits, weights).cost_eur_per_h

    return cost


@pytest.mark.parametrize("seed", range(3))
def test_search_is_within_two_percent_of_brute_force(seed):
    """19 taps and three banks: 2850 combinations, at most 300 of them looked at."""
    _net, engine, p, q, devices, limits = feeder(seed)
    weights = Weights()
    every = brute_force(engine, p, q, devices, limits, weights)
    looked: list = []
    found = search(cost_of(engine, p, q, devices, limits, weights, looked), devices, (0, 0, 0, 0), wear=False)
    assert len(set(looked)) == len(looked) == found.evaluations <= 300
    assert found.cost_eur_per_h == pytest.approx(every[found.positions], rel=1e-9)
    assert found.cost_eur_per_h <= 1.02 * min(every.values())


def test_state_of_the_optimum_is_pandapowers():
    net, engine, p, q, devices, limits = feeder(1)
    found = search(cost_of(engine, p, q, devices, limits, Weights()), devices, (0, 0, 0, 0))
    place(engine, devices, found.positions)
    state = engine.solve_bus(p, q)
    net.trafo.loc[0, "tap_pos"] = found.positions[0]
    net.shunt["step"] = list(found.positions[1:])
    pp.runpp(net, numba=False)
    np.testing.assert_allclose(state.vm_pu, net.res_bus.vm_pu, atol=1e-8)
    losses = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()
    assert state.losses_mw == pytest.approx(losses, abs=1e-8)


def test_wear_keeps_devices_where_little_is_gained():
    _net, engine, p, q, devices, limits = feeder(2)
    cost = cost_of(engine, p, q, devices, limits, Weights())
    free = search(cost, devices, (0, 0, 0, 0), wear=False)
    assert free.positions != (0, 0, 0, 0)
    dear = tuple(Device(elements=d.elements, low=d.low, high=d.high, wear_eur=1e5) for d in devices)
    stays = search(cost, dear, free.positions)
    assert stays.positions == free.positions
    cheap = search(cost, devices, (0, 0, 0, 0), hours=1.0)
    total = cheap.cost_eur_per_h + wear_eur(devices, (0, 0, 0, 0), cheap.positions)
    assert total <= cost((0, 0, 0, 0)) + 1e-9


def test_ganged_transformers_move_together_and_wear_twice():
    device = Device(elements=("trafo.0", "trafo.1"), low=-2, high=2, wear_eur=3.0)
    assert device.name == "trafo.0+trafo.1"
    assert wear_eur((device,), (0,), (2,)) == 12.0
    for wrong in ({"elements": ()}, {"elements": ("line.3",)}, {"low": 3}, {"wear_eur": -1.0}):
        with pytest.raises(ValueError, match=r"device|position|wear"):
            Device(**({"elements": ("trafo.0",), "low": 0, "high": 2} | wrong))


def test_budget_is_kept():
    _net, engine, p, q, devices, limits = feeder(3)
    found = search(cost_of(engine, p, q, devices, limits, Weights()), devices, (9, 4, 4, 5), budget=25)
    assert found.evaluations <= 25
    assert found.exhausted


# ---------------------------------------------------------------------- over the day


def day(seed, hours=8):
    """Costs of all positions of tap and one bank over a day, as a table."""
    _net, engine, p, q, devices, limits = feeder(seed, banks=((17, 0.3, 3),))
    states = list(product(range(-9, 10), range(4)))
    shape = 0.5 + 0.9 * np.sin(np.linspace(0.0, 5.0, hours)) ** 2
    table = np.empty((hours, len(states)))
    for column, at in enumerate(states):
        place(engine, devices, at)
        for row, factor in enumerate(shape):
            table[row, column] = assess(engine, factor * p, factor * q, limits, Weights()).cost_eur_per_h
    return devices, states, table


def exact(devices, states, table, start):
    """Dynamic programming over all positions."""
    change = np.array([[wear_eur(devices, a, b) for b in states] for a in states])
    total = change[states.index(start)] + table[0]
    for row in table[1:]:
        total = (total[:, None] + change).min(axis=0) + row
    return float(total.min())


@pytest.mark.parametrize("seed", range(3))
def test_day_plan_is_within_two_percent_of_all_paths(seed):
    devices, states, table = day(seed)
    index = {at: column for column, at in enumerate(states)}
    plan = plan_day(lambda row, at: table[row, index[at]], np.ones(len(table)), devices, (0, 0))
    best = exact(devices, states, table, (0, 0))
    assert best - 1e-9 <= plan.cost_eur + plan.wear_eur <= 1.02 * best
    assert plan.gain_eur >= -1e-9
    path = [(0, 0), *plan.positions]
    assert plan.wear_eur == pytest.approx(sum(wear_eur(devices, a, b) for a, b in pairwise(path)))
    assert plan.cost_eur == pytest.approx(sum(table[row, index[at]] for row, at in enumerate(plan.positions)))


def test_day_plan_keeps_a_limit_of_steps_and_stays_if_wear_is_dear():
    devices, states, table = day(1)
    index = {at: column for column, at in enumerate(states)}

    def cost(row, at):
        return table[row, index[at]]

    free = plan_day(cost, np.ones(len(table)), devices, (0, 0))
    assert max(free.steps) > 2
    few = plan_day(cost, np.ones(len(table)), devices, (0, 0), max_steps=2)
    assert max(few.steps) <= 2
    assert few.wear_factor > 1.0
    assert few.cost_eur + few.wear_eur >= free.cost_eur + free.wear_eur - 1e-9
    dear = tuple(Device(elements=d.elements, low=d.low, high=d.high, wear_eur=1e6) for d in devices)
    assert plan_day(cost, np.ones(len(table)), dear, (0, 0)).steps == (0, 0)


# ---------------------------------------------------------------------- inverters


def test_q_of_v_agrees_with_pandapowers_controller():
    """Oracle: pandapower's DERController with the same curve."""
    for seed in range(3):
        net, engine, p, q, _devices, _limits = feeder(seed)
        curve = Characteristic(vm_pu=(0.93, 0.97, 1.0, 1.04), share=(-1.0, -0.2, 0.0, 1.0))
        units = inverters(engine, curve)
        found = respond(engine, p, q, units, np.full(3, 0.5))
        assert found.settled
        assert found.rounds <= 6
        model = QModelQVCurve(
            QVCurve(vm_points_pu=list(curve.vm_pu), q_points_pu=[-0.5 * share for share in curve.share])
        )
        for element in net.sgen.index:
            DERController(net, [element], q_model=model, damping_coef=1.5, max_p_error=1e-9, max_q_error=1e-9)
        pp.runpp(net, run_control=True, max_iter=400, numba=False)
        np.testing.assert_allclose(found.q_mvar, -net.res_sgen.q_mvar, atol=1e-5)  # its damped iteration stops there
        np.testing.assert_allclose(found.state.vm_pu, net.res_bus.vm_pu, atol=1e-6)


def test_steep_characteristic_on_a_weak_feeder_settles():
    """Slope times sensitivity far beyond one, where stepping q to f(v) swings for ever."""
    _net, engine, p, q, _devices, _limits = feeder(0)
    steep = Characteristic(vm_pu=(0.979, 0.98), share=(-1.0, 1.0))
    units = inverters(engine, steep)
    plain = np.zeros(3)
    for _ in range(60):
        state = engine.solve_bus(p, q + np.bincount([u.bus for u in units], plain, len(p)))
        last, plain = plain, np.array([0.5 * steep.at(state.vm_pu[u.bus])[0] for u in units])
    assert np.abs(plain - last).max() > 0.1
    found = respond(engine, p, q, units, np.full(3, 0.5))
    assert found.settled
    wanted = [0.5 * steep.at(found.state.vm_pu[u.bus])[0] for u in units]
    np.testing.assert_allclose(found.q_mvar, wanted, atol=1e-5)


def test_set_points_and_limits_are_kept():
    _net, engine, p, q, _devices, _limits = feeder(1)
    units = inverters(engine, QV_DEFAULT)
    limit = np.array([0.5, 0.1, 0.0])
    found = respond(engine, p, q, units, limit, setpoint_mvar=np.array([0.3, -0.4, -0.2]))
    assert found.q_mvar.tolist() == [0.3, -0.1, 0.0]
    bare = inverters(engine)
    assert respond(engine, p, q, bare, np.full(3, 0.5)).q_mvar.tolist() == [0.0, 0.0, 0.0]
    assert bare[0].q_limit_mvar(0.99) == pytest.approx((1 - 0.99**2) ** 0.5)
    assert bare[0].q_limit_mvar(0.1) == 0.5
    assert bare[0].q_limit_mvar(1.5) == 0.0


@given(st.floats(0.8, 1.2), st.floats(0.8, 1.2))
def test_characteristic_never_falls_and_stays_inside(first, second):
    low, high = sorted((first, second))
    a, b = QV_DEFAULT.at(low)[0], QV_DEFAULT.at(high)[0]
    assert -1.0 <= a <= b <= 1.0
    assert all(slope >= 0 for slope in (QV_DEFAULT.at(low)[1], QV_DEFAULT.at(high)[1]))


@pytest.mark.parametrize(
    ("corners", "share", "said"),
    [
        ((1.0,), (0.0,), "two corners"),
        ((1.0, 0.9), (0.0, 1.0), "must rise"),
        ((0.9, 1.0), (1.0, -1.0), "push the voltage"),
        ((0.9, 1.0), (-2.0, 1.0), "leave -1"),
    ],
)
def test_wrong_characteristics_are_named(corners, share, said):
    with pytest.raises(ValueError, match=said):
        Characteristic(vm_pu=corners, share=share)


@pytest.mark.parametrize("seed", range(3))
def test_reactive_set_points_reach_the_losses_of_the_optimal_power_flow(seed):
    """Oracle: pandapower's runopp minimises the import with the same P and the same limits of Q."""
    net, engine, p, q, _devices, limits = feeder(seed)
    weights = Weights(loss_eur_per_mwh=60.0, profile_eur_per_pu2_h=0.0, margin_pu=0.0)
    wide = limits.tightened(-0.2, 0.0, 0.0)
    found = optimise_reactive(engine, p, q, inverters(engine), np.full(3, 0.5), wide, weights)
    net.bus["min_vm_pu"], net.bus["max_vm_pu"] = 0.75, 1.25
    net.sgen["controllable"] = True
    net.sgen["min_p_mw"], net.sgen["max_p_mw"] = net.sgen.p_mw - 1e-4, net.sgen.p_mw + 1e-4
    net.sgen["min_q_mvar"], net.sgen["max_q_mvar"] = -0.5, 0.5
    net.trafo["max_loading_percent"] = 1e3
    net.poly_cost.drop(net.poly_cost.index, inplace=True)
    pp.create_poly_cost(net, 0, "ext_grid", cp1_eur_per_mw=1.0)
    pp.runopp(net, numba=False, init="pf")
    losses = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()
    assert found.after.losses_mw <= losses * 1.002
    assert found.after.losses_mw < found.before.losses_mw
    assert found.evaluations <= 40
    assert (np.abs(found.q_mvar) <= 0.5).all()


def test_reactive_power_brings_the_voltage_into_the_band():
    _net, engine, p, q, devices, limits = feeder(0)
    place(engine, devices, (3, 0, 0, 0))
    weights = Weights()
    bus = np.array([unit.bus for unit in inverters(engine)])
    low = engine.solve_bus(p, q)
    assert (low.vm_pu[:-1] < limits.v_min_pu[:-1]).any()
    found = optimise_reactive(engine, p, q, inverters(engine), np.full(3, 0.5), limits, weights)
    assert found.after.outside_pu < 0.5 * found.before.outside_pu
    assert engine.solve_bus(p, q + np.bincount(bus, found.q_mvar, len(p))).vm_pu.min() > low.vm_pu.min()


@settings(max_examples=15, deadline=None)
@given(st.integers(-9, 9), st.integers(0, 4), st.integers(0, 5))
def test_positions_are_read_back(tap, first, third):
    devices, engine = READ_BACK[4], READ_BACK[1]
    place(engine, devices, (tap, first, 0, third))
    assert present(engine, devices) == (tap, first, 0, third)


READ_BACK = feeder(0)
