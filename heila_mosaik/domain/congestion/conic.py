"""One step of the sequential conic programme, solved by Clarabel.

Variables: use of every action (p lowered, p raised, q lowered, q raised) and the slacks of the soft limits.
Voltages are linear in P and Q; the current of a branch is a phasor that is nearly linear in P and Q, so a thermal
limit is the cone ``|I0 + J x| <= limit + slack``.
"""

from __future__ import annotations

from dataclasses import dataclass

import clarabel
import numpy as np
from scipy import sparse

from heila_mosaik.domain.quantities import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ConicStep:
    """Linearised constraints about the current point; columns are actions.

    Attributes:
        linear: Left sides ``g x <= bound`` of voltage limits, in units of 0.01 pu. (r, 2k)
        bound: Their bounds. (r,)
        real, imag: Derivatives of branch current phasors over the limit, percent. (b, 2k)
        real0, imag0: Phasors at x = 0, percent of the limit. (b,)
        lower, upper: Bounds of the adjustments [P..., Q...]. (2k,)
        price_up, price_down: Price of lowering and raising each adjustment. (2k,)
        penalty: Price of one unit of slack (0.01 pu or 1 %). [EUR/h]
        centre: Adjustments at the point of linearisation. (2k,)
        proximity: Weight of staying near the centre, of the highest price. [1/MW]
    """

    linear: FloatArray
    bound: FloatArray
    real: FloatArray
    imag: FloatArray
    real0: FloatArray
    imag0: FloatArray
    lower: FloatArray
    upper: FloatArray
    price_up: FloatArray
    price_down: FloatArray
    penalty: float
    centre: FloatArray
    proximity: float


def solve_step(step: ConicStep) -> tuple[FloatArray, FloatArray] | None:
    """Solve one step.

    Returns:
        adjustments ``(2k,)`` and slacks ``(r + b,)``, or ``None`` if the solver fails.
    """
    k2, r, b = len(step.lower), len(step.bound), len(step.real0)
    n_slack = r + b
    n = 2 * k2 + n_slack
    # x = raised - lowered, both >= 0 and bounded, so that each direction has its own price; the matrix is small, and
    # filling it dense and converting once is several times faster than stacking sparse blocks
    first_cone = r + n + 2 * k2
    matrix = np.zeros((first_cone + 3 * b, n))
    matrix[:r, :k2], matrix[:r, k2 : 2 * k2] = step.linear, -step.linear
    matrix[np.arange(r), 2 * k2 + np.arange(r)] = -1.0
    matrix[r + np.arange(n), np.arange(n)] = -1.0
    matrix[r + n + np.arange(2 * k2), np.arange(2 * k2)] = 1.0
    right = np.zeros(first_cone + 3 * b)
    right[:r] = step.bound
    right[r + n : first_cone] = np.concatenate((np.maximum(step.upper, 0.0), np.maximum(-step.lower, 0.0)))
    cones = [clarabel.NonnegativeConeT(first_cone)]
    if b:
        _fill_cones(matrix[first_cone:], right[first_cone:], step, r)
        cones += [clarabel.SecondOrderConeT(3)] * b
    cost = np.concatenate((step.price_down, step.price_up, np.full(n_slack, step.penalty)))
    scale = max(float(np.abs(cost[: 2 * k2]).max(initial=0.0)), 1e-3)
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    cost /= scale
    cost[:k2] -= step.proximity * step.centre
    cost[k2 : 2 * k2] += step.proximity * step.centre
    solver = clarabel.DefaultSolver(_curvature(step, n), cost, sparse.csc_matrix(matrix), right, cones, settings)
    solution = solver.solve()
    if str(solution.status) not in ("Solved", "AlmostSolved"):
        return None
    x = np.asarray(solution.x)
    return x[:k2] - x[k2 : 2 * k2], x[2 * k2 :]


def _fill_cones(rows: FloatArray, right: FloatArray, step: ConicStep, r: int) -> None:
    """Rows ``(100 + slack, Re, Im)`` of each branch, as ``s = b - A x``, written in place."""
    k2, b = len(step.lower), len(step.real0)
    rows[1::3, :k2], rows[1::3, k2 : 2 * k2] = -step.real, step.real
    rows[2::3, :k2], rows[2::3, k2 : 2 * k2] = -step.imag, step.imag
    rows[3 * np.arange(b), 2 * k2 + r + np.arange(b)] = -1.0
    right[0::3], right[1::3], right[2::3] = 100.0, step.real0, step.imag0


def _curvature(step: ConicStep, n: int) -> sparse.csc_matrix:
    """Upper triangle of the quadratic term.

    ``proximity / 2 · |x - centre|²`` keeps rounds from jumping between answers of nearly equal price; a tiny diagonal
    picks one answer among those of exactly equal price.
    """
    k2 = len(step.lower)
    index = np.arange(k2)
    own = np.full(k2, 1e-6 + step.proximity)
    across = np.full(k2, -step.proximity)
    values = np.concatenate((own, np.column_stack((across, own)).ravel()))
    rows = np.concatenate((index, np.column_stack((index, index + k2)).ravel()))
    starts = np.concatenate((index, k2 + 2 * index, np.full(n - 2 * k2 + 1, 3 * k2)))
    return sparse.csc_matrix((values, rows, starts), shape=(n, n))
