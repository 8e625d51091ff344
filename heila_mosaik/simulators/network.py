"""The communication network between actors: what becomes of every message, and the order of delivery.

All messages of a study pass :class:`CommunicationNetwork`, like a broker.  It is a discrete-event queue with
microsecond resolution, so that a whole chain of messages fits inside one step of the grid.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from heila_mosaik.domain.information import Message
from heila_mosaik.domain.streams import stream
from heila_mosaik.simulators.links import Link, LinkTable, Outage


class DeliveryStatus(StrEnum):
    """What became of a message."""

    DELIVERED = "delivered"
    REPEATED = "repeated"
    LOST = "lost"
    OUTAGE = "outage"
    REFUSED = "refused"
    UNKNOWN_RECEIVER = "unknown_receiver"


ARRIVED = (DeliveryStatus.DELIVERED, DeliveryStatus.REPEATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message with its fate.

    Attributes:
        message: The message.
        status: What became of it; ``repeated`` is a second copy.
        at: Time of delivery; time of sending if it was not delivered.
    """

    message: Message
    status: DeliveryStatus
    at: datetime


@dataclass(slots=True)
class CommunicationNetwork:
    """Queue of messages under way.

    Attributes:
        links: Link of every pair of actors; one :class:`Link` stands for all of them.
        seed: Entropy of the streams; every pair of actors has one for each effect, so that neither another pair nor
            another effect changes what is drawn.
    """

    links: LinkTable | Link
    seed: int = 0
    _queue: list[tuple[datetime, int, DeliveryStatus, Message]] = field(default_factory=list)
    _count: int = 0
    _streams: dict[tuple[str, str, str], np.random.Generator] = field(default_factory=dict)
    _in_order: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.links, Link):
            self.links = LinkTable(default=self.links)

    def send(self, message: Message) -> Delivery | None:
        """Accept a message; the answer is a :class:`Delivery` at once only if it does not arrive."""
        assert isinstance(self.links, LinkTable)
        link = self.links.of(message.sender, message.receiver)
        leaves, fate = self._leaves(message, link)
        if leaves is None:
            return Delivery(message=message, status=fate, at=message.sent_at)
        arrival = self._arrival(message, link, leaves)
        self._push(arrival, DeliveryStatus.DELIVERED, message)
        if self._happens(message, "duplication", link.duplication):
            again = arrival + timedelta(milliseconds=link.delay(self._stream(message, "duplication")))
            self._push(again, DeliveryStatus.REPEATED, message)
        return None

    def next_at(self) -> datetime | None:
        """Time of the next delivery."""
        return self._queue[0][0] if self._queue else None

    def pop(self, moment: datetime) -> list[Delivery]:
        """Messages that arrive at ``moment`` or earlier, in order of arrival."""
        arrived = []
        while self._queue and self._queue[0][0] <= moment:
            at, _, status, message = heapq.heappop(self._queue)
            arrived.append(Delivery(message=message, status=status, at=at))
        return arrived

    def _push(self, at: datetime, status: DeliveryStatus, message: Message) -> None:
        self._count += 1
        heapq.heappush(self._queue, (at, self._count, status, message))

    def _leaves(self, message: Message, link: Link) -> tuple[datetime | None, DeliveryStatus]:
        """When the attempt that succeeds begins, or ``None`` with the fate of the last one."""
        fate = DeliveryStatus.LOST
        for attempt in range(link.attempts):
            moment = message.sent_at + timedelta(milliseconds=attempt * link.retry_ms)
            outage = link.outage(moment)
            while outage is not None and outage.held:
                moment, outage = outage.stop, link.outage(outage.stop)
            if outage is not None:
                fate = DeliveryStatus.OUTAGE
            elif self._happens(message, "loss", link.loss):
                fate = DeliveryStatus.LOST
            else:
                return moment, DeliveryStatus.DELIVERED
        return None, fate

    def _arrival(self, message: Message, link: Link, leaves: datetime) -> datetime:
        """Time of arrival: a link keeps the order of its messages unless it holds one back."""
        pair = (message.sender, message.receiver)
        arrival = leaves + timedelta(milliseconds=link.delay(self._stream(message, "delay")))
        if self._happens(message, "reordering", link.reordering):
            return arrival + timedelta(milliseconds=link.hold_ms)
        arrival = max(arrival, self._in_order.get(pair, arrival))
        self._in_order[pair] = arrival
        return arrival

    def _happens(self, message: Message, effect: str, chance: float) -> bool:
        return chance > 0 and self._stream(message, effect).random() < chance

    def _stream(self, message: Message, effect: str) -> np.random.Generator:
        key = (message.sender, message.receiver, effect)
        if key not in self._streams:
            self._streams[key] = stream(self.seed, f"link {message.sender} {message.receiver} {effect}")
        return self._streams[key]


__all__ = ["ARRIVED", "CommunicationNetwork", "Delivery", "DeliveryStatus", "Link", "LinkTable", "Outage"]
