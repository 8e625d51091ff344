"""Redispatch against pandapower's OPF; harm check; purchase of offers."""

from __future__ import annotations

import copy
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from pandapower.optimal_powerflow import OPFNotConverged

from heila_mosaik.domain.congestion import (
    Action,
    Limits,
    PurchaseInterval,
    check_harm,
    optimise,
    outages,
    plan_purchase,
    violations,
)
from heila_mosaik.domain.congestion.harm import HarmCase
from heila_mosaik.domain.congestion.redispatch import Status
from heila_mosaik.domain.information import CongestionKind, Offer, Session
from heila_mosaik.domain.quantities import Product
from heila_mosaik.gridmodel import compile_net

T0 = datetime(2026, 1, 15, 17, 0, tzinfo=UTC)


def cigre(rng, closed):
    """Loaded medium-voltage grid, radial or with its three tie switches closed; generation lowers nothing here."""
    net = pn.create_cigre_network_mv()
    net.trafo["shift_degree"] = 0.0  # runopp fails with the 150 degrees of the data set
    if closed:
        net.switch["closed"] = True
        net.load[["p_mw", "q_mvar"]] *= rng.uniform(1.05, 1.15)
        net.line["max_i_ka"] *= 0.5
        return net, [3, 5, 8, 10, 13], (-2.5, 0.0, 0.15), 0.945
    net.load[["p_mw", "q_mvar"]] *= rng.uniform(0.98, 1.1)
    return net, [3, 5, 8, 10, 13], (-2.0, 0.0, 0.1), 0.925


def baran_wu(rng):
    """The 33-bus feeder with a narrow first line."""
    net = pn.case33bw()
    net.load[["p_mw", "q_mvar"]] *= rng.uniform(0.85, 1.1, (len(net.load), 1))
    net.line["max_i_ka"] = 0.28
    pp.runpp(net)
    net.line["max_i_ka"] = np.where(net.line.index == 0, net.res_line.i_ka[0] * 0.85, 0.5)
    return net, [8, 14, 17, 24, 30, 32], (-0.8, 0.0, 0.04), 0.93


def rural(rng):
    """SimBench 1-MV-rural--2-sw with strong wind: the western feeder feeds back more than it can carry."""
    net = pp.from_json("grids/rural_mv/net.json")
    net.trafo["shift_degree"] = 0.0
    # runopp leaves open line ends out in its own way; a line that is open at one end carries nothing that matters here
    opened = net.switch[(net.switch.et == "l") & ~net.switch.closed].element
    net.line.loc[opened, "in_service"] = False
    net.switch = net.switch[net.switch.et == "b"]
    net.ext_grid = net.ext_grid.drop(columns=["min_p_mw", "max_p_mw", "min_q_mvar", "max_q_mvar"], errors="ignore")
    net.load[["p_mw", "q_mvar"]] *= 0.3
    net.sgen[["p_mw", "q_mvar"]] *= rng.uniform(1.0, 1.15)
    return net, [int(bus) for bus in net.sgen.sort_values("p_mw").bus.tail(6)], (0.0, 2.5, 0.1), 0.965


def case(name, seed):
    """A stressed grid: net, engine, base power per bus, actions and limits."""
    rng = np.random.default_rng(seed)
    makers = {"case33bw": baran_wu, "rural_mv": rural}
    made = makers[name](rng) if name in makers else cigre(rng, name == "meshed")
    net, buses, (p_min, p_max, q_max), v_min = made
    net.bus["min_vm_pu"] = np.where(net.bus.vn_kv > 100, 0.9, v_min)
    net.bus["max_vm_pu"] = 1.08
    net.line["max_loading_percent"], net.trafo["max_loading_percent"] = 100.0, 100.0
    engine = compile_net(net)
    p, q = engine.bus_injection(engine.default_input())
    prices = rng.uniform(30, 120, len(buses))
    position = {bus: k for k, bus in enumerate(engine.network.bus_ids.tolist())}
    actions = tuple(
        Action(
            name=f"a{bus}", bus=position[bus], p_min_mw=p_min, p_max_mw=p_max, q_min_mvar=-q_max, q_max_mvar=q_max,
            price_up=price, price_down=price,
        )
        for bus, price in zip(buses, prices, strict=True)
    )  # fmt: skip
    return net, engine, p, q, actions, Limits.of(engine.network)


