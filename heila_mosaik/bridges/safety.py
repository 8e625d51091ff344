"""The one state machine every set point and command passes before any wire.

Pure: no clock, no input or output; the same events give the same reactions.  Rules, in the order they are tried:

1. Orders are finite, known, armed (default: disarmed, a dry run), inside the limits and fresh; the study is alive
   and the link is open.
2. Interlocks rest on fresh values of good quality: no set point with the breaker open, no closing without
   synchronism permission, nothing in local mode.  *Opening* a breaker needs no fresh measurement.
3. A set point moves at its ramp: a request states the target, ticks write the way there, every write re-checks 2.
4. When watching ends (study silent, link lost, arming expired, disarmed) a point falls back as declared.  Set points
   the study never wrote are left alone; a breaker opens only when watching was *lost*, not when it was ended.
   Set points go first, and to zero at once when their breaker is about to open: it takes the power anyway, and an
   open breaker would keep the old set point for the next closing.
   A fallback that cannot be sent within its declared time is given up and reported: nothing arrives late.
5. Emergency stop: armed points go to zero or open at once, without ramp; latched.
"""

from __future__ import annotations

import math

from heila_mosaik.bridges.points import Fallback, Point, PointList
from heila_mosaik.bridges.safety_equipment import Equipment, Hindrance
from heila_mosaik.bridges.safety_state import Control
from heila_mosaik.bridges.safety_types import (
    Answered,
    Arm,
    Disarm,
    EmergencyStop,
    Event,
    Kind,
    LinkChanged,
    Observed,
    Phase,
    Reaction,
    Reason,
    Refusal,
    Requested,
    Reset,
    SafetySettings,
    StudyAlive,
    Tick,
    Write,
)


