"""IEC 104 client on hat-drivers, in process, asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

from hat.drivers import iec104, tcp

from heila_mosaik.bridges.iec104.client import Answer, LinkEvent, LinkSettings, LinkState, Received, StateChanged
from heila_mosaik.bridges.points import Direction, Point, PointList, PointType
from heila_mosaik.domain.quantities import Quality

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
        self._events: asyncio.Queue[LinkEvent] = asyncio.Queue()
        self._pending: dict[tuple[str, int, int], asyncio.Future[Answer]] = {}
        self._conn: iec104.Connection | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def state(self) -> LinkState:
        """State of the link."""
        return self._state

    async def start(self) -> None:
        """Begin to connect."""
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

    async def order(self, point: Point, value: float) -> Answer:
        """Send one order once; an answer that does not come is unknown."""
        if self._state is not LinkState.OPEN:
            return Answer(positive=False, detail=f"not sent: link is {self._state.value}")
        if point.select:
            selected = await self._ask_order(point, value, select=True)
            if not selected.positive:
                # A selection operates nothing, so a missing answer to it is a plain failure.
                return Answer(positive=False, detail=f"select: {selected.detail}")
        return await self._ask_order(point, value, select=False)

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
            self._pending.pop(key, None)

    def _enter(self, state: LinkState, detail: str = "") -> None:
        if state is not self._state:
            self._state = state
            self._events.put_nowait(StateChanged(state=state, detail=detail))

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except (OSError, TimeoutError) as error:
                self._enter(LinkState.CLOSED, str(error) or type(error).__name__)
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
        try:
            await self._start_up()
            await listener
        finally:
            listener.cancel()
            self._conn = None
            await conn.async_close()
            self._enter(LinkState.CLOSED, "link lost")

    async def _start_up(self) -> None:
        self._enter(LinkState.INTERROGATING)
        for station in self._points.stations:
            request = iec104.InterrogationMsg(
                False, 0, station, _STATION_INTERROGATION, False, iec104.CommandReqCause.ACTIVATION
            )
            await self._require(("interrogation", station, 0), request)
        self._enter(LinkState.SYNCHRONISING)
        for station in self._points.stations:
            time = iec104.time_from_datetime(datetime.now(UTC))
            request = iec104.ClockSyncMsg(False, 0, station, time, False, iec104.ClockSyncReqCause.ACTIVATION)
            await self._require(("clock", station, 0), request)
        self._enter(LinkState.OPEN)

    async def _require(self, key: tuple[str, int, int], message: Any) -> None:
        answer = await self._ask(key, message)
        if not answer.positive:
            raise ConnectionError(f"{key[0]} of station {key[1]}: {answer.detail}")

    async def _listen(self, conn: iec104.Connection) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                for message in await conn.receive():
                    self._take(message)
        for future in self._pending.values():
            if not future.done():
                future.set_result(Answer(positive=None, detail="link lost before the answer"))

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
        future.set_result(Answer(positive=positive, detail=getattr(message.cause, "name", str(message.cause))))

    def _take_value(self, message: Any) -> None:
        point = self._points.by_address.get((message.asdu_address, message.io_address))
        if point is None or point.direction is not Direction.MONITOR:
            return
        value = message.data.value
        wire = float(value.value.value if hasattr(value.value, "value") else value.value)
        cause = message.cause if isinstance(message.cause, int) else message.cause.value
        stamp = iec104.time_to_datetime(message.time).isoformat() if message.time is not None else None
        self._events.put_nowait(
            Received(point=point, wire=wire, quality=_quality(message.data.quality), cause=cause, device_time=stamp)
        )
