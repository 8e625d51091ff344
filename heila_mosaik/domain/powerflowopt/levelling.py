r"""Least-cost levelling of an exchange over time, as a linear programme.

.. math::
    \min\; \sum_b (c_I M_{Ib} + c_E M_{Eb}) + c_V \sum_t |x_t - x_{t-1}|
    + \sum_{j,t} \pi_j (u_{jt} + d_{jt}) h_t + \sum_j a_j r_j H_j

    x_t = x^0_t + \sum_j s_{jt}(d_{jt} - u_{jt}) + \text{rebound}, \quad M_{Ib} \ge x_t,\; M_{Eb} \ge -x_t
    \text{ for } t \text{ in billing period } b

with lowering :math:`u` and raising :math:`d` inside the range :math:`r_j` bought of lot :math:`j`, and the energy of
each group held.  Import and export peaks are priced apart, each billing period (day) for itself.  The peak that a
period has reached already is a floor: nothing is paid for staying below it.  Solved with HiGHS (Q. Huangfu, J. Hall,
Math. Prog. Comp. 10, 2018).

Blocks and one-direction lots are settled by rounding: the programme is solved, both are fixed to what it prefers,
and it is solved again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import highspy
import numpy as np

from heila_mosaik.domain.quantities import BoolArray, FloatArray, IntArray

_TINY = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Lot:
    """Flexibility that may be used in some intervals: an offer, or a reserve already bought.

    Attributes:
        name: Offer or reserve.
        active: Intervals in which it may be used. (t,)
        p_min_mw, p_max_mw: Largest lowering (<= 0) and raising (>= 0) of consumption. [MW]
        effect: What a MW adds to the exchange. [MW/MW] (t,)
        price_eur_per_mwh: Price of energy. [EUR/MWh]
        availability_eur_per_mw_h: Price of the range; zero for what is bought already. [EUR/(MW·h)]
        group, group_energy_mwh: Lots of one group share an energy. [MWh]
        divisible: Whether a part may be bought.
        one_way: Whether only one direction may be bought.
    """

    name: str
    active: BoolArray
    p_min_mw: float
    p_max_mw: float
    effect: FloatArray
    price_eur_per_mwh: float = 0.0
    availability_eur_per_mw_h: float = 0.0
    group: str = ""
    group_energy_mwh: float | None = None
    divisible: bool = True
    one_way: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelSettings:
    """Prices of what is lowered.

    Attributes:
        import_eur_per_mw: Value of one MW less import peak over the horizon. [EUR/MW]
        export_eur_per_mw: Value of one MW less export peak. [EUR/MW]
        variation_eur_per_mw: Value of one MW less change from interval to interval. [EUR/MW]
        rebound: Share of an adjustment that comes back afterwards. [1]
        rebound_h: Over this time. [h]
    """

    import_eur_per_mw: float = 500.0
    export_eur_per_mw: float = 0.0
    variation_eur_per_mw: float = 0.0
    rebound: float = 0.0
    rebound_h: float = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Billing:
    """Billing periods of the peak.

    Attributes:
        period: Number of the period of each interval, from 0. (t,)
        reached_import_mw, reached_export_mw: Peaks that each period has reached already. [MW] (b,)
    """

    period: IntArray
    reached_import_mw: FloatArray
    reached_export_mw: FloatArray

    @classmethod
    def whole(cls, count: int, reached_import_mw: float = 0.0, reached_export_mw: float = 0.0) -> Billing:
        """One period over all intervals."""
        return cls(
            period=np.zeros(count, np.int64),
            reached_import_mw=np.array([reached_import_mw]),
            reached_export_mw=np.array([reached_export_mw]),
        )

    def peaks(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Import and export peak of each period, those reached included. [MW] (b,)"""
        high, low = self.reached_import_mw.copy(), self.reached_export_mw.copy()
        np.maximum.at(high, self.period, x)
        np.maximum.at(low, self.period, -x)
        return high, low


@dataclass(frozen=True, slots=True, kw_only=True)
class Levelling:
    """Answer of :func:`level`.

    Attributes:
        p_mw: Adjustment of consumption by each lot. [MW] (j, t)
        exchange_mw: Exchange with it, linear in the adjustments. [MW] (t,)
        import_level_mw, export_level_mw: Level kept in each billing period. [MW] (b,)
        cost_eur: Energy and availability. [EUR]
        value_eur: What lower peaks and variation are worth. [EUR]
    """

    p_mw: FloatArray
    exchange_mw: FloatArray
    import_level_mw: FloatArray
    export_level_mw: FloatArray
    cost_eur: float
    value_eur: float


