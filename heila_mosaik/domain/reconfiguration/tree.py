"""The forest that closed devices make of the zones of a grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from heila_mosaik.domain.topology import Zones


class Tree:
    """Zones supplied from root zones through closed devices.

    Args:
        zones: Zones and the devices between them.
        roots: Zones with a source.
        closed: Position of each device.

    Attributes:
        parent: Zone and device through which each supplied zone is fed; roots have ``(-1, "")``.
        root: Root zone of each supplied zone.
        loops: Closed devices between zones that are supplied already.
        dark: Zones that are not supplied although a device leads to them.
    """

    def __init__(self, zones: Zones, roots: Sequence[int], closed: Mapping[str, bool]) -> None:
        self._ends = {name: (int(a), int(b)) for name, a, b in zip(zones.device, zones.a, zones.b, strict=True)}
        next_to: dict[int, list[tuple[str, int]]] = {}
        for name, (a, b) in self._ends.items():
            if closed.get(name, False):
                next_to.setdefault(a, []).append((name, b))
                next_to.setdefault(b, []).append((name, a))
        self.parent: dict[int, tuple[int, str]] = dict.fromkeys(roots, (-1, ""))
        self.root: dict[int, int] = {zone: zone for zone in roots}
        self._depth: dict[int, int] = dict.fromkeys(roots, 0)
        used: set[str] = set()
        loops: list[str] = []
        waiting = deque(roots)
        while waiting:
            zone = waiting.popleft()
            for name, other in next_to.get(zone, ()):
                if name in used:
                    continue
                used.add(name)
                if other in self.parent:
                    loops.append(name)
                    continue
                self.parent[other] = (zone, name)
                self.root[other], self._depth[other] = self.root[zone], self._depth[zone] + 1
                waiting.append(other)
        self.loops = tuple(loops)
        reachable = {zone for ends in self._ends.values() for zone in ends}
        self.dark = tuple(sorted(reachable - set(self.parent)))

    def ends(self, device: str) -> tuple[int, int]:
        """Zones at both sides of a device."""
        return self._ends[device]

    def loop(self, tie: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Devices on the two ways from the ends of an open device to where they meet, nearest first.

        Ways to two different roots end there; a tie towards the dark or within a zone makes no loop.
        """
        a, b = self._ends.get(tie, (-1, -1))
        if a == b or a not in self.parent or b not in self.parent:
            return (), ()
        ways: tuple[list[str], list[str]] = ([], [])
        at = [a, b]
        while at[0] != at[1]:
            side = 0 if self._depth[at[0]] >= self._depth[at[1]] else 1
            zone, device = self.parent[at[side]]
            if zone < 0:
                side = 1 - side
                zone, device = self.parent[at[side]]
                if zone < 0:
                    break
            ways[side].append(device)
            at[side] = zone
        return tuple(ways[0]), tuple(ways[1])
