"""The study's side of a mixed run: local actors with doors of their own, and stand-ins for those that run elsewhere.

Every local actor that talks to a live one has its own keys and its own connection, so that a live actor cannot tell a
partner in mosaik from one in another laboratory.
"""

from __future__ import annotations

import asyncio
import queue
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from heila_mosaik.actors.base import Outcome, Record
from heila_mosaik.bridges.clock import ManualClock, PacedClock
from heila_mosaik.bridges.lockstep import clock_text
from heila_mosaik.bridges.node import LiveNode, NodeSettings
from heila_mosaik.bridges.store_rows import Step, pack_body
from heila_mosaik.domain.codec import from_json_dict, message_from_json_dict
from heila_mosaik.domain.information import ControlSignal, Measurements, Message
from heila_mosaik.errors import HeilaError

NAME = "study"
"""Name of the coordinator."""

_REPEAT_S = 2.0
_T = TypeVar("_T")


class LiveActorLostError(HeilaError):
    """A live actor does not answer.

    Attributes:
        actor: Its name.
        at: Simulated time of the step it was asked for.
        waited_s: How long it was waited for. [s]
    """

    def __init__(self, actor: str, at: datetime, waited_s: float, waiting_for: str) -> None:
        self.actor, self.at, self.waited_s = actor, at, waited_s
        super().__init__(
            f"{actor} has not answered for {waited_s:g} s at {at.isoformat()} ({waiting_for})\n"
            "    remedy: look at its log and at the broker's; started again, it goes on where it was"
        )


class _Silent:
    """Stands behind a local actor's door; the actor itself is stepped by the study."""

    def __init__(self, name: str) -> None:
        self.name = name

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        raise AssertionError(f"{self.name} is stepped by the study, not at its door ({now}, {inbox}, {measurements})")


@dataclass(slots=True)
class _Door:
    """Door of a local actor: what came in, and the number of what went out."""

    node: LiveNode
    arrived: dict[tuple[str, str], Message]
    number: int = 0


def outcome_of(answer: Mapping[str, Any]) -> Outcome:
    """Outcome from its JSON object."""
    controls = [from_json_dict("ControlSignal", signal) for signal in answer["controls"]]
    wake = answer["wake_at"]
    return Outcome(
        messages=tuple(message_from_json_dict(message) for message in answer["messages"]),
        controls=tuple(signal for signal in controls if isinstance(signal, ControlSignal)),
        records=tuple(Record(**{**row, "at": datetime.fromisoformat(row["at"])}) for row in answer["records"]),
        wake_at=None if wake is None else datetime.fromisoformat(wake),
    )


