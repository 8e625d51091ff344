"""A tap in the connection: records orders and values, and cuts, holds and garbles what passes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from heila_mosaik.bridges.campaign.record import Order, Record, Told
from heila_mosaik.bridges.iec104.frames import decode_frame, decode_order
from heila_mosaik.bridges.points import DOUBLE_OFF, Direction
from heila_mosaik.domain.quantities import Quality

_START = 0x68
_INVALID_OR_DOUBTFUL = 0xF1


class Tap:
    """Listens where the study connects and connects to the laboratory.

    Args:
        record: Where everything is written down.
        port: Port of the laboratory.
    """

    def __init__(self, record: Record, port: Callable[[], int]) -> None:
        self._record = record
        self._target = port
        self._server: asyncio.Server | None = None
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._held_until = 0.0
        self._refused_until = 0.0
        self._garbage: list[bytes] = []
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close everything."""
        if self._server is not None:
            self._server.close()
        self._abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self, for_s: float) -> None:
        """Reset all connections and refuse new ones for a time."""
        self._refused_until = time.monotonic() + for_s
        self._abort()

    def hold(self, for_s: float) -> None:
        """Let nothing pass for a time, then all of it."""
        self._held_until = max(self._held_until, time.monotonic() + for_s)

    def garble(self, data: bytes) -> None:
        """Put octets between two frames to the study."""
        self._garbage.append(data)

    def _abort(self) -> None:
        for pair in self._pairs:
            self._record.downs.append(time.monotonic())
            for writer in pair:
                writer.transport.abort()
        self._pairs = []

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if time.monotonic() < self._refused_until:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target())
        except OSError:
            writer.transport.abort()
            return
        # The study has one connection: a new one means that the one before is down, held back or not.
        self._abort()
        pair = (writer, far_writer)
        self._pairs.append(pair)
        try:
            await self._serve(reader, far_reader, pair)
        finally:
            if pair in self._pairs:
                self._abort()

    async def _serve(
        self,
        reader: asyncio.StreamReader,
        far_reader: asyncio.StreamReader,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
    ) -> None:
        writer, far_writer = pair
        outward, inward = asyncio.Queue[bytes](), asyncio.Queue[bytes]()
        jobs = [
            asyncio.create_task(job)
            for job in (
                self._read(reader, outward, self._note_order),
                self._read(far_reader, inward, None),
                self._write(outward, far_writer, None),
                self._write(inward, writer, self._note_values),
            )
        ]
        try:
            await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in jobs:
                job.cancel()
            await asyncio.gather(*jobs, return_exceptions=True)

    async def _read(
        self, reader: asyncio.StreamReader, queue: asyncio.Queue[bytes], note: Callable[[bytes], None] | None
    ) -> None:
        """Take frames as they come, also while they are held back: what is noted must not wait."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(2)
                if head[0] != _START:
                    return
                frame = head + await reader.readexactly(head[1])
                if note is not None:
                    note(frame)
                queue.put_nowait(frame)

    async def _write(
        self, queue: asyncio.Queue[bytes], writer: asyncio.StreamWriter, note: Callable[[bytes], None] | None
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                frame = await queue.get()
                while (wait := self._held_until - time.monotonic()) > 0.0:
                    await asyncio.sleep(wait)
                if note is not None:
                    note(frame)
                    if self._garbage:
                        writer.write(self._garbage.pop(0))
                writer.write(frame)
                await writer.drain()

    def _note_order(self, frame: bytes) -> None:
        order = decode_order(frame)
        if order is None:
            return
        point = self._record.points.by_address.get((order["station"], order["address"]))
        known = point is not None and point.direction is Direction.CONTROL
        value = order["value"]
        if point is not None and point.type.is_double:
            value -= DOUBLE_OFF
        elif point is not None and point.type.is_setpoint:
            value *= point.scale
        name = point.name if point is not None and known else ""
        self._record.orders.append(Order(at_s=time.monotonic(), name=name, value=value, select=order["select"]))

    def _note_values(self, frame: bytes) -> None:
        now = time.monotonic()
        for event in decode_frame(frame):
            if event["event"] != "value":
                continue
            point = self._record.points.by_address.get((event["station"], event["address"]))
            if point is None or event["value"] is None:
                continue
            good = not event["quality"] & _INVALID_OR_DOUBTFUL
            value, quality = point.to_study(event["value"], Quality.GOOD if good else Quality.INVALID)
            good = good and quality is Quality.GOOD
            self._record.told.append(Told(at_s=now, name=point.name, value=value, good=good))
