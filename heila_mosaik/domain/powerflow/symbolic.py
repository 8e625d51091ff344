"""Elimination order and fill pattern of a structurally symmetric sparse matrix, found once per grid.

Minimum degree (Tinney & Walker, "Direct solutions of sparse network equations by optimally ordered triangular
factorization", Proc. IEEE 55(11), 1967, scheme 2).  Radial grids are eliminated from the leaves without any fill.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.quantities import IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Elimination:
    """Order and pattern of an LU factorisation without pivoting.

    Attributes:
        order: Old number of each row in the new order. (n,)
        ptr, col: CSR pattern of L + U in new numbers, columns ascending. (n + 1,), (nnz,)
        diag: Place of the diagonal entry of each row in ``col``. (n,)
    """

    order: IntArray
    ptr: IntArray
    col: IntArray
    diag: IntArray


def eliminate(n: int, first: IntArray, second: IntArray) -> Elimination:
    """Find a low-fill order for the graph with ``n`` vertices and edges ``first[k]``-``second[k]``.

    Args:
        n: Number of vertices.
        first: One end of each edge. (m,)
        second: Other end of each edge. (m,)

    Returns:
        The order and the pattern with fill.
    """
    neighbours: list[set[int]] = [set() for _ in range(n)]
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if a != b:
            neighbours[a].add(b)
            neighbours[b].add(a)
    queue = [(len(near), vertex) for vertex, near in enumerate(neighbours)]
    heapq.heapify(queue)
    done = [False] * n
    order: list[int] = []
    upper: list[list[int]] = []
    while queue:
        degree, vertex = heapq.heappop(queue)
        if done[vertex] or degree != len(neighbours[vertex]):
            continue
        done[vertex] = True
        near = sorted(neighbours[vertex])
        order.append(vertex)
        upper.append(near)
        for a in near:
            neighbours[a].update(near)
            neighbours[a].discard(a)
            neighbours[a].discard(vertex)
            heapq.heappush(queue, (len(neighbours[a]), a))
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    rows: list[list[int]] = [[row] for row in range(n)]
    for row, near in enumerate(upper):
        for old in near:
            column = int(place[old])
            rows[row].append(column)
            rows[column].append(row)
    return _pack(np.asarray(order, np.int64), rows)


def _pack(order: IntArray, rows: list[list[int]]) -> Elimination:
    for row in rows:
        row.sort()
    ptr = np.zeros(len(rows) + 1, np.int64)
    ptr[1:] = np.cumsum([len(row) for row in rows])
    col = np.asarray([column for row in rows for column in row], np.int64)
    diag = np.asarray([ptr[i] + row.index(i) for i, row in enumerate(rows)], np.int64)
    return Elimination(order=order, ptr=ptr, col=col, diag=diag)
