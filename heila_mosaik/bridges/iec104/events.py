"""Bounded queue from a link to its bridge: the newest values win, and what is lost is counted."""

from __future__ import annotations

import asyncio
from collections import deque

from heila_mosaik.bridges.iec104.client import LinkEvent, Received


class EventQueue:
    """Queue in the order of arrival.

    Values are dropped oldest first when it is full; changes of state are kept before values.

    Args:
        size: Most events kept.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._events: deque[LinkEvent] = deque()
        self._ready = asyncio.Event()
        self.lost = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: LinkEvent) -> None:
        """Add an event; never waits."""
        if len(self._events) >= self._size:
            self._drop()
        self._events.append(event)
        self._ready.set()

    def _drop(self) -> None:
        self.lost += 1
        for position, event in enumerate(self._events):
            if isinstance(event, Received):
                del self._events[position]
                return
        self._events.popleft()

    async def get(self) -> LinkEvent:
        """Next event."""
        while not self._events:
            self._ready.clear()
            await self._ready.wait()
        return self._events.popleft()
