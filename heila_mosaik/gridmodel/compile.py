"""From a pandapower net to kernel arrays.

pandapower itself builds the branch admittances (trafo models, taps, three-winding transformers, impedances) and fuses
the buses; line and transformer switches are closed for that, because the kernels open ends themselves.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from pandapower.pd2ppc import _pd2ppc
from pandapower.powerflow import _add_auxiliary_elements
from pandapower.pypower.idx_brch import BR_STATUS, F_BUS, T_BUS
from pandapower.pypower.idx_bus import BASE_KV, BS, BUS_TYPE, GS, PD, QD, VA, VM
from pandapower.pypower.makeYbus import branch_vectors
from pandapower.results import init_results

from heila_mosaik.domain.powerflow.arrays import Grid, Work, number
from heila_mosaik.domain.powerflow.pack import flatten_grid
from heila_mosaik.domain.powerflow.topology import assemble
from heila_mosaik.domain.quantities import ComplexArray, FloatArray, IntArray
from heila_mosaik.gridmodel.switching import BranchEnds, shunt_steps, shunt_units
from heila_mosaik.gridmodel.tables import bus_positions, column

_EMPTY_LOOKUPS = ("bus", "bus_dc", "ext_grid", "gen", "branch", "branch_dc")
_BRANCH_SWITCHES = ("l", "t")
_REF, _PV = 3, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A grid compiled for one state of its bus-bus switches.

    Attributes:
        grid: Constant arrays, views of ``flat``.
        flat: The same arrays as the kernels take them.
        work: Work arrays in the state of the net.
        first: First branch of each table that has some.
        status: Branch status as pandapower sees it with closed switches. (nb,)
        shunt_steps: Step of each shunt in ``work``. (n_shunt,)
        shunt_units: Admittance of one step of each shunt. [pu] (n_shunt,)
        shunt_bus: Bus that carries each shunt's power in the results. (n_shunt,)
    """

    grid: Grid
    flat: tuple[IntArray, FloatArray, ComplexArray]
    work: Work
    first: dict[str, int]
    status: FloatArray
    shunt_steps: IntArray
    shunt_units: ComplexArray
    shunt_bus: IntArray


@dataclass(slots=True)
class _Case:
    bus: FloatArray
    branch: ComplexArray
    gen_bus: IntArray
    lookup: IntArray
    spans: dict[str, tuple[int, int]]


def _case(net: Any) -> _Case:
    """The case pandapower makes of ``net`` with all line and transformer switches closed and no appliance power."""
    closed = copy.deepcopy(net)
    closed._options = copy.deepcopy(net._options)  # noqa: SLF001  # deepcopy drops underscored entries in some releases
    ends = closed.switch.et.isin(_BRANCH_SWITCHES)
    closed.switch.loc[ends, "closed"] = True
    for table in ("load", "sgen", "storage"):
        closed[table]["p_mw"] = 0.0
        closed[table]["q_mvar"] = 0.0
    closed._options.update(  # noqa: SLF001
        check_connectivity=False, init_vm_pu="flat", init_va_degree="flat", init_results=False, recycle=None
    )
    _add_auxiliary_elements(closed)
    init_results(closed)
    closed["_pd2ppc_lookups"] = {key: np.array([], dtype=np.int64) for key in _EMPTY_LOOKUPS}
    case, _inner = _pd2ppc(closed)
    lookups = closed["_pd2ppc_lookups"]
    spans = {key: (int(span[0]), int(span[1])) for key, span in lookups["branch"].items()}
    return _Case(
        bus=case["bus"].real.astype(float),
        branch=case["branch"],
        gen_bus=case["gen"][:, 0].real.astype(np.int64),
        lookup=np.asarray(lookups["bus"], np.int64),
        spans=spans,
    )


def _admittances(branch: ComplexArray) -> ComplexArray:
    table = branch.copy()
    table[:, BR_STATUS] = 1
    with np.errstate(divide="ignore", invalid="ignore"):
        ytt, yff, yft, ytf = branch_vectors(table, len(table))
    found: ComplexArray = np.nan_to_num(np.stack([yff, yft, ytf, ytt], axis=1))
    return found


def tap_admittances(net: Any, table: str) -> ComplexArray:
    """Admittances of the branches of a transformer table with the taps as they stand in ``net``. (k, 4)"""
    case = _case(net)
    start, stop = case.spans[table]
    return _admittances(case.branch)[start:stop]


