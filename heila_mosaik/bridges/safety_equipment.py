"""What the safety machine knows of the equipment, and the interlocks that rest on it."""

from __future__ import annotations

import math

from heila_mosaik.bridges.points import Point, PointList
from heila_mosaik.bridges.safety_types import Observed, Reason
from heila_mosaik.domain.quantities import Quality

Hindrance = tuple[Reason, str]
"""Why an order may not pass."""


class Equipment:
    """Last values of the monitor points.

    Args:
        points: Point list.
    """

    def __init__(self, points: PointList) -> None:
        self._points = points
        self._observed: dict[str, Observed] = {}

    def observe(self, event: Observed) -> None:
        """A value arrived."""
        self._observed[event.name] = event

    def good(self, name: str, now_s: float) -> float | None:
        """Value of a monitor point if it is fresh and of good quality."""
        seen = self._observed.get(name)
        if seen is None or seen.quality is not Quality.GOOD or not math.isfinite(seen.value):
            return None
        return seen.value if now_s - seen.at_s <= self._points[name].stale_after_s else None

    def interlock(self, point: Point, value: float, now_s: float, *, opening: bool) -> Hindrance | None:
        """Why the equipment's state forbids an order; ``opening`` needs no fresh measurement."""
        local = self.good(point.local, now_s) if point.local else 0.0
        if local == 1.0:
            return Reason.LOCAL_MODE, "equipment is in local mode"
        if local is None and not opening:
            return Reason.EQUIPMENT_STALE, f"{point.local} is not fresh and good"
        if point.type.is_setpoint and point.breaker:
            return self._breaker_open(point, now_s)
        if point.type.is_switch_command and value == 1.0:
            return self._closing_forbidden(point, now_s)
        return None

    def _breaker_open(self, point: Point, now_s: float) -> Hindrance | None:
        closed = self.good(point.breaker, now_s)
        if closed is None:
            return Reason.EQUIPMENT_STALE, f"{point.breaker} is not fresh and good"
        return None if closed == 1.0 else (Reason.BREAKER_OPEN, f"{point.breaker} is open")

    def _closing_forbidden(self, point: Point, now_s: float) -> Hindrance | None:
        if self.good(point.feedback, now_s) is None:
            return Reason.EQUIPMENT_STALE, f"{point.feedback} is not fresh and good"
        if self.good(point.permission, now_s) != 1.0:
            return Reason.NO_PERMISSION, f"{point.permission or 'synchronism check'} does not permit closing"
        return None
