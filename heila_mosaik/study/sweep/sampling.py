"""Points of a sweep: pure functions from blocks to settings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import qmc

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.study.sweep.schema import Block, Span

Point = dict[str, Any]
_SEED_BITS = 2**31


def expand(blocks: Sequence[Block]) -> list[Point]:
    """Every combination of the blocks' points, the last block varying fastest."""
    parts = [points_of(block) for block in blocks]
    return [{key: value for part in chosen for key, value in part.items()} for chosen in itertools.product(*parts)]


def points_of(block: Block) -> list[Point]:
    """Points of one block, in its order."""
    if block.method == "list":
        return [dict(point) for point in block.points]
    names = list(block.keys)
    if block.method in ("grid", "zip"):
        columns = [_values(values) for values in block.keys.values()]
        rows = itertools.product(*columns) if block.method == "grid" else zip(*columns, strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]
    unit = _latin(block) if block.method == "lhs" else _saltelli(block)
    return [
        {name: _scaled(share, block.keys[name]) for name, share in zip(names, row, strict=True)}
        for row in unit.tolist()
    ]


def repetition_seed(seed: int, point: int, repetition: int) -> int:
    """Seed of a repetition, independent of those of every other point and repetition."""
    state = np.random.SeedSequence(entropy=seed, spawn_key=(point, repetition)).generate_state(1)
    return int(state[0]) % _SEED_BITS


def sobol_problem(block: Block) -> dict[str, Any]:
    """Description of a Sobol block as SALib takes it; the sample lives on the unit cube."""
    names = list(block.keys)
    return {"num_vars": len(names), "names": names, "bounds": [[0.0, 1.0]] * len(names)}


def _latin(block: Block) -> FloatArray:
    sampler = qmc.LatinHypercube(d=len(block.keys), rng=np.random.default_rng(block.seed))
    found: FloatArray = sampler.random(block.samples or 1)
    return found


def _saltelli(block: Block) -> FloatArray:
    from SALib.sample import sobol  # noqa: PLC0415 - extra 'study', needed for this method only

    found: FloatArray = sobol.sample(
        sobol_problem(block), block.samples, calc_second_order=block.second_order, seed=block.seed
    )
    return found


def _values(values: Span | list[Any]) -> list[Any]:
    if not isinstance(values, Span):
        return list(values)
    count = values.steps or 2
    return [_scaled(step / (count - 1), values) for step in range(count)]


def _scaled(share: float, values: Span | list[Any]) -> Any:
    """Value at a share of a range, or the list item the share falls on."""
    if not isinstance(values, Span):
        return values[min(int(share * len(values)), len(values) - 1)]
    if values.integer:
        # Every whole number of the range has the same chance.
        low, high = math.ceil(values.low), math.floor(values.high)
        return min(high, low + int(share * (high - low + 1)))
    if share in (0.0, 1.0):
        return (values.low, values.high)[int(share)]  # without rounding
    if values.log:
        return math.exp(math.log(values.low) + share * (math.log(values.high) - math.log(values.low)))
    # Values meant to be 1.1 should not read 1.1000000000000001: twelve digits are far beyond any input's meaning.
    return float(f"{values.low + share * (values.high - values.low):.12g}")
