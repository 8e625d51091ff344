"""Commands ``heila results``: questions to a study of many runs."""
# ruff: noqa: PLC0415

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

results_app = typer.Typer(name="results", help="Results of a study of many runs.", no_args_is_help=True)
_PIPE_WIDTH = 200
Folder = Annotated[Path, typer.Option("--study", "-s", help="Study folder, as heila sweep printed it.")]


@results_app.command()
def sql(
    query: Annotated[
        str, typer.Argument(help='For example: select "growth.der", avg(congested_minutes) from runs group by 1')
    ],
    study: Folder,
    form: Annotated[Literal["table", "csv", "json"], typer.Option("--format", help="Form of the answer.")] = "table",
) -> None:
    """Ask DuckDB: the tables are runs, plan and timings."""
    from heila_mosaik.results.study import Study

    _answer(Study(study).sql(query), form)


@results_app.command()
def columns(
    study: Folder,
    containing: Annotated[str, typer.Option(help="Only names that contain this.")] = "",
) -> None:
    """List varied keys and key figures."""
    from heila_mosaik.results.study import Study

    for name in Study(study).frame().columns:
        if containing in name:
            typer.echo(name)


@results_app.command()
def report(folder: Annotated[Path, typer.Argument(help="Study folder.")]) -> None:
    """Write the report page of a study again."""
    from heila_mosaik.results.studyreport import write_study_report

    typer.echo(str(write_study_report(folder)))


@results_app.command()
def failures(folder: Annotated[Path, typer.Argument(help="Study folder.")]) -> None:
    """List the runs that were given up, with their causes."""
    from heila_mosaik.results.study import Study

    for key, cause in Study(folder).failures().items():
        typer.echo(f"{key}  {cause}")


def _answer(frame: Any, form: str) -> None:
    if form == "csv":
        typer.echo(frame.to_csv(index=False), nl=False)
    elif form == "json":
        typer.echo(frame.to_json(orient="records", indent=1))
    else:
        _show(frame)


def _show(frame: Any) -> None:
    """Print a table; what is wider than the terminal is told row by row, a line for each column."""
    from rich.console import Console
    from rich.measure import Measurement
    from rich.table import Table

    console = Console()
    console = console if console.is_terminal else Console(width=_PIPE_WIDTH)
    rows = [
        [f"{value:.6g}" if isinstance(value, float) else str(value) for value in row]
        for row in frame.itertuples(index=False, name=None)
    ]
    names = [str(name) for name in frame.columns]
    table = Table(*names, show_edge=False)
    for row in rows:
        table.add_row(*row)
    if Measurement.get(console, console.options.update(max_width=100_000), table).maximum <= console.width:
        console.print(table)
        return
    width = max(map(len, names))
    for number, row in enumerate(rows, 1):
        typer.echo(f"row {number}")
        for name, value in zip(names, row, strict=True):
            typer.echo(f"  {name:<{width}}  {value}")
