"""Levelling against closed forms and an independent programme; the grid's part against pandapower."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.powerflowopt import (
    Billing,
    Exchange,
    LevelSettings,
    Lot,
    effects,
    level,
    plan_level,
    share_out,
)
from heila_mosaik.gridmodel import compile_net

PEAK = LevelSettings(import_eur_per_mw=1000.0)


def lot(count, name="a", **changes):
    fields = {
        "name": name, "active": np.ones(count, bool), "p_min_mw": -10.0, "p_max_mw": 0.0, "effect": np.ones(count),
        "price_eur_per_mwh": 1.0,
    }  # fmt: skip
    return Lot(**(fields | changes))


def water_level(x, energy, hours=1.0):
    """Level at which the energy above it is ``energy``: what one ideal store can do."""
    ordered = np.sort(x)[::-1]
    for k in range(1, len(x) + 1):
        candidate = (ordered[:k].sum() - energy / hours) / k
        if k == len(x) or candidate >= ordered[k]:
            return candidate
    raise AssertionError


@given(st.lists(st.floats(0.5, 20.0), min_size=3, max_size=30), st.floats(0.0, 15.0))
@settings(max_examples=40, deadline=None)
def test_one_store_fills_the_peak_like_water(x, energy):
    """Closed form: with enough power and energy E, the level L has sum(max(x - L, 0)) = E."""
    x = np.array(x)
    found = level(x, np.ones(len(x)), [lot(len(x), p_min_mw=-50.0, group="g", group_energy_mwh=energy)], PEAK)
    wanted = max(water_level(x, energy), 0.0)
    assert found.import_level_mw[0] == pytest.approx(wanted, abs=2e-4)
    assert -found.p_mw.sum() <= energy + 1e-6


def test_variation_agrees_with_a_programme_written_another_way():
    """Oracle: linprog on absolute values with one variable an interval."""
    rng = np.random.default_rng(3)
    x = rng.uniform(2.0, 9.0, 16)
    prices = LevelSettings(import_eur_per_mw=40.0, export_eur_per_mw=0.0, variation_eur_per_mw=7.0)
    found = level(x, np.ones(16), [lot(16, p_min_mw=-1.0, p_max_mw=1.5, price_eur_per_mwh=3.0)], prices)
    n = 16
    cost = np.concatenate((np.full(2 * n, 3.0), [40.0], np.full(n - 1, 7.0)))
    lower, raise_ = -np.eye(n), np.eye(n)
    both = np.hstack((lower, raise_))
    step = np.diff(both, axis=0)
    rows = [np.hstack((both, -np.ones((n, 1)), np.zeros((n, n - 1))))]
    right = [-x]
    for sign in (1, -1):
        rows.append(np.hstack((sign * step, np.zeros((n - 1, 1)), -np.eye(n - 1))))
        right.append(-sign * np.diff(x))
    bounds = [(0, 1.0)] * n + [(0, 1.5)] * n + [(0, None)] * n
    best = linprog(cost, np.vstack(rows), np.concatenate(right), bounds=bounds)
    ours = found.cost_eur + 40.0 * found.import_level_mw[0] + 7.0 * np.abs(np.diff(found.exchange_mw)).sum()
    assert ours == pytest.approx(best.fun, rel=1e-6)


def test_nothing_is_paid_below_the_peak_reached_or_above_its_worth():
    x = np.array([3.0, 9.0, 4.0])
    whole = lot(3, p_min_mw=-2.0)
    reached = level(x, np.ones(3), [whole], PEAK, Billing.whole(3, reached_import_mw=8.5))
    assert reached.exchange_mw.max() == pytest.approx(8.5, abs=1e-6)
    dear = level(x, np.ones(3), [replace(whole, price_eur_per_mwh=1001.0)], PEAK)
    assert not dear.p_mw.any()
    assert (dear.cost_eur, dear.value_eur) == (0.0, 0.0)
    held = level(x, np.ones(3), [replace(whole, availability_eur_per_mw_h=400.0)], PEAK)
    assert not held.p_mw.any()  # three hours of availability cost more than the peak is worth


def test_each_billing_period_has_its_own_peak():
    x = np.array([4.0, 6.0, 4.0, 9.0, 5.0])
    billing = Billing(
        period=np.array([0, 0, 1, 1, 1]), reached_import_mw=np.array([5.5, 0.0]), reached_export_mw=np.zeros(2)
    )
    found = level(x, np.ones(5), [lot(5, group="g", group_energy_mwh=2.5)], PEAK, billing)
    np.testing.assert_allclose(found.import_level_mw, [5.5, 7.0], atol=1e-5)
    np.testing.assert_allclose(found.p_mw[0], [0.0, -0.5, 0.0, -2.0, 0.0], atol=1e-5)


def test_rebound_comes_back_and_is_planned_for():
    x = np.array([2.0, 8.0, 7.5, 2.0, 2.0, 2.0])
    plain = level(x, np.ones(6), [lot(6)], replace(PEAK, rebound=0.0))
    back = level(x, np.ones(6), [lot(6)], replace(PEAK, rebound=0.5, rebound_h=2.0))
    assert plain.exchange_mw.sum() == pytest.approx(x.sum() + plain.p_mw.sum())
    returned = 0.5 * back.p_mw.sum()
    late = back.p_mw[0, -2:].sum()  # what is lowered last returns after the horizon
    assert back.exchange_mw.sum() >= x.sum() + back.p_mw.sum() - returned + 0.5 * late - 1e-6
    assert back.import_level_mw[0] > plain.import_level_mw[0]


def test_blocks_are_bought_whole_or_not_and_one_way_lots_one_way():
    x = np.array([5.0, 9.0, 2.0])
    block = lot(3, p_min_mw=-3.0, divisible=False, availability_eur_per_mw_h=10.0)
    found = level(x, np.ones(3), [block], PEAK)
    assert found.cost_eur == pytest.approx(-found.p_mw.sum() + 3.0 * 3 * 10.0)
    small = level(x, np.ones(3), [replace(block, p_min_mw=-30.0, availability_eur_per_mw_h=60.0)], PEAK)
    assert not small.p_mw.any()
    both = LevelSettings(import_eur_per_mw=100.0, variation_eur_per_mw=100.0)
    single = level(x, np.ones(3), [lot(3, p_min_mw=-2.0, p_max_mw=2.0, one_way=True)], both)
    assert not (single.p_mw.min() < -1e-6 and single.p_mw.max() > 1e-6)


def test_energy_is_shared_by_a_group():
    x = np.array([9.0, 9.0, 1.0])
    pair = [lot(3, name, p_min_mw=-1.0, group="store", group_energy_mwh=1.5) for name in "ab"]
    found = level(x, np.ones(3), pair, PEAK)
    assert -found.p_mw.sum() == pytest.approx(1.5, abs=1e-5)
    assert found.import_level_mw[0] == pytest.approx(8.25, abs=1e-5)


def test_sharing_is_cheapest_first_and_says_what_is_missing():
    lots = [
        lot(1, "dear", price_eur_per_mwh=9.0, p_min_mw=-2.0),
        lot(1, "cheap", p_min_mw=-1.0, effect=np.array([1.1])),
    ]
    p, left = share_out(-2.0, lots)
    assert p.tolist() == pytest.approx([-0.9, -1.0])
    assert left == pytest.approx(0.0)
    p, left = share_out(-9.0, lots)
    assert left == pytest.approx(-9.0 + 2.0 + 1.1)
    assert share_out(0.0, lots)[0].tolist() == [0.0, 0.0]


def test_figures_of_an_exchange():
    found = Exchange.of(np.array([1.0, 3.0, -2.0, np.nan]))
    assert (found.peak_import_mw, found.peak_export_mw, found.variation_mw) == (3.0, 2.0, 7.0)


# ---------------------------------------------------------------------- with the grid


def winter(hours=6):
    """CIGRE MV over an evening; bus positions of three microgrids."""
    net = pn.create_cigre_network_mv()
    engine = compile_net(net)
    p, q = (values.copy() for values in engine.bus_injection(engine.default_input()))
    shape = 0.5 + 0.4 * np.sin(np.linspace(0.2, 3.0, hours))
    return net, engine, shape[:, None] * p, shape[:, None] * q, np.array([6, 9, 13])


def imported(net, p, q):
    """Import by pandapower's power flow for consumption per bus."""
    other = pp.from_json_string(pp.to_json(net))
    other.load.drop(other.load.index, inplace=True)
    for bus, (active, reactive) in enumerate(zip(p, q, strict=True)):
        pp.create_load(other, int(other.bus.index[bus]), p_mw=float(active), q_mvar=float(reactive))
    pp.runpp(other, numba=False)
    return float(other.res_ext_grid.p_mw.sum())