def runopp_cost(net, actions, ids):
    """The same problem for pandapower: generators at the actions' buses with a linear price in their one direction."""
    net.ext_grid["controllable"] = True
    # the slack voltage is data, not a means
    slack = net.ext_grid.bus.iloc[0]
    net.bus.loc[slack, ["min_vm_pu", "max_vm_pu"]] = net.ext_grid.vm_pu.iloc[0]
    net.poly_cost.drop(net.poly_cost.index, inplace=True)
    for action in actions:
        sgen = pp.create_sgen(
            net, int(ids[action.bus]), 0.0, 0.0, controllable=True, min_p_mw=-action.p_max_mw,
            max_p_mw=-action.p_min_mw, min_q_mvar=-action.q_max_mvar, max_q_mvar=-action.q_min_mvar,
        )  # fmt: skip
        pp.create_poly_cost(
            net, sgen, "sgen", cp1_eur_per_mw=action.price_up if action.p_min_mw < 0 else -action.price_down
        )
    for init in ("pf", "flat"):
        try:
            pp.runopp(net, init=init, delta=1e-8, calculate_voltage_angles=False)
        except OPFNotConverged:
            continue
        return float(net.res_cost)
    return None


@pytest.mark.parametrize("name", ["cigre", "meshed", "case33bw", "rural_mv"])
def test_redispatch_reaches_the_optimum_of_runopp(name):
    compared = 0
    for seed in range(2):
        net, engine, p, q, actions, limits = case(name, seed)
        ours = optimise(engine, p, q, actions, limits)
        assert ours.status is Status.SOLVED, ours.reason
        assert ours.before
        assert not violations(ours.state, engine.network, limits, voltage_pu=1e-5, percent=0.01)
        theirs = runopp_cost(net, actions, engine.network.bus_ids)
        if theirs is not None and theirs > 1.0:
            compared += 1
            assert ours.cost_eur_per_h <= theirs * 1.002 + 1e-3
    assert compared >= 1


def test_n_1_keeps_emergency_limits_after_every_outage():
    """The judge is pandapower: every outage is run on its own with the answer applied."""
    net, engine, p, q, actions, limits = case("meshed", 1)
    lines = [f"line.{line}" for line in engine.network.lines.ids.tolist()]
    found, radial = outages(engine, limits, lines, emergency_percent=110.0)
    assert radial == ()
    wider = tuple(replace(action, p_min_mw=-6.0) for action in actions)
    alone = optimise(engine, p, q, wider, limits)
    secure = optimise(engine, p, q, wider, limits, contingencies=found)
    assert secure.status is Status.SOLVED, secure.reason
    assert secure.cost_eur_per_h > alone.cost_eur_per_h
    assert any("after the outage of line." in str(violation) for violation in secure.before)

    def worst(answer):
        excess = 0.0
        for line in (one.outage for one in found):
            state = copy.deepcopy(net)
            state.line.loc[int(line.split(".")[1]), "in_service"] = False
            for k, action in enumerate(wider):
                pp.create_load(state, int(engine.network.bus_ids[action.bus]), answer.p_mw[k], answer.q_mvar[k])
            pp.runpp(state, calculate_voltage_angles=False)
            loading = max(state.res_line.loading_percent.max(), state.res_trafo.loading_percent.max()) - 110.0
            excess = max(excess, loading, 100 * (0.945 - state.res_bus.vm_pu.min()))
        return excess

    assert worst(secure) < 0.02
    assert worst(alone) > 1.0
    _, engine, _, _, _, limits = case("cigre", 1)  # with its ties open every feeder is radial
    found, radial = outages(engine, limits, ["line.2", "trafo.0"])
    assert (found, radial) == ((), ("line.2", "trafo.0"))


