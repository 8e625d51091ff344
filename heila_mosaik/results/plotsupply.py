"""Figures of supply: customers and power without supply over time, and maps of an incident."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.plots import AFTER, BEFORE, CLOCK, LIMIT, style
from heila_mosaik.results.supply import islands_at, moments, open_switches, plant_events, supplied

_ISLANDS = ("#2b8a57", "#6a4fa3", "#0f8a9d", "#8a6d1f")
_LIVE, _DARK = "#5b7a99", "#c9ced6"


def supply_chart(run: RunFolder) -> go.Figure | None:
    """Customers and power without supply, with and without microgrids."""
    found = supplied(run)
    if found is None:
        return None
    titles = ("Customers without supply", "Power without supply [MW]")
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.1, subplot_titles=titles)
    for part, name, colour in ((run.baseline, "without microgrids", BEFORE), (run, "with microgrids", AFTER)):
        other = supplied(part) if part is not None else None
        if other is None:
            continue
        for row, values in ((1, other.interrupted), (2, other.missing_mw)):
            figure.add_trace(
                go.Scatter(
                    x=other.times, y=values, name=name, legendgroup=name, showlegend=row == 1, mode="lines",
                    line={"color": colour, "width": 1.8, "shape": "hv"}, fill="tozeroy",
                ),
                row=row, col=1,
            )  # fmt: skip
    for event in plant_events(run):
        if event["event"] in ("fault", "repaired"):
            dash = "solid" if event["event"] == "fault" else "dot"
            for row in (1, 2):
                figure.add_vline(x=event["at"], line={"color": LIMIT, "width": 1, "dash": dash}, row=row, col=1)
    figure.update_annotations(font_size=13, x=0, xanchor="left")
    style(figure, 460)
    figure.update_xaxes(range=_span(run, found.times), **CLOCK)
    return figure.update_layout(legend={"y": 1.08}, margin={"t": 70})


def _span(run: RunFolder, times: pd.DatetimeIndex) -> list[pd.Timestamp]:
    """From an hour before the first event to an hour after the last."""
    marks = [event["at"] for event in plant_events(run)]
    hour = pd.Timedelta(hours=1)
    return [max(times[0], min(marks) - hour), min(times[-1], max(marks) + hour)] if marks else [times[0], times[-1]]


def supply_maps(run: RunFolder) -> go.Figure | None:
    """The grid before a fault, after the trip and until the repair: supplied, islands, dark, open switches."""
    incidents = moments(run)
    if not incidents or not run.grid:
        return None
    count, width = len(incidents), len(incidents[0])
    figure = make_subplots(
        rows=count, cols=width, horizontal_spacing=0.01, vertical_spacing=0.06,
        subplot_titles=[moment.title for incident in incidents for moment in incident],
    )  # fmt: skip
    voltages = run.series("bus_vm_pu")
    held = {name for incident in incidents for moment in incident for name in islands_at(run, moment.at)}
    microgrids = [part["name"] for part in run.grid.get("microgrids", []) if part["name"] in held]
    colours = {name: _ISLANDS[k % len(_ISLANDS)] for k, name in enumerate(microgrids)}
    for row, incident in enumerate(incidents, 1):
        for column, moment in enumerate(incident, 1):
            live = np.isfinite(voltages.loc[moment.at].to_numpy(np.float64))
            state = dict(zip((int(bus) for bus in voltages.columns), live.tolist(), strict=True))
            first = row == 1 and column == 1
            _panel(figure, run, moment.at, state, colours, {"row": row, "col": column}, first=first)
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    figure.update_annotations(font_size=13)
    style(figure, 400 * count + 60)
    return figure.update_layout(hovermode="closest", legend={"y": -0.02, "yanchor": "top"})


def _panel(
    figure: go.Figure,
    run: RunFolder,
    at: pd.Timestamp,
    live: dict[int, bool],
    colours: dict[str, str],
    cell: dict[str, int],
    *,
    first: bool,
) -> None:
    buses = run.grid["buses"]
    place = dict(zip(buses["id"], zip(buses["x"], buses["y"], strict=True), strict=True))
    islands = {bus: name for name, members in islands_at(run, at).items() for bus in members}
    opened = open_switches(run, at)
    broken = {switch["other"] for switch in opened}
    groups: dict[str, list[tuple[Any, Any]]] = {"grid": [], "dark": [], **{name: [] for name in colours}}
    for table, kind in (("lines", "line"), ("trafos", "trafo")):
        part = run.grid[table]
        for element, a, b in zip(part["id"], part["from_bus"], part["to_bus"], strict=True):
            if f"{kind}.{element}" in broken:
                continue
            key = islands.get(a, "grid") if live.get(a) and live.get(b) else "dark"
            groups[key].append((place[a], place[b]))
    for key, ends in groups.items():
        colour = {"grid": _LIVE, "dark": _DARK}.get(key) or colours[key]
        name = {"grid": "supplied by the grid", "dark": "without supply"}.get(key) or f"island of {key}"
        x = [value for a, b in ends for value in (a[0], b[0], None)] or [None]
        y = [value for a, b in ends for value in (a[1], b[1], None)] or [None]
        figure.add_trace(
            go.Scatter(
                x=x, y=y, mode="lines", name=name, legendgroup=name, showlegend=first, hoverinfo="skip",
                line={"color": colour, "width": 2.5 if key not in ("grid", "dark") else 1.6},
            ),
            **cell,
        )  # fmt: skip
    _marks(figure, run, (live, islands, colours, place), opened, cell, first=first)


def _marks(
    figure: go.Figure,
    run: RunFolder,
    state: tuple[dict[int, bool], dict[int, str], dict[str, str], dict[int, tuple[float, float]]],
    opened: list[dict[str, Any]],
    cell: dict[str, int],
    *,
    first: bool,
) -> None:
    """Buses, open switches and microgrids."""
    live, islands, colours, place = state
    ids = run.grid["buses"]["id"]
    names = dict(zip(ids, run.grid["buses"]["name"], strict=True))
    colour = [_DARK if not live.get(bus) else colours.get(islands.get(bus, ""), _LIVE) for bus in ids]
    figure.add_trace(
        go.Scatter(
            x=[place[bus][0] for bus in ids], y=[place[bus][1] for bus in ids], mode="markers", hoverinfo="text",
            text=[f"bus.{bus} {names[bus]}" for bus in ids], showlegend=False, marker={"color": colour, "size": 5},
        ),
        **cell,
    )  # fmt: skip
    shown = [switch for switch in opened if not switch["other"].startswith("trafo")]
    figure.add_trace(
        go.Scatter(
            x=[place[switch["bus"]][0] for switch in shown], y=[place[switch["bus"]][1] for switch in shown],
            mode="markers", hoverinfo="text", name="open switch", legendgroup="open", showlegend=first,
            text=[f"switch.{each['id']} between bus.{each['bus']} and {each['other']} is open" for each in shown],
            marker={"symbol": "square-open", "size": 8, "color": LIMIT, "line": {"width": 1.6}},
        ),
        **cell,
    )  # fmt: skip
    marks = [(part["bus"], part["name"]) for part in run.grid.get("microgrids", [])]
    figure.add_trace(
        go.Scatter(
            x=[place[bus][0] for bus, _ in marks], y=[place[bus][1] for bus, _ in marks], mode="markers",
            hovertext=[name for _, name in marks], hoverinfo="text", name="microgrid", legendgroup="microgrid",
            showlegend=first,
            marker={"symbol": "diamond-open", "size": 12, "color": "#1c2430", "line": {"width": 1.8}},
        ),
        **cell,
    )  # fmt: skip
