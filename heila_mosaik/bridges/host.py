"""Hosts one actor live: the same class that a study hosts, on a clock of its own, with a store and ways to others.

The host calls :meth:`Actor.step` when a message has been accepted, measurements have come or the time is there that the
actor asked for.  Inputs and answers of a step are committed before anything leaves, so that the process may die at any
moment: :func:`heila_mosaik.bridges.recovery.recover` brings the actor back, the courier repeats what was not confirmed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from heila_mosaik.actors.base import Actor, Outcome
from heila_mosaik.bridges.clock import Clock
from heila_mosaik.bridges.controls import ControlDesk, ControlSink
from heila_mosaik.bridges.recovery import recover, take_snapshot, version_of
from heila_mosaik.bridges.store import Store, StoreError, digest_of
from heila_mosaik.bridges.store_rows import Control, Outgoing, Received, Step, outcome_json, pack
from heila_mosaik.bridges.watch import watched
from heila_mosaik.domain.information import ActivationNotification, ActivationRefusal, Measurements, Message

_log = logging.getLogger(__name__)

Sender = Callable[[Sequence[Outgoing]], None]
"""Takes committed messages of a step, in order; must not block."""

Watcher = Callable[[dict[str, str], Sequence[Message], Outcome], None]
"""Told of every committed step: changed values, messages taken, answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostSettings:
    """Settings of a host.

    Attributes:
        snapshot_every: Steps between two snapshots of the actor's state.
        keep: How long settled history stays in the store.
        backlog_max: Accepted messages that may wait; beyond it senders are told to wait.
        frames_max: Measurements that may wait; the oldest are dropped and counted.
        retry_s: Wait before a failed commit is tried again. [s]
        longest_wait_s: Longest sleep, so that a clock that was set is noticed. [s]
    """

    snapshot_every: int = 200
    keep: timedelta = timedelta(days=30)
    backlog_max: int = 2000
    frames_max: int = 100
    retry_s: float = 1.0
    longest_wait_s: float = 5.0


@dataclass(slots=True)
class HostState:
    """What a health endpoint shows.

    Attributes:
        step: Number of the last step.
        now: Its simulated time.
        wake_at: When the actor wants to be called.
        replayed: Steps taken again at the start.
        dropped: Measurements dropped because the actor was too slow.
        late_s: Largest lateness of a wake-up, wall clock. [s]
        failure: Why the store cannot be written, empty while it can.
    """

    step: int = 0
    now: datetime | None = None
    wake_at: datetime | None = None
    replayed: int = 0
    dropped: int = 0
    late_s: float = 0.0
    failure: str = ""


