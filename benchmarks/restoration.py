"""Restoration and reconfiguration: speed of one checked switching state, of a plan, of the whole search.

Baseline: the same switching states solved by ``pandapower.runpp``, in the same run.  Answers are compared, too.

Run ``python -m benchmarks.restoration [--states 200]``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandapower as pp
import pandapower.networks as nw

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.reconfiguration import Cases, Switchboard, reconfigure
from heila_mosaik.domain.reconfiguration.exchange import radial_cases
from heila_mosaik.domain.restoration import Plan, Question, plan_restoration
from heila_mosaik.domain.topology import fault_breakers, make_graph
from heila_mosaik.gridmodel import compile_net
from heila_mosaik.gridmodel.diagnosis import load_net

GRID = Path(__file__).resolve().parents[1] / "grids" / "rural_mv" / "net.json"
LOAD_SHARE = 0.6
"""Load of the rural grid against its ratings; generators are off: the hard case for voltage."""


def states(count: int = 200) -> tuple[float, float, float]:
    """Seconds of one checked switching state of rural_mv, ours and pandapower's, and the largest difference. [pu]"""
    net = _rural()
    engine = compile_net(net)
    graph, rng = make_graph(engine.network), np.random.default_rng(1)
    kinds = zip(engine.network.switches.ids.tolist(), engine.network.switches.kind, strict=True)
    lines = [f"switch.{switch}" for switch, kind in kinds if kind == "line"]
    p, q = engine.bus_injection(engine.default_input())
    board = Switchboard(engine, Limits.of(engine.network), Cases(p_mw=p[None], q_mvar=q[None]))
    trials = [dict.fromkeys(rng.choice(lines, 2, replace=False).tolist(), False) for _ in range(count)]
    board.check({})
    ours = theirs = worst = 0.0
    for number, trial in enumerate(trials):
        begin = time.perf_counter()
        board.check({**graph.devices, **trial})
        ours += time.perf_counter() - begin
        if number % 20 == 0:
            mine = engine.solve_bus(p, q).vm_pu
            for name, closed in {**graph.devices, **trial}.items():
                net.switch.at[int(name.partition(".")[2]), "closed"] = closed
            begin = time.perf_counter()
            pp.runpp(net)
            theirs += time.perf_counter() - begin
            worst = max(worst, float(np.nanmax(np.abs(mine - net.res_bus.vm_pu.to_numpy()))))
    return ours / count, theirs / len(trials[::20]), worst


def plans() -> tuple[list[Plan], float]:
    """A plan for the fault of every line of rural_mv, and the mean time of one. [s]"""
    engine = compile_net(_rural())
    network = engine.network
    graph, sources = make_graph(network), tuple(network.ext_grids.bus.tolist())
    limits = Limits.of(network)
    limits = replace(limits, v_min_pu=np.full_like(limits.v_min_pu, 0.93), v_max_pu=np.full_like(limits.v_max_pu, 1.1))
    p, q = engine.bus_injection(engine.default_input())
    found, begin = [], time.perf_counter()
    for line in network.lines.ids.tolist():
        closed = graph.links({})
        tripped = fault_breakers(graph, closed, graph.place(f"line.{line}"))
        question = Question(
            graph=graph,
            positions={**graph.devices, **dict.fromkeys(tripped, False)},
            faulted=(f"line.{line}",),
            operable=list(graph.devices),
            sources=sources,
            weight=np.maximum(p, 0.0),
            cases=Cases(p_mw=p[None], q_mvar=q[None]),
            limits=limits,
        )
        found.append(plan_restoration(engine, question))
    return found, (time.perf_counter() - begin) / len(found)


def _rural() -> object:
    net = load_net(GRID)
    net.load["scaling"], net.sgen["scaling"] = LOAD_SHARE, 0.0
    return net


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=200, help="switching states of the first figure")
    ours, theirs, worst = states(parser.parse_args().states)
    print(f"rural_mv, one switching state checked: {1e6 * ours:.0f} us; pandapower.runpp {1e3 * theirs:.1f} ms")
    print(f"  ratio {theirs / ours:.0f}; largest difference {worst:.1e} pu")
    found, seconds = plans()
    whole = sum(not plan.unserved for plan in found)
    solved = sum(plan.evaluations for plan in found)
    print(
        f"rural_mv, {len(found)} single faults at {100 * LOAD_SHARE:.0f} % load: {1e3 * seconds:.0f} ms a plan, "
        f"{solved / len(found):.0f} power flows; {whole} restored completely"
    )
    print(f"  with runpp the power flows alone would take {solved / len(found) * theirs:.1f} s a plan")
    engine = compile_net(nw.case33bw())
    graph = make_graph(engine.network, lines_switch=True)
    cases = radial_cases(engine)
    reconfigure(engine, graph, set(graph.devices), cases)
    begin = time.perf_counter()
    answer = reconfigure(engine, graph, set(graph.devices), cases)
    seconds = time.perf_counter() - begin
    opened = "-".join(str(number) for number in sorted(int(name.partition(".")[2]) + 1 for name in answer.open))
    print(
        f"case33bw: {1e3 * answer.before.losses_mw:.3f} kW to {1e3 * answer.after.losses_mw:.3f} kW at {opened}, "
        f"{answer.evaluations} power flows in {1e3 * seconds:.0f} ms; the optimum is 139.551 kW at 7-9-14-32-37"
    )


if __name__ == "__main__":
    main()
