"""Powers that follow relative time series: every appliance is a rating times a profile."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.domain.timegrid import TimeGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileTable:
    """Relative series on a regular grid, linear between their points.

    Attributes:
        grid: Times of the rows.
        names: Profile of each column. (m,)
        values: Relative values. [1] (n, m)

    Raises:
        ValueError: If the shape of ``values`` does not fit.
    """

    grid: TimeGrid
    names: tuple[str, ...]
    values: FloatArray

    def __post_init__(self) -> None:
        if self.values.shape != (self.grid.count, len(self.names)):
            raise ValueError(f"profiles: values {self.values.shape}, expected {(self.grid.count, len(self.names))}")

    def at(self, moment: datetime) -> FloatArray:
        """Values at ``moment``; the last row is held to its end. [1] (m,)

        Raises:
            ValueError: If ``moment`` lies outside the table.
        """
        place = (moment - self.grid.start).total_seconds() / self.grid.step_s
        row = int(place // 1)
        if not 0 <= row < self.grid.count:
            raise ValueError(f"profiles cover {self.grid.start} to {self.grid.stop}, not {moment}")
        share = place - row
        if share == 0 or row + 1 == self.grid.count:
            return self.values[row].astype(float)
        return self.values[row] * (1 - share) + self.values[row + 1] * share

    def window(self, start: datetime, step_s: int, count: int) -> FloatArray:
        """Mean of each of ``count`` intervals from ``start``, sampled at the table's points; ends are held.

        Returns:
            Means. [1] (count, m)
        """
        samples = max(1, step_s // self.grid.step_s)
        offset = (start - self.grid.start).total_seconds()
        seconds = offset + np.arange(count * samples) * (step_s / samples)
        rows = np.clip((seconds // self.grid.step_s).astype(int), 0, self.grid.count - 1)
        return self.values[rows].astype(float).reshape(count, samples, -1).mean(axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """One quantity of one appliance table that follows profiles.

    Attributes:
        rating: Power at profile value 1, growth included. [MW] or [MVar] (n,)
        column: Column of the profile table; -1 where the rating holds all the time. (n,)
    """

    rating: FloatArray
    column: IntArray

    def power(self, profile: FloatArray) -> FloatArray:
        """Power for one row of the table ``(m,)`` or many ``(k, m)``. [MW] (n,) or (k, n)"""
        if profile.shape[-1] == 0:
            return np.broadcast_to(self.rating, (*profile.shape[:-1], len(self.rating))).copy()
        relative = np.where(self.column >= 0, profile[..., self.column], 1.0)
        return np.asarray(self.rating * relative)
