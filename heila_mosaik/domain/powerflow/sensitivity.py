"""Derivatives of results with respect to bus consumption by adjoint rows.

With F(x, s) = S(x) + s = 0 and a result g(x): dg/ds = -lambda, J^T lambda = dg/dx.  One transposed solve a row, no
matter how many buses there are.

Layout 3 of the flat arrays.  numba's disk cache looks at the time of this file only: change the number here whenever
``pack`` or a kernel that is called from here changes, or old machine code reads the new arrays.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit

from heila_mosaik.domain.network import Observable
from heila_mosaik.domain.powerflow.arrays import Grid, Work
from heila_mosaik.domain.powerflow.pack import Flat, as_grid, as_work
from heila_mosaik.domain.powerflow.results import end_flows, losses, node_balance
from heila_mosaik.domain.powerflow.solve import factorise_jacobian
from heila_mosaik.domain.quantities import ComplexArray, FloatArray, IntArray

_KINDS = ("VM", "P", "Q", "I", "LOADING", "RE", "IM", "EXT_P", "EXT_Q", "LOSSES")
_VM, _P, _Q, _I, _LOADING, _RE, _IM, _EXT_P, _EXT_Q, _LOSSES = range(len(_KINDS))
_LINE, _TRAFO, _OTHER = 0, 1, 2
_TABLE: dict[Observable, tuple[int, int]] = {
    Observable.VM_PU: (_VM, _OTHER),
    Observable.LINE_P_FROM_MW: (_P, _LINE),
    Observable.LINE_Q_FROM_MVAR: (_Q, _LINE),
    Observable.LINE_I_FROM_KA: (_I, _LINE),
    Observable.LINE_LOADING_PERCENT: (_LOADING, _LINE),
    Observable.LINE_I_RE_KA: (_RE, _LINE),
    Observable.LINE_I_IM_KA: (_IM, _LINE),
    Observable.TRAFO_P_HV_MW: (_P, _TRAFO),
    Observable.TRAFO_Q_HV_MVAR: (_Q, _TRAFO),
    Observable.TRAFO_I_HV_KA: (_I, _TRAFO),
    Observable.TRAFO_LOADING_PERCENT: (_LOADING, _TRAFO),
    Observable.TRAFO_I_RE_KA: (_RE, _TRAFO),
    Observable.TRAFO_I_IM_KA: (_IM, _TRAFO),
    Observable.EXT_P_MW: (_EXT_P, _OTHER),
    Observable.EXT_Q_MVAR: (_EXT_Q, _OTHER),
    Observable.LOSSES_MW: (_LOSSES, _OTHER),
}


@njit(cache=True, forceinline=True)
def _add_current(work: Work, g: FloatArray, node: int, y: complex, weight: complex) -> None:
    """Add the gradient of Re(weight * y * V_node) with respect to (angle, vm) of the node."""
    term = weight * y * work.v[node]
    g[node, 0] += -term.imag
    vm = abs(work.v[node])
    if vm > 0:
        g[node, 1] += term.real / vm


@njit(cache=True, forceinline=True)
def _add_power(grid: Grid, work: Work, g: FloatArray, k: int, end: int, weight: complex) -> None:
    """Add the gradient of Re(weight * conj(S)) at one end of branch ``k``; S = V conj(I)."""
    f, t = grid.br_f[k], grid.br_t[k]
    here = f if end == 0 else t
    ya, yb = work.br_now[k, 2 * end], work.br_now[k, 2 * end + 1]
    current = ya * work.v[f] + yb * work.v[t]
    vc = np.conj(work.v[here])
    _add_current(work, g, f, ya, weight * vc)
    _add_current(work, g, t, yb, weight * vc)
    # d conj(V): Re(w I conj(V)) = Re(conj(w I) V)
    _add_current(work, g, here, np.conj(weight * current), 1.0 + 0j)


@njit(cache=True, forceinline=True)
def _branch(grid: Grid, work: Work, g: FloatArray, kind: int, table: int, row: int) -> float:
    k = row + (grid.line_first if table == _LINE else grid.trafo_first)
    f, t = grid.br_f[k], grid.br_t[k]
    s_f, _s_t, size_f, size_t = end_flows(grid, work, k)
    if kind == _P:
        _add_power(grid, work, g, k, 0, grid.base_mva + 0j)
        return s_f.real * grid.base_mva
    if kind == _Q:
        # Im(S) = -Im(conj S) = Re(1j conj S)
        _add_power(grid, work, g, k, 0, 1j * grid.base_mva)
        return s_f.imag * grid.base_mva
    end, scale = 0, 1.0
    if kind == _LOADING:
        scale = grid.line_scale[row] if table == _LINE else grid.trafo_scale[row, 0]
        other = grid.line_scale[row] if table == _LINE else grid.trafo_scale[row, 1]
        if size_t * other > size_f * scale:
            end, scale = 1, other
    ya, yb = work.br_now[k, 2 * end], work.br_now[k, 2 * end + 1]
    scale *= grid.i_base_ka[t if end == 1 else f]
    current = ya * work.v[f] + yb * work.v[t]
    size = abs(current)
    weight = scale + 0j
    value = current.real * scale
    if kind == _IM:
        weight, value = -1j * scale, current.imag * scale
    elif kind != _RE:
        weight, value = (scale * np.conj(current) / size if size > 0 else 0j), size * scale
    _add_current(work, g, f, ya, weight)
    _add_current(work, g, t, yb, weight)
    return value


@njit(cache=True, forceinline=True)
def _external(grid: Grid, work: Work, g: FloatArray, row: int, reactive: bool) -> float:
    i = grid.bus_node[grid.ext_bus[row]]
    share = grid.base_mva * grid.ext_share[row]
    weight = 1j * share if reactive else share + 0j
    current = 0j
    vc = np.conj(work.v[i])
    for e in range(grid.y_ptr[i], grid.y_ptr[i + 1]):
        _add_current(work, g, grid.y_col[e], work.y[e], weight * vc)
        current += work.y[e] * work.v[grid.y_col[e]]
    _add_current(work, g, i, np.conj(weight * current), 1.0 + 0j)
    fed = node_balance(grid, work, i)
    return (fed.imag if reactive else fed.real) * share


@njit(cache=True, forceinline=True)
def _gradient(grid: Grid, work: Work, g: FloatArray, kind: int, table: int, row: int) -> float:
    if kind == _VM:
        node = grid.bus_node[row]
        g[node, 1] = 1.0
        return abs(work.v[node])
    if kind in (_EXT_P, _EXT_Q):
        return _external(grid, work, g, row, kind == _EXT_Q)
    if kind == _LOSSES:
        for k in range(len(grid.br_f)):
            _add_power(grid, work, g, k, 0, grid.base_mva + 0j)
            _add_power(grid, work, g, k, 1, grid.base_mva + 0j)
        return losses(grid, work)
    return _branch(grid, work, g, kind, table, row)


@njit(cache=True, forceinline=True)
def _solve_transposed(grid: Grid, work: Work, x: FloatArray) -> None:
    """Solve transposed(J) x = x in place for all rows at once, x of shape (n, 2, m): the innermost loop is a vector."""
    jac, ptr, col, diag = work.jac, grid.lu_ptr, grid.lu_col, grid.lu_diag
    m = x.shape[2]
    for i in range(grid.n_free):
        a, b, c, d = jac[diag[i], 0], jac[diag[i], 1], jac[diag[i], 2], jac[diag[i], 3]
        for r in range(m):
            x[i, 0, r], x[i, 1, r] = a * x[i, 0, r] + c * x[i, 1, r], b * x[i, 0, r] + d * x[i, 1, r]
        for e in range(diag[i] + 1, ptr[i + 1]):
            _subtract(x, col[e], i, jac[e, 0], jac[e, 1], jac[e, 2], jac[e, 3])
    for i in range(grid.n_free - 1, -1, -1):
        for e in range(ptr[i], diag[i]):
            _subtract(x, col[e], i, jac[e, 0], jac[e, 1], jac[e, 2], jac[e, 3])


@njit(cache=True, forceinline=True)
def _subtract(x: FloatArray, into: int, i: int, a: float, b: float, c: float, d: float) -> None:
    """Take a transposed 2x2 block times block row ``i`` from block row ``into``."""
    for r in range(x.shape[2]):
        x[into, 0, r] -= a * x[i, 0, r] + c * x[i, 1, r]
        x[into, 1, r] -= b * x[i, 0, r] + d * x[i, 1, r]


@njit(cache=True, forceinline=True)
def _to_slack(grid: Grid, work: Work, g: FloatArray, into: FloatArray) -> None:
    """Derivatives for the voltage of each external grid from gradients and adjoints (both in ``g``)."""
    n, first, m = len(work.v), grid.n_free, g.shape[2]
    at_node = np.zeros((n - first, m))
    for s in range(first, n):
        for r in range(m):
            at_node[s - first, r] = g[s, 1, r]
    for i in range(first):
        if work.live[i] == 0:
            continue
        for e in range(grid.y_ptr[i], grid.y_ptr[i + 1]):
            s = grid.y_col[e]
            if s >= first and abs(work.v[s]) > 0:
                change = work.v[i] * np.conj(work.y[e] * work.v[s]) / abs(work.v[s])
                by_q = 0.0 if work.pv[i] == 1 else change.imag
                for r in range(m):
                    at_node[s - first, r] -= g[i, 0, r] * change.real + g[i, 1, r] * by_q
    for k in range(len(grid.ext_bus)):
        s = grid.bus_node[grid.ext_bus[k]]
        for r in range(m):
            into[r, k] = at_node[s - first, r] if s >= first else 0.0


@njit(cache=True, forceinline=True)
def _add_own(grid: Grid, kinds: IntArray, positions: IntArray, by_p: FloatArray, by_q: FloatArray) -> None:
    """Consumption at the bus of an external grid is fed by it directly."""
    for m in range(len(positions)):
        if kinds[m, 0] not in (_EXT_P, _EXT_Q):
            continue
        node = grid.bus_node[grid.ext_bus[positions[m]]]
        into = by_p if kinds[m, 0] == _EXT_P else by_q
        for b in range(len(grid.bus_node)):
            if grid.bus_node[b] == node:
                into[m, b] += grid.ext_share[positions[m]]


@njit(cache=True)
def _rows(  # noqa: PLR0913, PLR0917  # numba takes single arrays faster than tuples of them
    grid_ints: IntArray,
    grid_floats: FloatArray,
    grid_complexes: ComplexArray,
    work_ints: IntArray,
    work_floats: FloatArray,
    work_complexes: ComplexArray,
    kinds: IntArray,
    positions: IntArray,
    values: FloatArray,
    by_p: FloatArray,
    by_q: FloatArray,
    by_vm: FloatArray,
) -> bool:
    """Fill all rows; False if the Jacobian is singular."""
    grid = as_grid(grid_ints, grid_floats, grid_complexes)
    work = as_work(work_ints, work_floats, work_complexes)
    if not factorise_jacobian(grid, work):
        return False
    rows = len(positions)
    g = np.zeros((len(work.v), 2, rows))
    for m in range(rows):
        values[m] = _gradient(grid, work, g[:, :, m], kinds[m, 0], kinds[m, 1], positions[m])
    for i in range(grid.n_free):
        if work.live[i] == 0:
            g[i] = 0.0
    _solve_transposed(grid, work, g)
    _to_slack(grid, work, g, by_vm)
    for b in range(len(grid.bus_node)):
        i = grid.bus_node[b]
        inside = i < grid.n_free and work.live[i] == 1
        scale_p = -1.0 / grid.base_mva if inside else 0.0
        scale_q = -1.0 / grid.base_mva if inside and work.pv[i] == 0 else 0.0
        for m in range(rows):
            by_p[m, b] = scale_p * g[i, 0, m]
            by_q[m, b] = scale_q * g[i, 1, m]
    _add_own(grid, kinds, positions, by_p, by_q)
    return True


@lru_cache(maxsize=256)
def _kinds(observables: tuple[Observable, ...]) -> IntArray:
    """Kind and table of each row; the same few sets are asked for again and again. (m, 2)"""
    return np.array([_TABLE[observable] for observable in observables], np.int64).reshape(-1, 2)


def adjoint_rows(
    flat: Flat, shape: tuple[int, int], observables: tuple[Observable, ...], positions: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Values and derivatives at the last solution.

    Args:
        flat: Grid, and work holding a converged solution.
        shape: Number of buses and of external grids.
        observables: Quantity of each row. (m,)
        positions: Position of bus, line, trafo or ext_grid of each row. (m,)

    Returns:
        values (m,), d/dP (m, n_bus) per MW, d/dQ (m, n_bus) per MVar, d/d vm_pu (m, n_ext).

    Raises:
        ArithmeticError: If the Jacobian is singular, that is at the voltage-collapse point.
    """
    m = len(observables)
    kinds = _kinds(observables)
    places = np.ascontiguousarray(positions, np.int64)
    values, by_vm = np.empty(m), np.empty((m, shape[1]))
    by_p, by_q = np.empty((m, shape[0])), np.empty((m, shape[0]))
    if not _rows(*flat, kinds, places, values, by_p, by_q, by_vm):
        raise ArithmeticError("the Jacobian is singular: the grid stands at its voltage-collapse point")
    return values, by_p, by_q, by_vm
