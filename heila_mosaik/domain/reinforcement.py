"""Conventional grid reinforcement: which systems to add, and what they cost a year.

The rule is the planner's usual one, a parallel system where the current or the voltage is violated: an overloaded
branch gets as many systems as its loading asks for; a voltage outside its band is cured on the path to the
substation, at the branch with the largest voltage change per EUR.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from heila_mosaik.domain.quantities import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """Lines a planner may double.

    Attributes:
        from_bus: Bus position. (n,)
        to_bus: Bus position. (n,)
        cost_eur: One more system of each. [EUR] (n,)
        closed: Whether it carries current. (n,)
    """

    from_bus: IntArray
    to_bus: IntArray
    cost_eur: FloatArray
    closed: Sequence[bool]


def annuity(capital_eur: float, years: float, interest: float) -> float:
    """Equal yearly payment that pays ``capital_eur`` back with interest. [EUR/a]

    Args:
        capital_eur: Investment. [EUR]
        years: Lifetime. [a]
        interest: Interest a year. [1]
    """
    if interest == 0.0:
        return capital_eur / years
    return capital_eur * interest / (1.0 - (1.0 + interest) ** -years)


def systems_for(loading_percent: FloatArray, limit_percent: FloatArray) -> dict[int, int]:
    """Systems to add to each overloaded branch so that its present current would fit.

    Args:
        loading_percent: Highest loading of each branch. [%] (n,)
        limit_percent: Its limit. [%] (n,)

    Returns:
        Count by position.
    """
    found: dict[int, int] = {}
    for row, (loading, limit) in enumerate(zip(loading_percent.tolist(), limit_percent.tolist(), strict=True)):
        if math.isfinite(loading) and loading > limit:
            found[row] = math.ceil(loading / limit - 1e-9) - 1
    return found


def path(branches: Branches, start: int, sources: Sequence[int]) -> tuple[int, ...]:
    """Branches from a bus to the nearest source, fewest branches first; empty if there is no way."""
    neighbours: dict[int, list[tuple[int, int]]] = {}
    for row, (one, other, closed) in enumerate(
        zip(branches.from_bus.tolist(), branches.to_bus.tolist(), branches.closed, strict=True)
    ):
        if closed:
            neighbours.setdefault(one, []).append((other, row))
            neighbours.setdefault(other, []).append((one, row))
    came: dict[int, tuple[int, int] | None] = {start: None}
    queue = [start]
    goals = set(sources)
    for bus in queue:
        if bus in goals:
            return _walked(came, bus)
        for other, row in neighbours.get(bus, ()):
            if other not in came:
                came[other] = (bus, row)
                queue.append(other)
    return ()


def _walked(came: Mapping[int, tuple[int, int] | None], bus: int) -> tuple[int, ...]:
    rows: list[int] = []
    step = came[bus]
    while step is not None:
        rows.append(step[1])
        step = came[step[0]]
    return tuple(reversed(rows))


def cure_voltage(branches: Branches, vm_pu: FloatArray, bus: int, sources: Sequence[int]) -> int | None:
    """Branch on the path from ``bus`` to a source whose doubling changes the voltage most per EUR.

    Doubling a branch halves its impedance and with it about half of its voltage change.

    Args:
        branches: Lines.
        vm_pu: Voltages at the worst time. [pu] (n_bus,)
        bus: Bus whose voltage is outside its band.
        sources: Busbars of the substation.
    """
    rows = path(branches, bus, sources)
    if not rows:
        return None

    def gain(row: int) -> float:
        change = abs(float(vm_pu[branches.to_bus[row]] - vm_pu[branches.from_bus[row]]))
        return change / max(float(branches.cost_eur[row]), 1.0)

    return max(rows, key=lambda row: (gain(row), -row))
