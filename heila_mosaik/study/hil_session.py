"""One run with equipment in the loop: passes on between study, bridge process, log and operator."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from heila_mosaik.actors.base import Record
from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.equipment import EquipmentProcess
from heila_mosaik.bridges.equipment_process import Stopped, Told
from heila_mosaik.bridges.iec104.bridge import BridgeStatus
from heila_mosaik.bridges.iec104.client import EventsLost, PathChanged, StateChanged
from heila_mosaik.bridges.ledger import Entry
from heila_mosaik.bridges.safety_types import Phase, Refusal
from heila_mosaik.domain.information import ControlSignal, Message
from heila_mosaik.domain.realtime import Schedule
from heila_mosaik.domain.samplehold import Attribute, Sample
from heila_mosaik.results.hil import HilLog
from heila_mosaik.simulators.recorder import Sink
from heila_mosaik.study.hil_monitor import Monitor, Shown, about

_ALIVE_S = 0.5
_DRAW_SPARE_S = 0.1
_DRAW_S = 0.25

Draw = Callable[[Monitor], None]


class Session:
    """Equipment of a running study, its log and its operator.

    It is the :class:`~heila_mosaik.simulators.bridge.Equipment` of the simulator; the study's thread calls it.  The
    operator's methods may be called from any thread.

    Args:
        process: Bridge.
        log: Log of the run.
        monitor: What the operator sees.
        schedule: Deadlines.
        who: Operator.
        arm_s: For how long points are armed. [s]

    Attributes:
        draw: Shows the monitor; ``None``: nobody looks.
    """

    def __init__(
        self,
        process: EquipmentProcess,
        log: HilLog,
        monitor: Monitor,
        schedule: Schedule,
        *,
        who: str,
        arm_s: float,
    ) -> None:
        self.process, self.log, self.monitor, self.schedule = process, log, monitor, schedule
        self._who, self._arm_s = who, arm_s
        self.draw: Draw | None = None
        self._said: deque[tuple[float, str, str]] = deque()
        self._opened_s = time.monotonic()
        self._alive_at_s = self._drawn_at_s = -1e9
        self._steps = 0
        self._phases: Mapping[str, Phase] = {}
        self._last_status: BridgeStatus | None = None

    # The simulator's side.

    def order(self, now: datetime, signals: Sequence[ControlSignal]) -> None:
        """Hand set points and switching commands to the equipment."""
        self.process.field.order(signals, now, time.monotonic())

    def sample(self, now: datetime) -> Mapping[Attribute, Sample]:
        """Sample the slots for a step and keep what was seen."""
        self.process.check()
        samples = self.process.field.sample(time.monotonic())
        self.log.samples(self._steps, now, samples)
        return samples

    # The schedule's side.

    def idle(self, left_s: float) -> None:
        """The study waits: supervise, write down, show."""
        now_s = time.monotonic()
        self.process.check()
        if now_s - self._alive_at_s >= _ALIVE_S and self._steps:
            self._alive(now_s)
        self._pass_on()
        self.process.again()
        if left_s > _DRAW_SPARE_S:
            self.show(now_s)

    def tick(self, now: datetime) -> None:
        """A step is complete."""
        timing = self.schedule.end(time.monotonic())
        self._steps = timing.step + 1
        self.log.step(timing, now, self._at(time.monotonic()))
        self.monitor.step(timing, now)
        if timing.slipped_s:
            self._event("slip", step=timing.step, by_s=round(timing.slipped_s, 6))
        self._alive(time.monotonic())
        if timing.step == 0:
            self.arm()
        self._pass_on()
        # A study without a moment to spare still shows that it lives.
        if time.monotonic() - self._drawn_at_s > 4.0 * _DRAW_S:
            self.show(time.monotonic())

    def show(self, now_s: float) -> None:
        """Show the monitor if it is time."""
        if self.draw is None or now_s - self._drawn_at_s < _DRAW_S:
            return
        self._drawn_at_s = now_s
        self.monitor.at_s = self._at(now_s)
        start_s = self.schedule.start_s
        if start_s is not None:
            self.monitor.starts_in_s = max(0.0, start_s - now_s)
            self.monitor.next_in_s = max(0.0, self.schedule.due_s(self._steps) - now_s)
        wanted = self.process.field.wanted
        until = self.process.armed_until
        for name, control in self.monitor.orders.items():
            control.wanted = wanted[name].value if name in wanted else None
            control.armed_until_s = self._at(until[name]) if name in until else None
        self.draw(self.monitor)

    def waiting(self) -> None:
        """Nothing runs yet: take in what comes, show it."""
        self._pass_on()
        self.show(time.monotonic())

    def finish(self) -> None:
        """The bridge has let go: write down the rest."""
        self._pass_on()
        self.log.close()

    # The operator's side.

    def arm(self) -> None:
        """Arm the points of the command, for the time of the command."""
        if self.monitor.armed:
            self._say("arm", f"{', '.join(self.monitor.armed)} for {self._arm_s:g} s")
            self.process.arm(self.monitor.armed, self._arm_s, who=self._who)

    def disarm(self) -> None:
        """Disarm everything."""
        self._say("disarm", "all")
        self.process.disarm(who=self._who)

    def emergency_stop(self) -> None:
        """Everything armed to its safe state."""
        self.process.emergency_stop(who=self._who)
        self._say("emergency stop", "latched")

    def reset(self) -> None:
        """Release the emergency stop."""
        self._say("emergency stop", "released")
        self.process.reset(who=self._who)

    def _say(self, what: str, detail: str) -> None:
        self._said.append((time.monotonic(), what, detail))

    # What was told.

    def _alive(self, now_s: float) -> None:
        self._alive_at_s = now_s
        self.process.study_alive()

    def _at(self, now_s: float) -> float:
        return now_s - self._opened_s

    def _event(self, kind: str, at_s: float | None = None, **values: float | str | bool | None) -> None:
        at = self._at(time.monotonic() if at_s is None else at_s)
        self.monitor.event(self.log.event(at, kind, **values))

    def _pass_on(self) -> None:
        while self._said:
            at_s, what, detail = self._said.popleft()
            self._event("operator", at_s, what=what, detail=detail)
        for at_s, told in self.process.drain():
            self._take(at_s, told)

    def _take(self, at_s: float, told: Told) -> None:
        match told:
            case Reading():
                value, quality = told.value, told.quality.value
                self.log.reading(
                    self._at(told.at_s), told.received, told.name, value, quality, told.cause, told.device_time
                )
                self.monitor.values[told.name] = Shown(value=value, quality=quality, at_s=self._at(told.at_s))
            case StateChanged():
                self._event("link", at_s, state=told.state.value, detail=told.detail)
            case PathChanged():
                self._event("path", at_s, path=told.path + 1, state=told.state.value, detail=told.detail)
            case EventsLost():
                self._event("lost", at_s, count=told.count, total=told.total, where=told.where)
            case Entry():
                self._event("order", at_s, **_order(told))
            case Refusal():
                self._event("refusal", at_s, name=told.name, value=told.value if told.value == told.value else None,
                            reason=told.reason.value, detail=told.detail, cause=told.cause)  # fmt: skip
            case BridgeStatus():
                self._status(at_s, told)
            case Stopped():
                self._event("bridge", at_s, state="stopped", detail=told.detail)

    def _status(self, at_s: float, told: BridgeStatus) -> None:
        for name, phase in told.phases.items():
            if self._phases.get(name, Phase.DISARMED) is not phase:
                self._event("phase", at_s, name=name, phase=phase.value)
        self._phases, monitor = told.phases, self.monitor
        if told.audit_failure and told.audit_failure != monitor.audit_failure:
            self._event("audit", at_s, failure=told.audit_failure)
        monitor.received, monitor.emergency = told.received, told.emergency_stopped
        monitor.unknown, monitor.audit_failure = len(told.unknown), told.audit_failure
        for name, value in told.setpoints.items():
            monitor.orders[name].written = value
        self._last_status = told

    def sink(self, inner: Sink) -> Sink:
        """A sink that also notes calls of the laboratory's microgrid."""
        return _Watching(inner, self)

    def message(self, message: Message) -> None:
        """A message passed the exchange."""
        found = about(message, self.monitor.microgrids)
        if found is not None:
            self._event("activation", at=message.sent_at.isoformat(), what=found[0], text=found[1])


class _Watching:
    """Passes everything on to the store."""

    def __init__(self, inner: Sink, session: Session) -> None:
        self._inner, self._session = inner, session

    def message(self, message: Any, *, delivered_at: datetime | None, status: str = "delivered") -> None:
        self._inner.message(message, delivered_at=delivered_at, status=status)
        self._session.message(message)

    def record(self, record: Record) -> None:
        self._inner.record(record)


def _order(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "name": entry.name,
        "value": entry.value,
        "state": entry.state.value,
        "detail": entry.detail,
        "cause": entry.cause,
        "after_s": round(entry.state_at_s - entry.sent_at_s, 6),
        "answered_s": None if entry.answered_at_s is None else round(entry.answered_at_s - entry.sent_at_s, 6),
    }
