"""Regular time grids in aware UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


def require_aware(moment: datetime, field: str) -> datetime:
    """Return ``moment`` in UTC.

    Raises:
        ValueError: If ``moment`` carries no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"{field}: {moment.isoformat()} has no time zone; add one, for example +00:00")
    return moment.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeGrid:
    """Intervals of equal length; interval ``k`` is ``[start + k·step, start + (k+1)·step)``.

    Attributes:
        start: Start of the first interval, aware UTC.
        step_s: Length of an interval. [s]
        count: Number of intervals.
    """

    start: datetime
    step_s: int
    count: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", require_aware(self.start, "start"))
        if self.step_s <= 0:
            raise ValueError(f"step_s must be positive, got {self.step_s}")
        if self.count < 0:
            raise ValueError(f"count must not be negative, got {self.count}")

    @property
    def stop(self) -> datetime:
        """End of the last interval."""
        return self.at(self.count)

    @property
    def hours(self) -> float:
        """Length of one interval. [h]"""
        return self.step_s / 3600.0

    def at(self, position: int) -> datetime:
        """Start of interval ``position``."""
        return self.start + timedelta(seconds=self.step_s * position)

    def position(self, moment: datetime) -> int:
        """Interval that contains ``moment``; may lie outside ``range(count)``."""
        return int((moment - self.start).total_seconds() // self.step_s)

    def __contains__(self, moment: datetime) -> bool:
        return 0 <= self.position(moment) < self.count


def floor_to(moment: datetime, step_s: int) -> datetime:
    """Latest multiple of ``step_s`` since midnight UTC that is not after ``moment``."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(seconds=((moment - midnight).total_seconds() // step_s) * step_s)
