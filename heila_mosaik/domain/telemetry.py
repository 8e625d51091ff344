"""Measuring: true values to what the control centre receives, with noise, delay and dropout."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.network import GridState, Network
from heila_mosaik.domain.quantities import FloatArray, IntArray, Quality, Quantity
from heila_mosaik.errors import Problem, ProblemsError

_COLUMNS = {
    ("bus", Quantity.VOLTAGE): "vm_pu",
    ("bus", Quantity.ACTIVE_POWER): "p_bus_mw",
    ("bus", Quantity.REACTIVE_POWER): "q_bus_mvar",
    ("line", Quantity.ACTIVE_POWER): "line_p_from_mw",
    ("line", Quantity.REACTIVE_POWER): "line_q_from_mvar",
    ("line", Quantity.CURRENT): "line_i_from_ka",
    ("trafo", Quantity.ACTIVE_POWER): "trafo_p_hv_mw",
    ("trafo", Quantity.REACTIVE_POWER): "trafo_q_hv_mvar",
    ("trafo", Quantity.CURRENT): "trafo_i_hv_ka",
    ("ext_grid", Quantity.ACTIVE_POWER): "ext_p_mw",
    ("ext_grid", Quantity.REACTIVE_POWER): "ext_q_mvar",
}
_EXACT = (Quantity.BREAKER, Quantity.TAP)
_EXACT_SIGMA = 1e-3
_NEEDS_VOLTAGE = ("vm_pu",)
_KINDS = {
    "switch": Quantity.BREAKER,
    "load": Quantity.BREAKER,
    "sgen": Quantity.BREAKER,
    "ext_grid": Quantity.BREAKER,
    "line": Quantity.FAULT,
}


def _position_kind(element: str) -> Quantity:
    table = element.partition(".")[0]
    return _KINDS.get(table, Quantity.TAP)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasurementPoint:
    """One measured quantity.

    Attributes:
        element: ``<table>.<id>`` of the grid, or the name of a microgrid, resource or breaker whose value is handed in.
        quantity: What is measured.
        relative: Standard uncertainty, of the value. [1]
        absolute: Standard uncertainty at least, in the unit of the quantity.
    """

    element: str
    quantity: Quantity
    relative: float = 0.01
    absolute: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionPoints:
    """Positions reported; exact, and repeated until acknowledged, so that none is lost.

    Attributes:
        cyclic: Sent with every message: ``switch.3``, ``trafo.0``, ``shunt.1``.
        spontaneous: Sent when they change (spontaneous transmission of IEC 60870-5-104) and all together every hour
            (general interrogation): further switches, and fault passage indicators as ``line.7``.
    """

    cyclic: tuple[str, ...] = ()
    spontaneous: tuple[str, ...] = ()


def standard_points(
    network: Network,
    feeders: tuple[str, ...],
    locations: tuple[str, ...] = (),
    meters: tuple[str, ...] = (),
    *,
    voltage_relative: float = 0.002,
    power_relative: float = 0.01,
    stations: tuple[str, ...] = (),
) -> tuple[MeasurementPoint, ...]:
    """Usual telemetry of a distribution control centre.

    Substation voltages (low-voltage side of every transformer, or the external grid's bus where there is none), P and Q
    of the feeders, P and Q at the microgrids' points of common coupling, and chosen smart meters.

    Args:
        network: The grid.
        feeders: ``line.<id>`` (measured at the from end) or ``trafo.<id>``.
        locations: Microgrids measured at their point of common coupling.
        meters: Appliances (``load.4``) or buses with a meter.
        voltage_relative: Uncertainty of voltages. [1]
        power_relative: Uncertainty of powers. [1]
        stations: Further buses (``bus.7``) whose voltage is measured, secondary substations.
    """
    at = network.trafos.to_bus if len(network.trafos.ids) else network.ext_grids.bus
    buses = sorted({int(network.bus_ids[position]) for position in at.tolist()})
    points = [
        MeasurementPoint(element=bus, quantity=Quantity.VOLTAGE, relative=voltage_relative, absolute=1e-5)
        for bus in dict.fromkeys((*(f"bus.{bus}" for bus in buses), *stations))
    ]
    points += [
        MeasurementPoint(element=element, quantity=quantity, relative=power_relative)
        for element in (*feeders, *locations, *meters)
        for quantity in (Quantity.ACTIVE_POWER, Quantity.REACTIVE_POWER)
    ]
    return tuple(points)


class MeasurementModel:
    """Measures a grid state at declared points.

    Args:
        network: The grid.
        source: Name of the measuring system.
        points: What is measured.
        rng: Generator of noise and dropout.
        delay_s: Age of a value on arrival; less than a period is carried as age alone. [s]
        period_s: Time between calls of :meth:`measure`. [s]
        dropout: Chance that a value does not arrive; the last one is then repeated as questionable. [1]
        hold_s: A value repeated for longer is reported missing. [s]
        positions: What is reported of switches, taps and capacitor banks.
    """

    def __init__(
        self,
        network: Network,
        source: str,
        points: tuple[MeasurementPoint, ...],
        rng: np.random.Generator,
        *,
        delay_s: float = 0.0,
        period_s: float = 60.0,
        dropout: float = 0.0,
        hold_s: float = 900.0,
        positions: PositionPoints | None = None,
    ) -> None:
        self.points, self.source, self.delay_s, self.dropout, self.hold_s = points, source, delay_s, dropout, hold_s
        self._rng = rng
        self._wait_s = (delay_s // period_s) * period_s
        reported = positions or PositionPoints()
        self._positions = positions_cyclic = reported.cyclic
        self._elements = tuple(point.element for point in points) + positions_cyclic
        self._quantities = tuple(point.quantity for point in points) + tuple(map(_position_kind, positions_cyclic))
        self._noisy = np.array([point.quantity not in _EXACT for point in points])
        self._relative = np.array([point.relative for point in points]) * self._noisy
        self._absolute = np.array([point.absolute for point in points])
        self._columns, self._handed = _attach(network, points)
        self._queue: deque[tuple[datetime, FloatArray, FloatArray]] = deque()
        self._changes = Spontaneous(reported.spontaneous)
        self._values = np.full(len(self._elements), np.nan)
        self._sigmas = np.ones(len(self._elements))
        self._taken: list[datetime | None] = [None] * len(self._elements)
        self._count = 0

    @property
    def handed(self) -> tuple[tuple[str, Quantity], ...]:
        """Points whose true value the caller hands in (not in the grid state)."""
        return tuple((self._elements[position], self._quantities[position]) for position in self._handed)

    def measure(
        self,
        now: datetime,
        state: GridState,
        handed: Mapping[tuple[str, Quantity], float] | None = None,
        positions: Mapping[str, float] | None = None,
    ) -> Measurements:
        """Measure now and return what has arrived by now.

        Args:
            now: Time.
            state: True state of the grid.
            handed: True values of points that are not in the grid state, consumption positive.
            positions: Positions by element.
        """
        true = np.full(len(self.points), np.nan)
        for name, rows, places in self._columns:
            true[rows] = getattr(state, name)[places]
            if state.converged and name not in _NEEDS_VOLTAGE:
                # the meter of a dead feeder reads no power and no current
                true[rows] = np.nan_to_num(true[rows])
        for position in self._handed:
            true[position] = (handed or {}).get((self._elements[position], self._quantities[position]), np.nan)
        sigma = np.maximum(self._relative * np.abs(np.nan_to_num(true)), self._absolute)
        noise = self._rng.standard_normal(len(true))
        arrives = self._rng.random(len(true)) >= self.dropout
        measured = np.where(arrives, true + self._noisy * sigma * noise, np.nan)
        at = [(positions or {}).get(element, np.nan) for element in self._positions]
        self._queue.append((now, np.append(measured, at), np.append(sigma, np.full(len(at), _EXACT_SIGMA))))
        self._receive(now)
        found = self._message(now)
        return self._changes.append(found, now, positions or {}, self._wait_s)

    def _receive(self, now: datetime) -> None:
        """Take what is older than the delay off the line."""
        while self._queue and (now - self._queue[0][0]).total_seconds() >= self._wait_s:
            at, values, sigmas = self._queue.popleft()
            for position in np.flatnonzero(np.isfinite(values)).tolist():
                self._values[position], self._sigmas[position] = values[position], sigmas[position]
                self._taken[position] = at

    def _message(self, now: datetime) -> Measurements:
        ages, qualities = [], []
        newest = max((at for at in self._taken if at is not None), default=None)
        for at in self._taken:
            age = (now - at).total_seconds() if at is not None else self.hold_s + 1.0
            ages.append(max(age, self.delay_s if at is not None else age))
            fresh = at is not None and at == newest
            late = Quality.QUESTIONABLE if age <= self.hold_s else Quality.MISSING
            qualities.append(Quality.GOOD if fresh and age <= self.hold_s else late)
        self._count += 1
        return Measurements(
            id=f"{self.source}/measurements/{self._count}",
            source=self.source,
            at=now,
            elements=self._elements,
            quantities=self._quantities,
            values=tuple(np.where([q == Quality.MISSING for q in qualities], np.nan, self._values).tolist()),
            sigmas=tuple(self._sigmas.tolist()),
            qualities=tuple(qualities),
            ages_s=tuple(ages),
        )


class Spontaneous:
    """Switches and indicators reported when they change."""

    def __init__(self, elements: tuple[str, ...]) -> None:
        self._elements = elements
        self._told: dict[str, float] = {}
        self._hour: datetime | None = None
        self._queue: deque[tuple[datetime, dict[str, float]]] = deque()

    def append(
        self, measured: Measurements, now: datetime, positions: Mapping[str, float], wait_s: float
    ) -> Measurements:
        """``measured`` with what has changed by now less ``wait_s`` added."""
        if not self._elements:
            return measured
        self._queue.append((now, {element: positions.get(element, 0.0) for element in self._elements}))
        news: dict[str, float] = {}
        while self._queue and (now - self._queue[0][0]).total_seconds() >= wait_s:
            _at, seen = self._queue.popleft()
            hour = now.replace(minute=0, second=0, microsecond=0)
            whole, self._hour = self._hour != hour, hour
            news |= seen if whole else {k: v for k, v in seen.items() if self._told.get(k) != v}
            self._told = seen
        if not news:
            return measured
        count = len(news)
        return replace(
            measured,
            elements=(*measured.elements, *news),
            quantities=(*measured.quantities, *map(_position_kind, news)),
            values=(*measured.values, *news.values()),
            sigmas=(*measured.sigmas, *(0.0,) * count),
            qualities=(*measured.qualities, *(Quality.GOOD,) * count),
            ages_s=(*measured.ages_s, *(0.0,) * count),
        )


def _attach(
    network: Network, points: tuple[MeasurementPoint, ...]
) -> tuple[list[tuple[str, IntArray, IntArray]], list[int]]:
    tables = {
        "bus": network.bus_ids,
        "line": network.lines.ids,
        "trafo": network.trafos.ids,
        "ext_grid": network.ext_grids.ids,
    }
    places = {f"{table}.{key}": (table, k) for table, ids in tables.items() for k, key in enumerate(ids.tolist())}
    rows: dict[str, list[tuple[int, int]]] = {}
    handed: list[int] = []
    problems: list[Problem] = []
    for position, point in enumerate(points):
        table, place = places.get(point.element, ("", -1))
        column = _COLUMNS.get((table, point.quantity))
        where = f"measurement point {point.element} {point.quantity}"
        if not (point.relative >= 0 and point.absolute > 0):
            what = f"uncertainty {point.relative:g} of the value, at least {point.absolute:g}, is not positive"
            problems.append(Problem(what=what, where=where, remedy="state the meter's uncertainty"))
        elif column is not None:
            rows.setdefault(column, []).append((position, place))
        elif point.element.split(".")[0] in tables and not table:
            problems.append(
                Problem(what="the grid has no such element", where=where, remedy="use an index of the grid")
            )
        else:
            handed.append(position)
    if problems:
        raise ProblemsError("measurement points", problems)
    columns = [
        (name, np.array([row for row, _ in pairs]), np.array([place for _, place in pairs]))
        for name, pairs in rows.items()
    ]
    return columns, handed
