"""IEC 104 client on hat-drivers, in process, asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Any

from hat.drivers import iec104, net
from hat.drivers.iec60870.apci.transport import Transport

from heila_mosaik.bridges.iec104.client import Answer, LinkSettings, LinkState
from heila_mosaik.bridges.iec104.hat_sequence import SpreadingConnection
from heila_mosaik.bridges.iec104.hat_start import start_data_transfer
from heila_mosaik.bridges.iec104.link import Link
from heila_mosaik.bridges.iec104.tls import client_context
from heila_mosaik.bridges.points import Point, PointList, PointType
from heila_mosaik.bridges.safety_gate import Cleared
from heila_mosaik.bridges.safety_types import Kind
from heila_mosaik.domain.quantities import Quality

_LOG = logging.getLogger(__name__)
_STATION_INTERROGATION = 20
_QUEUE = 1024  # frames; a full queue stops reading, and the peer stops after k frames without acknowledgement


def _command(point: Point, value: float, *, select: bool) -> Any:
    wire = point.to_wire(value)
    match point.type:
        case PointType.SINGLE_COMMAND:
            return iec104.SingleCommand(value=iec104.SingleValue(int(wire)), select=select, qualifier=0)
        case PointType.DOUBLE_COMMAND:
            return iec104.DoubleCommand(value=iec104.DoubleValue(int(wire)), select=select, qualifier=0)
        case PointType.SETPOINT_NORMALISED:
            return iec104.NormalizedCommand(value=iec104.NormalizedValue(wire), select=select)
        case PointType.SETPOINT_SCALED:
            return iec104.ScaledCommand(value=iec104.ScaledValue(int(wire)), select=select)
        case _:
            return iec104.FloatingCommand(value=iec104.FloatingValue(wire), select=select)


def _quality(bits: Any) -> Quality:
    if bits is None:
        return Quality.GOOD
    if bits.invalid:
        return Quality.INVALID
    doubtful = bits.not_topical or bits.substituted or bits.blocked or getattr(bits, "overflow", False)
    return Quality.QUESTIONABLE if doubtful else Quality.GOOD


def _stamp(tag: Any) -> str | None:
    """Time tag; ``None`` when there is none, when the equipment says it is invalid, and when it is no time."""
    if tag is None or tag.invalid:
        return None
    try:
        return str(iec104.time_to_datetime(tag).isoformat())
    except ValueError:
        return None


class HatClient(Link):
    """One path to a station.

    Args:
        settings: Connection.
        points: Point list.
    """

    def __init__(self, settings: LinkSettings, points: PointList) -> None:
        super().__init__(settings, points)
        self._pending: dict[tuple[str, int, int], asyncio.Future[Answer]] = {}
        self._unacknowledged: set[asyncio.Task[None]] = set()
        self._conn: iec104.Connection | None = None
        self._wanted = asyncio.Event()
        self._wanted.set()

    def activate(self, active: bool) -> None:
        """Start data transfer, or (from the next connection on) keep the connection in standby."""
        super().activate(active)
        (self._wanted.set if active else self._wanted.clear)()

    async def order(self, cleared: Cleared) -> Answer:
        """Send one order once; an answer that does not come is unknown."""
        cleared.spend()
        point, value = cleared.point, cleared.value
        if (refused := self._unsendable(cleared)) is not None:
            return refused
        if cleared.kind in (Kind.EMERGENCY, Kind.FALLBACK):
            self._overtake(point)
        if point.select:
            selected = await self._ask_order(point, value, select=True)
            if not selected.positive:
                # A selection operates nothing, so a missing answer to it is a plain failure.
                return Answer(positive=False, detail=f"select: {selected.detail}")
            if (refused := self._unsendable(cleared)) is not None:
                return refused
        return await self._ask_order(point, value, select=False)

    def _overtake(self, point: Point) -> None:
        """Going to the safe state does not wait for the answer to an earlier order."""
        earlier = self._pending.pop(("command", point.station, point.address), None)
        if earlier is not None and not earlier.done():
            earlier.set_result(Answer(positive=None, detail="overtaken by the fallback"))

    async def _ask_order(self, point: Point, value: float, *, select: bool) -> Answer:
        message = iec104.CommandMsg(
            is_test=False,
            originator_address=0,
            asdu_address=point.station,
            io_address=point.address,
            command=_command(point, value, select=select),
            is_negative_confirm=False,
            time=None,
            cause=iec104.CommandReqCause.ACTIVATION,
        )
        return await self._ask(("command", point.station, point.address), message)

    async def _ask(self, key: tuple[str, int, int], message: Any) -> Answer:
        if key in self._pending:
            return Answer(positive=False, detail="not sent: an order to this point awaits its answer")
        if self._conn is None:
            return Answer(positive=False, detail="not sent: no connection")
        if len(self._unacknowledged) >= self._settings.k:
            # hat-drivers would queue it and send it whenever the peer wakes up.
            return Answer(positive=False, detail=f"not sent: {self._settings.k} frames are not acknowledged")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[key] = future
        try:
            async with asyncio.timeout(self._settings.answer_s):
                self._send(self._conn, message)
                return await future
        except TimeoutError:
            return Answer(positive=None, detail=f"no answer within {self._settings.answer_s:g} s")
        except ConnectionError:
            return Answer(positive=None, detail="link lost before the answer")
        finally:
            if self._pending.get(key) is future:
                del self._pending[key]

    def _send(self, conn: iec104.Connection, message: Any) -> None:
        """Send a frame and keep it in mind until the peer acknowledges it."""
        task = asyncio.create_task(conn.send([message], wait_ack=True))
        self._unacknowledged.add(task)
        task.add_done_callback(self._acknowledged)

    def _acknowledged(self, task: asyncio.Task[None]) -> None:
        self._unacknowledged.discard(task)
        if not task.cancelled():
            task.exception()  # a lost link has been told to whoever waits for the answer

    async def _session(self) -> str:
        self._enter(LinkState.CONNECTING)
        conn = await self._connect()
        self._conn = conn
        jobs = [asyncio.create_task(job) for job in (self._listen(conn), self._serve())]
        try:
            # Whichever ends first ends the session: the connection, or a gateway that does not answer any more.
            done, _ = await asyncio.wait(jobs, return_when=asyncio.FIRST_COMPLETED)
            for job in done:
                job.result()
        except Exception as error:
            self._enter(LinkState.CLOSED, f"{type(error).__name__}: {error}")
            raise
        else:
            return "link lost"
        finally:
            self._conn = None
            # Told before the connection is closed, which may take a while: points must fall back now.
            self._enter(LinkState.CLOSED, "link lost")
            await conn.async_close()
            for job in (*jobs, *self._unacknowledged):
                job.cancel()
            await asyncio.gather(*jobs, *self._unacknowledged, return_exceptions=True)
        return "link lost"

    async def _connect(self) -> iec104.Connection:
        settings = self._settings
        address = net.TcpAddress(settings.host, settings.port)
        tls = {} if settings.tls is None else {"ssl": client_context(settings.tls)}
        name = {"server_hostname": settings.tls.server_name} if settings.tls and settings.tls.server_name else {}
        async with asyncio.timeout(settings.t0_s):
            transport = Transport(await net.connect(address, **tls, **name))
        try:
            await start_data_transfer(transport, settings, self._wanted, lambda: self._enter(LinkState.STANDBY))
        except BaseException:
            await transport.async_close()
            raise
        return iec104.Connection(
            SpreadingConnection(
                transport=transport,
                always_enabled=True,
                response_timeout=settings.t1_s,
                supervisory_timeout=settings.t2_s,
                test_timeout=settings.t3_s,
                send_window_size=settings.k,
                receive_window_size=settings.w,
                send_queue_size=_QUEUE,
                receive_queue_size=_QUEUE,
            )
        )

    async def _serve(self) -> None:
        await self._start_up()
        await self._refresh()

    async def _interrogate(self, station: int) -> Answer:
        cause = iec104.CommandReqCause.ACTIVATION
        request = iec104.InterrogationMsg(False, 0, station, _STATION_INTERROGATION, False, cause)
        return await self._ask(("interrogation", station, 0), request)

    async def _refresh(self) -> None:
        """Interrogate now and then: a value that does not change sends no event and would look stale."""
        while True:
            await asyncio.sleep(self._settings.refresh_s)
            for station in self._points.stations:
                answer = await self._interrogate(station)
                if answer.positive is None:
                    # A peer that hangs is noticed here, well before t1.
                    raise ConnectionError(f"interrogation of station {station}: {answer.detail}")
                if not answer.positive:
                    _LOG.warning("interrogation of station %s: %s", station, answer.detail)

    async def _start_up(self) -> None:
        self._enter(LinkState.INTERROGATING)
        for station in self._points.stations:
            self._require(f"interrogation of station {station}", await self._interrogate(station))
        self._enter(LinkState.SYNCHRONISING)
        for station in self._points.stations:
            time = iec104.time_from_datetime(datetime.now(UTC))
            request = iec104.ClockSyncMsg(False, 0, station, time, False, iec104.ClockSyncReqCause.ACTIVATION)
            answer = await self._ask(("clock", station, 0), request)
            self._require(f"clock synchronisation of station {station}", answer)
        self._enter(LinkState.OPEN)

    @staticmethod
    def _require(what: str, answer: Answer) -> None:
        if not answer.positive:
            raise ConnectionError(f"{what}: {answer.detail}")

    async def _listen(self, conn: iec104.Connection) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while True:
                    for message in await conn.receive():
                        self._take_safely(message)
        finally:
            for future in self._pending.values():
                if not future.done():
                    future.set_result(Answer(positive=None, detail="link lost before the answer"))

    def _take_safely(self, message: Any) -> None:
        try:
            self._take(message)
        except Exception:
            _LOG.exception("message left out: %r", message)

    def _take(self, message: Any) -> None:
        match message:
            case iec104.DataMsg():
                self._take_value(message)
            case iec104.CommandMsg():
                if message.cause is not iec104.CommandResCause.ACTIVATION_TERMINATION:
                    self._settle(("command", message.asdu_address, message.io_address), message)
            case iec104.InterrogationMsg():
                done = message.cause is iec104.CommandResCause.ACTIVATION_TERMINATION
                if done or message.is_negative_confirm:
                    self._settle(("interrogation", message.asdu_address, 0), message, ended=done)
            case iec104.ClockSyncMsg():
                self._settle(("clock", message.asdu_address, 0), message)

    def _settle(self, key: tuple[str, int, int], message: Any, *, ended: bool = False) -> None:
        future = self._pending.get(key)
        if future is None or future.done():
            return
        confirmed = getattr(message.cause, "name", "") == "ACTIVATION_CONFIRMATION"
        positive = (confirmed or ended) and not message.is_negative_confirm
        cause = getattr(message.cause, "name", str(message.cause)).lower().replace("_", " ")
        future.set_result(Answer(positive=positive, detail=cause if positive else f"negative {cause}"))

    def _take_value(self, message: Any) -> None:
        value = message.data.value
        wire = float(value.value.value if hasattr(value.value, "value") else value.value)
        cause = message.cause if isinstance(message.cause, int) else message.cause.value
        place = (message.asdu_address, message.io_address)
        self._value(place, wire, _quality(message.data.quality), cause, _stamp(message.time))
