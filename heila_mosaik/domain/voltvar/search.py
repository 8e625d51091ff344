"""Best positions of stepped devices for one state: neighbourhood descent.

Each round looks along every device (the whole line while that is short, else a shrinking bracket) and, when no single
device helps, at moves of two devices against each other: a tap up and a bank out often pay only together.  Costs are
remembered, so an evaluation is one power flow.  The method follows variable neighbourhood descent (P. Hansen,
N. Mladenovic, "Variable neighborhood search: principles and applications", EJOR 130(3), 2001).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

from heila_mosaik.domain.voltvar.devices import Device, Positions, wear_eur

Cost = Callable[[Positions], float]
"""Cost of positions for the state in question. [EUR/h]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Answer of :func:`search`.

    Attributes:
        positions: Best positions found. (d,)
        cost_eur_per_h: Cost of the state there, without wear. [EUR/h]
        wear_eur: Wear of going there from the start. [EUR]
        evaluations: Different positions looked at.
        exhausted: Whether the budget ended the search.
    """

    positions: Positions
    cost_eur_per_h: float
    wear_eur: float
    evaluations: int
    exhausted: bool


class _Ledger:
    """Costs with wear of the positions looked at, within a budget."""

    def __init__(self, cost: Cost, devices: tuple[Device, ...], start: Positions, hours: float, budget: int) -> None:
        self._cost, self._devices, self._start, self._hours = cost, devices, start, hours
        self.budget = budget
        self.known: dict[Positions, float] = {}

    def __call__(self, positions: Positions) -> float:
        """Cost over the hours plus wear; infinite when the budget is spent. [EUR]"""
        if positions not in self.known:
            if self.spent:
                return float("inf")
            self.known[positions] = self._cost(positions)
        return self.known[positions] * self._hours + wear_eur(self._devices, self._start, positions)

    @property
    def spent(self) -> bool:
        return len(self.known) >= self.budget


def search(
    cost: Cost,
    devices: tuple[Device, ...],
    start: Positions,
    *,
    hours: float = 1.0,
    budget: int = 300,
    wear: bool = True,
) -> Snapshot:
    """Find positions of least cost.

    Args:
        cost: Cost of positions. [EUR/h]
        devices: Devices. (d,)
        start: Present positions. (d,)
        hours: Time the state is expected to last; wear is spread over it. [h]
        budget: Positions that may be looked at.
        wear: Whether wear counts.
    """
    ledger = _Ledger(cost, devices, start, hours, budget)
    if not wear:
        ledger = _Ledger(cost, tuple(_free(device) for device in devices), start, hours, budget)
    here = tuple(min(max(p, d.low), d.high) for p, d in zip(start, devices, strict=True))
    best = ledger(here)
    improved = True
    while improved and not ledger.spent:
        improved = False
        for candidates in _neighbourhoods(devices, here):
            found = min(((ledger(point), point) for point in candidates), default=(best, here))
            if found[0] < best - 1e-9 * max(1.0, abs(best)):
                best, here = found
                improved = True
                break
    return Snapshot(
        positions=here,
        cost_eur_per_h=ledger.known[here],
        wear_eur=wear_eur(devices, start, here),
        evaluations=len(ledger.known),
        exhausted=ledger.spent,
    )


def _free(device: Device) -> Device:
    return Device(elements=device.elements, low=device.low, high=device.high, wear_eur=0.0, dwell_s=device.dwell_s)


def _neighbourhoods(devices: tuple[Device, ...], here: Positions) -> Iterator[list[Positions]]:
    """Neighbourhoods about a point, nearest first: one step of one device, its whole line, steps of two devices."""
    yield [
        _moved(here, ((k, step),)) for k in range(len(devices)) for step in (-1, 1) if _fits(devices[k], here[k], step)
    ]
    yield [
        _moved(here, ((k, value - here[k]),))
        for k, device in enumerate(devices)
        for value in range(device.low, device.high + 1)
        if abs(value - here[k]) > 1
    ]
    for reach in (1, 2):
        steps = [step for step in range(-reach, reach + 1) if step]
        yield [
            _moved(here, ((first, a), (second, b)))
            for first, second in combinations(range(len(devices)), 2)
            for a, b in product(steps, steps)
            if max(abs(a), abs(b)) == reach
            and _fits(devices[first], here[first], a)
            and _fits(devices[second], here[second], b)
        ]


def _fits(device: Device, position: int, step: int) -> bool:
    return device.low <= position + step <= device.high


def _moved(here: Positions, moves: tuple[tuple[int, int], ...]) -> Positions:
    moved = list(here)
    for k, step in moves:
        moved[k] += step
    return tuple(moved)
