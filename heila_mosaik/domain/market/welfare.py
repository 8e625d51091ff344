"""Welfare-optimal choice among competing purchases as a small mixed-integer programme (HiGHS).

For purchase *k* with accepted share x_k:

    max  Σ w_k x_k      w_k: (buyer's limit - offer price) · energy, never negative
    s.t. Σ a_ik x_k ≤ b_i     range of each offer in each direction, energy of each group
         x_k = 0 or m_k ≤ x_k ≤ 1     (m_k = 1 for a block)

A second solve keeps that welfare and takes the largest volume, preferring purchases that come earlier in the given
order; it makes the answer independent of the order of arrival and buys at the limit price too.
"""

from __future__ import annotations

import highspy
import numpy as np

from heila_mosaik.domain.quantities import FloatArray, IntArray

_TOLERANCE = 1e-7
_PREFERENCE = 1e-3
"""Extra worth of the first purchase over the last one per unit of volume; decides ties only."""


def best_shares(
    welfare: FloatArray, volume: FloatArray, rows: FloatArray, capacity: FloatArray, min_share: FloatArray
) -> FloatArray:
    """Accepted share of each purchase.

    Args:
        welfare: Welfare of taking a purchase whole. [EUR] (n,)
        volume: Size of a purchase, > 0. [MW·h] (n,)
        rows: Use of each capacity by a whole purchase, >= 0. (m, n)
        capacity: Capacities, >= 0. (m,)
        min_share: Smallest share of a purchase that may be taken. [1] (n,)

    Returns:
        Shares, 0 or within ``[min_share, 1]``. [1] (n,)
    """
    count = len(welfare)
    if count == 0:
        return np.zeros(0)
    if bool(np.all(rows.sum(axis=1) <= capacity + _TOLERANCE)):
        return np.ones(count)
    scale = 1.0 / max(float(np.max(welfare)), 1e-12)
    first = _solve(welfare * scale, rows, capacity, min_share)
    reached = float(welfare @ first) * scale
    preferred = 1.0 + _PREFERENCE * np.linspace(1.0, 0.0, count)
    objective = volume / float(np.max(volume)) * preferred
    kept = np.vstack([rows, -welfare * scale])
    return _solve(objective, kept, np.append(capacity, -reached + _TOLERANCE), min_share, fallback=first)


def _solve(
    objective: FloatArray,
    rows: FloatArray,
    capacity: FloatArray,
    min_share: FloatArray,
    fallback: FloatArray | None = None,
) -> FloatArray:
    count, constraints = len(objective), len(capacity)
    # Columns: shares x (0..n-1), decisions u (n..2n-1); x <= u and x >= m u.
    link_upper = np.hstack([np.eye(count), -np.eye(count)])
    link_lower = np.hstack([-np.eye(count), np.diag(min_share)])
    matrix = np.vstack([np.hstack([rows, np.zeros((constraints, count))]), link_upper, link_lower])
    upper = np.concatenate([capacity, np.zeros(2 * count)])
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("random_seed", 0)
    highs.setOptionValue("mip_rel_gap", 0.0)
    highs.setOptionValue("mip_abs_gap", 1e-9)
    # Tight integrality: a decision at 1e-6 would let a sliver of a block through.
    highs.setOptionValue("mip_feasibility_tolerance", 1e-9)
    highs.setOptionValue("primal_feasibility_tolerance", 1e-9)
    integrality = np.array([0] * count + [1] * count, dtype=np.uint8)
    starts, indices, values = _compressed(matrix)
    model = highspy.HighsModel()
    lp = model.lp_
    lp.num_col_, lp.num_row_ = 2 * count, len(upper)
    lp.col_cost_ = np.concatenate([objective, np.zeros(count)])
    lp.col_lower_, lp.col_upper_ = np.zeros(2 * count), np.ones(2 * count)
    lp.row_lower_, lp.row_upper_ = np.full(len(upper), -highspy.kHighsInf), upper
    lp.sense_ = highspy.ObjSense.kMaximize
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = starts, indices, values
    lp.integrality_ = [
        highspy.HighsVarType.kInteger if flag else highspy.HighsVarType.kContinuous for flag in integrality
    ]
    highs.passModel(model)
    highs.run()
    if highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return fallback if fallback is not None else np.zeros(count)
    solution = np.array(highs.getSolution().col_value)
    shares = np.where(solution[count:] > 0.5, np.clip(solution[:count], min_share, 1.0), 0.0)
    return np.where(shares < _TOLERANCE, 0.0, np.where(shares > 1.0 - _TOLERANCE, 1.0, shares))


def _compressed(matrix: FloatArray) -> tuple[IntArray, IntArray, FloatArray]:
    row, column = np.nonzero(matrix)
    starts = np.searchsorted(row, np.arange(matrix.shape[0] + 1))
    return starts.astype(np.int32), column.astype(np.int32), matrix[row, column]
