"""Map of the grid coloured by the worst loading and voltage of a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.plots import style

_LOADING = (
    (0.0, 60.0, "#9fb6c9", 2),
    (60.0, 90.0, "#e0b04c", 3),
    (90.0, 100.0, "#dd7f2e", 4),
    (100.0, 1e9, "#b3202c", 5),
)


def grid_map(run: RunFolder) -> go.Figure | None:
    """Baseline beside flexibility: lines by worst loading, buses by voltage, microgrids marked."""
    if not run.grid:
        return None
    panels = [part for part in (run.baseline, run) if part is not None]
    titles = ["Baseline", "With flexibility"][2 - len(panels) :]
    figure = make_subplots(rows=1, cols=len(panels), subplot_titles=titles, horizontal_spacing=0.02)
    for column, part in enumerate(panels, 1):
        _branches(figure, part, run.grid, column)
        _buses(figure, part, run.grid, column)
        _microgrids(figure, run.grid, column)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    style(figure, 520)
    return figure.update_layout(hovermode="closest", legend={"y": -0.02, "yanchor": "top", "font": {"size": 12}})


def _branches(figure: go.Figure, run: RunFolder, grid: dict[str, Any], column: int) -> None:
    buses = grid["buses"]
    place = dict(zip(buses["id"], zip(buses["x"], buses["y"], strict=True), strict=True))
    found: list[tuple[float, float, str, int, int]] = []
    for table, name in (("lines", "line"), ("trafos", "trafo")):
        worst = run.series(f"{name}_loading_percent").max(axis=0)
        part = grid[table]
        ends = zip(part["id"], part["from_bus"], part["to_bus"], part["max_loading_percent"], strict=True)
        for element, first, second, limit in ends:
            value = float(worst.get(str(element), np.nan))
            found.append((value / (limit or 100.0) * 100.0, value, f"{name}.{element}", first, second))
    for low, high, colour, width in _LOADING:
        x: list[Any] = []
        y: list[Any] = []
        text: list[Any] = []
        for share, value, label, first, second in found:
            if low <= (share if np.isfinite(share) else 0.0) < high:
                (x1, y1), (x2, y2) = place[first], place[second]
                x += [x1, (x1 + x2) / 2, x2, None]
                y += [y1, (y1 + y2) / 2, y2, None]
                text += [f"{label}: worst loading {value:.1f} %"] * 3 + [None]
        name = f"over {low:g} % of limit" if high > 1e6 else f"{low:g} to {high:g} % of limit"
        figure.add_trace(
            go.Scatter(
                x=x or [None], y=y or [None], mode="lines", line={"color": colour, "width": width}, name=name,
                text=text, hoverinfo="text", legendgroup=name, showlegend=column == 1,
            ),
            row=1, col=column,
        )  # fmt: skip


def _buses(figure: go.Figure, run: RunFolder, grid: dict[str, Any], column: int) -> None:
    buses, voltages = grid["buses"], run.series("bus_vm_pu")
    lowest, highest = voltages.min(axis=0), voltages.max(axis=0)
    groups: dict[str, list[tuple[float, float, str]]] = {"voltage within limits": [], "voltage outside limits": []}
    columns = ("id", "name", "x", "y", "v_min_pu", "v_max_pu")
    for bus, name, x, y, v_min, v_max in zip(*(buses[key] for key in columns), strict=True):
        low, high = float(lowest.get(str(bus), np.nan)), float(highest.get(str(bus), np.nan))
        broken = (v_min is not None and low < v_min - 1e-6) or (v_max is not None and high > v_max + 1e-6)
        group = "voltage outside limits" if broken else "voltage within limits"
        groups[group].append((x, y, f"bus.{bus} {name}: {low:.4f} to {high:.4f} pu"))
    nothing: list[Any] = [None]  # keeps the entry in the legend
    for (name, points), colour in zip(groups.items(), ("#46586b", "#b3202c"), strict=True):
        figure.add_trace(
            go.Scatter(
                x=[p[0] for p in points] or nothing, y=[p[1] for p in points] or nothing, text=[p[2] for p in points],
                mode="markers", hoverinfo="text", name=name, legendgroup=name, showlegend=column == 1,
                marker={"color": colour, "size": 5 if colour == "#46586b" else 9},
            ),
            row=1, col=column,
        )  # fmt: skip


def _microgrids(figure: go.Figure, grid: dict[str, Any], column: int) -> None:
    buses = grid["buses"]
    place = dict(zip(buses["id"], zip(buses["x"], buses["y"], strict=True), strict=True))
    marks: list[tuple[Any, ...]] = [
        (*place[each["bus"]], each["name"], each["label"]) for each in grid.get("microgrids", [])
    ]
    if not marks:
        return
    figure.add_trace(
        go.Scatter(
            x=[mark[0] for mark in marks], y=[mark[1] for mark in marks], text=[mark[2] for mark in marks],
            hovertext=[mark[3] for mark in marks], mode="markers+text", textposition=_label_places(marks),
            name="microgrid", legendgroup="microgrid", showlegend=column == 1,
            marker={"symbol": "diamond-open", "size": 15, "color": "#2b8a57", "line": {"width": 2.5}},
        ),
        row=1, col=column,
    )  # fmt: skip


def _label_places(marks: list[tuple[Any, ...]]) -> list[str]:
    """Text position of each mark: neighbours take different sides so that their labels stay apart."""
    span = max(max(m[k] for m in marks) - min(m[k] for m in marks) for k in (0, 1)) or 1.0
    sides = ("top center", "bottom center", "middle right", "middle left")
    chosen: list[str] = []
    for position, mark in enumerate(marks):
        near = [
            place
            for other, place in zip(marks[:position], chosen, strict=True)
            if abs(other[0] - mark[0]) < 0.25 * span and abs(other[1] - mark[1]) < 0.25 * span
        ]
        chosen.append(next((side for side in sides if side not in near), sides[0]))
    return chosen
