"""The compiled grid behind :class:`~heila_mosaik.domain.network.GridEngine`."""

from __future__ import annotations

import copy
import logging
from dataclasses import fields
from typing import Any

import numpy as np

from heila_mosaik.domain.network import GridInput, GridState, Network, Observable
from heila_mosaik.domain.powerflow import calls, results
from heila_mosaik.domain.powerflow.arrays import Grid
from heila_mosaik.domain.powerflow.pack import Flat, flatten_work
from heila_mosaik.domain.powerflow.sensitivity import adjoint_rows
from heila_mosaik.domain.powerflow.solve import solve
from heila_mosaik.domain.powerflow.topology import assemble
from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.changes import APPLIANCES, KEYED, Changeable
from heila_mosaik.gridmodel.compile import Compiled, compile_arrays, factors, zip_shares
from heila_mosaik.gridmodel.ladder import Choice, LightSim, Rung, choose, run_pandapower
from heila_mosaik.gridmodel.switching import BranchEnds, shunt_steps
from heila_mosaik.gridmodel.tables import read_input, read_network, write_input
from heila_mosaik.gridmodel.taps import Taps
from heila_mosaik.gridmodel.truth import read_state

_LOG = logging.getLogger(__name__)
_AGREEMENT_PU = 1e-6


class CompiledGrid(Changeable):
    """A pandapower net compiled for fast steps; keeps a private copy of the net for what needs a recompile.

    Attributes:
        network: Tables.
        rung: Solver in use.
        reason: Why this solver.
    """

    def __init__(self, net: Any, name: str = "") -> None:
        """Compile ``net``; the caller's net is not changed.

        Args:
            net: pandapower net.
            name: Name of the grid, by default the net's own.

        Raises:
            ProblemsError: If the power flow of the net as it stands does not converge.
        """
        self._net = copy.deepcopy(net)
        self._known: dict[str, frozenset[int]] = {}
        self.network: Network = read_network(net, name)
        self._input = read_input(net)
        if not run_pandapower(self._net):
            raise ProblemsError(
                f"grid {self.network.name}",
                [
                    Problem(
                        what="pandapower's power flow does not converge for the powers in the net",
                        where=f"grid {self.network.name}",
                        remedy="run heila_mosaik.gridmodel.diagnose_divergence on it; it names the likely elements",
                    )
                ],
            )
        self._reference = read_state(self._net)
        self._cache: dict[tuple[Any, ...], Compiled] = {}
        self._taps = Taps(self._net)
        self._light: LightSim | None = None
        self._last_ext_vm = self._input.ext_vm_pu.copy()
        self._last_gen_vm = self._input.gen_vm_pu.copy()
        self._adopt()
        self.rung, self.reason = Rung.KERNELS, ""
        self._take(choose(self._net, self._grid, self._work))
        self._check()

    # ------------------------------------------------------------------ compile

    def _key(self) -> tuple[Any, ...]:
        net = self._net
        fused = ~net.switch.et.isin(("l", "t"))
        parts = [tuple(net.switch.closed[fused].astype(bool)), tuple(net.bus.in_service.astype(bool))]
        parts += [tuple(net[table].in_service.astype(bool)) for table in KEYED]
        return tuple(parts)

    def _adopt(self) -> None:
        """Take the arrays for the present state of bus-bus switches, compiled now or before."""
        key = self._key()
        if key not in self._cache:
            self._cache[key] = compile_arrays(self._net)
        found = self._cache[key]
        self._state = list(self._cache).index(key)
        self._compiled = found
        self._grid: Grid = found.grid
        self._parts = results.layout(found.grid)
        self._work, flat = flatten_work(found.work)
        self._flat = Flat(*found.flat, *flat)
        net, work = self._net, self._work
        self._ends = BranchEnds(net, found.status, found.first)
        self._ends.write(work.br_closed)
        self._step_shunts(shunt_steps(net) - found.shunt_steps)
        for table in ("trafo", "trafo3w"):
            if table in found.first:
                rows = self._taps.rows(self._state, table)
                work.br_y[found.first[table] : found.first[table] + len(rows)] = rows
        self._refresh_factors()
        self._has_pv = bool(work.pv.any())
        results.set_voltages(self._grid, work, self._last_gen_vm, self._last_ext_vm)
        assemble(self._grid, work)
        self._solved = False

    def _refresh_factors(self) -> None:
        work = self._work
        zip_p, zip_q = zip_shares(self._net, self._grid.bus_node, len(work.v))
        work.zip_p[:], work.zip_q[:] = zip_p, zip_q
        work.constant[:] = ~(zip_p[:, 1:].any(axis=1) | zip_q[:, 1:].any(axis=1))
        for table, into in zip(
            (*APPLIANCES, "gen"), (work.load_k, work.sgen_k, work.storage_k, work.gen_k), strict=True
        ):
            into[:] = factors(self._net, table)

    def _take(self, choice: Choice) -> None:
        self.rung, self.reason = choice.rung, choice.reason
        self._light = LightSim() if choice.rung is Rung.LIGHTSIM2GRID else None
        _LOG.info("grid %s: solver %s (%s)", self.network.name, choice.rung, choice.reason)

    def _check(self) -> None:
        """Compare with pandapower's solution of the net as it stands; fall back when they differ."""
        if self.rung is Rung.PANDAPOWER:
            return
        own, truth = self.solve(self._input), self._reference
        same = np.array_equal(np.isnan(own.vm_pu), np.isnan(truth.vm_pu))
        worst = float(np.nanmax(np.abs(own.vm_pu - truth.vm_pu))) if own.converged else np.inf
        if not same or not worst <= _AGREEMENT_PU:
            self._take(Choice(rung=Rung.PANDAPOWER, reason=f"own solution differs from pandapower's by {worst:.2g} pu"))
        self._solved = False

    # ------------------------------------------------------------------ solve

    def default_input(self) -> GridInput:
        """Fresh input holding the powers of the compiled net."""
        return GridInput(**{field.name: getattr(self._input, field.name).copy() for field in fields(GridInput)})

    def solve(self, given: GridInput) -> GridState:
        """Solve for appliance powers; ``converged=False`` and NaN on divergence."""
        self._last_ext_vm, self._last_gen_vm = given.ext_vm_pu.copy(), given.gen_vm_pu.copy()
        if self.rung is Rung.KERNELS:
            state = calls.solve_input(self._flat, self._parts, self._has_pv, given)
            self._solved = state.converged
            return state
        results.set_voltages(self._grid, self._work, given.gen_vm_pu, given.ext_vm_pu)
        self._gather(given)
        if self.rung is Rung.LIGHTSIM2GRID:
            return self._solve_nodes()
        self._ends.update(self._net)
        write_input(self._net, given)
        self._solved = run_pandapower(self._net)
        state = read_state(self._net, self._solved)
        if self._solved:
            self._place(state)
        return state

    def _gather(self, given: GridInput) -> None:
        results.gather(
            self._grid,
            self._work,
            given.load_p_mw,
            given.load_q_mvar,
            given.sgen_p_mw,
            given.sgen_q_mvar,
            given.storage_p_mw,
            given.storage_q_mvar,
            given.gen_p_mw,
        )

    def _solve_nodes(self) -> GridState:
        """Solve for ``work.s`` with the kernels or lightsim2grid, Newton-Raphson of our own as its second try."""
        grid, work = self._grid, self._work
        out = np.full(results.length(grid), np.nan)
        used = self._light.solve(grid, work) if self._light is not None else -1
        name = str(Rung.LIGHTSIM2GRID)
        if used < 0:
            method, used = solve(grid, work, self._has_pv)
            name = results.METHODS[method]
        self._solved = name != "diverged"
        if self._solved:
            results.write(grid, work, out)
        return results.cut(self._parts, out, self._solved, name, used)

    def _place(self, state: GridState) -> None:
        """Take pandapower's voltages, so that sensitivities can be formed there."""
        volts = np.nan_to_num(state.vm_pu) * np.exp(1j * np.radians(np.nan_to_num(state.va_degree)))
        self._work.v[:] = self._work.v_idle
        self._work.v[self._grid.bus_node] = volts

    def solve_bus(self, p_mw: FloatArray, q_mvar: FloatArray) -> GridState:
        """Solve for net consumption per bus, external grid voltages as last given; ZIP shares as compiled."""
        if self.rung is Rung.PANDAPOWER:
            return self.solve(self._as_input(p_mw, q_mvar))
        if self.rung is Rung.KERNELS:
            p, q = np.ascontiguousarray(p_mw, float), np.ascontiguousarray(q_mvar, float)
            state = calls.solve_bus(self._flat, self._parts, self._has_pv, p, q)
            self._solved = state.converged
            return state
        work = self._work
        work.bus_p[:] = p_mw / self._grid.base_mva
        work.bus_q[:] = q_mvar / self._grid.base_mva
        results.to_nodes(self._grid, work)
        return self._solve_nodes()

    def set_ext_vm(self, vm_pu: FloatArray) -> None:
        """Voltage of every external grid for the power flows by bus that follow. [pu] (n_ext,)"""
        self._last_ext_vm = vm_pu.copy()
        calls.take_voltages(self._flat, self._last_gen_vm, self._last_ext_vm)
        self._solved = False

    def _as_input(self, p_mw: FloatArray, q_mvar: FloatArray) -> GridInput:
        """Input whose appliances give the wanted net consumption, for the pandapower rung."""
        given = self.default_input()
        given.ext_vm_pu, given.gen_vm_pu = self._last_ext_vm, self._last_gen_vm
        has_p, has_q = self.bus_injection(given)
        missing_p, missing_q = p_mw - has_p, q_mvar - has_q
        for bus in np.flatnonzero((np.abs(missing_p) > 1e-12) | (np.abs(missing_q) > 1e-12)):
            rows = np.flatnonzero((self._grid.load_bus == bus) & (self._work.load_k > 0))
            if not len(rows):
                raise ValueError(
                    f"bus.{self.network.bus_ids[bus]} has no load in service to give pandapower a power there"
                )
            given.load_p_mw[rows[0]] += missing_p[bus] / self._work.load_k[rows[0]]
            given.load_q_mvar[rows[0]] += missing_q[bus] / self._work.load_k[rows[0]]
        return given

    def solve_bus_batch(self, p_mw: FloatArray, q_mvar: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Solve many states; rows that diverge are NaN."""
        n, lines, trafos = len(self.network.bus_ids), len(self.network.lines.ids), len(self.network.trafos.ids)
        at = 4 * n + 5 * lines
        if self.rung is Rung.PANDAPOWER:
            states = [self.solve_bus(p, q) for p, q in zip(p_mw, q_mvar, strict=True)]
            return (
                np.asarray([state.vm_pu for state in states]).reshape(-1, n),
                np.asarray([state.line_loading_percent for state in states]).reshape(-1, lines),
                np.asarray([state.trafo_loading_percent for state in states]).reshape(-1, trafos),
            )
        out = np.empty((len(p_mw), at + trafos))
        results.batch(
            self._grid, self._work, self._has_pv, np.ascontiguousarray(p_mw), np.ascontiguousarray(q_mvar), out
        )
        self._solved = bool(len(p_mw)) and not bool(np.isnan(out[-1]).all())
        return out[:, :n], out[:, 4 * n : 4 * n + lines], out[:, at:]

    def bus_injection(self, given: GridInput) -> tuple[FloatArray, FloatArray]:
        """Net consumption per bus for appliance powers. [MW], [MVar] (n_bus,)"""
        self._gather(given)
        return self._work.bus_p * self._grid.base_mva, self._work.bus_q * self._grid.base_mva

    # ------------------------------------------------------------------ sensitivities

    def sensitivity_all(
        self, observables: tuple[Observable, ...], positions: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Values, d/dP, d/dQ and d/d vm_pu of the external grids at the last solution, in one pass."""
        if not self._solved:
            raise ArithmeticError("there is no converged solution to form sensitivities at; call solve first")
        shape = (len(self.network.bus_ids), len(self.network.ext_grids.ids))
        return adjoint_rows(self._flat, shape, observables, positions)

    def sensitivity(
        self, observables: tuple[Observable, ...], positions: IntArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Values, d/dP and d/dQ at the last solution; see :class:`~heila_mosaik.domain.network.GridEngine`."""
        values, by_p, by_q, _by_vm = self.sensitivity_all(observables, positions)
        return values, by_p, by_q

    def sensitivity_ext_vm(self, observables: tuple[Observable, ...], positions: IntArray) -> FloatArray:
        """D observable / d vm_pu of each external grid at the last solution. (m, n_ext)"""
        return self.sensitivity_all(observables, positions)[3]

    def to_pandapower(self, given: GridInput) -> Any:
        """Copy of the net in the present switching state with the given powers written into it."""
        self._ends.update(self._net)
        net = copy.deepcopy(self._net)
        write_input(net, given)
        return net

    def copy(self) -> CompiledGrid:
        """Independent engine with the same state; compiled arrays are shared."""
        other = copy.copy(self)
        other.__dict__.update(self._private_parts())
        return other

    def _private_parts(self) -> dict[str, Any]:
        """Copies of what a shallow copy would share and either engine writes to."""
        work, flat = flatten_work(self._work)
        self._ends.update(self._net)
        net = copy.deepcopy(self._net)
        return {
            "_net": net,
            "_work": work,
            "_flat": Flat(*self._compiled.flat, *flat),
            "_ends": self._ends.copy(),
            "_cache": dict(self._cache),
            "_taps": self._taps.copy(net),
            "_light": LightSim() if self._light is not None else None,
        }
