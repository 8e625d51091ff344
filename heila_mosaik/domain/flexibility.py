"""Flexibility of resources and microgrids: PQ envelopes with energy that can really be delivered.

An :class:`Envelope` promises: *any* call that stays within the power range of every interval and, in all, within
``energy_up_mwh`` (consumption lowered) and ``energy_down_mwh`` (consumption raised) can be followed, in any order.

* Storage-like resources (battery, heat pump) are linear systems with non-negative memory: what was added can only
  help later withdrawals, so the energy above the floor along the plan, taken at the worst conversion, is a safe budget.
* A sum of resources cannot promise the sum of the energies: called at full power, the one with the shortest duration
  runs dry first (Evans, Tindemans and Angeli 2018, doi 10.1109/TPWRS.2018.2849858).  :func:`aggregate` therefore first
  narrows each power range to what can be held for ``hold_h`` and promises only the energy that the shares of the
  members allow; :mod:`heila_mosaik.domain.dispatch` spreads calls so that the promise holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtr

from heila_mosaik.domain.information import PQProfile
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.resources import (
    BatterySpec,
    EvSpec,
    HeatPumpSpec,
    LoadSpec,
    PvSpec,
    ResourceSpec,
    ShiftableLoadSpec,
)
from heila_mosaik.domain.resources.heat_pump import cop_at, heat_demand
from heila_mosaik.domain.resources.pv import relative_output
from heila_mosaik.domain.timegrid import TimeGrid

TINY = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ExogenousForecast:
    """What is expected of the surroundings.

    Attributes:
        grid: Time grid of all series.
        temperature_c: Air temperature. [°C] (n,)
        irradiance_w_per_m2: Irradiance. [W/m²] (n,)
        profiles: Relative value of profiles by resource name; a resource that has none here follows the weather (PV)
            or its rating (load). [1] (n,) each
    """

    grid: TimeGrid
    temperature_c: FloatArray
    irradiance_w_per_m2: FloatArray
    profiles: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexibilitySettings:
    """How carefully flexibility is promised.

    Attributes:
        hold_h: Time for which the whole power range can be held. [h]
        firm_share: Share of the forecast PV feed-in that is promised as curtailable. [1]
        ev_quantile: Standard deviations below the expected EV charging power that are promised. [1]
        reactive: Whether reactive power is offered.
    """

    hold_h: float = 1.0
    firm_share: float = 0.8
    ev_quantile: float = 1.28
    reactive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Plan of a resource or microgrid with the range and energy of possible adjustments.

    Attributes:
        name: Resource or microgrid.
        grid: Time grid.
        p_mw, q_mvar: Plan. [MW], [MVar] (n,)
        p_min_mw, p_max_mw: Range around the plan. [MW] (n,)
        q_min_mvar, q_max_mvar: Reactive range. [MVar] (n,)
        energy_up_mwh: Energy by which consumption can be lowered in all; infinite if only the range limits it. [MWh]
        energy_down_mwh: Energy by which consumption can be raised in all; infinite likewise. [MWh]
        cost_eur_per_mwh: Cost of moved energy (wear, lost feed-in). [EUR/MWh]
    """

    name: str
    grid: TimeGrid
    p_mw: FloatArray
    q_mvar: FloatArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    q_min_mvar: FloatArray
    q_max_mvar: FloatArray
    energy_up_mwh: float
    energy_down_mwh: float
    cost_eur_per_mwh: float = 0.0

    @property
    def up_mw(self) -> FloatArray:
        """By how much consumption can be lowered (>= 0). [MW] (n,)"""
        return self.p_mw - self.p_min_mw

    @property
    def down_mw(self) -> FloatArray:
        """By how much consumption can be raised (>= 0). [MW] (n,)"""
        return self.p_max_mw - self.p_mw

    def finite_energy(self) -> tuple[float, float]:
        """Energies up and down, an infinite one replaced by the whole range over the horizon. [MWh]"""
        hours = self.grid.hours
        return (
            min(self.energy_up_mwh, float(self.up_mw.sum()) * hours),
            min(self.energy_down_mwh, float(self.down_mw.sum()) * hours),
        )

    def profile(self) -> PQProfile:
        """As PQ profile with limits."""
        return PQProfile(
            start=self.grid.start,
            step_s=self.grid.step_s,
            p_mw=tuple(self.p_mw.tolist()),
            q_mvar=tuple(self.q_mvar.tolist()),
            p_min_mw=tuple(self.p_min_mw.tolist()),
            p_max_mw=tuple(self.p_max_mw.tolist()),
            q_min_mvar=tuple(self.q_min_mvar.tolist()),
            q_max_mvar=tuple(self.q_max_mvar.tolist()),
        )


