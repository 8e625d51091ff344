"""IEC 104 client on c104, which runs in a process of its own; this side never imports it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from heila_mosaik.bridges.iec104.client import Answer, LinkEvent, LinkSettings, LinkState, Received, StateChanged
from heila_mosaik.bridges.iec104.events import EventQueue
from heila_mosaik.bridges.points import Direction, PointList
from heila_mosaik.bridges.safety_gate import Cleared
from heila_mosaik.bridges.safety_types import Kind
from heila_mosaik.domain.quantities import Quality

_LOG = logging.getLogger(__name__)
_PROCESS = "heila_mosaik.bridges.iec104.c104_process"
_INVALID, _DOUBTFUL = 0x80, 0x71  # IV; NT, SB, BL and OV (IEC 60870-5-101, clause 7.2.6.3)
_LINE = 1 << 20
_GRACE_S = 3.0


def _quality(bits: int) -> Quality:
    if bits & _INVALID:
        return Quality.INVALID
    return Quality.QUESTIONABLE if bits & _DOUBTFUL else Quality.GOOD


class C104Client:
    """Client for one station list, started again when its process ends.

    Args:
        settings: Connection.
        points: Point list.
    """

    def __init__(self, settings: LinkSettings, points: PointList) -> None:
        self._settings = settings
        self._points = points
        self._state = LinkState.CLOSED
        self._events = EventQueue(settings.queue_size)
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._last_id = 0
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> LinkState:
        """State of the link."""
        return self._state

    @property
    def lost(self) -> int:
        """Events dropped because nobody read them in time."""
        return self._events.lost

    async def start(self) -> None:
        """Begin to connect."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Close the link and end the process."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._enter(LinkState.CLOSED, "stopped")

    async def receive(self) -> LinkEvent:
        """Next value or change of state."""
        return await self._events.get()

    async def order(self, cleared: Cleared) -> Answer:
        """Send one order once; an answer that does not come is unknown."""
        cleared.spend()
        point = cleared.point
        if self._state is not LinkState.OPEN:
            return Answer(positive=False, detail=f"not sent: link is {self._state.value}")
        if cleared.revoked:
            return Answer(positive=False, detail=f"not sent: {cleared.revoked}")
        self._last_id += 1
        identity = self._last_id
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[identity] = future
        request = {
            "id": identity,
            "station": point.station,
            "address": point.address,
            "value": point.to_wire(cleared.value),
            "urgent": cleared.kind in (Kind.EMERGENCY, Kind.FALLBACK),
        }
        limit = self._settings.answer_s * (2.0 if point.select else 1.0) + 1.0
        try:
            async with asyncio.timeout(limit):
                await self._write(request)
                return await future
        except TimeoutError:
            return Answer(positive=None, detail=f"the c104 process gave no answer within {limit:g} s")
        except ConnectionError:
            return Answer(positive=None, detail="the c104 process has ended")
        finally:
            del self._pending[identity]

    async def _write(self, line: Mapping[str, Any]) -> None:
        if self._process is None or self._process.stdin is None:
            raise ConnectionError("no c104 process")
        self._process.stdin.write(json.dumps(line, allow_nan=False).encode() + b"\n")
        await self._process.stdin.drain()

    def _enter(self, state: LinkState, detail: str = "") -> None:
        if state is not self._state:
            self._state = state
            self._events.put(StateChanged(state=state, detail=detail))

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
                detail = "the c104 process has ended"
            except Exception as error:
                _LOG.exception("c104 process for %s:%s failed", self._settings.host, self._settings.port)
                detail = f"{type(error).__name__}: {error}"
            self._enter(LinkState.CLOSED, detail)
            await asyncio.sleep(self._settings.reconnect_s)

    async def _session(self) -> None:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _PROCESS, stdin=pipe, stdout=pipe, limit=_LINE
        )
        self._process = process
        try:
            names = ("station", "address", "type", "select")
            points = [{name: getattr(point, name) for name in names} for point in self._points]
            await self._write({"settings": asdict(self._settings), "points": points})
            assert process.stdout is not None
            while line := await process.stdout.readline():
                self._take_safely(line)
        finally:
            self._process = None
            self._enter(LinkState.CLOSED, "the c104 process has ended")
            for future in self._pending.values():
                if not future.done():
                    future.set_result(Answer(positive=None, detail="the c104 process has ended"))
            await _end(process)

    def _take_safely(self, line: bytes) -> None:
        try:
            self._take(json.loads(line))
        except Exception:
            _LOG.exception("line of the c104 process left out: %r", line)

    def _take(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "value":
                self._take_value(event)
            case "state":
                self._enter(LinkState(event["state"]), event["detail"])
            case "answer":
                future = self._pending.get(event["id"])
                if future is not None and not future.done():
                    future.set_result(Answer(positive=event["positive"], detail=event["detail"]))

    def _take_value(self, event: dict[str, Any]) -> None:
        point = self._points.by_address.get((event["station"], event["address"]))
        if point is None or point.direction is not Direction.MONITOR:
            return
        wire = float("nan") if event["value"] is None else event["value"]
        self._events.put(
            Received(
                point=point,
                wire=wire,
                quality=_quality(event["quality"]),
                cause=event["cause"],
                device_time=event["time"],
            )
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process: by the end of its input, then by force."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(_GRACE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
