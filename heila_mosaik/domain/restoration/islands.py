"""Dark zones that a microgrid with grid-forming storage can carry until the repair."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.quantities import BoolArray, FloatArray, IntArray
from heila_mosaik.domain.reconfiguration.check import Cases, Outcome, Switchboard
from heila_mosaik.domain.restoration.pickup import Demand, pick_up
from heila_mosaik.domain.topology import Graph, Positions, make_zones

LOSS_SHARE = 0.03
"""Part of power and energy kept for the losses of the island. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class IslandSource:
    """A microgrid that can hold voltage and frequency of grid zones beside its own.

    Attributes:
        name: Microgrid.
        breaker: Device at its point of common coupling.
        bus: Bus of the grid it hangs on.
        p_mw: Power it can export in each interval, its own load served. [MW] (k,)
        s_mva: Apparent power of the converter. [MVA]
        energy_mwh: Energy it can export over all intervals. [MWh]
    """

    name: str
    breaker: str
    bus: int
    p_mw: FloatArray
    s_mva: float
    energy_mwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IslandPlan:
    """An island beyond the microgrid's own.

    Attributes:
        source: Microgrid.
        connect: Loads supplied, by priority.
        disconnect: Loads and generators of its zones that stay off.
        opening: Devices to open before the microgrid closes its breaker.
        closing: Devices to close, the breaker last.
        buses: Buses of the island. (m,)
        peak_mw: Highest expected demand. [MW]
        energy_mwh: Expected energy until the repair. [MWh]
    """

    source: str
    connect: tuple[str, ...]
    disconnect: tuple[str, ...]
    opening: tuple[str, ...]
    closing: tuple[str, ...]
    buses: tuple[int, ...]
    peak_mw: float
    energy_mwh: float


def plan_island(
    graph: Graph,
    positions: Positions,
    operable: Sequence[str],
    source: IslandSource,
    demands: Mapping[int, Sequence[Demand]],
    generators: Mapping[int, Sequence[str]],
    allowed: BoolArray,
    hours: float,
) -> IslandPlan | None:
    """Zones around a microgrid that it can carry; ``None`` if there is no load it could pick up.

    Loads are picked by priority among all that can be reached through allowed nodes; zones on the way come along with
    their loads disconnected.  Generators of the grid stay off: their anti-islanding protection has opened, and without
    a grid above nobody balances them.

    Args:
        graph: Connectivity.
        positions: Position of every device, as it will be when the grid has been restored as far as it can.
        operable: Devices that may move.
        source: The microgrid.
        demands: Loads by bus.
        generators: Names of the generators by bus.
        allowed: Nodes that are dark, without fault and not taken by another island. (n,)
        hours: Length of an interval. [h]
    """
    zones = make_zones(graph, operable, positions)
    ways = _ways(zones.of, zones.device, zones.a, zones.b, source, positions, allowed)
    buses = [bus for bus in demands if allowed[bus] and int(zones.of[bus]) in ways]
    offered = [demand for bus in buses for demand in demands[bus]]
    share = 1.0 - LOSS_SHARE
    chosen = pick_up(offered, source.p_mw * share, source.s_mva * share, source.energy_mwh * share, hours)
    if not chosen:
        return None
    wanted = {int(zones.of[bus]) for bus in buses if any(demand.name in chosen for demand in demands[bus])}
    taken = {int(zones.of[source.bus])}
    closing: list[str] = []
    for zone in sorted(wanted):
        at = zone
        while at not in taken:
            taken.add(at)
            at, device = ways[at]
            closing.append(device)
    edge = [
        name
        for name, a, b in zip(zones.device, zones.a.tolist(), zones.b.tolist(), strict=True)
        if (a in taken or b in taken) and name not in closing and name != source.breaker and positions[name]
    ]
    inside = [bus for bus in range(graph.first["line"]) if int(zones.of[bus]) in taken and allowed[bus]]
    total = np.sum([demand.p_mw for demand in offered if demand.name in chosen], axis=0)
    off = [demand.name for bus in inside for demand in demands.get(bus, ()) if demand.name not in chosen]
    off += [name for bus in inside for name in generators.get(bus, ())]
    return IslandPlan(
        source=source.name,
        connect=chosen,
        disconnect=tuple(off),
        opening=tuple(edge),
        closing=(*(name for name in reversed(closing) if not positions[name]), source.breaker),
        buses=tuple(inside),
        peak_mw=float(np.max(total)),
        energy_mwh=float(np.sum(total)) * hours,
    )


def _ways(
    of: IntArray,
    device: Sequence[str],
    a: IntArray,
    b: IntArray,
    source: IslandSource,
    positions: Positions,
    allowed: BoolArray,
) -> dict[int, tuple[int, str]]:
    """Zone and device before each zone that can be reached from the source, closed devices first."""
    forbidden = {int(of[node]) for node in np.flatnonzero(~allowed)}
    start = int(of[source.bus])
    ways: dict[int, tuple[int, str]] = {} if start in forbidden else {start: (-1, "")}
    pairs = [
        (not positions[name], name, int(x), int(y))
        for name, x, y in zip(device, a, b, strict=True)
        if name != source.breaker
    ]
    pairs.sort(key=lambda pair: pair[0])
    waiting = deque(ways)
    while waiting:
        zone = waiting.popleft()
        for _, name, x, y in pairs:
            for here, there in ((x, y), (y, x)):
                if here == zone and there not in ways and there not in forbidden:
                    ways[there] = (zone, name)
                    waiting.append(there)
    return ways


def check_island(
    engine: GridEngine, limits: Limits, plan: IslandPlan, former: int, demands: Mapping[int, Sequence[Demand]]
) -> Outcome:
    """AC check of an island: voltages of its buses and currents of its lines, in every interval.

    Args:
        engine: Compiled grid with the switches as they stand; works on a copy.
        limits: Limits.
        plan: The island.
        former: External grid (pandapower id) that stands for the storage.
        demands: Loads by bus.
    """
    inside = np.zeros(len(engine.network.bus_ids), bool)
    inside[list(plan.buses)] = True
    lines = engine.network.lines
    own = inside[lines.from_bus] & inside[lines.to_bus]
    masked = Limits(
        v_min_pu=np.where(inside, limits.v_min_pu, 0.0),
        v_max_pu=np.where(inside, limits.v_max_pu, np.inf),
        line_percent=np.where(own, limits.line_percent, np.inf),
        trafo_percent=np.full_like(limits.trafo_percent, np.inf),
    )
    carried = [(bus, each) for bus in plan.buses for each in demands.get(bus, ()) if each.name in plan.connect]
    p = np.zeros((len(carried[0][1].p_mw), len(inside)))
    q = np.zeros_like(p)
    for bus, demand in carried:
        p[:, bus] += demand.p_mw
        q[:, bus] += demand.q_mvar
    own_engine = engine.copy()
    own_engine.set_in_service("ext_grid", former, True)
    board = Switchboard(own_engine, masked, Cases(p_mw=p, q_mvar=q))
    return board.check(dict.fromkeys(plan.opening, False) | dict.fromkeys(plan.closing, True))
