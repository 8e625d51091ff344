"""What every IEC 104 backend offers, and what it speaks: values in, orders out, states in between."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeAlias

from heila_mosaik.bridges.points import Point
from heila_mosaik.bridges.safety_gate import Cleared
from heila_mosaik.domain.quantities import Quality


class LinkState(StrEnum):
    """Start-up order of a link; orders pass only when it is open."""

    CLOSED = "closed"
    CONNECTING = "connecting"
    INTERROGATING = "interrogating"
    SYNCHRONISING = "synchronising"
    OPEN = "open"


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


LinkEvent: TypeAlias = Received | StateChanged


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

    async def start(self) -> None:
        """Begin to connect; reconnects by itself until stopped."""
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