def content_path(start_mwh: float, decay: float, added_mwh: FloatArray) -> FloatArray:
    """Content of a leaky store at the end of every interval. [MWh] (n,)

    Args:
        start_mwh: Content at the beginning. [MWh]
        decay: Share left after one interval. [1]
        added_mwh: Net energy put in during each interval. [MWh] (n,)
    """
    powers = decay ** np.arange(1, len(added_mwh) + 1)
    return powers * (start_mwh + np.cumsum(added_mwh / powers))


def _fixed(name: str, grid: TimeGrid, p_mw: FloatArray, q_mvar: FloatArray) -> Envelope:
    return Envelope(
        name=name,
        grid=grid,
        p_mw=p_mw,
        q_mvar=q_mvar,
        p_min_mw=p_mw,
        p_max_mw=p_mw,
        q_min_mvar=q_mvar,
        q_max_mvar=q_mvar,
        energy_up_mwh=0.0,
        energy_down_mwh=0.0,
    )


def battery_envelope(
    name: str, spec: BatterySpec, e_mwh: float, grid: TimeGrid, plan_mw: FloatArray | None = None
) -> Envelope:
    """Envelope of a battery around a plan (idle without one)."""
    count, hours = grid.count, grid.hours
    p_mw = np.zeros(count) if plan_mw is None else np.clip(plan_mw, -spec.p_max_mw, spec.p_max_mw)
    inside = np.where(p_mw > 0, p_mw * spec.efficiency_charge, p_mw / spec.efficiency_discharge) * hours
    path = np.concatenate([[e_mwh], content_path(e_mwh, spec.decay(hours), inside)])
    low = spec.energy_mwh * spec.soc_min_percent / 100.0
    high = spec.energy_mwh * spec.soc_max_percent / 100.0
    # Raising consumption while the plan discharges saves 1/eta, more than charging adds.
    worst_in = 1.0 / spec.efficiency_discharge if np.any(p_mw < 0) else spec.efficiency_charge
    q_room = np.full(count, math.sqrt(max(0.0, spec.s_max_mva**2 - spec.p_max_mw**2)))
    return Envelope(
        name=name,
        grid=grid,
        p_mw=p_mw,
        q_mvar=np.zeros(count),
        p_min_mw=np.full(count, -spec.p_max_mw),
        p_max_mw=np.full(count, spec.p_max_mw),
        q_min_mvar=-q_room,
        q_max_mvar=q_room,
        energy_up_mwh=max(0.0, float(path.min()) - low) * spec.efficiency_discharge,
        energy_down_mwh=max(0.0, high - float(path.max())) / worst_in,
        cost_eur_per_mwh=spec.wear_eur_per_mwh,
    )


def pv_power(name: str, spec: PvSpec, exogenous: ExogenousForecast) -> FloatArray:
    """Expected feed-in (>= 0) from the profile, else from irradiance. [MW] (n,)"""
    relative = exogenous.profiles.get(name)
    if relative is None:
        relative = relative_output(exogenous.irradiance_w_per_m2, exogenous.temperature_c)
    return np.clip(relative * spec.p_rated_mw, 0.0, spec.s_max_mva)


def pv_envelope(name: str, spec: PvSpec, exogenous: ExogenousForecast, settings: FlexibilitySettings) -> Envelope:
    """Envelope of a PV plant: curtailment raises consumption; reactive power within the rating."""
    available = pv_power(name, spec, exogenous)
    firm = available * settings.firm_share
    q_room = spec.q_capabilities(firm, available)
    return Envelope(
        name=name,
        grid=exogenous.grid,
        p_mw=-available,
        q_mvar=np.zeros_like(available),
        p_min_mw=-available,
        p_max_mw=-available + firm,
        q_min_mvar=-q_room,
        q_max_mvar=q_room,
        energy_up_mwh=0.0,
        energy_down_mwh=math.inf,
        cost_eur_per_mwh=spec.wear_eur_per_mwh,
    )


