"""Connectivity of a grid through its switches: sections, islands, protection zones.

Nodes are buses, lines and transformers; links are their connections, each with the device that opens it or none.  A
line is a node of its own because it has a switch at either end: with both open it is neither here nor there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from heila_mosaik.domain.network import Branches, Network
from heila_mosaik.domain.quantities import BoolArray, IntArray

Positions = Mapping[str, bool]
"""Position of devices, ``switch.3`` or, where lines have none, ``line.7``: ``True`` is closed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Connectivity of a grid.

    Attributes:
        nodes: ``bus.3``, ``line.7``, ``trafo.0``; the buses come first, in the order of the grid. (n,)
        first: First node of each table.
        a, b: Nodes of each link. (m,)
        device: Device of each link, empty where it is fixed. (m,)
        closed: Position of each link when the grid was read. (m,)
        breaker: Whether the device interrupts faults. (m,)
    """

    nodes: tuple[str, ...]
    first: Mapping[str, int]
    a: IntArray
    b: IntArray
    device: tuple[str, ...]
    closed: BoolArray
    breaker: BoolArray

    @property
    def devices(self) -> dict[str, bool]:
        """Position of every device when the grid was read, in the order of the grid."""
        return {name: bool(closed) for name, closed in zip(self.device, self.closed, strict=True) if name}

    def links(self, positions: Positions) -> BoolArray:
        """Position of each link, devices not named as they were read. (m,)"""
        return np.fromiter(
            (positions.get(name, bool(closed)) for name, closed in zip(self.device, self.closed, strict=True)),
            bool,
            len(self.device),
        )

    def parts(self, closed: BoolArray) -> IntArray:
        """Number of the connected part of each node. (n,)"""
        n = len(self.nodes)
        a, b = self.a[closed], self.b[closed]
        links = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(n, n))
        _count, part = connected_components(links, directed=False)
        found: IntArray = part.astype(np.int64)
        return found

    def connected(self, closed: BoolArray, roots: Iterable[int]) -> BoolArray:
        """Nodes connected to any of ``roots``. (n,)"""
        part = self.parts(closed)
        wanted = np.zeros(int(part.max(initial=-1)) + 1, bool)
        wanted[part[list(roots)]] = True
        found: BoolArray = wanted[part]
        return found

    def place(self, element: str) -> int:
        """Node of ``bus.3``, ``line.7`` or ``trafo.0``; ``KeyError`` without."""
        try:
            return self.nodes.index(element)
        except ValueError as error:
            raise KeyError(element) from error


def make_graph(network: Network, *, lines_switch: bool = False) -> Graph:
    """Connectivity of a grid.

    Args:
        network: The grid.
        lines_switch: Lines without any switch count as devices ``line.7`` themselves (the benchmark grids of the
            reconfiguration literature have lines only).
    """
    tables: tuple[tuple[str, Branches], ...] = (("line", network.lines), ("trafo", network.trafos))
    n = len(network.bus_ids)
    first = {"bus": 0, "line": n, "trafo": n + len(network.lines.ids)}
    nodes = [f"bus.{int(bus)}" for bus in network.bus_ids]
    links: list[tuple[int, int, str, bool, bool]] = []
    switches = network.switches
    at_end: dict[tuple[str, int, int], int] = {}
    for row, (kind, bus, other) in enumerate(zip(switches.kind, switches.bus, switches.other, strict=True)):
        name, closed, breaker = f"switch.{switches.ids[row]}", bool(switches.closed[row]), bool(switches.breaker[row])
        node = first[kind] + int(other)
        links.append((int(bus), node, name, closed, breaker))
        if kind != "bus":
            at_end[kind, int(other), int(bus)] = row
    for table, branches in tables:
        for row, element in enumerate(branches.ids.tolist()):
            nodes.append(f"{table}.{element}")
            node, on = first[table] + row, bool(branches.in_service[row])
            ends = [int(branches.from_bus[row]), int(branches.to_bus[row])]
            bare = [end for end in ends if (table, row, end) not in at_end]
            device = f"{table}.{element}" if lines_switch and table == "line" and len(bare) == len(ends) else ""
            if device:
                links += [(ends[0], node, device, on, False), (ends[1], node, "", True, False)]
            else:
                links += [(end, node, "", on, False) for end in bare]
    columns = list(zip(*links, strict=True)) or [(), (), (), (), ()]
    return Graph(
        nodes=tuple(nodes),
        first=first,
        a=np.asarray(columns[0], np.int64),
        b=np.asarray(columns[1], np.int64),
        device=tuple(str(name) for name in columns[2]),
        closed=np.asarray(columns[3], bool),
        breaker=np.asarray(columns[4], bool),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Zones:
    """Parts of a grid that no operable device divides, and the devices between them.

    Attributes:
        of: Zone of each node. (n,)
        count: Number of zones.
        device: Operable devices between two different zones. (k,)
        a, b: Their zones. (k,)
    """

    of: IntArray
    count: int
    device: tuple[str, ...]
    a: IntArray
    b: IntArray


def make_zones(graph: Graph, operable: Collection[str], positions: Positions) -> Zones:
    """Zones of a grid for a set of operable devices; the other devices stay as they are."""
    free = np.asarray([name in operable for name in graph.device], bool)
    of = graph.parts(graph.links(positions) & ~free)
    rows = [int(k) for k in np.flatnonzero(free) if of[graph.a[k]] != of[graph.b[k]]]
    return Zones(
        of=of,
        count=int(of.max(initial=-1)) + 1,
        device=tuple(graph.device[k] for k in rows),
        a=of[graph.a[rows]],
        b=of[graph.b[rows]],
    )


def fault_breakers(graph: Graph, closed: BoolArray, faulted: int) -> tuple[str, ...]:
    """Closed breakers around a fault: what protection opens.

    Selective protection opens the breakers nearest to the fault: those at the edge of the part that hangs together with
    it without passing a breaker.
    """
    inside = graph.connected(closed & ~graph.breaker, [faulted])
    edge = closed & graph.breaker & (inside[graph.a] | inside[graph.b])
    return tuple(dict.fromkeys(graph.device[k] for k in np.flatnonzero(edge)))
