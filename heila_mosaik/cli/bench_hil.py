"""``heila bench hil``: the paper's transfer times over IEC 60870-5-104, again."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heila_mosaik.errors import Problem, ProblemsError

if TYPE_CHECKING:
    from heila_mosaik.study.hil_bench_figures import Leg, Rate

_COLUMNS = ("min", "p50", "p95", "p99", "max")


def hil(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Repetitions; the paper has 10.")] = 10,
    travel: Annotated[float, typer.Option(min=0.0, help="Travel time of the laboratory's breaker. [s]")] = 0.0,
    backend: Annotated[str, typer.Option(help="hat or c104.")] = "hat",
    rate: Annotated[list[float] | None, typer.Option(help="Also send so many values a second; repeat.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a page with the distributions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Measure database to bridge to relay and back, and an activation from the AMS to its verification.

    AMS and MGMS are live actors with stores, mosquitto with TLS between them; the bridge is armed against the virtual
    laboratory on loopback.
    """
    import asyncio

    from heila_mosaik.bridges.broker import find_mosquitto
    from heila_mosaik.bridges.iec104.backends import Backend, require
    from heila_mosaik.study.hil_bench import run_bench

    if backend not in [one.value for one in Backend]:
        raise ProblemsError(
            "bench hil", [Problem(what=f"no backend {backend!r}", where="--backend", remedy="hat, c104")]
        )
    require(Backend(backend))
    if find_mosquitto() is None:
        remedy = "apt-get install mosquitto"
        raise ProblemsError("bench hil", [Problem(what="mosquitto is not installed", where="PATH", remedy=remedy)])

    def told(what: str) -> None:
        typer.echo(f"{what} ...", err=True)

    with tempfile.TemporaryDirectory(prefix="heila-bench-hil-") as work:
        legs, rates = asyncio.run(
            run_bench(Path(work), count=count, travel_s=travel, backend=Backend(backend), rates=rate or (), told=told)
        )
    if as_json:
        typer.echo(json.dumps({"legs": [_row(leg) for leg in legs], "rates": [_rate(one) for one in rates]}, indent=1))
    else:
        show(legs, rates, travel)
    if plot is not None:
        plot.write_text(page(legs, travel), encoding="utf-8")
        typer.echo(str(plot), err=as_json)


def _row(leg: Leg) -> dict[str, Any]:
    figures = dict(zip(_COLUMNS, (round(leg.quantile(q), 3) for q in (0, 50, 95, 99, 100)), strict=True))
    mean = round(sum(leg.ms[:10]) / len(leg.ms[:10]), 3) if leg.ms else None
    return {"leg": leg.name, "n": len(leg.ms), **figures, "mean_of_ten": mean, "published_ms": leg.published_ms,
            "target": [{"percentile": q, "ms": ms} for q, ms in leg.target], "met": leg.met}  # fmt: skip


def _rate(one: Rate) -> dict[str, Any]:
    return {"sent_per_s": one.sent_per_s, "sent": one.sent, "arrived": one.arrived, "missing": one.sent - one.arrived,
            "dropped_by_station": one.dropped, "lost_in_bridge": one.reported_lost}  # fmt: skip


def show(legs: Sequence[Leg], rates: Sequence[Rate], travel: float) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    title = f"IEC 60870-5-104 on loopback, breaker travel {1000 * travel:g} ms; ms"
    table = Table("way", "n", *_COLUMNS, "mean of 10", "published", "target", title=title)
    for leg in legs:
        row = _row(leg)
        aim = ", ".join(f"p{q} ≤ {ms:g}" for q, ms in leg.target)
        mark = {True: f"{aim} met", False: f"{aim} NOT met", None: "–"}[leg.met]
        published = "–" if leg.published_ms is None else f"{leg.published_ms:g}"
        table.add_row(leg.name, str(row["n"]), *(f"{row[name]:.2f}" for name in _COLUMNS), f"{row['mean_of_ten']:.2f}",
                      published, mark)  # fmt: skip
    console = Console()
    (console if console.is_terminal else Console(width=170)).print(table)
    for one in rates:
        told = f"{one.sent_per_s:g} values/s for {one.sent / one.sent_per_s:g} s: {one.arrived} of {one.sent} arrived"
        typer.echo(f"{told}, {one.dropped} dropped by the station, {one.reported_lost} lost in the bridge")
    typer.echo("published: MultiPower paper, table 3, means of 10; 1150 is the sum 36 + 584 + 483 + 47")


def page(legs: Sequence[Leg], travel: float) -> str:
    """Self-contained page with the distribution of every way, the published means beside."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for leg in reversed(legs):
        figure.add_trace(go.Box(x=list(leg.ms), name=leg.name, boxpoints="outliers", orientation="h", showlegend=False,
                                marker={"color": "#1f5fa8"}))  # fmt: skip
        if leg.published_ms is not None:
            marker = {"symbol": "diamond", "size": 10, "color": "#b3402a"}
            figure.add_trace(go.Scatter(x=[leg.published_ms], y=[leg.name], mode="markers", marker=marker,
                                        showlegend=False, hovertext=f"published {leg.published_ms:g} ms"))  # fmt: skip
    figure.update_layout(
        title=f"Database, bridge, relay and back on loopback, breaker travel {1000 * travel:g} ms; "
        "diamonds: published for MultiPower",
        xaxis={"title": "ms", "type": "log"},
        height=160 + 60 * len(legs),
        margin={"l": 380, "r": 30},
        template="simple_white",
    )
    html: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return html
