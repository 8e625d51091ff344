"""Which solver a grid gets: own kernels, lightsim2grid's raw Newton-Raphson, or pandapower itself."""

from __future__ import annotations

import importlib.util
import logging
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandapower as pp
from scipy.sparse import csc_matrix

from heila_mosaik.domain.powerflow.arrays import Grid, Work

_LOG = logging.getLogger(__name__)
_UNKNOWN = (
    "dcline",
    "tcsc",
    "svc",
    "ssc",
    "vsc",
    "bus_dc",
    "line_dc",
    "b2b_vsc",
    "source_dc",
    "vsc_stacked",
    "vsc_bipolar",
    "load_dc",
)
_TOLERANCE_PU = 1e-9
_MAX_ITERATIONS = 30


class Rung(StrEnum):
    """Solver of a compiled grid, fastest first."""

    KERNELS = "kernels"
    LIGHTSIM2GRID = "lightsim2grid"
    PANDAPOWER = "pandapower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A rung and why it was chosen."""

    rung: Rung
    reason: str


def choose(net: Any, grid: Grid, work: Work) -> Choice:
    """Choose the rung for a compiled net.

    Args:
        net: pandapower net, after a power flow (for its options).
        grid: Compiled arrays.
        work: Work arrays.
    """
    only_pandapower = _only_pandapower(net)
    if only_pandapower:
        return Choice(rung=Rung.PANDAPOWER, reason=only_pandapower)
    if not work.pv.any():
        return Choice(rung=Rung.KERNELS, reason="no voltage-controlled units: fixed point, then Newton-Raphson")
    own = ""
    if len(work.v) - grid.n_free > 1:
        own = "several slack nodes"
    elif np.any(work.zip_p[:, 0] != 1.0) or np.any(work.zip_q[:, 0] != 1.0):
        own = "ZIP loads"
    elif importlib.util.find_spec("lightsim2grid") is None:
        own = "lightsim2grid absent"
    if own:
        return Choice(rung=Rung.KERNELS, reason=f"voltage-controlled units, {own}: Newton-Raphson")
    return Choice(rung=Rung.LIGHTSIM2GRID, reason="voltage-controlled units: raw Newton-Raphson with KLU")


def _only_pandapower(net: Any) -> str:
    """Why only pandapower can solve the net, empty if it is not so."""
    unknown = [table for table in _UNKNOWN if table in net and len(net[table])]
    if unknown:
        return f"elements only pandapower models: {', '.join(unknown)}"
    options = net._options  # noqa: SLF001  # pandapower keeps the options of the last power flow here
    for option in ("enforce_q_lims", "enforce_p_lims", "distributed_slack", "tdpf", "consider_line_temperature"):
        if options.get(option):
            return f"power-flow option {option} is set"
    if options.get("trafo_loading", "current") != "current":
        return "transformer loading by power is asked for"
    return ""


class LightSim:
    """lightsim2grid's Newton-Raphson on our admittance matrix (its net converter is not used)."""

    def __init__(self) -> None:
        from lightsim2grid.algorithm import NRSing_KLU  # noqa: PLC0415

        self._solver = NRSing_KLU()
        self._y: np.ndarray | None = None
        self._matrix: csc_matrix | None = None
        self._nodes = np.zeros(0, np.int64)

    def solve(self, grid: Grid, work: Work) -> int:
        """Solve for ``work.s`` into ``work.v``; iterations used or -1."""
        if self._matrix is None or self._y is None or not np.array_equal(self._y, work.y):
            self._prepare(grid, work)
        nodes = self._nodes
        start = work.v_idle[nodes].copy()
        controlled = (work.pv[nodes] == 1) & (nodes < grid.n_free)
        start[controlled] *= work.vm_set[nodes][controlled] / np.abs(start[controlled])
        slack = np.flatnonzero(nodes >= grid.n_free).astype(np.int32)
        free = np.flatnonzero((nodes < grid.n_free) & ~controlled).astype(np.int32)
        weights = np.zeros(len(nodes))
        weights[slack] = 1.0
        ok = self._solver.solve(
            self._matrix,
            start,
            -work.s[nodes],
            slack,
            weights,
            np.flatnonzero(controlled).astype(np.int32),
            free,
            _MAX_ITERATIONS,
            _TOLERANCE_PU,
        )
        if not ok:
            self._solver.reset()
            return -1
        work.v[:] = 0
        work.v[nodes] = self._solver.get_V()
        return int(self._solver.get_nb_iter())

    def _prepare(self, grid: Grid, work: Work) -> None:
        n = len(work.v)
        rows = np.repeat(np.arange(n), np.diff(grid.y_ptr))
        self._nodes = np.flatnonzero(work.live)
        full = csc_matrix((work.y, (rows, grid.y_col)), shape=(n, n))
        self._matrix = csc_matrix(full[self._nodes][:, self._nodes])
        self._y = work.y.copy()
        self._solver.reset()


def run_pandapower(net: Any) -> bool:
    """Run ``pp.runpp`` with the net's own options; False when it does not converge."""
    try:
        pp.runpp(net, **dict(getattr(net, "user_pf_options", {})))
    except pp.LoadflowNotConverged:
        return False
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        _LOG.warning("pandapower could not solve %s: %s", net.name, error)
        return False
    return True
