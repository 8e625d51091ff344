"""Reconfiguration against a published optimum and exhaustive search."""

from __future__ import annotations

import itertools

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.reconfiguration import NotRadialError, reconfigure
from heila_mosaik.domain.reconfiguration.exchange import radial_cases
from heila_mosaik.domain.topology import make_graph
from heila_mosaik.gridmodel import compile_net


def losses_kw(net, opened):
    """Losses by pandapower with these lines out of service, all others in."""
    net.line["in_service"] = [f"line.{line}" not in opened for line in net.line.index]
    pp.runpp(net, numba=False)
    return 1e3 * (net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum())


def test_case33bw_finds_the_optimum_of_all_spanning_trees():
    net = nw.case33bw()  # the variant with line 7-8 of 0.7114 + j0.2351 ohm: 202.677 kW, not 210.998 kW
    engine = compile_net(net)
    graph = make_graph(engine.network, lines_switch=True)
    answer = reconfigure(engine, graph, set(graph.devices), radial_cases(engine))
    assert 1e3 * answer.before.losses_mw == pytest.approx(202.677, abs=1e-3)
    assert 1e3 * answer.after.losses_mw == pytest.approx(139.551, abs=1e-3)
    # the literature counts lines from 1
    assert sorted(int(name.partition(".")[2]) + 1 for name in answer.open) == [7, 9, 14, 32, 37]
    assert losses_kw(net, answer.open) == pytest.approx(139.551, abs=1e-3)
    # the caller's engine is where it was
    assert [engine.in_service("line", line) for line in range(32, 37)] == [False] * 5


def ring_net(seed, buses=7, ties=2):
    """A random tree of 20 kV cables with some ties, which start out of service."""
    rng = np.random.default_rng(seed)
    net = pp.create_empty_network()
    for bus in range(buses):
        pp.create_bus(net, 20.0, min_vm_pu=0.9, max_vm_pu=1.1)
        if bus:
            pp.create_load(net, bus, *rng.uniform(0.1, 0.9, 2) * (1.0, 0.4))
    pp.create_ext_grid(net, 0, vm_pu=1.02)
    pairs = [(int(rng.integers(bus)), bus) for bus in range(1, buses)]
    rest = [pair for pair in itertools.combinations(range(buses), 2) if pair not in pairs]
    extra = [rest[k] for k in rng.choice(len(rest), ties, replace=False)]
    for position, (a, b) in enumerate([*pairs, *extra]):
        pp.create_line_from_parameters(
            net, a, b, float(rng.uniform(0.5, 4.0)), 0.4, 0.13, 190.0, 0.25, in_service=position < len(pairs)
        )
    return net


def spanning_trees(net):
    """Every set of lines whose opening leaves a tree."""
    count = len(net.line) - len(net.bus) + 1
    for opened in itertools.combinations(net.line.index, count):
        kept = net.line.drop(list(opened))
        reached, grew = {0}, True
        while grew:
            more = {
                b if a in reached else a
                for a, b in zip(kept.from_bus, kept.to_bus, strict=True)
                if (a in reached) != (b in reached)
            }
            grew, reached = bool(more), reached | more
        if len(reached) == len(net.bus):
            yield tuple(f"line.{line}" for line in opened)


@pytest.mark.parametrize("seed", range(6))
def test_no_single_exchange_and_seldom_a_tree_is_better(seed):
    net = ring_net(seed)
    engine = compile_net(net)
    graph = make_graph(engine.network, lines_switch=True)
    answer = reconfigure(engine, graph, set(graph.devices), radial_cases(engine))
    losses = {opened: losses_kw(net, opened) for opened in spanning_trees(net)}
    mine = losses[tuple(sorted(answer.open, key=lambda name: int(name.partition(".")[2])))]
    assert mine == pytest.approx(1e3 * answer.after.losses_mw, rel=1e-5)
    neighbours = [kw for opened, kw in losses.items() if len(set(opened) - set(answer.open)) == 1]
    assert mine <= min(neighbours) + 1e-4
    assert mine <= min(losses.values()) * 1.02


def test_limits_come_before_losses():
    net = ring_net(3)
    engine = compile_net(net)
    graph = make_graph(engine.network, lines_switch=True)
    free = reconfigure(engine, graph, set(graph.devices), radial_cases(engine))
    engine_loading = compile_net(net)
    for name in graph.devices:
        engine_loading.set_in_service("line", int(name.partition(".")[2]), free.positions[name])
    state = engine_loading.solve(engine_loading.default_input())
    limits = Limits.of(engine.network)
    tight = np.where(state.line_loading_percent > 0.95 * np.nanmax(state.line_loading_percent), 1.0, 1e3)
    limits.line_percent[:] = tight * 0.9 * np.nanmax(state.line_loading_percent)
    bound = reconfigure(engine, graph, set(graph.devices), radial_cases(engine), limits)
    assert bound.after.excess <= bound.before.excess
    assert bound.after.losses_mw >= free.after.losses_mw - 1e-9


def test_a_loop_and_a_dark_zone_are_named():
    net = ring_net(1)
    engine = compile_net(net)
    graph = make_graph(engine.network, lines_switch=True)
    with pytest.raises(NotRadialError, match=r"closed in a loop: line\.\d"):
        reconfigure(
            engine, graph, set(graph.devices), radial_cases(engine), positions=dict.fromkeys(graph.devices, True)
        )
    with pytest.raises(NotRadialError, match="without supply"):
        reconfigure(engine, graph, set(graph.devices), radial_cases(engine), positions={"line.0": False})
