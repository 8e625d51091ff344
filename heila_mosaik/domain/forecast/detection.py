"""Probabilistic congestion detection: batch power flow of the expected states, linearised uncertainty about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import numpy as np
from scipy.special import ndtr, ndtri

from heila_mosaik.domain.congestion.cases import Contingency
from heila_mosaik.domain.congestion.limits import Limits
from heila_mosaik.domain.forecast.injections import InjectionForecast
from heila_mosaik.domain.information import CongestionKind, Need
from heila_mosaik.domain.network import GridEngine, Observable
from heila_mosaik.domain.quantities import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Congestion:
    """Expected congestion of one element over contiguous intervals.

    Attributes:
        element: ``bus.7``, ``line.3`` or ``trafo.0``.
        kind: Limit that is broken.
        position: Position of the element in its table.
        first, count: Intervals of the forecast.
        start, stop: The same as times.
        worst: Interval of the largest excess.
        excess: Largest excess of the value at the stated risk over the limit. [pu] or [%]
        probability: Largest chance of violation over the intervals. [1]
        outage: Element whose outage would cause it, empty for the grid as it is.
    """

    element: str
    kind: CongestionKind
    position: int
    first: int
    count: int
    start: datetime
    stop: datetime
    worst: int
    excess: float
    probability: float
    outage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Everything found over the horizon.

    Attributes:
        congestions: By start, then element.
        p_bus_mw, q_bus_mvar: Expected consumption. (t, n_bus)
        vm_pu, line_percent, trafo_percent: Expected state. (t, n)
        limits: Limits of each congested interval, tightened by the uncertainty at the stated risk.
        probability: Chance of the likeliest violation of each congested interval. [1]
        contingencies: Outages to survive in each congested interval, limits tightened likewise.
    """

    congestions: tuple[Congestion, ...]
    p_bus_mw: FloatArray
    q_bus_mvar: FloatArray
    vm_pu: FloatArray
    line_percent: FloatArray
    trafo_percent: FloatArray
    limits: dict[int, Limits]
    probability: dict[int, float]
    contingencies: dict[int, tuple[Contingency, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One kind of limit over the horizon: excess of the expectation and its standard deviation. (t, n) each"""

    kind: CongestionKind
    table: str
    observable: Observable
    near: float
    excess: FloatArray
    sigma: FloatArray

    def likely(self, quantile: float) -> tuple[FloatArray, FloatArray]:
        """Excess at the stated risk and chance of violation. (t, n), (t, n)"""
        shifted = np.where(np.isfinite(self.excess), self.excess, -np.inf) + quantile * self.sigma
        known = self.sigma > 0
        ratio = np.divide(self.excess, self.sigma, where=known, out=np.full_like(self.sigma, -9.0))
        return shifted, np.where(known, ndtr(ratio), self.excess > 0)


def detect(
    engine: GridEngine,
    forecast: InjectionForecast,
    bus: IntArray,
    limits: Limits,
    *,
    risk: float = 0.05,
    keep: BoolArray | None = None,
    near_voltage_pu: float = 0.02,
    near_percent: float = 25.0,
    contingencies: Sequence[Contingency] = (),
) -> Detection:
    """Find the elements whose chance of violation exceeds ``risk``.

    Args:
        engine: Compiled grid.
        forecast: Injections ahead.
        bus: Bus position of each injection. (n,)
        limits: Limits.
        risk: Chance of violation that is accepted. [1]
        keep: Intervals to look at; ``None``: all. (t,)
        near_voltage_pu: Uncertainty is worked out for elements whose expectation is this close to the limit. [pu]
        near_percent: ... this close. [%]
        contingencies: Outages after which limits are looked at too (N-1).
    """
    n_bus = len(engine.network.bus_ids)
    p_bus, q_bus = _to_buses(forecast.p_mw, bus, n_bus), _to_buses(forecast.q_mvar, bus, n_bus)
    quantile = float(ndtri(1.0 - risk))
    near = (near_voltage_pu, near_percent)
    states = engine.solve_bus_batch(p_bus, q_bus)
    sides = _sides(engine, forecast, bus, (p_bus, q_bus), states, limits, near)
    found, chances = _found(engine, forecast, sides, quantile, keep, "")
    after_outage = []
    for case in contingencies:
        after = case.engine.solve_bus_batch(p_bus, q_bus)
        others = _sides(case.engine, forecast, bus, (p_bus, q_bus), after, case.limits, near)
        after_outage.append((case, others))
        more, likely = _found(case.engine, forecast, others, quantile, keep, case.outage)
        found += more
        chances = {k: max(chances.get(k, 0.0), likely.get(k, 0.0)) for k in {**chances, **likely}}
    found.sort(key=lambda congestion: (congestion.start, congestion.element, congestion.kind, congestion.outage))
    tightened = {k: _tightened(limits, quantile, sides, k) for k in sorted(chances)}
    secured = {
        k: tuple(replace(case, limits=_tightened(case.limits, quantile, others, k)) for case, others in after_outage)
        for k in tightened
    }
    return Detection(
        congestions=tuple(found),
        p_bus_mw=p_bus,
        q_bus_mvar=q_bus,
        vm_pu=states[0],
        line_percent=states[1],
        trafo_percent=states[2],
        limits=tightened,
        probability=chances,
        contingencies=secured,
    )


def _found(
    engine: GridEngine,
    forecast: InjectionForecast,
    sides: tuple[_Side, ...],
    quantile: float,
    keep: BoolArray | None,
    outage: str,
) -> tuple[list[Congestion], dict[int, float]]:
    """Congestions of one state of the grid, and the chance of the likeliest violation of each congested interval."""
    found: list[Congestion] = []
    chances: dict[int, float] = {}
    for side in sides:
        shifted, chance = side.likely(quantile)
        broken = shifted > 0
        if keep is not None:
            broken &= keep[:, None]
        for interval in np.flatnonzero(broken.any(axis=1)).tolist():
            chances[interval] = max(chances.get(interval, 0.0), float(np.nanmax(chance[interval][broken[interval]])))
        ids = engine.network.bus_ids if side.table == "bus" else getattr(engine.network, f"{side.table}s").ids
        for position in np.flatnonzero(broken.any(axis=0)).tolist():
            make = partial(_congestion, forecast, f"{side.table}.{ids[position]}", side.kind, position, outage)
            found += [make(run, shifted[:, position], chance[:, position]) for run in _runs(broken[:, position])]
    return found, chances


def needs_of(
    engine: GridEngine,
    detection: Detection,
    locations: dict[str, int],
    *,
    least_effect: float = 1e-6,
    contingencies: Sequence[Contingency] = (),
) -> tuple[Need, ...]:
    """Turn congestions into needs with the effect of every location, by sensitivity at the worst interval.

    Args:
        engine: Compiled grid.
        detection: What was found.
        locations: Bus position of each location that can offer flexibility.
        least_effect: Locations with less effect on everything are left out. [pu/MW or %/MW]
        contingencies: Outages that were looked at.
    """
    engines = {"": engine} | {case.outage: case.engine for case in contingencies}
    names = tuple(locations)
    at = np.array([locations[name] for name in names], dtype=np.int64)
    needs = []
    by_worst: dict[tuple[str, int], list[Congestion]] = {}
    for congestion in detection.congestions:
        by_worst.setdefault((congestion.outage, congestion.worst), []).append(congestion)
    effects: dict[int, tuple[FloatArray, FloatArray]] = {}
    for (outage, worst), members in by_worst.items():
        engines[outage].solve_bus(detection.p_bus_mw[worst], detection.q_bus_mvar[worst])
        positions = np.array([member.position for member in members], dtype=np.int64)
        _, d_p, d_q = engines[outage].sensitivity(tuple(_observable(member) for member in members), positions)
        for row, member in enumerate(members):
            sign = 1.0 if member.kind == CongestionKind.UNDERVOLTAGE else -1.0
            effects[id(member)] = (sign * d_p[row, at], sign * d_q[row, at])
    for congestion in detection.congestions:
        effect_p, effect_q = effects[id(congestion)]
        keep = np.flatnonzero(np.maximum(np.abs(effect_p), np.abs(effect_q)) > least_effect)
        needs.append(
            Need(
                element=congestion.element,
                kind=congestion.kind,
                start=congestion.start,
                stop=congestion.stop,
                excess=congestion.excess,
                locations=tuple(names[k] for k in keep),
                effect_p=tuple(effect_p[keep].tolist()),
                effect_q=tuple(effect_q[keep].tolist()),
                probability=congestion.probability,
            )
        )
    return tuple(needs)


def _to_buses(power: FloatArray, bus: IntArray, n_bus: int) -> FloatArray:
    """Sum injections ``(t, n)`` to buses ``(t, n_bus)``."""
    out = np.zeros((len(power), n_bus))
    np.add.at(out.T, bus, power.T)
    return out


def _sides(
    engine: GridEngine,
    forecast: InjectionForecast,
    bus: IntArray,
    power: tuple[FloatArray, FloatArray],
    states: tuple[FloatArray, FloatArray, FloatArray],
    limits: Limits,
    near: tuple[float, float],
) -> tuple[_Side, ...]:
    """Excess of every limit with the standard deviation of every element's value, zero where the limit is far.

    The derivatives are taken at each element's worst interval and used for all intervals: they change by a few
    percent over a day while the deviations are known far less well.
    """
    vm, line, trafo = states
    close_v, close_i = near
    kinds = (
        (CongestionKind.UNDERVOLTAGE, "bus", Observable.VM_PU, close_v, limits.v_min_pu - vm),
        (CongestionKind.OVERVOLTAGE, "bus", Observable.VM_PU, close_v, vm - limits.v_max_pu),
        (CongestionKind.CURRENT, "line", Observable.LINE_LOADING_PERCENT, close_i, line - limits.line_percent),
        (CongestionKind.CURRENT, "trafo", Observable.TRAFO_LOADING_PERCENT, close_i, trafo - limits.trafo_percent),
    )
    sides = tuple(
        _Side(kind=kind, table=table, observable=seen, near=close, excess=excess, sigma=np.zeros_like(excess))
        for kind, table, seen, close, excess in kinds
    )
    asked: dict[int, list[tuple[_Side, int]]] = {}
    for side in sides:
        filled = np.where(np.isfinite(side.excess), side.excess, -np.inf)
        for position in np.flatnonzero(filled.max(axis=0, initial=-np.inf) > -side.near).tolist():
            asked.setdefault(int(np.argmax(filled[:, position])), []).append((side, position))
    for interval, members in asked.items():
        engine.solve_bus(power[0][interval], power[1][interval])
        observables = tuple(side.observable for side, _ in members)
        _, d_p, d_q = engine.sensitivity(observables, np.array([position for _, position in members]))
        d_p, d_q = np.nan_to_num(d_p[:, bus]), np.nan_to_num(d_q[:, bus])
        own = forecast.sigma_p_mw**2 @ (d_p**2).T + forecast.sigma_q_mvar**2 @ (d_q**2).T
        common = (forecast.sigma_p_mw @ d_p.T) ** 2 + (forecast.sigma_q_mvar @ d_q.T) ** 2
        spread = np.sqrt((1 - forecast.correlation) * own + forecast.correlation * common)
        for column, (side, position) in enumerate(members):
            side.sigma[:, position] = spread[:, column]
    return sides


def _runs(broken: BoolArray) -> list[tuple[int, int]]:
    """Contiguous runs of ``True`` as (first, count)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], broken.astype(np.int8), [0]))))
    return [(int(first), int(stop - first)) for first, stop in zip(edges[::2], edges[1::2], strict=True)]


