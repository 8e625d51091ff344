"""Least-cost redispatch of P and Q under voltage and thermal limits, by sequential conic programming.

Each round linearises the AC power flow at the present point (adjoint rows of the compiled grid), solves one conic
programme over the constraints that matter, and lets the AC power flow judge the answer; elements found broken join
the working set.  Limits are soft at a price far above any flexibility, so a case nothing can cure returns the least
violation and says what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from heila_mosaik.domain.congestion.cases import Action, Contingency, GridCase, RedispatchSettings, bounds, together
from heila_mosaik.domain.congestion.conic import solve_step
from heila_mosaik.domain.congestion.limits import Limits, Violation
from heila_mosaik.domain.network import GridEngine, GridState
from heila_mosaik.domain.quantities import FloatArray


class Status(StrEnum):
    """Outcome of an optimisation."""

    NOT_NEEDED = "not_needed"
    SOLVED = "solved"
    BEST_EFFORT = "best_effort"
    FAILED = "failed"


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


def optimise(
    engine: GridEngine,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    actions: tuple[Action, ...],
    limits: Limits,
    settings: RedispatchSettings | None = None,
    start: FloatArray | None = None,
    contingencies: Sequence[Contingency] = (),
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
        contingencies: Outages after which the same adjustments must keep the limits stated there (N-1, preventive).
    """
    settings = settings or RedispatchSettings()
    cases = [GridCase(engine, limits, settings)]
    cases += [GridCase(one.engine, one.limits, settings, one.outage) for one in contingencies]
    search = _Search(cases, p_mw, q_mvar, actions)
    x = np.zeros(2 * len(actions))
    solved = search.solve(x)
    before = search.broken()
    decided = _decided(solved, before, len(actions))
    if decided is not None:
        return _answer(x, search, before, before, *decided, 0)
    x, after, rounds = search.run(settings, before, start)
    if not after:
        reason = f"{len(before)} broken limits cured, {_left(before)}"
        return _answer(x, search, before, after, Status.SOLVED, reason, rounds)
    reason = f"{_exhausted(x, actions)}; least violation left: {_left(after)}"
    return _answer(x, search, before, after, Status.BEST_EFFORT, reason, rounds)


class _Search:
    """Sequential conic programme over one or several cases of the grid."""

    def __init__(
        self, cases: Sequence[GridCase], p_mw: FloatArray, q_mvar: FloatArray, actions: tuple[Action, ...]
    ) -> None:
        self.cases, self.p_mw, self.q_mvar, self.actions = cases, p_mw, q_mvar, actions
        self.bus = np.array([action.bus for action in actions], dtype=np.int64)

    def solve(self, x: FloatArray) -> bool:
        """Solve all cases at adjustments ``x``; returns whether all have a solution."""
        k, n = len(self.bus), len(self.p_mw)
        p = self.p_mw + np.bincount(self.bus, x[:k], n)
        q = self.q_mvar + np.bincount(self.bus, x[k:], n)
        solved = [case.solve(p, q) for case in self.cases]  # every case, also after one that fails
        return all(solved)

    def broken(self) -> tuple[Violation, ...]:
        """Limits broken in any case at the last solution."""
        return tuple(one for case in self.cases for one in case.broken())

    def extend(self) -> bool:
        """Let what is broken or near take part in every case; returns whether anything was added."""
        added = [case.extend() for case in self.cases]
        return any(added)

    def go(self, x: FloatArray, target: FloatArray) -> FloatArray:
        """Go to ``target``, or part of the way if a power flow has no solution there; returns where it ended."""
        share = 1.0
        for _ in range(5):
            candidate = x + share * (target - x)
            if self.solve(candidate):
                return candidate
            share *= 0.5
        self.solve(x)
        return x

    def run(
        self, settings: RedispatchSettings, before: tuple[Violation, ...], start: FloatArray | None
    ) -> tuple[FloatArray, tuple[Violation, ...], int]:
        """Rounds of linearising, optimising and judging; returns adjustments, what stays broken, and the rounds."""
        x, after = np.zeros(2 * len(self.actions)), before
        self.extend()
        if start is not None:
            x = self.go(x, np.clip(start, *bounds(self.actions)))
            after = self.broken()
        cost = _cost(x, self.actions)
        best = (_merit(after, cost), x, after)
        rounds = 0
        for rounds in range(1, settings.max_rounds + 1):
            grown = self.extend()
            # the first round goes anywhere; later ones weigh the way, or they jump between answers of equal price
            proximity = settings.proximity if rounds > 1 else 0.0
            solved = solve_step(
                together([case.linearise(self.actions, self.bus, x, proximity=proximity) for case in self.cases])
            )
            if solved is None:
                break
            moved = float(np.abs(solved[0] - x).max())
            x = self.go(x, solved[0])
            after = self.broken()
            cost_before, cost = cost, _cost(x, self.actions)
            merit = _merit(after, cost)
            if merit <= best[0] or moved < settings.tolerance_mw:
                best = (merit, x, after)
            settled = not after and abs(cost - cost_before) <= settings.tolerance_cost * max(cost, 1e-3)
            if (moved < settings.tolerance_mw and not (grown and after)) or (
                settled and (rounds > 1 or start is not None)
            ):
                break
        _, x, after = best
        self.solve(x)
        return x, after, rounds


def _decided(solved: bool, before: tuple[Violation, ...], k: int) -> tuple[Status, str] | None:
    """Outcome and reason where nothing can or need be optimised."""
    if not solved:
        return Status.FAILED, "the power flow has no solution"
    if not before:
        return Status.NOT_NEEDED, "all limits hold without adjustment"
    return None if k else (Status.BEST_EFFORT, f"no flexibility is available; {_left(before)}")


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
    search: _Search,
    before: tuple[Violation, ...],
    after: tuple[Violation, ...],
    status: Status,
    reason: str,
    rounds: int,
) -> Redispatch:
    k = len(search.actions)
    return Redispatch(
        p_mw=x[:k],
        q_mvar=x[k:],
        cost_eur_per_h=float(_cost(x, search.actions)),
        before=before,
        after=after,
        status=status,
        reason=reason,
        rounds=rounds,
        state=search.cases[0].state,
    )
