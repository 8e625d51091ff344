"""The laboratory's IEC 60870-5-104 station: answers, events, buffer, selections, and the faults of the menu."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from hat.drivers import iec104, tcp

from heila_mosaik.bridges.lab import wire
from heila_mosaik.bridges.lab.faults import Fault, FaultStep
from heila_mosaik.bridges.lab.relay import Bay, BaySettings
from heila_mosaik.bridges.points import Direction, Point, PointList

_LOG = logging.getLogger(__name__)
_RES = iec104.CommandResCause
_DATA = iec104.DataResCause


@dataclass(frozen=True, slots=True, kw_only=True)
class StationSettings:
    """Station of the laboratory.

    Attributes:
        host: Address to listen at.
        port: TCP port; 0 takes a free one.
        period_s: Period of the bay. [s]
        cyclic_s: Period of the cyclic transmission of all values. [s]
        select_s: How long a selection lasts. [s]
        buffer: Events kept while nobody is connected; the oldest are dropped and counted.
    """

    host: str = "127.0.0.1"
    port: int = 0
    period_s: float = 0.005
    cyclic_s: float = 2.0
    select_s: float = 10.0
    buffer: int = 1000


class VirtualLab:
    """Station with a bay behind it.

    Args:
        points: Point list with the names of the example list.
        settings: Station.
        bay: Feeder and relay.
        script: Faults by time since the start.

    Raises:
        ProblemsError: If the list names points the laboratory does not have.
    """

    def __init__(
        self,
        points: PointList,
        settings: StationSettings | None = None,
        bay: BaySettings | None = None,
        script: Sequence[FaultStep] = (),
    ) -> None:
        wire.check_names(points)
        self.settings = settings or StationSettings()
        self.bay = Bay(bay, time.monotonic())
        self.orders: list[tuple[str, float]] = []
        self.dropped = 0
        self.port = self.settings.port
        self._points = points
        self._script = deque(script)
        self._until: dict[Fault, tuple[float, float]] = {}
        self._sent = wire.wire_values(self.bay, points)
        self._frozen: dict[str, float] = {}
        self._selected: dict[str, tuple[float, float]] = {}
        self._buffer: deque[Any] = deque()
        self._connections: list[Any] = []
        self._server: Any = None
        self._started_at = self._cyclic_at = time.monotonic()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen and let time run."""
        await self._listen()
        self._started_at = self._cyclic_at = time.monotonic()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Close."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._cut()

    async def fault(self, fault: Fault, for_s: float = 1.0, size: float = 0.0) -> None:
        """Let something go wrong, now."""
        now = time.monotonic()
        self._until[fault] = (now + for_s, size)
        match fault:
            case Fault.FROZEN:
                self._frozen = wire.wire_values(self.bay, self._points)
            case Fault.LOST_TCP | Fault.RESTART:
                await self._cut()
                if fault is Fault.RESTART:
                    self._buffer.clear()
                    self._selected.clear()
            case Fault.BURST:
                del self._until[fault]
                await self._burst(int(size))
            case Fault.STUCK_BREAKER:
                self.bay.stuck = True
            case Fault.LOCAL:
                self.bay.local = True
            case Fault.SHORT_CIRCUIT:
                self.bay.short_circuit_ka = size

    def _size(self, fault: Fault) -> float | None:
        """Magnitude of a fault while it lasts."""
        until, size = self._until.get(fault, (0.0, 0.0))
        return size if time.monotonic() < until else None

    async def _listen(self) -> None:
        address = tcp.Address(self.settings.host, self.port)
        self._server = await iec104.listen(self._connected, address)
        self.port = self._server.info.addresses[0].port

    async def _cut(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.async_close()
        for conn in self._connections:
            await conn.async_close()
        self._connections = []

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            try:
                while self._script and self._script[0].at_s <= now - self._started_at:
                    step = self._script.popleft()
                    await self.fault(step.fault, step.for_s, step.size)
                await self._expire(now)
                await self._step(now)
            except Exception:
                _LOG.exception("laboratory step failed")
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.period_s):
                    await self._wake.wait()

    async def _expire(self, now: float) -> None:
        for fault in [fault for fault, (until, _) in self._until.items() if now >= until]:
            del self._until[fault]
            match fault:
                case Fault.STUCK_BREAKER:
                    self.bay.stuck = False
                case Fault.LOCAL:
                    self.bay.local = False
                case Fault.SHORT_CIRCUIT:
                    self.bay.short_circuit_ka = 0.0
        if self._server is None and not {Fault.LOST_TCP, Fault.RESTART} & self._until.keys():
            await self._listen()

    def _now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._size(Fault.CLOCK_JUMP) or 0.0)

    def _values(self) -> dict[str, float]:
        frozen = self._size(Fault.FROZEN) is not None
        return self._frozen if frozen else wire.wire_values(self.bay, self._points)

    def _message(self, point: Point, value: float, cause: Any, *, tagged: bool) -> Any:
        invalid = self._size(Fault.WRONG_QUALITY) is not None
        return wire.data_message(point, value, cause, invalid=invalid, tag=self._now() if tagged else None)

    async def _step(self, now: float) -> None:
        self.bay.advance(now)
        values = self._values()
        events = []
        for point in self._points.monitored:
            value = values[point.name]
            if wire.changed(point, value, self._sent[point.name]):
                self._sent[point.name] = value
                events.append(self._message(point, value, _DATA.SPONTANEOUS, tagged=True))
        await self._report(events)
        if now - self._cyclic_at >= self.settings.cyclic_s:
            self._cyclic_at = now
            cyclic = [self._message(p, values[p.name], _DATA.PERIODIC, tagged=False) for p in self._points.monitored]
            await self._send_all(cyclic)

    async def _burst(self, count: int) -> None:
        analog = [point for point in self._points.monitored if point.name.startswith("feeder_")]
        values = self._values()
        events = [
            self._message(point, values[point.name], _DATA.SPONTANEOUS, tagged=True)
            for point in (analog[number % len(analog)] for number in range(count))
        ]
        await self._report(events)

    async def _report(self, events: list[Any]) -> None:
        """Send events, or keep them until somebody connects."""
        if not events:
            return
        if self._open():
            await self._send_all(events)
            return
        self._buffer.extend(events)
        while len(self._buffer) > self.settings.buffer:
            self._buffer.popleft()
            self.dropped += 1

    def _open(self) -> list[Any]:
        self._connections = [conn for conn in self._connections if conn.is_open]
        return [conn for conn in self._connections if conn.is_enabled]

    async def _send_all(self, messages: list[Any]) -> None:
        for conn in self._open():
            with contextlib.suppress(ConnectionError):
                await conn.send(messages)

    def _connected(self, conn: Any) -> None:
        self._connections.append(conn)
        conn.async_group.spawn(self._serve, conn)

    async def _serve(self, conn: Any) -> None:
        try:
            while True:
                for message in await conn.receive():
                    delay = self._size(Fault.SLOW)
                    if delay:
                        await asyncio.sleep(delay)
                    await conn.send(self._reply(message))
                    # What an order changed is reported after its confirmation, without waiting for the period.
                    self._wake.set()
        except ConnectionError:
            pass
        except Exception:
            _LOG.exception("connection to the laboratory failed")
        finally:
            conn.close()

    def _reply(self, message: Any) -> list[Any]:
        match message:
            case iec104.InterrogationMsg():
                return self._interrogated(message)
            case iec104.ClockSyncMsg():
                return [message._replace(cause=iec104.ClockSyncResCause.ACTIVATION_CONFIRMATION)]
            case iec104.CommandMsg():
                return self._commanded(message)
        return []

    def _interrogated(self, message: Any) -> list[Any]:
        values = self._values()
        data = [
            self._message(point, values[point.name], _DATA.INTERROGATED_STATION, tagged=False)
            for point in self._points.monitored
            if point.station == message.asdu_address
        ]
        if not data:
            return [message._replace(cause=_RES.UNKNOWN_ASDU_ADDRESS, is_negative_confirm=True)]
        events, self._buffer = list(self._buffer), deque()
        head = message._replace(cause=_RES.ACTIVATION_CONFIRMATION)
        return [head, *events, *data, message._replace(cause=_RES.ACTIVATION_TERMINATION)]

    def _commanded(self, message: Any) -> list[Any]:
        point = self._points.by_address.get((message.asdu_address, message.io_address))
        if point is None or point.direction is not Direction.CONTROL:
            return [message._replace(cause=_RES.UNKNOWN_IO_ADDRESS, is_negative_confirm=True)]
        accepted = self._size(Fault.NEGATIVE) is None and self._carry_out(point, message.command)
        if self._size(Fault.NO_CONFIRMATION) is not None:
            return []
        confirmed = message._replace(cause=_RES.ACTIVATION_CONFIRMATION, is_negative_confirm=not accepted)
        if not accepted or message.command.select:
            return [confirmed]
        return [confirmed, message._replace(cause=_RES.ACTIVATION_TERMINATION)]

    def _carry_out(self, point: Point, command: Any) -> bool:
        value, now = wire.command_value(point, command), time.monotonic()
        if command.select:
            self._selected[point.name] = (value, now)
            return point.select and not self.bay.local
        if point.select:
            selected, since = self._selected.pop(point.name, (float("nan"), -1e9))
            if selected != value or now - since > self.settings.select_s:
                return False
        self.bay.advance(now)
        if point.name == "watchdog":
            self.bay.sign_of_life()
            return True
        self.orders.append((point.name, value))
        if point.name == "breaker_command":
            return value in (0.0, 1.0) and self.bay.command_breaker(value == 1.0)
        return self.bay.command_setpoint("p" if point.name == "der_p_setpoint" else "q", value)
