"""Commands of ``heila``.

Exit codes: 0 done, 1 the run failed, 2 bad input or wrong usage, 130 interrupted.  Heavy imports happen inside the
commands, so that ``heila --help`` answers at once and never loads pandapower.
"""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from heila_mosaik._version import __version__
from heila_mosaik.cli.actor import actor, broker, mixed
from heila_mosaik.cli.bench import bench_app
from heila_mosaik.cli.cycle import cycle
from heila_mosaik.cli.hil import hil_app
from heila_mosaik.cli.keys import keys_app
from heila_mosaik.cli.lab import lab
from heila_mosaik.cli.message import message_app
from heila_mosaik.cli.observe import observe
from heila_mosaik.cli.results import results_app
from heila_mosaik.cli.sweep import sweep
from heila_mosaik.errors import HeilaError

FAILED, BAD_INPUT, INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="heila",
    help="Co-simulation of the HEILA platform: grid, microgrids, flexibility market.",
    epilog="Exit codes: 0 done, 1 the run failed, 2 bad input, 130 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
new_app = typer.Typer(name="new", help="Start an own scenario or grid folder.", no_args_is_help=True)
STUDIES, LIVE, LABORATORY = "Studies", "Actors as processes of their own", "Laboratory and equipment"

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key, for example dms.cycle_s=120.")
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: runs a command and leaves with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    try:
        app([argument for argument in given if argument != "--debug"], prog_name="heila")
    except HeilaError as error:
        if debug:
            raise
        typer.secho(str(error), err=True, fg="red")
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        typer.secho("interrupted", err=True, fg="yellow")
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            raise
        hint = "this is a fault of heila-mosaik; run again with --debug for the traceback and report it"
        typer.secho(f"{type(error).__name__}: {error}\n    {hint}", err=True, fg="red")
        raise SystemExit(FAILED) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"heila-mosaik {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Co-simulation of the HEILA platform: grid, microgrids, flexibility market."""


