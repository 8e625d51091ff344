"""Command ledger: success is the read-back of the status, and UNKNOWN is never retried by itself.

A confirmation of activation only says that the station accepted the order.  An order without read-back in time is
UNKNOWN: it may have been executed.  A breaker with an UNKNOWN order takes no further order until somebody resolves it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from heila_mosaik.bridges.points import Point


class State(StrEnum):
    """State of an order; ``CONFIRMED`` by read-back only."""

    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    SUPERSEDED = "superseded"
    UNKNOWN = "unknown"
    RESOLVED = "resolved"


OPEN_STATES = (State.SENT, State.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One order.

    Attributes:
        id: Number, unique in the ledger.
        name: Control point.
        value: Value sent, study unit.
        cause: Activation, plan or fallback behind it.
        sent_at_s: When it was handed to the wire, monotonic. [s]
        state: State.
        state_at_s: When the state was entered. [s]
        detail: Sentence about the state.
        answered_at_s: When the station confirmed or refused it, ``None`` if it has not; may follow the read-back. [s]
    """

    id: int
    name: str
    value: float
    cause: str
    sent_at_s: float
    state: State
    state_at_s: float
    detail: str = ""
    answered_at_s: float | None = None


class CommandLedger:
    """Keeps every order until it is confirmed, refused, superseded or unknown.

    Args:
        readback_timeout_s: Time within which the read-back must arrive. [s]
        keep: Orders kept; the audit keeps all.
    """

    def __init__(self, readback_timeout_s: float = 5.0, keep: int = 10_000) -> None:
        self._timeout = readback_timeout_s
        self._keep = keep
        self._last_id = 0
        self._entries: dict[int, Entry] = {}
        self._current: dict[str, int] = {}
        self._points: dict[str, Point] = {}

    @property
    def entries(self) -> Sequence[Entry]:
        """Orders in the order they were sent, the last ``keep`` of them."""
        return tuple(self._entries.values())

    @property
    def unknown(self) -> tuple[Entry, ...]:
        """Orders an operator has to look at."""
        newest = (self._entries[identity] for identity in self._current.values())
        return tuple(entry for entry in newest if entry.state is State.UNKNOWN)

    @property
    def pending(self) -> int:
        """Orders whose read-back is awaited."""
        return sum(self._entries[identity].state in OPEN_STATES for identity in self._current.values())

    def entry(self, identity: int) -> Entry:
        """One order."""
        return self._entries[identity]

    def blocked(self, point: Point) -> Entry | None:
        """The order that keeps a breaker from taking another: pending or unknown."""
        identity = self._current.get(point.name)
        if identity is None or not point.type.is_switch_command:
            return None
        entry = self._entries[identity]
        return entry if entry.state in (*OPEN_STATES, State.UNKNOWN) else None

    def blocked_safe(self, point: Point, value: float) -> Entry | None:
        """As :meth:`blocked` for a fallback: opening passes a pending closing, but never repeats an opening."""
        entry = self.blocked(point)
        return None if entry is not None and value == 0.0 and entry.value == 1.0 else entry

    def sent(self, at_s: float, point: Point, value: float, cause: str) -> tuple[Entry, ...]:
        """An order is handed to the wire; returns the new entry and the set point it supersedes, if any."""
        changed: list[Entry] = []
        earlier = self._current.get(point.name)
        if earlier is not None and self._entries[earlier].state in OPEN_STATES:
            changed.append(self._move(earlier, at_s, State.SUPERSEDED, "a newer order followed"))
        self._last_id += 1
        entry = Entry(
            id=self._last_id,
            name=point.name,
            value=value,
            cause=cause,
            sent_at_s=at_s,
            state=State.SENT,
            state_at_s=at_s,
        )
        self._entries[entry.id] = entry
        self._current[point.name] = entry.id
        self._points[point.name] = point
        self._forget()
        return (entry, *changed)

    def answered(self, at_s: float, identity: int, positive: bool | None, detail: str) -> Entry:
        """The station answered: confirmed activation, refused it, or (``None``) did not say."""
        entry = self._entries[identity]
        if positive is None:
            return replace(entry, detail=detail)
        entry = self._entries[identity] = replace(entry, answered_at_s=at_s)
        if entry.state is not State.SENT:
            return replace(entry, detail=detail)
        return self._move(identity, at_s, State.ACKNOWLEDGED if positive else State.REFUSED, detail)

    def observed(self, at_s: float, name: str, value: float) -> tuple[Entry, ...]:
        """A good value of a monitor point arrived; confirms the orders it reads back."""
        confirmed: list[Entry] = []
        for point_name, identity in self._current.items():
            point, entry = self._points[point_name], self._entries[identity]
            if point.feedback != name or entry.state not in OPEN_STATES or at_s < entry.sent_at_s:
                continue
            if math.isfinite(value) and abs(value - entry.value) <= point.tolerance:
                delay = at_s - entry.sent_at_s
                confirmed.append(self._move(identity, at_s, State.CONFIRMED, f"read back after {delay:.3f} s"))
        return tuple(confirmed)

    def expire(self, at_s: float) -> tuple[Entry, ...]:
        """Orders whose read-back is overdue become UNKNOWN."""
        # Only the newest order of a point can be open: a newer one supersedes it.
        newest = [self._entries[identity] for identity in self._current.values()]
        overdue = [
            entry.id for entry in newest if entry.state in OPEN_STATES and at_s - entry.sent_at_s > self._timeout
        ]
        detail = f"no read-back within {self._timeout:g} s; it may have been executed: look, then resolve"
        return tuple(self._move(identity, at_s, State.UNKNOWN, detail) for identity in overdue)

    def resolve(self, at_s: float, identity: int, who: str) -> Entry:
        """An operator has looked at the equipment and settles an UNKNOWN order.

        Raises:
            ValueError: If the order is not UNKNOWN.
        """
        if self._entries[identity].state is not State.UNKNOWN:
            raise ValueError(f"order {identity} is {self._entries[identity].state.value}, not unknown")
        return self._move(identity, at_s, State.RESOLVED, f"resolved by {who}")

    def _forget(self) -> None:
        """Drop the oldest order that no point refers to any more."""
        if len(self._entries) <= self._keep:
            return
        current = tuple(self._current.values())
        oldest = next((identity for identity in self._entries if identity not in current), None)
        if oldest is not None:
            del self._entries[oldest]

    def _move(self, identity: int, at_s: float, state: State, detail: str) -> Entry:
        entry = replace(self._entries[identity], state=state, state_at_s=at_s, detail=detail)
        self._entries[identity] = entry
        return entry
