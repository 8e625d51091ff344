"""From branch states to a factorised admittance matrix."""

from __future__ import annotations

import numpy as np
from numba import njit

from heila_mosaik.domain.powerflow.arrays import Grid, Work
from heila_mosaik.domain.quantities import ComplexArray


@njit(cache=True)
def _close_ends(work: Work) -> None:
    """Two-port admittances; an open end is eliminated (Kron), the charging current of the other end stays."""
    for k in range(work.br_y.shape[0]):
        yff, yft, ytf, ytt = work.br_y[k, 0], work.br_y[k, 1], work.br_y[k, 2], work.br_y[k, 3]
        at_from, at_to = work.br_closed[k, 0] == 1, work.br_closed[k, 1] == 1
        if not (at_from and at_to):
            coupled = yft * ytf
            yff = yff - coupled / ytt if at_from and ytt != 0 else 0j
            ytt = ytt - coupled / work.br_y[k, 0] if at_to and work.br_y[k, 0] != 0 else 0j
            yft = ytf = 0j
        work.br_now[k, 0], work.br_now[k, 1], work.br_now[k, 2], work.br_now[k, 3] = yff, yft, ytf, ytt


@njit(cache=True)
def _find_live(grid: Grid, work: Work) -> None:
    """Nodes reachable from a slack node through branches closed at both ends."""
    n = len(work.live)
    parent = np.arange(n)
    for k in range(len(grid.br_f)):
        if work.br_closed[k, 0] == 1 and work.br_closed[k, 1] == 1:
            a, b = grid.br_f[k], grid.br_t[k]
            if grid.node_on[a] == 0 or grid.node_on[b] == 0:
                continue
            while parent[a] != a:
                parent[a] = parent[parent[a]]
                a = parent[a]
            while parent[b] != b:
                parent[b] = parent[parent[b]]
                b = parent[b]
            # the larger number wins, so that a tree with a slack node (last numbers) has a slack root
            if a < b:
                parent[a] = b
            else:
                parent[b] = a
    for i in range(n):
        root = i
        while parent[root] != root:
            root = parent[root]
        work.live[i] = 1 if root >= grid.n_free and grid.node_on[i] == 1 else 0


@njit(cache=True)
def _factorise(grid: Grid, work: Work) -> bool:
    """Complex LU of Y_LL in the fixed pattern; False on a zero pivot."""
    lu, ptr, col, diag = work.lu, grid.lu_ptr, grid.lu_col, grid.lu_diag
    row = np.zeros(grid.n_free, np.complex128)
    for i in range(grid.n_free):
        for e in range(ptr[i], ptr[i + 1]):
            row[col[e]] = lu[e]
        for e in range(ptr[i], diag[i]):
            k = col[e]
            factor = row[k] * lu[diag[k]]
            row[k] = factor
            for u in range(diag[k] + 1, ptr[k + 1]):
                row[col[u]] -= factor * lu[u]
        for e in range(ptr[i], ptr[i + 1]):
            lu[e] = row[col[e]]
        if lu[diag[i]] == 0:
            return False
        lu[diag[i]] = 1.0 / lu[diag[i]]
    return True


@njit(cache=True)
def back_substitute(grid: Grid, work: Work, x: ComplexArray) -> None:
    """Solve Y_LL x = x in place."""
    lu, ptr, col, diag = work.lu, grid.lu_ptr, grid.lu_col, grid.lu_diag
    for i in range(grid.n_free):
        value = x[i]
        for e in range(ptr[i], diag[i]):
            value -= lu[e] * x[col[e]]
        x[i] = value
    for i in range(grid.n_free - 1, -1, -1):
        value = x[i]
        for e in range(diag[i] + 1, ptr[i + 1]):
            value -= lu[e] * x[col[e]]
        x[i] = value * lu[diag[i]]


@njit(cache=True)
def set_slack(grid: Grid, work: Work) -> None:
    """Voltage without appliances for the present slack set points."""
    n = len(work.v)
    for i in range(grid.n_free, n):
        work.v_idle[i] = work.vm_set[i] * np.exp(1j * grid.slack_va[i - grid.n_free]) if work.live[i] == 1 else 0j
    x = np.empty(grid.n_free, np.complex128)
    for i in range(grid.n_free):
        value = 0j
        if work.live[i] == 1:
            for e in range(grid.y_ptr[i], grid.y_ptr[i + 1]):
                if grid.y_col[e] >= grid.n_free:
                    value += work.y[e] * work.v_idle[grid.y_col[e]]
        work.i_slack[i] = value
        x[i] = -value
    back_substitute(grid, work, x)
    work.v_idle[: grid.n_free] = x


@njit(cache=True)
def assemble(grid: Grid, work: Work) -> bool:
    """Build and factorise Y after any change of branches; False if it is singular."""
    _close_ends(work)
    _find_live(grid, work)
    work.y[:] = 0
    for k in range(len(grid.br_f)):
        f, t = grid.br_f[k], grid.br_t[k]
        if work.live[f] == 1:
            work.y[grid.br_at[k, 0]] += work.br_now[k, 0]
        if work.live[t] == 1:
            work.y[grid.br_at[k, 3]] += work.br_now[k, 3]
        if work.live[f] == 1 and work.live[t] == 1:
            work.y[grid.br_at[k, 1]] += work.br_now[k, 1]
            work.y[grid.br_at[k, 2]] += work.br_now[k, 2]
    for i in range(len(work.live)):
        work.y[grid.y_diag[i]] = work.y[grid.y_diag[i]] + work.shunt[i] if work.live[i] == 1 else 1.0
    work.lu[:] = 0
    for e in range(len(work.y)):
        if grid.y_lu[e] >= 0:
            work.lu[grid.y_lu[e]] = work.y[e]
    regular = _factorise(grid, work)
    if regular:
        set_slack(grid, work)
    return regular
