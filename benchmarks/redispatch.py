"""Speed and optimality of the redispatch against ``pandapower.runopp`` on four grids, in one run.

CIGRE MV, CIGRE MV with its ties closed, the 33-bus feeder and SimBench 1-MV-rural--2-sw, every case with other loads,
prices and overloads.  The gap is ours over runopp's cost; every answer is judged by an AC power flow.  Cases in which
runopp does not converge are counted and left out of its time and of the gap.

Run ``python -m benchmarks.redispatch [--json] [--cases 20]``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass

from heila_mosaik.domain.congestion import optimise, violations
from tests.domain.test_congestion import case, runopp_cost

GRIDS = ("cigre", "meshed", "case33bw", "rural_mv")
GAP_PERCENT, OVERLOAD_PERCENT, RATIO = 0.2, 0.01, 40.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One grid.

    Attributes:
        grid: Grid.
        cases: Cases run.
        unsolved: Cases of ours with a limit still broken.
        failed: Cases in which runopp did not converge.
        ours_ms, theirs_ms: Mean time of a case. [ms]
        rounds: Mean number of linearisations.
        worst_gap_percent: Largest cost over runopp's. [%]
        overload_percent: Largest loading left over a limit. [%]
        ratio: runopp's time by ours.
        met: Whether all three targets are met.
    """

    grid: str
    cases: int
    unsolved: int
    failed: int
    ours_ms: float
    theirs_ms: float
    rounds: float
    worst_gap_percent: float
    overload_percent: float
    ratio: float
    met: bool


def measure(name: str, cases: int) -> Row:
    """Run one grid."""
    ours_s, theirs_s, gaps, rounds, failed, unsolved, over = 0.0, 0.0, [0.0], 0, 0, 0, 0.0
    optimise(*case(name, 0)[1:])
    for seed in range(cases):
        net, engine, p, q, actions, limits = case(name, seed)
        start = time.perf_counter()
        answer = optimise(engine, p, q, actions, limits)
        ours_s += time.perf_counter() - start
        rounds += answer.rounds
        broken = violations(answer.state, engine.network, limits, voltage_pu=1e-5, percent=OVERLOAD_PERCENT)
        unsolved += bool(broken)
        over = max([over, *(v.excess for v in violations(answer.state, engine.network, limits) if v.kind == "current")])
        start = time.perf_counter()
        optimum = runopp_cost(net, actions, engine.network.bus_ids)
        if optimum is None:
            failed += 1
            continue
        theirs_s += time.perf_counter() - start
        if optimum > 1.0:
            gaps.append(100.0 * (answer.cost_eur_per_h / optimum - 1.0))
    theirs_ms, ours_ms = 1e3 * theirs_s / max(cases - failed, 1), 1e3 * ours_s / cases
    met = max(gaps) <= GAP_PERCENT and over <= OVERLOAD_PERCENT and not unsolved and theirs_ms / ours_ms >= RATIO
    return Row(
        grid=name,
        cases=cases,
        unsolved=unsolved,
        failed=failed,
        ours_ms=ours_ms,
        theirs_ms=theirs_ms,
        rounds=rounds / cases,
        worst_gap_percent=max(gaps),
        overload_percent=over,
        ratio=theirs_ms / ours_ms,
        met=met,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Redispatch against pandapower.runopp.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--cases", type=int, default=20, help="seeded cases of each grid")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows = [measure(name, options.cases) for name in GRIDS]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        for row in rows:
            print(
                f"{row.grid}: {row.ours_ms:.1f} ms in {row.rounds:.1f} rounds, runopp {row.theirs_ms:.0f} ms "
                f"(failed {row.failed}/{row.cases}), ratio {row.ratio:.0f}; worst gap {row.worst_gap_percent:.3f} %, "
                f"overload left {row.overload_percent:.4f} %, unsolved {row.unsolved} "
                f"({'met' if row.met else 'MISSED'})"
            )
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
