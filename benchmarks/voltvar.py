"""Volt/VAR optimisation against brute force over every combination of positions, in one run.

Grid: pandapower's case33bw (lines 7-8 with 0.7114 + j0.2351 ohm) behind a transformer with 19 taps, with three
capacitor banks of 7 positions: 6517 combinations; with ``--large`` a fourth bank: 45 619.  Printed for each seeded
state: gap of the cost to the optimum, evaluations, and the time of brute force over that of the search.  Then the same
for a day: dynamic programming over the candidates against dynamic programming over all positions.

Run ``python -m benchmarks.voltvar [--cases 6] [--large]``.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import product

import numpy as np

from heila_mosaik.domain.voltvar import Weights, assess, place, plan_day, search
from heila_mosaik.domain.voltvar.devices import wear_eur
from tests.domain.voltvar_cases import brute_force, feeder

BANKS = ((17, 0.1, 6), (24, 0.1, 6), (32, 0.15, 6))
FOURTH = (12, 0.1, 6)
HOURS = 24


def snapshot(seed: int, banks: tuple[tuple[int, float, int], ...]) -> tuple[float, int, float, int]:
    """Gap [%], evaluations, ratio of the times and number of combinations of one state."""
    _net, engine, p, q, devices, limits = feeder(seed, banks=banks)
    weights = Weights()
    for tap in range(devices[0].low, devices[0].high + 1):
        engine.set_tap(0, tap)  # admittances of all taps are known to both before the clock starts
    begin = time.perf_counter()
    every = brute_force(engine, p, q, devices, limits, weights)
    middle = time.perf_counter()

    def cost(at: tuple[int, ...]) -> float:
        place(engine, devices, at)
        return assess(engine, p, q, limits, weights).cost_eur_per_h

    found = search(cost, devices, (0,) * len(devices), wear=False)
    end = time.perf_counter()
    gap = 100.0 * (found.cost_eur_per_h / min(every.values()) - 1.0)
    return gap, found.evaluations, (middle - begin) / (end - middle), len(every)


def day(seed: int) -> tuple[float, int, int]:
    """Gap [%] of a day's plan, costs it looked up, and costs there are."""
    _net, engine, p, q, devices, limits = feeder(seed, banks=((17, 0.3, 3), (32, 0.3, 3)))
    states = list(product(*(range(device.low, device.high + 1) for device in devices)))
    shape = 0.5 + 0.9 * np.sin(np.linspace(0.0, 5.0, HOURS)) ** 2
    table = np.empty((HOURS, len(states)))
    for column, at in enumerate(states):
        place(engine, devices, at)
        for row, factor in enumerate(shape):
            table[row, column] = assess(engine, factor * p, factor * q, limits, Weights()).cost_eur_per_h
    index = {at: column for column, at in enumerate(states)}
    start = (0,) * len(devices)
    plan = plan_day(lambda row, at: float(table[row, index[at]]), np.ones(HOURS), devices, start)
    change = np.array([[wear_eur(devices, a, b) for b in states] for a in states])
    total = change[index[start]] + table[0]
    for row in table[1:]:
        total = (total[:, None] + change).min(axis=0) + row
    return 100.0 * ((plan.cost_eur + plan.wear_eur) / float(total.min()) - 1.0), plan.evaluations, table.size


def main() -> None:
    """Print gaps, evaluations and ratios."""
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=6, help="seeded states")
    parser.add_argument("--large", action="store_true", help="a fourth capacitor bank")
    options = parser.parse_args()
    banks = (*BANKS, FOURTH) if options.large else BANKS
    snapshot(0, BANKS[:1])  # compiles the kernels
    rows = [snapshot(seed, banks) for seed in range(options.cases)]
    gaps, looked, ratios, counts = zip(*rows, strict=True)
    print(f"state: {options.cases} cases, {counts[0]} combinations")
    print(f"  gap to brute force {min(gaps):.3f} to {max(gaps):.3f} %, mean {np.mean(gaps):.3f} %")
    print(f"  evaluations {min(looked)} to {max(looked)}")
    print(f"  time of brute force over time of the search {min(ratios):.0f} to {max(ratios):.0f}")
    days = [day(seed) for seed in range(min(options.cases, 4))]
    print(f"day: {len(days)} cases, {HOURS} h, {days[0][2]} costs in all")
    gaps = [each[0] for each in days]
    print(f"  gap to dynamic programming over all positions {min(gaps):.3f} to {max(gaps):.3f} %")
    print(f"  costs looked up {min(d[1] for d in days)} to {max(d[1] for d in days)}")


if __name__ == "__main__":
    main()
