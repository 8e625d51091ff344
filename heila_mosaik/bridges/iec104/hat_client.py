"""IEC 104 client on hat-drivers, in process, asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from typing import Any

from hat.drivers import iec104, tcp

from heila_mosaik.bridges.iec104.client import Answer, LinkEvent, LinkSettings, LinkState, Received, StateChanged
from heila_mosaik.bridges.iec104.events import EventQueue
from heila_mosaik.bridges.points import Direction, Point, PointList, PointType
from heila_mosaik.bridges.safety_gate import Cleared
from heila_mosaik.bridges.safety_types import Kind
from heila_mosaik.domain.quantities import Quality

_LOG = logging.getLogger(__name__)
_STATION_INTERROGATION = 20


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


class HatClient:
    """Client for one station list.

    Args:
        settings: Connection.
        points: Point list.
    """

    def __init__(self, settings: LinkSettings, points: PointList) -> None:
        self._settings = settings
        self._points = points
        self._state = LinkState.CLOSED
        self._events = EventQueue(settings.queue_size)
        self._pending: dict[tuple[str, int, int], asyncio.Future[Answer]] = {}
        self._conn: iec104.Connection | None = None
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
        """Close the link."""
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
        point, value = cleared.point, cleared.value
        if self._state is not LinkState.OPEN:
            return Answer(positive=False, detail=f"not sent: link is {self._state.value}")
        if cleared.kind in (Kind.EMERGENCY, Kind.FALLBACK):
            self._overtake(point)
        if point.select:
            selected = await self._ask_order(point, value, select=True)
            if not selected.positive:
                # A selection operates nothing, so a missing answer to it is a plain failure.
                return Answer(positive=False, detail=f"select: {selected.detail}")
        if cleared.revoked:
            return Answer(positive=False, detail=f"not sent: {cleared.revoked}")
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
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[key] = future
        try:
            async with asyncio.timeout(self._settings.answer_s):
                await self._conn.send([message])
                return await future
        except TimeoutError:
            return Answer(positive=None, detail=f"no answer within {self._settings.answer_s:g} s")
        except ConnectionError:
            return Answer(positive=None, detail="link lost before the answer")
        finally:
            if self._pending.get(key) is future:
                del self._pending[key]

    def _enter(self, state: LinkState, detail: str = "") -> None:
        if state is not self._state:
            self._state = state
            self._events.put(StateChanged(state=state, detail=detail))

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except (OSError, TimeoutError) as error:
                self._enter(LinkState.CLOSED, str(error) or type(error).__name__)
            except Exception as error:
                # Whatever a gateway sends must not end the link for good: a dead task looks like a quiet one.
                _LOG.exception("link to %s:%s failed", self._settings.host, self._settings.port)
                self._enter(LinkState.CLOSED, f"{type(error).__name__}: {error}")
            await asyncio.sleep(self._settings.reconnect_s)

    async def _session(self) -> None:
        settings = self._settings
        self._enter(LinkState.CONNECTING)
        async with asyncio.timeout(settings.t0_s):
            conn = await iec104.connect(
                tcp.Address(settings.host, settings.port),
                response_timeout=settings.t1_s,
                supervisory_timeout=settings.t2_s,
                test_timeout=settings.t3_s,
                send_window_size=settings.k,
                receive_window_size=settings.w,
            )
        self._conn = conn
        listener = asyncio.create_task(self._listen(conn))
        refresher: asyncio.Task[None] | None = None
        try:
            await self._start_up()
            refresher = asyncio.create_task(self._refresh())
            await listener
        except Exception as error:
            self._enter(LinkState.CLOSED, f"{type(error).__name__}: {error}")
            raise
        finally:
            self._conn = None
            self._enter(LinkState.CLOSED, "link lost")
            for task in (listener, refresher):
                if task is not None:
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
            await conn.async_close()

    async def _interrogate(self, station: int) -> Answer:
        cause = iec104.CommandReqCause.ACTIVATION
        request = iec104.InterrogationMsg(False, 0, station, _STATION_INTERROGATION, False, cause)
        return await self._ask(("interrogation", station, 0), request)

    async def _refresh(self) -> None:
        """Interrogate now and then: a value that does not change sends no event and would look stale."""
        while self._conn is not None:
            await asyncio.sleep(self._settings.refresh_s)
            for station in self._points.stations:
                answer = await self._interrogate(station)
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
        point = self._points.by_address.get((message.asdu_address, message.io_address))
        if point is None or point.direction is not Direction.MONITOR:
            return
        value = message.data.value
        wire = float(value.value.value if hasattr(value.value, "value") else value.value)
        cause = message.cause if isinstance(message.cause, int) else message.cause.value
        stamp = iec104.time_to_datetime(message.time).isoformat() if message.time is not None else None
        self._events.put(
            Received(point=point, wire=wire, quality=_quality(message.data.quality), cause=cause, device_time=stamp)
        )
