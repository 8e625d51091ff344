"""Operation plan of a microgrid: cheapest use of its stores that keeps range and energy for reserves sold.

A linear programme over the stores (batteries, heat pumps with thermal store) at spot price, solved with HiGHS
(Huangfu and Hall 2018, doi 10.1007/s12532-017-0130-5).  Shortages of heat or reserve are priced far above any energy
price, so an infeasible wish gives the least violation and says how large it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import highspy
import numpy as np

from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.domain.resources import BatterySpec, HeatPumpSpec
from heila_mosaik.domain.resources.heat_pump import cop_at, heat_demand
from heila_mosaik.domain.timegrid import TimeGrid

SHORTAGE_EUR = 1e4
TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """One store in the linear programme.

    Attributes:
        name: Resource.
        content_mwh: Content at the start. [MWh]
        low_mwh, high_mwh: Content allowed. [MWh]
        keep_low_share, keep_high_share: Shares of the band between the limits, at its lower and upper end, that only
            reserves may use. [1]
        use_share: Share of the power that the plan may use, so that range stays for reserves; demand is served. [1]
        fixed_mw: Power already declared in each interval; NaN where the plan is free. [MW] (n,) or None
        decay: Share left after one interval. [1]
        in_gain: Content per energy drawn. [1] (n,)
        out_gain: Content per energy fed. [1]
        in_max_mw, out_max_mw: Power limits. [MW]
        drain_mwh: Content taken by demand in each interval. [MWh] (n,)
        up_per_content: Promisable energy up per content above the floor. [1]
        down_per_content: Promisable energy down per content below the ceiling. [1]
        wear_eur_per_mwh: Cost of energy fed. [EUR/MWh]
    """

    name: str
    content_mwh: float
    low_mwh: float
    high_mwh: float
    decay: float
    in_gain: FloatArray
    out_gain: float
    in_max_mw: float
    out_max_mw: float
    drain_mwh: FloatArray
    up_per_content: float
    down_per_content: float
    wear_eur_per_mwh: float
    keep_low_share: float = 0.0
    keep_high_share: float = 0.0
    use_share: float = 1.0
    fixed_mw: FloatArray | None = None


def store_of(name: str, spec: BatterySpec | HeatPumpSpec, soc_percent: float, hours: float, air_c: FloatArray) -> Store:
    """Store of a battery or heat pump for intervals of ``hours`` at air temperatures ``air_c`` (n,)."""
    if isinstance(spec, BatterySpec):
        return Store(
            name=name,
            content_mwh=spec.energy_mwh * soc_percent / 100.0,
            low_mwh=spec.energy_mwh * spec.soc_min_percent / 100.0,
            high_mwh=spec.energy_mwh * spec.soc_max_percent / 100.0,
            decay=spec.decay(hours),
            in_gain=np.full(len(air_c), spec.efficiency_charge),
            out_gain=1.0 / spec.efficiency_discharge,
            in_max_mw=spec.p_max_mw,
            out_max_mw=spec.p_max_mw,
            drain_mwh=np.zeros(len(air_c)),
            up_per_content=spec.efficiency_discharge,
            down_per_content=spec.efficiency_discharge,
            wear_eur_per_mwh=spec.wear_eur_per_mwh,
        )
    cop = cop_at(air_c, spec.cop)
    worst = float(cop.max()) if len(cop) else spec.cop
    return Store(
        name=name,
        content_mwh=spec.storage_mwh_thermal * soc_percent / 100.0,
        low_mwh=0.0,
        high_mwh=spec.storage_mwh_thermal,
        decay=spec.decay(hours),
        in_gain=cop,
        out_gain=1.0,
        in_max_mw=spec.p_max_mw,
        out_max_mw=0.0,
        drain_mwh=heat_demand(air_c, spec.heat_demand_mw_at_minus10) * hours,
        up_per_content=1.0 / worst,
        down_per_content=1.0 / worst,
        wear_eur_per_mwh=0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """Reserve the stores must keep ready in one direction.

    Attributes:
        up: Direction: True lowers consumption.
        power_mw: Range to keep in each interval (>= 0). [MW] (n,)
        energy_mwh: Energy that may be called in all. [MWh]
        stores: Names of the stores that can answer for it; empty: all.
    """

    up: bool
    power_mw: FloatArray
    energy_mwh: float
    stores: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Solution of the operation planning.

    Attributes:
        p_mw: Plan by resource. [MW] (n,) each
        shortfall_mw: Largest reserve power that could not be kept. [MW]
        shortfall_mwh: Reserve energy that could not be kept. [MWh]
        cost_eur: Energy and wear over the horizon. [EUR]
    """

    p_mw: Mapping[str, FloatArray]
    shortfall_mw: float
    shortfall_mwh: float
    cost_eur: float


