"""Table, JSON and page of ``heila bench hil``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from heila_mosaik.study.hil_bench_figures import RATE_TARGET_PER_S, Leg, Rate

_COLUMNS = ("min", "p50", "p95", "p99", "max")
_MARKS = {True: ("met", "green"), False: ("NOT met", "bold red")}
_PUBLISHED = "published: MultiPower paper, table 3, means of 10; 1150 is the sum 36 + 584 + 483 + 47"


def as_dict(legs: Sequence[Leg], rates: Sequence[Rate], travel_s: float, backend: str) -> dict[str, Any]:
    """JSON-able answer."""
    return {
        "backend": backend,
        "travel_s": travel_s,
        "legs": [_row(leg) for leg in legs],
        "rates": [_rate(one) for one in rates],
    }


def _row(leg: Leg) -> dict[str, Any]:
    figures = dict(zip(_COLUMNS, (round(leg.quantile(q), 3) for q in (0, 50, 95, 99, 100)), strict=True))
    mean = round(sum(leg.ms[:10]) / len(leg.ms[:10]), 3)
    return {"leg": leg.name, "n": len(leg.ms), **figures, "mean_of_ten": mean, "published_ms": leg.published_ms,
            "target": [{"percentile": q, "ms": ms} for q, ms in leg.target], "met": leg.met}  # fmt: skip


def _rate(one: Rate) -> dict[str, Any]:
    return {"sent_per_s": one.sent_per_s, "sent": one.sent, "arrived": one.arrived, "missing": one.sent - one.arrived,
            "dropped_by_station": one.dropped, "lost_in_bridge": one.reported_lost, "met": one.met}  # fmt: skip


def show(legs: Sequence[Leg], rates: Sequence[Rate], travel_s: float, backend: str) -> None:
    """Print the tables."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=170)
    title = f"IEC 60870-5-104 on loopback ({backend}), breaker travel {1000 * travel_s:g} ms; ms"
    table = Table("way", "n", *_COLUMNS, "mean of 10", "published", "target", title=title, title_justify="left")
    for column in table.columns[1:9]:
        column.justify = "right"
    for leg in legs:
        row = _row(leg)
        aim = ", ".join(f"p{q} ≤ {ms:g}" for q, ms in leg.target)
        mark = Text("–") if leg.met is None else Text(f"{aim} {_MARKS[leg.met][0]}", _MARKS[leg.met][1])
        published = "–" if leg.published_ms is None else f"{leg.published_ms:g}"
        table.add_row(leg.name, str(row["n"]), *(f"{row[name]:.2f}" for name in _COLUMNS), f"{row['mean_of_ten']:.2f}",
                      published, mark)  # fmt: skip
    console.print(table)
    for one in rates:
        console.print(_sentence(one), highlight=False)
    typer.echo(_PUBLISHED)


def _sentence(one: Rate) -> Text:
    aim = "no loss" if one.sent_per_s <= RATE_TARGET_PER_S else "all loss accounted for"
    text = Text(
        f"{one.sent_per_s:g} values/s for {one.sent / one.sent_per_s:g} s: {one.arrived} of {one.sent} arrived, "
        f"{one.dropped} dropped by the station, {one.reported_lost} lost at the bridge; {aim}: "
    )
    return text.append(*_MARKS[one.met])


def page(legs: Sequence[Leg], travel_s: float, backend: str) -> str:
    """Self-contained page with the distribution of every way, the published means beside."""
    figure = go.Figure()
    for leg in reversed(legs):
        figure.add_trace(go.Box(x=[max(ms, 1e-3) for ms in leg.ms], name=leg.name, boxpoints="outliers",
                                orientation="h", showlegend=False, marker={"color": "#1f5fa8", "size": 3},
                                line={"width": 1.5}))  # fmt: skip
        if leg.published_ms is not None:
            marker = {"symbol": "diamond", "size": 10, "color": "#b3402a"}
            figure.add_trace(go.Scatter(x=[leg.published_ms], y=[leg.name], mode="markers+text", marker=marker,
                                        text=f"{leg.published_ms:g}", textposition="top center", showlegend=False,
                                        hovertext=f"published {leg.published_ms:g} ms"))  # fmt: skip
    figure.update_layout(
        title={
            "text": f"Database, bridge, relay and back on loopback ({backend}, {len(legs[0].ms)} repetitions, "
            f"breaker travel {1000 * travel_s:g} ms)",
            "subtitle": {"text": "boxes: quartiles, points: outliers; diamonds: means of 10 published for MultiPower"},
        },
        xaxis={"title": "ms", "type": "log", "dtick": 1, "showgrid": True, "minor": {"showgrid": True}},
        height=200 + 50 * len(legs),
        margin={"l": 360, "r": 30, "t": 90},
        template="simple_white",
    )
    html: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return html
