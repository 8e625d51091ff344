"""What the laboratory asks of a server of the protocol, and what the server asks back."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from heila_mosaik.bridges.iec104.tls import TlsSettings
from heila_mosaik.bridges.points import Point

INVALID, NOT_TOPICAL, SUBSTITUTED, BLOCKED, OVERFLOW = 0x80, 0x40, 0x20, 0x10, 0x01
"""Bits of the quality descriptor (IEC 60870-5-101, clauses 7.2.6.1 to 7.2.6.3)."""
KEPT, PERIODIC, SPONTANEOUS, INTERROGATED = 0, 1, 3, 20
"""Causes of transmission (IEC 60870-5-101, clause 7.2.3); kept (not used on the wire) only waits for interrogations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """Server of the protocol.

    Attributes:
        host: Address to listen at.
        ports: TCP port of each path; 0 takes a free one.
        t1_s: Time to an acknowledgement. [s]
        t2_s: Time after which received frames are acknowledged. [s]
        t3_s: Idle time before a test frame. [s]
        k: Frames sent without acknowledgement.
        w: Frames received before acknowledging.
        select_s: How long a selection lasts. [s]
        outbox: Events waiting for a slow client; the oldest are dropped and counted.
        tls: Certificates; ``None`` for plain connections.
    """

    host: str = "127.0.0.1"
    ports: tuple[int, ...] = (0,)
    t1_s: float = 15.0
    t2_s: float = 10.0
    t3_s: float = 20.0
    k: int = 12
    w: int = 8
    select_s: float = 10.0
    outbox: int = 10_000
    tls: TlsSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A value on its way out.

    Attributes:
        point: Monitor point.
        wire: Value as on the wire.
        quality: Bits of the quality descriptor.
        cause: Cause of transmission.
        tag: Time tag, ``None`` without.
    """

    point: Point
    wire: float
    quality: int
    cause: int
    tag: datetime | None = None


class Verdict(StrEnum):
    """What becomes of an order."""

    CONFIRM = "confirm"
    REFUSE = "refuse"
    SILENT = "silent"


class Logic(Protocol):
    """The station behind the server."""

    @property
    def delay_s(self) -> float:
        """How late the gateway answers. [s]"""
        ...

    @property
    def restarted(self) -> bool:
        """Whether nobody has connected since the station restarted."""
        ...

    def interrogated(self) -> list[Outgoing]:
        """Events kept, then the present values."""
        ...

    def may_select(self, point: Point) -> Verdict:
        """Whether a point can be selected."""
        ...

    def commanded(self, point: Point, wire: float) -> Verdict:
        """Carry out an order."""
        ...

    def opened(self) -> None:
        """A client has started data transfer."""
        ...


class Server(Protocol):
    """A backend of the laboratory."""

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP port of each path."""
        ...

    @property
    def clients(self) -> int:
        """Connections with data transfer."""
        ...

    @property
    def dropped(self) -> int:
        """Events dropped because a client was too slow."""
        ...

    async def listen(self, path: int) -> None:
        """Accept connections on a path."""
        ...

    async def cut(self, path: int) -> None:
        """Cut the connections of a path and refuse new ones."""
        ...

    def send(self, values: Sequence[Outgoing]) -> None:
        """Send values to every client; never waits."""
        ...

    def present(self, values: Sequence[Outgoing]) -> None:
        """Values to answer an interrogation with, for a backend that answers by itself."""
        ...

    async def close(self) -> None:
        """End."""
        ...


class Outbox(deque[Outgoing]):
    """Values that wait for a slow client: the newest win, the loss is counted.

    Args:
        limit: Most values kept.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit
        self.dropped = 0

    def put(self, values: Sequence[Outgoing]) -> None:
        """Add values; never waits."""
        self.extend(values)
        excess = len(self) - self.limit
        for _ in range(excess):
            self.popleft()
        self.dropped += max(excess, 0)

    def take(self, most: int) -> list[Outgoing]:
        """The oldest values."""
        return [self.popleft() for _ in range(min(most, len(self)))]
