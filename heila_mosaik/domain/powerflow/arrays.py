"""The arrays the kernels work on.

Two named tuples, because numba takes them whole: :class:`Grid` never changes after compilation and is shared between
copies; :class:`Work` belongs to one engine and is written in place.  All admittances and powers are in per unit of
``base_mva``; consumption is positive.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from heila_mosaik.domain.powerflow.symbolic import eliminate
from heila_mosaik.domain.quantities import ComplexArray, FloatArray, IntArray


class Grid(NamedTuple):
    """Constant arrays.  n nodes, the first ``n_free`` are not slack; nb branches; n_bus pandapower buses.

    Attributes:
        n_free: Number of non-slack nodes.
        base_mva: Base power. [MVA]
        y_ptr, y_col, y_diag: CSR pattern of the node admittance matrix. (n + 1,), (nnz,), (n,)
        y_lu: Place of each Y entry in the LU pattern, -1 for slack rows and columns. (nnz,)
        lu_ptr, lu_col, lu_diag: Pattern of the factors. (n_free + 1,), (nnz_lu,), (n_free,)
        br_f, br_t: Nodes of the branches. (nb,)
        br_at: Places of yff, yft, ytf, ytt in Y. (nb, 4)
        i_base_ka: Base current of each node. [kA] (n,)
        node_on: 0 for nodes whose buses are out of service. (n,)
        slack_va: Angle of the slack nodes. [rad] (n - n_free,)
        bus_node: Node of each bus. (n_bus,)
        bus_on: 0 for buses out of service. (n_bus,)
        s0: Fixed consumption of each bus (motors, wards). [pu] (n_bus,)
        load_bus, sgen_bus, storage_bus, gen_bus, ext_bus: Bus of each appliance.
        ext_share: Share of the slack node's power that each ext_grid takes. (n_ext,)
        line_first, trafo_first, t3_first: First branch of each table.
        line_scale: Percent per kA. (n_line,)
        trafo_scale: Percent per kA at hv and lv side. (n_trafo, 2)
        t3_scale: Percent per kA at hv, mv and lv side. (n_trafo3w, 3)
    """

    n_free: int
    base_mva: float
    y_ptr: IntArray
    y_col: IntArray
    y_diag: IntArray
    y_lu: IntArray
    lu_ptr: IntArray
    lu_col: IntArray
    lu_diag: IntArray
    br_f: IntArray
    br_t: IntArray
    br_at: IntArray
    i_base_ka: FloatArray
    node_on: IntArray
    slack_va: FloatArray
    bus_node: IntArray
    bus_on: IntArray
    s0: ComplexArray
    load_bus: IntArray
    sgen_bus: IntArray
    storage_bus: IntArray
    gen_bus: IntArray
    ext_bus: IntArray
    ext_share: FloatArray
    line_first: int
    trafo_first: int
    t3_first: int
    line_scale: FloatArray
    trafo_scale: FloatArray
    t3_scale: FloatArray


class Work(NamedTuple):
    """Arrays of one engine.

    Attributes:
        br_y: Admittances yff, yft, ytf, ytt of each branch at its present tap. (nb, 4)
        br_closed: 1 where the end is connected, 0 behind an open switch, -1 on a branch out of service. (nb, 2)
        br_now: Admittances with open ends eliminated. (nb, 4)
        live: 1 for nodes connected to a slack node. (n,)
        y: Values of Y. (nnz,)
        lu: Complex factors of Y_LL. (nnz_lu,)
        jac: 2x2 blocks of the factorised Jacobian, row major. (nnz_lu, 4)
        pv: 1 for voltage-controlled nodes. (n,)
        constant: 1 for nodes whose appliances draw constant power, 0 where a ZIP share depends on the voltage. (n,)
        vm_set: Voltage set points of slack and voltage-controlled nodes. [pu] (n,)
        i_slack: Y_LS V_S. (n_free,)
        v_idle: Voltage without appliances. (n,)
        v: Last voltage. (n,)
        s: Last net consumption at 1 pu. (n,)
        zip_p, zip_q: Constant power, current and impedance shares. (n, 3)
        load_k, sgen_k, storage_k, gen_k: Scaling, 0 when out of service.
        bus_p, bus_q: Last consumption by bus at 1 pu. [pu] (n_bus,)
        shunt: Shunt admittance of each node; steps of capacitor banks change it. (n,)
        bus_shunt: The same by bus. (n_bus,)
    """

    br_y: ComplexArray
    br_closed: IntArray
    br_now: ComplexArray
    live: IntArray
    y: ComplexArray
    lu: ComplexArray
    jac: FloatArray
    pv: IntArray
    constant: IntArray
    vm_set: FloatArray
    i_slack: ComplexArray
    v_idle: ComplexArray
    v: ComplexArray
    s: ComplexArray
    zip_p: FloatArray
    zip_q: FloatArray
    load_k: FloatArray
    sgen_k: FloatArray
    storage_k: FloatArray
    gen_k: FloatArray
    bus_p: FloatArray
    bus_q: FloatArray
    shunt: ComplexArray
    bus_shunt: ComplexArray

    def clone(self) -> Work:
        """Independent copy."""
        return self._replace(**{name: array.copy() for name, array in self._asdict().items()})


class Pattern(NamedTuple):
    """Numbering and sparsity of a grid.

    Attributes:
        place: New number of each node. (n,)
        y_ptr, y_col, y_diag, y_lu, lu_ptr, lu_col, lu_diag, br_at: As in :class:`Grid`.
    """

    place: IntArray
    y_ptr: IntArray
    y_col: IntArray
    y_diag: IntArray
    y_lu: IntArray
    lu_ptr: IntArray
    lu_col: IntArray
    lu_diag: IntArray
    br_at: IntArray


def number(slack: IntArray, br_f: IntArray, br_t: IntArray, n: int) -> Pattern:
    """Number the nodes in elimination order and lay out Y and its factors.

    Args:
        slack: Slack nodes in old numbers. (n_slack,)
        br_f: From node of each branch in old numbers. (nb,)
        br_t: To node of each branch in old numbers. (nb,)
        n: Number of nodes.

    Returns:
        New numbers (slack nodes last) and patterns.
    """
    is_slack = np.zeros(n, bool)
    is_slack[slack] = True
    free = np.flatnonzero(~is_slack)
    local = np.full(n, -1, np.int64)
    local[free] = np.arange(len(free))
    inner = ~is_slack[br_f] & ~is_slack[br_t]
    found = eliminate(len(free), local[br_f[inner]], local[br_t[inner]])
    place = np.empty(n, np.int64)
    place[free[found.order]] = np.arange(len(free))
    place[np.flatnonzero(is_slack)] = len(free) + np.arange(int(is_slack.sum()))
    f, t = place[br_f], place[br_t]
    diagonal = np.arange(n)
    keys = np.unique(np.concatenate([diagonal * n + diagonal, f * n + t, t * n + f]))
    rows, y_col = keys // n, keys % n
    y_ptr = np.searchsorted(rows, np.arange(n + 1)).astype(np.int64)
    br_at = np.searchsorted(keys, np.stack([f * n + f, f * n + t, t * n + f, t * n + t], axis=1)).astype(np.int64)
    lu_rows = np.repeat(np.arange(len(free)), np.diff(found.ptr))
    lu_keys = lu_rows * n + found.col
    inside = (rows < len(free)) & (y_col < len(free))
    y_lu = np.full(len(keys), -1, np.int64)
    y_lu[inside] = np.searchsorted(lu_keys, keys[inside])
    return Pattern(
        place=place,
        y_ptr=y_ptr,
        y_col=y_col.astype(np.int64),
        y_diag=np.searchsorted(keys, diagonal * n + diagonal).astype(np.int64),
        y_lu=y_lu,
        lu_ptr=found.ptr,
        lu_col=found.col,
        lu_diag=found.diag,
        br_at=br_at,
    )
