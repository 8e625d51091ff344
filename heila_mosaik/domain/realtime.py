"""Absolute schedule of a simulation that keeps pace with the wall, and what became of each step.

Pure: a monotonic clock's seconds come in as arguments.  Step *k* is due at ``start + k · period``; a late step moves
no later deadline, so nothing creeps.  What happens when the simulation is slower than that is declared, never silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from heila_mosaik.errors import HeilaError


class Overrun(StrEnum):
    """What a simulation does that has fallen behind its schedule by more than one period.

    ``stop``: end with :class:`TooSlowError`.  ``catch_up``: go on without waiting until the schedule is met again.
    ``slip``: move the schedule, so that simulated time lags the wall for the rest of the run.  All are counted.
    """

    STOP = "stop"
    CATCH_UP = "catch_up"
    SLIP = "slip"


class TooSlowError(HeilaError):
    """The simulation is slower than the step."""

    def __init__(self, step: int, lag_s: float, busy_s: float, period_s: float) -> None:
        self.step, self.lag_s, self.busy_s, self.period_s = step, lag_s, busy_s, period_s
        super().__init__(step, lag_s, busy_s, period_s)

    def __str__(self) -> str:
        return (
            f"step {self.step} begins {self.lag_s:.3f} s late, more than its period of {self.period_s:g} s; the step "
            f"before took {self.busy_s:.3f} s. Use a lower --speed, a larger step_s or a smaller study, or declare "
            "--overrun catch_up (make up for it, counted) or --overrun slip (let simulated time lag, counted)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming:
    """What became of one step.

    Attributes:
        step: Number, from 0.
        lag_s: How long after its deadline the step began. [s]
        busy_s: How long it took. [s]
        missed: Whether it ended after the deadline of the next step.
        slipped_s: By how much the schedule was moved before the step. [s]
    """

    step: int
    lag_s: float
    busy_s: float
    missed: bool
    slipped_s: float


class Schedule:
    """Deadlines of equidistant steps.

    Args:
        period_s: Time between two steps on the wall. [s]
        start_s: When step 0 is due, monotonic; ``None``: when it asks for the first time. [s]
        overrun: Policy when a step begins more than one period late.

    Attributes:
        period_s: Time between two steps. [s]
        overrun: Policy.
        start_s: When step 0 is or was due. [s]
        slipped_s: By how much the schedule has been moved so far. [s]
    """

    __slots__ = ("_begun_s", "_busy_s", "_lag_s", "_moved_s", "_step", "overrun", "period_s", "slipped_s", "start_s")

    def __init__(self, period_s: float, start_s: float | None = None, overrun: Overrun = Overrun.STOP) -> None:
        if not period_s > 0.0:
            raise ValueError(f"period_s must be greater than 0, got {period_s}")
        self.period_s, self.overrun = period_s, overrun
        self.slipped_s = 0.0
        self.start_s = start_s
        self._step, self._begun_s, self._lag_s, self._busy_s, self._moved_s = -1, 0.0, 0.0, 0.0, 0.0

    def open(self, now_s: float) -> None:
        """The first step asks when it is due: now, if nothing else was said."""
        if self.start_s is None:
            self.start_s = now_s

    def due_s(self, step: int) -> float:
        """Deadline at which a step begins, monotonic. [s]"""
        assert self.start_s is not None, "open the schedule first"
        # Multiplied, not added up: a sum of a million periods would have drifted.
        return self.start_s + self.slipped_s + step * self.period_s

    def begin(self, step: int, now_s: float) -> float:
        """A step begins; returns its lag. [s]

        Raises:
            TooSlowError: If it is more than one period late and the policy is to stop.
        """
        lag_s = max(0.0, now_s - self.due_s(step))
        self._moved_s = 0.0
        if lag_s > self.period_s:
            if self.overrun is Overrun.STOP:
                raise TooSlowError(step, lag_s, self._busy_s, self.period_s)
            if self.overrun is Overrun.SLIP:
                self._moved_s = lag_s
                self.slipped_s += lag_s
        self._step, self._begun_s, self._lag_s = step, now_s, lag_s
        return lag_s

    def end(self, now_s: float) -> StepTiming:
        """The step that began last is complete."""
        self._busy_s = max(0.0, now_s - self._begun_s)
        return StepTiming(
            step=self._step,
            lag_s=self._lag_s,
            busy_s=self._busy_s,
            missed=now_s > self.due_s(self._step + 1),
            slipped_s=self._moved_s,
        )


def worst_lag_s(busy_s: Iterable[float], period_s: float) -> float:
    """Largest lag of steps that took so long, on a schedule that catches up. [s]"""
    lag_s = worst_s = 0.0
    for busy in busy_s:
        lag_s = max(0.0, lag_s + busy - period_s)
        worst_s = max(worst_s, lag_s)
    return worst_s


def least_period_s(busy_s: Sequence[float]) -> float:
    """Shortest period at which steps that took so long never begin more than one period late. [s]"""
    low, high = 0.0, max(busy_s, default=0.0)
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if worst_lag_s(busy_s, middle) <= middle else (middle, high)
    return high
