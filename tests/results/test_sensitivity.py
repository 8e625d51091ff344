"""Sensitivity, Pareto front and hosting capacity against functions whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.results.sensitivity import NotASampleError, hosting_capacity, pareto, sobol_indices, swings
from heila_mosaik.study.sweep.sampling import points_of
from heila_mosaik.study.sweep.schema import Block


def ishigami_frame(samples: int, *, second_order: bool = False) -> pd.DataFrame:
    keys = {name: {"low": -np.pi, "high": np.pi} for name in ("a", "b", "c")}
    block = Block.model_validate({"method": "sobol", "samples": samples, "keys": keys, "second_order": second_order})
    frame = pd.DataFrame(points_of(block))
    frame["y"] = np.sin(frame.a) + 7.0 * np.sin(frame.b) ** 2 + 0.1 * frame.c**4 * np.sin(frame.a)
    frame["sample"] = np.arange(len(frame))
    return frame


@pytest.mark.parametrize("second", [False, True])
def test_sobol_indices_of_the_ishigami_function(second):
    """Analytic indices for a = 7, b = 0.1: first order 0.3139, 0.4424, 0; total 0.5576, 0.4424, 0.2437."""
    found = sobol_indices(ishigami_frame(1024, second_order=second), ["a", "b", "c"], "y", second_order=second)
    assert [index.first for index in found] == pytest.approx([0.3139, 0.4424, 0.0], abs=0.03)
    assert [index.total for index in found] == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.03)


def test_seeds_at_one_point_are_averaged_and_missing_runs_are_told():
    frame = ishigami_frame(64)
    twice = pd.concat([frame.assign(y=frame.y + 0.5), frame.assign(y=frame.y - 0.5)])
    one = sobol_indices(frame, ["a", "b", "c"], "y", second_order=False)
    both = sobol_indices(twice, ["a", "b", "c"], "y", second_order=False)
    assert [index.total for index in both] == pytest.approx([index.total for index in one])
    with pytest.raises(NotASampleError, match="let the sweep finish"):
        sobol_indices(frame.iloc[:-1], ["a", "b", "c"], "y", second_order=False)
    with pytest.raises(NotASampleError, match="no variance"):
        sobol_indices(frame.assign(y=1.0), ["a", "b", "c"], "y", second_order=False)


def test_swings_rank_keys_by_what_they_move():
    x, z = np.meshgrid([0.0, 1.0, 2.0], [0.0, 1.0])
    frame = pd.DataFrame({"x": x.ravel(), "z": z.ravel(), "kind": ["b", "a"] * 3, "same": 1.0})
    frame["y"] = 10.0 * frame.x + frame.z
    found = swings(frame, ["z", "same", "x", "kind"], "y")
    assert found[0].key == "x"
    assert "same" not in [s.key for s in found]
    assert (found[0].low, found[0].high, found[0].size) == (0.0, 2.0, pytest.approx(20.0))


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=30))
def test_pareto_front_is_what_nothing_beats(points):
    x, y = (np.array([p[k] for p in points], float) for k in (0, 1))
    beaten = [any((o[0] <= p[0] and o[1] <= p[1]) and o != p for o in points) for p in points]
    assert sorted(pareto(x, y)) == [row for row, lost in enumerate(beaten) if not lost]


@pytest.mark.parametrize(
    ("figure", "limit", "capacity"),
    [
        ([0.0, 0.0, 10.0], 0.0, 2.0),
        ([0.0, 0.0, 10.0], 5.0, 2.5),
        ([6.0, 0.0, 0.0], 5.0, None),
        ([0.0, 9.0, 0.0], 3.0, 1.0 + 1.0 / 3.0),
        ([0.0, 1.0, 2.0], 5.0, 3.0),
        ([0.0, np.nan, 2.0], 5.0, np.nan),
    ],
)
def test_hosting_capacity_is_the_first_crossing(figure, limit, capacity):
    found = hosting_capacity(np.array([1.0, 2.0, 3.0]), np.array(figure), limit)
    assert found == (None if capacity is None else pytest.approx(capacity, nan_ok=True))
