"""Point lists on the terminal."""

from __future__ import annotations

import math

from rich.console import Console
from rich.table import Table

from heila_mosaik.bridges.points import Direction, Point, PointList, Role


def point_table(points: PointList) -> None:
    """Print what the study may read and what it may move, with the safety of each control point."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width of its own: keep every row on one line
    monitored = Table(title="read", title_justify="left", show_edge=False)
    for heading in ("point", "address", "type", "unit", "study attribute", "stale after"):
        monitored.add_column(heading)
    for point in points.monitored:
        address = f"{point.station}/{point.address}"
        monitored.add_row(
            point.name, address, point.type.value, point.unit, point.attribute, f"{point.stale_after_s:g} s"
        )
    controlled = Table(title="move, when armed", title_justify="left", show_edge=False)
    for heading in ("point", "address", "type", "study attribute", "limits", "fallback", "select", "read back by"):
        controlled.add_column(heading)
    for point in (point for point in points if point.direction is Direction.CONTROL):
        address = f"{point.station}/{point.address}"
        select = "yes" if point.select else "no"
        controlled.add_row(
            point.name, address, point.type.value, point.attribute, _limits(point), _fallback(point), select,
            point.feedback,
        )  # fmt: skip
    console.print(monitored)
    console.print(controlled)


def _limits(point: Point) -> str:
    return f"{point.minimum:g} … {point.maximum:g}" if math.isfinite(point.minimum) else ""


def _fallback(point: Point) -> str:
    if point.role is Role.WATCHDOG:
        return "sign of life"
    return f"{point.fallback.value} within {point.fallback_within_s:g} s"