def test_nothing_to_do_costs_nothing():
    _, engine, p, q, actions, limits = case("cigre", 1)
    answer = optimise(engine, 0.5 * p, 0.5 * q, actions, limits)
    assert answer.status is Status.NOT_NEEDED
    assert not answer.p_mw.any()


def test_infeasible_case_gives_the_least_violation_and_says_so():
    _, engine, p, q, actions, limits = case("cigre", 1)
    tiny = tuple(replace(action, p_min_mw=-0.1, q_min_mvar=0.0, q_max_mvar=0.0) for action in actions)
    answer = optimise(engine, 1.2 * p, 1.2 * q, tiny, limits)
    assert answer.status is Status.BEST_EFFORT
    assert "least violation left" in answer.reason
    severity = sum(v.severity for v in answer.after)
    assert severity < sum(v.severity for v in answer.before)
    rng = np.random.default_rng(3)
    for _ in range(50):  # no random use of the same flexibility does better
        x = -0.1 * rng.random(len(tiny))
        state = engine.solve_bus(1.2 * p + np.bincount([a.bus for a in tiny], x, len(p)), 1.2 * q)
        assert severity <= sum(v.severity for v in violations(state, engine.network, limits)) + 1e-3
    assert optimise(engine, 1.2 * p, 1.2 * q, (), limits).status is Status.BEST_EFFORT


def test_answer_stays_in_the_range_of_the_actions():
    for seed in range(3):
        _, engine, p, q, actions, limits = case("case33bw", seed)
        answer = optimise(engine, p, q, actions, limits)
        for k, action in enumerate(actions):
            assert action.p_min_mw - 1e-6 <= answer.p_mw[k] <= action.p_max_mw + 1e-6
            assert action.q_min_mvar - 1e-6 <= answer.q_mvar[k] <= action.q_max_mvar + 1e-6


def test_harmful_activation_is_withheld_with_the_reason():
    _, engine, p, q, actions, limits = case("cigre", 1)
    limits = replace(
        limits, trafo_percent=np.full(2, 200.0), line_percent=limits.line_percent * 2, v_min_pu=np.full(len(p), 0.9)
    )
    bus = np.array([actions[0].bus, actions[4].bus])
    low = engine.solve_bus(p, q).vm_pu
    # another actor needs its present voltage at bus 10; more consumption at bus 3 takes it away
    at = int(np.flatnonzero(engine.network.bus_ids == 10)[0])
    v_min = limits.v_min_pu.copy()
    v_min[at] = low[at] - 1e-3
    check = check_harm(
        engine, [HarmCase(name="now", p_mw=p, q_mvar=q)], bus, np.array([3.0, -0.5]), np.zeros(2),
        replace(limits, v_min_pu=v_min),
    )  # fmt: skip
    assert check.released == (False, True)
    assert check.harms[0].violation.element == "bus.10"
    assert check.harms[0].violation.kind == CongestionKind.UNDERVOLTAGE
    assert "bus.10 undervoltage" in check.harms[0].reason


def test_an_activation_that_helps_is_released_although_limits_stay_broken():
    _, engine, p, q, actions, limits = case("cigre", 1)
    bus = np.array([actions[0].bus])
    cases = [HarmCase(name="now", p_mw=1.2 * p, q_mvar=1.2 * q)]
    assert check_harm(engine, cases, bus, np.array([-0.5]), np.zeros(1), limits).released == (True,)
    rebound = [HarmCase(name="after the reserve ends", p_mw=1.0 * p, q_mvar=q, share=-1.0)]
    assert check_harm(engine, rebound, bus, np.array([-2.0]), np.zeros(1), limits).released == (False,)


