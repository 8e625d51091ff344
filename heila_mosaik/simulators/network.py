"""The communication network between actors: delay, loss and outage of every link, and the order of delivery.

All messages of a study pass :class:`CommunicationNetwork`, like a broker.  It is a discrete-event queue with
microsecond resolution, so that a whole chain of messages fits inside one step of the grid.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from heila_mosaik.domain.information import Message
from heila_mosaik.domain.streams import stream


class DeliveryStatus(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    LOST = "lost"
    UNKNOWN_RECEIVER = "unknown_receiver"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Period in which a link carries nothing; messages sent in it are lost.

    Attributes:
        start: Start, aware UTC.
        stop: End, aware UTC.
    """

    start: datetime
    stop: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Behaviour of one direction between two actors.

    Attributes:
        delay_ms: Mean transfer time. [ms]
        jitter_ms: Standard deviation of the transfer time, gamma distributed; 0 makes it constant. [ms]
        loss: Chance that a message is lost. [1]
        outages: Periods without any transfer.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    loss: float = 0.0
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        if self.delay_ms < 0 or self.jitter_ms < 0 or not 0 <= self.loss <= 1:
            raise ValueError(f"link needs delay_ms >= 0, jitter_ms >= 0 and 0 <= loss <= 1, got {self}")
        if self.jitter_ms > 0 and self.delay_ms == 0:
            raise ValueError("a link with jitter_ms needs delay_ms > 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message and what became of it.

    Attributes:
        message: The message.
        status: Delivered or why not.
        at: Time of delivery; time of sending if it was not delivered.
    """

    message: Message
    status: DeliveryStatus
    at: datetime


@dataclass(slots=True)
class CommunicationNetwork:
    """Queue of messages under way.

    Attributes:
        default: Link used where ``links`` names none.
        links: Links by (sender, receiver).
        seed: Entropy of the streams; every pair of actors has its own stream, named by the pair.
    """

    default: Link
    links: Mapping[tuple[str, str], Link] = field(default_factory=dict)
    seed: int = 0
    _queue: list[tuple[datetime, int, Message]] = field(default_factory=list)
    _count: int = 0
    _streams: dict[tuple[str, str], np.random.Generator] = field(default_factory=dict)

    def send(self, message: Message) -> Delivery | None:
        """Accept a message; the answer is a :class:`Delivery` at once only if it is lost."""
        pair = (message.sender, message.receiver)
        link = self.links.get(pair, self.default)
        if any(outage.start <= message.sent_at < outage.stop for outage in link.outages):
            return Delivery(message=message, status=DeliveryStatus.LOST, at=message.sent_at)
        if link.loss > 0 and self._stream(pair).random() < link.loss:
            return Delivery(message=message, status=DeliveryStatus.LOST, at=message.sent_at)
        arrival = message.sent_at + timedelta(milliseconds=self._delay_ms(pair, link))
        self._count += 1
        heapq.heappush(self._queue, (arrival, self._count, message))
        return None

    def next_at(self) -> datetime | None:
        """Time of the next delivery."""
        return self._queue[0][0] if self._queue else None

    def pop(self, moment: datetime) -> list[Delivery]:
        """Messages that arrive at ``moment`` or earlier, in order of arrival."""
        arrived = []
        while self._queue and self._queue[0][0] <= moment:
            at, _, message = heapq.heappop(self._queue)
            arrived.append(Delivery(message=message, status=DeliveryStatus.DELIVERED, at=at))
        return arrived

    def _delay_ms(self, pair: tuple[str, str], link: Link) -> float:
        if link.jitter_ms == 0:
            return link.delay_ms
        shape = (link.delay_ms / link.jitter_ms) ** 2
        return float(self._stream(pair).gamma(shape, link.delay_ms / shape))

    def _stream(self, pair: tuple[str, str]) -> np.random.Generator:
        if pair not in self._streams:
            self._streams[pair] = stream(self.seed, f"link {pair[0]} {pair[1]}")
        return self._streams[pair]
