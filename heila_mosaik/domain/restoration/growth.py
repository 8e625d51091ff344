"""Growing trees of dead zones out of the live part of a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.reconfiguration.check import Outcome, Switchboard
from heila_mosaik.domain.reconfiguration.tree import Tree
from heila_mosaik.domain.topology import Zones

_DIGITS = 9


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """Zones of a grid with a dead part.

    Attributes:
        zones: Zones.
        present: Position of every device, the fault isolated.
        normal: Position of every device in normal operation.
        live: Zones that are supplied.
        faulted: Zones with a fault; never supplied.
        weight: Worth of supplying each zone. (n_zone,)
    """

    zones: Zones
    present: Mapping[str, bool]
    normal: Mapping[str, bool]
    live: set[int]
    faulted: set[int]
    weight: FloatArray

    def ends(self) -> Iterable[tuple[str, int, int]]:
        """Devices with the zones at their sides."""
        zones = self.zones
        return ((name, int(a), int(b)) for name, a, b in zip(zones.device, zones.a, zones.b, strict=True))

    def adjacent(self, some: set[int]) -> tuple[str, ...]:
        """Devices at the edge of or between some zones."""
        return tuple(name for name, a, b in self.ends() if a in some or b in some)

    def frontier(self, served: set[int]) -> tuple[str, ...]:
        """Devices from served zones to dead ones: those closed now first, then those closed in normal operation."""
        found = [
            (not self.present[name], not self.normal.get(name, False), position, name)
            for position, (name, a, b) in enumerate(self.ends())
            if (a in served) != (b in served) and not {a, b} & self.faulted
        ]
        return tuple(name for *_, name in sorted(found))

    def base(self) -> dict[str, bool]:
        """Positions with every device of the dead part open."""
        dead = set(range(self.zones.count)) - self.live
        return {**self.present, **dict.fromkeys(self.adjacent(dead), False)}

    def final(self, growth: Growth) -> dict[str, bool]:
        """Positions of an answer: devices between zones that stay dark are left as they are."""
        served = self.live | growth.served
        positions = dict(self.present)
        for name, a, b in self.ends():
            if a in served or b in served:
                inside = a in self.live and b in self.live
                positions[name] = name in growth.used if not inside else self.present[name]
        return positions

    def weight_of(self, some: Iterable[int]) -> float:
        """Worth of some zones."""
        return float(sum(self.weight[zone] for zone in some))


@dataclass(slots=True, kw_only=True)
class Growth:
    """Zones supplied again and the devices closed for it.

    Attributes:
        served: Zones supplied again.
        order: Closed devices of the dead part in the order of closing.
        outcome: AC check of the state.
        blocked: Smallest excess that kept a zone dark. [1]
    """

    served: set[int] = field(default_factory=set)
    order: list[str] = field(default_factory=list)
    outcome: Outcome
    blocked: float = 0.0

    @property
    def used(self) -> set[str]:
        """Devices closed in the dead part."""
        return set(self.order)

    def rank(self, area: Area) -> tuple[float, int, float]:
        """Order of answers: worth supplied, then few operations, then small losses."""
        moved = sum(closed != area.present[name] for name, closed in area.final(self).items())
        return round(area.weight_of(self.served), _DIGITS), -moved, -self.outcome.losses_mw


def grow(board: Switchboard, area: Area, first: str) -> Growth:
    """Take in dead zones one by one while limits hold; ``first`` is the first device tried."""
    positions, start = area.base(), None
    growth = Growth(outcome=board.check(positions))
    refused: set[str] = set()
    while True:
        ways = [name for name in area.frontier(area.live | growth.served) if name not in refused]
        if start is None and first in ways:
            ways = [first, *ways]
        start = first
        if not ways:
            return growth
        name = ways[0]
        outcome = board.check({**positions, name: True})
        if outcome.feasible:
            positions[name] = True
            _take(area, growth, name, outcome)
        else:
            refused.add(name)
            growth.blocked = min(growth.blocked or outcome.excess, outcome.excess)


def _take(area: Area, growth: Growth, name: str, outcome: Outcome) -> None:
    a, b = next((a, b) for device, a, b in area.ends() if device == name)
    growth.served |= {a, b} - area.live
    growth.order.append(name)
    growth.outcome = outcome


def make_room(board: Switchboard, area: Area, growth: Growth) -> Growth:
    """Move zones from one feeder to another where that makes room for zones left dark.

    For every device to a dark zone, every open device between two supplied zones of the dead part and every device in
    the loop it makes: close the first two, open the third.
    """
    improved = True
    while improved:
        improved = False
        served = area.live | growth.served
        for name in area.frontier(served):
            found = _exchange(board, area, growth, name)
            if found is not None:
                growth, improved = found, True
                break
    return growth


def _exchange(board: Switchboard, area: Area, growth: Growth, name: str) -> Growth | None:
    served, base = area.live | growth.served, area.base()
    positions = {**base, **dict.fromkeys(growth.order, True)}
    tree = Tree(area.zones, sorted(area.live), positions)
    ties = [
        device
        for device, a, b in area.ends()
        if a in served and b in served and not positions[device] and not (a in area.live and b in area.live)
    ]
    for tie in ties:
        for device in dict.fromkeys(sum(tree.loop(tie), ())):
            if device not in growth.used:
                continue
            trial = {**positions, tie: True, device: False, name: True}
            outcome = board.check(trial)
            if outcome.feasible:
                order = [used for used in growth.order if used != device]
                new = Growth(served=set(growth.served), order=[*order, tie], outcome=outcome, blocked=growth.blocked)
                _take(area, new, name, outcome)
                return new
    return None