@dataclass(slots=True, kw_only=True)
class LiveHost:
    """One live actor.  :meth:`accept` and :meth:`measure` may be called from any thread.

    Attributes:
        actor: Fresh actor; brought to its last state by :meth:`recover`.
        store: Its store.
        clock: Its time.
        send: Way for its messages, usually :meth:`heila_mosaik.bridges.courier.Courier.submit`.
        control: Way for its set points; ``None``: no equipment, they are only written down.
        watch: Told of every step, usually a mirror.
        settings: Settings.
        state: For a health endpoint.
    """

    actor: Actor
    store: Store
    clock: Clock
    send: Sender
    control: ControlSink | None = None
    watch: Watcher | None = None
    settings: HostSettings = field(default_factory=HostSettings)
    state: HostState = field(default_factory=HostState)
    _desk: ControlDesk = field(init=False)
    _frames: deque[Measurements] = field(default_factory=deque)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None
    _stopping: bool = False
    _snapshots: bool = True

    def __post_init__(self) -> None:
        self._desk = ControlDesk(self.store, self.control)

    @property
    def controls(self) -> ControlDesk:
        """Set points on their way to equipment."""
        return self._desk

    def recover(self) -> None:
        """Bring the actor to the state its store says it had.

        Raises:
            StoreMismatchError: If the store does not lead there.
        """
        found = recover(self.actor, self.store)
        self.actor, self.state.step, self.state.now = found.actor, found.step, found.now
        self.state.wake_at, self.state.replayed = found.wake_at, found.replayed

    def accept(self, message: Message, *, via: str = "local", jti: str = "", forget_at: float = 0.0) -> bool:
        """Take a message for good; returns False if it was there already.

        Raises:
            StoreError: If it could not be written.
        """
        fresh = self.store.accept(message, via=via, jti=jti, forget_at=forget_at)
        self._notify()
        return fresh

    def measure(self, measurements: Measurements) -> None:
        """Hand over fresh measurements of the actor's own devices."""
        if len(self._frames) >= self.settings.frames_max:
            self._frames.popleft()
            self.state.dropped += 1
        self._frames.append(measurements)
        self._notify()

    def busy(self) -> bool:
        """Whether senders should wait."""
        return bool(self.state.failure) or self.store.backlog() >= self.settings.backlog_max

    def stop(self) -> None:
        """End :meth:`run` after the step under way."""
        self._stopping = True
        self._notify()

    @property
    def stopping(self) -> bool:
        """Whether :meth:`stop` was called."""
        return self._stopping

    def _notify(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._news.set)

    def now(self) -> datetime:
        """Present time of the actor; it never goes back, even if the wall clock is set back."""
        now = self.clock.now()
        return now if self.state.now is None else max(now, self.state.now)

    async def run(self) -> None:
        """Run the actor on its clock until :meth:`stop`; :meth:`recover` comes first.

        Raises:
            StoreError: If the store still fails when the host is stopped.
        """
        self._loop = asyncio.get_running_loop()
        self._desk.recover(self.now())
        if self.state.step == 0 and not self._stopping:
            await self.take(self.now(), self.store.pending())
        while not self._stopping:
            await self._sleep()
            if self._stopping:
                break
            now = self.now()
            self._desk.hand_over(now)
            inbox = self.store.pending()
            wake = self.state.wake_at
            due = wake is not None and wake <= now
            if due and wake is not None:
                self.state.late_s = max(self.state.late_s, -self._left_s(wake))
            if inbox or self._frames or due:
                await self.take(now, inbox, self._frames.popleft() if self._frames else None)
        self._snapshot_at_end()

    def _left_s(self, moment: datetime) -> float:
        """Wall time until a moment, negative when it has passed. [s]"""
        left = self.clock.wait_s(moment)
        rate = getattr(self.clock, "rate", 1.0)
        return left if left > 0 else (moment - self.clock.now()).total_seconds() / rate

    async def _sleep(self) -> None:
        """Until something is due."""
        moments = [moment for moment in (self.state.wake_at, self._desk.next_at()) if moment is not None]
        pause = min([self.settings.longest_wait_s, *(self.clock.wait_s(moment) for moment in moments)])
        if self._frames or pause <= 0 or self.store.backlog():
            await asyncio.sleep(0)
            return
        await self.news(pause)

    async def news(self, pause_s: float) -> None:
        """Until a message or measurements have come, at most so long."""
        self._loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._news.wait()
        self._news.clear()

    async def take(
        self, now: datetime, inbox: Sequence[Received], measurements: Measurements | None = None, tag: str = ""
    ) -> Outcome:
        """Take one step, commit it, then let its answer leave.

        Args:
            now: Simulated time.
            inbox: Messages to hand over, in order.
            measurements: Fresh measurements.
            tag: Identity a coordinator gave the step.
        """
        messages = [each.message for each in inbox]
        outcome = await asyncio.to_thread(self.actor.step, now, messages, measurements)
        step = Step(number=self.state.step + 1, now=now, inbox=tuple(inbox), measurements=measurements,
                    digest=digest_of(outcome), tag=tag, answer=pack(outcome_json(outcome)) if tag else "")  # fmt: skip
        values = watched(messages, outcome, measurements)
        sent, controls = await self._commit(step, outcome, values)
        self.state.step, self.state.now, self.state.wake_at = step.number, now, outcome.wake_at
        self.send(sent)
        self._desk.add(controls, now)
        if self.watch is not None:
            self.watch(values, messages, outcome)
        return outcome

    async def _commit(
        self, step: Step, outcome: Outcome, values: dict[str, str]
    ) -> tuple[list[Outgoing], list[Control]]:
        """Commit a step; while the disk is full nothing leaves and nothing else is taken."""
        snapshot = None
        if self._snapshots and step.number % self.settings.snapshot_every == 0:
            snapshot = self._snapshot()
            self._prune(step.now)
        while True:
            try:
                done = self.store.commit(step, outcome, watched=values, snapshot=snapshot)
            except StoreError as error:
                if not self.state.failure:
                    _log.error("%s stands still: %s", self.actor.name, error)
                self.state.failure = str(error)
                if self._stopping:
                    raise
                await asyncio.sleep(self.settings.retry_s)
            else:
                if self.state.failure:
                    _log.warning("%s goes on: the store can be written again", self.actor.name)
                self.state.failure = ""
                return done

    def _snapshot(self) -> tuple[str, bytes] | None:
        state = take_snapshot(self.actor)
        if state is None:
            self._snapshots = False
            return None
        return version_of(self.actor), state

    def _prune(self, now: datetime) -> None:
        try:
            self.store.prune(now, self.settings.keep, time.time())
        except StoreError as error:
            _log.warning("%s", error)

    def _snapshot_at_end(self) -> None:
        """A graceful stop spares the next start its replay."""
        if not self._snapshots or not self.state.step:
            return
        snapshot = self._snapshot()
        if snapshot is not None:
            try:
                self.store.put_snapshot(self.state.step, *snapshot)
            except StoreError as error:
                _log.warning("%s", error)

    def returned(self, outgoing: Outgoing, reason: str) -> None:
        """Tell the actor that a call could not be delivered; usually the courier's ``returned``."""
        message, body = outgoing.message, outgoing.message.body
        detail = f"{type(body).__name__} {body.id} to {message.receiver} was not delivered: {reason}"
        try:
            values: dict[str, Any] = {"message": message.id, "receiver": message.receiver}
            self.store.note(self.now(), "message_not_delivered", detail, values)
            if isinstance(body, ActivationNotification):
                self.accept(_refusal(message, body, detail), via="returned")
        except StoreError as error:
            _log.warning("%s; %s", detail, error)


def _refusal(message: Message, body: ActivationNotification, reason: str) -> Message:
    """An undelivered call comes back as a refusal by the own host, which the actor reports as it reports others."""
    refusal = ActivationRefusal(
        id=f"{body.id}/undelivered",
        reserve=body.reserve,
        refused_by=message.sender,
        p_mw=body.p_mw,
        q_mvar=body.q_mvar,
        start=body.start,
        stop=body.stop,
        reason=reason,
    )
    return replace(message, id=f"{message.id}-returned", receiver=message.sender, body=refusal)
