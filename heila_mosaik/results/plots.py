"""Figures of the report (plotly); each function returns a figure or ``None`` when the run holds no data for it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heila_mosaik.domain import kpi
from heila_mosaik.results.flows import REACTIVE, Flows, flows, offers
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import limits
from heila_mosaik.results.trades import congestion_bodies

BEFORE, AFTER, LIMIT, QUIET = "#c2571a", "#1f5fa8", "#b3202c", "#8a94a3"
_STAGES = (
    ("requested", "FlexibilityRequest", "#b3202c"),
    ("offered", "Offer", "#8a94a3"),
    ("cleared", "ReserveNotification", "#6a4fa3"),
    ("activated", "ActivationNotification", "#1f5fa8"),
    ("verified", "VerificationNotification", "#2b8a57"),
)
_FONT = {"family": "Inter, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif", "size": 13, "color": "#1c2430"}


CLOCK = {"tickformat": "%H:%M\n%-d %b", "nticks": 9}
"""Look of a time axis."""


def style(figure: go.Figure, height: int) -> go.Figure:
    """Give a figure the look of the report."""
    figure.update_layout(
        template="plotly_white",
        height=height,
        font=_FONT,
        margin={"l": 70, "r": 20, "t": 40, "b": 45},
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0},
        hovermode="x unified",
    )
    return figure


def timeline(run: RunFolder) -> go.Figure | None:
    """Requested, offered, cleared, activated, verified over the congestion that was removed."""
    loading = worst_loading(run)
    if loading is None:
        return None
    figure = make_subplots(
        rows=5,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.05,
        row_heights=[0.18, 0.22, 0.16, 0.22, 0.22],
        subplot_titles=(
            "The process: when each step was sent (dot) and the delivery it is for (bar)",
            "Adjustment of consumption [MW] (negative: less consumption or more generation)",
            "Adjustment of reactive consumption [MVar]",
            "Worst loading of a line or transformer, share of its limit [%]",
            "Lowest and highest bus voltage [pu]",
        ),
    )
    _lanes(figure, run)
    times = pd.DatetimeIndex(loading.index)
    _volumes(figure, flows(run, times), 2)
    _volumes(figure, flows(run, times, REACTIVE), 3)
    _add_pair(figure, run, worst_loading, 4, "loading")
    figure.add_hline(y=100.0, line={"color": LIMIT, "dash": "dot", "width": 1}, row=4, col=1)
    _voltage_rows(figure, run, 5)
    figure.update_annotations(font_size=13, x=0, xanchor="left")
    figure = style(figure, 1150)
    figure.update_layout(legend={"y": 1.04}, margin={"t": 80}, hovermode="closest")
    figure.update_xaxes(range=[loading.index[0], loading.index[-1]], **CLOCK)
    figure.update_xaxes(title="time [UTC]", row=5, col=1)
    return figure


def worst_loading(run: RunFolder) -> pd.Series | None:
    """Largest loading over all lines and transformers, as share of the limit. [%]"""
    parts = []
    for table, name in (("lines", "line"), ("trafos", "trafo")):
        frame = run.series(f"{name}_loading_percent")
        if len(frame.columns):
            limit = limits(run, table, "max_loading_percent", frame.columns, 100.0)
            parts.append((frame / limit * 100.0).max(axis=1))
    return pd.concat(parts, axis=1).max(axis=1) if parts else None


def voltage_band(run: RunFolder) -> go.Figure | None:
    """Band between the lowest and highest bus voltage, with the 5-95 % band inside."""
    panels = [part for part in (run.baseline, run) if part is not None]
    frames = [part.series("bus_vm_pu") for part in panels]
    if frames[-1].empty:
        return None
    titles = ["Baseline", "With flexibility"][2 - len(panels) :]
    figure = make_subplots(rows=1, cols=len(panels), shared_yaxes=True, subplot_titles=titles, horizontal_spacing=0.03)
    for column, frame in enumerate(frames, 1):
        colour = AFTER if column == len(panels) else BEFORE
        values = frame.to_numpy(dtype=np.float64)
        bounds = np.nanquantile(values, (0.0, 0.05, 0.5, 0.95, 1.0), axis=1).round(5)
        pairs = ((0, 4, 0.18, "lowest to highest"), (1, 3, 0.35, "5 to 95 % of buses"))
        for low, high, opacity, label in pairs:
            _band(figure, frame.index, bounds[low], bounds[high], (colour, opacity, label), (1, column))
        median = go.Scatter(x=frame.index, y=bounds[2], line={"color": colour, "width": 1.5}, name="median")
        figure.add_trace(median.update(showlegend=False), row=1, col=column)
        _limit_lines(figure, run, 1, column)
    figure.update_xaxes(tickformat=CLOCK["tickformat"], nticks=6)
    return style(figure, 360)


def duration(run: RunFolder) -> go.Figure | None:
    """Loading duration curve of the worst branch."""
    figure = go.Figure()
    for part, label, colour in ((run.baseline, "baseline", BEFORE), (run, "with flexibility", AFTER)):
        series = worst_loading(part) if part is not None else None
        if series is not None and len(series):
            curve = kpi.duration_curve(series.to_numpy(dtype=np.float64))
            share = (np.arange(len(curve)) + 0.5) / len(curve) * 100.0
            figure.add_scatter(x=share, y=curve.round(3), name=label, line={"color": colour, "width": 2})
    if not figure.data:
        return None
    figure.add_hline(y=100.0, line={"color": LIMIT, "dash": "dot", "width": 1})
    figure.update_xaxes(title="share of the time [%]")
    figure.update_yaxes(title="worst loading, share of limit [%]")
    return style(figure, 340)


def merit_order(run: RunFolder) -> go.Figure | None:
    """Offers for the delivery of which most were cleared, cheapest first; bought ones are dark."""
    bought = {purchase["offer"] for bid in congestion_bodies(run, "Bid") for purchase in bid["purchases"]}
    reserved = {reserve["offer"] for reserve in congestion_bodies(run, "ReserveNotification")}
    # Offers of one list for one delivery compete with each other; other deliveries are other goods.
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    lists = congestion_bodies(run, "OfferList") or [{"id": "", "offers": offers(run)}]
    for listed in lists:
        for offer in listed["offers"]:
            if offer["p_max_mw"] > offer["p_min_mw"]:
                groups.setdefault((listed["id"], offer["start"]), []).append(offer)
    if not groups:
        return None
    chosen = max(groups.values(), key=lambda each: (sum(offer["id"] in reserved for offer in each), len(each)))
    ordered = sorted(chosen, key=lambda each: (each["price_eur_per_mwh"], each["submitted_at"], each["id"]))
    widths = np.array([each["p_max_mw"] - each["p_min_mw"] for each in ordered])
    left = np.concatenate(([0.0], np.cumsum(widths)[:-1]))
    figure = go.Figure()
    ids = [each["id"] for each in ordered]
    fates = ["cleared" if key in reserved else "bid for" if key in bought else "not wanted" for key in ids]
    for label, colour in (("cleared", AFTER), ("bid for", "#8fb3dd"), ("not wanted", "#d5dae1")):
        rows = [k for k, fate in enumerate(fates) if fate == label]
        text = [f"{ordered[k]['location']} {ordered[k]['start'][:16]}<br>{ordered[k]['id']}" for k in rows]
        figure.add_bar(
            x=left[rows], y=[ordered[k]["price_eur_per_mwh"] for k in rows], width=widths[rows], offset=0, name=label,
            marker={"color": colour, "line": {"color": "white", "width": 0.5}}, hovertext=text,
        )  # fmt: skip
    figure.update_xaxes(title="offered range, cumulated [MW]", range=[0.0, float(widths.sum())])
    figure.update_yaxes(title="price [EUR/MWh]")
    style(figure, 340)
    title = f"delivery from {pd.Timestamp(chosen[0]['start']).strftime('%Y-%m-%d %H:%M')} UTC"
    return figure.update_layout(
        hovermode="closest", title={"text": title, "x": 1.0, "xanchor": "right", "font": {"size": 13}}
    )


def estimation_error(run: RunFolder) -> go.Figure | None:
    """Error of the estimated voltages over time, largest and root mean square over the buses."""
    estimate, truth = run.series("estimate_vm_pu"), run.series("bus_vm_pu")
    times = estimate.index.intersection(truth.index)
    shared = [column for column in estimate.columns if column in truth.columns]
    if not len(times) or not shared:
        return None
    error = (estimate.loc[times, shared] - truth.loc[times, shared]).abs() * 1000.0
    figure = go.Figure()
    figure.add_scatter(x=times, y=error.max(axis=1).round(4), name="largest", line={"color": QUIET, "width": 1})
    rms = np.sqrt((error**2).mean(axis=1)).round(4)
    figure.add_scatter(x=times, y=rms, name="root mean square", line={"color": AFTER, "width": 1.5})
    figure.update_yaxes(title="error [10⁻³ pu]", rangemode="tozero")
    figure.update_xaxes(**CLOCK)
    return style(figure, 280)


def _lanes(figure: go.Figure, run: RunFolder) -> None:
    messages = run.messages
    for lane, (stage, kind, colour) in enumerate(reversed(_STAGES)):
        bodies = offers(run) if stage == "offered" else congestion_bodies(run, kind)
        ours = {body["id"] for body in bodies}
        rows = messages[messages["kind"] == kind].drop_duplicates("body")
        rows = rows[np.array([json.loads(body)["id"] in ours for body in rows["body"]], dtype=bool)]
        spans: list[Any] = []
        for start, stop in dict.fromkeys((body["start"], body["stop"]) for body in bodies):
            spans += [start, stop, None]
        heights = [None if moment is None else lane for moment in spans]
        line = {"color": colour, "width": 9}
        figure.add_scatter(
            x=spans, y=heights, mode="lines", line=line, opacity=0.35, showlegend=False, name=stage, row=1, col=1
        )
        sent = sorted(set(rows["sent_at"])) or sorted({pd.Timestamp(body["submitted_at"]) for body in bodies})
        marker = {"color": colour, "size": 6, "line": {"color": "white", "width": 0.5}}
        figure.add_scatter(
            x=sent, y=[lane] * len(sent), mode="markers", marker=marker, showlegend=False, name=stage, row=1, col=1
        )
    names = [stage for stage, _, _ in reversed(_STAGES)]
    figure.update_yaxes(tickvals=list(range(5)), ticktext=names, range=[-0.6, 4.6], row=1, col=1)


def _volumes(figure: go.Figure, volumes: Flows, row: int) -> None:
    times = volumes.times
    for low, high, look in (
        (volumes.offered_low, volumes.offered_high, (QUIET, 0.25, "offered")),
        (volumes.cleared_low, volumes.cleared_high, ("#6a4fa3", 0.35, "cleared")),
    ):
        _band(figure, times, low.round(5), high.round(5), look, (row, 1), steps=True, legend=row == 2)
    for values, colour, label in ((volumes.activated, AFTER, "activated"), (volumes.delivered, "#2b8a57", "verified")):
        line = {"color": colour, "width": 2, "shape": "hv"}
        figure.add_scatter(
            x=times, y=values.round(5), name=label, line=line, row=row, col=1, legendgroup=label, showlegend=row == 2
        )


def _add_pair(figure: go.Figure, run: RunFolder, measure: Any, row: int, what: str) -> None:
    for part, label, colour in ((run.baseline, "baseline", BEFORE), (run, "with flexibility", AFTER)):
        series = measure(part) if part is not None else None
        if series is not None:
            line = {"color": colour, "width": 1.6}
            figure.add_scatter(
                x=series.index, y=series.round(4), name=f"{what}, {label}", line=line, row=row, col=1, legendgroup=label
            )


def _voltage_rows(figure: go.Figure, run: RunFolder, row: int) -> None:
    for part, label, colour in ((run.baseline, "baseline", BEFORE), (run, "with flexibility", AFTER)):
        if part is None:
            continue
        frame = part.series("bus_vm_pu")
        for series in (frame.min(axis=1), frame.max(axis=1)):
            line = {"color": colour, "width": 1.4}
            figure.add_scatter(
                x=series.index, y=series.round(5), line=line, showlegend=False, name=label, row=row, col=1
            )
    _limit_lines(figure, run, row, 1)


def _limit_lines(figure: go.Figure, run: RunFolder, row: int, col: int) -> None:
    buses = run.grid.get("buses", {})
    for field, choose in (("v_min_pu", max), ("v_max_pu", min)):
        known = [value for value in buses.get(field, []) if value is not None]
        if known:
            line = {"color": LIMIT, "dash": "dot", "width": 1}
            figure.add_hline(y=choose(known), line=line, row=row, col=col)


def _band(
    figure: go.Figure, x: Any, low: Any, high: Any, look: tuple[str, float, str], cell: tuple[int, int], *,
    legend: bool = False, steps: bool = False,
) -> None:  # fmt: skip
    colour, opacity, label = look
    red, green, blue = (int(colour[k : k + 2], 16) for k in (1, 3, 5))
    row, col = cell
    edge = {"width": 0, "shape": "hv"} if steps else {"width": 0}
    figure.add_scatter(x=x, y=low, line=edge, showlegend=False, hoverinfo="skip", row=row, col=col, legendgroup=label)
    fill = f"rgba({red},{green},{blue},{opacity})"
    figure.add_scatter(
        x=x, y=high, line=edge, fill="tonexty", fillcolor=fill, name=label, showlegend=legend, row=row, col=col,
        legendgroup=label,
    )  # fmt: skip
