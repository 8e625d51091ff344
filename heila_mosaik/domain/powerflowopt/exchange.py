"""Exchange with the overlying grid: what is levelled, and what an adjustment does to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.network import GridEngine, GridState, Observable
from heila_mosaik.domain.quantities import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """Figures of an exchange over time.

    Attributes:
        peak_import_mw: Largest import, zero if it always feeds back. [MW]
        peak_export_mw: Largest export. [MW]
        variation_mw: Sum of the changes from interval to interval. [MW]
    """

    peak_import_mw: float
    peak_export_mw: float
    variation_mw: float

    @classmethod
    def of(cls, power_mw: FloatArray) -> Exchange:
        """Figures of a series, import positive. [MW] (t,)"""
        seen = power_mw[np.isfinite(power_mw)]
        return cls(
            peak_import_mw=float(max(seen.max(initial=0.0), 0.0)),
            peak_export_mw=float(max((-seen).max(initial=0.0), 0.0)),
            variation_mw=float(np.abs(np.diff(seen)).sum()),
        )


def exchange_of(state: GridState) -> float:
    """Import over all external grids, negative when the grid feeds back. [MW]"""
    return float(np.nansum(state.ext_p_mw))


def effects(engine: GridEngine, p_mw: FloatArray, q_mvar: FloatArray, bus: IntArray) -> tuple[FloatArray, FloatArray]:
    """Exchange of every interval and what one more MW of consumption at some buses adds to it, losses included.

    Args:
        engine: Compiled grid; its last solution changes.
        p_mw: Expected active consumption per bus. [MW] (t, n_bus)
        q_mvar: Expected reactive consumption. [MVar] (t, n_bus)
        bus: Bus positions. (m,)

    Returns:
        exchange ``(t,)`` and effect ``(t, m)``; intervals without a solution hold NaN and one.
    """
    count = len(engine.network.ext_grids.ids)
    exchange, effect = np.full(len(p_mw), np.nan), np.ones((len(p_mw), len(bus)))
    for row in range(len(p_mw)):
        state = engine.solve_bus(p_mw[row], q_mvar[row])
        if not state.converged:
            continue
        exchange[row] = exchange_of(state)
        if len(bus):
            _, by_p, _ = engine.sensitivity((Observable.EXT_P_MW,) * count, np.arange(count))
            effect[row] = np.nan_to_num(by_p[:, bus]).sum(axis=0)
    return exchange, effect
