"""Figures of the measurement of hardware in the loop."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.errors import HeilaError


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
        reported_lost: Values the bridge says it has lost.
    """

    sent_per_s: float
    sent: int
    arrived: int
    dropped: int
    reported_lost: int