class SafetyMachine:
    """Decides what may go on the wire.

    Args:
        points: Point list of the equipment.
        settings: Times of the machine.
    """

    def __init__(self, points: PointList, settings: SafetySettings | None = None) -> None:
        self._points = points
        self._settings = settings or SafetySettings()
        # Set points before breakers: an open breaker would keep them from being written.
        ordered = sorted(points.controlled, key=lambda point: point.type.is_switch_command)
        self._controls = {point.name: Control(point) for point in ordered}
        self._equipment = Equipment(points)
        self._now = -math.inf
        self._study_at = -math.inf
        self._link = False
        self._stopped = False
        self._watchdog_at = -math.inf
        self._watchdog_value = 0.0
        self._writes: list[Write] = []
        self._refusals: list[Refusal] = []

    @property
    def emergency_stopped(self) -> bool:
        """Whether the emergency stop is latched."""
        return self._stopped

    def phase(self, name: str) -> Phase:
        """Phase of a control point."""
        return self._controls[name].phase

    def setpoint(self, name: str) -> float | None:
        """Value last written to a control point since it was armed, study unit; NaN: not known what was taken."""
        return self._controls[name].written

    def hold(self, name: str) -> None:
        """An order is on its way: write no further ramp step until :class:`Answered`."""
        self._controls[name].busy = True

    def armed_until_s(self, name: str) -> float:
        """When the arming of a control point ends."""
        return self._controls[name].armed_until_s

    def handle(self, event: Event) -> Reaction:
        """Take one event in and say what may go on the wire."""
        self._writes, self._refusals = [], []
        if not math.isfinite(event.at_s) or event.at_s < self._now:
            if isinstance(event, Requested) or not math.isfinite(event.at_s):
                asked = (event.name, event.value) if isinstance(event, Requested) else ("", math.nan)
                self._refuse(*asked, Reason.CLOCK_BACKWARDS, f"time {event.at_s} after {self._now}")
                return self._reaction()
        else:
            self._now = event.at_s
        # What the equipment and the link just told must count already for a fallback this event sets off.
        if isinstance(event, Observed):
            self._equipment.observe(event)
        elif isinstance(event, LinkChanged):
            self._link_changed(event.up)
        self._supervise()
        self._dispatch(event)
        return self._reaction()

    def _dispatch(self, event: Event) -> None:
        match event:
            case Requested():
                self._request(event)
            case Tick():
                self._tick()
            case StudyAlive():
                self._study_at = self._now
            case Arm():
                self._arm(event)
            case Disarm():
                self._disarm(event.names)
            case EmergencyStop():
                self._emergency()
            case Reset():
                self._stopped = False
            case Answered():
                self._answered(event)

    def _answered(self, event: Answered) -> None:
        control = self._controls[event.name]
        control.busy = False
        if event.positive or control.written is None:
            return
        point = control.point
        again, late = event.positive is False, self._now - control.released_at_s > point.fallback_within_s
        if point.type.is_setpoint:
            # Where the equipment stands is not known any more: the ramp starts again from the read-back.
            again, control.written, control.target = True, math.nan, None
        # Only a fallback is tried again: a request refused after disarming must not become one.
        failed = control.kind is Kind.FALLBACK and control.phase is Phase.DISARMED
        if failed and again and not late and point.fallback is not Fallback.HOLD:
            control.phase = Phase.RELEASING

    def _disarm(self, names: tuple[str, ...]) -> None:
        for name in names or tuple(self._controls):
            if name in self._controls:
                self._release(self._controls[name], lost=False)

    def _reaction(self) -> Reaction:
        return Reaction(writes=tuple(self._writes), refusals=tuple(self._refusals))

    def _refuse(self, name: str, value: float, reason: Reason, detail: str, cause: str = "") -> None:
        self._refusals.append(
            Refusal(at_s=self._now, name=name, value=value, reason=reason, detail=detail, cause=cause)
        )

    def _write(self, control: Control, value: float, kind: Kind) -> None:
        control.written, control.written_at_s, control.kind = value, self._now, kind
        self._writes.append(Write(at_s=self._now, name=control.point.name, value=value, kind=kind, cause=control.cause))

    def _good(self, name: str) -> float | None:
        return self._equipment.good(name, self._now)

    def _study_is_alive(self) -> bool:
        return self._now - self._study_at <= self._settings.study_timeout_s

    def _supervise(self) -> None:
        """End what has expired before anything else is looked at."""
        alive = self._study_is_alive()
        for control in self._controls.values():
            if control.phase is not Phase.ARMED:
                continue
            if not alive:
                self._release(control, lost=True)
            elif self._now >= control.armed_until_s:
                self._release(control, lost=False)

    def _link_changed(self, up: bool) -> None:
        self._link = up
        if not up:
            for control in self._controls.values():
                if control.phase is Phase.ARMED:
                    self._release(control, lost=True)

    def _arm(self, event: Arm) -> None:
        for name in event.names:
            control = self._controls.get(name)
            if control is None:
                self._refuse(name, math.nan, Reason.UNKNOWN_POINT, "only control points of the list can be armed")
            elif self._stopped:
                self._refuse(name, math.nan, Reason.EMERGENCY_STOPPED, "reset the emergency stop first")
            elif not 0.0 < event.duration_s <= self._settings.arm_max_s:
                detail = f"arm for more than 0 and at most {self._settings.arm_max_s:g} s"
                self._refuse(name, event.duration_s, Reason.BAD_DURATION, detail)
            elif not self._link:
                self._refuse(name, math.nan, Reason.LINK_DOWN, "the link is not open for orders")
            elif not self._study_is_alive():
                self._refuse(name, math.nan, Reason.STUDY_STALE, "the study gives no sign of life")
            elif control.phase is Phase.RELEASING:
                self._refuse(name, math.nan, Reason.FALLING_BACK, "wait until the fallback is complete")
            else:
                if control.phase is Phase.DISARMED:
                    control.written = control.target = None
                control.phase = Phase.ARMED
                control.armed_until_s = self._now + event.duration_s

    def _release(self, control: Control, *, lost: bool) -> None:
        """Stop taking orders for a point and start its fallback if there is one to carry out."""
        if control.phase is not Phase.ARMED:
            return
        control.target = None
        fallback = control.point.fallback
        opens = fallback is Fallback.OPEN and lost
        ramps = fallback is Fallback.RAMP_TO_ZERO and control.written not in (None, 0.0)
        control.phase = Phase.RELEASING if opens or ramps else Phase.DISARMED
        control.released_at_s = self._now
        if control.phase is Phase.RELEASING:
            control.cause = "fallback"
        control.at_once = ramps and lost and self._breaker_opens(control.point)
        if control.phase is Phase.RELEASING:
            self._fall_back(control)

    def _breaker_opens(self, point: Point) -> bool:
        """Whether the breaker a set point depends on is about to open: it takes the power anyway."""
        return any(
            control.point.feedback == point.breaker
            and control.point.fallback is Fallback.OPEN
            and control.phase is not Phase.DISARMED
            for control in self._controls.values()
        )

    def _fall_back(self, control: Control) -> None:
        point = control.point
        if self._now - control.released_at_s > point.fallback_within_s:
            detail = f"not sent within {point.fallback_within_s:g} s; the equipment's own watchdog must act"
            self._refuse(point.name, 0.0, Reason.FALLBACK_MISSED, detail, "fallback")
            control.phase = Phase.DISARMED
            return
        if not self._link or self._blocked(point, 0.0, opening=point.type.is_switch_command) is not None:
            return
        if point.type.is_switch_command:
            if self._now - control.fell_back_at_s < point.min_interval_s:
                return
            control.fell_back_at_s = self._now
            self._write(control, 0.0, Kind.FALLBACK)
        elif control.at_once:
            self._write(control, 0.0, Kind.FALLBACK)
        else:
            self._step_towards(control, 0.0, Kind.FALLBACK)
        if control.written == 0.0:
            control.phase = Phase.DISARMED

    def _emergency(self) -> None:
        self._stopped = True
        for control in self._controls.values():
            if control.phase is Phase.DISARMED:
                continue
            control.target, control.cause = None, "emergency stop"
            point, control.phase = control.point, Phase.DISARMED
            opens = point.fallback is Fallback.OPEN
            zeroes = point.fallback is Fallback.RAMP_TO_ZERO and control.written not in (None, 0.0)
            if not (opens or zeroes):
                continue
            if not self._link:
                self._refuse(point.name, 0.0, Reason.LINK_DOWN, "emergency stop could not be sent", control.cause)
            elif point.local and self._good(point.local) == 1.0:
                self._refuse(point.name, 0.0, Reason.LOCAL_MODE, "equipment is in local mode", control.cause)
            elif point.breaker and self._good(point.breaker) == 0.0:
                self._refuse(point.name, 0.0, Reason.BREAKER_OPEN, f"{point.breaker} is open", control.cause)
            else:
                self._write(control, 0.0, Kind.EMERGENCY)

    def _request(self, event: Requested) -> None:
        control = self._controls.get(event.name)
        if control is None:
            known = event.name in self._points.by_name
            reason = Reason.NOT_CONTROLLABLE if known else Reason.UNKNOWN_POINT
            self._refuse(event.name, event.value, reason, "not a control point of the list", event.cause)
            return
        refusal = self._permission(control, event) or self._plausible(control, event)
        if refusal is None:
            opening = control.point.type.is_switch_command and event.value == 0.0
            refusal = self._blocked(control.point, event.value, opening=opening) or self._too_far(control, event)
        if refusal is not None:
            self._refuse(event.name, event.value, *refusal, event.cause)
            return
        control.requested_at_s, control.cause = self._now, event.cause
        if control.point.type.is_switch_command:
            self._write(control, event.value, Kind.REQUEST)
        else:
            control.target = event.value
            self._step_towards(control, event.value, Kind.REQUEST)

    def _permission(self, control: Control, event: Requested) -> Hindrance | None:
        """Whether the point takes orders at all just now."""
        age = self._now - event.valued_at_s
        if self._stopped:
            return Reason.EMERGENCY_STOPPED, "emergency stop is latched"
        if control.phase is Phase.RELEASING:
            return Reason.FALLING_BACK, "the point is going to its fallback"
        if control.phase is Phase.DISARMED:
            return Reason.NOT_ARMED, "dry run: the point is not armed"
        return self._timely(control, age)

    def _timely(self, control: Control, age: float) -> Hindrance | None:
        if not self._link:
            return Reason.LINK_DOWN, "the link is not open for orders"
        if not 0.0 <= age <= self._settings.value_max_age_s:
            return Reason.VALUE_STALE, f"value is {age:.3g} s old, at most {self._settings.value_max_age_s:g} s"
        if self._now - control.requested_at_s < control.point.min_interval_s:
            return Reason.TOO_FREQUENT, f"orders at least {control.point.min_interval_s:g} s apart"
        return None

    def _plausible(self, control: Control, event: Requested) -> Hindrance | None:
        """Whether the value itself is allowed."""
        point = control.point
        if not math.isfinite(event.value):
            return Reason.NOT_A_NUMBER, f"value is {event.value}"
        if point.type.is_switch_command:
            return None if event.value in (0.0, 1.0) else (Reason.OUTSIDE_LIMITS, "a breaker takes 0 or 1")
        if not point.minimum <= event.value <= point.maximum:
            return Reason.OUTSIDE_LIMITS, f"outside {point.minimum:g}…{point.maximum:g}"
        return None

    def _blocked(self, point: Point, value: float, *, opening: bool) -> Hindrance | None:
        return self._equipment.interlock(point, value, self._now, opening=opening)

    def _too_far(self, control: Control, event: Requested) -> Hindrance | None:
        """Whether the jump from where the equipment stands is allowed."""
        if control.point.type.is_switch_command:
            return None
        origin = self._origin(control)
        if origin is None:
            return Reason.EQUIPMENT_STALE, f"{control.point.feedback} is not fresh and good: no origin for the ramp"
        if abs(event.value - origin) > control.point.max_step:
            return Reason.STEP_TOO_LARGE, f"from {origin:g} by more than {control.point.max_step:g}"
        return None

    def _origin(self, control: Control) -> float | None:
        known = control.written is not None and not math.isnan(control.written)
        return control.written if known else self._good(control.point.feedback)

    def _step_towards(self, control: Control, target: float, kind: Kind) -> None:
        """Write the next value on the way to ``target`` if it is due; limits win over the ramp."""
        point = control.point
        origin = self._origin(control)
        elapsed = self._now - control.written_at_s
        if control.busy or origin is None or elapsed < point.min_interval_s or elapsed <= 0.0:
            return
        reach = min(elapsed, self._settings.ramp_credit_s) * point.ramp_per_s
        value = target if abs(target - origin) <= reach else origin + math.copysign(reach, target - origin)
        value = min(max(value, point.minimum), point.maximum)
        if value != control.written:
            self._write(control, value, kind)

    def _tick(self) -> None:
        for control in self._controls.values():
            if control.phase is Phase.RELEASING:
                self._fall_back(control)
            elif control.phase is Phase.ARMED and control.target is not None:
                self._continue_ramp(control, control.target)
        self._signs_of_life()

    def _continue_ramp(self, control: Control, target: float) -> None:
        refusal = self._blocked(control.point, target, opening=False)
        if refusal is not None:
            control.target = None
            self._refuse(control.point.name, target, *refusal, control.cause)
            return
        self._step_towards(control, target, Kind.RAMP)
        if control.written == target:
            control.target = None

    def _signs_of_life(self) -> None:
        """Toggle the relay's watchdog while something is armed and watched."""
        armed = any(control.phase is Phase.ARMED for control in self._controls.values())
        if not armed or not self._link or self._now - self._watchdog_at < self._settings.watchdog_period_s:
            return
        self._watchdog_at, self._watchdog_value = self._now, 1.0 - self._watchdog_value
        self._writes.extend(
            Write(at_s=self._now, name=point.name, value=self._watchdog_value, kind=Kind.WATCHDOG, cause="watchdog")
            for point in self._points.watchdogs
        )
