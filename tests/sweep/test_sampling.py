"""Points of a sweep against scipy and SALib, and properties of their values."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from SALib.sample import sobol as salib

from heila_mosaik.study.sweep.sampling import expand, points_of, repetition_seed
from heila_mosaik.study.sweep.schema import Block


def block(method: str, keys: dict | None = None, **more) -> Block:
    return Block.model_validate({"method": method, "keys": keys or {}, **more})


def test_grid_takes_every_combination_the_last_key_fastest():
    points = points_of(block("grid", {"a": [1, 2], "b": {"low": 0, "high": 1, "steps": 3}}))
    assert points == [{"a": a, "b": b} for a in (1, 2) for b in (0.0, 0.5, 1.0)]


def test_zip_takes_the_first_with_the_first():
    points = points_of(block("zip", {"a": [1, 2, 3], "b": {"low": 1, "high": 100, "steps": 3, "log": True}}))
    assert [p["a"] for p in points] == [1, 2, 3]
    assert [p["b"] for p in points] == pytest.approx([1.0, 10.0, 100.0])


def test_blocks_are_crossed():
    points = expand([block("list", points=[{"a": 1}, {"a": 2, "b": 3}]), block("grid", {"c": [5, 6]})])
    assert points == [{"a": 1, "c": 5}, {"a": 1, "c": 6}, {"a": 2, "b": 3, "c": 5}, {"a": 2, "b": 3, "c": 6}]
    assert expand([]) == [{}]


@given(samples=st.integers(1, 40), seed=st.integers(0, 5))
def test_latin_hypercube_has_one_point_in_every_slice(samples, seed):
    points = points_of(
        block("lhs", {"a": {"low": 2, "high": 4}, "b": {"low": 0, "high": 1}}, samples=samples, seed=seed)
    )
    assert len(points) == samples
    for key, low, width in (("a", 2.0, 2.0), ("b", 0.0, 1.0)):
        slices = sorted(min(int((p[key] - low) / width * samples + 1e-9), samples - 1) for p in points)
        assert slices == list(range(samples))


@pytest.mark.parametrize("second", [False, True])
def test_sobol_is_the_sample_of_salib(second):
    found = points_of(
        block("sobol", {"a": {"low": 0, "high": 1}, "b": {"low": 0, "high": 1}}, samples=8, second_order=second)
    )
    problem = {"num_vars": 2, "names": ["a", "b"], "bounds": [[0, 1], [0, 1]]}
    wanted = salib.sample(problem, 8, calc_second_order=second, seed=0)
    assert np.allclose([[p["a"], p["b"]] for p in found], wanted, atol=1e-11)
    assert len(found) == 8 * (6 if second else 4)


@given(share=st.integers(1, 300))
def test_integers_and_choices_come_from_their_set(share):
    points = points_of(block("lhs", {"n": {"low": 2, "high": 5, "integer": True}, "c": ["x", "y"]}, samples=share))
    assert {p["n"] for p in points} <= {2, 3, 4, 5}
    assert {p["c"] for p in points} <= {"x", "y"}
    assert abs(sum(p["c"] == "x" for p in points) - share / 2) <= 0.5 + 1e-9


def test_logarithmic_range_is_even_in_the_logarithm():
    points = points_of(block("lhs", {"a": {"low": 1, "high": 1000, "log": True}}, samples=300))
    assert np.mean([math.log10(p["a"]) for p in points]) == pytest.approx(1.5, abs=0.01)


@given(st.sets(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=40))
def test_repetitions_have_seeds_of_their_own(places):
    assert len({repetition_seed(1, point, repetition) for point, repetition in places}) == len(places)


@pytest.mark.parametrize(
    ("given_block", "said"),
    [
        ({"method": "grid", "keys": {"a": {"low": 1, "high": 2}}}, "a: a range needs steps here"),
        ({"method": "zip", "keys": {"a": [1], "b": [1, 2]}}, "as many values of each key: a 1, b 2"),
        ({"method": "sobol", "samples": 12, "keys": {"a": [1]}}, "no power of two"),
        ({"method": "lhs", "keys": {"a": [1]}}, "lhs needs samples"),
        ({"method": "list", "keys": {"a": [1]}}, "list takes points"),
        ({"method": "grid", "keys": {"a": {"low": 2, "high": 1, "steps": 2}}}, "is not below high"),
        ({"method": "grid", "keys": {"a": {"low": 0, "high": 1, "steps": 2, "log": True}}}, "starts above 0"),
    ],
)
def test_blocks_that_make_no_sense_are_refused(given_block, said):
    with pytest.raises(ValidationError, match=said):
        Block.model_validate(given_block)
