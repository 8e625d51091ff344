"""Reactive set points of inverters for one state at given device positions.

Losses and a smoothed violation of the band are smooth in Q (overload has a kink at its limit, where the descent may
stop short of the optimum), and their gradient costs one adjoint row each, so the bounded quasi-Newton method L-BFGS-B
(R. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J. Sci. Comput. 16(5), 1995) finds the minimum in about ten power flows
however many inverters there are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from heila_mosaik.domain.congestion.limits import Limits
from heila_mosaik.domain.network import GridEngine, GridState, Observable
from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.domain.voltvar.characteristic import Inverter
from heila_mosaik.domain.voltvar.objective import Assessment, Weights, weigh

_SHARP_PER_PU = 1e3
"""How quickly the smooth penalty passes into the linear one: 1/1000 pu outside costs half of the linear price."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReactivePlan:
    """Answer of :func:`optimise_reactive`.

    Attributes:
        q_mvar: Reactive consumption of each inverter. [MVar] (m,)
        before, after: Cost without and with it.
        evaluations: Power flows with gradient.
    """

    q_mvar: FloatArray
    before: Assessment
    after: Assessment
    evaluations: int


def optimise_reactive(
    engine: GridEngine,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    inverters: tuple[Inverter, ...],
    limit_mvar: FloatArray,
    limits: Limits,
    weights: Weights,
    start_mvar: FloatArray | None = None,
) -> ReactivePlan:
    """Reactive set points of least cost.

    Args:
        engine: Compiled grid; its last solution changes.
        p_mw: Active consumption per bus. [MW] (n_bus,)
        q_mvar: Reactive consumption without that of the inverters. [MVar] (n_bus,)
        inverters: Inverters. (m,)
        limit_mvar: Reactive power available to each. [MVar] (m,)
        limits: Limits.
        weights: Prices.
        start_mvar: First guess. [MVar] (m,)
    """
    n, bus = len(p_mw), np.array([inverter.bus for inverter in inverters], np.int64)
    evaluations = 0

    def solved(q: FloatArray) -> GridState:
        return engine.solve_bus(p_mw, q_mvar + np.bincount(bus, q, n))

    def objective(q: FloatArray) -> tuple[float, FloatArray]:
        nonlocal evaluations
        evaluations += 1
        state = solved(q)
        if not state.converged:
            return 1e12, np.zeros(len(q))
        return _smooth(engine, state, bus, limits, weights)

    start = np.zeros(len(inverters)) if start_mvar is None else np.clip(start_mvar, -limit_mvar, limit_mvar)
    before = weigh(solved(np.zeros(len(inverters))), limits, weights)
    found = minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(-limit_mvar, limit_mvar, strict=True)),
        options={"maxiter": 30, "ftol": 1e-7, "gtol": 1e-5},
    )
    q = np.asarray(found.x, float)
    after = weigh(solved(q), limits, weights, q)
    if not after.cost_eur_per_h <= before.cost_eur_per_h:
        q, after = np.zeros(len(inverters)), before
    return ReactivePlan(q_mvar=q, before=before, after=after, evaluations=evaluations)


def _smooth(
    engine: GridEngine, state: GridState, bus: IntArray, limits: Limits, weights: Weights
) -> tuple[float, FloatArray]:
    """Cost with a smooth penalty and its gradient by the inverters' Q."""
    v = np.nan_to_num(state.vm_pu, nan=weights.target_vm_pu)
    margin = weights.margin_pu
    low, high = limits.v_min_pu + margin - v, v - (limits.v_max_pu - margin)
    price = weights.violation_eur_per_pu_h
    # x²/(x + 1/k): quadratic near the limit, linear beyond
    cost = weights.loss_eur_per_mwh * state.losses_mw
    slope = np.zeros(len(v))
    for excess, sign in ((np.maximum(low, 0.0), -1.0), (np.maximum(high, 0.0), 1.0)):
        soft = excess + 1.0 / _SHARP_PER_PU
        cost += price * float((excess**2 / soft).sum())
        slope += sign * price * (excess**2 + 2.0 * excess / _SHARP_PER_PU) / soft**2
    distance = v - weights.target_vm_pu
    cost += weights.profile_eur_per_pu2_h * float(np.mean(distance**2))
    slope += weights.profile_eur_per_pu2_h * 2.0 * distance / len(v)
    rows = np.flatnonzero(np.abs(slope) > 1e-9 * price) if weights.profile_eur_per_pu2_h == 0 else np.arange(len(v))
    lines = np.flatnonzero(state.line_loading_percent > limits.line_percent)
    trafos = np.flatnonzero(state.trafo_loading_percent > limits.trafo_percent)
    over = (state.line_loading_percent - limits.line_percent)[lines].sum()
    over += (state.trafo_loading_percent - limits.trafo_percent)[trafos].sum()
    cost += weights.overload_eur_per_percent_h * float(over)
    observables = (
        Observable.LOSSES_MW,
        *(Observable.VM_PU,) * len(rows),
        *(Observable.LINE_LOADING_PERCENT,) * len(lines),
        *(Observable.TRAFO_LOADING_PERCENT,) * len(trafos),
    )
    _, _, by_q = engine.sensitivity(observables, np.concatenate(([0], rows, lines, trafos)).astype(np.int64))
    by_q = np.nan_to_num(by_q[:, bus])
    weight = np.concatenate(
        (
            [weights.loss_eur_per_mwh],
            slope[rows],
            np.full(len(lines) + len(trafos), weights.overload_eur_per_percent_h),
        )
    )
    return float(cost), weight @ by_q
