"""What an actor is: a state machine without input or output of its own.

A host (mosaik simulator or live process) calls :meth:`Actor.step` when a message has arrived, when measurements
are due, or at the time the actor asked for.  The actor answers with messages, set points and log records.  It reads
no clock, opens no file or socket and draws no random number that was not handed to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from heila_mosaik.domain.information import ControlSignal, InformationObject, Measurements, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Something worth remembering that is not a message: a decision and its reason, or a figure.

    Attributes:
        at: Simulated time.
        actor: Actor that reports.
        event: Short name, snake_case, for example ``activation_withheld``.
        detail: Sentence for a human.
        values: Figures and identities, JSON-able.
    """

    at: datetime
    actor: str
    event: str
    detail: str
    values: Mapping[str, float | int | str | bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Result of one step of an actor.

    Attributes:
        messages: Messages to send, in order.
        controls: Set points for the actor's own resources and breakers (devices only: CEMS, IED, DMS' own means).
        records: Records for the log.
        wake_at: When the actor wants to be called next without any message; ``None``: only on messages.
    """

    messages: tuple[Message, ...] = ()
    controls: tuple[ControlSignal, ...] = ()
    records: tuple[Record, ...] = ()
    wake_at: datetime | None = None


class Actor(Protocol):
    """An actor: ``name`` is its address, unique in a study."""

    name: str

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """Advance to ``now``.

        Args:
            now: Simulated time, aware UTC, never decreasing.
            inbox: Messages delivered since the last step, in order of delivery.
            measurements: Fresh measurements of the actor's own devices, if any.
        """
        ...


class Outbox:
    """Helper for actors: numbers identities and messages deterministically and collects one step's outcome."""

    __slots__ = ("_controls", "_counts", "_messages", "_name", "_now", "_records", "_sent")

    def __init__(self, name: str) -> None:
        self._name = name
        self._counts: dict[str, int] = {}
        self._sent = 0
        self._now: datetime | None = None
        self._messages: list[Message] = []
        self._controls: list[ControlSignal] = []
        self._records: list[Record] = []

    def begin(self, now: datetime) -> None:
        """Start a step at ``now``."""
        self._now = now
        self._messages, self._controls, self._records = [], [], []

    def identity(self, kind: str) -> str:
        """Next identity of a kind, ``<actor>/<kind>/<count>``."""
        count = self._counts.get(kind, 0) + 1
        self._counts[kind] = count
        return f"{self._name}/{kind}/{count}"

    def send(self, receiver: str, body: InformationObject) -> None:
        """Queue a message."""
        assert self._now is not None
        self._sent += 1
        message_id = f"{self._name}-{self._sent}"
        self._messages.append(
            Message(id=message_id, sender=self._name, receiver=receiver, sent_at=self._now, body=body)
        )

    def control(self, signal: ControlSignal) -> None:
        """Queue a set point for an own device."""
        self._controls.append(signal)

    def record(self, event: str, detail: str, **values: float | str | bool) -> None:
        """Queue a log record."""
        assert self._now is not None
        self._records.append(Record(at=self._now, actor=self._name, event=event, detail=detail, values=values))

    def outcome(self, wake_at: datetime | None = None) -> Outcome:
        """Everything queued since :meth:`begin`."""
        return Outcome(
            messages=tuple(self._messages),
            controls=tuple(self._controls),
            records=tuple(self._records),
            wake_at=wake_at,
        )
