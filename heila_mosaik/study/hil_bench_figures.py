"""Figures of the measurement of hardware in the loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.errors import HeilaError

RATE_TARGET_PER_S = 2000.0
"""Values a second that have to pass without loss; above, loss has to be noticed. [1/s]"""


class BenchError(HeilaError):
    """The measurement did not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """One line of the table.

    Attributes:
        name: What was measured.
        ms: Times. [ms]
        published_ms: Mean of ten in the paper's table 3, or a sum of them. [ms]
        target: Percentile and largest time aimed at on loopback, as (percentile, ms).
    """

    name: str
    ms: tuple[float, ...]
    published_ms: float | None = None
    target: tuple[tuple[int, float], ...] = ()

    def quantile(self, percent: float) -> float:
        """Percentile. [ms]"""
        return float(np.percentile(self.ms, percent))

    @property
    def met(self) -> bool | None:
        """Whether every target is met; ``None`` without any."""
        return all(self.quantile(percent) <= limit for percent, limit in self.target) if self.target else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Sustained rate of values.

    Attributes:
        sent_per_s: Values a second the laboratory was told to send. [1/s]
        sent: Values sent.
        arrived: Values that reached the study.
        dropped: Values the station says it has dropped.
        reported_lost: Values the bridge says it has lost, before or behind it.
    """

    sent_per_s: float
    sent: int
    arrived: int
    dropped: int
    reported_lost: int

    @property
    def met(self) -> bool:
        """Nothing is missing up to the rate aimed at; above, everything missing is accounted for."""
        missing = self.sent - self.arrived
        unsaid = missing - self.dropped - self.reported_lost
        return unsaid == 0 and (missing == 0 or self.sent_per_s > RATE_TARGET_PER_S)
