"""``heila hil``: equipment in the loop."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from heila_mosaik.cli.hil_run import replay, run

hil_app = typer.Typer(name="hil", help="Hardware in the loop: equipment behind IEC 60870-5-104.", no_args_is_help=True)
hil_app.command("run")(run)
hil_app.command("replay")(replay)


@hil_app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Point list, CSV or YAML.")],
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Say everything that is wrong with a point list."""
    from heila_mosaik.bridges.point_files import load_points
    from heila_mosaik.cli.hil_tables import point_table
    from heila_mosaik.errors import ProblemsError

    try:
        points = load_points(path)
    except ProblemsError as error:
        if as_json:
            rows = [{"what": p.what, "where": p.where, "remedy": p.remedy} for p in error.problems]
            typer.echo(json.dumps({"subject": error.subject, "problems": rows}, indent=1, ensure_ascii=False))
            raise typer.Exit(error.exit_code) from None
        raise
    if as_json:
        typer.echo(json.dumps({"subject": f"point list {path}", "problems": []}, indent=1, ensure_ascii=False))
    else:
        point_table(points)
        typer.secho(f"point list {path}: in order", fg="green")
