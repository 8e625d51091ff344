"""IEC 104 client on c104, which runs in a process of its own; this side never imports it."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import sys
from collections.abc import Mapping
from typing import Any

from heila_mosaik.bridges.iec104.client import Answer, LinkSettings, LinkState
from heila_mosaik.bridges.iec104.link import Link
from heila_mosaik.bridges.points import PointList
from heila_mosaik.bridges.safety_gate import Cleared
from heila_mosaik.bridges.safety_types import Kind
from heila_mosaik.domain.quantities import Quality

_LOG = logging.getLogger(__name__)
_PROCESS = "heila_mosaik.bridges.iec104.c104_process"
_SETTINGS = (
    "host", "port", "t0_s", "t1_s", "t2_s", "t3_s", "k", "w", "answer_s", "reconnect_s", "refresh_s", "queue_size",
)  # fmt: skip
_INVALID, _DOUBTFUL = 0x80, 0x71  # IV; NT, SB, BL and OV (IEC 60870-5-101, clause 7.2.6.3)
_LINE = 1 << 20
_GRACE_S = 3.0


def _quality(bits: int) -> Quality:
    if bits & _INVALID:
        return Quality.INVALID
    return Quality.QUESTIONABLE if bits & _DOUBTFUL else Quality.GOOD


class C104Client(Link):
    """One path to a station; its process is started again when it ends.

    Args:
        settings: Connection.
        points: Point list.
    """

    def __init__(self, settings: LinkSettings, points: PointList) -> None:
        super().__init__(settings, points)
        self._pending: dict[int, asyncio.Future[Answer]] = {}
        self._last_id = 0
        self._dropped = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def lost(self) -> int:
        """Events dropped because nobody read them in time, here or in the c104 process."""
        return self._events.lost + self._dropped

    def activate(self, active: bool) -> None:
        """Start data transfer, or (from the next connection on) keep the connection in standby."""
        super().activate(active)
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps({"active": active}).encode() + b"\n")

    async def order(self, cleared: Cleared) -> Answer:
        """Send one order once; an answer that does not come is unknown."""
        cleared.spend()
        point = cleared.point
        if (refused := self._unsendable(cleared)) is not None:
            return refused
        self._last_id += 1
        identity = self._last_id
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[identity] = future
        request = {
            "id": identity,
            "station": point.station,
            "address": point.address,
            "value": point.to_wire(cleared.value),
            # Both processes read the same monotonic clock; JSON has no infinity.
            "until": None if math.isinf(cleared.until_s) else cleared.until_s,
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

    async def _session(self) -> str:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _PROCESS, stdin=pipe, stdout=pipe, limit=_LINE
        )
        self._process = process
        try:
            names = ("station", "address", "type", "select")
            points = [{name: getattr(point, name) for name in names} for point in self._points]
            settings = {name: getattr(self._settings, name) for name in _SETTINGS}
            await self._write({"settings": settings, "points": points, "active": self._active})
            assert process.stdout is not None
            while line := await process.stdout.readline():
                self._take_safely(line)
            return "the c104 process has ended"
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
            case "lost":
                self._dropped += event["count"]
            case "answer":
                future = self._pending.get(event["id"])
                if future is not None and not future.done():
                    future.set_result(Answer(positive=event["positive"], detail=event["detail"]))

    def _take_value(self, event: dict[str, Any]) -> None:
        wire = float("nan") if event["value"] is None else event["value"]
        place = (event["station"], event["address"])
        self._value(place, wire, _quality(event["quality"]), event["cause"], event["time"])


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
