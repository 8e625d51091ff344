"""``heila bench transfer``: transfer times beside the published ones."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from heila_mosaik.study.transfer import Measured


def transfer(
    single: Annotated[int, typer.Option(min=10, help="Messages sent one at a time, a line.")] = 200,
    burst: Annotated[int, typer.Option(min=0, help="Messages sent as fast as they are confirmed, a line.")] = 2000,
    only: Annotated[str, typer.Option(help="Lines whose name holds this.")] = "",
    volatile: Annotated[bool, typer.Option("--volatile", help="Do not force commits to the disk.")] = False,
    plot: Annotated[Path | None, typer.Option(help="Write a page with the distributions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Measure transfer times from database to database, as the MultiPower paper's table 3 does.

    Every message is signed and stored at both ends; lines differ in TLS and in encryption of the body.
    """
    from heila_mosaik.bridges.broker import find_mosquitto
    from heila_mosaik.cli.actor import log_to_terminal
    from heila_mosaik.errors import Problem, ProblemsError
    from heila_mosaik.study.transfer import CASES, measure

    log_to_terminal(logging.ERROR)
    cases = [case for case in CASES if only.lower() in case.name.lower()]
    if not cases or find_mosquitto() is None:
        what = "mosquitto is not installed" if cases else f"no line holds {only!r}"
        remedy = "apt-get install mosquitto" if cases else "leave --only out to see all lines"
        raise ProblemsError("transfer times", [Problem(what=what, where="bench transfer", remedy=remedy)])
    found: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="heila-transfer-") as work:
        for number, case in enumerate(cases):
            if not as_json:
                typer.echo(f"{case.name}, {_protection(case.tls, case.encrypt)} ...", err=True)
            found.append(measure(case, Path(work) / str(number), single=single, burst=burst, durable=not volatile))
    rows = [_row(one) for one in found]
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _show(rows)
    if plot is not None:
        plot.write_text(page(found), encoding="utf-8")
        typer.echo(str(plot), err=as_json)


def _protection(tls: bool, encrypt: bool) -> str:
    return "signature" + (", TLS" if tls else "") + (", encryption" if encrypt else "")


def _row(one: Measured) -> dict[str, Any]:
    return {
        "line": one.case.name,
        "protection": _protection(one.case.tls, one.case.encrypt),
        "bytes": one.bytes,
        "published_ms": one.case.published_ms,
        "mean_of_ten_ms": round(one.mean_of_ten, 2),
        "p50_ms": round(one.quantile(0.50), 2),
        "p95_ms": round(one.quantile(0.95), 2),
        "p99_ms": round(one.quantile(0.99), 2),
        "messages_per_s": round(one.rate),
        "lost": one.lost,
    }


def _show(rows: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    heads = ("message and route", "protection", "bytes", "published [ms]", "mean of 10 [ms]", "p50 [ms]", "p95 [ms]",
             "p99 [ms]", "messages/s", "lost")  # fmt: skip
    table = Table(*heads, title="Transfer times from database to database, loopback")
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row.values()))
    Console(width=160).print(table)
    typer.echo("published: means of 10, VTT MultiPower, table 3: two computers over a network, without signature")


def page(found: Sequence[Measured]) -> str:
    """Self-contained page with the distribution of every line, the published means beside."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for one in found:
        name = f"{one.case.name}<br>{_protection(one.case.tls, one.case.encrypt)}"
        figure.add_trace(go.Box(x=list(one.ms), name=name, boxpoints="outliers", orientation="h", showlegend=False))
        if one.case.published_ms is not None:
            marker = {"symbol": "diamond", "size": 9, "color": "#b3402a"}
            text = f"published mean {one.case.published_ms:g} ms"
            figure.add_trace(go.Scatter(x=[one.case.published_ms], y=[name], mode="markers", marker=marker,
                                        hovertext=text, showlegend=False))  # fmt: skip
    figure.update_layout(
        title="Transfer times from database to database; diamonds: means published for MultiPower",
        xaxis={"title": "ms", "type": "log"},
        height=140 + 46 * len(found),
        margin={"l": 320, "r": 30},
        template="simple_white",
    )
    html: str = figure.to_html(include_plotlyjs=True, full_html=True)
    return html
