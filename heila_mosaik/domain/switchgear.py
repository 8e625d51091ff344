"""The plant's own behaviour at a fault: protection, islands, who holds voltage, who is dark.

All of it follows from topology at the start of a step, before any power is known: breakers open within a fraction of a
second, a step is many seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from heila_mosaik.domain.quantities import BoolArray
from heila_mosaik.domain.topology import Graph, fault_breakers

OVERLOAD = 1.1
"""What a grid-forming converter carries for one step before it trips, over its limit. [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A permanent short circuit.

    Attributes:
        element: ``line.7``.
        at: When it happens, aware UTC.
        repaired_at: When the crew has repaired it.
    """

    element: str
    at: datetime
    repaired_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Former:
    """A storage that can hold voltage and frequency of an island.

    Attributes:
        name: Resource.
        microgrid: Microgrid it belongs to.
        bus: Its bus.
        element: ``ext_grid.3``: how the grid model carries it while it forms.
        rating_mva: Apparent power of its converter. [MVA]
    """

    name: str
    microgrid: str
    bus: int
    element: str
    rating_mva: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something the plant did.

    Attributes:
        kind: In snake_case.
        element: Device, line or microgrid.
        detail: In a sentence.
        buses: Buses of an island.
        closed: New position of a device.
    """

    kind: str
    element: str
    detail: str
    buses: tuple[int, ...] = ()
    closed: bool | None = None


@dataclass(slots=True, kw_only=True)
class Situation:
    """The plant during a step.

    Attributes:
        moved: Devices that moved by themselves, with their new position.
        forming: Formers that hold an island.
        energised: Nodes with voltage. (n,)
        faulted: Elements whose fault passage indicator shows.
        islands: Buses of the island of each former.
        events: What happened.
    """

    moved: dict[str, bool] = field(default_factory=dict)
    forming: tuple[str, ...] = ()
    energised: BoolArray
    faulted: tuple[str, ...] = ()
    islands: dict[str, tuple[int, ...]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)


class Switchgear:
    """State machine of switches, protection and grid-forming storages.

    Args:
        graph: Connectivity of the plant.
        sources: Buses the grid above supplies.
        formers: Storages that can hold an island, largest first where two share one.
        faults: Faults to come.
    """

    def __init__(
        self, graph: Graph, sources: Sequence[int], formers: Sequence[Former], faults: Sequence[Fault]
    ) -> None:
        self.graph, self._sources, self._faults = graph, tuple(sources), tuple(faults)
        self._formers = tuple(sorted(formers, key=lambda former: (-former.rating_mva, former.name)))
        self.positions: dict[str, bool] = dict(graph.devices)
        self._active: dict[str, Fault] = {}
        self._done: set[Fault] = set()
        self._tripped: set[str] = set()
        self._situation = self._energise([])

    @property
    def situation(self) -> Situation:
        """The plant as it stands."""
        return self._situation

    def step(
        self, now: datetime, commands: Iterable[tuple[str, bool]], overloaded: Mapping[str, str] | None = None
    ) -> Situation:
        """Advance to ``now``.

        Args:
            now: Start of the step, aware UTC.
            commands: Device and wanted position, in order; devices that are no part of the graph are not for us.
            overloaded: Formers that carried more than they can, with the figures in words.
        """
        events: list[Event] = []
        before = dict(self.positions)
        changed = self._take_faults(now, events)
        for device, closed in commands:
            if self.positions.get(device, closed) != closed:
                self.positions[device] = closed
                changed = True
                events.append(
                    Event(
                        kind="switched",
                        element=device,
                        detail=f"{device} {'closed' if closed else 'opened'}",
                        closed=closed,
                    )
                )
        commanded = dict(self.positions)
        for name, why in (overloaded or {}).items():
            if name in self._situation.forming and name not in self._tripped:
                self._tripped.add(name)
                changed = True
                events.append(Event(kind="island_lost", element=name, detail=f"{name} tripped: {why}"))
        if not changed:
            quiet = self._situation
            self._situation = Situation(
                forming=quiet.forming, energised=quiet.energised, faulted=quiet.faulted, islands=quiet.islands
            )
            return self._situation
        self._protect(events)
        self._situation = self._energise(events)
        self._situation.moved = {
            name: closed
            for name, closed in self.positions.items()
            if closed != commanded[name] or (closed != before[name] and name not in commanded)
        }
        return self._situation

    def _take_faults(self, now: datetime, events: list[Event]) -> bool:
        changed = False
        for fault in self._faults:
            if fault.element in self._active and fault.repaired_at <= now and self._active[fault.element] is fault:
                del self._active[fault.element]
                events.append(Event(kind="repaired", element=fault.element, detail=f"{fault.element} is repaired"))
                changed = True
            if fault.at <= now < fault.repaired_at and fault not in self._done:
                self._done.add(fault)
                self._active[fault.element] = fault
                events.append(Event(kind="fault", element=fault.element, detail=f"short circuit on {fault.element}"))
                changed = True
        return changed

    def _protect(self, events: list[Event]) -> None:
        """Open breakers until no fault is fed."""
        graph = self.graph
        roots = [*self._sources, *(former.bus for former in self._formers if former.name not in self._tripped)]
        for element in self._active:
            node = graph.place(element)
            closed = graph.links(self.positions)
            if not graph.connected(closed, roots)[node]:
                continue
            for device in fault_breakers(graph, closed, node):
                self.positions[device] = False
                events.append(
                    Event(
                        kind="tripped", element=device, detail=f"protection opened {device} for {element}", closed=False
                    )
                )

    def _energise(self, events: list[Event]) -> Situation:
        graph = self.graph
        closed = graph.links(self.positions)
        part = graph.parts(closed)
        # what still hangs on a fault is dark: nothing can hold voltage there
        dead = {int(part[graph.place(element)]) for element in self._active}
        supplied = {int(part[bus]) for bus in self._sources} - dead
        taken: dict[int, Former] = {}
        for former in self._formers:
            at = int(part[former.bus])
            if at in supplied:
                self._tripped.discard(former.name)
            elif at not in dead and at not in taken and former.name not in self._tripped:
                taken[at] = former
        live = supplied | set(taken)
        before = self._situation.islands if hasattr(self, "_situation") else {}
        forming = tuple(former.name for former in self._formers if former in taken.values())
        n = graph.first["line"]
        islands = {
            former.name: tuple(int(bus) for bus in np.flatnonzero(part[:n] == at)) for at, former in taken.items()
        }
        for former in self._formers:
            if former.name in forming and islands[former.name] != before.get(former.name):
                count = len(islands[former.name])
                events.append(
                    Event(
                        kind="island_changed" if former.name in before else "island_formed",
                        element=former.microgrid,
                        detail=f"{former.name} holds an island of {count} bus{'es' if count > 1 else ''}",
                        buses=islands[former.name],
                    )
                )
            if former.name in before and former.name not in forming and int(part[former.bus]) in supplied:
                events.append(
                    Event(
                        kind="resynchronised",
                        element=former.microgrid,
                        detail=f"{former.microgrid} is with the grid again, {former.name} follows it",
                    )
                )
        return Situation(
            forming=forming,
            energised=np.isin(part, sorted(live)),
            faulted=tuple(self._active),
            islands=islands,
            events=events,
        )


def overload(name: str, p_mw: float, q_mvar: float, limits: tuple[float, float], rating_mva: float) -> str:
    """Why a grid-forming storage trips after a step, empty if it does not.

    Args:
        name: Storage.
        p_mw: Power of the step, consumption positive. [MW]
        q_mvar: Reactive power. [MVar]
        limits: Lowest and highest power it could hold, by converter and content. [MW]
        rating_mva: Apparent power of the converter. [MVA]
    """
    low, high = limits
    if p_mw < low * OVERLOAD - 1e-4:
        return f"{name} had to give {-p_mw:.3f} MW and can give {-low:.3f} MW"
    if p_mw > high * OVERLOAD + 1e-4:
        return f"{name} had to take {p_mw:.3f} MW and can take {high:.3f} MW"
    if np.hypot(p_mw, q_mvar) > rating_mva * OVERLOAD:
        return f"{name} carried {np.hypot(p_mw, q_mvar):.3f} MVA of {rating_mva:.3f} MVA"
    return ""
