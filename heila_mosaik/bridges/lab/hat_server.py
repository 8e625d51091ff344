"""Server of the laboratory on hat-drivers, in process, asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Sequence
from typing import Any

from hat.drivers import iec104, net

from heila_mosaik.bridges.iec104.tls import server_context
from heila_mosaik.bridges.lab.server import (
    BLOCKED,
    INTERROGATED,
    INVALID,
    NOT_TOPICAL,
    OVERFLOW,
    SUBSTITUTED,
    Logic,
    Outbox,
    Outgoing,
    ServerSettings,
    Verdict,
)
from heila_mosaik.bridges.points import Direction, Point, PointList, PointType

_LOG = logging.getLogger(__name__)
_RES = iec104.CommandResCause
_BATCH = 50


def _data(point: Point, wire: float, bits: int) -> Any:
    head = tuple(bool(bits & bit) for bit in (INVALID, NOT_TOPICAL, SUBSTITUTED, BLOCKED))
    indication = iec104.IndicationQuality(*head)
    measurement = iec104.MeasurementQuality(*head, bool(bits & OVERFLOW))
    match point.type:
        case PointType.SINGLE_POINT:
            return iec104.SingleData(iec104.SingleValue(int(wire)), indication)
        case PointType.DOUBLE_POINT:
            return iec104.DoubleData(iec104.DoubleValue(int(wire)), indication)
        case PointType.STEP_POSITION:
            return iec104.StepPositionData(iec104.StepPositionValue(int(wire), False), measurement)
        case PointType.MEASURED_NORMALISED:
            return iec104.NormalizedData(iec104.NormalizedValue(wire), measurement)
        case PointType.MEASURED_SCALED:
            return iec104.ScaledData(iec104.ScaledValue(round(wire)), measurement)
        case _:
            return iec104.FloatingData(iec104.FloatingValue(wire), measurement)


def data_message(value: Outgoing) -> Any:
    """A value as a message."""
    point = value.point
    stamp = iec104.time_from_datetime(value.tag) if value.tag is not None and point.time_tag else None
    cause = iec104.DataResCause(value.cause)
    data = _data(point, value.wire, value.quality)
    return iec104.DataMsg(False, 0, point.station, point.address, data, stamp, cause)


def order_wire(command: Any) -> float:
    """Value of an order as on the wire."""
    raw = command.value
    return float(raw.value if hasattr(raw, "value") else raw)


class _Client:
    """One connection: its outbox, its selections."""

    def __init__(self, conn: Any, outbox: Outbox) -> None:
        self.conn = conn
        self.outbox = outbox
        self.ready = asyncio.Event()
        self.selected: dict[str, tuple[float, float]] = {}

    async def pump(self) -> None:
        """Send what waits; a client that reads slowly holds only itself."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self.ready.wait()
                self.ready.clear()
                while values := self.outbox.take(_BATCH):
                    await self.conn.send([data_message(value) for value in values])
                    await asyncio.sleep(0.0)


