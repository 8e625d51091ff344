"""Probabilistic congestion detection: batch power flow of the expected states, linearised uncertainty about them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

import numpy as np
from scipy.special import ndtr, ndtri

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Detection:
    """Everything found over the horizon.

    Attributes:
        congestions: By start, then element.
        p_bus_mw, q_bus_mvar: Expected consumption. (t, n_bus)
        vm_pu, line_percent, trafo_percent: Expected state. (t, n)
        limits: Limits of each congested interval, tightened by the uncertainty at the stated risk.
        probability: Chance of the likeliest violation of each congested interval. [1]
    """

    congestions: tuple[Congestion, ...]
    p_bus_mw: FloatArray
    q_bus_mvar: FloatArray
    vm_pu: FloatArray
    line_percent: FloatArray
    trafo_percent: FloatArray
    limits: dict[int, Limits]
    probability: dict[int, float]


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
    """
    n_bus = len(engine.network.bus_ids)
    p_bus, q_bus = _to_buses(forecast.p_mw, bus, n_bus), _to_buses(forecast.q_mvar, bus, n_bus)
    vm, line, trafo = engine.solve_bus_batch(p_bus, q_bus)
    quantile = float(ndtri(1.0 - risk))
    sides = (
        (CongestionKind.UNDERVOLTAGE, "bus", limits.v_min_pu - vm, Observable.VM_PU, near_voltage_pu),
        (CongestionKind.OVERVOLTAGE, "bus", vm - limits.v_max_pu, Observable.VM_PU, near_voltage_pu),
        (CongestionKind.CURRENT, "line", line - limits.line_percent, Observable.LINE_LOADING_PERCENT, near_percent),
        (CongestionKind.CURRENT, "trafo", trafo - limits.trafo_percent, Observable.TRAFO_LOADING_PERCENT, near_percent),
    )
    over = [side[2] for side in sides]
    sigmas = _sigmas(engine, forecast, bus, p_bus, q_bus, sides)
    found: list[Congestion] = []
    margins = {}
    chances: dict[int, float] = {}
    for (kind, table, excess, _, _), sigma in zip(sides, sigmas, strict=True):
        shifted = np.where(np.isfinite(excess), excess, -np.inf) + quantile * sigma
        chance = np.where(
            sigma > 0, ndtr(np.divide(excess, sigma, where=sigma > 0, out=np.full_like(sigma, -9.0))), excess > 0
        )
        broken = shifted > 0
        if keep is not None:
            broken &= keep[:, None]
        for interval in np.flatnonzero(broken.any(axis=1)).tolist():
            margins[interval] = True
            chances[interval] = max(chances.get(interval, 0.0), float(np.nanmax(chance[interval][broken[interval]])))
        ids = getattr(engine.network, f"{table}s").ids if table != "bus" else engine.network.bus_ids
        for position in np.flatnonzero(broken.any(axis=0)).tolist():
            make = partial(_congestion, forecast, f"{table}.{ids[position]}", kind, position)
            found += [make(run, shifted[:, position], chance[:, position]) for run in _runs(broken[:, position])]
    found.sort(key=lambda congestion: (congestion.start, congestion.element, congestion.kind))
    tightened = {
        k: _tightened(limits, quantile, [sigma[k] for sigma in sigmas], [part[k] for part in over])
        for k in sorted(margins)
    }
    return Detection(
        congestions=tuple(found),
        p_bus_mw=p_bus,
        q_bus_mvar=q_bus,
        vm_pu=vm,
        line_percent=line,
        trafo_percent=trafo,
        limits=tightened,
        probability=chances,
    )


def needs_of(
    engine: GridEngine, detection: Detection, locations: dict[str, int], *, least_effect: float = 1e-6
) -> tuple[Need, ...]:
    """Turn congestions into needs with the effect of every location, by sensitivity at the worst interval.

    Args:
        engine: Compiled grid.
        detection: What was found.
        locations: Bus position of each location that can offer flexibility.
        least_effect: Locations with less effect on everything are left out. [pu/MW or %/MW]
    """
    names = tuple(locations)
    at = np.array([locations[name] for name in names], dtype=np.int64)
    needs = []
    by_worst: dict[int, list[Congestion]] = {}
    for congestion in detection.congestions:
        by_worst.setdefault(congestion.worst, []).append(congestion)
    effects: dict[int, tuple[FloatArray, FloatArray]] = {}
    for worst, members in by_worst.items():
        engine.solve_bus(detection.p_bus_mw[worst], detection.q_bus_mvar[worst])
        positions = np.array([member.position for member in members], dtype=np.int64)
        _, d_p, d_q = engine.sensitivity(tuple(_observable(member) for member in members), positions)
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


def _sigmas(
    engine: GridEngine,
    forecast: InjectionForecast,
    bus: IntArray,
    p_bus: FloatArray,
    q_bus: FloatArray,
    sides: tuple[tuple[CongestionKind, str, FloatArray, Observable, float], ...],
) -> list[FloatArray]:
    """Standard deviation of every element's value in every interval, zero where the limit is far.

    The derivatives are taken at each element's worst interval and used for all intervals: they change by a few
    percent over a day while the deviations are known far less well.
    """
    sigmas = [np.zeros_like(side[2]) for side in sides]
    asked: dict[int, list[tuple[int, int]]] = {}
    for number, (_, _, excess, _, near) in enumerate(sides):
        filled = np.where(np.isfinite(excess), excess, -np.inf)
        for position in np.flatnonzero(filled.max(axis=0, initial=-np.inf) > -near).tolist():
            asked.setdefault(int(np.argmax(filled[:, position])), []).append((number, position))
    for interval, members in asked.items():
        engine.solve_bus(p_bus[interval], q_bus[interval])
        observables = tuple(sides[number][3] for number, _ in members)
        _, d_p, d_q = engine.sensitivity(observables, np.array([position for _, position in members]))
        d_p, d_q = np.nan_to_num(d_p[:, bus]), np.nan_to_num(d_q[:, bus])
        own = forecast.sigma_p_mw**2 @ (d_p**2).T + forecast.sigma_q_mvar**2 @ (d_q**2).T
        common = (forecast.sigma_p_mw @ d_p.T) ** 2 + (forecast.sigma_q_mvar @ d_q.T) ** 2
        spread = np.sqrt((1 - forecast.correlation) * own + forecast.correlation * common)
        for column, (number, position) in enumerate(members):
            sigmas[number][:, position] = spread[:, column]
    return sigmas


def _runs(broken: BoolArray) -> list[tuple[int, int]]:
    """Contiguous runs of ``True`` as (first, count)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], broken.astype(np.int8), [0]))))
    return [(int(first), int(stop - first)) for first, stop in zip(edges[::2], edges[1::2], strict=True)]


def _congestion(
    forecast: InjectionForecast,
    element: str,
    kind: CongestionKind,
    position: int,
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
    )


def _tightened(limits: Limits, quantile: float, sigma: list[FloatArray], _excess: list[FloatArray]) -> Limits:
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
