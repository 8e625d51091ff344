"""Restoration over the grid: isolation, then supply of the dead zones over the switches that are left.

The search grows trees of zones from the live part of the grid, each step checked by AC power flow in every loading
case, once with each tie as the first; branch exchange then makes room for zones left dark.
Compare S. Toune, H. Fudo, T. Genji, Y. Fukuyama, Y. Nakanishi, "Comparative study of modern heuristic algorithms to
service restoration in distribution systems", IEEE Trans. Power Delivery 17(1), 2002, for the problem.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

import numpy as np

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.quantities import BoolArray, FloatArray
from heila_mosaik.domain.reconfiguration.check import Cases, Outcome, Switchboard
from heila_mosaik.domain.restoration.growth import Area, Growth, grow, make_room
from heila_mosaik.domain.topology import Graph, Positions, make_zones


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A grid after protection has opened.

    Attributes:
        graph: Connectivity.
        positions: Position of every device now.
        faulted: Elements with a fault, ``line.7`` or ``bus.3``.
        operable: Devices that may be moved.
        sources: Buses that the grid above supplies.
        weight: Worth of supplying each bus, for example load times priority. (n_bus,)
        cases: Loading the plan has to carry, all buses supplied.
        limits: Limits.
        alone: The same loading with the generators of the dark part off; ``None``: they cannot be switched.
    """

    graph: Graph
    positions: Positions
    faulted: tuple[str, ...]
    operable: Collection[str]
    sources: tuple[int, ...]
    weight: FloatArray
    cases: Cases
    limits: Limits
    alone: Cases | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """Buses that stay dark.

    Attributes:
        buses: ``bus.3`` of each.
        reason: Why, in words.
        reachable: Whether a device leads there and limits are what is in the way.
    """

    buses: tuple[str, ...]
    reason: str
    reachable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to switch.

    Attributes:
        isolate: Devices to open around the fault.
        opening: Further devices to open, so that no loop and no overload comes about.
        closing: Devices to close, in order.
        positions: Position of every device when all is done.
        served: Buses of the dead part that the grid supplies again. (n_bus,)
        dark: Buses that stay without supply from the grid. (n_bus,)
        unserved: The same with reasons.
        outcome: AC check of the final state.
        evaluations: Power flows solved.
        generators_off: Whether the generators of the dark part must stay off, because limits allow more load so.
        operations: Devices moved.
    """

    isolate: tuple[str, ...]
    opening: tuple[str, ...]
    closing: tuple[str, ...]
    positions: dict[str, bool]
    served: BoolArray
    dark: BoolArray
    unserved: tuple[Unserved, ...]
    outcome: Outcome
    evaluations: int
    generators_off: bool = False
    operations: int = 0


def isolation(question: Question) -> tuple[str, ...]:
    """Closed operable devices around the zones with a fault."""
    graph = question.graph
    zones = make_zones(graph, question.operable, question.positions)
    faulted = {int(zones.of[graph.place(element)]) for element in question.faulted}
    return tuple(
        name
        for name, a, b in zip(zones.device, zones.a, zones.b, strict=True)
        if question.positions[name] and (int(a) in faulted or int(b) in faulted)
    )


def plan_restoration(engine: GridEngine, question: Question) -> Plan:
    """Plan isolation and supply of everything a fault has left dark.

    Args:
        engine: Compiled grid; works on a copy.
        question: The grid after protection has opened.

    Returns:
        The best plan found; what it cannot supply is named with the reason.  Where feed-in is what limits, the plan
        without the generators of the dark part is taken if it supplies more.
    """
    plan = _plan(engine, question)
    if question.alone is None or not any(part.reachable for part in plan.unserved):
        return plan
    other = _plan(engine, replace(question, cases=question.alone))
    worth = [float(question.weight[each.served].sum()) for each in (plan, other)]
    chosen = replace(other, generators_off=True) if worth[1] > worth[0] else plan
    return replace(chosen, evaluations=plan.evaluations + other.evaluations)


def _plan(engine: GridEngine, question: Question) -> Plan:
    graph, isolate = question.graph, isolation(question)
    present = {**question.positions, **dict.fromkeys(isolate, False)}
    area = _area(question, present)
    board = Switchboard(engine.copy(), question.limits, question.cases)
    board.relax(area.base())
    best = _best(board, area)
    if area.weight_of(set(range(area.zones.count)) - best.served - area.live - area.faulted) > 0.0:
        best = make_room(board, area, best)
    positions = area.final(best)
    n = len(engine.network.bus_ids)
    live_before = graph.connected(graph.links(question.positions), question.sources)[:n]
    supplied = graph.connected(graph.links(positions), question.sources)[:n]
    moved = {name for name, closed in positions.items() if closed != question.positions[name]}
    closing = tuple(name for name in best.order if name in moved)
    return Plan(
        isolate=isolate,
        opening=tuple(name for name in moved_in_order(positions, moved) if not positions[name] and name not in isolate),
        closing=closing,
        positions=positions,
        served=supplied & ~live_before,
        dark=~supplied,
        unserved=_unserved(question, area, best, ~supplied),
        outcome=best.outcome,
        evaluations=board.evaluations,
        operations=len(moved),
    )


def moved_in_order(positions: Mapping[str, bool], moved: Collection[str]) -> list[str]:
    """Moved devices in the order of the grid."""
    return [name for name in positions if name in moved]


def _area(question: Question, present: dict[str, bool]) -> Area:
    graph = question.graph
    zones = make_zones(graph, question.operable, present)
    links = graph.links(present)
    live = {int(zone) for zone in np.unique(zones.of[graph.connected(links, question.sources)])}
    faulted = {int(zones.of[graph.place(element)]) for element in question.faulted}
    weight = np.bincount(zones.of[: len(question.weight)], question.weight, zones.count).astype(np.float64)
    return Area(zones=zones, present=present, normal=graph.devices, live=live - faulted, faulted=faulted, weight=weight)


def _best(board: Switchboard, area: Area) -> Growth:
    """Grow once with each device out of the live part as the first; the best of these."""
    starts = area.frontier(area.live) or ("",)
    found: Growth | None = None
    for first in starts:
        trial = grow(board, area, first)
        if found is None or trial.rank(area) > found.rank(area):
            found = trial
    assert found is not None
    return found


def _unserved(question: Question, area: Area, best: Growth, dark: BoolArray) -> tuple[Unserved, ...]:
    graph, zones = question.graph, area.zones
    groups: dict[str, list[str]] = {"fault": [], "limit": [], "cut": []}
    closable = dict.fromkeys(question.operable, True) | dict.fromkeys(area.adjacent(area.faulted), False)
    reach = graph.connected(graph.links({**area.present, **closable}), question.sources)
    for bus in np.flatnonzero(dark & _loaded(question)):
        zone = int(zones.of[bus])
        kind = "fault" if zone in area.faulted else "limit" if reach[bus] else "cut"
        groups[kind].append(graph.nodes[bus])
    reasons = {
        "fault": "in the zone of the fault",
        "limit": f"supplying them would break limits (worst excess {best.blocked:.2f} % or 0.01 pu)",
        "cut": "no switch leads to them around the fault",
    }
    return tuple(
        Unserved(buses=tuple(buses), reason=reasons[kind], reachable=kind == "limit")
        for kind, buses in groups.items()
        if buses
    )


def _loaded(question: Question) -> BoolArray:
    return question.weight > 0.0


def way_back(
    present: Positions, normal: Positions, operable: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Devices to close, then devices to open, from a restored to the normal state.

    Closing comes first, so that nobody is interrupted; the loops this makes for a moment are between feeders of one
    source and must be checked by AC power flow.
    """
    moved = [name for name in present if name in operable and name in normal and present[name] != normal[name]]
    return tuple(name for name in moved if normal[name]), tuple(name for name in moved if not normal[name])
