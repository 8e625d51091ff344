"""Measured values as rows of the estimator: what each measures, and how far it can be trusted now."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.network import Network, Observable
from heila_mosaik.domain.quantities import BoolArray, FloatArray, IntArray, Quality, Quantity
from heila_mosaik.errors import Problem, ProblemsError

_BRANCH_OBSERVABLES = {
    ("line", Quantity.ACTIVE_POWER): Observable.LINE_P_FROM_MW,
    ("line", Quantity.REACTIVE_POWER): Observable.LINE_Q_FROM_MVAR,
    ("line", Quantity.CURRENT): Observable.LINE_I_FROM_KA,
    ("trafo", Quantity.ACTIVE_POWER): Observable.TRAFO_P_HV_MW,
    ("trafo", Quantity.REACTIVE_POWER): Observable.TRAFO_Q_HV_MVAR,
    ("trafo", Quantity.CURRENT): Observable.TRAFO_I_HV_KA,
    ("ext_grid", Quantity.ACTIVE_POWER): Observable.EXT_P_MW,
    ("ext_grid", Quantity.REACTIVE_POWER): Observable.EXT_Q_MVAR,
    ("bus", Quantity.VOLTAGE): Observable.VM_PU,
}
_SWITCHING = (Quantity.BREAKER, Quantity.TAP, Quantity.FAULT, Quantity.PRESENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighting:
    """How trust in a value falls with age and quality.

    A value walks away from what was measured: variance grows by ``(drift · max(|value|, floor))² · age / 60 s``.

    Attributes:
        drift_per_sqrt_min: Relative drift of powers and currents after one minute. [1]
        voltage_drift_per_sqrt_min: Drift of voltages after one minute. [pu]
        floor: Smallest power or current the relative drift refers to. [MW, MVar or kA]
        questionable: Factor on the deviation of a value of questionable quality. [1]
        max_age_s: Older values are not used. [s]
    """

    drift_per_sqrt_min: float = 0.02
    voltage_drift_per_sqrt_min: float = 2e-4
    floor: float = 0.05
    questionable: float = 3.0
    max_age_s: float = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Where the measured values attach to the grid; fixed as long as the measurement set is.

    Attributes:
        labels: ``<element> <quantity>`` of each row. (m,)
        source: Position of each row in the measurement message. (m,)
        on_grid: Rows answered by the grid engine.
        observables, positions: What to ask the engine for those rows.
        direct: Rows that measure injections themselves, with the state columns they add up.
        is_voltage: Rows in pu. (m,)
    """

    labels: tuple[str, ...]
    source: IntArray
    on_grid: IntArray
    observables: tuple[Observable, ...]
    positions: IntArray
    direct: tuple[tuple[int, IntArray], ...]
    is_voltage: BoolArray


def attach(measured: Measurements, network: Network, names: tuple[str, ...], bus: IntArray) -> Rows:
    """Attach every value of ``measured`` to the grid or to an injection.

    Args:
        measured: Message whose columns ``elements`` and ``quantities`` are read.
        network: The grid.
        names: Names of the injections. (n,)
        bus: Bus position of each injection. (n,)

    Raises:
        ProblemsError: Naming every element or quantity the grid does not have.
    """
    tables = {
        "bus": network.bus_ids,
        "line": network.lines.ids,
        "trafo": network.trafos.ids,
        "ext_grid": network.ext_grids.ids,
    }
    places = {f"{table}.{key}": (table, k) for table, ids in tables.items() for k, key in enumerate(ids.tolist())}
    injections = {name: k for k, name in enumerate(names)}
    n = len(names)
    labels: list[str] = []
    source: list[int] = []
    grid_rows: list[tuple[int, Observable, int]] = []
    direct: list[tuple[int, IntArray]] = []
    problems: list[Problem] = []
    for position, (element, quantity) in enumerate(zip(measured.elements, measured.quantities, strict=True)):
        if quantity in _SWITCHING:
            continue
        row = len(labels)
        shift = n if quantity == Quantity.REACTIVE_POWER else 0
        is_power = quantity in (Quantity.ACTIVE_POWER, Quantity.REACTIVE_POWER)
        table, place = places.get(element, ("", -1))
        observable = _BRANCH_OBSERVABLES.get((table, quantity))
        if observable is not None:
            grid_rows.append((row, observable, place))
        elif is_power and element in injections:
            direct.append((row, np.array([injections[element] + shift])))
        elif is_power and table == "bus":
            direct.append((row, np.flatnonzero(bus == place) + shift))
        else:
            problems.append(_unknown(element, quantity, known=element in places or element in injections))
            continue
        labels.append(f"{element} {quantity}")
        source.append(position)
    if problems:
        raise ProblemsError(f"measurements of {measured.source}", problems)
    voltage = [measured.quantities[position] == Quantity.VOLTAGE for position in source]
    return Rows(
        labels=tuple(labels),
        source=np.array(source, dtype=np.int64),
        on_grid=np.array([row for row, _, _ in grid_rows], dtype=np.int64),
        observables=tuple(observable for _, observable, _ in grid_rows),
        positions=np.array([place for _, _, place in grid_rows], dtype=np.int64),
        direct=tuple(direct),
        is_voltage=np.array(voltage, dtype=np.bool_),
    )


def _unknown(element: str, quantity: Quantity, *, known: bool) -> Problem:
    if known:
        what = f"quantity {quantity} cannot be estimated there"
        remedy = "measure vm_pu at buses, p_mw, q_mvar or i_ka at lines and transformers, p_mw or q_mvar at injections"
    else:
        what = "is neither in the grid nor an injection the estimator knows"
        remedy = "use <table>.<id> of the grid (bus.7, line.3, trafo.0, load.4) or a microgrid's name"
    return Problem(what=what, where=f"measurement {element} {quantity}", remedy=remedy)


def weigh(
    measured: Measurements, rows: Rows, weighting: Weighting, late_s: float = 0.0
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Values, variances and usability of each row, ``late_s`` seconds after the message was made.

    Returns:
        values ``(m,)``, variances ``(m,)``, usable ``(m,)``.

    Raises:
        ProblemsError: If a usable value has a deviation that is not positive.
    """
    pick = rows.source
    values = np.array(measured.values, dtype=np.float64)[pick]
    sigmas = np.array(measured.sigmas, dtype=np.float64)[pick]
    ages = np.maximum(np.array(measured.ages_s, dtype=np.float64)[pick] + late_s, 0.0)
    qualities = [measured.qualities[position] for position in pick]
    usable = np.array([quality in (Quality.GOOD, Quality.QUESTIONABLE) for quality in qualities], dtype=np.bool_)
    usable &= np.isfinite(values) & (ages <= weighting.max_age_s)
    problems = [
        Problem(what=f"deviation {sigmas[row]:g} is not positive", where=rows.labels[row], remedy="state the meter's")
        for row in np.flatnonzero(usable)
        if not (isfinite(sigmas[row]) and sigmas[row] > 0)
    ]
    if problems:
        raise ProblemsError(f"measurements of {measured.source}", problems)
    doubtful = np.array([quality == Quality.QUESTIONABLE for quality in qualities], dtype=np.bool_)
    relative = weighting.drift_per_sqrt_min * np.maximum(np.abs(values), weighting.floor)
    walk = np.where(rows.is_voltage, weighting.voltage_drift_per_sqrt_min, relative)
    variances = np.where(doubtful, weighting.questionable, 1.0) ** 2 * sigmas**2 + walk**2 * ages / 60.0
    return values, variances, usable