def level(
    exchange_mw: FloatArray,
    hours: FloatArray,
    lots: Sequence[Lot],
    settings: LevelSettings,
    billing: Billing | None = None,
) -> Levelling:
    """Find the adjustments of least cost, the value of lower peaks and variation counted.

    Args:
        exchange_mw: Exchange expected without adjustment, import positive. [MW] (t,)
        hours: Length of each interval. [h] (t,)
        lots: Flexibility. (j,)
        settings: Prices.
        billing: Billing periods; ``None``: one.
    """
    x0 = np.nan_to_num(exchange_mw)
    billing = billing or Billing.whole(len(x0))
    used = list(lots)
    answer = _solve(x0, hours, used, settings, billing)
    settled = [_settled(lot, row) for lot, row in zip(used, answer, strict=True)]
    if any(new is not old for new, old in zip(settled, used, strict=True)):
        answer = _solve(x0, hours, settled, settings, billing)
    after = x0 + _moved(answer, settled, hours, settings)
    imported, exported = billing.peaks(after)
    return Levelling(
        p_mw=answer,
        exchange_mw=after,
        import_level_mw=imported,
        export_level_mw=exported,
        cost_eur=sum(_cost(lot, row, hours) for lot, row in zip(settled, answer, strict=True)),
        value_eur=_worth(x0, settings, billing) - _worth(after, settings, billing),
    )


def _worth(x: FloatArray, settings: LevelSettings, billing: Billing) -> float:
    imported, exported = billing.peaks(x)
    return (
        settings.import_eur_per_mw * float(imported.sum())
        + settings.export_eur_per_mw * float(exported.sum())
        + settings.variation_eur_per_mw * float(np.abs(np.diff(x)).sum())
    )


def _cost(lot: Lot, p: FloatArray, hours: FloatArray) -> float:
    span = float(hours[lot.active].sum())
    widest = float(np.abs(p).max(initial=0.0))
    if not lot.divisible and widest > _TINY:
        widest = max(-lot.p_min_mw, lot.p_max_mw)
    return float(np.abs(p) @ hours) * lot.price_eur_per_mwh + widest * span * lot.availability_eur_per_mw_h


def _settled(lot: Lot, p: FloatArray) -> Lot:
    """The lot with what cannot be divided decided: direction, and all or nothing."""
    low, high = lot.p_min_mw, lot.p_max_mw
    lowered, raised = float(max(-p.min(initial=0.0), 0.0)), float(max(p.max(initial=0.0), 0.0))
    if lot.one_way and min(lowered, raised) > _TINY:
        low, high = (low, 0.0) if lowered >= raised else (0.0, high)
    if not lot.divisible:
        share = max(lowered / -low if low < 0 else 0.0, raised / high if high > 0 else 0.0)
        if share < 0.5:
            low = high = 0.0
    return lot if (low, high) == (lot.p_min_mw, lot.p_max_mw) else replace(lot, p_min_mw=low, p_max_mw=high)


def rebound_matrix(hours: FloatArray, settings: LevelSettings) -> FloatArray:
    """Share of the adjustment in interval s that acts in interval t, rebound included. (t, s)"""
    count = len(hours)
    acting = np.eye(count)
    if settings.rebound <= 0:
        return acting
    ends = np.cumsum(hours)
    for s in range(count):
        inside = np.clip(np.minimum(ends, ends[s] + settings.rebound_h) - np.maximum(ends - hours, ends[s]), 0.0, None)
        acting[:, s] -= settings.rebound * hours[s] * inside / (settings.rebound_h * hours)
    return acting


def _moved(p: FloatArray, lots: Sequence[Lot], hours: FloatArray, settings: LevelSettings) -> FloatArray:
    acting = rebound_matrix(hours, settings)
    moved = np.zeros(len(hours))
    for lot, row in zip(lots, p, strict=True):
        moved += lot.effect * (acting @ row)
    return moved


class _Columns:
    """Columns of the programme: two for every lot and interval, a range for every lot, peaks, changes."""

    def __init__(self, lots: Sequence[Lot], count: int, periods: int) -> None:
        self.places = [np.flatnonzero(lot.active) for lot in lots]
        starts = np.cumsum([0, *(2 * len(place) for place in self.places)])
        self.first = starts[:-1]
        self.range = int(starts[-1]) + np.arange(len(lots))
        after = int(starts[-1]) + len(lots)
        self.peak_import = after + np.arange(periods)
        self.peak_export = after + periods + np.arange(periods)
        self.change = after + 2 * periods + np.arange(max(count - 1, 0))
        self.count = after + 2 * periods + max(count - 1, 0)


