"""Restoration plans against exhaustive search and pandapower, and what an island may pick up."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pandapower as pp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.reconfiguration import Cases, Switchboard
from heila_mosaik.domain.restoration import (
    Demand,
    IslandSource,
    Question,
    check_island,
    pick_up,
    plan_island,
    plan_restoration,
    way_back,
)
from heila_mosaik.domain.topology import fault_breakers, make_graph, make_zones
from heila_mosaik.gridmodel import compile_net
from tests.domain.switched_net import feeders


def asked(net, line, **changes):
    """Engine and question after a fault on ``line`` and the trip of its breaker."""
    engine = compile_net(net)
    graph = make_graph(engine.network)
    tripped = fault_breakers(graph, graph.links({}), graph.place(f"line.{line}"))
    p, q = engine.bus_injection(engine.default_input())
    question = Question(
        graph=graph,
        positions={**graph.devices, **dict.fromkeys(tripped, False)},
        faulted=(f"line.{line}",),
        operable=tuple(graph.devices),
        sources=tuple(engine.network.ext_grids.bus.tolist()),
        weight=np.maximum(p, 0.0),
        cases=Cases(p_mw=p[None, :], q_mvar=q[None, :]),
        limits=Limits.of(engine.network),
    )
    return engine, replace(question, **changes)


def loops(graph, positions):
    """Closed independent loops of a switching state."""
    closed = graph.links(positions)
    return int(closed.sum()) - len(graph.nodes) + len(set(graph.parts(closed).tolist()))


def best_by_search(engine, question):
    """Largest weight that any radial position of the devices of the dark part supplies within limits."""
    graph = question.graph
    n = len(engine.network.bus_ids)
    fault = graph.place(question.faulted[0])
    around = [d for d, a, b in zip(graph.device, graph.a, graph.b, strict=True) if d and fault in (a, b)]
    fixed = {**question.positions, **dict.fromkeys(around, False)}
    live = graph.connected(graph.links(question.positions), question.sources)
    free = [
        d
        for d, a, b in zip(graph.device, graph.a, graph.b, strict=True)
        if d and d not in around and not (live[a] and live[b])
    ]
    board, best = Switchboard(engine.copy(), question.limits, question.cases), 0.0
    for choice in itertools.product((True, False), repeat=len(free)):
        trial = {**fixed, **dict(zip(free, choice, strict=True))}
        supplied = graph.connected(graph.links(trial), question.sources)
        weight = float(question.weight[supplied[:n] & ~live[:n]].sum())
        if weight > best + 1e-9 and loops(graph, trial) <= 0 and board.check(trial).feasible:
            best = weight
    return best


@pytest.mark.parametrize("line", [0, 1, 2, 3])
@pytest.mark.parametrize("load_mw", [0.5, 1.6, 2.0])
def test_plans_supply_as_much_as_exhaustive_search(line, load_mw):
    engine, question = asked(feeders(load_mw=load_mw, depth=4), line)
    plan = plan_restoration(engine, question)
    assert float(question.weight[plan.served].sum()) == pytest.approx(best_by_search(engine, question), abs=1e-6)


@pytest.mark.parametrize("line", range(9))
def test_plans_isolate_stay_radial_and_keep_limits_by_pandapower(line):
    net = feeders(load_mw=1.4, depth=4)
    engine, question = asked(net, line)
    plan = plan_restoration(engine, question)
    graph = question.graph
    closed = graph.links(plan.positions)
    assert not graph.connected(closed, question.sources)[graph.place(f"line.{line}")]
    assert loops(graph, plan.positions) <= 0
    assert set(plan.closing) <= {name for name, position in plan.positions.items() if position}
    for name, position in plan.positions.items():
        net.switch.loc[int(name.partition(".")[2]), "closed"] = position
    pp.runpp(net, numba=False)
    live = net.res_bus.vm_pu.notna().to_numpy()
    np.testing.assert_array_equal(live, ~plan.dark)
    assert net.res_bus.vm_pu.min() >= 0.9 - 1e-6
    assert net.res_line.loading_percent.max() <= 100.0 + 1e-3
    named = {bus for part in plan.unserved for bus in part.buses}
    assert named == {graph.nodes[bus] for bus in np.flatnonzero(plan.dark & (question.weight > 0))}


def test_reasons_tell_a_limit_from_a_missing_way():
    engine, question = asked(feeders(load_mw=2.0), 0)
    plan = plan_restoration(engine, question)
    assert any(part.reachable and "limits" in part.reason for part in plan.unserved)
    engine, question = asked(feeders(load_mw=0.3), 8)  # the stub's own line
    (lost,) = plan_restoration(engine, question).unserved
    assert (lost.buses, lost.reachable) == (("bus.10",), False)


def test_generators_stay_off_where_their_feed_in_is_what_limits():
    net = feeders(load_mw=0.4)
    for bus in (3, 4, 5):
        pp.create_sgen(net, bus, 5.0)
    engine, question = asked(net, 0, weight=np.r_[0.0, 0.0, np.full(9, 0.4)])
    p = question.cases.p_mw.copy()
    p[0, [3, 4, 5]] += 5.0
    alone = Cases(p_mw=p, q_mvar=question.cases.q_mvar)
    with_them = plan_restoration(engine, question)
    without = plan_restoration(engine, replace(question, alone=alone))
    assert without.generators_off
    assert without.served.sum() > with_them.served.sum()


def test_the_way_back_closes_before_it_opens():
    engine, question = asked(feeders(), 1)
    plan = plan_restoration(engine, question)
    closing, opening = way_back(plan.positions, question.graph.devices, question.operable)
    assert set(closing) == set(plan.isolate)
    assert set(opening) == {name for name in plan.closing if not question.graph.devices[name]}


def test_fixed_switches_make_larger_fault_zones():
    engine, question = asked(feeders(), 1)
    fixed = set(question.graph.devices) - {"switch.3"}
    assert (
        make_zones(question.graph, fixed, question.positions).count
        < make_zones(question.graph, question.graph.devices, question.positions).count
    )
    plan = plan_restoration(engine, replace(question, operable=tuple(fixed)))
    assert "switch.3" not in plan.isolate
    assert plan.dark.sum() > plan_restoration(engine, question).dark.sum()


POWERS = st.lists(st.floats(0.0, 2.0), min_size=3, max_size=3)


@given(
    rows=st.lists(st.tuples(POWERS, st.floats(-0.5, 0.5), st.integers(1, 3), st.integers(1, 500)), max_size=8),
    power=POWERS,
    energy=st.floats(0.0, 3.0),
    s_mva=st.floats(0.1, 3.0),
)
@settings(max_examples=150, deadline=None)
def test_what_is_picked_up_is_balanced_in_every_interval(rows, power, energy, s_mva):
    demands = [
        Demand(name=f"load.{k}", p_mw=np.array(p), q_mvar=np.full(3, q), priority=rank, customers=count)
        for k, (p, q, rank, count) in enumerate(rows)
    ]
    chosen = pick_up(demands, np.array(power), s_mva, energy, 0.5)
    p = sum((d.p_mw for d in demands if d.name in chosen), np.zeros(3))
    q = sum((d.q_mvar for d in demands if d.name in chosen), np.zeros(3))
    assert (p <= np.array(power) + 1e-6).all()
    assert (np.hypot(p, q) <= s_mva + 1e-6).all()
    assert p.sum() * 0.5 <= energy + 1e-6
    # nothing of the highest rank is left off for the sake of a lower one
    for missed in (d for d in demands if d.name not in chosen):
        above = [d for d in demands if d.name in chosen and d.priority <= missed.priority]
        with_it = [*above, missed]
        p, q = (sum((getattr(d, f) for d in with_it), np.zeros(3)) for f in ("p_mw", "q_mvar"))
        fits = (p <= power).all() and (np.hypot(p, q) <= s_mva).all() and p.sum() * 0.5 <= energy
        assert not fits or any(d.priority == missed.priority for d in above)


def test_an_island_takes_loads_by_priority_and_cuts_itself_off():
    net = feeders(load_mw=0.5)
    behind = pp.create_bus(net, 20.0, min_vm_pu=0.9, max_vm_pu=1.1)
    breaker = f"switch.{pp.create_switch(net, 3, behind, 'b', type='CB', closed=False)}"
    pp.create_ext_grid(net, behind, in_service=False)
    engine, question = asked(net, 0, sources=(0,))
    graph = question.graph
    positions = {**question.positions, "switch.1": False}
    bus = 3
    demands = {
        place: [
            Demand(name=f"load.{place - 2}", p_mw=np.full(2, 0.5), q_mvar=np.zeros(2), priority=1 if place == 5 else 2)
        ]
        for place in range(2, 6)
    }
    source = IslandSource(name="mg", breaker=breaker, bus=bus, p_mw=np.full(2, 1.1), s_mva=1.5, energy_mwh=1.1)
    allowed = ~graph.connected(graph.links(question.positions), question.sources)
    allowed[graph.place("line.0")] = False
    plan = plan_island(graph, positions, question.operable, source, demands, {4: ["sgen.7"]}, allowed, 0.5)
    assert plan is not None
    assert plan.connect[0] == "load.3"  # the farthest station comes first
    assert len(plan.connect) == 2
    assert plan.energy_mwh <= 1.1
    assert "sgen.7" in plan.disconnect
    assert set(plan.buses) >= {3, 4, 5}
    assert plan.closing[-1] == breaker
    after = {**positions, **dict.fromkeys(plan.opening, False)}
    reached = graph.connected(graph.links(after), [bus])
    assert not any(reached[source] for source in question.sources)
    engine.set_switches({int(name.partition(".")[2]): closed for name, closed in positions.items()})
    assert check_island(engine, question.limits, plan, 1, demands).feasible
    tight = replace(question.limits, v_min_pu=np.full(12, 0.99999))
    assert not check_island(engine, tight, plan, 1, demands).feasible
    poor = replace(source, energy_mwh=0.01)
    assert plan_island(graph, positions, question.operable, poor, demands, {}, allowed, 0.5) is None
