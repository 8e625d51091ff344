"""Load that runs a fixed programme a few times a day and may choose when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from heila_mosaik.domain.resources.base import Exogenous, Limits, Resource, Setpoint, demand, positive


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftableLoadSpec:
    """Programme that is not interrupted once started.

    Attributes:
        p_mw: Power while running. [MW]
        duration_min: Length of a run. [min]
        starts_per_day: Runs a day.
        window: First start and last end within the day, UTC. [h]
        wear_eur_per_mwh: Cost of moving a run. [EUR/MWh]
    """

    p_mw: float
    duration_min: float
    starts_per_day: int = 1
    window: tuple[float, float] = (0.0, 24.0)
    wear_eur_per_mwh: float = 10.0

    def __post_init__(self) -> None:
        first, last = self.window
        need_h = self.starts_per_day * self.duration_min / 60.0
        demand(
            "shiftable_load",
            [
                positive(self.p_mw, "p_mw"),
                positive(self.duration_min, "duration_min"),
                (self.starts_per_day >= 0, "starts_per_day", "must not be negative", "give 0 or more runs"),
                (
                    0.0 <= first < last <= 24.0,
                    "window",
                    f"({first}, {last}) h is not a window within a day",
                    "give two hours of the day, earlier first, for example (8, 20)",
                ),
                (
                    need_h <= last - first,
                    "window",
                    f"{self.starts_per_day} runs of {self.duration_min} min need {need_h} h of {last - first} h",
                    "widen the window, or shorten or drop runs",
                ),
            ],
        )

    def default_starts_h(self) -> tuple[float, ...]:
        """Starts of a day when nobody shifts: evenly over the window. [h]"""
        first, last = self.window
        if self.starts_per_day == 0:
            return ()
        slot = (last - first) / self.starts_per_day
        return tuple(first + slot * k for k in range(self.starts_per_day))


class ShiftableLoad(Resource):
    """Starts a run at its own time, earlier on ``p >= p_mw / 2``, later on a smaller set point while time allows."""

    __slots__ = ("_day", "_done", "_ends_s", "_starts_s", "spec")

    def __init__(self, name: str, spec: ShiftableLoadSpec) -> None:
        super().__init__(name)
        self.spec = spec
        self._starts_s = tuple(hour * 3600.0 for hour in spec.default_starts_h())
        self._day: datetime | None = None
        self._done = 0
        self._ends_s = -1.0

    def _clock(self, now: datetime) -> float:
        """Seconds of the day; a new day brings new runs."""
        now = now.astimezone(UTC)
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        second = (now - day).total_seconds()
        if day != self._day:
            first = self._day is None
            self._day, self._done, self._ends_s = day, 0, -1.0
            if first:
                # A study that starts at noon does not catch up on the morning's runs.
                self._done = sum(1 for start in self._starts_s if start < second)
        return second

    def _last_start_s(self, done: int) -> float:
        """Latest start of run ``done`` that leaves time for it and all after it. [s]"""
        left = self.spec.starts_per_day - done
        return self.spec.window[1] * 3600.0 - left * self.spec.duration_min * 60.0

    def _choice(self, second: float, hours: float) -> tuple[bool, bool]:
        """(must run, may run) in a step that starts at ``second`` of the day."""
        if second < self._ends_s:
            return True, True
        if self._done >= self.spec.starts_per_day or second < self.spec.window[0] * 3600.0:
            return False, False
        # The next chance is one step later: start now if that would be too late.
        return second + hours * 3600.0 > self._last_start_s(self._done), True

    def step(self, now: datetime, dt_s: float, setpoint: Setpoint, exogenous: Exogenous) -> tuple[float, float]:
        """Advance; a run shorter than the step draws its mean power."""
        del exogenous
        second = self._clock(now)
        self._dt_h = hours = dt_s / 3600.0
        running = second < self._ends_s
        must, may = self._choice(second, hours)
        wanted = setpoint[0]
        if not running and may:
            due = second >= self._starts_s[self._done]
            if must or (due if wanted is None else wanted >= 0.5 * self.spec.p_mw):
                self._done += 1
                self._ends_s = second + self.spec.duration_min * 60.0
                running = True
        share = min(1.0, (self._ends_s - second) / dt_s) if running else 0.0
        self.p_mw = self.spec.p_mw * share
        self.book.electric_mwh += self.p_mw * hours
        self.book.useful_mwh += self.p_mw * hours
        return self.p_mw, 0.0

    def off(self, now: datetime, dt_s: float, exogenous: Exogenous) -> float:
        """Advance without voltage: a run stands still and ends later; one that waits goes on waiting."""
        del exogenous
        second = self._clock(now)
        self._dt_h, self.p_mw = dt_s / 3600.0, 0.0
        if second < self._ends_s:
            self._ends_s += dt_s
        return 0.0

    def limits(self, now: datetime) -> Limits:
        """Nothing, the run, or the choice between them."""
        must, may = self._choice(self._clock(now), self._dt_h)
        return self.spec.p_mw * must, self.spec.p_mw * may, 0.0, 0.0

    def state(self) -> Mapping[str, float]:
        """Runs started today."""
        return {"runs": float(self._done)}
