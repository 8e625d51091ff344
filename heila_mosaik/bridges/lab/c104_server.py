"""Server of the laboratory on c104, which runs in a process of its own; this side never imports it."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from heila_mosaik.bridges.lab.server import KEPT, Logic, Outbox, Outgoing, ServerSettings, Verdict
from heila_mosaik.bridges.points import PointList

_LOG = logging.getLogger(__name__)
_PROCESS = "heila_mosaik.bridges.lab.c104_server_process"
_BATCH, _LINE, _GRACE_S, _CUT_S, _START_S = 200, 1 << 20, 3.0, 3.0, 30.0


def _free_port(host: str) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _row(value: Outgoing) -> list[Any]:
    stamp = None if value.tag is None else value.tag.timestamp()
    return [value.point.station, value.point.address, value.wire, value.quality, value.cause, stamp]


class C104Server:
    """A backend of the laboratory.  Interrogations and selections are answered by c104 itself.

    Args:
        settings: Server.
        points: Point list.
        logic: Station behind it.
    """

    def __init__(self, settings: ServerSettings, points: PointList, logic: Logic) -> None:
        self._settings = settings
        self._points = points
        self._logic = logic
        self._ports = tuple(port or _free_port(settings.host) for port in settings.ports)
        self._outbox = Outbox(settings.outbox)
        self._present: dict[str, tuple[float, int]] = {}
        self._ready = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._listening: set[int] = set()
        self._clients = 0
        self._refused = 0
        self._told: dict[str, asyncio.Event] = {}

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP port of each path."""
        return self._ports

    @property
    def clients(self) -> int:
        """Connections with data transfer."""
        return self._clients

    @property
    def dropped(self) -> int:
        """Events dropped because a client was too slow, here or by c104."""
        return self._outbox.dropped + self._refused

    async def listen(self, path: int) -> None:
        """Accept connections on a path."""
        if self._process is None:
            await self._start()
        self._flush()
        await self._ask({"do": "listen", "path": path}, f"listening {path}", _START_S)
        self._listening.add(path)

    async def cut(self, path: int) -> None:
        """Cut the connections of a path and refuse new ones."""
        self._listening.discard(path)
        if self._process is None:
            return
        try:
            await self._ask({"do": "cut", "path": path}, f"cut {path}", _CUT_S)
        except TimeoutError:
            # c104 can hang in stopping while a callback runs: ending its process cuts as well.
            _LOG.warning("c104 server did not stop within %s s: its process is started again", _CUT_S)
            await self._end()
            for other in sorted(self._listening):
                await self.listen(other)

    async def close(self) -> None:
        """End."""
        await self._end()

    async def _end(self) -> None:
        """End the process: by the end of its input, then by force."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        process, self._process = self._process, None
        self._clients = 0
        self._present.clear()
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(_GRACE_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    def send(self, values: Sequence[Outgoing]) -> None:
        """Send values to every client; never waits."""
        before = self._outbox.dropped
        self._outbox.put(values)
        self._present.update({value.point.name: (value.wire, value.quality) for value in values})
        if self._outbox.dropped > before:
            self._present.clear()
        self._ready.set()

    def present(self, values: Sequence[Outgoing]) -> None:
        """Values c104 answers an interrogation with; they pass in order with those that are sent."""
        news = [value for value in values if self._present.get(value.point.name) != (value.wire, value.quality)]
        if news:
            self.send([replace(value, cause=KEPT) for value in news])

    async def _start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _PROCESS, stdin=pipe, stdout=pipe, limit=_LINE
        )
        settings, names = self._settings, ("station", "address", "type", "time_tag", "select")
        tls = settings.tls
        self._write(
            {
                "host": settings.host,
                "ports": self._ports,
                "parameters": {name: getattr(settings, name) for name in ("t1_s", "t2_s", "t3_s", "k", "w")},
                "select_s": settings.select_s,
                "tls": None if tls is None else [str(tls.ca), str(tls.certificate), str(tls.key)],
                "points": [{name: getattr(point, name) for name in names} for point in self._points],
            }
        )
        self._tasks = [asyncio.create_task(job) for job in (self._read(), self._pump())]

    async def _ask(self, request: dict[str, Any], answer: str, limit_s: float) -> None:
        event = self._told.setdefault(answer, asyncio.Event())
        event.clear()
        self._write(request)
        async with asyncio.timeout(limit_s):
            await event.wait()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(json.dumps(line).encode() + b"\n")

    async def _pump(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._outbox:
                self._flush(_BATCH)
                if self._process is not None and self._process.stdin is not None:
                    await self._process.stdin.drain()

    def _flush(self, most: int = 1 << 30) -> None:
        values = self._outbox.take(most)
        if values:
            self._write({"do": "send", "rows": [_row(value) for value in values]})

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            try:
                self._take(json.loads(line))
            except Exception:
                _LOG.exception("line of the c104 server left out: %r", line)

    def _take(self, event: dict[str, Any]) -> None:
        match event["event"]:
            case "told":
                self._told.setdefault(event["what"], asyncio.Event()).set()
            case "clients":
                before, self._clients = self._clients, event["count"]
                if self._clients > before:
                    self._logic.opened()
            case "dropped":
                self._refused += event["count"]
            case "order":
                self._order(event)

    def _order(self, event: dict[str, Any]) -> None:
        point = self._points.by_address[event["station"], event["address"]]

        def carry_out() -> None:
            verdict = Verdict.REFUSE
            try:
                verdict = self._logic.commanded(point, event["value"])
            finally:
                self._write({"do": "answer", "id": event["id"], "verdict": verdict.value})

        asyncio.get_running_loop().call_later(self._logic.delay_s, carry_out)
