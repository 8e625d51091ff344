"""Progress of a run, told to whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come.

    Attributes:
        phase: What is being done, for example ``baseline`` or ``flexibility``.
        simulated: Simulated time reached, aware UTC.
        start: Simulated start.
        stop: Simulated end.
    """

    phase: str
    simulated: datetime
    start: datetime
    stop: datetime

    @property
    def share(self) -> float:
        """Part done. [1]"""
        whole = (self.stop - self.start).total_seconds()
        return min(1.0, max(0.0, (self.simulated - self.start).total_seconds() / whole)) if whole > 0 else 1.0

    @property
    def simulated_s(self) -> float:
        """Simulated time since the start. [s]"""
        return (self.simulated - self.start).total_seconds()
