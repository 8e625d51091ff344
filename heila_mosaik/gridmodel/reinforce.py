"""Parallel systems in a pandapower net."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.errors import Problem, ProblemsError


def add_parallel(net: Any, added: Mapping[str, Mapping[int, int]]) -> None:
    """Put further systems of the same type beside lines and transformers of ``net``.

    Args:
        net: pandapower net; changed.
        added: Systems to add by table (``line``, ``trafo``) and index.

    Raises:
        ProblemsError: With every element the net does not have.
    """
    problems = [
        Problem(
            what=f"{table} {index} does not exist",
            where=f"reinforcement.{table}s",
            remedy=f"use an index of net.{table}: {min(net[table].index)} to {max(net[table].index)}"
            if len(net[table])
            else f"the grid has no {table}",
        )
        for table, rows in added.items()
        for index in rows
        if index not in net[table].index
    ]
    if problems:
        raise ProblemsError("reinforcement", problems)
    for table, rows in added.items():
        for index, count in rows.items():
            net[table].loc[index, "parallel"] += count


def line_lengths(net: Any) -> FloatArray:
    """Length of each line. [km] (n_line,)"""
    lengths: FloatArray = net.line.length_km.to_numpy(np.float64, copy=True)
    return lengths
