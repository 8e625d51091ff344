"""IEC 104 client on c104 in a process of its own: ``python -m heila_mosaik.bridges.iec104.c104_process``.

JSON lines on standard input and output; the only module that imports c104 (GPL-3.0), and nothing imports this module.
The process keeps c104's threads away from the study's interpreter lock.  Guards, each against a defect of c104 2.2.1:

* The answer to an order is read from the frames (``ACT_CON`` with its P/N bit), not from what ``transmit`` returns:
  it returns false for orders that were carried out and true for some that were refused.
* A connection stuck muted after connecting is unmuted; orders wait for an open connection.
* A selection whose confirmation c104 misses is repeated, as long as no order to operate has left: neither seen in the
  frames, which a busy lock shows late, nor claimed by ``transmit``.  What may have left is never sent again.
* An order is given up when its time has passed before it could be sent.
* Callbacks only put into a queue: an order from a callback hangs, an exception unregisters the callback.
* Values are read from the frames as well: the point callbacks leave out types with and without time tag of one point.

No postponed annotations here: c104 checks the annotations of callbacks at run time.
"""

import json
import math
import os
import queue
import sys
import threading
import time
from typing import Any

import c104

from heila_mosaik.bridges.iec104.frames import (
    ACTIVATION_CONFIRMATION,
    ACTIVATION_TERMINATION,
    CLOCK,
    COMMANDS,
    INTERROGATION,
    decode_frame,
)

_UNKNOWN_CAUSES = (44, 45, 46, 47)
_SEEN_S = 0.1
_TYPES = {
    "single_command": c104.Type.C_SC_NA_1,
    "double_command": c104.Type.C_DC_NA_1,
    "setpoint_normalised": c104.Type.C_SE_NA_1,
    "setpoint_scaled": c104.Type.C_SE_NB_1,
    "setpoint_float": c104.Type.C_SE_NC_1,
}


