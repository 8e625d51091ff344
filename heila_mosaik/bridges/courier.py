"""Carries the messages of an outbox until each is confirmed, refused or of no more use.

A carrier (MQTT, HTTPS) only tries; the receiver's receipt settles.  Tries are repeated with growing pauses under the
same message identity, so a repeated message has no second effect.  A repeated one that a later message for the same
thing has replaced is given up, because it would overtake its successor.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from heila_mosaik.bridges.clock import Clock
from heila_mosaik.bridges.store import Store, StoreError
from heila_mosaik.bridges.store_rows import Delivery, Outgoing
from heila_mosaik.bridges.watch import useful_until
from heila_mosaik.domain.information import (
    ActivationNotification,
    ControlSignal,
    FlexibilityForecast,
    InformationObject,
    Measurements,
    OperationPlan,
)

LIFETIME_S = 300
_WRITE_S = 0.2
_REPLACED = "replaced by a later message"
_log = logging.getLogger(__name__)


class Carrier(Protocol):
    """A way to other actors."""

    def carry(self, outgoing: Outgoing, lifetime_s: int) -> None:
        """Try to send; must not block.  The receipt comes later through :meth:`Courier.settled`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """When to try again.

    Attributes:
        first_s: Wait for a receipt before the second try. [s]
        factor: Growth of the wait. [1]
        longest_s: Longest wait. [s]
    """

    first_s: float = 5.0
    factor: float = 2.0
    longest_s: float = 60.0

    def wait_s(self, tries: int) -> float:
        """Wait after so many tries. [s]"""
        return float(min(self.longest_s, self.first_s * self.factor ** min(max(0, tries - 1), 32)))


@dataclass(slots=True)
class _Open:
    outgoing: Outgoing
    until: datetime
    again_at: float = 0.0
    trouble: str = ""


@dataclass(slots=True, kw_only=True)
class Courier:
    """Messages under way; use from one event loop, :meth:`settled` from any thread.

    Attributes:
        store: Store of the actor.
        clock: Simulated time; a message expires by it.
        carriers: Way to each receiver.
        default: Way to all others; ``None``: they cannot be reached.
        retry: When to try again.
        returned: Told of messages that were refused or given up, unless a later one has replaced them.
        counts: What became of messages.
    """

    store: Store
    clock: Clock
    carriers: Mapping[str, Carrier] = field(default_factory=dict)
    default: Carrier | None = None
    retry: Retry = field(default_factory=Retry)
    returned: Callable[[Outgoing, str], None] | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _open: dict[str, _Open] = field(default_factory=dict)
    _newest: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    _written: list[tuple[int, Delivery, int, int, str]] = field(default_factory=list)
    _loop: asyncio.AbstractEventLoop | None = None
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def waiting(self) -> int:
        """Messages not settled."""
        return len(self._open)

    def recover(self) -> None:
        """Take up what a process before this one left in the outbox."""
        self.submit(self.store.outgoing())

    def submit(self, outgoings: Sequence[Outgoing]) -> None:
        """Take committed messages and try them once."""
        for outgoing in outgoings:
            message = outgoing.message
            self._open[message.id] = one = _Open(outgoing, useful_until(message.body, message.sent_at))
            thing = self._newest.setdefault(_thing(message.receiver, message.body), [0, 0])
            thing[0], thing[1] = outgoing.seq, thing[1] + 1
            self._attempt(one)

    def _attempt(self, one: _Open) -> None:
        message, tries = one.outgoing.message, one.outgoing.tries
        if self.clock.now() >= one.until:
            self._give_up(one, f"not confirmed before {one.until.isoformat()} in {tries} tries{_because(one)}")
            return
        if tries and self._newest[_thing(message.receiver, message.body)][0] != one.outgoing.seq:
            self._give_up(one, f"{_REPLACED} before it was confirmed{_because(one)}")
            return
        carrier = self.carriers.get(message.receiver, self.default)
        one.outgoing = replace(one.outgoing, tries=tries + 1)
        one.again_at = time.monotonic() + self.retry.wait_s(tries + 1)
        if carrier is None:
            one.trouble = f"no way to {message.receiver}"
            return
        left_s = self.clock.wait_s(one.until)
        try:
            carrier.carry(one.outgoing, max(1, min(LIFETIME_S, int(left_s))))
        except Exception as error:  # a carrier in trouble must not stop the others; the message is tried again
            one.trouble = f"{type(error).__name__}: {error}"
            _log.warning("%s: %s not sent: %s", self.store.actor, message.id, error)

    def _give_up(self, one: _Open, reason: str) -> None:
        self._finish(one, Delivery.EXPIRED, reason)

    def _finish(self, one: _Open, state: Delivery, reason: str) -> None:
        message = one.outgoing.message
        self._open.pop(message.id, None)
        thing = _thing(message.receiver, message.body)
        self._newest[thing][1] -= 1
        if not self._newest[thing][1]:
            del self._newest[thing]
        self.counts[state.value] += 1
        self._written.append((one.outgoing.seq, state, one.outgoing.tries, time.time_ns(), reason))
        if state is not Delivery.DELIVERED:
            if self.returned is not None and not reason.startswith(_REPLACED):
                self.returned(one.outgoing, reason)
            _log.warning("%s: %s %s: %s", self.store.actor, message.id, state.value, reason)

    def settled(self, identity: str, state: Delivery, reason: str = "") -> None:
        """The receiver's word on a message; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._settle, identity, state, reason)

    def troubled(self, identity: str, reason: str) -> None:
        """A carrier could not deliver; it is tried again.  From any thread."""
        one = self._open.get(identity)
        if one is not None:
            one.trouble = reason

    def _settle(self, identity: str, state: Delivery, reason: str) -> None:
        one = self._open.get(identity)
        if one is not None:
            self._finish(one, state, reason)

    def kick(self, receiver: str = "") -> None:
        """Try again at once what waits for a receiver (all of them when empty), in order; from any thread."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._kick, receiver)

    def _kick(self, receiver: str) -> None:
        for one in self._open.values():
            if receiver in ("", one.outgoing.message.receiver):
                one.again_at = 0.0
        self._wake.set()

    async def run(self) -> None:
        """Repeat and write until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                self._repeat()
                self.write()
                pause = min((one.again_at - time.monotonic() for one in self._open.values()), default=_WRITE_S)
                self._wake.clear()
                # not wait_for: before Python 3.12 it may swallow a cancellation
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(max(0.001, min(_WRITE_S, pause))):
                        await self._wake.wait()
        finally:
            self.write()

    def _repeat(self) -> None:
        now = time.monotonic()
        for one in [one for one in self._open.values() if one.again_at <= now]:
            self._attempt(one)

    def write(self) -> None:
        """Write settlements; if that fails they are written later, or settled again after a restart."""
        if not self._written:
            return
        try:
            self.store.settle(self._written)
        except StoreError as error:
            _log.warning("%s", error)
        else:
            self._written.clear()


def _because(one: _Open) -> str:
    return f"; {one.trouble}" if one.trouble else ""


def _thing(receiver: str, body: InformationObject) -> tuple[str, str, str]:
    """What a message is about: a later one about the same thing replaces it."""
    match body:
        case ActivationNotification():
            name = body.reserve
        case ControlSignal():
            name = body.target
        case OperationPlan() | FlexibilityForecast():
            name = body.subject
        case Measurements():
            name = body.source
        case _:
            name = body.id
    return receiver, type(body).__name__, name
