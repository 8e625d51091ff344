"""Laboratory's server on c104 in a process of its own: ``python -m heila_mosaik.bridges.lab.c104_server_process``.

JSON lines on standard input and output; nothing imports this module (c104 is GPL-3.0).  One server object a path, all
with the same points.  An order waits for the parent's verdict in c104's thread, at most ``_VERDICT_S``.

No postponed annotations here: c104 checks the annotations of callbacks at run time.
"""

import itertools
import json
import os
import queue
import sys
import threading
import time
from datetime import UTC, datetime
from typing import Any, NoReturn

import c104

_VERDICT_S, _END_S = 5.0, 0.5
_FLYING_MOST, _STALL_S = 400, 1.0
_STATES = {
    "confirm": c104.ResponseState.SUCCESS,
    "refuse": c104.ResponseState.FAILURE,
    "silent": c104.ResponseState.NONE,
}
_CAUSES = {1: c104.Cot.PERIODIC, 3: c104.Cot.SPONTANEOUS, 20: c104.Cot.INTERROGATED_BY_STATION}
_BITS = (
    (0x80, c104.Quality.Invalid),
    (0x40, c104.Quality.NonTopical),
    (0x20, c104.Quality.Substituted),
    (0x10, c104.Quality.Blocked),
    (0x01, c104.Quality.Overflow),
)
_TYPES = {
    "single_point": (c104.Type.M_SP_NA_1, c104.Type.M_SP_TB_1),
    "double_point": (c104.Type.M_DP_NA_1, c104.Type.M_DP_TB_1),
    "step_position": (c104.Type.M_ST_NA_1, c104.Type.M_ST_TB_1),
    "measured_normalised": (c104.Type.M_ME_NA_1, c104.Type.M_ME_TD_1),
    "measured_scaled": (c104.Type.M_ME_NB_1, c104.Type.M_ME_TE_1),
    "measured_float": (c104.Type.M_ME_NC_1, c104.Type.M_ME_TF_1),
    "single_command": (c104.Type.C_SC_NA_1,) * 2,
    "double_command": (c104.Type.C_DC_NA_1,) * 2,
    "setpoint_normalised": (c104.Type.C_SE_NA_1,) * 2,
    "setpoint_scaled": (c104.Type.C_SE_NB_1,) * 2,
    "setpoint_float": (c104.Type.C_SE_NC_1,) * 2,
}


def _information(kind: str, wire: float, bits: int, stamp: float | None) -> Any:
    quality: Any = c104.Quality()
    for bit, flag in _BITS:
        if bits & bit:
            quality = quality | flag
    at = datetime.fromtimestamp(stamp if stamp is not None else time.time(), UTC)
    match kind:
        case "single_point":
            return c104.SingleInfo(bool(wire), quality, at)
        case "double_point":
            states = (c104.Double.INTERMEDIATE, c104.Double.OFF, c104.Double.ON, c104.Double.INDETERMINATE)
            return c104.DoubleInfo(states[int(wire)], quality, at)
        case "step_position":
            return c104.StepInfo(c104.Int7(int(wire)), False, quality, at)
        case "measured_normalised":
            return c104.NormalizedInfo(c104.NormalizedFloat(wire), quality, at)
        case "measured_scaled":
            return c104.ScaledInfo(c104.Int16(round(wire)), quality, at)
        case _:
            return c104.ShortInfo(wire, quality, at)


def _plain(value: Any) -> float:
    """Value of an order as on the wire."""
    if value == c104.Double.ON:
        return 2.0
    if value == c104.Double.OFF:
        return 1.0
    return float(value)


class _Path:
    """One server and what it has been given and has not sent yet.

    c104 drops what overflows its queue and says it was sent, so what really leaves is counted on the wire.
    """

    def __init__(self, server: Any) -> None:
        self.server = server
        self._given = self._left = 0
        self._callback = self._counter()
        server.on_send_raw(callable=self._callback)

    def _counter(self) -> Any:
        def count(server: c104.Server, data: bytes) -> None:  # noqa: ARG001  # the signature is c104's
            if len(data) > 8 and not data[2] & 1 and data[8] & 0x3F in _CAUSES and data[8] & 0x3F != 20:
                self._left += 1

        return count

    def make_room(self) -> int:
        """Wait until few values are under way; returns how many were lost because the client does not take them."""
        end = time.monotonic() + _STALL_S
        while self._given - self._left >= _FLYING_MOST:
            if time.monotonic() > end or not self.server.has_active_connections:
                lost, self._given = self._given - self._left, self._left
                return lost
            time.sleep(0.001)
        return 0

    def note(self, taken: bool) -> bool:
        """Whether c104 refused a value."""
        self._given += taken
        return not taken


