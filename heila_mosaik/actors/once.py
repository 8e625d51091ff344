"""What makes an actor safe on a network that repeats and reorders: a message counts once, an overtaken one not at all.

Every network that delivers *at least once* (MQTT quality of service 1, a retried HTTPS request) repeats messages, and
one with several paths lets them overtake each other.  Actors therefore look at the identity of each message and, where
a later set point replaces an earlier one, at the time it was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from heila_mosaik.domain.information import Message

KEEP = timedelta(days=1)
CAPACITY = 50_000


class Once:
    """Lets each message through once, told apart by its identity.

    Args:
        keep: How long an identity is remembered, in simulated time.
        capacity: Most identities remembered; beyond it the oldest is forgotten.
    """

    __slots__ = ("_capacity", "_keep", "_seen", "repeated")

    def __init__(self, keep: timedelta = KEEP, capacity: int = CAPACITY) -> None:
        self._keep, self._capacity = keep, capacity
        self._seen: dict[tuple[str, str], datetime] = {}
        self.repeated = 0

    def fresh(self, now: datetime, inbox: Sequence[Message]) -> list[Message]:
        """Messages not seen before, in order; repeated ones are counted and dropped."""
        if not inbox:
            return []
        new = []
        for message in inbox:
            key = (message.sender, message.id)
            if key in self._seen:
                self.repeated += 1
                continue
            self._seen[key] = now
            new.append(message)
        self._forget(now)
        return new

    def _forget(self, now: datetime) -> None:
        # insertion order is order of time: the oldest come first
        while self._seen:
            oldest = next(iter(self._seen))
            if len(self._seen) <= self._capacity and self._seen[oldest] + self._keep > now:
                return
            del self._seen[oldest]


class Latest:
    """Remembers when the newest set point of each kind was sent, so that one it overtook does not undo it."""

    __slots__ = ("_sent",)

    def __init__(self) -> None:
        self._sent: dict[str, datetime] = {}

    def accepts(self, key: str, sent_at: datetime) -> bool:
        """Whether nothing newer is known; remembers ``sent_at`` if so."""
        known = self._sent.get(key)
        if known is not None and sent_at < known:
            return False
        self._sent[key] = sent_at
        return True

    def keep(self, keys: Sequence[str]) -> None:
        """Forget every other key."""
        kept = set(keys)
        self._sent = {key: sent for key, sent in self._sent.items() if key in kept}
