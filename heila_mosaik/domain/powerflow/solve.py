"""Solvers: Z-bus fixed point, then Newton-Raphson with 2x2 blocks on the same pattern.

The fixed point V = Y_LL^-1 (conj(-S(|V|) / V) - Y_LS V_S) needs one factorisation for all steps and converges up to
the voltage-collapse nose on distribution grids (Wang, Bernstein, Le Boudec, Paolone, "Explicit conditions on existence
and uniqueness of load-flow solutions in distribution networks", IEEE Trans. Smart Grid 9(2), 2018).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from heila_mosaik.domain.powerflow.arrays import Grid, Work
from heila_mosaik.domain.quantities import ComplexArray, FloatArray, IntArray

FIXED_POINT_LIMIT = 60
NEWTON_LIMIT = 30
STEP_TOLERANCE = 1e-10  # [pu]
ERROR_TOLERANCE = 1e-9  # [pu]
LOWEST_SQUARE = 1e-6  # [pu^2]
RUNAWAY = 1e3  # [pu]
RUNAWAY_SQUARE = RUNAWAY**2
MISMATCH_TOLERANCE = 1e-11  # [pu of 1 MVA, relative to max(1, largest power)]


@njit(cache=True, forceinline=True)
def zip_power(s: complex, share_p: FloatArray, share_q: FloatArray, vm: float) -> complex:
    """Consumption at voltage magnitude ``vm`` of appliances that draw ``s`` at 1 pu. [pu]"""
    p = s.real * (share_p[0] + vm * (share_p[1] + vm * share_p[2]))
    q = s.imag * (share_q[0] + vm * (share_q[1] + vm * share_q[2]))
    return complex(p, q)


@njit(cache=True, forceinline=True)
def power_at(work: Work, i: int, vm: float) -> complex:
    """Consumption of node ``i`` at voltage magnitude ``vm`` (ZIP). [pu]"""
    return zip_power(work.s[i], work.zip_p[i], work.zip_q[i], vm)


@njit(cache=True, forceinline=True)
def size(z: complex) -> float:
    """|z| without the overflow care of hypot, which costs five times as much."""
    return np.sqrt(z.real * z.real + z.imag * z.imag)


# The helpers of the fixed point take single arrays: numba counts the references of all arrays of a tuple at each call,
# which would cost ten times the arithmetic.


@njit(cache=True, error_model="numpy", forceinline=True)
def _draw(s: complex, v: complex, square: float) -> complex:
    """-conj(s / v); NaN without voltage."""
    per = 1.0 / square if square > LOWEST_SQUARE else np.nan
    return complex(-(s.real * v.real + s.imag * v.imag) * per, (s.imag * v.real - s.real * v.imag) * per)


@njit(cache=True, forceinline=True)
def _backward(
    lu: ComplexArray, ptr: IntArray, col: IntArray, diag: IntArray, x: ComplexArray, v: ComplexArray
) -> float:
    """Substitute backward into ``v``; returns the largest squared change, infinite when it ran away."""
    largest, total = 0.0, 0.0
    for i in range(len(diag) - 1, -1, -1):
        value = x[i]
        for e in range(diag[i] + 1, ptr[i + 1]):
            value -= lu[e] * x[col[e]]
        value *= lu[diag[i]]
        step = value - v[i]
        change = step.real * step.real + step.imag * step.imag
        largest = max(largest, change)
        total += change  # a maximum loses NaN, a sum does not
        x[i] = value
        v[i] = value
    return largest if total < RUNAWAY_SQUARE else np.inf


@njit(cache=True)
def fixed_point(grid: Grid, work: Work) -> int:
    """Iterations used, or -1 if the fixed point does not converge.

    Always from the idle voltage, not from the last solution: equal inputs give equal bits, whatever was solved before.
    It stops on the error that is left, change * rate / (1 - rate), where rate is the quotient of successive changes.
    """
    lu, ptr, col, diag = work.lu, grid.lu_ptr, grid.lu_col, grid.lu_diag
    live, constant, s, v, i_slack = work.live, work.constant, work.s, work.v, work.i_slack
    v[:] = work.v_idle
    x = np.empty(grid.n_free, np.complex128)
    previous, last_rate = 1.0, 1.0
    for iteration in range(1, FIXED_POINT_LIMIT + 1):
        for i in range(len(diag)):
            value = 0j
            if live[i] == 1:
                square = v[i].real * v[i].real + v[i].imag * v[i].imag
                power = s[i] if constant[i] == 1 else zip_power(s[i], work.zip_p[i], work.zip_q[i], np.sqrt(square))
                value = _draw(power, v[i], square) - i_slack[i]
            for e in range(ptr[i], diag[i]):
                value -= lu[e] * x[col[e]]
            x[i] = value
        change = np.sqrt(_backward(lu, ptr, col, diag, x, v))
        if not change < RUNAWAY:
            return -1
        rate = change / previous if iteration > 1 else 1.0
        worst = max(rate, last_rate)
        if change < STEP_TOLERANCE or (worst < 0.5 and change * worst < ERROR_TOLERANCE * (1.0 - worst)):
            return iteration
        previous, last_rate = change, rate
    return -1


@njit(cache=True, forceinline=True)
def _row(grid: Grid, work: Work, i: int) -> complex:
    current = 0j
    for e in range(grid.y_ptr[i], grid.y_ptr[i + 1]):
        current += work.y[e] * work.v[grid.y_col[e]]
    return current


@njit(cache=True, forceinline=True)
def mismatch(grid: Grid, work: Work, f: FloatArray) -> float:
    """Fill F = S(V) + consumption as (P, Q) rows; returns the largest absolute entry. [pu]"""
    worst = 0.0
    for i in range(grid.n_free):
        f[i, 0] = f[i, 1] = 0.0
        if work.live[i] == 0:
            continue
        vm = abs(work.v[i])
        total = work.v[i] * np.conj(_row(grid, work, i)) + power_at(work, i, vm)
        f[i, 0] = total.real
        f[i, 1] = vm - work.vm_set[i] if work.pv[i] == 1 else total.imag
        if not (abs(f[i, 0]) <= 1e9 and abs(f[i, 1]) <= 1e9):
            return np.inf
        worst = max(worst, abs(f[i, 0]), abs(f[i, 1]))
    return worst


@njit(cache=True, forceinline=True, error_model="numpy")
def _jacobian_row(grid: Grid, work: Work, vm: FloatArray, i: int) -> None:
    """Blocks of row ``i``: derivatives of (P, Q) by (angle, vm), in real numbers, several times faster than complex.

    With S_ik = V_i conj(y_ik V_k): dS/dangle_k = -j S_ik, dS/dvm_k = S_ik / vm_k; the own block also gets
    j S_i and S_i / vm_i of the whole S_i.
    """
    jac, v, y, pv = work.jac, work.v, work.y, work.pv[i] == 1
    v_re, v_im = v[i].real, v[i].imag
    own, p_i, q_i = -1, 0.0, 0.0
    for e in range(grid.y_ptr[i], grid.y_ptr[i + 1]):
        k = grid.y_col[e]
        i_re = y[e].real * v[k].real - y[e].imag * v[k].imag
        i_im = y[e].real * v[k].imag + y[e].imag * v[k].real
        p, q = v_re * i_re + v_im * i_im, v_im * i_re - v_re * i_im
        p_i += p
        q_i += q
        place = grid.y_lu[e]
        if place < 0 or work.live[k] == 0:
            continue
        if k == i:
            own = place
        jac[place, 0], jac[place, 1] = q, p / vm[k]
        jac[place, 2], jac[place, 3] = (0.0, 0.0) if pv else (-p, q / vm[k])
    if own < 0:
        return
    jac[own, 0] -= q_i
    jac[own, 1] += p_i / vm[i] + work.s[i].real * (work.zip_p[i, 1] + 2.0 * vm[i] * work.zip_p[i, 2])
    if pv:
        jac[own, 3] = 1.0
        return
    jac[own, 2] += p_i
    jac[own, 3] += q_i / vm[i] + work.s[i].imag * (work.zip_q[i, 1] + 2.0 * vm[i] * work.zip_q[i, 2])


@njit(cache=True, forceinline=True)
def _eliminate_blocks(grid: Grid, work: Work) -> bool:
    jac, ptr, col, diag = work.jac, grid.lu_ptr, grid.lu_col, grid.lu_diag
    row = np.zeros((grid.n_free, 4))
    for i in range(grid.n_free):
        for e in range(ptr[i], ptr[i + 1]):
            for part in range(4):
                row[col[e], part] = jac[e, part]
        for e in range(ptr[i], diag[i]):
            k = col[e]
            d0, d1, d2, d3 = jac[diag[k], 0], jac[diag[k], 1], jac[diag[k], 2], jac[diag[k], 3]
            a = row[k, 0] * d0 + row[k, 1] * d2
            b = row[k, 0] * d1 + row[k, 1] * d3
            c = row[k, 2] * d0 + row[k, 3] * d2
            g = row[k, 2] * d1 + row[k, 3] * d3
            row[k, 0], row[k, 1], row[k, 2], row[k, 3] = a, b, c, g
            for u in range(diag[k] + 1, ptr[k + 1]):
                j = col[u]
                row[j, 0] -= a * jac[u, 0] + b * jac[u, 2]
                row[j, 1] -= a * jac[u, 1] + b * jac[u, 3]
                row[j, 2] -= c * jac[u, 0] + g * jac[u, 2]
                row[j, 3] -= c * jac[u, 1] + g * jac[u, 3]
        for e in range(ptr[i], ptr[i + 1]):
            for part in range(4):
                jac[e, part] = row[col[e], part]
        own = diag[i]
        d0, d1, d2, d3 = jac[own, 0], jac[own, 1], jac[own, 2], jac[own, 3]
        determinant = d0 * d3 - d1 * d2
        if determinant == 0 or not np.isfinite(determinant):
            return False
        jac[own, 0], jac[own, 1] = d3 / determinant, -d1 / determinant
        jac[own, 2], jac[own, 3] = -d2 / determinant, d0 / determinant
    return True


@njit(cache=True)
def factorise_jacobian(grid: Grid, work: Work) -> bool:
    """Build and factorise dF/d(angle, vm) at ``work.v``; False if singular."""
    work.jac[:] = 0
    vm = np.empty(len(work.v))
    for i in range(len(vm)):
        vm[i] = size(work.v[i])
    for i in range(grid.n_free):
        if work.live[i] == 1:
            _jacobian_row(grid, work, vm, i)
        else:
            work.jac[grid.lu_diag[i], 0] = work.jac[grid.lu_diag[i], 3] = 1.0
    return _eliminate_blocks(grid, work)


@njit(cache=True)
def solve_blocks(grid: Grid, work: Work, x: FloatArray) -> None:
    """Solve J x = x in place, x of shape (n_free, 2)."""
    jac, ptr, col, diag = work.jac, grid.lu_ptr, grid.lu_col, grid.lu_diag
    for i in range(grid.n_free):
        for e in range(ptr[i], diag[i]):
            k = col[e]
            x[i, 0] -= jac[e, 0] * x[k, 0] + jac[e, 1] * x[k, 1]
            x[i, 1] -= jac[e, 2] * x[k, 0] + jac[e, 3] * x[k, 1]
    for i in range(grid.n_free - 1, -1, -1):
        for e in range(diag[i] + 1, ptr[i + 1]):
            k = col[e]
            x[i, 0] -= jac[e, 0] * x[k, 0] + jac[e, 1] * x[k, 1]
            x[i, 1] -= jac[e, 2] * x[k, 0] + jac[e, 3] * x[k, 1]
        d = jac[diag[i]]
        x[i, 0], x[i, 1] = d[0] * x[i, 0] + d[1] * x[i, 1], d[2] * x[i, 0] + d[3] * x[i, 1]


@njit(cache=True)
def newton(grid: Grid, work: Work) -> int:
    """Iterations used, or -1 if Newton-Raphson does not converge."""
    n = grid.n_free
    work.v[:] = work.v_idle
    largest = 1.0
    for i in range(n):
        largest = max(largest, abs(work.s[i]))
        if work.live[i] == 1 and work.pv[i] == 1 and abs(work.v[i]) > 0:
            work.v[i] *= work.vm_set[i] / abs(work.v[i])
    f = np.empty((n, 2))
    tolerance = MISMATCH_TOLERANCE * largest
    for iteration in range(NEWTON_LIMIT):
        worst = mismatch(grid, work, f)
        if worst < tolerance * 1e2 and iteration > 0:
            return iteration
        if not np.isfinite(worst) or not factorise_jacobian(grid, work):
            return -1
        solve_blocks(grid, work, f)
        for i in range(n):
            if work.live[i] == 1:
                vm = abs(work.v[i])
                work.v[i] = (vm - f[i, 1]) * np.exp(1j * (np.angle(work.v[i]) - f[i, 0]))
    return -1


@njit(cache=True)
def solve(grid: Grid, work: Work, has_pv: bool) -> tuple[int, int]:
    """Solve for ``work.s``; returns method (0 fixed point, 1 Newton, -1 diverged) and iterations."""
    if not has_pv:
        used = fixed_point(grid, work)
        if used >= 0:
            return 0, used
    used = newton(grid, work)
    if used >= 0:
        for i in range(grid.n_free):
            # a magnitude that went through zero is not the operating point
            if work.live[i] == 1 and not abs(work.v[i]) > 0.05:
                return -1, used
        return 1, used
    return -1, NEWTON_LIMIT
