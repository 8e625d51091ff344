"""Grid and Work in six flat arrays, so that a kernel call costs little.

numba inspects every array of every argument at each call: 0.15 us an array, 8 us for the fifty arrays of
:class:`~heila_mosaik.domain.powerflow.arrays.Grid` and :class:`~heila_mosaik.domain.powerflow.arrays.Work`, more than
a whole solve of a small grid.  So the arrays live as views in one integer, one real and one complex array each; Python
uses the views, the kernels called at every step take the flat arrays and cut them again, which is a few additions.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from heila_mosaik.domain.powerflow.arrays import Grid, Work
from heila_mosaik.domain.quantities import ComplexArray, FloatArray, IntArray

AnyArray: TypeAlias = npt.NDArray[Any]
_GRID_SCALARS = ("n_free", "line_first", "trafo_first", "t3_first")


class Flat(NamedTuple):
    """The six arrays a kernel takes: of the grid, then of the work.

    The integer arrays begin with the scalars, then the starts of each integer, real and complex field.
    """

    grid_ints: IntArray
    grid_floats: FloatArray
    grid_complexes: ComplexArray
    work_ints: IntArray
    work_floats: FloatArray
    work_complexes: ComplexArray


def _join(
    fields: dict[str, AnyArray], scalars: list[int], real_scalars: list[float]
) -> tuple[dict[str, AnyArray], tuple[IntArray, FloatArray, ComplexArray]]:
    """Join arrays by kind; returns views and the flat arrays."""
    kinds: dict[str, list[str]] = {"i": [], "f": [], "c": []}
    for name, array in fields.items():
        kinds[array.dtype.kind].append(name)
    header = len(scalars) + sum(len(names) + 1 for names in kinds.values())
    flats: dict[str, AnyArray] = {}
    starts = list(scalars)
    for kind, lead in (("i", header), ("f", len(real_scalars)), ("c", 0)):
        ends = lead + np.cumsum([fields[name].size for name in kinds[kind]], dtype=np.int64)
        starts += [lead, *ends.tolist()]
        dtype = {"i": np.int64, "f": np.float64, "c": np.complex128}[kind]
        flats[kind] = np.zeros(int(ends[-1]), dtype)
    flats["i"][:header] = starts
    flats["f"][: len(real_scalars)] = real_scalars
    views: dict[str, AnyArray] = {}
    for kind, lead in (("i", header), ("f", len(real_scalars)), ("c", 0)):
        at = lead
        for name in kinds[kind]:
            size = fields[name].size
            views[name] = flats[kind][at : at + size].reshape(fields[name].shape)
            views[name][...] = fields[name]
            at += size
    return views, (flats["i"], flats["f"], flats["c"])


def flatten_grid(grid: Grid) -> tuple[Grid, tuple[IntArray, FloatArray, ComplexArray]]:
    """Copy of ``grid`` whose arrays are views of the returned flat arrays."""
    fields = grid._asdict()
    scalars = [int(fields.pop(name)) for name in _GRID_SCALARS]
    base_mva = float(fields.pop("base_mva"))
    views, flats = _join(fields, scalars, [base_mva])
    views_of_grid: dict[str, Any] = dict(views)
    return grid._replace(**views_of_grid), flats


def flatten_work(work: Work) -> tuple[Work, tuple[IntArray, FloatArray, ComplexArray]]:
    """Copy of ``work`` whose arrays are views of the returned flat arrays."""
    views, flats = _join(work._asdict(), [], [])
    return work._replace(**views), flats


@njit(cache=True, forceinline=True)
def _cut(ints: IntArray, slot: int, data: AnyArray) -> AnyArray:
    return data[ints[slot] : ints[slot + 1]]


@njit(cache=True, forceinline=True)
def as_grid(ints: IntArray, floats: FloatArray, complexes: ComplexArray) -> Grid:
    """Views of flat arrays made by :func:`flatten_grid`."""
    return Grid(
        n_free=ints[0],
        base_mva=floats[0],
        y_ptr=_cut(ints, 4, ints),
        y_col=_cut(ints, 5, ints),
        y_diag=_cut(ints, 6, ints),
        y_lu=_cut(ints, 7, ints),
        lu_ptr=_cut(ints, 8, ints),
        lu_col=_cut(ints, 9, ints),
        lu_diag=_cut(ints, 10, ints),
        br_f=_cut(ints, 11, ints),
        br_t=_cut(ints, 12, ints),
        br_at=_cut(ints, 13, ints).reshape((-1, 4)),
        i_base_ka=_cut(ints, 23, floats),
        node_on=_cut(ints, 14, ints),
        slack_va=_cut(ints, 24, floats),
        bus_node=_cut(ints, 15, ints),
        bus_on=_cut(ints, 16, ints),
        s0=_cut(ints, 30, complexes),
        load_bus=_cut(ints, 17, ints),
        sgen_bus=_cut(ints, 18, ints),
        storage_bus=_cut(ints, 19, ints),
        gen_bus=_cut(ints, 20, ints),
        ext_bus=_cut(ints, 21, ints),
        ext_share=_cut(ints, 25, floats),
        line_first=ints[1],
        trafo_first=ints[2],
        t3_first=ints[3],
        line_scale=_cut(ints, 26, floats),
        trafo_scale=_cut(ints, 27, floats).reshape((-1, 2)),
        t3_scale=_cut(ints, 28, floats).reshape((-1, 3)),
    )


@njit(cache=True, forceinline=True)
def as_work(ints: IntArray, floats: FloatArray, complexes: ComplexArray) -> Work:
    """Views of flat arrays made by :func:`flatten_work`."""
    return Work(
        br_y=_cut(ints, 16, complexes).reshape((-1, 4)),
        br_closed=_cut(ints, 0, ints).reshape((-1, 2)),
        br_now=_cut(ints, 17, complexes).reshape((-1, 4)),
        live=_cut(ints, 1, ints),
        y=_cut(ints, 18, complexes),
        lu=_cut(ints, 19, complexes),
        jac=_cut(ints, 5, floats).reshape((-1, 4)),
        pv=_cut(ints, 2, ints),
        constant=_cut(ints, 3, ints),
        vm_set=_cut(ints, 6, floats),
        i_slack=_cut(ints, 20, complexes),
        v_idle=_cut(ints, 21, complexes),
        v=_cut(ints, 22, complexes),
        s=_cut(ints, 23, complexes),
        zip_p=_cut(ints, 7, floats).reshape((-1, 3)),
        zip_q=_cut(ints, 8, floats).reshape((-1, 3)),
        load_k=_cut(ints, 9, floats),
        sgen_k=_cut(ints, 10, floats),
        storage_k=_cut(ints, 11, floats),
        gen_k=_cut(ints, 12, floats),
        bus_p=_cut(ints, 13, floats),
        bus_q=_cut(ints, 14, floats),
        shunt=_cut(ints, 24, complexes),
        bus_shunt=_cut(ints, 25, complexes),
    )