def _solve(
    x0: FloatArray, hours: FloatArray, lots: Sequence[Lot], settings: LevelSettings, billing: Billing
) -> FloatArray:
    columns = _Columns(lots, len(hours), len(billing.reached_import_mw))
    cost, upper = np.zeros(columns.count), np.full(columns.count, highspy.kHighsInf)
    lower = np.zeros(columns.count)
    exchange = np.zeros((len(hours), columns.count))
    acting = rebound_matrix(hours, settings)
    for j, (lot, place) in enumerate(zip(lots, columns.places, strict=True)):
        a = columns.first[j]
        u, d = a + np.arange(len(place)), a + len(place) + np.arange(len(place))
        cost[u] = cost[d] = lot.price_eur_per_mwh * hours[place] + _TINY
        upper[u], upper[d] = -lot.p_min_mw, lot.p_max_mw
        exchange[:, d] = lot.effect[:, None] * acting[:, place]
        exchange[:, u] = -exchange[:, d]
        cost[columns.range[j]] = lot.availability_eur_per_mw_h * float(hours[place].sum())
    cost[columns.peak_import], cost[columns.peak_export] = settings.import_eur_per_mw, settings.export_eur_per_mw
    lower[columns.peak_import], lower[columns.peak_export] = billing.reached_import_mw, billing.reached_export_mw
    cost[columns.change] = settings.variation_eur_per_mw
    rows, bounds = _rows(x0, hours, lots, columns, exchange, billing.period)
    x = _highs(cost, lower, upper, rows, bounds)
    p = np.zeros((len(lots), len(hours)))
    for j, place in enumerate(columns.places):
        a, n = columns.first[j], len(place)
        p[j, place] = x[a + n : a + 2 * n] - x[a : a + n]
    p[np.abs(p) < _TINY] = 0.0
    return p


def _rows(
    x0: FloatArray,
    hours: FloatArray,
    lots: Sequence[Lot],
    columns: _Columns,
    exchange: FloatArray,
    period: IntArray,
) -> tuple[FloatArray, FloatArray]:
    """Rows ``A x <= b``: peaks, changes, ranges, energies."""
    rows, bounds = [], []
    over, under = exchange.copy(), -exchange
    over[np.arange(len(x0)), columns.peak_import[period]] -= 1.0
    under[np.arange(len(x0)), columns.peak_export[period]] -= 1.0
    rows += [over, under]
    bounds += [-x0, x0]
    if len(columns.change):
        step = np.diff(exchange, axis=0)
        change = np.diff(x0)
        for sign in (1.0, -1.0):
            part = sign * step
            part[np.arange(len(change)), columns.change] = -1.0
            rows.append(part)
            bounds.append(-sign * change)
    for j, place in enumerate(columns.places):
        part = np.zeros((2 * len(place), columns.count))
        part[np.arange(2 * len(place)), columns.first[j] + np.arange(2 * len(place))] = 1.0
        part[:, columns.range[j]] = -1.0
        rows.append(part)
        bounds.append(np.zeros(2 * len(place)))
    for group in dict.fromkeys(lot.group for lot in lots if lot.group and lot.group_energy_mwh is not None):
        part = np.zeros((1, columns.count))
        energy = 0.0
        for j, (lot, place) in enumerate(zip(lots, columns.places, strict=True)):
            if lot.group == group:
                part[0, columns.first[j] : columns.first[j] + 2 * len(place)] = np.tile(hours[place], 2)
                energy = lot.group_energy_mwh or 0.0
        rows.append(part)
        bounds.append(np.array([energy]))
    return np.vstack(rows), np.concatenate(bounds)


def _highs(cost: FloatArray, lower: FloatArray, upper: FloatArray, rows: FloatArray, bounds: FloatArray) -> FloatArray:
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(cost), len(bounds)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = cost, lower, upper
    lp.row_lower_, lp.row_upper_ = np.full(len(bounds), -highspy.kHighsInf), bounds
    filled = rows != 0.0
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.concatenate(([0], np.cumsum(filled.sum(axis=1)))).astype(np.int32)
    lp.a_matrix_.index_ = np.nonzero(filled)[1].astype(np.int32)
    lp.a_matrix_.value_ = rows[filled]
    solver = highspy.Highs()  # type: ignore[no-untyped-call]
    solver.setOptionValue("output_flag", False)
    solver.setOptionValue("threads", 1)
    solver.passModel(lp)
    solver.run()
    if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        # zero is always feasible, so this is numerical trouble: no adjustment is the safe answer
        return np.zeros(len(cost))
    return np.asarray(solver.getSolution().col_value)