class Station:
    """Servers of all paths, their points, and the orders that wait for a verdict."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.out: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._first = first
        self._kinds = {(one["station"], one["address"]): one["type"] for one in first["points"]}
        self._ids = itertools.count(1)
        self._verdicts: dict[int, queue.SimpleQueue[str]] = {}
        self._callback = self._receiver()
        self._paths: list[_Path] = []
        self._points: list[dict[tuple[int, int], Any]] = []
        for port in first["ports"]:
            self._add_server(port)
        self._rows: queue.SimpleQueue[list[list[Any]] | int] = queue.SimpleQueue()
        for job in (self._count_clients, self._send):
            threading.Thread(target=job, daemon=True).start()

    def _add_server(self, port: int) -> None:
        first, security = self._first, None
        if first["tls"] is not None:
            security = c104.TransportSecurity(validate=True, only_known=False)
            security.set_ca_certificate(first["tls"][0])
            security.set_certificate(first["tls"][1], first["tls"][2])
        server = c104.Server(
            ip=first["host"],
            port=port,
            tick_rate_ms=50,
            select_timeout_ms=int(first["select_s"] * 1000),
            transport_security=security,
        )
        parameters, given = server.protocol_parameters, first["parameters"]
        parameters.message_timeout = max(1, round(given["t1_s"]))
        parameters.confirm_interval = max(1, round(given["t2_s"]))
        parameters.keep_alive_interval = max(1, round(given["t3_s"]))
        parameters.send_window_size, parameters.receive_window_size = given["k"], given["w"]
        self._paths.append(_Path(server))
        self._points.append({(one["station"], one["address"]): self._add(server, one) for one in first["points"]})

    def _add(self, server: Any, one: dict[str, Any]) -> Any:
        station = server.get_station(one["station"]) or server.add_station(one["station"])
        kind = _TYPES[one["type"]][bool(one["time_tag"])]
        if one["type"].endswith("_command") or one["type"].startswith("setpoint_"):
            mode = c104.CommandMode.SELECT_AND_EXECUTE if one["select"] else c104.CommandMode.DIRECT
            point = station.add_point(io_address=one["address"], type=kind, command_mode=mode)
            point.on_receive(callable=self._callback)
            return point
        return station.add_point(io_address=one["address"], type=kind)

    def _receiver(self) -> Any:
        def receive(
            point: c104.Point,
            previous_info: c104.Information,  # noqa: ARG001  # the signature is c104's
            message: c104.IncomingMessage,
        ) -> c104.ResponseState:
            try:
                return self._judged(point, _plain(message.info.value))
            except Exception:  # an exception would unregister the callback
                return c104.ResponseState.FAILURE

        return receive

    def _judged(self, point: Any, value: float) -> Any:
        identity = next(self._ids)
        verdict: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._verdicts[identity] = verdict
        station = point.station.common_address
        self.out.put(
            {"event": "order", "id": identity, "station": station, "address": point.io_address, "value": value}
        )
        try:
            return _STATES[verdict.get(timeout=_VERDICT_S)]
        except queue.Empty:
            return c104.ResponseState.NONE
        finally:
            del self._verdicts[identity]

    def _count_clients(self) -> None:
        before = 0
        while True:
            time.sleep(0.01)
            count = sum(path.server.active_connection_count for path in self._paths)
            if count != before:
                before = count
                self.out.put({"event": "clients", "count": count})

    def take(self, request: dict[str, Any]) -> None:
        """One request of the parent."""
        match request["do"]:
            case "listen":
                # In order with the values: who connects first must not find c104's zeroes.
                self._rows.put(request["path"])
            case "cut":
                # Stopping waits for an order under way, and that one for the verdict this thread has to read.
                threading.Thread(target=self._cut, args=(request["path"],), daemon=True).start()
            case "send":
                self._rows.put(request["rows"])
            case "answer":
                verdict = self._verdicts.get(request["id"])
                if verdict is not None:
                    verdict.put(request["verdict"])

    def _cut(self, path: int) -> None:
        self._paths[path].server.stop()
        self.out.put({"event": "told", "what": f"cut {path}"})

    def _send(self) -> None:
        while True:
            job = self._rows.get()
            if isinstance(job, int):
                self._paths[job].server.start()
                self.out.put({"event": "told", "what": f"listening {job}"})
                continue
            for row in job:
                self._set(*row)

    def _set(self, station: int, address: int, wire: float, bits: int, cause: int, stamp: float | None) -> None:
        place = (station, address)
        information = _information(self._kinds[place], wire, bits, stamp)
        for path, points in zip(self._paths, self._points, strict=True):
            points[place].info = information
            if cause in _CAUSES and path.server.has_active_connections:
                lost = path.make_room()
                if path.note(points[place].transmit(cause=_CAUSES[cause])):
                    lost += 1
                if lost:
                    self.out.put({"event": "dropped", "count": lost})

    def stop(self) -> None:
        """Close."""
        for path in self._paths:
            path.server.stop()


def _write(out: "queue.SimpleQueue[dict[str, Any]]") -> None:
    try:
        while True:
            sys.stdout.write(json.dumps(out.get()) + "\n")
            if out.empty():
                sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)  # the parent is gone: nobody is left to answer to


def main() -> NoReturn:
    """Serve one parent; ends with its standard input, so a killed parent leaves nothing behind."""
    station = Station(json.loads(sys.stdin.readline()))
    threading.Thread(target=_write, args=(station.out,), daemon=True).start()
    for line in sys.stdin:
        station.take(json.loads(line))
    # The parent is gone: nobody gives verdicts any more, so an orderly end may wait for one that never comes.
    stopping = threading.Thread(target=station.stop, daemon=True)
    stopping.start()
    stopping.join(_END_S)
    os._exit(0)


if __name__ == "__main__":
    main()
