"""What a figure depends on: Sobol indices, one-at-a-time swings, Pareto fronts, hosting capacity.

Pure functions over the table of a study's runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.errors import HeilaError


class NotASampleError(HeilaError):
    """The runs of a study do not allow this analysis."""

    exit_code = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Share of a figure's variance.

    Attributes:
        key: Scenario key.
        first: First-order index: by this key alone. [1]
        first_conf: Half width of its 95 % confidence interval. [1]
        total: Total index: with all its interactions. [1]
        total_conf: Half width of its 95 % confidence interval. [1]
    """

    key: str
    first: float
    first_conf: float
    total: float
    total_conf: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """Mean of a figure at the two ends of a key.

    Attributes:
        key: Scenario key.
        low: Value of the key at its lower end.
        high: Value of the key at its upper end.
        at_low: Mean of the figure there.
        at_high: Mean of the figure there.
    """

    key: str
    low: Any
    high: Any
    at_low: float
    at_high: float

    @property
    def size(self) -> float:
        """Distance between both means."""
        return abs(self.at_high - self.at_low)


def sobol_indices(frame: pd.DataFrame, keys: Sequence[str], figure: str, *, second_order: bool) -> list[Index]:
    """Sobol indices by SALib from the runs of a ``sobol`` block, in the order of its sample.

    Runs of several seeds at one point are averaged first.  Needs every run of the sample.

    Args:
        frame: Runs in the order of the plan.
        keys: Keys of the block.
        figure: Figure.
        second_order: Whether the sample was drawn for second-order indices too.

    Raises:
        NotASampleError: If runs are missing or the figure does not vary.
    """
    from SALib.analyze import sobol  # noqa: PLC0415 - extra 'study'

    values = frame.groupby("sample", sort=True)[figure].mean().to_numpy(np.float64)
    block = 2 * len(keys) + 2 if second_order else len(keys) + 2
    if len(values) % block or not len(values):
        raise NotASampleError(
            f"Sobol indices of {figure!r} need the whole sample: {len(values)} points are no multiple of {block}; "
            "let the sweep finish"
        )
    if np.isnan(values).any() or np.ptp(values) == 0.0:
        raise NotASampleError(f"{figure!r} is the same in every run, or missing: there is no variance to share out")
    problem = {"num_vars": len(keys), "names": list(keys), "bounds": [[0.0, 1.0]] * len(keys)}
    found = sobol.analyze(problem, values, calc_second_order=second_order, print_to_console=False, seed=0)
    rows = zip(keys, found["S1"], found["S1_conf"], found["ST"], found["ST_conf"], strict=True)
    return [
        Index(key=key, first=float(s1), first_conf=float(c1), total=float(st), total_conf=float(ct))
        for key, s1, c1, st, ct in rows
    ]


def swings(frame: pd.DataFrame, keys: Sequence[str], figure: str) -> list[Swing]:
    """Mean of a figure over the runs at the ends of each key, largest difference first.

    Of a key with more than two values the lowest and the highest fifth of its runs are compared.
    """
    found = []
    for key in keys:
        values = frame[key]
        if not pd.api.types.is_numeric_dtype(values) or pd.api.types.is_bool_dtype(values):
            ends = sorted(values.dropna().unique(), key=str)
            if len(ends) < 2:
                continue
            low, high = values == ends[0], values == ends[-1]
            names = (ends[0], ends[-1])
        else:
            lower, upper = values.quantile(0.2), values.quantile(0.8)
            low, high = values <= lower, values >= upper
            names = (float(values[low].mean()), float(values[high].mean()))
            if names[0] == names[1]:
                continue
        means = (float(frame.loc[low, figure].mean()), float(frame.loc[high, figure].mean()))
        found.append(Swing(key=key, low=names[0], high=names[1], at_low=means[0], at_high=means[1]))
    return sorted(found, key=lambda swing: (-swing.size, swing.key))


def pareto(x: FloatArray, y: FloatArray) -> list[int]:
    """Rows that no other row beats in both figures, smaller being better, by rising ``x``; equal points all count.

    Args:
        x: First figure. (n,)
        y: Second figure. (n,)
    """
    order = sorted(range(len(x)), key=lambda row: (x[row], y[row], row))
    front: list[int] = []
    best = np.inf
    for row in order:
        if np.isnan(x[row]) or np.isnan(y[row]):
            continue
        same = bool(front) and x[row] == x[front[-1]] and y[row] == y[front[-1]]
        if y[row] < best or same:
            front.append(row)
            best = min(best, float(y[row]))
    return front


def hosting_capacity(x: FloatArray, figure: FloatArray, limit: float) -> float | None:
    """Largest ``x`` up to which the figure stays within its limit, linear between points; ``None`` if never.

    A figure that is back within the limit after it left it does not count.

    Args:
        x: Stress, for example growth of generation; rising. (n,)
        figure: Figure at each. (n,)
        limit: Largest acceptable value.
    """
    if not len(x) or not figure[0] <= limit:
        return None
    for k in range(1, len(x)):
        if not figure[k] <= limit:
            if limit <= figure[k - 1]:
                return float(x[k - 1])
            share = (limit - figure[k - 1]) / (figure[k] - figure[k - 1])
            return float(x[k - 1] + share * (x[k] - x[k - 1]))
    return float(x[-1])
