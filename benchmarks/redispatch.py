"""Speed and optimality of the redispatch against ``pandapower.runopp`` on CIGRE MV and case33bw, in one run.

Run: ``python benchmarks/redispatch.py [cases]``
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from heila_mosaik.domain.congestion import optimise, violations
from tests.domain.test_congestion import case, runopp_cost


def main() -> None:
    warnings.simplefilter("ignore")
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    for name in ("cigre", "case33bw"):
        ours_s, theirs_s, gaps, rounds, failed, over = 0.0, 0.0, [], [], 0, 0.0
        optimise(*case(name, 0)[1:])
        for seed in range(cases):
            net, engine, p, q, actions, limits = case(name, seed)
            start = time.perf_counter()
            answer = optimise(engine, p, q, actions, limits)
            ours_s += time.perf_counter() - start
            rounds.append(answer.rounds)
            broken = violations(answer.state, engine.network, limits)
            over = max([over, *(v.excess for v in broken if v.kind == "current")])
            start = time.perf_counter()
            optimum = runopp_cost(net, actions, engine.network.bus_ids)
            if optimum is None:
                failed += 1
                continue
            theirs_s += time.perf_counter() - start
            if optimum > 1.0:
                gaps.append(answer.cost_eur_per_h / optimum - 1.0)
        solved = max(cases - failed, 1)
        print(f"{name}: {1e3 * ours_s / cases:.1f} ms, {sum(rounds) / cases:.1f} rounds")
        ratio = theirs_s / solved / (ours_s / cases)
        print(f"  runopp {1e3 * theirs_s / solved:.0f} ms, failed {failed}/{cases}, ratio {ratio:.0f}")
        print(f"  gap {100 * min(gaps):.3f} to {100 * max(gaps):.3f} %, worst overload left {over:.4f} %")


if __name__ == "__main__":
    main()
