"""Between actors and a point list: control signals become requests, readings become samples and measurements.

Pure: no clock, no wire.  A mosaik simulator and a live actor use the same object, so both treat equipment alike:

* The latest control signal that applies decides what a set point wants.  When none applies any more, a point the study
  has moved goes where its fallback says (ramp to zero: zero; hold: it stays).
* A request is made when the wanted value changes.  One that was refused for a reason that can pass is made again once
  it may have passed, as long as it is still wanted; a switching command never is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.points import Fallback, Point, PointList
from heila_mosaik.bridges.safety_types import Phase, Reason, Refusal
from heila_mosaik.domain.information import ControlSignal, Measurements
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.samplehold import Attribute, Sample, Slots

Request = Callable[[str, float, str], None]
"""Takes control point, value in study units, and cause."""

_LASTING = (Reason.STEP_TOO_LARGE, Reason.OUTSIDE_LIMITS, Reason.NOT_A_NUMBER, Reason.EMERGENCY_STOPPED)
_AGAIN_S = 0.2
_SAME = 1e-7
"""Values closer than this are one number in the single precision of the wire: no order, and no read-back of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the study wants of a control point.

    Attributes:
        value: Value, study unit.
        cause: Activation or plan behind it.
        refused: Why the last request was refused; ``None`` while it was not.
        asked_at_s: When it was requested last, monotonic. [s]
    """

    value: float
    cause: str
    asked_at_s: float
    refused: Reason | None = None


def _wants(signal: ControlSignal) -> dict[Quantity, float]:
    found: dict[Quantity, float] = {}
    if signal.p_mw is not None:
        found[Quantity.ACTIVE_POWER] = signal.p_mw
    if signal.q_mvar is not None:
        found[Quantity.REACTIVE_POWER] = signal.q_mvar
    return found


class Field:
    """Equipment of a point list as the study sees it.

    Args:
        points: Point list.
        request: Way to the equipment; safety is behind it.
    """

    def __init__(self, points: PointList, request: Request) -> None:
        self._points = points
        self._request = request
        mapped = [point for point in points.monitored if point.quantity is not None]
        self.slots = Slots({(p.element, p.quantity): p.stale_after_s for p in mapped if p.quantity is not None})
        self._held: dict[str, list[ControlSignal]] = {}
        self._wanted: dict[str, Wanted] = {}
        self._targets = {point.element for point in points.controlled if point.quantity is not None}

    @property
    def wanted(self) -> Mapping[str, Wanted]:
        """What the study wants of each control point it has moved."""
        return dict(self._wanted)

    @property
    def targets(self) -> frozenset[str]:
        """Resources and breakers with a control point."""
        return frozenset(self._targets)

    def take(self, reading: Reading) -> None:
        """A value of the equipment has come."""
        point = self._points.by_name.get(reading.name)
        if point is not None and point.quantity is not None:
            self.slots.put((point.element, point.quantity), reading.value, reading.quality, reading.at_s)

    def sample(self, now_s: float) -> dict[Attribute, Sample]:
        """What all slots hold."""
        return self.slots.sample(now_s)

    def measurements(self, source: str, identity: str, now: datetime, now_s: float) -> Measurements:
        """All slots as one information object, for a live CEMS or IED.

        Args:
            source: Actor that measures.
            identity: Identity of the object.
            now: Time of the study.
            now_s: Monotonic time. [s]
        """
        samples = self.sample(now_s)
        return Measurements(
            id=identity,
            source=source,
            at=now,
            elements=tuple(element for element, _ in samples),
            quantities=tuple(quantity for _, quantity in samples),
            values=tuple(one.value for one in samples.values()),
            sigmas=(0.0,) * len(samples),
            qualities=tuple(one.quality for one in samples.values()),
            ages_s=tuple(one.age_s if math.isfinite(one.age_s) else 0.0 for one in samples.values()),
        )

    def order(self, signals: Iterable[ControlSignal], now: datetime, now_s: float) -> None:
        """Control signals for targets of the list; others belong to somebody else."""
        for signal in signals:
            if signal.target not in self._targets:
                continue
            if signal.closed is not None:
                self._switch(signal, now, now_s)
            if _wants(signal):
                held = self._held.setdefault(signal.target, [])
                held[:] = [old for old in held if old.stop > signal.stop or old.start < signal.start]
                held.append(signal)
        self.advance(now, now_s)

    def advance(self, now: datetime, now_s: float) -> None:
        """Time of the study has passed: signals begin and end."""
        for target, held in self._held.items():
            held[:] = [signal for signal in held if signal.stop > now]
            applies = next((signal for signal in reversed(held) if signal.start <= now), None)
            wants = {} if applies is None else _wants(applies)
            for quantity in (Quantity.ACTIVE_POWER, Quantity.REACTIVE_POWER):
                point = self._points.control_of.get((target, quantity))
                if point is None:
                    continue
                if applies is not None and quantity in wants:
                    self._want(point, wants[quantity], applies.cause or applies.id, now_s)
                elif point.name in self._wanted and point.fallback is Fallback.RAMP_TO_ZERO:
                    self._want(point, 0.0, f"end of {self._wanted[point.name].cause.removeprefix('end of ')}", now_s)

    def refused(self, refusal: Refusal) -> None:
        """The safety gate has refused a request."""
        wanted = self._wanted.get(refusal.name)
        if wanted is not None and refusal.value == wanted.value:
            self._wanted[refusal.name] = replace(wanted, refused=refusal.reason)

    def again(self, now_s: float, phases: Mapping[str, Phase]) -> None:
        """Repeat requests whose refusal may be over.

        Args:
            now_s: Monotonic time. [s]
            phases: Phase of each control point.
        """
        for name, wanted in list(self._wanted.items()):
            point = self._points[name]
            if wanted.refused is None or wanted.refused in _LASTING or point.type.is_switch_command:
                continue
            if now_s - wanted.asked_at_s < _AGAIN_S or phases.get(name) is not Phase.ARMED:
                continue
            if wanted.refused is Reason.BREAKER_OPEN and not self._closed(point):
                continue
            self._ask(point, wanted.value, wanted.cause, now_s)

    def forget(self, name: str) -> None:
        """A point is armed no more: what is wanted of it counts as refused until it is armed again."""
        wanted = self._wanted.get(name)
        if wanted is not None and wanted.refused is None:
            self._wanted[name] = replace(wanted, refused=Reason.NOT_ARMED)

    def _closed(self, point: Point) -> bool:
        breaker = self._points.by_name.get(point.breaker)
        if breaker is None or breaker.quantity is None:
            return True
        held = self.slots.sample(-math.inf)[breaker.element, breaker.quantity]
        return held.quality is Quality.GOOD and held.value == 1.0

    def _switch(self, signal: ControlSignal, now: datetime, now_s: float) -> None:
        point = self._points.control_of.get((signal.target, Quantity.BREAKER))
        if point is not None and signal.stop > now:
            self._ask(point, float(bool(signal.closed)), signal.cause or signal.id, now_s)

    def _want(self, point: Point, value: float, cause: str, now_s: float) -> None:
        wanted = self._wanted.get(point.name)
        if wanted is None or not math.isclose(wanted.value, value, rel_tol=_SAME, abs_tol=_SAME):
            self._ask(point, value, cause, now_s)

    def _ask(self, point: Point, value: float, cause: str, now_s: float) -> None:
        self._wanted[point.name] = Wanted(value=value, cause=cause, asked_at_s=now_s)
        self._request(point.name, value, cause)
