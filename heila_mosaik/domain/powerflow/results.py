"""From node voltages to the tables of a :class:`~heila_mosaik.domain.network.GridState`, in one flat array.

Formulas as pandapower's ``results_branch``/``results_bus``: |I| = |S| / (sqrt(3) V), line loading by the larger end,
transformer loading by current against rated current of each side.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from heila_mosaik.domain.network import GridState
from heila_mosaik.domain.powerflow.arrays import Grid, Work
from heila_mosaik.domain.powerflow.solve import power_at, size, solve
from heila_mosaik.domain.powerflow.topology import set_slack
from heila_mosaik.domain.quantities import FloatArray

_DEGREES = 180.0 / np.pi
METHODS = ("fixed_point", "newton", "diverged")


@njit(cache=True)
def gather(  # one argument a table
    grid: Grid,
    work: Work,
    load_p: FloatArray,
    load_q: FloatArray,
    sgen_p: FloatArray,
    sgen_q: FloatArray,
    storage_p: FloatArray,
    storage_q: FloatArray,
    gen_p: FloatArray,
) -> None:
    """Sum appliance powers into ``work.bus_p``, ``work.bus_q`` and ``work.s``."""
    p, q = work.bus_p, work.bus_q
    per = 1.0 / grid.base_mva
    for b in range(len(p)):
        p[b] = grid.s0[b].real
        q[b] = grid.s0[b].imag
    for k in range(len(grid.load_bus)):
        p[grid.load_bus[k]] += work.load_k[k] * per * load_p[k]
        q[grid.load_bus[k]] += work.load_k[k] * per * load_q[k]
    for k in range(len(grid.sgen_bus)):
        p[grid.sgen_bus[k]] -= work.sgen_k[k] * per * sgen_p[k]
        q[grid.sgen_bus[k]] -= work.sgen_k[k] * per * sgen_q[k]
    for k in range(len(grid.storage_bus)):
        p[grid.storage_bus[k]] += work.storage_k[k] * per * storage_p[k]
        q[grid.storage_bus[k]] += work.storage_k[k] * per * storage_q[k]
    for k in range(len(grid.gen_bus)):
        p[grid.gen_bus[k]] -= work.gen_k[k] * per * gen_p[k]
    to_nodes(grid, work)


@njit(cache=True)
def to_nodes(grid: Grid, work: Work) -> None:
    """Sum ``work.bus_p/q`` into ``work.s``."""
    work.s[:] = 0
    for b in range(len(work.bus_p)):
        if grid.bus_on[b] == 1:
            work.s[grid.bus_node[b]] += complex(work.bus_p[b], work.bus_q[b])


@njit(cache=True)
def set_voltages(grid: Grid, work: Work, gen_vm: FloatArray, ext_vm: FloatArray) -> None:
    """Take over set points; the idle voltage is recomputed only when a slack voltage changed."""
    changed = False
    for k in range(len(grid.gen_bus)):
        node = grid.bus_node[grid.gen_bus[k]]
        if work.gen_k[k] != 0 and gen_vm[k] != work.vm_set[node]:
            work.vm_set[node] = gen_vm[k]
            changed = changed or node >= grid.n_free
    for k in range(len(grid.ext_bus)):
        node = grid.bus_node[grid.ext_bus[k]]
        if grid.ext_share[k] > 0 and ext_vm[k] != work.vm_set[node]:
            work.vm_set[node] = ext_vm[k]
            changed = True
    if changed:
        set_slack(grid, work)


@njit(cache=True, forceinline=True)
def node_balance(grid: Grid, work: Work, i: int) -> complex:
    """Power that flows from node ``i`` into branches and shunts plus its appliances: what a source there feeds. [pu]"""
    current = 0j
    for e in range(grid.y_ptr[i], grid.y_ptr[i + 1]):
        current += work.y[e] * work.v[grid.y_col[e]]
    return work.v[i] * np.conj(current) + power_at(work, i, size(work.v[i]))


@njit(cache=True, forceinline=True)
def _buses(grid: Grid, work: Work, out: FloatArray) -> None:
    n = len(grid.bus_node)
    for b in range(n):
        i = grid.bus_node[b]
        if work.live[i] == 0 or grid.bus_on[b] == 0:
            out[b] = out[n + b] = out[2 * n + b] = out[3 * n + b] = np.nan
            continue
        v = work.v[i]
        vm = size(v)
        out[b] = vm
        out[n + b] = np.arctan2(v.imag, v.real) * _DEGREES
        shunt = np.conj(work.bus_shunt[b]) * vm * vm
        p = work.bus_p[b] * (work.zip_p[i, 0] + vm * (work.zip_p[i, 1] + vm * work.zip_p[i, 2]))
        q = work.bus_q[b] * (work.zip_q[i, 0] + vm * (work.zip_q[i, 1] + vm * work.zip_q[i, 2]))
        out[2 * n + b] = (p + shunt.real) * grid.base_mva
        out[3 * n + b] = (q + shunt.imag) * grid.base_mva
    for k in range(len(grid.gen_bus)):
        # reactive power of a voltage-controlled unit is what the node still needs
        i = grid.bus_node[grid.gen_bus[k]]
        if work.gen_k[k] != 0 and work.live[i] == 1 and (work.pv[i] == 1 or i >= grid.n_free):
            fed = node_balance(grid, work, i)
            out[3 * n + grid.gen_bus[k]] -= fed.imag * grid.base_mva
            if i >= grid.n_free:
                out[2 * n + grid.gen_bus[k]] -= fed.real * grid.base_mva


@njit(cache=True, forceinline=True)
def end_flows(grid: Grid, work: Work, k: int) -> tuple[complex, complex, float, float]:
    """Power [pu] and current [kA] at both ends of branch ``k``, into the branch."""
    f, t = grid.br_f[k], grid.br_t[k]
    vf, vt = work.v[f], work.v[t]
    i_f = work.br_now[k, 0] * vf + work.br_now[k, 1] * vt
    i_t = work.br_now[k, 2] * vf + work.br_now[k, 3] * vt
    return vf * np.conj(i_f), vt * np.conj(i_t), size(i_f) * grid.i_base_ka[f], size(i_t) * grid.i_base_ka[t]


@njit(cache=True, forceinline=True)
def _dead(grid: Grid, work: Work, k: int) -> bool:
    """Whether an end of branch ``k`` has no voltage; an end behind an open switch hangs on the other end."""
    f_live, t_live = work.live[grid.br_f[k]] == 1, work.live[grid.br_t[k]] == 1
    at_f, at_t = work.br_closed[k, 0], work.br_closed[k, 1]
    f_volts = f_live if at_f != 0 else at_t == 1 and t_live
    t_volts = t_live if at_t != 0 else at_f == 1 and f_live
    return not (f_volts and t_volts)


@njit(cache=True, forceinline=True)
def _line(grid: Grid, out: FloatArray, at: int, k: int, s_f: complex, i_f: float, i_t: float) -> None:
    lines, highest = len(grid.line_scale), max(i_f, i_t)
    out[at + k] = highest * grid.line_scale[k]
    out[at + lines + k] = highest
    out[at + 2 * lines + k] = s_f.real * grid.base_mva
    out[at + 3 * lines + k] = s_f.imag * grid.base_mva
    out[at + 4 * lines + k] = i_f


@njit(cache=True, forceinline=True)
def _trafo(grid: Grid, out: FloatArray, at: int, k: int, s_f: complex, i_f: float, i_t: float) -> None:
    trafos = grid.trafo_scale.shape[0]
    out[at + k] = max(i_f * grid.trafo_scale[k, 0], i_t * grid.trafo_scale[k, 1])
    out[at + trafos + k] = s_f.real * grid.base_mva
    out[at + 2 * trafos + k] = s_f.imag * grid.base_mva
    out[at + 3 * trafos + k] = i_f


@njit(cache=True, forceinline=True)
def _branches(grid: Grid, work: Work, out: FloatArray, at: int) -> float:
    """Write lines from ``at`` and transformers behind them; returns the losses of all branches. [pu]"""
    lines, trafos = len(grid.line_scale), grid.trafo_scale.shape[0]
    lost = 0.0
    for b in range(len(grid.br_f)):
        s_f, s_t, i_f, i_t = end_flows(grid, work, b)
        lost += s_f.real + s_t.real
        line, trafo = b - grid.line_first, b - grid.trafo_first
        is_line, is_trafo = 0 <= line < lines, 0 <= trafo < trafos
        if (is_line or is_trafo) and _dead(grid, work, b):
            s_f, i_f, i_t = complex(np.nan, np.nan), np.nan, np.nan
        if is_line:
            _line(grid, out, at, line, s_f, i_f, i_t)
        elif is_trafo:
            _trafo(grid, out, at + 5 * lines, trafo, s_f, i_f, i_t)
    return lost


@njit(cache=True)
def _trafos3w(grid: Grid, work: Work, out: FloatArray, at: int) -> int:
    count = grid.t3_scale.shape[0]
    for k in range(count):
        b = grid.t3_first + k
        if _dead(grid, work, b) or _dead(grid, work, b + count) or _dead(grid, work, b + 2 * count):
            out[at + k] = np.nan
            continue
        hv = end_flows(grid, work, b)[2] * grid.t3_scale[k, 0]
        mv = end_flows(grid, work, b + count)[3] * grid.t3_scale[k, 1]
        lv = end_flows(grid, work, b + 2 * count)[3] * grid.t3_scale[k, 2]
        out[at + k] = max(hv, mv, lv)
    return at + count


@njit(cache=True)
def losses(grid: Grid, work: Work) -> float:
    """Active power lost in all live branches. [MW]"""
    total = 0.0
    for k in range(len(grid.br_f)):
        s_f, s_t, _i_f, _i_t = end_flows(grid, work, k)
        total += s_f.real + s_t.real
    return total * grid.base_mva


@njit(cache=True)
def write(grid: Grid, work: Work, out: FloatArray) -> None:
    """Write all results at ``work.v`` into ``out``."""
    n, n_ext = len(grid.bus_node), len(grid.ext_bus)
    _buses(grid, work, out)
    lost = _branches(grid, work, out, 4 * n)
    at = _trafos3w(grid, work, out, 4 * n + 5 * len(grid.line_scale) + 4 * grid.trafo_scale.shape[0])
    for k in range(n_ext):
        i = grid.bus_node[grid.ext_bus[k]]
        fed = node_balance(grid, work, i) * grid.base_mva * grid.ext_share[k]
        if work.live[i] == 0:
            fed = 0j
        out[at + k], out[at + n_ext + k] = fed.real, fed.imag
        out[2 * n + grid.ext_bus[k]] -= fed.real
        out[3 * n + grid.ext_bus[k]] -= fed.imag
    out[at + 2 * n_ext] = lost * grid.base_mva


@njit(cache=True)
def batch(grid: Grid, work: Work, has_pv: bool, p: FloatArray, q: FloatArray, out: FloatArray) -> None:
    """Solve rows of net bus consumption [MW]; the first results of each go to ``out``, NaN on divergence."""
    lines, trafos = len(grid.line_scale), grid.trafo_scale.shape[0]
    keep = out.shape[1]
    total = 4 * len(grid.bus_node) + 5 * lines + 4 * trafos + grid.t3_scale.shape[0] + 2 * len(grid.ext_bus) + 1
    full = np.empty(total)
    for row in range(p.shape[0]):
        work.bus_p[:] = p[row] / grid.base_mva
        work.bus_q[:] = q[row] / grid.base_mva
        to_nodes(grid, work)
        method, _used = solve(grid, work, has_pv)
        if method < 0:
            out[row] = np.nan
        else:
            write(grid, work, full)
            out[row] = full[:keep]


def length(grid: Grid) -> int:
    """Length of the flat result array."""
    lines, trafos = len(grid.line_scale), len(grid.trafo_scale)
    return 4 * len(grid.bus_node) + 5 * lines + 4 * trafos + len(grid.t3_scale) + 2 * len(grid.ext_bus) + 1


def layout(grid: Grid) -> tuple[slice, ...]:
    """Slices of the flat array in the order of the arrays of a state."""
    n, lines, trafos, n_ext = len(grid.bus_node), len(grid.line_scale), len(grid.trafo_scale), len(grid.ext_bus)
    ends = np.cumsum([n] * 4 + [lines] * 5 + [trafos] * 4 + [len(grid.t3_scale)] + [n_ext] * 2).tolist()
    return tuple(slice(start, stop) for start, stop in zip([0, *ends[:-1]], ends, strict=True))


def cut(parts: tuple[slice, ...], out: FloatArray, converged: bool, method: str, iterations: int) -> GridState:
    """Views of the flat array as a state."""
    vm, va, p, q, loading, i_max, p_f, q_f, i_f, t_loading, t_p, t_q, t_i, t3, ext_p, ext_q = [out[at] for at in parts]
    return GridState(
        converged=converged,
        method=method,
        iterations=iterations,
        vm_pu=vm,
        va_degree=va,
        p_bus_mw=p,
        q_bus_mvar=q,
        line_loading_percent=loading,
        line_i_ka=i_max,
        line_p_from_mw=p_f,
        line_q_from_mvar=q_f,
        line_i_from_ka=i_f,
        trafo_loading_percent=t_loading,
        trafo_p_hv_mw=t_p,
        trafo_q_hv_mvar=t_q,
        trafo_i_hv_ka=t_i,
        trafo3w_loading_percent=t3,
        ext_p_mw=ext_p,
        ext_q_mvar=ext_q,
        losses_mw=out.item(-1),
    )