def zip_shares(net: Any, bus_node: IntArray, n: int) -> tuple[FloatArray, FloatArray]:
    """Constant power, current and impedance shares of each node, averaged over its loads as pandapower does. (n, 3)"""
    shares = []
    active = net.load.in_service.to_numpy(bool) & net.bus.in_service.loc[net.load.bus].to_numpy(bool)
    where = bus_positions(net, net.load.bus)
    for quantity in ("p", "q"):
        current = column(net.load, f"const_i_{quantity}_percent", 0.0) / 100.0
        impedance = column(net.load, f"const_z_{quantity}_percent", 0.0) / 100.0
        share = np.zeros((n, 3))
        share[:, 0] = 1.0
        for bus in np.unique(where[active]):
            rows = active & (where == bus)
            ci, cz = current[rows].mean(), impedance[rows].mean()
            share[bus_node[bus]] = (1.0 - ci - cz, ci, cz)
        shares.append(share)
    return shares[0], shares[1]


def factors(net: Any, table: str) -> FloatArray:
    """Scaling of each appliance, 0 when it or its bus is out of service."""
    rows = net[table]
    on = rows.in_service.to_numpy(bool) & net.bus.in_service.loc[rows.bus].to_numpy(bool)
    scaling = column(rows, "scaling", 1.0)
    return np.where(on, scaling, 0.0)


def _scales(net: Any, table: str) -> FloatArray:
    if table == "line":
        rated = net.line.max_i_ka * net.line.df * net.line.parallel
        with np.errstate(divide="ignore"):
            scales: FloatArray = 100.0 / rated.to_numpy(float)
        return scales
    rows = net[table]
    if table == "trafo":
        rated = (rows.sn_mva * rows.parallel * rows.df).to_numpy(float)
        sides = rows[["vn_hv_kv", "vn_lv_kv"]].to_numpy(float)
        return np.ascontiguousarray(sides * (np.sqrt(3.0) * 100.0 / rated)[:, None])
    volts = rows[["vn_hv_kv", "vn_mv_kv", "vn_lv_kv"]].to_numpy(float)
    return np.ascontiguousarray(
        volts * np.sqrt(3.0) * 100.0 / rows[["sn_hv_mva", "sn_mv_mva", "sn_lv_mva"]].to_numpy(float)
    )


def _home(bus_node: IntArray, bus_on: IntArray, preferred: IntArray, values: ComplexArray) -> ComplexArray:
    """Give each node's value to one of its buses: the first preferred one, else the first in service."""
    result = np.zeros(len(bus_node), complex)
    order = np.concatenate([preferred, np.flatnonzero(bus_on), np.arange(len(bus_node))]).astype(np.int64)
    taken = np.zeros(len(values), bool)
    for bus in order:
        node = bus_node[bus]
        if not taken[node]:
            taken[node] = True
            result[bus] = values[node]
    return result


def _with_shunt(net: Any) -> IntArray:
    tables = [bus_positions(net, net[table].bus) for table in ("shunt", "ward", "xward") if len(net[table])]
    return np.concatenate(tables) if tables else np.zeros(0, np.int64)


def _with_fixed(net: Any) -> IntArray:
    kinds = ("motor", "ward", "xward", "asymmetric_load", "asymmetric_sgen")
    tables = [bus_positions(net, net[table].bus) for table in kinds if len(net[table])]
    return np.concatenate(tables) if tables else np.zeros(0, np.int64)


def _ext_share(net: Any, bus_node: IntArray, where: IntArray) -> FloatArray:
    on = net.ext_grid.in_service.to_numpy(bool) & net.bus.in_service.loc[net.ext_grid.bus].to_numpy(bool)
    nodes = bus_node[where]
    return np.asarray([1.0 / np.sum(on & (nodes == nodes[k])) if on[k] else 0.0 for k in range(len(where))], float)