@dataclass(slots=True)
class _Program:
    """Rows and columns of a linear programme under construction."""

    cost: list[FloatArray] = field(default_factory=list)
    lower: list[FloatArray] = field(default_factory=list)
    upper: list[FloatArray] = field(default_factory=list)
    columns: int = 0
    rows: int = 0
    row_lower: list[FloatArray] = field(default_factory=list)
    row_upper: list[FloatArray] = field(default_factory=list)
    entries: list[tuple[IntArray, IntArray, FloatArray]] = field(default_factory=list)

    def variables(
        self, count: int, cost: FloatArray | float, lower: FloatArray | float, upper: FloatArray | float
    ) -> int:
        """Add ``count`` columns; returns the first."""
        for target, value in ((self.cost, cost), (self.lower, lower), (self.upper, upper)):
            target.append(np.broadcast_to(np.asarray(value, dtype=np.float64), (count,)))
        self.columns += count
        return self.columns - count

    def constraints(self, lower: FloatArray | float, upper: FloatArray | float, count: int) -> int:
        """Add ``count`` rows; returns the first."""
        self.row_lower.append(np.broadcast_to(np.asarray(lower, dtype=np.float64), (count,)))
        self.row_upper.append(np.broadcast_to(np.asarray(upper, dtype=np.float64), (count,)))
        self.rows += count
        return self.rows - count

    def put(self, rows: IntArray, columns: IntArray, values: FloatArray | float) -> None:
        """Add coefficients."""
        self.entries.append((rows, columns, np.broadcast_to(np.asarray(values, dtype=np.float64), rows.shape)))

    def solve(self) -> tuple[FloatArray, float]:
        """Optimal columns and objective."""
        rows, columns, values = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        order = np.lexsort((columns, rows))
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = self.columns, self.rows
        lp.col_cost_, lp.col_lower_, lp.col_upper_ = (
            np.concatenate(part) for part in (self.cost, self.lower, self.upper)
        )
        lp.row_lower_, lp.row_upper_ = np.concatenate(self.row_lower), np.concatenate(self.row_upper)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        counts = np.bincount(rows.astype(np.int64), minlength=self.rows)
        lp.a_matrix_.start_ = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        lp.a_matrix_.index_ = columns[order].astype(np.int32)
        lp.a_matrix_.value_ = values[order]
        solver = highspy.Highs()  # type: ignore[no-untyped-call]
        for option, value in (("output_flag", False), ("threads", 1), ("random_seed", 0)):
            solver.setOptionValue(option, value)
        solver.passModel(lp)
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            raise RuntimeError(f"operation planning: HiGHS ended with {solver.getModelStatus()}")
        return np.asarray(solver.getSolution().col_value), float(solver.getInfo().objective_function_value)


