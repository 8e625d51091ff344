"""Device positions over a day: when to switch, so that losses and voltages improve more than the switching wears.

Two steps.  First, candidates: the positions that a search finds for every interval alone, and their neighbours.
Second, the cheapest path through the candidates over time, by dynamic programming (R. Bellman, 1957; for taps and
capacitors over a day: F.-C. Lu, Y.-Y. Hsu, "Reactive power/voltage control in a distribution substation using dynamic
programming", IEE Proc. C 142(6), 1995).  Within the candidates the path is exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.domain.voltvar.devices import Device, Positions
from heila_mosaik.domain.voltvar.search import search

CostAt = Callable[[int, Positions], float]
"""Cost of positions in interval k. [EUR/h]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPlan:
    """Answer of :func:`plan_day`.

    Attributes:
        positions: Positions of every interval. (t, d)
        cost_eur: Running cost of the plan, without wear. [EUR]
        wear_eur: Wear of its switchings, from the present positions on. [EUR]
        stay_eur: Running cost of staying at the present positions. [EUR]
        steps: Steps of each device over the horizon. (d,)
        evaluations: Costs looked up.
        wear_factor: Factor on the wear that kept the steps within their limit. [1]
    """

    positions: tuple[Positions, ...]
    cost_eur: float
    wear_eur: float
    stay_eur: float
    steps: tuple[int, ...]
    evaluations: int
    wear_factor: float = 1.0

    @property
    def gain_eur(self) -> float:
        """What the plan saves against staying, wear paid. [EUR]"""
        return self.stay_eur - self.cost_eur - self.wear_eur


def plan_day(
    cost: CostAt,
    hours: FloatArray,
    devices: tuple[Device, ...],
    start: Positions,
    *,
    budget: int = 60,
    max_steps: int | None = None,
    width: int = 64,
) -> DayPlan:
    """Plan the positions of all intervals.

    Args:
        cost: Cost of positions in an interval. [EUR/h]
        hours: Length of each interval. [h] (t,)
        devices: Devices. (d,)
        start: Present positions. (d,)
        budget: Positions the search may look at in each interval.
        max_steps: Steps a device may make over the horizon; ``None``: as wear allows.
        width: Candidates at most.
    """
    memory: dict[tuple[int, Positions], float] = {}

    def known(interval: int, positions: Positions) -> float:
        key = (interval, positions)
        if key not in memory:
            memory[key] = cost(interval, positions)
        return memory[key]

    candidates = _candidates(known, len(hours), devices, start, budget, width)
    # devices move once for each candidate, not for each interval
    running = np.array([[known(row, each) for row in range(len(hours))] for each in candidates]).T * hours[:, None]
    table = np.array(candidates)
    factor = 1.0
    while True:
        path = _cheapest(running, table, np.array([device.step_eur for device in devices]) * factor)
        steps = np.abs(np.diff(np.vstack((table[path[:1] * 0], table[path])), axis=0)).sum(axis=0)
        if max_steps is None or int(steps.max(initial=0)) <= max_steps or factor > 1e6:
            break
        factor *= 2.0
    price = np.array([device.step_eur for device in devices])
    return DayPlan(
        positions=tuple(candidates[place] for place in path),
        cost_eur=float(running[np.arange(len(path)), path].sum()),
        wear_eur=float(steps @ price),
        stay_eur=float(running[:, 0].sum()),
        steps=tuple(int(value) for value in steps),
        evaluations=len(memory),
        wear_factor=factor,
    )


def _candidates(
    known: CostAt, count: int, devices: tuple[Device, ...], start: Positions, budget: int, width: int
) -> list[Positions]:
    """The start first, then the positions found for the intervals, then their neighbours, the most useful first."""
    free = tuple(replace(device, wear_eur=0.0) for device in devices)
    found: dict[Positions, int] = {start: 0}
    here = start
    for interval in range(count):

        def at(positions: Positions, interval: int = interval) -> float:
            return known(interval, positions)

        here = search(at, free, here, budget=budget).positions
        found[here] = found.get(here, 0) + 1
    ordered = sorted(found, key=lambda each: (each != start, -found[each], each))[:width]
    for centre in list(ordered):
        for k, device in enumerate(devices):
            for step in (-1, 1):
                near = (*centre[:k], centre[k] + step, *centre[k + 1 :])
                if device.low <= near[k] <= device.high and near not in ordered and len(ordered) < width:
                    ordered.append(near)
    return ordered


def _cheapest(running: FloatArray, table: FloatArray, step_eur: FloatArray) -> IntArray:
    """Candidate of each interval on the cheapest path from candidate 0. (t,)"""
    change = np.abs(table[:, None, :] - table[None, :, :]) @ step_eur
    change += 1e-9 * (change > 0)  # of equal paths the one that switches later
    total = running[0] + change[0]
    came = np.zeros(running.shape, np.int64)
    for row in range(1, len(running)):
        through = total[:, None] + change
        came[row] = np.argmin(through, axis=0)
        total = through[came[row], np.arange(len(total))] + running[row]
    path = np.empty(len(running), np.int64)
    path[-1] = int(np.argmin(total))
    for row in range(len(running) - 1, 0, -1):
        path[row - 1] = came[row, path[row]]
    return path
