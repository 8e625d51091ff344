"""Equipment of a live actor: its set points go to the bridge, what the equipment says becomes its measurements."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime

from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.equipment import EquipmentProcess
from heila_mosaik.bridges.equipment_process import EquipmentConfig, Told
from heila_mosaik.domain.information import ControlSignal, Measurements

Measure = Callable[[Measurements], None]
"""Takes fresh measurements, usually :meth:`heila_mosaik.bridges.host.LiveHost.measure`."""

_BEAT_S = 0.1


class LiveField:
    """Joins an :class:`~heila_mosaik.bridges.equipment.EquipmentProcess` to a live host.

    Changed values reach the actor at once, several of one moment together; unchanged ones every ``every_s``.  While
    the event loop of the host turns, the actor counts as alive; when it stands still, armed points fall back.

    Args:
        config: The bridge.
        source: Actor that measures.
        now: Time of the actor.
        listener: Told of everything the bridge says, in the reading thread.
        every_s: Longest time between two measurements. [s]

    Attributes:
        process: The bridge.
    """

    def __init__(
        self,
        config: EquipmentConfig,
        source: str,
        now: Callable[[], datetime],
        *,
        listener: Callable[[Told], None] | None = None,
        every_s: float = 60.0,
    ) -> None:
        self.process = EquipmentProcess(config, self._told)
        self._source, self._now, self._listener, self._every_s = source, now, listener, every_s
        self._mapped = {point.name for point in config.points.monitored if point.quantity is not None}
        self._seen: dict[str, tuple[float, str]] = {}
        self._measure: Measure | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._fresh = False
        self._count = 0
        self._sent_at_s = -1e9
        self._task: asyncio.Task[None] | None = None

    def __call__(self, signal: ControlSignal) -> None:
        """Hand a set point or command to the equipment (a :data:`~heila_mosaik.bridges.controls.ControlSink`)."""
        self.process.field.order([signal], self._now(), time.monotonic())

    async def start(self, measure: Measure) -> None:
        """Start the bridge; measurements follow when every mapped point has a value."""
        self._loop, self._measure = asyncio.get_running_loop(), measure
        await self.process.start()
        self._task = asyncio.create_task(self._run())

    async def lost(self) -> None:
        """Wait for the end of the bridge.

        Raises:
            EquipmentLostError: When it has ended by itself.
        """
        assert self._task is not None, "start it first"
        await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Let go of the equipment in order."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.process.stop()

    async def _run(self) -> None:
        """Sign of life, signals that begin and end, requests that may be repeated."""
        while True:
            self.process.check()
            now_s = time.monotonic()
            self.process.study_alive()
            self.process.drain()
            self.process.field.advance(self._now(), now_s)
            self.process.again()
            if now_s - self._sent_at_s >= self._every_s:
                self._send()
            await asyncio.sleep(_BEAT_S)

    def _told(self, told: Told) -> None:
        if isinstance(told, Reading) and told.name in self._mapped and self._loop is not None:
            news = (told.value, told.quality.value)
            if self._seen.get(told.name) != news:
                self._seen[told.name] = news
                if not self._fresh and not self._loop.is_closed():
                    self._fresh = True
                    self._loop.call_soon_threadsafe(self._send)
        if self._listener is not None:
            self._listener(told)

    def _send(self) -> None:
        self._fresh = False
        if self._measure is None or self.process.field.slots.missing():
            return
        self._count += 1
        self._sent_at_s = time.monotonic()
        identity = f"{self._source}/reading/{self._count}"
        self._measure(self.process.field.measurements(self._source, identity, self._now(), self._sent_at_s))
