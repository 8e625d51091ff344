"""Lets a coordinator, usually a study in mosaik, set the time of a live actor.

The coordinator's registration says how time goes: ``lockstep``, or three figures of a paced clock.  In lock-step it
names, for every step, the time and the messages to take; these come from their senders over the wire as ever, and the
actor answers when it has stored them and taken the step.  A step named again is answered again and not taken twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

from heila_mosaik.bridges.clock import ManualClock, PacedClock
from heila_mosaik.bridges.node import LiveNode
from heila_mosaik.bridges.store import StoreMismatchError
from heila_mosaik.bridges.store_rows import Received, outcome_json, unpack_measurements
from heila_mosaik.domain.information import Message
from heila_mosaik.errors import HeilaError

_log = logging.getLogger(__name__)


class CoordinatorLostError(HeilaError):
    """The coordinator did not register or fell silent.

    Attributes:
        actor: Who waited.
        coordinator: For whom.
    """

    def __init__(self, actor: str, coordinator: str, what: str) -> None:
        self.actor, self.coordinator = actor, coordinator
        super().__init__(f"{actor}: {coordinator} {what}\n    remedy: start the run again; the store goes on from here")


def clock_text(clock: PacedClock | None) -> str:
    """What a coordinator's registration says of its time; ``None``: lock-step."""
    if clock is None:
        return "lockstep"
    return json.dumps(
        {"simulated": clock.simulated.isoformat(), "wall": clock.wall.isoformat(), "rate": clock.rate}, sort_keys=True
    )


def read_clock(text: str) -> PacedClock | None:
    """Clock from :func:`clock_text`."""
    if text == "lockstep":
        return None
    figures = json.loads(text)
    simulated, wall = (datetime.fromisoformat(figures[name]) for name in ("simulated", "wall"))
    return PacedClock(simulated=simulated, wall=wall, rate=float(figures["rate"]))


class Follower:
    """A live actor that follows a coordinator.

    Args:
        make: Makes the node; given where it hands over what the coordinator sends, and its clock.
        coordinator: Name of the coordinator.
        silence_s: Longest silence of a coordinator in lock-step. [s]
    """

    def __init__(
        self,
        make: Callable[[Callable[[str, dict[str, Any]], None], ManualClock], LiveNode],
        coordinator: str,
        silence_s: float = 600.0,
    ) -> None:
        self._words: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.coordinator, self.silence_s = coordinator, silence_s
        self._clock = ManualClock(datetime.fromisoformat("1970-01-01T00:00:00+00:00"))
        self.node = make(self._heard, self._clock)
        self._stopping = False

    def _heard(self, sender: str, content: dict[str, Any]) -> None:
        """From the MQTT thread."""
        if sender == self.coordinator and self._loop is not None:
            self._loop.call_soon_threadsafe(self._words.put_nowait, content)

    def stop(self) -> None:
        """End after the step under way."""
        self._stopping = True
        self.node.host.stop()

    async def run(self) -> None:
        """Run from registration to the coordinator's end or :meth:`stop`.

        Raises:
            CoordinatorLostError: If the coordinator stays away.
        """
        self._loop = asyncio.get_running_loop()
        node = self.node
        try:
            await node.open()
            await node.register()
            clock = await self._agreed()
            node.courier.recover()
            if clock is None:
                await self._follow()
            elif not self._stopping:
                node.host.clock = node.courier.clock = clock
                node.host.watch = self._tell(node.host.watch)
                await self._run_paced()
            await node.drain()
        finally:
            await node.close()

    async def _agreed(self) -> PacedClock | None:
        """How time goes, from the coordinator's registration."""
        assert self.node.directory is not None
        waited = 0.0
        while not self._stopping:
            told = self.node.directory.known.get(self.coordinator)
            if told is not None and "clock" in told.about:
                return read_clock(told.about["clock"])
            if waited > self.silence_s:
                raise CoordinatorLostError(self.node.name, self.coordinator, "has not said how time goes")
            await asyncio.sleep(0.05)
            waited += 0.05
        return None

    async def _run_paced(self) -> None:
        """On the own clock, until the coordinator says that it is over."""
        host = self.node.host
        before = self.node.host.clock.wait_s(getattr(self.node.host.clock, "simulated", host.now()))
        await asyncio.sleep(before)
        ending = asyncio.create_task(self._wait_for_end())
        await host.run()
        ending.cancel()

    async def _wait_for_end(self) -> None:
        while True:
            if (await self._words.get()).get("do") == "end":
                self.node.host.stop()
                return

    def _tell(self, watch: Any) -> Any:
        """Copy every step to the coordinator, which keeps the log of the run."""

        def tell(values: dict[str, str], inbox: list[Message], outcome: Any) -> None:
            if watch is not None:
                watch(values, inbox, outcome)
            taken = [[message.sender, message.id] for message in inbox]
            self._say({"log": outcome_json(outcome), "taken": taken, "now": self.node.host.now().isoformat()})

        return tell

    def _say(self, content: dict[str, Any]) -> None:
        assert self.node.mqtt is not None
        try:
            self.node.mqtt.sync(self.coordinator, content)
        except HeilaError as error:
            _log.warning("%s: not said to %s: %s", self.node.name, self.coordinator, error)

    async def _follow(self) -> None:
        """Take the steps the coordinator names."""
        silent = 0.0
        while not self._stopping:
            try:
                async with asyncio.timeout(0.5):
                    word = await self._words.get()
            except TimeoutError:
                silent += 0.5
                if silent > self.silence_s:
                    raise CoordinatorLostError(self.node.name, self.coordinator, "fell silent") from None
                continue
            silent = 0.0
            if word.get("do") == "end":
                return
            if word.get("do") == "step":
                await self._step(word)

    async def _step(self, word: dict[str, Any]) -> None:
        host, store, tag = self.node.host, self.node.store, str(word["tag"])
        answer = store.answer(tag)
        if answer is None:
            inbox = await self._complete([(str(sender), str(identity)) for sender, identity in word["inbox"]])
            if inbox is None:
                return
            self._clock.at = now = datetime.fromisoformat(word["now"])
            if host.state.now is not None and now < host.state.now:
                what = (
                    f"its last step was at {host.state.now.isoformat()}, {self.coordinator} asks for {now.isoformat()}"
                )
                raise StoreMismatchError(store.path, what, "take a new folder for a new run")
            given = word.get("measurements")
            outcome = await host.take(now, inbox, unpack_measurements(given), tag=tag)
            answer = json.dumps(outcome_json(outcome))
        self._say({"tag": tag, "answer": json.loads(answer)})

    async def _complete(self, wanted: list[tuple[str, str]]) -> list[Received] | None:
        """The named messages in the named order, as soon as all have come; ``None`` if the actor is stopped."""
        while not self._stopping:
            pending = {(each.message.sender, each.message.id): each for each in self.node.store.pending()}
            if all(key in pending for key in wanted):
                return [pending[key] for key in wanted]
            await self.node.host.news(0.25)
        return None
