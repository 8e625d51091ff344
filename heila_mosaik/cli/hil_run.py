"""``heila hil run`` and ``heila hil replay``."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from heila_mosaik.errors import Problem, ProblemsError

if TYPE_CHECKING:
    from heila_mosaik.study.hil import Checked, HilOptions
    from heila_mosaik.study.hil_session import Session
    from heila_mosaik.study.schema import Scenario

INTERRUPTED = 130
Out = Annotated[Path | None, typer.Option(help="Run folder; default runs/<name>-<time>.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No dashboard.")]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")]


def run(  # noqa: PLR0913, PLR0917 - the options of the command
    scenario: Annotated[Path, typer.Argument(help="Scenario file.")],
    points: Annotated[Path | None, typer.Option(help="Point list; default hil.points of the scenario.")] = None,
    arm: Annotated[
        list[str] | None, typer.Option(metavar="POINT", help="Arm a control point; repeat. Without: reads only.")
    ] = None,
    arm_for: Annotated[float, typer.Option(help="For how long points are armed. [s]")] = 600.0,
    lab: Annotated[bool, typer.Option("--lab", help="Start the virtual laboratory and use it.")] = False,
    host: Annotated[str | None, typer.Option(help="Address of the gateway.")] = None,
    port: Annotated[int | None, typer.Option(help="TCP port of the gateway.")] = None,
    backend: Annotated[str | None, typer.Option(help="hat or c104.")] = None,
    tls: Annotated[
        tuple[Path, Path, Path] | None, typer.Option(metavar="CA CERT KEY", help="PEM files for TLS.")
    ] = None,
    speed: Annotated[float | None, typer.Option(help="Simulated time per wall-clock time, for rehearsals.")] = None,
    start_at: Annotated[str | None, typer.Option(help="Wall-clock time of the first step, ISO with zone.")] = None,
    overrun: Annotated[str | None, typer.Option(help="When the study is too slow: stop, catch_up or slip.")] = None,
    who: Annotated[str, typer.Option(help="Operator, for the audit.")] = "",
    out: Out = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a key.")] = None,
    no_baseline: Annotated[bool, typer.Option("--no-baseline", help="Leave out the run without flexibility.")] = False,
    no_rehearsal: Annotated[bool, typer.Option("--no-rehearsal", help="Leave out the run without equipment.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a scenario with equipment in the loop; nothing is moved without --arm."""
    from heila_mosaik.results.store import RunFolderExistsError
    from heila_mosaik.study.hil import check_hil
    from heila_mosaik.study.loader import load_scenario

    loaded = load_scenario(scenario, settings or []).scenario
    given = {"host": host, "port": port, "backend": backend, "speed": speed, "overrun": overrun}
    options = _options(
        loaded, given, points=points, arm=tuple(dict.fromkeys(arm or ())), arm_s=arm_for, tls=tls, start_at=start_at,
        who=who, baseline=not no_baseline, rehearsal=not no_rehearsal,
    )  # fmt: skip
    folder = out if out is not None else _named(loaded.name)
    if folder.exists():
        raise RunFolderExistsError(folder)
    checked = check_hil(loaded, options)
    try:
        with _laboratory(options, lab=lab) as at:
            _live(checked, folder, at, quiet=quiet or as_json)
    except KeyboardInterrupt:
        kept = f"; {folder} is marked incomplete and can be read" if folder.exists() else ""
        typer.secho(f"ended by the operator{kept}", err=True, fg="yellow")
        _finish(folder, as_json=as_json)
        raise typer.Exit(INTERRUPTED) from None
    _finish(folder, as_json=as_json)


def _named(name: str) -> Path:
    return Path("runs") / f"{name}-hil-{datetime.now().astimezone():%Y%m%d-%H%M%S}"


