"""Least-cost redispatch of P and Q under voltage and thermal limits, by sequential conic programming.

Each round linearises the AC power flow at the present point (adjoint rows of the compiled grid), solves one conic
programme over the constraints that matter, and lets the AC power flow judge the answer; elements found broken join
the working set.  Limits are soft at a price far above any flexibility, so a case nothing can cure returns the least
violation and says what is left.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from heila_mosaik.domain.congestion.conic import ConicStep, solve_step
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


class Status(StrEnum):
    """Outcome of an optimisation."""

    NOT_NEEDED = "not_needed"
    SOLVED = "solved"
    BEST_EFFORT = "best_effort"
    FAILED = "failed"


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
class Redispatch:
    """Answer of :func:`optimise`.

    Attributes:
        p_mw, q_mvar: Adjustment of each action. [MW], [MVar] (k,)
        cost_eur_per_h: Cost at these adjustments. [EUR/h]
        before, after: Broken limits before and after, judged by AC power flow.
        status: Whether all limits hold.
        reason: In words, for the record.
        rounds: Linearisations used.
        state: AC power flow at the answer.
    """

    p_mw: FloatArray
    q_mvar: FloatArray
    cost_eur_per_h: float
    before: tuple[Violation, ...]
    after: tuple[Violation, ...]
    status: Status
    reason: str
    rounds: int
    state: GridState


class _Working:
    """Constraints that take part: bus sides and branches, growing by what the AC check finds."""

    def __init__(self, engine: GridEngine, limits: Limits, settings: RedispatchSettings) -> None:
        self.network, self.limits, self.settings = engine.network, limits, settings
        self.low: list[int] = []
        self.high: list[int] = []
        self.lines: list[int] = []
        self.trafos: list[int] = []

    def extend(self, state: GridState) -> bool:
        """Add what is broken or near; returns whether anything was added."""
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


def optimise(
    engine: GridEngine,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    actions: tuple[Action, ...],
    limits: Limits,
    settings: RedispatchSettings | None = None,
    start: FloatArray | None = None,
) -> Redispatch:
    """Find the cheapest adjustments that keep all limits.

    Args:
        engine: Compiled grid; its last solution changes.
        p_mw: Active consumption per bus without any adjustment. [MW] (n_bus,)
        q_mvar: Reactive consumption per bus. [MVar] (n_bus,)
        actions: Adjustments that may be used. (k,)
        limits: Limits to keep.
        settings: Settings.
        start: Adjustments [P..., Q...] to begin at, for example those in force; cut to the ranges. (2k,)
    """
    settings = settings or RedispatchSettings()
    k = len(actions)
    x = np.zeros(2 * k)
    state = engine.solve_bus(p_mw, q_mvar)
    before = _broken(state, engine, limits, settings)
    decided = _decided(state, before, k)
    if decided is not None:
        return _answer(x, state, actions, before, before, *decided, 0)
    bus = np.array([action.bus for action in actions], dtype=np.int64)
    working = _Working(engine, limits, settings)
    working.extend(state)
    after = before
    warm = start is not None
    if start is not None:
        x, state = _step(engine, p_mw, q_mvar, bus, x, np.clip(start, *_range(actions)))
        after = _broken(state, engine, limits, settings)
    cost = _cost(x, actions)
    best = (_merit(after, cost), x, state, after)
    rounds = 0
    for rounds in range(1, settings.max_rounds + 1):
        grown = working.extend(state)
        # the first round goes anywhere; later ones weigh the way, or they jump between answers of equal price
        step = _linearise(engine, working, state, actions, bus, x, proximity=settings.proximity if rounds > 1 else 0.0)
        solved = solve_step(step)
        if solved is None:
            break
        moved = float(np.abs(solved[0] - x).max())
        x, state = _step(engine, p_mw, q_mvar, bus, x, solved[0])
        after = _broken(state, engine, limits, settings)
        cost_before, cost = cost, _cost(x, actions)
        merit = _merit(after, cost)
        if state.converged and (merit <= best[0] or moved < settings.tolerance_mw):
            best = (merit, x, state, after)
        settled = not after and abs(cost - cost_before) <= settings.tolerance_cost * max(cost, 1e-3)
        if (moved < settings.tolerance_mw and not (grown and after)) or (settled and (rounds > 1 or warm)):
            break
    _, x, state, after = best
    if state.converged:
        state = engine.solve_bus(*_applied(p_mw, q_mvar, bus, x))
    if not after:
        reason = f"{len(before)} broken limits cured, {_left(before)}"
        return _answer(x, state, actions, before, after, Status.SOLVED, reason, rounds)
    reason = f"{_exhausted(x, actions)}; least violation left: {_left(after)}"
    return _answer(x, state, actions, before, after, Status.BEST_EFFORT, reason, rounds)


def _decided(state: GridState, before: tuple[Violation, ...], k: int) -> tuple[Status, str] | None:
    """Outcome and reason where nothing can or need be optimised."""
    if not state.converged:
        return Status.FAILED, "the power flow has no solution"
    if not before:
        return Status.NOT_NEEDED, "all limits hold without adjustment"
    return None if k else (Status.BEST_EFFORT, f"no flexibility is available; {_left(before)}")


def _range(actions: tuple[Action, ...]) -> tuple[FloatArray, FloatArray]:
    """Least and greatest adjustments [P..., Q...]. (2k,)"""
    lower = np.array([action.p_min_mw for action in actions] + [action.q_min_mvar for action in actions])
    return lower, np.array([action.p_max_mw for action in actions] + [action.q_max_mvar for action in actions])


def _applied(p_mw: FloatArray, q_mvar: FloatArray, bus: IntArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    k, n = len(bus), len(p_mw)
    return p_mw + np.bincount(bus, x[:k], n), q_mvar + np.bincount(bus, x[k:], n)


def _step(
    engine: GridEngine, p_mw: FloatArray, q_mvar: FloatArray, bus: IntArray, x: FloatArray, target: FloatArray
) -> tuple[FloatArray, GridState]:
    """Go to ``target``, or part of the way if the power flow has no solution there."""
    share = 1.0
    for _ in range(5):
        candidate = x + share * (target - x)
        state = engine.solve_bus(*_applied(p_mw, q_mvar, bus, candidate))
        if state.converged:
            return candidate, state
        share *= 0.5
    return x, engine.solve_bus(*_applied(p_mw, q_mvar, bus, x))


def _linearise(
    engine: GridEngine,
    working: _Working,
    state: GridState,
    actions: tuple[Action, ...],
    bus: IntArray,
    x: FloatArray,
    *,
    proximity: float,
) -> ConicStep:
    """Constraints of the working set about ``x``, the engine's last solution."""
    sides = [*working.low, *working.high]
    lines, trafos = working.lines, working.trafos
    observables = (
        (Observable.VM_PU,) * len(sides)
        + (Observable.LINE_I_RE_KA,) * len(lines)
        + (Observable.LINE_I_IM_KA,) * len(lines)
        + (Observable.TRAFO_I_RE_KA,) * len(trafos)
        + (Observable.TRAFO_I_IM_KA,) * len(trafos)
    )
    positions = np.array([*sides, *lines, *lines, *trafos, *trafos], dtype=np.int64)
    value, d_p, d_q = engine.sensitivity(observables, positions)
    by_action = np.hstack((d_p[:, bus], d_q[:, bus]))
    at_zero = value - by_action @ x
    n_low, n_side, n_line, n_trafo = len(working.low), len(sides), len(lines), len(trafos)
    sign = np.concatenate((-np.ones(n_low), np.ones(n_side - n_low)))
    limits = working.limits
    band = np.concatenate((-limits.v_min_pu[working.low], limits.v_max_pu[working.high]))
    a, b, c = n_side + n_line, n_side + 2 * n_line, n_side + 2 * n_line + n_trafo
    real_rows, imag_rows = np.r_[n_side:a, b:c], np.r_[a:b, c : c + n_trafo]
    # loading is judged at the larger end; the phasor is of one end, so scale it to the loading it goes with
    size = np.hypot(value[real_rows], value[imag_rows])
    loading = np.concatenate((state.line_loading_percent[lines], state.trafo_loading_percent[trafos]))
    allowed = np.concatenate((limits.line_percent[lines], limits.trafo_percent[trafos]))
    factor = (100.0 * loading / (np.maximum(size, 1e-12) * allowed))[:, None]
    lower, upper = _range(actions)
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
        penalty=working.settings.penalty * highest,
        centre=x,
        proximity=proximity,
    )