def _congestion(
    forecast: InjectionForecast,
    element: str,
    kind: CongestionKind,
    position: int,
    outage: str,
    run: tuple[int, int],
    excess: FloatArray,
    chance: FloatArray,
) -> Congestion:
    first, count = run
    worst = first + int(np.argmax(excess[first : first + count]))
    return Congestion(
        element=element,
        kind=kind,
        position=position,
        first=first,
        count=count,
        start=forecast.grid.at(first),
        stop=forecast.grid.at(first + count),
        worst=worst,
        excess=float(excess[worst]),
        probability=float(np.clip(chance[first : first + count].max(), 0.0, 1.0)),
        outage=outage,
    )


def _tightened(limits: Limits, quantile: float, sides: tuple[_Side, ...], interval: int) -> Limits:
    sigma = [side.sigma[interval] for side in sides]
    # a band narrower than its own uncertainty has no inside; half of the band stays at least
    half = np.minimum(0.25 * (limits.v_max_pu - limits.v_min_pu), 1.0)
    return Limits(
        v_min_pu=limits.v_min_pu + np.minimum(quantile * sigma[0], half),
        v_max_pu=limits.v_max_pu - np.minimum(quantile * sigma[1], half),
        line_percent=limits.line_percent - np.minimum(quantile * sigma[2], 0.5 * limits.line_percent),
        trafo_percent=limits.trafo_percent - np.minimum(quantile * sigma[3], 0.5 * limits.trafo_percent),
    )


def _observable(congestion: Congestion) -> Observable:
    table = congestion.element.split(".")[0]
    names = {"line": Observable.LINE_LOADING_PERCENT, "trafo": Observable.TRAFO_LOADING_PERCENT}
    return names.get(table, Observable.VM_PU)
