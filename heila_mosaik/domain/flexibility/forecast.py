"""Envelope of each kind of resource from its state and what is expected of the surroundings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import ndtr

from heila_mosaik.domain.flexibility.envelope import Envelope, ExogenousForecast, FlexibilitySettings
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

_DEFAULTS = FlexibilitySettings()


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
    settings: FlexibilitySettings = _DEFAULTS,
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
