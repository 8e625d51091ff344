"""Two paths to one station: one carries the data, the other stands by and takes over when the first one fails."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from heila_mosaik.bridges.iec104.client import (
    Answer,
    Iec104Client,
    LinkEvent,
    LinkState,
    PathChanged,
    Received,
    StateChanged,
)
from heila_mosaik.bridges.iec104.events import EventQueue
from heila_mosaik.bridges.safety_gate import Cleared

_STARTING = (LinkState.INTERROGATING, LinkState.SYNCHRONISING, LinkState.OPEN)


class RedundantClient:
    """A link over several paths, in their order of preference at the start; it stays where it works.

    Only one path is started (IEC 60870-5-104 clause 10).  While the link changes over it is ``SWITCHING``: orders are
    not sent, points do not fall back yet.  After ``switch_s`` it counts as lost.

    Args:
        paths: One client a path; the link owns them from now on.
        switch_s: Longest time to change over. [s]
        queue_size: Most events waiting to be read.
    """

    def __init__(self, paths: Sequence[Iec104Client], switch_s: float, queue_size: int) -> None:
        self._paths = tuple(paths)
        self._switch_s = switch_s
        self._states = [LinkState.CLOSED] * len(self._paths)
        self._failed = [False] * len(self._paths)
        self._active = 0
        self._state = LinkState.CLOSED
        self._events = EventQueue(queue_size)
        self._tasks: list[asyncio.Task[None]] = []
        self._deadline: asyncio.TimerHandle | None = None

    @property
    def state(self) -> LinkState:
        """State of the link."""
        return self._state

    @property
    def active(self) -> int:
        """Number of the path that carries the data."""
        return self._active

    @property
    def paths(self) -> tuple[LinkState, ...]:
        """State of each path to the station."""
        return tuple(self._states)

    @property
    def lost(self) -> int:
        """Events dropped because nobody read them in time."""
        return self._events.lost + sum(path.lost for path in self._paths)

    def activate(self, active: bool) -> None:
        """Start data transfer on the chosen path, or keep all of them in standby."""
        self._paths[self._active].activate(active)

    async def start(self) -> None:
        """Begin to connect on all paths."""
        if self._tasks:
            return
        for number, path in enumerate(self._paths):
            path.activate(number == self._active)
            await path.start()
            self._tasks.append(asyncio.create_task(self._pump(number, path)))

    async def stop(self) -> None:
        """Close all paths."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        self._stop_waiting()
        await asyncio.gather(*(path.stop() for path in self._paths))
        self._states = [LinkState.CLOSED] * len(self._paths)
        self._enter(LinkState.CLOSED, "stopped")

    async def receive(self) -> LinkEvent:
        """Next value or change of state."""
        return await self._events.get()

    async def order(self, cleared: Cleared) -> Answer:
        """Send one order once, on the path that carries the data; it is never repeated on the other."""
        if self._state is not LinkState.OPEN:
            cleared.spend()
            return Answer(positive=False, detail=f"not sent: link is {self._state.value}")
        return await self._paths[self._active].order(cleared)

    async def _pump(self, number: int, path: Iec104Client) -> None:
        while True:
            event = await path.receive()
            if isinstance(event, StateChanged):
                self._path_changed(number, event)
            elif isinstance(event, Received) and number == self._active:
                self._events.put(event)

    def _path_changed(self, number: int, event: StateChanged) -> None:
        self._states[number] = event.state
        self._events.put(PathChanged(path=number, state=event.state, detail=event.detail))
        if event.state is LinkState.CLOSED:
            self._failed[number] = True
        elif event.state in (LinkState.OPEN, LinkState.STANDBY):
            self._failed[number] = False
        if number == self._active:
            self._follow(event)
        self._choose()

    def _follow(self, event: StateChanged) -> None:
        """The link is what its active path is; for a short time after it was open, a way back is looked for."""
        if event.state is LinkState.OPEN:
            self._stop_waiting()
            self._enter(LinkState.OPEN, f"on path {self._active + 1}")
        elif self._state is LinkState.OPEN:
            self._enter(LinkState.SWITCHING, f"path {self._active + 1}: {event.detail}")
            self._deadline = asyncio.get_running_loop().call_later(self._switch_s, self._give_up)
        elif self._state is not LinkState.SWITCHING:
            self._enter(event.state, event.detail)

    def _choose(self) -> None:
        """Start a path that stands by when the active one has failed."""
        if self._states[self._active] in _STARTING or not self._failed[self._active]:
            return
        for number, state in enumerate(self._states):
            if state is LinkState.STANDBY:
                self._paths[self._active].activate(False)
                self._active = number
                self._paths[number].activate(True)
                return

    def _give_up(self) -> None:
        self._deadline = None
        self._enter(LinkState.CLOSED, f"no path came up within {self._switch_s:g} s")

    def _stop_waiting(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _enter(self, state: LinkState, detail: str = "") -> None:
        if state is not self._state:
            self._state = state
            self._events.put(StateChanged(state=state, detail=detail))
