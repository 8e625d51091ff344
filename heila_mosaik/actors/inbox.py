"""What makes an actor safe on a network that repeats and reorders: a message counts once, an overtaken one not at all.

Every network that delivers *at least once* (MQTT quality of service 1, a retried HTTPS request) repeats messages, and
one with several paths lets them overtake each other.  So an actor looks at the identity of each message and, where a
later object replaces an earlier one, at the time it was made.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from heila_mosaik.actors.base import Outbox
from heila_mosaik.domain.information import (
    ActivationNotification,
    ControlSignal,
    FlexibilityForecast,
    Measurements,
    Message,
    OperationPlan,
    PriceForecast,
    WeatherForecast,
)

KEEP = timedelta(days=2)
CAPACITY = 50_000


class Inbox:
    """Lets each message through once and drops those that a newer one has overtaken.

    Args:
        out: Outbox of the actor; what was overtaken is recorded there.
        keep: How long an identity is remembered, in simulated time.
        capacity: Most identities remembered; beyond it the oldest is forgotten.
    """

    __slots__ = ("_capacity", "_keep", "_newest", "_out", "_seen", "overtaken", "repeated")

    def __init__(self, out: Outbox, keep: timedelta = KEEP, capacity: int = CAPACITY) -> None:
        self._out, self._keep, self._capacity = out, keep, capacity
        self._seen: dict[tuple[str, str, str, datetime], datetime] = {}
        self._newest: dict[tuple[str, ...], tuple[datetime, datetime]] = {}
        self.repeated = 0
        self.overtaken = 0

    def fresh(self, now: datetime, inbox: Sequence[Message]) -> list[Message]:
        """Messages to act on, in order of arrival."""
        kept = [message for message in inbox if self._first(now, message) and self._in_order(now, message)]
        self._forget(now)
        return kept

    def _first(self, now: datetime, message: Message) -> bool:
        # A sender that was started anew counts from one again: the time of sending tells its messages from the old.
        key = (message.sender, message.id, message.body.id, message.sent_at)
        if key in self._seen:
            self.repeated += 1
            return False
        self._seen[key] = now
        return True

    def _in_order(self, now: datetime, message: Message) -> bool:
        found = _replaces(message)
        if found is None:
            return True
        key, made_at = found
        known = self._newest.pop(key, None)
        if known is not None and made_at < known[0]:
            self._newest[key] = known
            self.overtaken += 1
            self._out.record(
                "message_overtaken",
                f"{type(message.body).__name__} {message.body.id} of {message.sender} came after a newer one",
                message=message.id,
            )
            return False
        self._newest[key] = (made_at, now)  # popped and set again: the order of the keys is the order of time
        return True

    def _forget(self, now: datetime) -> None:
        while self._seen:
            oldest = next(iter(self._seen))
            if len(self._seen) <= self._capacity and self._seen[oldest] + self._keep > now:
                break
            del self._seen[oldest]
        while self._newest:
            first = next(iter(self._newest))
            if self._newest[first][1] + self._keep > now:
                break
            del self._newest[first]


def _replaces(message: Message) -> tuple[tuple[str, ...], datetime] | None:
    """What a message replaces an earlier one of, and when it was made; ``None`` if it stands for itself."""
    body, subject, made_at = message.body, "", message.sent_at
    match body:
        case ActivationNotification():
            subject = body.reserve
        case ControlSignal():
            subject = body.target
        case Measurements():
            subject, made_at = body.source, body.at
        case FlexibilityForecast():
            subject, made_at = f"{body.subject} {body.product}", body.issued_at
        case OperationPlan():
            subject, made_at = body.subject, body.issued_at
        case WeatherForecast() | PriceForecast():
            made_at = body.issued_at
        case _:
            return None
    return (message.sender, type(body).__name__, subject), made_at
