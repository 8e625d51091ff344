"""States of the grid that must keep their limits: the grid as it is, and after each outage looked at (N-1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from heila_mosaik.domain.congestion.conic import ConicStep
from heila_mosaik.domain.congestion.limits import Limits, Violation, violations
from heila_mosaik.domain.network import GridEngine, GridState, Observable
from heila_mosaik.domain.quantities import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """An adjustment that may be used: part of an offer, of a reserve, or a means of the DSO's own.

    Attributes:
        name: Identity of the offer or reserve.
        bus: Position of the bus where it works.
        p_min_mw, p_max_mw: Range of active adjustment, consumption positive, 0 inside. [MW]
        q_min_mvar, q_max_mvar: Range of reactive adjustment. [MVar]
        price_up: Price of lowering consumption. [EUR/MWh]
        price_down: Price of raising consumption. [EUR/MWh]
        price_q: Price of reactive adjustment in either direction. [EUR/MVarh]
    """

    name: str
    bus: int
    p_min_mw: float
    p_max_mw: float
    q_min_mvar: float = 0.0
    q_max_mvar: float = 0.0
    price_up: float = 0.0
    price_down: float = 0.0
    price_q: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RedispatchSettings:
    """Settings of the sequential conic programme.

    Attributes:
        max_rounds: Linearisations at most.
        near_voltage_pu: Buses this close to the band take part from the start. [pu]
        near_percent: Branches this close to the limit take part from the start. [%]
        max_rows: At most this many buses on each side and branches join in one round.
        tolerance_pu: Voltage violation that counts as none. [pu]
        tolerance_percent: Loading violation that counts as none. [%]
        tolerance_mw: Rounds end when no adjustment moves by more. [MW]
        tolerance_cost: ... or when all limits hold and the cost changes by less. [1]
        penalty: Price of 0.01 pu or 1 % of violation, over the highest price of an action. [1]
        proximity: Weight of staying near the last round's answer, of the highest price. [1/MW]
    """

    max_rounds: int = 10
    near_voltage_pu: float = 0.004
    near_percent: float = 4.0
    max_rows: int = 24
    tolerance_pu: float = 2e-6
    tolerance_percent: float = 1e-2
    tolerance_mw: float = 1e-4
    tolerance_cost: float = 2e-4
    penalty: float = 1e3
    proximity: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Contingency:
    """The grid after an outage.

    Attributes:
        outage: What is out, for example ``line.3``.
        engine: Compiled grid without it.
        limits: Limits that hold until the outage is dealt with.
    """

    outage: str
    engine: GridEngine
    limits: Limits


def outages(
    engine: GridEngine, limits: Limits, elements: Iterable[str], *, emergency_percent: float = 120.0
) -> tuple[tuple[Contingency, ...], tuple[str, ...]]:
    """Contingencies of single lines and transformers.

    Args:
        engine: Compiled grid, left as it is.
        limits: Limits of normal operation.
        elements: Elements, ``line.3`` or ``trafo.0``.
        emergency_percent: Loading allowed after an outage, of the normal limit. [%]

    Returns:
        Contingencies, and the elements whose outage leaves buses without supply: no redispatch helps there, only
        restoration does.
    """
    idle = np.zeros(len(engine.network.bus_ids))
    supplied = np.isfinite(engine.solve_bus(idle, idle).vm_pu)
    share = emergency_percent / 100.0
    wider = replace(limits, line_percent=limits.line_percent * share, trafo_percent=limits.trafo_percent * share)
    found: list[Contingency] = []
    radial: list[str] = []
    for element in elements:
        table, _, key = element.partition(".")
        other = engine.copy()
        other.set_in_service(table, int(key), False)
        if np.isfinite(other.solve_bus(idle, idle).vm_pu[supplied]).all():
            found.append(Contingency(outage=element, engine=other, limits=wider))
        else:
            radial.append(element)
    return tuple(found), tuple(radial)


class GridCase:
    """One state that must keep its limits, with the constraints that take part: they grow by what the AC check finds.

    Args:
        engine: Compiled grid of the state; its last solution changes.
        limits: Limits.
        settings: Settings of the programme.
        outage: What is out, empty for the grid as it is.
    """

    def __init__(self, engine: GridEngine, limits: Limits, settings: RedispatchSettings, outage: str = "") -> None:
        self.engine, self.limits, self.settings, self.outage = engine, limits, settings, outage
        self.state: GridState
        self.low: list[int] = []
        self.high: list[int] = []
        self.lines: list[int] = []
        self.trafos: list[int] = []

    def solve(self, p_mw: FloatArray, q_mvar: FloatArray) -> bool:
        """Solve for consumption per bus; returns whether there is a solution."""
        self.state = self.engine.solve_bus(p_mw, q_mvar)
        return self.state.converged

    def broken(self) -> tuple[Violation, ...]:
        """Limits broken at the last solution."""
        found = violations(
            self.state,
            self.engine.network,
            self.limits,
            voltage_pu=self.settings.tolerance_pu,
            percent=self.settings.tolerance_percent,
        )
        return tuple(replace(one, outage=self.outage) for one in found) if self.outage else found

    def extend(self) -> bool:
        """Let what is broken or near take part; returns whether anything was added."""
        state = self.state
        near_v, near_i = self.settings.near_voltage_pu, self.settings.near_percent
        added = self._add(self.low, self.limits.v_min_pu - state.vm_pu, near_v)
        added |= self._add(self.high, state.vm_pu - self.limits.v_max_pu, near_v)
        added |= self._add(self.lines, state.line_loading_percent - self.limits.line_percent, near_i)
        return self._add(self.trafos, state.trafo_loading_percent - self.limits.trafo_percent, near_i) or added

    def _add(self, members: list[int], excess: FloatArray, near: float) -> bool:
        candidates = np.flatnonzero(excess > -near)
        if len(candidates) > self.settings.max_rows:
            candidates = candidates[np.argsort(-excess[candidates], kind="stable")[: self.settings.max_rows]]
        new = [position for position in candidates.tolist() if position not in members]
        members += new
        return bool(new)

    def linearise(self, actions: tuple[Action, ...], bus: IntArray, x: FloatArray, *, proximity: float) -> ConicStep:
        """Constraints that take part about ``x``, the engine's last solution."""
        state = self.state
        sides = [*self.low, *self.high]
        lines, trafos = self.lines, self.trafos
        observables = (
            (Observable.VM_PU,) * len(sides)
            + (Observable.LINE_I_RE_KA,) * len(lines)
            + (Observable.LINE_I_IM_KA,) * len(lines)
            + (Observable.TRAFO_I_RE_KA,) * len(trafos)
            + (Observable.TRAFO_I_IM_KA,) * len(trafos)
        )
        positions = np.array([*sides, *lines, *lines, *trafos, *trafos], dtype=np.int64)
        value, d_p, d_q = self.engine.sensitivity(observables, positions)
        by_action = np.hstack((d_p[:, bus], d_q[:, bus]))
        at_zero = value - by_action @ x
        n_low, n_side, n_line, n_trafo = len(self.low), len(sides), len(lines), len(trafos)
        sign = np.concatenate((-np.ones(n_low), np.ones(n_side - n_low)))
        limits = self.limits
        band = np.concatenate((-limits.v_min_pu[self.low], limits.v_max_pu[self.high]))
        a, b, c = n_side + n_line, n_side + 2 * n_line, n_side + 2 * n_line + n_trafo
        real_rows, imag_rows = np.r_[n_side:a, b:c], np.r_[a:b, c : c + n_trafo]
        # loading is judged at the larger end; the phasor is of one end, so scale it to the loading it goes with
        size = np.hypot(value[real_rows], value[imag_rows])
        loading = np.concatenate((state.line_loading_percent[lines], state.trafo_loading_percent[trafos]))
        allowed = np.concatenate((limits.line_percent[lines], limits.trafo_percent[trafos]))
        factor = (100.0 * loading / (np.maximum(size, 1e-12) * allowed))[:, None]
        lower, upper = bounds(actions)
        price_up = np.array([action.price_up for action in actions] + [action.price_q for action in actions])
        price_down = np.array([action.price_down for action in actions] + [action.price_q for action in actions])
        highest = max(float(np.abs(np.concatenate((price_up, price_down))).max()), 1.0)
        return ConicStep(
            linear=100.0 * sign[:, None] * by_action[:n_side],
            bound=100.0 * (band - sign * at_zero[:n_side]),
            real=factor * by_action[real_rows],
            imag=factor * by_action[imag_rows],
            real0=factor[:, 0] * at_zero[real_rows],
            imag0=factor[:, 0] * at_zero[imag_rows],
            lower=lower,
            upper=upper,
            price_up=price_up,
            price_down=price_down,
            penalty=self.settings.penalty * highest,
            centre=x,
            proximity=proximity,
        )


def bounds(actions: tuple[Action, ...]) -> tuple[FloatArray, FloatArray]:
    """Least and greatest adjustments [P..., Q...]. (2k,)"""
    lower = np.array([action.p_min_mw for action in actions] + [action.q_min_mvar for action in actions])
    return lower, np.array([action.p_max_mw for action in actions] + [action.q_max_mvar for action in actions])


def together(steps: Sequence[ConicStep]) -> ConicStep:
    """One programme over the constraints of several cases; prices and ranges are those of the first."""
    if len(steps) == 1:
        return steps[0]

    def stacked(name: str) -> FloatArray:
        return np.concatenate([getattr(step, name) for step in steps])

    return replace(
        steps[0],
        linear=stacked("linear"),
        bound=stacked("bound"),
        real=stacked("real"),
        imag=stacked("imag"),
        real0=stacked("real0"),
        imag0=stacked("imag0"),
    )