def _broken(
    state: GridState, engine: GridEngine, limits: Limits, settings: RedispatchSettings
) -> tuple[Violation, ...]:
    return violations(
        state, engine.network, limits, voltage_pu=settings.tolerance_pu, percent=settings.tolerance_percent
    )


def _merit(broken: tuple[Violation, ...], cost: float) -> tuple[float, float]:
    """Less violation first, then less cost."""
    return round(sum(violation.severity for violation in broken), 3), cost


def _cost(x: FloatArray, actions: tuple[Action, ...]) -> float:
    k = len(actions)
    return sum(
        max(x[j], 0.0) * action.price_down + max(-x[j], 0.0) * action.price_up + abs(x[k + j]) * action.price_q
        for j, action in enumerate(actions)
    )


def _left(broken: tuple[Violation, ...]) -> str:
    worst = max(broken, key=lambda violation: violation.severity)
    return f"worst {worst}"


def _exhausted(x: FloatArray, actions: tuple[Action, ...]) -> str:
    k = len(actions)
    full = [
        action.name
        for j, action in enumerate(actions)
        if (x[j] > 1e-4 and x[j] > 0.999 * action.p_max_mw) or (x[j] < -1e-4 and x[j] < 0.999 * action.p_min_mw)
    ]
    if full:
        return f"{', '.join(full)} used to the limit"
    used = any(abs(value) > 1e-4 for value in x[: 2 * k])
    return "the flexibility used does not suffice" if used else "no available flexibility acts on the congestion"


def _answer(
    x: FloatArray,
    state: GridState,
    actions: tuple[Action, ...],
    before: tuple[Violation, ...],
    after: tuple[Violation, ...],
    status: Status,
    reason: str,
    rounds: int,
) -> Redispatch:
    k = len(actions)
    return Redispatch(
        p_mw=x[:k],
        q_mvar=x[k:],
        cost_eur_per_h=float(_cost(x, actions)),
        before=before,
        after=after,
        status=status,
        reason=reason,
        rounds=rounds,
        state=state,
    )
