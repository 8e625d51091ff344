"""The grid as the domain sees it: compiled tables of numbers, no pandapower.

Positions (0..n-1) index the arrays; ``ids`` hold the pandapower index of each row.  Element names in messages are
``<table>.<id>``, for example ``bus.7``, ``line.3``, ``trafo.0``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from heila_mosaik.domain.quantities import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Appliances:
    """Elements of one kind that sit at one bus each (loads, sgens, storages, gens, ext_grids).

    Attributes:
        ids: pandapower index. (n,)
        names: Name. (n,)
        bus: Position of the bus. (n,)
        scale: Rated power used for uncertainty and checks (``sn_mva`` or largest known power). [MVA] (n,)
    """

    ids: IntArray
    names: tuple[str, ...]
    bus: IntArray
    scale: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Branches:
    """Two-ended elements with a current limit.

    Attributes:
        ids: pandapower index. (n,)
        names: Name. (n,)
        from_bus: Position of the from (high-voltage) bus. (n,)
        to_bus: Position of the to (low-voltage) bus. (n,)
        max_loading_percent: Limit. [%] (n,)
        in_service: Service state when the grid was read. (n,)
    """

    ids: IntArray
    names: tuple[str, ...]
    from_bus: IntArray
    to_bus: IntArray
    max_loading_percent: FloatArray
    in_service: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Switches:
    """Switches between two buses or at one end of a line or transformer.

    Attributes:
        ids: pandapower index. (n,)
        names: Name. (n,)
        kind: ``bus``, ``line`` or ``trafo``: what is at the other side. (n,)
        bus: Position of the bus. (n,)
        other: Position of the other bus, the line or the transformer. (n,)
        closed: Position when the grid was read. (n,)
        breaker: Whether it can interrupt a fault (type ``CB``). (n,)
    """

    ids: IntArray
    names: tuple[str, ...]
    kind: tuple[str, ...]
    bus: IntArray
    other: IntArray
    closed: BoolArray
    breaker: BoolArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """Tables of a grid.

    Attributes:
        name: Name of the grid.
        bus_ids: pandapower bus index. (n_bus,)
        bus_names: Name. (n_bus,)
        vn_kv: Nominal voltage. [kV] (n_bus,)
        v_min_pu: Lowest allowed voltage. [pu] (n_bus,)
        v_max_pu: Highest allowed voltage. [pu] (n_bus,)
        xy: Position on the map, NaN where unknown. (n_bus, 2)
        lines, trafos: Branches (three-winding transformers are in ``trafos3w``, ends hv/lv).
        switches: Switches; those of three-winding transformers are left out.
        loads, sgens, storages, gens, ext_grids: Appliances.
    """

    name: str
    bus_ids: IntArray
    bus_names: tuple[str, ...]
    vn_kv: FloatArray
    v_min_pu: FloatArray
    v_max_pu: FloatArray
    xy: FloatArray
    lines: Branches
    trafos: Branches
    trafos3w: Branches
    switches: Switches
    loads: Appliances
    sgens: Appliances
    storages: Appliances
    gens: Appliances
    ext_grids: Appliances


@dataclass(slots=True, kw_only=True)
class GridInput:
    """Powers of the appliances, each table in pandapower's own sign (sgen feeds positive), before ``scaling``.

    Arrays have the length of the table; MW and MVar.
    """

    load_p_mw: FloatArray
    load_q_mvar: FloatArray
    sgen_p_mw: FloatArray
    sgen_q_mvar: FloatArray
    storage_p_mw: FloatArray
    storage_q_mvar: FloatArray
    gen_p_mw: FloatArray
    gen_vm_pu: FloatArray
    ext_vm_pu: FloatArray


@dataclass(slots=True, kw_only=True)
class GridState:
    """Solution of one power flow.  De-energised elements hold NaN, as in pandapower.

    Attributes:
        converged: Whether the power flow converged.
        method: Rung of the ladder that solved it, ``fixed_point``, ``newton``, ``lightsim2grid`` or ``pandapower``.
        iterations: Iterations used.
        vm_pu, va_degree: Voltage. (n_bus,)
        p_bus_mw, q_bus_mvar: Net consumption at each bus (pandapower ``res_bus`` sign). (n_bus,)
        line_loading_percent, line_i_ka: Loading and larger end current. (n_line,)
        line_p_from_mw, line_q_from_mvar, line_i_from_ka: Flow at the from end. (n_line,)
        trafo_loading_percent, trafo_p_hv_mw, trafo_q_hv_mvar, trafo_i_hv_ka: Transformers. (n_trafo,)
        trafo3w_loading_percent: Three-winding transformers. (n_trafo3w,)
        ext_p_mw, ext_q_mvar: Import from each external grid (positive feeds the grid). (n_ext,)
        losses_mw: Active losses in all branches. [MW]
    """

    converged: bool
    method: str
    iterations: int
    vm_pu: FloatArray
    va_degree: FloatArray
    p_bus_mw: FloatArray
    q_bus_mvar: FloatArray
    line_loading_percent: FloatArray
    line_i_ka: FloatArray
    line_p_from_mw: FloatArray
    line_q_from_mvar: FloatArray
    line_i_from_ka: FloatArray
    trafo_loading_percent: FloatArray
    trafo_p_hv_mw: FloatArray
    trafo_q_hv_mvar: FloatArray
    trafo_i_hv_ka: FloatArray
    trafo3w_loading_percent: FloatArray
    ext_p_mw: FloatArray
    ext_q_mvar: FloatArray
    losses_mw: float


class Observable(StrEnum):
    """Quantity whose derivative with respect to bus consumption can be asked for."""

    VM_PU = "vm_pu"
    LINE_P_FROM_MW = "line_p_from_mw"
    LINE_Q_FROM_MVAR = "line_q_from_mvar"
    LINE_I_FROM_KA = "line_i_from_ka"
    LINE_LOADING_PERCENT = "line_loading_percent"
    LINE_I_RE_KA = "line_i_re_ka"
    LINE_I_IM_KA = "line_i_im_ka"
    TRAFO_P_HV_MW = "trafo_p_hv_mw"
    TRAFO_Q_HV_MVAR = "trafo_q_hv_mvar"
    TRAFO_I_HV_KA = "trafo_i_hv_ka"
    TRAFO_LOADING_PERCENT = "trafo_loading_percent"
    TRAFO_I_RE_KA = "trafo_i_re_ka"
    TRAFO_I_IM_KA = "trafo_i_im_ka"
    EXT_P_MW = "ext_p_mw"
    EXT_Q_MVAR = "ext_q_mvar"
    LOSSES_MW = "losses_mw"


class GridEngine(Protocol):
    """A compiled grid that solves power flows; ``heila_mosaik.gridmodel.compile_net`` makes one."""

    network: Network

    def default_input(self) -> GridInput:
        """Fresh input holding the powers of the compiled net."""
        ...

    def solve(self, given: GridInput) -> GridState:
        """Solve for appliance powers; returns ``converged=False`` on divergence, never raises for it."""
        ...

    def solve_bus(self, p_mw: FloatArray, q_mvar: FloatArray) -> GridState:
        """Solve for net consumption per bus (PQ buses; external grid voltages as compiled or last given)."""
        ...

    def set_ext_vm(self, vm_pu: FloatArray) -> None:
        """Voltage of every external grid for the power flows by bus that follow. [pu] (n_ext,)"""
        ...

    def solve_bus_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Solve many states ``(k, n_bus)``; returns vm_pu ``(k, n_bus)``, line and trafo loading ``(k, n)``.

        Rows that diverge are NaN.
        """
        ...

    def bus_injection(self, given: GridInput) -> tuple[FloatArray, FloatArray]:
        """Net consumption per bus for appliance powers. [MW], [MVar] (n_bus,)"""
        ...

    def sensitivity(
        self, observables: tuple[Observable, ...], positions: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Values and derivatives at the last solution by adjoint rows.

        Args:
            observables: Quantity of each row. (m,)
            positions: Position of bus, line, trafo or ext_grid of each row (0 for losses). (m,)

        Returns:
            values ``(m,)``, d/dP ``(m, n_bus)`` per MW consumed, d/dQ ``(m, n_bus)`` per MVar consumed.
        """
        ...

    def sensitivity_ext_vm(self, observables: tuple[Observable, ...], positions: IntArray) -> FloatArray:
        """D observable / d vm_pu of each external grid at the last solution. (m, n_ext)"""
        ...

    def sensitivity_all(
        self, observables: tuple[Observable, ...], positions: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """What :meth:`sensitivity` and :meth:`sensitivity_ext_vm` give, in one pass."""
        ...

    def set_tap(self, trafo: int, tap_pos: float, table: str = "trafo") -> None:
        """Set the tap of transformer ``trafo`` (pandapower id)."""
        ...

    def set_switch(self, switch: int, closed: bool) -> None:
        """Open or close switch (pandapower id); a bus-bus switch recompiles from a cache."""
        ...

    def tap(self, trafo: int, table: str = "trafo") -> float:
        """Present tap of transformer ``trafo`` (pandapower id)."""
        ...

    def set_shunt_step(self, shunt: int, step: int) -> None:
        """Set the step of capacitor bank or reactor ``shunt`` (pandapower id)."""
        ...

    def shunt_step(self, shunt: int) -> int:
        """Present step of capacitor bank or reactor ``shunt`` (pandapower id)."""
        ...

    def set_switches(self, positions: Mapping[int, bool]) -> None:
        """Open or close several switches (pandapower ids) at once."""
        ...

    def closed(self, switch: int) -> bool:
        """Present position of a switch (pandapower id)."""
        ...

    def in_service(self, table: str, element: int) -> bool:
        """Whether an element is in service."""
        ...

    def set_in_service(self, table: str, element: int, in_service: bool) -> None:
        """Take an element (``line``, ``trafo``, ``bus``, ``load``, ``sgen``, ``storage``, ``gen``) in or out."""
        ...

    def copy(self) -> GridEngine:
        """Independent engine with the same state."""
        ...
