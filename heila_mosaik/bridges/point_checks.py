"""What must hold for a point list beyond the form of its cells."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from heila_mosaik.bridges.points import Direction, Fallback, Point, PointType, Role
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.errors import Problem

_UNIT_SCALE: dict[str, tuple[Quantity, float]] = {
    "W": (Quantity.ACTIVE_POWER, 1e-6),
    "kW": (Quantity.ACTIVE_POWER, 1e-3),
    "MW": (Quantity.ACTIVE_POWER, 1.0),
    "var": (Quantity.REACTIVE_POWER, 1e-6),
    "kvar": (Quantity.REACTIVE_POWER, 1e-3),
    "Mvar": (Quantity.REACTIVE_POWER, 1.0),
    "A": (Quantity.CURRENT, 1e-3),
    "kA": (Quantity.CURRENT, 1.0),
}
"""Quantity and magnitude of scale that a unit on the wire implies."""


def _problem(point: Point, column: str, what: str, remedy: str) -> Problem:
    return Problem(what=f"{point.name}: {what}", where=f"{point.where}, column {column}", remedy=remedy)


def _scaling(point: Point) -> Iterator[Problem]:
    if point.scale == 0.0:
        yield _problem(point, "scale", "scale is zero", "give the study value per wire value")
        return
    if point.type is PointType.MEASURED_NORMALISED or point.type is PointType.SETPOINT_NORMALISED:
        return
    quantity, scale = _UNIT_SCALE.get(point.unit, (None, 1.0))
    if point.quantity is quantity and not math.isclose(abs(point.scale), scale, rel_tol=1e-9):
        what = f"scale {point.scale:g} contradicts unit {point.unit} for {point.attribute}"
        yield _problem(point, "scale", what, f"use {scale:g} (or -{scale:g} when the wire counts the other way)")


def _non_negative(point: Point) -> Iterator[Problem]:
    for column in ("dead_band", "min_interval_s", "tolerance"):
        if getattr(point, column) < 0.0:
            yield _problem(point, column, f"{column} is negative", "use zero or a positive number")
    for column in ("ramp_per_s", "max_step", "fallback_within_s", "stale_after_s"):
        if getattr(point, column) <= 0.0:
            yield _problem(point, column, f"{column} is not positive", "use a positive number")


def _limits(point: Point) -> Iterator[Problem]:
    if not (math.isfinite(point.minimum) and math.isfinite(point.maximum)):
        yield _problem(point, "minimum", "a set point needs minimum and maximum", "give both limits")
        return
    if point.minimum >= point.maximum:
        what = f"minimum {point.minimum:g} is not below maximum {point.maximum:g}"
        yield _problem(point, "minimum", what, "exchange or correct the limits")
        return
    reach = max(abs(point.minimum), abs(point.maximum))
    if point.scale != 0.0 and reach / abs(point.scale) > point.type.wire_limit:
        what = f"limit {reach:g} does not fit {point.type.value} with scale {point.scale:g}"
        yield _problem(point, "scale", what, "enlarge the scale or use setpoint_float")
    if point.fallback is Fallback.RAMP_TO_ZERO:
        if not point.minimum <= 0.0 <= point.maximum:
            yield _problem(point, "fallback", "zero is outside the limits", "use fallback hold or widen the limits")
        if reach / point.ramp_per_s > point.fallback_within_s:
            what = f"ramping {reach:g} at {point.ramp_per_s:g} per second takes longer than fallback_within_s"
            yield _problem(point, "fallback_within_s", what, f"allow {reach / point.ramp_per_s:g} s or a steeper ramp")


def _switching(point: Point) -> Iterator[Problem]:
    if point.fallback is Fallback.RAMP_TO_ZERO:
        yield _problem(point, "fallback", "a breaker cannot ramp", "use hold or open")
    if point.quantity not in (None, Quantity.BREAKER):
        yield _problem(point, "attribute", "a switching command needs quantity closed", "write <breaker>.closed")
    if not point.permission:
        remedy = "name the single point of the synchronism check (25): without it nothing may close"
        yield _problem(point, "permission", "no closing permission", remedy)


def _setpoint(point: Point) -> Iterator[Problem]:
    yield from _limits(point)
    if point.fallback is Fallback.OPEN:
        yield _problem(point, "fallback", "a set point cannot open", "use hold or ramp_to_zero")


def _control(point: Point) -> Iterator[Problem]:
    if point.role is Role.WATCHDOG:
        if point.type is not PointType.SINGLE_COMMAND:
            yield _problem(point, "type", "a watchdog is a single_command", "use single_command")
        return
    if not point.feedback:
        remedy = "name the monitor point that reads the order back: only it proves success"
        yield _problem(point, "feedback", "no feedback", remedy)
    if not point.attribute:
        yield _problem(point, "attribute", "no study attribute", "write for example battery_1.p_mw")
    if not math.isfinite(point.fallback_within_s):
        yield _problem(point, "fallback_within_s", "no fallback time", "say within how many seconds it must be done")
    yield from _setpoint(point) if point.type.is_setpoint else _switching(point)


def _references(point: Point, by_name: dict[str, Point], known: set[str]) -> Iterator[Problem]:
    wanted: dict[str, tuple[PointType, ...]] = {
        "breaker": (PointType.DOUBLE_POINT, PointType.SINGLE_POINT),
        "permission": (PointType.SINGLE_POINT,),
        "local": (PointType.SINGLE_POINT,),
        "feedback": (PointType.DOUBLE_POINT, PointType.SINGLE_POINT)
        if point.type.is_switch_command
        else (PointType.MEASURED_FLOAT, PointType.MEASURED_SCALED, PointType.MEASURED_NORMALISED),
    }
    for column, types in wanted.items():
        name = getattr(point, column)
        if not name:
            continue
        if name not in known:
            yield _problem(point, column, f"there is no point '{name}'", "name a monitor point of this list")
        elif name in by_name and by_name[name].type not in types:
            names = " or ".join(kind.value for kind in types)
            yield _problem(point, column, f"'{name}' is a {by_name[name].type.value}", f"name a {names}")


def _duplicates(points: Sequence[Point]) -> Iterator[Problem]:
    names: dict[str, Point] = {}
    addresses: dict[tuple[int, int], Point] = {}
    attributes: dict[tuple[Direction, str], Point] = {}
    for point in points:
        first = names.setdefault(point.name, point)
        if first is not point:
            yield _problem(point, "name", f"name already used at {first.where}", "give each point its own name")
        first = addresses.setdefault((point.station, point.address), point)
        if first is not point:
            what = f"address {point.station}/{point.address} already used by {first.name} at {first.where}"
            yield _problem(point, "address", what, "give each point its own information object address")
        if not point.attribute:
            continue
        first = attributes.setdefault((point.direction, point.attribute), point)
        if first is not point:
            what = f"{point.attribute} already comes from {first.name} at {first.where}"
            yield _problem(point, "attribute", what, "map one point to an attribute")


def check_list(points: Sequence[Point], known: Iterable[str]) -> list[Problem]:
    """All problems of well-formed points.

    Args:
        points: Points whose cells could be read.
        known: Names of all rows, also of those that could not be read (no follow-up errors about them).
    """
    names = set(known)
    by_name = {point.name: point for point in points}
    problems: list[Problem] = []
    for point in points:
        if point.direction is not point.type.direction:
            what = f"{point.type.value} travels in {point.type.direction.value} direction"
            problems.append(_problem(point, "direction", what, f"write {point.type.direction.value}"))
            continue
        problems.extend(_scaling(point))
        problems.extend(_non_negative(point))
        if point.direction is Direction.CONTROL:
            problems.extend(_control(point))
            problems.extend(_references(point, by_name, names))
    problems.extend(_duplicates(points))
    return problems