class Coordinator:
    """Opens the doors of local actors and talks to live ones.

    Args:
        local: Names of the actors in mosaik that live ones talk to.
        live: Names of the live actors.
        settings: What the doors have in common; ``store`` is a folder here, keys and broker are those of ``study``.
        link: Settings of one door's way to the broker.
        timeout_s: Longest wait for a live actor. [s]
    """

    def __init__(
        self,
        local: Sequence[str],
        live: Sequence[str],
        settings: NodeSettings,
        link: Callable[[str], NodeSettings],
        timeout_s: float = 120.0,
    ) -> None:
        self.live, self.timeout_s = tuple(live), timeout_s
        self._run = secrets.token_hex(4)  # a store that outlives a run must not answer for the next one
        self.clock = ManualClock(datetime.fromisoformat("1970-01-01T00:00:00+00:00"))
        self._news = threading.Condition()
        self._answers: dict[str, dict[str, Any]] = {}
        self.arrivals: queue.Queue[Message] = queue.Queue()
        self.log: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        Path(settings.store).mkdir(parents=True, exist_ok=True)
        self._doors = {name: self._door(name, link(name)) for name in (*local, NAME)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="coordinator", daemon=True)

    def _door(self, name: str, settings: NodeSettings) -> _Door:
        partners = self.live if name == NAME else ()
        node = LiveNode(
            _Silent(name),
            self.clock,
            replace(settings, partners=partners, about={"role": "mosaik"}),
            on_sync=self._heard if name == NAME else None,
        )
        door = _Door(node, {})

        def accept(message: Message, *, via: str, jti: str, forget_at: float) -> bool:
            fresh = node.store.accept(message, via=via, jti=jti, forget_at=forget_at)
            if fresh:
                with self._news:
                    door.arrived[message.sender, message.id] = message
                    self._news.notify_all()
                self.arrivals.put(message)
            return fresh

        node.reception.accept = accept
        return door

    def _heard(self, sender: str, content: dict[str, Any]) -> None:
        if "log" in content:
            self.log.put((sender, content))
            return
        with self._news:
            self._answers[f"{sender} {content.get('tag')}"] = content.get("answer", {})
            self._news.notify_all()

    def _do(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def start(self) -> None:
        """Open all doors and wait until the live actors have registered.

        Raises:
            NotRegisteredError: If one does not.
        """
        self._thread.start()
        for door in self._doors.values():
            self._do(door.node.open())
        self._do(self._doors[NAME].node.register())

    def announce(self, clock: PacedClock | None) -> None:
        """Say how time goes: lock-step, or a paced clock that all have in common."""
        node = self._doors[NAME].node
        node.about["clock"] = clock_text(clock)
        assert node.mqtt is not None
        node.mqtt.register()

    def stop(self) -> None:
        """Say that it is over and close the doors."""
        if not self._thread.is_alive():
            return
        try:
            for name in self.live:
                self._say(name, {"do": "end"})
            self._do(self._drained())
        finally:
            for door in self._doors.values():
                self._do(door.node.close())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(5.0)

    async def _drained(self) -> None:
        for door in self._doors.values():
            await door.node.drain()

    def _say(self, name: str, content: dict[str, Any]) -> None:
        mqtt = self._doors[NAME].node.mqtt
        assert mqtt is not None
        mqtt.sync(name, content)

    def send(self, message: Message) -> None:
        """Send a message of a local actor to a live one."""
        self._do(self._send(message))

    async def _send(self, message: Message) -> None:
        door = self._doors[message.sender]
        door.number += 1
        self.clock.at = max(self.clock.at, message.sent_at)
        step = Step(number=door.number, now=message.sent_at, inbox=(), measurements=None, digest="")
        sent, _ = door.node.store.commit(step, Outcome(messages=(message,)), watched={})
        door.node.courier.submit(sent)

    def step(self, name: str, tag: str, now: datetime, inbox: Sequence[Message], given: Measurements | None) -> Outcome:
        """Have a live actor take one step; messages of local senders have to have been sent.

        Raises:
            LiveActorLostError: If it does not answer.
        """
        self.clock.at = max(self.clock.at, now)
        tag = f"{self._run}/{tag}"
        word: dict[str, Any] = {"do": "step", "tag": tag, "now": now.isoformat()}
        word["inbox"] = [[message.sender, message.id] for message in inbox]
        if given is not None:
            word["measurements"] = pack_body(given)
        key, started = f"{name} {tag}", time.monotonic()
        while True:
            self._try_to_say(name, word)
            with self._news:
                if self._news.wait_for(lambda: key in self._answers, _REPEAT_S):
                    answer = self._answers.pop(key)
                    break
            waited = time.monotonic() - started
            if waited > self.timeout_s:
                raise LiveActorLostError(name, now, waited, f"step {tag}")
        return self._with_wire(outcome_of(answer), name, now)

    def _try_to_say(self, name: str, word: dict[str, Any]) -> None:
        try:
            self._say(name, word)
        except HeilaError:
            time.sleep(0.1)  # the broker is away; it is said again

    def _with_wire(self, outcome: Outcome, name: str, now: datetime) -> Outcome:
        """Messages to local actors as they came over the wire."""
        messages = []
        for message in outcome.messages:
            door = self._doors.get(message.receiver)
            if door is None:
                messages.append(message)
                continue
            key, arrived = (message.sender, message.id), door.arrived
            with self._news:
                if not self._news.wait_for(partial(arrived.__contains__, key), self.timeout_s):
                    raise LiveActorLostError(name, now, self.timeout_s, f"message {message.id} to {message.receiver}")
                messages.append(arrived.pop(key))
        return replace(outcome, messages=tuple(messages))

    def counts(self) -> dict[str, dict[str, int]]:
        """What went through the doors, by local actor."""
        return {name: dict(door.node.counts) for name, door in self._doors.items()}


class StandIn:
    """Stands in the study for an actor that runs elsewhere, in lock-step.

    Args:
        name: Name of the actor.
        coordinator: Talks to it.
        local: Names of the actors in mosaik.
    """

    def __init__(self, name: str, coordinator: Coordinator, local: Sequence[str]) -> None:
        self.name = name
        self._coordinator, self._local = coordinator, frozenset(local)
        self._count = 0
        self._taken: set[tuple[str, str]] = set()

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """Advance the live actor; see :class:`heila_mosaik.actors.base.Actor`."""
        self._count += 1
        # a duplicate of the simulated network ends at the live actor's inbox, as any other
        fresh = [m for m in inbox if (m.sender, m.id) not in self._taken]
        self._taken.update((message.sender, message.id) for message in fresh)
        for message in fresh:
            if message.sender in self._local:
                self._coordinator.send(message)
        return self._coordinator.step(self.name, f"{self.name}/{self._count}", now, fresh, measurements)
