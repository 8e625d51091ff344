"""Values of the bay as messages of the wire (hat-drivers), by the names of the example point list."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from hat.drivers import iec104

from heila_mosaik.bridges.lab.relay import Bay
from heila_mosaik.bridges.points import DOUBLE_OFF, Point, PointList, PointType
from heila_mosaik.errors import Problem, ProblemsError

INTERMEDIATE = 0.0
"""Double point on the way (DPI 0)."""

_VALUES: dict[str, Callable[[Bay], float | bool | None]] = {
    **{f"feeder_ul{phase}": lambda bay: bay.measured.vm_pu for phase in (1, 2, 3)},
    **{f"feeder_il{phase}": lambda bay: bay.measured.i_ka for phase in (1, 2, 3)},
    "feeder_p": lambda bay: bay.measured.p_mw,
    "feeder_q": lambda bay: bay.measured.q_mvar,
    "der_p": lambda bay: bay.der["p"],
    "der_q": lambda bay: bay.der["q"],
    "der_p_setpoint_status": lambda bay: bay.setpoint["p"],
    "der_q_setpoint_status": lambda bay: bay.setpoint["q"],
    "breaker_status": lambda bay: bay.closed,
    "local_mode": lambda bay: bay.local,
    "synchronism_ok": lambda bay: bay.synchronism,
    "protection_trip": lambda bay: bay.tripped,
    "watchdog_ok": lambda bay: bay.watchdog_ok,
}
COMMANDS = ("breaker_command", "der_p_setpoint", "der_q_setpoint", "watchdog")
"""Control points the laboratory carries out."""


def check_names(points: PointList) -> None:
    """Whether the laboratory has everything the list names.

    Raises:
        ProblemsError: With every point it cannot serve.
    """
    known = (*_VALUES, *COMMANDS)
    problems = [
        Problem(
            what=f"the virtual laboratory has no point {point.name!r}",
            where=point.where or f"point {point.name}",
            remedy=f"use the names of the example list: {', '.join(known)}",
        )
        for point in points
        if point.name not in known
    ]
    if problems:
        raise ProblemsError("point list of the virtual laboratory", problems)


def wire_values(bay: Bay, points: PointList) -> dict[str, float]:
    """Present value of each monitor point, as on the wire."""
    values: dict[str, float] = {}
    for point in points.monitored:
        value = _VALUES[point.name](bay)
        if point.type.is_double:
            values[point.name] = INTERMEDIATE if value is None else float(value) + DOUBLE_OFF
        else:
            values[point.name] = float(value or 0.0) / point.scale
    return values


def _indication(invalid: bool) -> Any:
    return iec104.IndicationQuality(invalid, False, False, False)


def _measurement(invalid: bool) -> Any:
    return iec104.MeasurementQuality(invalid, False, False, False, False)


def _data(point: Point, wire: float, invalid: bool) -> Any:
    match point.type:
        case PointType.SINGLE_POINT:
            return iec104.SingleData(iec104.SingleValue(int(wire)), _indication(invalid))
        case PointType.DOUBLE_POINT:
            return iec104.DoubleData(iec104.DoubleValue(int(wire)), _indication(invalid))
        case PointType.STEP_POSITION:
            return iec104.StepPositionData(iec104.StepPositionValue(int(wire), False), _measurement(invalid))
        case PointType.MEASURED_NORMALISED:
            return iec104.NormalizedData(iec104.NormalizedValue(wire), _measurement(invalid))
        case PointType.MEASURED_SCALED:
            return iec104.ScaledData(iec104.ScaledValue(round(wire)), _measurement(invalid))
        case _:
            return iec104.FloatingData(iec104.FloatingValue(wire), _measurement(invalid))


def data_message(point: Point, wire: float, cause: Any, *, invalid: bool, tag: datetime | None) -> Any:
    """A value as a message; ``tag`` is the time tag (CP56Time2a)."""
    time = iec104.time_from_datetime(tag) if tag is not None and point.time_tag else None
    return iec104.DataMsg(False, 0, point.station, point.address, _data(point, wire, invalid), time, cause)


def changed(point: Point, wire: float, sent: float) -> bool:
    """Whether a value has left the dead band around the one last sent."""
    band = point.dead_band / abs(point.scale) if not point.type.is_double else 0.0
    return not math.isclose(wire, sent, rel_tol=0.0, abs_tol=max(band, 1e-9))


def command_value(point: Point, command: Any) -> float:
    """Value of an order in the study's unit."""
    raw = command.value
    wire = float(raw.value if hasattr(raw, "value") else raw)
    if point.type.is_double:
        return wire - DOUBLE_OFF
    return wire if point.type.is_switch_command else wire * point.scale