def test_the_grid_trades_its_own_broken_limits_but_never_those_of_others():
    """Relief of an overloaded line lifts a voltage that is too high anyway: good for the grid, not for a customer."""
    _, engine, p, q, actions, limits = case("cigre", 1)
    state = engine.solve_bus(p, q)
    at = int(np.flatnonzero(engine.network.bus_ids == 10)[0])
    v_max = np.full(len(p), 1.5)
    v_max[at] = state.vm_pu[at] - 5e-3
    broken = replace(
        limits, v_min_pu=np.full(len(p), 0.5), v_max_pu=v_max, trafo_percent=np.full(2, 500.0),
        line_percent=state.line_loading_percent - 5.0,
    )  # fmt: skip
    bus, moved, none = np.array([actions[0].bus]), np.array([-0.5]), np.zeros(1)
    cases = [HarmCase(name="now", p_mw=p, q_mvar=q)]
    after = engine.solve_bus(p + np.bincount(bus, moved, len(p)), q)
    assert after.vm_pu[at] > state.vm_pu[at] + 2e-4
    assert check_harm(engine, cases, bus, moved, none, broken).released == (True,)
    kept = check_harm(engine, cases, bus, moved, none, broken, protected=(at,))
    assert kept.released == (False,)
    assert kept.harms[0].violation.element == "bus.10"


def offer(name, location, hour, **changes):
    fields = {
        "id": name, "seller": "ams", "location": location, "product": Product.CRP2, "session": Session.DAY_AHEAD,
        "start": T0 + timedelta(hours=hour), "stop": T0 + timedelta(hours=hour + 1),
        "submitted_at": T0 - timedelta(days=1), "p_min_mw": -2.0, "p_max_mw": 1.0, "q_min_mvar": -0.5,
        "q_max_mvar": 0.5, "price_eur_per_mwh": 60.0, "availability_eur_per_mw_h": 5.0,
    }  # fmt: skip
    return Offer(**(fields | changes))


def intervals(engine, p, q, limits, hours):
    return tuple(
        PurchaseInterval(start=T0 + timedelta(minutes=15 * k), hours=0.25, p_mw=p, q_mvar=q, limits=limits)
        for k in range(4 * hours)
    )


def test_purchase_cures_what_it_can_and_keeps_to_the_offers():
    _, engine, p, q, actions, limits = case("cigre", 2)
    places = {"a": actions[0].bus, "b": actions[2].bus, "c": actions[3].bus}
    offers = tuple(offer(f"{name}{hour}", name, hour) for hour in (0, 1) for name in places)
    offers += (offer("dear", "a", 0, price_eur_per_mwh=900.0),)
    plan = plan_purchase(engine, intervals(engine, p, q, limits, 2), offers, places, limit_eur_per_mwh=500.0)
    assert plan.cured == 8
    assert not plan.left
    assert plan.rejected[0][0] == "dear"
    assert plan.expected_cost_eur > 0
    for purchase in plan.purchases:
        assert -2.0 <= purchase.p_min_mw <= 0.0 <= purchase.p_max_mw <= 1.0
    # what was bought suffices: optimise again inside the purchases
    bought = tuple(
        Action(name=x.offer, bus=places[x.offer[0]], p_min_mw=x.p_min_mw, p_max_mw=x.p_max_mw,
               q_min_mvar=x.q_min_mvar, q_max_mvar=x.q_max_mvar)
        for x in plan.purchases if x.offer.endswith("0")
    )  # fmt: skip
    again = optimise(engine, p, q, bought, limits)
    assert sum(v.severity for v in again.after) < 0.05


def test_energy_group_and_block_offer():
    _, engine, p, q, actions, limits = case("cigre", 2)
    places = {"a": actions[2].bus}
    store = offer("a0", "a", 0, p_min_mw=-6.0, q_min_mvar=0.0, q_max_mvar=0.0, group="store", group_energy_mwh=0.5)
    plan = plan_purchase(engine, intervals(engine, p, q, limits, 1), (store,), places, limit_eur_per_mwh=500.0)
    free = plan_purchase(
        engine, intervals(engine, p, q, limits, 1), (replace(store, group="", group_energy_mwh=None),), places,
        limit_eur_per_mwh=500.0,
    )  # fmt: skip
    assert plan.cured < free.cured or plan.purchases[0].p_min_mw >= -2.0 - 1e-6
    block = offer("a0", "a", 0, p_min_mw=-6.0, divisible=False)
    whole = plan_purchase(engine, intervals(engine, p, q, limits, 1), (block,), places, limit_eur_per_mwh=500.0)
    assert whole.purchases[0].p_min_mw == -6.0