class Link:
    """The connection, its supervision, and the orders that await an answer."""

    def __init__(self, settings: dict[str, Any], points: list[dict[str, Any]], *, active: bool) -> None:
        self.out: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.active = active
        self._settings = settings
        self._lost = 0
        self._client = c104.Client(tick_rate_ms=50, command_timeout_ms=max(50, int(settings["answer_s"] * 250)))
        connection = self._client.add_connection(settings["host"], settings["port"], c104.Init.MUTED)
        if connection is None:
            raise RuntimeError("c104 made no connection object")
        self._connection = connection
        parameters = connection.protocol_parameters
        parameters.connection_timeout = max(1, round(settings["t0_s"]))
        parameters.message_timeout = max(1, round(settings["t1_s"]))
        parameters.confirm_interval = max(1, round(settings["t2_s"]))
        parameters.keep_alive_interval = max(1, round(settings["t3_s"]))
        parameters.send_window_size, parameters.receive_window_size = settings["k"], settings["w"]
        self._stations = sorted({point["station"] for point in points})
        self._points = {(one["station"], one["address"]): self._add(one) for one in points if one["type"] in _TYPES}
        self._raw: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._callback = self._receiver()
        connection.on_receive_raw(callable=self._callback)
        self._operated: set[tuple[int, int]] = set()
        self._send_callback = self._sender()
        connection.on_send_raw(callable=self._send_callback)
        self._waiting: dict[tuple[int, int, int], queue.SimpleQueue[dict[str, Any]]] = {}
        self._stop = threading.Event()
        self._state = "closed"

    def _add(self, point: dict[str, Any]) -> Any:
        station = self._connection.get_station(point["station"]) or self._connection.add_station(point["station"])
        if station is None:
            raise RuntimeError(f"c104 refused station {point['station']}")
        mode = c104.CommandMode.SELECT_AND_EXECUTE if point["select"] else c104.CommandMode.DIRECT
        return station.add_point(io_address=point["address"], type=_TYPES[point["type"]], command_mode=mode)

    def _receiver(self) -> Any:
        raw = self._raw

        def receive(connection: c104.Connection, data: bytes) -> None:  # noqa: ARG001  # the signature is c104's
            raw.put(data)

        return receive

    def _sender(self) -> Any:
        operated = self._operated

        def send(connection: c104.Connection, data: bytes) -> None:  # noqa: ARG001  # the signature is c104's
            operated.update(
                (event["station"], event["address"])
                for event in decode_frame(data)
                if event["event"] == "confirmed" and event["type"] in COMMANDS and not event["select"]
            )

        return send

    def start(self) -> None:
        """Connect and supervise."""
        self._client.start()
        self._connection.connect()
        for job in (self._decode, self._supervise):
            threading.Thread(target=job, daemon=True).start()

    def stop(self) -> None:
        """Close."""
        self._stop.set()
        self._client.disconnect_all()
        self._client.stop()

    def _decode(self) -> None:
        while True:
            for event in decode_frame(self._raw.get()):
                if event["event"] == "value":
                    self._pass_on(event)
                    continue
                kind = event["type"] if event["type"] in (INTERROGATION, CLOCK) else 0
                address = 0 if kind else event["address"]
                waiting = self._waiting.get((kind, event["station"], address))
                if waiting is not None:
                    waiting.put(event)

    def _pass_on(self, event: dict[str, Any]) -> None:
        """A value goes to the parent unless it has fallen behind: then it is left out and counted."""
        if self.out.qsize() >= self._settings["queue_size"]:
            self._lost += 1
            return
        if self._lost:
            self.out.put({"event": "lost", "count": self._lost})
            self._lost = 0
        self.out.put(event)

    def _enter(self, state: str, detail: str = "") -> None:
        if state != self._state:
            self._state = state
            self.out.put({"event": "state", "state": state, "detail": detail})

    def _supervise(self) -> None:
        refreshed, since = 0.0, time.monotonic()
        while not self._stop.wait(0.02):
            now, state = time.monotonic(), self._connection.state
            if state == c104.ConnectionState.OPEN_MUTED:
                since = now
                if self.active:
                    self._connection.unmute()
                else:
                    self._enter("standby")
                continue
            if state != c104.ConnectionState.OPEN:
                self._enter("closed" if self._state == "open" else "connecting", state.name.lower())
                if state == c104.ConnectionState.CLOSED and now - since > self._settings["reconnect_s"]:
                    since = now
                    self._connection.connect()
                continue
            since = now
            if self._state != "open":
                refreshed = now if self._start_up() else 0.0
            elif now - refreshed > self._settings["refresh_s"]:
                refreshed = now
                if not all(self._interrogate(station) for station in self._stations):
                    # A peer that hangs is noticed here, well before t1.
                    self._give_up("interrogation was not answered")

    def _start_up(self) -> bool:
        self._enter("interrogating")
        if not all(self._interrogate(station) for station in self._stations):
            return self._give_up("interrogation was not answered")
        self._enter("synchronising")
        for station in self._stations:
            with self._await((CLOCK, station, 0)) as answers:
                self._connection.clock_sync(common_address=station, wait_for_response=False)
                answer = self._first(answers, (ACTIVATION_CONFIRMATION,))
            if answer is None or answer["negative"]:
                return self._give_up("clock synchronisation was not answered")
        self._enter("open")
        return True

    def _give_up(self, why: str) -> bool:
        self._enter("closed", why)
        self._connection.disconnect()
        self._stop.wait(self._settings["reconnect_s"])
        self._connection.connect()
        return False

    def _interrogate(self, station: int) -> bool:
        with self._await((INTERROGATION, station, 0)) as answers:
            self._connection.interrogation(common_address=station, wait_for_response=False)
            answer = self._first(answers, (ACTIVATION_TERMINATION,))
        return answer is not None and not answer["negative"]

    def _await(self, key: tuple[int, int, int]) -> "_Waiting":
        return _Waiting(self._waiting, key)

    def _first(self, answers: "queue.SimpleQueue[dict[str, Any]]", causes: tuple[int, ...]) -> dict[str, Any] | None:
        """First answer of these causes, or a refusal."""
        end = time.monotonic() + self._settings["answer_s"]
        while (left := end - time.monotonic()) > 0.0 and self._connection.is_connected:
            try:
                answer = answers.get(timeout=min(left, 0.05))
            except queue.Empty:
                continue
            if answer["negative"] or answer["cause"] in (*causes, *_UNKNOWN_CAUSES):
                return answer
        return None

    def order(self, request: dict[str, Any]) -> None:
        """Send one order once and report its answer; runs in a thread of its own."""
        positive, detail = self._order(request)
        self.out.put({"event": "answer", "id": request["id"], "positive": positive, "detail": detail})

    def _order(self, request: dict[str, Any]) -> tuple[bool | None, str]:
        place = (request["station"], request["address"])
        point, key = self._points.get(place), (0, *place)
        if point is None:
            return False, "not sent: not a control point"
        if self._connection.state != c104.ConnectionState.OPEN:
            return False, f"not sent: connection is {self._connection.state.name.lower()}"
        if request["urgent"]:
            # c104 operates what it selected by itself: a second order to the point in between is undefined.
            end = time.monotonic() + self._settings["answer_s"]
            while key in self._waiting and time.monotonic() < end:
                time.sleep(0.002)
        if key in self._waiting:
            return False, "not sent: an order to this point awaits its answer"
        with self._await(key) as answers:
            point.value = _wire(point.type, request["value"])
            if point.command_mode == c104.CommandMode.SELECT_AND_EXECUTE:
                return self._select_and_operate(point, request, answers)
            self._operated.discard(place)
            sent = self._transmit(point, request)
            answer = self._first(answers, (ACTIVATION_CONFIRMATION,))
            if answer is None and place not in self._operated and not sent.took:
                return (False, "not sent: c104 did not take it")
            return self._judge(answer)

    def _transmit(self, point: Any, request: dict[str, Any]) -> "_Sent":
        sent = _Sent(point, request, time.monotonic() + 0.5 * self._settings["answer_s"])
        sent.start()
        return sent

    def _select_and_operate(
        self, point: Any, request: dict[str, Any], answers: "queue.SimpleQueue[dict[str, Any]]"
    ) -> tuple[bool | None, str]:
        """Select and operate; select again when c104 missed the confirmation of a selection and operated nothing."""
        place, end = (request["station"], request["address"]), time.monotonic() + 2.0 * self._settings["answer_s"]
        selected, sent = True, _Sent(point, request, 0.0)
        while selected and time.monotonic() < end and self._connection.is_connected:
            if _late(request):
                return _LATE
            self._operated.discard(place)
            sent, selected = self._transmit(point, request), False
            while (sent.may_operate or place in self._operated) and time.monotonic() < end:
                answer = self._next(answers)
                if answer is None:
                    continue
                if answer["negative"] or answer["cause"] in _UNKNOWN_CAUSES or not answer["select"]:
                    return self._judge(answer)
                selected = True
        if place in self._operated or sent.took:
            return self._judge(None)
        # What did not leave was not operated: this is known, whatever c104 says.
        return False, "selected, not operated" if selected else "select was not answered"

    def _next(self, answers: "queue.SimpleQueue[dict[str, Any]]") -> dict[str, Any] | None:
        try:
            answer = answers.get(timeout=0.01)
        except queue.Empty:
            return None
        return None if answer["cause"] == ACTIVATION_TERMINATION else answer

    def _judge(self, answer: dict[str, Any] | None) -> tuple[bool | None, str]:
        if answer is None:
            lost = "" if self._connection.is_connected else "link lost: "
            return None, f"{lost}no answer within {self._settings['answer_s']:g} s"
        if answer["negative"] or answer["cause"] in _UNKNOWN_CAUSES:
            return False, f"negative confirmation, cause {answer['cause']}"
        return True, "activation confirmation"