def heat_pump_plan(spec: HeatPumpSpec, e_mwh: float, exogenous: ExogenousForecast) -> FloatArray:
    """Electrical power that serves the demand and brings the store to its level within an hour. [MW] (n,)"""
    hours = exogenous.grid.hours
    cop = cop_at(exogenous.temperature_c, spec.cop)
    need = heat_demand(exogenous.temperature_c, spec.heat_demand_mw_at_minus10)
    target = spec.storage_mwh_thermal * spec.storage_start_percent / 100.0
    decay, content = spec.decay(hours), e_mwh
    plan = np.empty(exogenous.grid.count)
    pull = min(1.0, hours)
    for k, (demand_mw, cop_k) in enumerate(zip(need.tolist(), cop.tolist(), strict=True)):
        left = content * decay
        wanted = (demand_mw * hours + (content - left) + (target - content) * pull) / (cop_k * hours)
        full = (spec.storage_mwh_thermal - left + demand_mw * hours) / (cop_k * hours)
        power = max(0.0, min(wanted, full, spec.p_max_mw))
        content = max(0.0, left + (power * cop_k - demand_mw) * hours)
        plan[k] = power
    return plan


def heat_pump_envelope(
    name: str, spec: HeatPumpSpec, e_mwh: float, exogenous: ExogenousForecast, plan_mw: FloatArray | None = None
) -> Envelope:
    """Envelope of a heat pump: the store bridges lowered and swallows raised consumption."""
    hours = exogenous.grid.hours
    cop = cop_at(exogenous.temperature_c, spec.cop)
    need = heat_demand(exogenous.temperature_c, spec.heat_demand_mw_at_minus10)
    p_mw = heat_pump_plan(spec, e_mwh, exogenous) if plan_mw is None else np.clip(plan_mw, 0.0, spec.p_max_mw)
    path = np.concatenate([[e_mwh], content_path(e_mwh, spec.decay(hours), (p_mw * cop - need) * hours)])
    worst = float(cop.max()) if len(cop) else spec.cop
    return Envelope(
        name=name,
        grid=exogenous.grid,
        p_mw=p_mw,
        q_mvar=np.zeros_like(p_mw),
        p_min_mw=np.zeros_like(p_mw),
        p_max_mw=np.full_like(p_mw, spec.p_max_mw),
        q_min_mvar=np.zeros_like(p_mw),
        q_max_mvar=np.zeros_like(p_mw),
        energy_up_mwh=max(0.0, float(path.min())) / worst,
        energy_down_mwh=max(0.0, spec.storage_mwh_thermal - float(path.max())) / worst,
        cost_eur_per_mwh=spec.wear_eur_per_mwh,
    )


def hours_of_day(grid: TimeGrid) -> FloatArray:
    """Middle of every interval as hour of the day (UTC). [h] (n,)"""
    first = grid.start.hour + grid.start.minute / 60.0 + grid.start.second / 3600.0
    return np.asarray((first + (np.arange(grid.count) + 0.5) * grid.hours) % 24.0)


