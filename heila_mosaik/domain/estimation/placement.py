"""Where further meters help most: greedy A-optimal placement.

Every candidate is what a DSO would really build: a secondary substation with V, P and Q, or a feeder measurement with
P and Q at a line's from end.  Gain is the share it removes of the summed variance of all bus voltages and line
loadings, each in units of what matters for congestion (0.002 pu and 1 %); after the best one the next is judged with
it in place.  Greedy choice of sensors is within 1 - 1/e of the optimum for submodular criteria and close to it for
this one (A. Krause, A. Singh, C. Guestrin, *J. Mach. Learn. Res.* 9, 2008).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.network import GridEngine, GridState, Observable
from heila_mosaik.domain.quantities import FloatArray, IntArray

_VOLTAGE_UNIT_PU, _LOADING_UNIT_PERCENT = 0.002, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Standard uncertainty of a meter that might be added.

    Attributes:
        voltage_pu: Voltage. [pu]
        power: Active and reactive power, of the value. [1]
        least_mw: Power at least. [MW]
    """

    voltage_pu: float = 0.005
    power: float = 0.01
    least_mw: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Derivatives of everything looked at, by the state; rows of interest first. (r, 2n + n_ext)"""

    by_state: FloatArray
    scale: FloatArray
    noise: FloatArray
    candidates: tuple[tuple[str, IntArray], ...]


def advise(
    engine: GridEngine,
    state: GridState,
    bus: IntArray,
    covariance: FloatArray,
    metered: Collection[str],
    accuracy: Accuracy,
    count: int,
) -> tuple[tuple[str, float], ...]:
    """Meters to add, best first.

    Args:
        engine: Compiled grid, its last solution the estimate.
        state: That solution.
        bus: Bus position of each injection. (n,)
        covariance: Posterior covariance of the state. (2n + n_ext, 2n + n_ext)
        metered: Elements that are measured already.
        accuracy: Accuracy of new meters.
        count: Number of meters.

    Returns:
        (element, share of the remaining variance it removes), for example ``("bus.12", 0.3)``.
    """
    rows = _rows(engine, state, bus, metered, accuracy)
    spread = rows.by_state @ covariance @ rows.by_state.T
    interest = len(rows.scale)
    weight = 1.0 / rows.scale**2
    found: list[tuple[str, float]] = []
    left = dict(rows.candidates)
    for _ in range(min(count, len(left))):
        total = float(weight @ np.diag(spread)[:interest])
        gains = {name: _gain(spread, at, rows.noise[at], weight) for name, at in left.items()}
        best = max(gains, key=lambda name: gains[name])
        if total <= 0.0 or gains[best] <= 0.0:
            break
        found.append((best, min(gains[best] / total, 1.0)))
        at = left.pop(best)
        column = spread[:, at]
        spread = spread - column @ np.linalg.solve(spread[np.ix_(at, at)] + np.diag(rows.noise[at]), column.T)
    return tuple(found)


def _gain(spread: FloatArray, at: IntArray, noise: FloatArray, weight: FloatArray) -> float:
    """Variance removed by measuring rows ``at``."""
    column = spread[: len(weight), at]
    inner = np.linalg.solve(spread[np.ix_(at, at)] + np.diag(noise), column.T)
    return float(weight @ np.einsum("ij,ji->i", column, inner))


def _rows(engine: GridEngine, state: GridState, bus: IntArray, metered: Collection[str], accuracy: Accuracy) -> _Rows:
    network = engine.network
    n_bus, n_line, n = len(network.bus_ids), len(network.lines.ids), len(bus)
    buses, lines = np.arange(n_bus), np.arange(n_line)
    kinds = (
        (Observable.VM_PU,) * n_bus
        + (Observable.LINE_LOADING_PERCENT,) * n_line
        + (Observable.LINE_P_FROM_MW,) * n_line
        + (Observable.LINE_Q_FROM_MVAR,) * n_line
    )
    _, d_p, d_q, d_vm = engine.sensitivity_all(kinds, np.concatenate((buses, lines, lines, lines)))
    grid = np.nan_to_num(np.hstack((d_p[:, bus], d_q[:, bus], d_vm)))
    at_bus = (bus[None, :] == buses[:, None]).astype(float)
    none = np.zeros((n_bus, n))
    ext = np.zeros((n_bus, d_vm.shape[1]))
    by_state = np.vstack((grid, np.hstack((at_bus, none, ext)), np.hstack((none, at_bus, ext))))
    power = np.concatenate((state.line_p_from_mw, state.line_q_from_mvar, state.p_bus_mw, state.q_bus_mvar))
    noise = np.concatenate(
        (
            np.full(n_bus, accuracy.voltage_pu**2),
            np.ones(n_line),
            np.maximum(accuracy.power * np.abs(np.nan_to_num(power)), accuracy.least_mw) ** 2,
        )
    )
    first_flow, first_bus = n_bus + n_line, n_bus + 3 * n_line
    stations = [
        (f"bus.{network.bus_ids[k]}", np.array([k, first_bus + k, first_bus + n_bus + k])) for k in sorted(set(bus))
    ]
    feeders = [(f"line.{network.lines.ids[k]}", np.array([first_flow + k, first_flow + n_line + k])) for k in lines]
    return _Rows(
        by_state=by_state,
        scale=np.concatenate((np.full(n_bus, _VOLTAGE_UNIT_PU), np.full(n_line, _LOADING_UNIT_PERCENT))),
        noise=noise,
        candidates=tuple((name, at) for name, at in (*stations, *feeders) if name not in metered),
    )
