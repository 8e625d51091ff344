"""What the backends share: state, events, and the task that brings the link up again until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time

from heila_mosaik.bridges.iec104.client import Answer, LinkEvent, LinkSettings, LinkState, Received, StateChanged
from heila_mosaik.bridges.iec104.events import EventQueue
from heila_mosaik.bridges.points import Direction, PointList
from heila_mosaik.bridges.safety_gate import Cleared
from heila_mosaik.domain.quantities import Quality

_LOG = logging.getLogger(__name__)


class Link:
    """One path to a station; a backend adds :meth:`_session` and ``order``.

    Args:
        settings: Connection.
        points: Point list.
    """

    def __init__(self, settings: LinkSettings, points: PointList) -> None:
        self._settings = settings
        self._points = points
        self._state = LinkState.CLOSED
        self._events = EventQueue(settings.queue_size)
        self._active = True
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> LinkState:
        """State of the link."""
        return self._state

    @property
    def lost(self) -> int:
        """Events dropped because nobody read them in time."""
        return self._events.lost

    @property
    def paths(self) -> tuple[LinkState, ...]:
        """State of each path to the station."""
        return (self._state,)

    def activate(self, active: bool) -> None:
        """Start data transfer, or (from the next connection on) keep the connection in standby."""
        self._active = active

    async def start(self) -> None:
        """Begin to connect."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Close the link."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._enter(LinkState.CLOSED, "stopped")

    async def receive(self) -> LinkEvent:
        """Next value or change of state."""
        return await self._events.get()

    async def _session(self) -> str:
        """Connect and serve until the connection ends; says why it did."""
        raise NotImplementedError

    async def _run(self) -> None:
        while True:
            try:
                detail = await self._session()
            except (OSError, TimeoutError) as error:
                detail = str(error) or type(error).__name__
            except Exception as error:
                # Whatever a gateway sends must not end the link for good: a dead task looks like a quiet one.
                _LOG.exception("link to %s:%s failed", self._settings.host, self._settings.port)
                detail = f"{type(error).__name__}: {error}"
            self._enter(LinkState.CLOSED, detail)
            await asyncio.sleep(self._settings.reconnect_s)

    def _enter(self, state: LinkState, detail: str = "") -> None:
        if state is not self._state:
            self._state = state
            self._events.put(StateChanged(state=state, detail=detail))

    def _unsendable(self, cleared: Cleared) -> Answer | None:
        """Why an order cannot leave now, or ``None``; asked immediately before sending."""
        if self._state is not LinkState.OPEN:
            return Answer(positive=False, detail=f"not sent: link is {self._state.value}")
        barred = cleared.barred(time.monotonic())
        return Answer(positive=False, detail=f"not sent: {barred}") if barred else None

    def _value(
        self, place: tuple[int, int], wire: float, quality: Quality, cause: int, device_time: str | None
    ) -> None:
        """A value arrived from a common address and information object address."""
        point = self._points.by_address.get(place)
        if point is not None and point.direction is Direction.MONITOR:
            self._events.put(Received(point=point, wire=wire, quality=quality, cause=cause, device_time=device_time))