def ev_expectation(spec: EvSpec, grid: TimeGrid) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of the charging power when nobody interferes. [MW] (n,), [MW] (n,)

    A session charges at time t if it arrived less than its charging time ago; arrivals are normal.
    """
    charging_h = spec.energy_kwh_mean / 1000.0 / spec.p_max_mw
    hour, std = hours_of_day(grid), max(spec.arrival_std_h, 0.05)
    chance = np.zeros(grid.count)
    for day in (-1.0, 0.0, 1.0):
        since = (hour + 24.0 * day - spec.arrival_mean_h) / std
        chance += ndtr(since) - ndtr(since - charging_h / std)
    mean = spec.sessions_per_day * chance
    site = spec.chargers * spec.p_max_mw
    # Sessions a day are Poisson, hence so is the number that charges.
    return np.minimum(mean * spec.p_max_mw, site), np.sqrt(mean) * spec.p_max_mw


def ev_envelope(name: str, spec: EvSpec, grid: TimeGrid, settings: FlexibilitySettings) -> Envelope:
    """Envelope of a charging site: charging that is very likely going on can be delayed by the slack of a stay."""
    mean, std = ev_expectation(spec, grid)
    firm = np.maximum(0.0, mean - settings.ev_quantile * std)
    slack_h = max(0.0, spec.stay_mean_h - spec.energy_kwh_mean / 1000.0 / spec.p_max_mw)
    zeros = np.zeros(grid.count)
    return Envelope(
        name=name,
        grid=grid,
        p_mw=mean,
        q_mvar=zeros,
        p_min_mw=mean - firm,
        p_max_mw=mean,
        q_min_mvar=zeros,
        q_max_mvar=zeros,
        # Half of the mean slack: stays differ, and the delayed energy must still fit before departure.
        energy_up_mwh=float(firm.max(initial=0.0)) * slack_h / 2.0,
        energy_down_mwh=0.0,
        cost_eur_per_mwh=spec.wear_eur_per_mwh,
    )


def shiftable_plan(spec: ShiftableLoadSpec, grid: TimeGrid, starts_h: Sequence[float] | None = None) -> FloatArray:
    """Mean power of every interval for given starts of the day (the default ones without). [MW] (n,)"""
    starts = spec.default_starts_h() if starts_h is None else starts_h
    first = grid.start.hour + grid.start.minute / 60.0 + grid.start.second / 3600.0
    begin = first + np.arange(grid.count) * grid.hours
    p_mw = np.zeros(grid.count)
    run_h = spec.duration_min / 60.0
    for day in range(int((first + grid.count * grid.hours) // 24.0) + 1):
        for start in starts:
            at = start + 24.0 * day
            overlap = np.minimum(begin + grid.hours, at + run_h) - np.maximum(begin, at)
            p_mw += spec.p_mw * np.maximum(0.0, overlap) / grid.hours
    return p_mw


def forecast_resource(
    name: str,
    spec: ResourceSpec,
    state: Mapping[str, float],
    exogenous: ExogenousForecast,
    settings: FlexibilitySettings = FlexibilitySettings(),
    plan_mw: FloatArray | None = None,
) -> Envelope:
    """Envelope of one resource over the grid of ``exogenous``.

    Args:
        name: Name of the resource.
        spec: Its specification.
        state: Its state at the start (``soc_percent`` of battery and heat pump; the specified start without).
        exogenous: Expected surroundings.
        settings: How carefully to promise.
        plan_mw: Operation plan of a battery, heat pump or shiftable load; its own behaviour without. [MW] (n,)

    Returns:
        Envelope of the resource.  Shiftable loads promise no range (a run is all or nothing); they follow the plan.
    """
    grid = exogenous.grid
    match spec:
        case BatterySpec():
            soc = state.get("soc_percent", spec.soc_start_percent)
            return battery_envelope(name, spec, spec.energy_mwh * soc / 100.0, grid, plan_mw)
        case HeatPumpSpec():
            soc = state.get("soc_percent", spec.storage_start_percent)
            return heat_pump_envelope(name, spec, spec.storage_mwh_thermal * soc / 100.0, exogenous, plan_mw)
        case PvSpec():
            return pv_envelope(name, spec, exogenous, settings)
        case EvSpec():
            return ev_envelope(name, spec, grid, settings)
        case ShiftableLoadSpec():
            p_mw = shiftable_plan(spec, grid) if plan_mw is None else plan_mw
            return _fixed(name, grid, p_mw, np.zeros(grid.count))
        case LoadSpec():
            factor = exogenous.profiles.get(name, np.ones(grid.count))
            return _fixed(name, grid, spec.p_mw * factor, spec.q_mvar * factor)


def _joint_range(rooms: FloatArray, shares: FloatArray) -> FloatArray:
    """Largest T of every interval with T = sum of min(room, share * T): no member gives more than its share. [MW] (n,)

    Args:
        rooms: Range of each member. [MW] (m, n)
        shares: Largest share of T a member may give; infinite for any. [1] (m,)
    """
    limit = np.where(np.isinf(shares), 0.0, 1.0)[:, None] * rooms / np.minimum(shares, 1e12)[:, None]
    order = np.argsort(limit, axis=0, kind="stable")
    sorted_rooms = np.take_along_axis(rooms, order, axis=0)
    sorted_shares = np.where(np.isinf(shares), 0.0, shares)[order]
    best = np.zeros(rooms.shape[1])
    full = np.zeros(rooms.shape[1])
    rest = sorted_shares.sum(axis=0)
    for room, share in zip(sorted_rooms, sorted_shares, strict=True):
        # This member and those before it give all they have, the others their share.
        full, rest = full + room, rest - share
        total = np.where(rest < 1.0 - TINY, full / np.maximum(1.0 - rest, TINY), 0.0)
        with np.errstate(invalid="ignore"):
            given = np.fmin(rooms, shares[:, None] * total).sum(axis=0)
        best = np.where(given >= total * (1.0 - 1e-9), np.maximum(best, total), best)
    return best


def _promise(ranges: Sequence[FloatArray], energies: Sequence[float], hold_h: float) -> tuple[list[FloatArray], float]:
    """Ranges narrowed to ``hold_h`` and the energy they can deliver together in any order.

    A member that may be asked for a share ``s`` of any call limits the promise to its energy over ``s``.  In intervals
    where the large stores have no room, a small one would be the whole range and so limit the promise of the whole
    horizon; its range is cut there instead, wherever that leaves the larger product of range and energy.
    """
    if not ranges:
        return [], math.inf
    energy = np.asarray(energies, dtype=np.float64)
    hold = energy / hold_h if hold_h > 0 else np.full(len(energy), np.inf)
    rooms = np.minimum(np.maximum(np.asarray(ranges, dtype=np.float64), 0.0), hold[:, None])
    used = np.any(rooms > TINY, axis=1)
    if not np.any(used):
        return list(rooms), 0.0
    finite = used & np.isfinite(energy)
    if not np.any(finite):
        return list(rooms), math.inf
    total = rooms.sum(axis=0)
    share = np.divide(rooms, total, out=np.zeros_like(rooms), where=total > TINY).max(axis=1)
    naive = float((energy[finite] / np.maximum(share[finite], TINY)).min())
    whole = float(energy[finite].sum())
    best, best_energy, best_score = rooms, naive, naive * float(total.sum())
    for promised in (whole, 0.9 * whole, 0.75 * whole, 0.5 * whole):
        if promised <= naive:
            break
        shares = np.where(finite, energy / promised, np.inf)
        joint = _joint_range(rooms, shares)
        score = promised * float(joint.sum())
        if score > best_score * (1.0 + 1e-6):
            cut = np.where(np.isfinite(shares)[:, None], np.where(finite, shares, 0.0)[:, None] * joint, np.inf)
            best, best_energy, best_score = np.minimum(rooms, cut), promised, score
    return list(best), best_energy


def aggregate(name: str, envelopes: Sequence[Envelope], settings: FlexibilitySettings) -> Envelope:
    """Envelope of a microgrid at its point of common coupling.

    Args:
        name: Microgrid.
        envelopes: Its resources, all on one grid (at least one).
        settings: How carefully to promise.

    Returns:
        Sum of the plans with the range and energy that the resources can deliver together.
    """
    if not envelopes:
        raise ValueError(f"{name}: a microgrid needs at least one resource")
    p_mw = np.sum([envelope.p_mw for envelope in envelopes], axis=0)
    q_mvar = np.sum([envelope.q_mvar for envelope in envelopes], axis=0)
    up, energy_up = _promise([e.up_mw for e in envelopes], [e.energy_up_mwh for e in envelopes], settings.hold_h)
    down, energy_down = _promise(
        [e.down_mw for e in envelopes], [e.energy_down_mwh for e in envelopes], settings.hold_h
    )
    q_min, q_max = q_mvar, q_mvar
    if settings.reactive:
        q_min = np.sum([envelope.q_min_mvar for envelope in envelopes], axis=0)
        q_max = np.sum([envelope.q_max_mvar for envelope in envelopes], axis=0)
    up_total, down_total = np.sum(up, axis=0), np.sum(down, axis=0)
    moved = [float(u.sum() + d.sum()) for u, d in zip(up, down, strict=True)]
    cost = sum(m * e.cost_eur_per_mwh for m, e in zip(moved, envelopes, strict=True)) / max(sum(moved), TINY)
    return Envelope(
        name=name,
        grid=envelopes[0].grid,
        p_mw=p_mw,
        q_mvar=q_mvar,
        p_min_mw=p_mw - up_total,
        p_max_mw=p_mw + down_total,
        q_min_mvar=q_min,
        q_max_mvar=q_max,
        energy_up_mwh=energy_up,
        energy_down_mwh=energy_down,
        cost_eur_per_mwh=cost,
    )
