"""Values of the bay by the names of the example point list, as on the wire."""

from __future__ import annotations

import math
from collections.abc import Callable

from heila_mosaik.bridges.lab.relay import Bay
from heila_mosaik.bridges.points import DOUBLE_OFF, Point, PointList
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


def changed(point: Point, wire: float, sent: float) -> bool:
    """Whether a value has left the dead band around the one last sent."""
    band = point.dead_band / abs(point.scale) if not point.type.is_double else 0.0
    return not math.isclose(wire, sent, rel_tol=0.0, abs_tol=max(band, 1e-9))


def order_value(point: Point, wire: float) -> float:
    """Value of an order in the study's unit."""
    if point.type.is_double:
        return wire - DOUBLE_OFF
    return wire if point.type.is_switch_command else wire * point.scale