def test_effects_are_the_derivative_of_pandapowers_import():
    net, engine, p, q, bus = winter(2)
    exchange, effect = effects(engine, p, q, bus)
    assert exchange[0] == pytest.approx(imported(net, p[0], q[0]), abs=1e-7)
    for column, place in enumerate(bus):
        more = p[1].copy()
        more[place] += 1e-3
        slope = (imported(net, more, q[1]) - imported(net, p[1], q[1])) / 1e-3
        assert effect[1, column] == pytest.approx(slope, abs=2e-4)
        assert effect[1, column] > 1.0  # losses


def test_plan_holds_in_pandapowers_power_flow():
    net, engine, p, q, bus = winter()
    lots = [lot(6, name, p_min_mw=-1.5, p_max_mw=0.5) for name in "abc"]
    plan = plan_level(engine, p, q, np.ones(6), lots, bus, Limits.of(engine.network), PEAK)
    assert plan.after.peak_import_mw < plan.before.peak_import_mw - 1.0
    for row in range(6):
        moved = p[row].copy()
        np.add.at(moved, bus, plan.answer.p_mw[:, row])
        assert plan.after_mw[row] == pytest.approx(imported(net, moved, q[row]), abs=1e-6)
    np.testing.assert_allclose(plan.after_mw, plan.answer.exchange_mw, atol=0.02)


def test_adjustments_that_break_a_limit_are_left_out():
    _net, engine, p, q, bus = winter()
    free = Limits.of(engine.network)
    state = engine.solve_bus(p[3], q[3])
    tight = replace(free, v_max_pu=np.where(np.arange(len(state.vm_pu)) == bus[2], state.vm_pu + 2e-4, free.v_max_pu))
    lots = [lot(6, name, p_min_mw=-1.5) for name in "abc"]
    plan = plan_level(engine, p, q, np.ones(6), lots, bus, tight, PEAK)
    assert plan.harmful
    assert {name for name, _, _ in plan.harmful} <= set("abc")
    assert all("overvoltage" in reason for _, _, reason in plan.harmful)
    banned = {(name, row) for name, row, _ in plan.harmful}
    used = {(lots[j].name, row) for j, row in zip(*np.nonzero(plan.answer.p_mw), strict=True)}
    assert not banned & used


def test_without_flexibility_the_plan_is_the_forecast():
    _net, engine, p, q, _bus = winter()
    plan = plan_level(engine, p, q, np.ones(6), [], np.zeros(0, np.int64), Limits.of(engine.network), PEAK)
    np.testing.assert_allclose(plan.after_mw, plan.before_mw)
    assert plan.answer.cost_eur == 0.0
