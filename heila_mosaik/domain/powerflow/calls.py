"""Kernels called from Python at every step: flat arrays in, results out.

Layout 3 of the flat arrays.  numba's disk cache looks at the time of this file only: change the number here whenever
``pack`` or a kernel that is called from here changes, or old machine code reads the new arrays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from heila_mosaik.domain.network import GridInput, GridState
from heila_mosaik.domain.powerflow.arrays import Grid, Work
from heila_mosaik.domain.powerflow.pack import Flat, as_grid, as_work
from heila_mosaik.domain.powerflow.results import METHODS, cut, gather, set_voltages, to_nodes, write
from heila_mosaik.domain.powerflow.solve import solve
from heila_mosaik.domain.quantities import ComplexArray, FloatArray, IntArray


@njit(cache=True)
def _finish(grid: Grid, work: Work, has_pv: bool, out: FloatArray) -> tuple[int, int]:
    method, used = solve(grid, work, has_pv)
    if method < 0:
        out[:] = np.nan
    else:
        write(grid, work, out)
    return method, used


@njit(cache=True)
def _step(  # noqa: PLR0913, PLR0917  # numba takes single arrays two to three times faster than tuples of them
    grid_ints: IntArray,
    grid_floats: FloatArray,
    grid_complexes: ComplexArray,
    work_ints: IntArray,
    work_floats: FloatArray,
    work_complexes: ComplexArray,
    has_pv: bool,
    load_p: FloatArray,
    load_q: FloatArray,
    sgen_p: FloatArray,
    sgen_q: FloatArray,
    storage_p: FloatArray,
    storage_q: FloatArray,
    gen_p: FloatArray,
    gen_vm: FloatArray,
    ext_vm: FloatArray,
    out: FloatArray,
) -> tuple[int, int]:
    grid = as_grid(grid_ints, grid_floats, grid_complexes)
    work = as_work(work_ints, work_floats, work_complexes)
    set_voltages(grid, work, gen_vm, ext_vm)
    gather(grid, work, load_p, load_q, sgen_p, sgen_q, storage_p, storage_q, gen_p)
    return _finish(grid, work, has_pv, out)


@njit(cache=True)
def _step_bus(  # noqa: PLR0913, PLR0917  # as above
    grid_ints: IntArray,
    grid_floats: FloatArray,
    grid_complexes: ComplexArray,
    work_ints: IntArray,
    work_floats: FloatArray,
    work_complexes: ComplexArray,
    has_pv: bool,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    out: FloatArray,
) -> tuple[int, int]:
    grid = as_grid(grid_ints, grid_floats, grid_complexes)
    work = as_work(work_ints, work_floats, work_complexes)
    work.bus_p[:] = p_mw / grid.base_mva
    work.bus_q[:] = q_mvar / grid.base_mva
    to_nodes(grid, work)
    return _finish(grid, work, has_pv, out)


@njit(cache=True)
def _voltages(  # as above
    grid_ints: IntArray,
    grid_floats: FloatArray,
    grid_complexes: ComplexArray,
    work_ints: IntArray,
    work_floats: FloatArray,
    work_complexes: ComplexArray,
    gen_vm: FloatArray,
    ext_vm: FloatArray,
) -> None:
    grid = as_grid(grid_ints, grid_floats, grid_complexes)
    work = as_work(work_ints, work_floats, work_complexes)
    set_voltages(grid, work, gen_vm, ext_vm)


def take_voltages(flat: Flat, gen_vm: FloatArray, ext_vm: FloatArray) -> None:
    """Take over set points of generators and external grids. [pu]"""
    _voltages(*flat, gen_vm, ext_vm)


def solve_input(flat: Flat, parts: tuple[slice, ...], has_pv: bool, given: GridInput) -> GridState:
    """One full step for appliance powers.

    Args:
        flat: Grid and work.
        parts: :func:`~heila_mosaik.domain.powerflow.results.layout` of the grid.
        has_pv: Whether a node is voltage-controlled.
        given: Powers.
    """
    out = np.empty(parts[-1].stop + 1)
    method, used = _step(
        *flat,
        has_pv,
        given.load_p_mw,
        given.load_q_mvar,
        given.sgen_p_mw,
        given.sgen_q_mvar,
        given.storage_p_mw,
        given.storage_q_mvar,
        given.gen_p_mw,
        given.gen_vm_pu,
        given.ext_vm_pu,
        out,
    )
    return cut(parts, out, method >= 0, METHODS[method], used)


def solve_bus(flat: Flat, parts: tuple[slice, ...], has_pv: bool, p_mw: FloatArray, q_mvar: FloatArray) -> GridState:
    """One full step for net consumption of each bus. [MW], [MVar]"""
    out = np.empty(parts[-1].stop + 1)
    method, used = _step_bus(*flat, has_pv, p_mw, q_mvar, out)
    return cut(parts, out, method >= 0, METHODS[method], used)
