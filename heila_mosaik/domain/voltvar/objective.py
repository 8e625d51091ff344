"""What a state of the grid costs: losses, voltage profile, broken limits.

All parts are EUR/h, so that they weigh against the wear of a switching and the price of flexibility.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from heila_mosaik.domain.congestion.limits import Limits
from heila_mosaik.domain.network import GridEngine, GridState
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.voltvar.characteristic import Inverter, respond


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Prices of the parts.

    Attributes:
        loss_eur_per_mwh: Price of losses. [EUR/MWh]
        violation_eur_per_pu_h: Price of leaving the band, by bus and pu. [EUR/(pu·h)]
        overload_eur_per_percent_h: Price of overload, by branch and percent. [EUR/(%·h)]
        profile_eur_per_pu2_h: Price of the mean square distance from the target voltage. [EUR/(pu²·h)]
        target_vm_pu: Target voltage of the profile. [pu]
        margin_pu: Distance to the band that is kept. [pu]
    """

    loss_eur_per_mwh: float = 60.0
    violation_eur_per_pu_h: float = 20_000.0
    overload_eur_per_percent_h: float = 5.0
    profile_eur_per_pu2_h: float = 500.0
    target_vm_pu: float = 1.0
    margin_pu: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Cost of a state and what it is made of.

    Attributes:
        cost_eur_per_h: All parts together; infinite without a solution. [EUR/h]
        losses_mw: Active losses. [MW]
        outside_pu: Sum over buses of the distance to the band (margin kept). [pu]
        overload_percent: Sum over branches of the loading beyond the limit. [%]
        spread_pu: Root mean square distance from the target voltage. [pu]
        q_mvar: Reactive consumption of the inverters. [MVar] (m,)
        state: Power flow.
    """

    cost_eur_per_h: float
    losses_mw: float
    outside_pu: float
    overload_percent: float
    spread_pu: float
    state: GridState
    q_mvar: FloatArray = field(default_factory=lambda: np.zeros(0))


def weigh(state: GridState, limits: Limits, weights: Weights, q_mvar: FloatArray | None = None) -> Assessment:
    """Cost of a solved state."""
    q_mvar = np.zeros(0) if q_mvar is None else q_mvar
    if not state.converged:
        infinite = float("inf")
        return Assessment(
            cost_eur_per_h=infinite,
            losses_mw=infinite,
            outside_pu=infinite,
            overload_percent=infinite,
            spread_pu=infinite,
            state=state,
            q_mvar=q_mvar,
        )
    v = state.vm_pu
    margin = weights.margin_pu
    below = np.fmax(limits.v_min_pu + margin - v, 0.0)
    above = np.fmax(v - (limits.v_max_pu - margin), 0.0)
    outside = float(below.sum() + above.sum())
    over = np.fmax(state.line_loading_percent - limits.line_percent, 0.0).sum()
    over += np.fmax(state.trafo_loading_percent - limits.trafo_percent, 0.0).sum()
    distance = v - weights.target_vm_pu
    square = float(np.nanmean(distance * distance))
    cost = (
        weights.loss_eur_per_mwh * state.losses_mw
        + weights.violation_eur_per_pu_h * outside
        + weights.overload_eur_per_percent_h * float(over)
        + weights.profile_eur_per_pu2_h * square
    )
    return Assessment(
        cost_eur_per_h=cost,
        losses_mw=state.losses_mw,
        outside_pu=outside,
        overload_percent=float(over),
        spread_pu=square**0.5,
        state=state,
        q_mvar=q_mvar,
    )


def assess(
    engine: GridEngine,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    limits: Limits,
    weights: Weights,
    inverters: tuple[Inverter, ...] = (),
    limit_mvar: FloatArray | None = None,
    setpoint_mvar: FloatArray | None = None,
) -> Assessment:
    """Solve for consumption per bus, inverters included, and weigh the state.

    Args:
        engine: Compiled grid at the device positions in question.
        p_mw: Active consumption per bus. [MW] (n_bus,)
        q_mvar: Reactive consumption without that of the inverters. [MVar] (n_bus,)
        limits: Limits.
        weights: Prices.
        inverters: Inverters that follow characteristic or set point. (m,)
        limit_mvar: Reactive power available to each. [MVar] (m,)
        setpoint_mvar: Set points, NaN where the characteristic rules. [MVar] (m,)
    """
    if not inverters:
        return weigh(engine.solve_bus(p_mw, q_mvar), limits, weights)
    limit = np.array([each.q_max_mvar for each in inverters]) if limit_mvar is None else limit_mvar
    found = respond(engine, p_mw, q_mvar, inverters, limit, setpoint_mvar=setpoint_mvar, tolerance_mvar=1e-4)
    return weigh(found.state, limits, weights, found.q_mvar)
