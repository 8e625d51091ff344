"""The virtual laboratory: the gateway's events, buffer and clock, the bay behind it, and the faults of the menu."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self

from heila_mosaik.bridges.iec104.backends import Backend, require
from heila_mosaik.bridges.lab import wire
from heila_mosaik.bridges.lab.faults import QUALITY_BITS, Fault, FaultStep
from heila_mosaik.bridges.lab.relay import Bay, BaySettings
from heila_mosaik.bridges.lab.server import (
    INTERROGATED,
    KEPT,
    NOT_TOPICAL,
    PERIODIC,
    SPONTANEOUS,
    Outbox,
    Outgoing,
    Server,
    ServerSettings,
    Verdict,
)
from heila_mosaik.bridges.points import Point, PointList

_LOG = logging.getLogger(__name__)
_CUTS = (Fault.LOST_TCP, Fault.RESTART, Fault.LOST_PATH)


@dataclass(frozen=True, slots=True, kw_only=True)
class StationSettings:
    """Gateway of the laboratory.

    Attributes:
        host: Address to listen at.
        port: TCP port; 0 takes a free one.
        second_port: TCP port of a second path, ``None`` for one path; 0 takes a free one.
        backend: Implementation of the protocol.
        server: Timers, windows and certificates; its host and ports are those above.
        period_s: Period of the bay. [s]
        scan_s: Period at which the gateway reads the relay; 0 reads it every period. [s]
        cyclic_s: Period of the cyclic transmission of all values. [s]
        buffer: Events kept while nobody is connected; the oldest are dropped and counted.
    """

    host: str = "127.0.0.1"
    port: int = 0
    second_port: int | None = None
    backend: Backend = Backend.HAT
    server: ServerSettings = field(default_factory=ServerSettings)
    period_s: float = 0.005
    scan_s: float = 0.0
    cyclic_s: float = 2.0
    buffer: int = 1000


class VirtualLab:
    """Station with a bay behind it.

    Args:
        points: Point list with the names of the example list.
        settings: Gateway.
        bay: Feeder and relay.
        script: Faults by time since the start.
        tell: Told of orders, faults and changes of the bay, as sentences.

    Raises:
        ProblemsError: If the list names points the laboratory does not have.
        BackendMissingError: If the library of the backend is not installed.
    """

    def __init__(
        self,
        points: PointList,
        settings: StationSettings | None = None,
        bay: BaySettings | None = None,
        script: Sequence[FaultStep] = (),
        tell: Callable[[str], None] | None = None,
    ) -> None:
        wire.check_names(points)
        self.settings = settings or StationSettings()
        require(self.settings.backend)
        self.bay = Bay(bay, time.monotonic())
        self.orders: list[tuple[str, float]] = []
        self._points = points
        self._script = deque(script)
        self._tell = tell or _ignore
        self._until: dict[Fault, tuple[float, float]] = {}
        self._cut: set[int] = set()
        self.restarted = False
        self._sent = wire.wire_values(self.bay, points)
        self._frozen: dict[str, float] = {}
        self._buffer = Outbox(self.settings.buffer)
        self._server = self._make_server()
        self._started_at = self._cyclic_at = self._scanned_at = time.monotonic()
        self._said: tuple[object, ...] = ()
        self._said_clients = 0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def _make_server(self) -> Server:
        given = self.settings
        ports = (given.port,) if given.second_port is None else (given.port, given.second_port)
        # Imported only when used: the library of the other backend need not be there.
        name, kind = {Backend.HAT: ("hat_server", "HatServer"), Backend.C104: ("c104_server", "C104Server")}[
            given.backend
        ]
        make = getattr(importlib.import_module(f"heila_mosaik.bridges.lab.{name}"), kind)
        tail = {name: getattr(given.server, name) for name in ("t1_s", "t2_s", "t3_s", "k", "w", "select_s")}
        settings = ServerSettings(
            host=given.host, ports=ports, outbox=given.server.outbox, tls=given.server.tls, **tail
        )
        server: Server = make(settings, self._points, self)
        return server

    @property
    def port(self) -> int:
        """TCP port of the first path."""
        return self._server.ports[0]

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP port of each path."""
        return self._server.ports

    @property
    def clients(self) -> int:
        """Connections with data transfer."""
        return self._server.clients

    @property
    def dropped(self) -> int:
        """Events dropped: nobody was connected for long, or a client was too slow."""
        return self._buffer.dropped + self._server.dropped

    @property
    def delay_s(self) -> float:
        """How late the gateway answers. [s]"""
        return self._size(Fault.SLOW) or 0.0

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen and let time run."""
        try:
            self._server.present(self._outgoing(KEPT))
            for path in range(len(self._server.ports)):
                await self._server.listen(path)
        except BaseException:
            await self._server.close()
            raise
        self._started_at = self._cyclic_at = time.monotonic()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Close."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._server.close()

    def wake(self) -> None:
        """Look at the bay now, not at the end of the period."""
        self._wake.set()

    async def fault(self, fault: Fault, for_s: float = 1.0, size: float = 0.0) -> None:
        """Let something go wrong, now."""
        self._tell(f"fault {fault.value} for {for_s:g} s, size {size:g}")
        self._until[fault] = (time.monotonic() + for_s, size)
        if fault in _CUTS:
            wanted = {int(size) - 1} if fault is Fault.LOST_PATH else set(range(len(self._server.ports)))
            for path in sorted(wanted - self._cut):
                self._cut.add(path)
                await self._server.cut(path)
        match fault:
            case Fault.FROZEN:
                self._frozen = wire.wire_values(self.bay, self._points)
            case Fault.RESTART:
                self._buffer.clear()
                self.restarted = True
            case Fault.BURST:
                del self._until[fault]
                self._burst(int(size))
            case Fault.SHORT_CIRCUIT:
                self.bay.short_circuit_ka = size
        self._follow_faults()

    @property
    def faults(self) -> tuple[str, ...]:
        """Faults that last."""
        return tuple(fault.value for fault in self._until)

    def clear_faults(self) -> None:
        """End every fault at the next step."""
        self._until = {fault: (0.0, size) for fault, (_, size) in self._until.items()}

    def _follow_faults(self) -> None:
        """The bay's switches are as the faults want them while they last."""
        self.bay.stuck = Fault.STUCK_BREAKER in self._until
        self.bay.local_fault = Fault.LOCAL in self._until
        self.bay.synchronism = Fault.NO_SYNCHRONISM not in self._until
        if Fault.SHORT_CIRCUIT not in self._until:
            self.bay.short_circuit_ka = 0.0

    def _size(self, fault: Fault) -> float | None:
        """Magnitude of a fault while it lasts."""
        until, size = self._until.get(fault, (0.0, 0.0))
        return size if time.monotonic() < until else None

    async def _run(self) -> None:
        while True:
            now = time.monotonic()
            try:
                while self._script and self._script[0].at_s <= now - self._started_at:
                    step = self._script.popleft()
                    await self.fault(step.fault, step.for_s, step.size)
                await self._expire(now)
                self._step(now)
            except Exception:
                _LOG.exception("laboratory step failed")
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.settings.period_s):
                    await self._wake.wait()

    async def _expire(self, now: float) -> None:
        over = [fault for fault, (until, _) in self._until.items() if now >= until]
        for fault in over:
            del self._until[fault]
            self._tell(f"fault {fault.value} is over")
        if over:
            self._follow_faults()
        everything = {Fault.LOST_TCP, Fault.RESTART} & self._until.keys()
        lost = {int(self._until[Fault.LOST_PATH][1]) - 1} if Fault.LOST_PATH in self._until else set()
        for path in sorted(self._cut - lost) if not everything else ():
            await self._server.listen(path)
            self._cut.discard(path)

    def _tag(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self._size(Fault.CLOCK_JUMP) or 0.0)

    def _quality(self) -> int:
        wrong = self._size(Fault.WRONG_QUALITY)
        bits = 0 if wrong is None else QUALITY_BITS[int(wrong)]
        return bits | (NOT_TOPICAL if self._size(Fault.LOST_RELAY) is not None else 0)

    def _values(self) -> dict[str, float]:
        frozen = self._size(Fault.FROZEN) is not None
        return self._frozen if frozen else wire.wire_values(self.bay, self._points)

    def _outgoing(self, cause: int) -> list[Outgoing]:
        values, quality = self._values(), self._quality()
        return [
            Outgoing(point=point, wire=values[point.name], quality=quality, cause=cause)
            for point in self._points.monitored
        ]

    def _event(self, point: Point, value: float) -> Outgoing:
        return Outgoing(point=point, wire=value, quality=self._quality(), cause=SPONTANEOUS, tag=self._tag())

    def _step(self, now: float) -> None:
        self.bay.advance(now)
        self._narrate()
        if now - self._scanned_at < self.settings.scan_s:
            return
        self._scanned_at = now
        values = self._values()
        events = [
            self._event(point, values[point.name])
            for point in self._points.monitored
            if wire.changed(point, values[point.name], self._sent[point.name])
        ]
        self._sent.update({event.point.name: event.wire for event in events})
        self._report(events)
        self._server.present(self._outgoing(KEPT))
        if now - self._cyclic_at >= self.settings.cyclic_s:
            self._cyclic_at = now
            self._server.send(self._outgoing(PERIODIC))

    def _narrate(self) -> None:
        """Say what changed at the bay, and who is connected, that a person would see."""
        bay, clients = self.bay, self._server.clients
        if clients != self._said_clients:
            self._said_clients = clients
            self._tell(f"{clients or 'no'} client{'' if clients == 1 else 's'} connected")
        now = (bay.closed, bay.tripped, bay.local, bay.watchdog_ok, bay.synchronism)
        if self._said and now != self._said:
            position = {True: "closed", False: "open", None: "travelling"}[bay.closed]
            marks = [("tripped", bay.tripped), ("local", bay.local), ("no synchronism", not bay.synchronism)]
            marks.append(("watchdog expired", not bay.watchdog_ok))
            self._tell(", ".join([f"breaker {position}", *(name for name, on in marks if on)]))
        self._said = now

    def _burst(self, count: int) -> None:
        analog = [point for point in self._points.monitored if point.name.startswith("feeder_")]
        values = self._values()
        points = (analog[number % len(analog)] for number in range(count))
        self._report([self._event(point, values[point.name]) for point in points])

    def _report(self, events: list[Outgoing]) -> None:
        """Send events, or keep them until somebody connects."""
        if self._server.clients:
            self._server.send(events)
        else:
            self._buffer.put(events)

    def opened(self) -> None:
        """A client has started data transfer: a backend that answers interrogations by itself sends the buffer now."""
        if self.settings.backend is Backend.C104:
            events = self._buffer.take(len(self._buffer))
            self._server.send(events)

    def interrogated(self) -> list[Outgoing]:
        """Events kept, then the present values."""
        self.restarted = False
        return [*self._buffer.take(len(self._buffer)), *self._outgoing(INTERROGATED)]

    def may_select(self, point: Point) -> Verdict:
        """Whether a point can be selected."""
        del point
        if self._size(Fault.NO_CONFIRMATION) is not None:
            return Verdict.SILENT
        refused = self.bay.local or {Fault.NEGATIVE, Fault.LOST_RELAY} & self._until.keys()
        return Verdict.REFUSE if refused else Verdict.CONFIRM

    def commanded(self, point: Point, wire_value: float) -> Verdict:
        """Carry out an order."""
        refused = self._size(Fault.NEGATIVE) is not None or self._size(Fault.LOST_RELAY) is not None
        accepted = not refused and self._carry_out(point, wire.order_value(point, wire_value))
        # What an order changed is reported after its confirmation, without waiting for the period.
        asyncio.get_running_loop().call_soon(self._wake.set)
        if self._size(Fault.NO_CONFIRMATION) is not None:
            return Verdict.SILENT
        return Verdict.CONFIRM if accepted else Verdict.REFUSE

    def _carry_out(self, point: Point, value: float) -> bool:
        self.bay.advance(time.monotonic())
        if point.name == "watchdog":
            self.bay.sign_of_life()
            return True
        self.orders.append((point.name, value))
        if point.name == "breaker_command":
            accepted = value in (0.0, 1.0) and self.bay.command_breaker(value == 1.0)
        else:
            accepted = self.bay.command_setpoint("p" if point.name == "der_p_setpoint" else "q", value)
        self._tell(f"order {point.name} {value:g}: {'accepted' if accepted else 'refused'}")
        return accepted


def _ignore(sentence: str) -> None:
    """Nobody listens."""