def compile_arrays(net: Any) -> Compiled:
    """Compile ``net``, whose ``_options`` a power flow has set.

    Returns:
        Arrays in the state of the net; Y is assembled and factorised.
    """
    case = _case(net)
    n, base = len(case.bus), float(net.sn_mva)
    br_f, br_t = case.branch[:, F_BUS].real.astype(np.int64), case.branch[:, T_BUS].real.astype(np.int64)
    kind = case.bus[:, BUS_TYPE]
    slack = np.flatnonzero(kind == _REF)
    pattern = number(slack, br_f, br_t, n)
    place = pattern.place
    order = np.argsort(place)
    bus_node = place[case.lookup[net.bus.index.to_numpy()]]
    bus_on = net.bus.in_service.to_numpy().astype(np.int64)
    table = case.bus[order]
    node_on = np.ones(n, np.int64)
    node_on[bus_node] = 0
    np.maximum.at(node_on, bus_node, bus_on)
    fixed: ComplexArray = (table[:, PD] + 1j * table[:, QD]).astype(np.complex128) / base
    ext_bus = bus_positions(net, net.ext_grid.bus)
    first = {key: span[0] for key, span in case.spans.items()}
    trafo_scale = _scales(net, "trafo") if len(net.trafo) else np.zeros((0, 2))
    grid = Grid(
        n_free=n - len(slack),
        base_mva=base,
        y_ptr=pattern.y_ptr,
        y_col=pattern.y_col,
        y_diag=pattern.y_diag,
        y_lu=pattern.y_lu,
        lu_ptr=pattern.lu_ptr,
        lu_col=pattern.lu_col,
        lu_diag=pattern.lu_diag,
        br_f=place[br_f],
        br_t=place[br_t],
        br_at=pattern.br_at,
        i_base_ka=base / (np.sqrt(3.0) * table[:, BASE_KV]),
        node_on=node_on,
        slack_va=np.radians(table[n - len(slack) :, VA]),
        bus_node=bus_node,
        bus_on=bus_on,
        s0=_home(bus_node, bus_on, _with_fixed(net), fixed),
        load_bus=bus_positions(net, net.load.bus),
        sgen_bus=bus_positions(net, net.sgen.bus),
        storage_bus=bus_positions(net, net.storage.bus),
        gen_bus=bus_positions(net, net.gen.bus),
        ext_bus=ext_bus,
        ext_share=_ext_share(net, bus_node, ext_bus),
        line_first=first.get("line", 0),
        trafo_first=first.get("trafo", 0),
        t3_first=first.get("trafo3w", 0),
        line_scale=_scales(net, "line") if len(net.line) else np.zeros(0),
        trafo_scale=trafo_scale,
        t3_scale=_scales(net, "trafo3w") if len(net.trafo3w) else np.zeros((0, 3)),
    )
    work = _work(net, case, grid, order)
    assemble(grid, work)
    grid, flat = flatten_grid(grid)
    shunt_bus = bus_positions(net, net.shunt.bus)
    kv = table[bus_node[shunt_bus], BASE_KV]
    return Compiled(
        grid=grid,
        flat=flat,
        work=work,
        first=first,
        status=case.branch[:, BR_STATUS].real.copy(),
        shunt_steps=shunt_steps(net),
        shunt_units=shunt_units(net, kv) / base,
        shunt_bus=_first_of_node(bus_node, _with_shunt(net))[bus_node[shunt_bus]],
    )


def _first_of_node(bus_node: IntArray, preferred: IntArray) -> IntArray:
    """First preferred bus of each node, -1 without one. (n,)"""
    found = np.full(int(bus_node.max()) + 1, -1, np.int64)
    for bus in preferred[::-1]:
        found[bus_node[bus]] = bus
    return found


def _work(net: Any, case: _Case, grid: Grid, order: IntArray) -> Work:
    n, nb, n_bus = len(order), len(case.branch), len(net.bus)
    zip_p, zip_q = zip_shares(net, grid.bus_node, n)
    table = case.bus[order]
    shunt: ComplexArray = (table[:, GS] + 1j * table[:, BS]).astype(np.complex128) / grid.base_mva
    ends = np.zeros((nb, 2), np.int64)
    BranchEnds(net, case.branch[:, BR_STATUS].real, {key: span[0] for key, span in case.spans.items()}).write(ends)
    return Work(
        br_y=_admittances(case.branch),
        br_closed=ends,
        br_now=np.zeros((nb, 4), complex),
        live=np.zeros(n, np.int64),
        y=np.zeros(len(grid.y_col), complex),
        lu=np.zeros(len(grid.lu_col), complex),
        jac=np.zeros((len(grid.lu_col), 4)),
        pv=(table[:, BUS_TYPE] == _PV).astype(np.int64),
        constant=np.ones(n, np.int64),
        vm_set=table[:, VM].copy(),
        i_slack=np.zeros(grid.n_free, complex),
        v_idle=np.ones(n, complex),
        v=np.ones(n, complex),
        s=np.zeros(n, complex),
        zip_p=zip_p,
        zip_q=zip_q,
        load_k=factors(net, "load"),
        sgen_k=factors(net, "sgen"),
        storage_k=factors(net, "storage"),
        gen_k=factors(net, "gen"),
        bus_p=np.zeros(n_bus),
        bus_q=np.zeros(n_bus),
        shunt=shunt,
        bus_shunt=_home(grid.bus_node, grid.bus_on, _with_shunt(net), shunt),
    )
