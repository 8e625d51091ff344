"""What every IEC 104 backend offers, and what it speaks: values in, orders out, states between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from heila_mosaik.bridges.iec104.tls import TlsSettings, tls_problems
from heila_mosaik.bridges.points import Point
from heila_mosaik.bridges.safety_gate import Cleared
from heila_mosaik.domain.quantities import Quality
from heila_mosaik.errors import Problem


class LinkState(StrEnum):
    """Start-up order of a link; orders pass only when it is open.

    ``STANDBY`` is a connection that is kept alive but not started (no STARTDT, IEC 60870-5-104 clause 10): the second
    path to a station.  ``SWITCHING`` is a redundant link between two paths, for a short declared time.
    """

    CLOSED = "closed"
    CONNECTING = "connecting"
    STANDBY = "standby"
    INTERROGATING = "interrogating"
    SYNCHRONISING = "synchronising"
    OPEN = "open"
    SWITCHING = "switching"

    @property
    def watched(self) -> bool:
        """Whether the study can still reach the equipment; if not, points fall back."""
        return self in (LinkState.OPEN, LinkState.SWITCHING)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """Connection to a station.

    Attributes:
        host: Address of the gateway.
        port: TCP port.
        t0_s: Time to connect. [s]
        t1_s: Time to an acknowledgement. [s]
        t2_s: Time after which received frames are acknowledged. [s]
        t3_s: Idle time before a test frame. [s]
        k: Frames sent without acknowledgement.
        w: Frames received before acknowledging.
        answer_s: Time for the station to answer an order or an interrogation. [s]
        reconnect_s: Pause before connecting again. [s]
        refresh_s: Time between two interrogations while open, so that unchanged values stay fresh. [s]
        queue_size: Most events waiting to be read; beyond, the oldest values are dropped and counted.
        tls: Certificates; ``None`` for a plain connection.
        second: Address and port of the second path to the same station, ``None`` when there is one path.
        switch_s: Longest time to change to the other path before the link counts as lost. [s]
    """

    host: str
    port: int = 2404
    t0_s: float = 10.0
    t1_s: float = 15.0
    t2_s: float = 10.0
    t3_s: float = 20.0
    k: int = 12
    w: int = 8
    answer_s: float = 5.0
    reconnect_s: float = 1.0
    refresh_s: float = 3.0
    queue_size: int = 20_000
    tls: TlsSettings | None = None
    second: tuple[str, int] | None = None
    switch_s: float = 1.0


def link_problems(link: LinkSettings, where: str) -> list[Problem]:
    """Everything that is wrong with the settings of a link (ranges: IEC 60870-5-104:2006, clause 9.6)."""
    problems = [*_timers(link, where), *_windows(link, where)]
    for host, port in ((link.host, link.port), *([link.second] if link.second else [])):
        if not host or not 1 <= port <= 65535:
            what = f"{host or '(empty)'}:{port} is no address"
            problems.append(Problem(what=what, where=f"{where}, host", remedy="give host and a port from 1 to 65535"))
    if link.second == (link.host, link.port):
        remedy = "give another address or port, or leave the second path out"
        problems.append(Problem(what="both paths are the same", where=f"{where}, second", remedy=remedy))
    if link.tls is not None:
        problems.extend(tls_problems(link.tls, where))
    return problems


def _timers(link: LinkSettings, where: str) -> Iterator[Problem]:
    for name in ("t0_s", "t1_s", "t2_s", "t3_s", "answer_s", "reconnect_s", "refresh_s", "switch_s"):
        value = getattr(link, name)
        if not 0.0 < value <= 172_800.0:
            what = f"{name} is {value:g}"
            yield Problem(what=what, where=f"{where}, {name}", remedy="give a time above 0 and at most 172800 s")
    if link.t2_s >= link.t1_s:
        what = f"t2 ({link.t2_s:g} s) is not below t1 ({link.t1_s:g} s): the peer would give up before the answer"
        yield Problem(what=what, where=f"{where}, t2_s", remedy="choose t2 < t1, for example 10 and 15 s")


def _windows(link: LinkSettings, where: str) -> Iterator[Problem]:
    for name in ("k", "w"):
        value = getattr(link, name)
        if not 1 <= value <= 32767:
            yield Problem(what=f"{name} is {value}", where=f"{where}, {name}", remedy="give a number from 1 to 32767")
    if 3 * link.w > 2 * link.k:
        what = f"w ({link.w}) is more than two thirds of k ({link.k}): the peer would stall"
        yield Problem(what=what, where=f"{where}, w", remedy="choose w <= 2/3 k, for example 8 and 12")


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A value of a monitor point, as on the wire (double points: 0…3)."""

    point: Point
    wire: float
    quality: Quality
    cause: int
    device_time: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged:
    """The link went to another state."""

    state: LinkState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathChanged:
    """One path of a redundant link went to another state."""

    path: int
    state: LinkState
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsLost:
    """Events were dropped because they came faster than they could be taken.

    Attributes:
        count: Since this was last said.
        total: Since the start.
        where: Where they were dropped.
    """

    count: int
    total: int
    where: str = "between wire and bridge"


LinkEvent: TypeAlias = Received | StateChanged | PathChanged | EventsLost


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer of the station to an order; ``positive`` is ``None`` when it is not known."""

    positive: bool | None
    detail: str


class Iec104Client(Protocol):
    """One link.  It sends nothing that :class:`~heila_mosaik.bridges.safety_gate.Gate` has not cleared."""

    @property
    def state(self) -> LinkState:
        """State of the link."""
        ...

    @property
    def lost(self) -> int:
        """Events dropped because nobody read them in time."""
        ...

    @property
    def paths(self) -> tuple[LinkState, ...]:
        """State of each path to the station."""
        ...

    async def start(self) -> None:
        """Begin to connect; reconnects by itself until stopped."""
        ...

    def activate(self, active: bool) -> None:
        """Start data transfer, or (from the next connection on) keep the connection in standby."""
        ...

    async def stop(self) -> None:
        """Close the link."""
        ...

    async def receive(self) -> LinkEvent:
        """Next value or change of state, in the order of arrival."""
        ...

    async def order(self, cleared: Cleared) -> Answer:
        """Send one cleared order; selects first where the point says so.  Success is the read-back, not this."""
        ...