def _options(scenario: Scenario, given: dict[str, Any], **more: Any) -> HilOptions:
    """Options from the scenario's part ``hil`` and the command line, which wins."""
    import getpass
    import socket

    from pydantic import ValidationError

    from heila_mosaik.bridges.iec104.backends import Backend
    from heila_mosaik.bridges.iec104.client import LinkSettings
    from heila_mosaik.bridges.iec104.tls import TlsSettings
    from heila_mosaik.domain.realtime import Overrun
    from heila_mosaik.study.hil import HilOptions
    from heila_mosaik.study.hil_part import Hil

    base = (scenario.hil or Hil()).model_dump()
    try:
        part = Hil.model_validate(base | {key: value for key, value in given.items() if value is not None})
    except ValidationError as error:
        problems = [
            Problem(what=one["msg"], where=f"--{'.'.join(str(key) for key in one['loc'])}", remedy="see --help")
            for one in error.errors()
        ]
        raise ProblemsError("heila hil run", problems) from None
    points = more.pop("points")
    if points is None and part.points is None:
        remedy = "give --points FILE, or hil.points in the scenario; an example: heila_mosaik/bridges/data"
        raise ProblemsError("heila hil run", [Problem(what="no point list", where="--points", remedy=remedy)])
    files, start_at = more.pop("tls"), _moment(more.pop("start_at"))
    tls = None if files is None else TlsSettings(ca=files[0], certificate=files[1], key=files[2])
    return HilOptions(
        points=points if points is not None else scenario.path(part.points or ""),
        link=LinkSettings(host=part.host, port=part.port, tls=tls),
        backend=Backend(part.backend),
        speed=part.speed,
        overrun=Overrun(part.overrun),
        start_at=start_at,
        connect_s=part.connect_s,
        study_timeout_s=part.study_timeout_s,
        who=more.pop("who") or f"{getpass.getuser()}@{socket.gethostname()}",
        **more,
    )


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        problem = Problem(what=f"{text!r} is no time", where="--start-at", remedy="write 2026-05-04T14:00:00+03:00")
        raise ProblemsError("heila hil run", [problem]) from None


@contextmanager
def _laboratory(options: HilOptions, *, lab: bool) -> Iterator[HilOptions]:
    """Options with the address of the virtual laboratory, if it was asked for."""
    from dataclasses import replace

    from heila_mosaik.bridges.lab_child import virtual_lab

    if not lab:
        yield options
        return
    with virtual_lab(options.points) as port:
        yield replace(options, link=replace(options.link, host="127.0.0.1", port=port))


def _live(checked: Checked, folder: Path, options: HilOptions, *, quiet: bool) -> None:
    """Progress while it is simulated, then dashboard and keys."""
    from rich.console import Console

    from heila_mosaik.cli.display import progress_display
    from heila_mosaik.cli.hil_dashboard import dashboard
    from heila_mosaik.cli.hil_keys import keys
    from heila_mosaik.study.hil import run_hil

    with ExitStack() as shown:
        show = shown.enter_context(progress_display(enabled=not quiet))

        def operate(session: Session) -> None:
            shown.close()
            if Console().is_terminal and not quiet:
                session.draw = shown.enter_context(dashboard())
                shown.enter_context(keys(session))

        run_hil(checked, folder, options, progress=show, operate=operate)


def _finish(folder: Path, *, as_json: bool) -> None:
    from heila_mosaik.results.folder import RunFolder
    from heila_mosaik.results.hil import HilRecord
    from heila_mosaik.results.hil_figures import hil_figures, hil_sentences
    from heila_mosaik.results.kpis import write_kpis
    from heila_mosaik.results.report import write_report

    record = HilRecord(RunFolder(folder))
    figures, page = write_kpis(folder), write_report(folder)
    if as_json:
        answer = {"run": str(folder), "report": str(page), "hil": hil_figures(record), "kpis": figures}
        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
        return
    for sentence in hil_sentences(record):
        typer.echo(sentence)
    typer.echo(f"run    {folder}\nreport {page}")


def replay(
    folder: Annotated[Path, typer.Argument(help="Run folder of heila hil run.")],
    out: Annotated[Path | None, typer.Option(help="Run folder of the replay; default <run>-replay-<time>.")] = None,
    speed: Annotated[float | None, typer.Option(help="Show it at this speed; default as fast as it goes.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a study again on what its equipment told it, and see whether the results are the same bytes."""
    from heila_mosaik.results.store import RunFolderExistsError
    from heila_mosaik.study.hil_replay import replay_hil

    place = out if out is not None else folder.with_name(f"{folder.name}-replay-{datetime.now():%Y%m%d-%H%M%S}")  # noqa: DTZ005 - names a folder
    if place.exists():
        raise RunFolderExistsError(place)
    with ExitStack() as shown:
        draw = None
        if speed is not None and not quiet and not as_json:
            from heila_mosaik.cli.hil_dashboard import dashboard

            draw = shown.enter_context(dashboard())
        found = replay_hil(folder, place, speed=speed, draw=draw)
    if as_json:
        answer = {"run": str(place), "same": list(found.same), "different": list(found.different)}
        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
    else:
        for name in found.different:
            typer.secho(f"differs: {name}", fg="red")
        typer.echo(f"{len(found.same)} data files have the same bytes, {len(found.different)} differ\nrun    {place}")
    if found.different:
        raise typer.Exit(1)
