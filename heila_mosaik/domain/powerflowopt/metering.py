"""Peaks as they are billed: the highest mean over a metering period, anew each day."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from heila_mosaik.domain.powerflowopt.levelling import Billing
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

_DAY_S = 86400


class Meter:
    """Mean exchange over metering periods, and the peaks of each billing day (UTC) so far.

    Args:
        period_s: Metering period. [s]
    """

    def __init__(self, period_s: int) -> None:
        self._period_s = period_s
        self._start: datetime | None = None
        self._total, self._count = 0.0, 0
        self._reached: dict[datetime, tuple[float, float]] = {}

    def read(self, now: datetime, exchange_mw: float) -> None:
        """Take a reading."""
        start = floor_to(now, self._period_s)
        if start != self._start:
            if self._start is not None and self._count:
                mean, day = self._total / self._count, floor_to(self._start, _DAY_S)
                imported, exported = self._reached.get(day, (0.0, 0.0))
                # earlier days are never asked for again
                self._reached = {day: (max(imported, mean), max(exported, -mean))}
            self._start, self._total, self._count = start, 0.0, 0
        self._total += exchange_mw
        self._count += 1

    def billing(self, grid: TimeGrid) -> Billing:
        """Billing periods of the intervals of a grid with the peaks reached."""
        days = [floor_to(grid.at(row), _DAY_S) for row in range(grid.count)]
        kinds = list(dict.fromkeys(days))
        reached = [self._reached.get(day, (0.0, 0.0)) for day in kinds]
        return Billing(
            period=np.array([kinds.index(day) for day in days], np.int64),
            reached_import_mw=np.array([each[0] for each in reached]),
            reached_export_mw=np.array([each[1] for each in reached]),
        )