def _power_bounds(store: Store, hours: float) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Lower and upper limits of drawing, then of feeding. [MW] (n,) each"""
    count = len(store.in_gain)
    demand = float((store.drain_mwh / store.in_gain).max(initial=0.0)) / hours
    draw_high = np.full(count, min(store.in_max_mw, max(store.use_share * store.in_max_mw, 1.2 * demand)))
    feed_high = np.full(count, store.use_share * store.out_max_mw)
    draw_low, feed_low = np.zeros(count), np.zeros(count)
    if store.fixed_mw is not None:
        given = np.isfinite(store.fixed_mw)
        fixed = np.where(given, store.fixed_mw, 0.0)
        for low, high, value in ((draw_low, draw_high, fixed), (feed_low, feed_high, -fixed)):
            low[given] = high[given] = np.maximum(0.0, value[given])
    return draw_low, draw_high, feed_low, feed_high


def _add_store(program: _Program, store: Store, price: FloatArray, hours: float) -> tuple[int, int, int]:
    """Columns and balance of one store; returns the first columns of (draw, feed, content)."""
    count = len(price)
    steps = np.arange(count)
    draw_low, draw_high, feed_low, feed_high = _power_bounds(store, hours)
    # A little wear on drawing too keeps the programme from doing both at once.
    draw = program.variables(count, (price + 1e-3) * hours, draw_low, draw_high)
    feed = program.variables(count, (store.wear_eur_per_mwh + 1e-3 - price) * hours, feed_low, feed_high)
    band = store.high_mwh - store.low_mwh
    lowest, highest = store.low_mwh + store.keep_low_share * band, store.high_mwh - store.keep_high_share * band
    floor = np.minimum(lowest, store.content_mwh * store.decay ** (steps + 1.0))
    # A store that starts outside the narrowed band (after a call, say) may come back in its own time.
    content = program.variables(count, 0.0, floor, max(highest, store.content_mwh))
    # Short and spill: a declared plan is kept even where calls have moved the content since it was made.
    short = program.variables(count, SHORTAGE_EUR, 0.0, np.inf)
    spill = program.variables(count, 10.0 * SHORTAGE_EUR, 0.0, 0.0 if store.fixed_mw is None else np.inf)
    given = -store.drain_mwh.copy()
    given[0] += store.decay * store.content_mwh
    rows = program.constraints(given, given, count) + steps
    program.put(rows, content + steps, 1.0)
    program.put(rows[1:], content + steps[:-1], -store.decay)
    program.put(rows, draw + steps, -store.in_gain * hours)
    program.put(rows, feed + steps, store.out_gain * hours)
    program.put(rows, short + steps, -1.0)
    program.put(rows, spill + steps, 1.0)
    # The horizon must not be paid for by an empty store: what is missing at the end is bought back dearly.
    missing = program.variables(
        1, 2.0 * float(np.abs(price).max(initial=1.0)) / max(1.0, store.in_gain[-1]), 0.0, np.inf
    )
    row = program.constraints(max(lowest, min(store.content_mwh, highest)), np.inf, 1)
    program.put(np.array([row, row]), np.array([content + count - 1, missing]), 1.0)
    return draw, feed, content


def _add_obligation(
    program: _Program, stores: Sequence[Store], first: Sequence[tuple[int, int, int]], duty: Obligation
) -> tuple[int, int]:
    """Range and energy kept by the stores; returns the columns of the power and energy shortage."""
    at = np.flatnonzero(duty.power_mw > TINY)
    power, count = duty.power_mw[at], len(at)
    span = np.arange(at[0], at[-1] + 1)
    lack = program.variables(count, SHORTAGE_EUR, 0.0, np.inf)
    lack_energy = program.variables(1, SHORTAGE_EUR, 0.0, np.inf)
    total = program.constraints(power, np.inf, count) + np.arange(count)
    program.put(total, lack + np.arange(count), 1.0)
    sign = 1.0 if duty.up else -1.0
    for store, (draw, feed, content) in zip(stores, first, strict=True):
        if duty.stores and store.name not in duty.stores:
            continue
        kept = program.variables(count, 0.0, 0.0, np.inf)
        energy = program.variables(1, 0.0, 0.0, np.inf)
        steps = np.arange(count)
        program.put(total, kept + steps, 1.0)
        # Up: draw - feed + out_max >= kept; down: in_max - (draw - feed) >= kept.
        rows = program.constraints(-store.out_max_mw if duty.up else -store.in_max_mw, np.inf, count) + steps
        program.put(rows, draw + at, sign)
        program.put(rows, feed + at, -sign)
        program.put(rows, kept + steps, -1.0)
        # A member answers for its share of any call: energy >= E * kept / power.
        rows = program.constraints(0.0, np.inf, count) + steps
        program.put(rows, np.full(count, energy), 1.0)
        program.put(rows, np.full(count, lack_energy), 1.0)
        program.put(rows, kept + steps, -duty.energy_mwh / power)
        gain = store.up_per_content if duty.up else store.down_per_content
        bound = store.low_mwh * gain if duty.up else -store.high_mwh * gain
        rows = program.constraints(bound, np.inf, len(span)) + np.arange(len(span))
        program.put(rows, content + span, sign * gain)
        program.put(rows, np.full(len(span), energy), -1.0)
    return lack, lack_energy


def plan_operation(
    stores: Sequence[Store], grid: TimeGrid, price_eur_per_mwh: FloatArray, obligations: Sequence[Obligation] = ()
) -> Schedule:
    """Cheapest plan of the stores that keeps the obligations.

    Args:
        stores: Stores of the microgrid.
        grid: Time grid of the plan.
        price_eur_per_mwh: Spot price. [EUR/MWh] (n,)
        obligations: Reserve to keep ready.
    """
    if not stores or grid.count == 0:
        owed = max((float(duty.power_mw.max(initial=0.0)) for duty in obligations), default=0.0)
        return Schedule(p_mw={}, shortfall_mw=owed, shortfall_mwh=0.0, cost_eur=0.0)
    program = _Program()
    first = [_add_store(program, store, price_eur_per_mwh, grid.hours) for store in stores]
    duties = [duty for duty in obligations if np.any(duty.power_mw > TINY)]
    lacks = [(_add_obligation(program, stores, first, duty), int(np.sum(duty.power_mw > TINY))) for duty in duties]
    columns, _ = program.solve()
    plans = {
        store.name: np.round(columns[draw : draw + grid.count] - columns[feed : feed + grid.count], 9)
        for store, (draw, feed, _) in zip(stores, first, strict=True)
    }
    cost = sum(float((price_eur_per_mwh * plan).sum()) for plan in plans.values()) * grid.hours
    cost += sum(
        float(np.maximum(0.0, -plans[store.name]).sum()) * grid.hours * store.wear_eur_per_mwh for store in stores
    )
    return Schedule(
        p_mw=plans,
        shortfall_mw=max((float(columns[a : a + n].max()) for (a, _), n in lacks), default=0.0),
        shortfall_mwh=math.fsum(float(columns[b]) for (_, b), _ in lacks),
        cost_eur=cost,
    )
