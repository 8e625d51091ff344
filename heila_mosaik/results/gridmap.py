"""Description of the grid for a run folder (``grid.json``)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from heila_mosaik.domain.network import Branches, Network
from heila_mosaik.domain.quantities import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceEntry:
    """A resource and the grid element that stands for it (``table`` ``storage``, ``sgen`` or ``load``)."""

    name: str
    kind: str
    table: str
    element: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrogridEntry:
    """A microgrid, its bus (pandapower id), resources and the voltage it has by contract. [pu]"""

    name: str
    label: str
    bus: int
    resources: tuple[ResourceEntry, ...]
    v_min_pu: float | None = None
    v_max_pu: float | None = None


def describe_grid(network: Network, microgrids: Sequence[MicrogridEntry]) -> dict[str, Any]:
    """JSON-able description: buses, lines and transformers as columns, microgrids as a list.

    Buses without a place on the map get one from a tree drawn from the first external grid.
    """
    xy = network.xy if np.isfinite(network.xy).all() else tree_layout(network)
    return {
        "name": network.name,
        "buses": {
            "id": network.bus_ids.tolist(),
            "name": list(network.bus_names),
            "vn_kv": _plain(network.vn_kv),
            "v_min_pu": _plain(network.v_min_pu),
            "v_max_pu": _plain(network.v_max_pu),
            "x": _plain(xy[:, 0]),
            "y": _plain(xy[:, 1]),
        },
        "lines": _branches(network, network.lines),
        "trafos": _branches(network, network.trafos),
        "microgrids": [
            {
                "name": grid.name,
                "label": grid.label,
                "bus": grid.bus,
                "v_min_pu": grid.v_min_pu,
                "v_max_pu": grid.v_max_pu,
                "resources": [
                    {"name": each.name, "kind": each.kind, "table": each.table, "element": each.element}
                    for each in grid.resources
                ],
            }
            for grid in microgrids
        ],
    }


def tree_layout(network: Network) -> FloatArray:
    """Place buses by their distance from the first external grid (x) and their order (y). (n_bus, 2)"""
    count = len(network.bus_ids)
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for branches in (network.lines, network.trafos, network.trafos3w):
        for first, second in zip(branches.from_bus.tolist(), branches.to_bus.tolist(), strict=True):
            neighbours[first].append(second)
            neighbours[second].append(first)
    depth = [-1] * count
    roots = network.ext_grids.bus.tolist() or [0]
    used: dict[int, int] = {}
    xy = np.zeros((count, 2))
    for root in [*roots, *range(count)]:
        if depth[root] >= 0:
            continue
        depth[root] = 0
        waiting = deque([root])
        while waiting:
            bus = waiting.popleft()
            row = used.get(depth[bus], 0)
            used[depth[bus]] = row + 1
            xy[bus] = depth[bus], row
            for other in neighbours[bus]:
                if depth[other] < 0:
                    depth[other] = depth[bus] + 1
                    waiting.append(other)
    return xy


def _branches(network: Network, branches: Branches) -> dict[str, Any]:
    return {
        "id": branches.ids.tolist(),
        "name": list(branches.names),
        "from_bus": network.bus_ids[branches.from_bus].tolist(),
        "to_bus": network.bus_ids[branches.to_bus].tolist(),
        "max_loading_percent": _plain(branches.max_loading_percent),
    }


def _plain(values: FloatArray) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