_LATE = (False, "not sent: its time has passed")


def _late(request: dict[str, Any]) -> bool:
    return request["until"] is not None and time.monotonic() > request["until"]


class _Sent(threading.Thread):
    """Transmits once; c104 refuses while it waits for an answer to the point's last order that it has missed.

    Attributes:
        took: c104 says that it operated.  It says so up to some ten ms before the frame is seen to leave; its no is
            worth less: frames have left after it.
    """

    def __init__(self, point: Any, request: dict[str, Any], until_s: float) -> None:
        super().__init__(daemon=True)
        self._point, self._request, self._until_s = point, request, until_s
        self.took = False
        self._ended_s = math.inf

    def run(self) -> None:
        """Transmit when c104 is free."""
        while time.monotonic() < self._until_s and not _late(self._request):
            try:
                self.took = bool(self._point.transmit(cause=c104.Cot.ACTIVATION))
            except RuntimeError:
                time.sleep(0.002)
            else:
                break
        self._ended_s = time.monotonic()

    @property
    def may_operate(self) -> bool:
        """Whether a frame that operates the point may still be on its way."""
        return self.is_alive() or self.took or time.monotonic() < self._ended_s + _SEEN_S


class _Waiting:
    """Queue of the answers to one request while it is under way."""

    def __init__(self, table: dict[tuple[int, int, int], Any], key: tuple[int, int, int]) -> None:
        self._table, self._key = table, key

    def __enter__(self) -> "queue.SimpleQueue[dict[str, Any]]":
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._table[self._key] = answers
        return answers

    def __exit__(self, *_: object) -> None:
        del self._table[self._key]


def _wire(kind: Any, value: float) -> Any:
    if kind == c104.Type.C_SC_NA_1:
        return bool(value)
    if kind == c104.Type.C_DC_NA_1:
        return c104.Double.ON if value == 2.0 else c104.Double.OFF
    if kind == c104.Type.C_SE_NA_1:
        return c104.NormalizedFloat(value)
    if kind == c104.Type.C_SE_NB_1:
        return c104.Int16(int(value))
    return value


def _write(out: "queue.SimpleQueue[dict[str, Any] | None]") -> None:
    try:
        while (event := out.get()) is not None:
            sys.stdout.write(json.dumps(event) + "\n")
            if out.empty():
                sys.stdout.flush()
    except BrokenPipeError:
        os._exit(0)  # the parent is gone: nobody is left to answer to


def main() -> int:
    """Serve one parent; ends with its standard input, so a killed parent leaves nothing behind."""
    first = json.loads(sys.stdin.readline())
    link = Link(first["settings"], first["points"], active=first["active"])
    writer = threading.Thread(target=_write, args=(link.out,), daemon=True)
    writer.start()
    link.start()
    for line in sys.stdin:
        request = json.loads(line)
        if "active" in request:
            link.active = request["active"]
            continue
        threading.Thread(target=link.order, args=(request,), daemon=True).start()
    link.stop()
    link.out.put(None)
    writer.join(1.0)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