@app.command(rich_help_panel=STUDIES)
def check(
    path: Annotated[Path, typer.Argument(help="Scenario file or grid folder.")],
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with a scenario or a grid folder."""
    from heila_mosaik.cli.checking import find_problems

    subject, problems = find_problems(path, settings or [])
    if as_json:
        rows = [{"what": p.what, "where": p.where, "remedy": p.remedy} for p in problems]
        typer.echo(json.dumps({"subject": subject, "problems": rows}, indent=1, ensure_ascii=False))
    elif problems:
        typer.secho(f"{subject}: {len(problems)} problem{'s' if len(problems) != 1 else ''}", fg="red")
        for number, problem in enumerate(problems, 1):
            typer.echo(f"  {number}. {problem}")
    else:
        typer.secho(f"{subject}: in order", fg="green")
    if problems:
        raise typer.Exit(BAD_INPUT)


@app.command(rich_help_panel=STUDIES)
def run(
    path: Annotated[Path, typer.Argument(help="Scenario file.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<name>-<time>.")] = None,
    settings: Settings = None,
    chosen: Annotated[
        list[str] | None,
        typer.Option("--with", metavar="SWITCH|KEY=VALUE", help="Also a variant with this, in the same process."),
    ] = None,
    dropped: Annotated[
        list[str] | None, typer.Option("--without", metavar="SWITCH", help="Also a variant without this.")
    ] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Leave out the run without flexibility.")] = False,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run a scenario and write its run folder and report."""
    from heila_mosaik.cli.display import progress_display
    from heila_mosaik.results.store import RunFolderExistsError
    from heila_mosaik.study.loader import load_scenario

    scenario = load_scenario(path, settings or []).scenario
    # Wall-clock time names the folder and stays out of the data.
    stamp = datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
    folder = out if out is not None else Path("runs") / f"{scenario.name}-{stamp}"
    if folder.exists():
        raise RunFolderExistsError(folder)
    if chosen or dropped:
        from heila_mosaik.cli.variants import run_and_compare

        run_and_compare(path, settings or [], (chosen or [], dropped or []), folder, as_json=as_json, quiet=quiet)
        return
    from heila_mosaik.study.run import run_scenario

    try:
        with progress_display(enabled=not quiet and not as_json) as show:
            folder = run_scenario(scenario, folder, baseline=not no_baseline, progress=show)
    except KeyboardInterrupt:
        kept = f"; {folder} is marked incomplete and can be read" if folder.exists() else ""
        typer.secho(f"interrupted{kept}", err=True, fg="yellow")
        raise typer.Exit(INTERRUPTED) from None
    _finish(folder, as_json=as_json, quiet=quiet)


@app.command(rich_help_panel=STUDIES)
def report(
    folder: Annotated[Path, typer.Argument(help="Run folder.")],
    as_json: Json = False,
) -> None:
    """Write the report page of a run folder."""
    from heila_mosaik.results.report import write_report

    page = write_report(folder)
    typer.echo(json.dumps({"report": str(page)}) if as_json else str(page))


@app.command(rich_help_panel=STUDIES)
def compare(
    first: Annotated[Path, typer.Argument(help="Run folder.")],
    second: Annotated[Path, typer.Argument(help="Run folder to compare with it.")],
    as_json: Json = False,
    every: Annotated[bool, typer.Option("--all", help="Show equal figures too.")] = False,
) -> None:
    """Compare settings and key figures of two runs."""
    from heila_mosaik.cli.display import difference_tables
    from heila_mosaik.results.compare import compare as compare_runs
    from heila_mosaik.results.folder import RunFolder

    found = compare_runs(RunFolder(first), RunFolder(second))
    if as_json:
        rows = {
            part: [{"key": d.key, "first": d.first, "second": d.second, "change": d.change} for d in differences]
            for part, differences in found.items()
        }
        typer.echo(json.dumps(rows, indent=1, ensure_ascii=False))
        return
    difference_tables(found, first.name, second.name, every=every)


@app.command(rich_help_panel=STUDIES)
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    from heila_mosaik.study.loader import schema_json

    typer.echo(schema_json())


@new_app.command("scenario")
def new_scenario(
    path: Annotated[Path, typer.Argument(help="File to write.")],
    grid: Annotated[str, typer.Option(help="Grid the scenario uses.")] = "rural_mv",
) -> None:
    """Write a scenario file to start from."""
    from heila_mosaik.cli.scaffold import write_scenario

    typer.echo(str(write_scenario(path, grid)))


@new_app.command("grid")
def new_grid(
    path: Annotated[Path, typer.Argument(help="Folder to make.")],
    source: Annotated[str, typer.Option("--from", help="Grid folder to start from.")] = "cigre_mv",
) -> None:
    """Make a grid folder to start from: net, profiles and microgrids of an existing one."""
    from heila_mosaik.cli.scaffold import copy_grid

    typer.echo(str(copy_grid(path, source)))


def _finish(folder: Path, *, as_json: bool, quiet: bool) -> None:
    from heila_mosaik.results.kpis import write_kpis
    from heila_mosaik.results.report import headline, write_report

    figures = write_kpis(folder)
    page = write_report(folder)
    if as_json:
        answer = {"run": str(folder), "report": str(page), "kpis": figures}
        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
        return
    if not quiet:
        for sentence in headline(figures):
            typer.echo(sentence)
    typer.echo(f"run    {folder}\nreport {page}")


# Help shows commands before groups, panels in the order of their first command.
for _panel, _commands in ((STUDIES, (observe, sweep)), (LIVE, (actor, mixed, broker, cycle)), (LABORATORY, (lab,))):
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)
for _panel, _groups in (
    (STUDIES, (new_app, results_app)),
    (LIVE, (keys_app, message_app)),
    (LABORATORY, (hil_app, bench_app)),
):
    for _group in _groups:
        app.add_typer(_group, rich_help_panel=_panel)
