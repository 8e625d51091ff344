"""Time of a live actor: the wall clock, or a simulated time that runs beside it at a rate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from heila_mosaik.domain.timegrid import require_aware


class Clock(Protocol):
    """What an actor calls now."""

    def now(self) -> datetime:
        """Simulated time, aware UTC."""
        ...

    def wait_s(self, moment: datetime) -> float:
        """Wall time until a simulated moment, 0 when it has passed. [s]"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PacedClock:
    """Simulated time at a rate beside the wall clock; every process with the same three figures has the same time.

    Attributes:
        simulated: Simulated time at ``wall``, aware UTC.
        wall: Wall-clock time at which ``simulated`` was or will be, aware UTC.
        rate: Simulated seconds in a second; 1 is real time. [1]
    """

    simulated: datetime
    wall: datetime
    rate: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "simulated", require_aware(self.simulated, "clock.simulated"))
        object.__setattr__(self, "wall", require_aware(self.wall, "clock.wall"))
        if not self.rate > 0:
            raise ValueError(f"clock.rate must be positive, got {self.rate}")

    @classmethod
    def real(cls) -> PacedClock:
        """The wall clock itself."""
        now = datetime.now(UTC)
        return cls(simulated=now, wall=now)

    def now(self) -> datetime:
        """Simulated time."""
        return self.simulated + (datetime.now(UTC) - self.wall) * self.rate

    def wait_s(self, moment: datetime) -> float:
        """Wall time until a simulated moment. [s]"""
        return max(0.0, (moment - self.now()).total_seconds() / self.rate)

    def wall_at(self, moment: datetime) -> datetime:
        """Wall-clock time of a simulated moment."""
        return self.wall + (moment - self.simulated) / self.rate


@dataclass(slots=True)
class ManualClock:
    """Time set by hand or by a lock-step coordinator.

    Attributes:
        at: Present time.
    """

    at: datetime

    def now(self) -> datetime:
        """Time that was set last."""
        return self.at

    def wait_s(self, moment: datetime) -> float:
        """0 for what has passed, else for ever: only setting the time makes it pass. [s]"""
        return 0.0 if moment <= self.at else timedelta.max.total_seconds()
