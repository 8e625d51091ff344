"""Levelling with the grid in it: linear programme, AC power flow, and no adjustment that breaks a limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from heila_mosaik.domain.congestion.harm import HarmCase, check_harm
from heila_mosaik.domain.congestion.limits import Limits
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.powerflowopt.exchange import Exchange, effects, exchange_of
from heila_mosaik.domain.powerflowopt.levelling import Billing, Levelling, LevelSettings, Lot, level, rebound_matrix
from heila_mosaik.domain.quantities import FloatArray, IntArray

_ROUNDS = 3
_LINEAR_MW = 0.01
"""Disagreement of the programme with AC power flow that is left. [MW]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakPlan:
    """Answer of :func:`plan_level`.

    Attributes:
        answer: Adjustments and levels.
        before_mw, after_mw: Exchange without and with them, by AC power flow. [MW] (t,)
        before, after: Their figures.
        harmful: Uses of a lot left out because they would break a limit: (lot, interval, reason).
        rounds: Programmes solved.
    """

    answer: Levelling
    before_mw: FloatArray
    after_mw: FloatArray
    before: Exchange
    after: Exchange
    harmful: tuple[tuple[str, int, str], ...]
    rounds: int


def plan_level(
    engine: GridEngine,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    hours: FloatArray,
    lots: Sequence[Lot],
    bus: IntArray,
    limits: Limits,
    settings: LevelSettings,
    billing: Billing | None = None,
) -> PeakPlan:
    """Level the exchange of a forecast.

    Args:
        engine: Compiled grid; its last solution changes.
        p_mw: Expected active consumption per bus without adjustment. [MW] (t, n_bus)
        q_mvar: Expected reactive consumption. [MVar] (t, n_bus)
        hours: Length of each interval. [h] (t,)
        lots: Flexibility; the effects in it are replaced by the grid's. (j,)
        bus: Bus position of each lot. (j,)
        limits: Limits no adjustment may break.
        settings: Prices.
        billing: Billing periods; ``None``: one.
    """
    before_mw, effect = effects(engine, p_mw, q_mvar, bus)
    lots = [replace(lot, effect=effect[:, j]) for j, lot in enumerate(lots)]
    acting = rebound_matrix(hours, settings)

    def solved(adjustment: FloatArray) -> FloatArray:
        moved = np.zeros_like(p_mw)
        np.add.at(moved.T, bus, adjustment @ acting.T)
        return _exchange(engine, p_mw + moved, q_mvar)

    base = before_mw.copy()
    harmful: list[tuple[str, int, str]] = []
    for rounds in range(1, _ROUNDS + 1):
        answer = level(base, hours, lots, settings, billing)
        found = _harm(engine, p_mw, q_mvar, lots, bus, limits, answer.p_mw)
        harmful += found
        if found and rounds < _ROUNDS:
            lots = _without(lots, found)
            continue
        if found:
            answer = replace(answer, p_mw=_dropped(answer.p_mw, lots, found))
        after_mw = solved(answer.p_mw)
        miss = after_mw - answer.exchange_mw
        if not np.nanmax(np.abs(miss), initial=0.0) > _LINEAR_MW:
            break
        base = base + np.nan_to_num(miss)  # losses are not linear: start from where they are right
    return PeakPlan(
        answer=answer,
        before_mw=before_mw,
        after_mw=after_mw,
        before=Exchange.of(before_mw),
        after=Exchange.of(after_mw),
        harmful=tuple(harmful),
        rounds=rounds,
    )


def _exchange(engine: GridEngine, p_mw: FloatArray, q_mvar: FloatArray) -> FloatArray:
    states = [engine.solve_bus(p, q) for p, q in zip(p_mw, q_mvar, strict=True)]
    return np.array([exchange_of(state) if state.converged else np.nan for state in states])


def _harm(
    engine: GridEngine,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    lots: Sequence[Lot],
    bus: IntArray,
    limits: Limits,
    adjustment: FloatArray,
) -> list[tuple[str, int, str]]:
    found: list[tuple[str, int, str]] = []
    for row in np.flatnonzero(np.abs(adjustment).max(axis=0, initial=0.0) > 0):
        used = np.flatnonzero(adjustment[:, row])
        case = HarmCase(name="planned", p_mw=p_mw[row], q_mvar=q_mvar[row])
        check = check_harm(engine, [case], bus[used], adjustment[used, row], np.zeros(len(used)), limits)
        found += [(lots[int(used[harm.activation])].name, int(row), harm.reason) for harm in check.harms]
    return found


def _without(lots: Sequence[Lot], found: Sequence[tuple[str, int, str]]) -> list[Lot]:
    banned: dict[str, list[int]] = {}
    for name, row, _ in found:
        banned.setdefault(name, []).append(row)
    kept = []
    for lot in lots:
        active = lot.active.copy()
        active[banned.get(lot.name, [])] = False
        kept.append(replace(lot, active=active))
    return kept


def _dropped(adjustment: FloatArray, lots: Sequence[Lot], found: Sequence[tuple[str, int, str]]) -> FloatArray:
    names = {lot.name: j for j, lot in enumerate(lots)}
    left = adjustment.copy()
    for name, row, _ in found:
        left[names[name], row] = 0.0
    return left