class HatServer:
    """A backend of the laboratory.

    Args:
        settings: Server.
        points: Point list.
        logic: Station behind it.
    """

    def __init__(self, settings: ServerSettings, points: PointList, logic: Logic) -> None:
        self._settings = settings
        self._points = points
        self._logic = logic
        self._ports = list(settings.ports)
        self._servers: dict[int, Any] = {}
        self._clients: dict[int, list[_Client]] = {path: [] for path in range(len(settings.ports))}
        self._dropped = 0

    @property
    def ports(self) -> tuple[int, ...]:
        """TCP port of each path."""
        return tuple(self._ports)

    @property
    def clients(self) -> int:
        """Connections with data transfer."""
        return len(self._started())

    @property
    def dropped(self) -> int:
        """Events dropped because a client was too slow."""
        return self._dropped + sum(client.outbox.dropped for many in self._clients.values() for client in many)

    def _started(self) -> list[_Client]:
        return [c for many in self._clients.values() for c in many if c.conn.is_open and c.conn.is_enabled]

    async def listen(self, path: int) -> None:
        """Accept connections on a path."""
        settings = self._settings
        tls = {} if settings.tls is None else {"ssl": server_context(settings.tls)}

        def connected(conn: Any) -> None:
            self._connected(path, conn)

        server = await iec104.listen(
            connected,
            net.TcpAddress(settings.host, self._ports[path]),
            response_timeout=settings.t1_s,
            supervisory_timeout=settings.t2_s,
            test_timeout=settings.t3_s,
            send_window_size=settings.k,
            receive_window_size=settings.w,
            **tls,
        )
        self._servers[path] = server
        self._ports[path] = server.info.addresses[0].port

    async def cut(self, path: int) -> None:
        """Cut the connections of a path and refuse new ones."""
        server = self._servers.pop(path, None)
        if server is not None:
            await server.async_close()
        clients, self._clients[path] = self._clients[path], []
        for client in clients:
            self._dropped += client.outbox.dropped
            await client.conn.async_close()

    async def close(self) -> None:
        """End."""
        for path in range(len(self._ports)):
            await self.cut(path)

    def send(self, values: Sequence[Outgoing]) -> None:
        """Send values to every client; never waits."""
        for client in self._started():
            client.outbox.put(values)
            client.ready.set()

    def present(self, values: Sequence[Outgoing]) -> None:
        """Nothing to keep: an interrogation asks the station."""

    def _connected(self, path: int, conn: Any) -> None:
        client = _Client(conn, Outbox(self._settings.outbox))
        self._clients[path].append(client)
        conn.register_enabled_cb(lambda enabled: self._opened(client) if enabled else None)
        conn.async_group.spawn(client.pump)
        conn.async_group.spawn(self._serve, path, client)

    def _opened(self, client: _Client) -> None:
        self._logic.opened()
        if self._logic.restarted:
            # M_EI_NA_1 tells the client that the station has lost what it knew.
            cause = iec104.InitializationResCause.REMOTE_RESET
            ends = [iec104.InitializationMsg(False, 0, station, False, cause) for station in self._points.stations]
            client.conn.async_group.spawn(client.conn.send, ends)

    async def _serve(self, path: int, client: _Client) -> None:
        try:
            while True:
                for message in await client.conn.receive():
                    delay = self._logic.delay_s
                    if delay:
                        await asyncio.sleep(delay)
                    await client.conn.send(self._reply(client, message))
        except ConnectionError:
            pass
        except Exception:
            _LOG.exception("connection to the laboratory failed")
        finally:
            client.conn.close()
            if client in self._clients[path]:
                self._clients[path].remove(client)
                self._dropped += client.outbox.dropped

    def _reply(self, client: _Client, message: Any) -> list[Any]:
        match message:
            case iec104.InterrogationMsg():
                return self._interrogated(message)
            case iec104.ClockSyncMsg():
                return [message._replace(cause=iec104.ClockSyncResCause.ACTIVATION_CONFIRMATION)]
            case iec104.CommandMsg():
                return self._commanded(client, message)
        return []

    def _interrogated(self, message: Any) -> list[Any]:
        if message.asdu_address not in self._points.stations:
            return [message._replace(cause=_RES.UNKNOWN_ASDU_ADDRESS, is_negative_confirm=True)]
        values = self._logic.interrogated()
        wanted = [v for v in values if v.cause != INTERROGATED or v.point.station == message.asdu_address]
        head = message._replace(cause=_RES.ACTIVATION_CONFIRMATION)
        return [head, *map(data_message, wanted), message._replace(cause=_RES.ACTIVATION_TERMINATION)]

    def _commanded(self, client: _Client, message: Any) -> list[Any]:
        point = self._points.by_address.get((message.asdu_address, message.io_address))
        if point is None or point.direction is not Direction.CONTROL:
            return [message._replace(cause=_RES.UNKNOWN_IO_ADDRESS, is_negative_confirm=True)]
        verdict = self._verdict(client, point, message.command)
        if verdict is Verdict.SILENT:
            return []
        refused = verdict is Verdict.REFUSE
        confirmed = message._replace(cause=_RES.ACTIVATION_CONFIRMATION, is_negative_confirm=refused)
        if refused or message.command.select:
            return [confirmed]
        return [confirmed, message._replace(cause=_RES.ACTIVATION_TERMINATION)]

    def _verdict(self, client: _Client, point: Point, command: Any) -> Verdict:
        wire, now = order_wire(command), time.monotonic()
        if command.select:
            client.selected[point.name] = (wire, now)
            return self._logic.may_select(point) if point.select else Verdict.REFUSE
        if point.select:
            selected, since = client.selected.pop(point.name, (float("nan"), -1e9))
            if selected != wire or now - since > self._settings.select_s:
                return Verdict.REFUSE
        return self._logic.commanded(point, wire)
