"""``heila bench hil-faults``: random faults against the bridge, judged on the wire."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from heila_mosaik.bridges.campaign.run import Outcome


def hil_faults(
    trials: Annotated[int, typer.Option(min=1, help="Faults injected.")] = 10_000,
    seed: Annotated[int, typer.Option(help="Of everything drawn.")] = 1,
    parallel: Annotated[int, typer.Option(min=1, max=64, help="Sessions at a time.")] = 4,
    keep: Annotated[Path | None, typer.Option(help="Folder for sessions with violations; default: a new one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Inject random faults between a study, its bridge and the laboratory; print what was tried and what went wrong.

    Kills and suspends the study's process, cuts, holds and garbles its connection, lets clocks jump, lets the study
    fall silent, asks for nonsense, and draws from the laboratory's fault menu, while points are armed and disarmed.
    Leaves with 1 when anything happened that must not.
    """
    import asyncio
    import logging

    from heila_mosaik.bridges.campaign.run import Campaign
    from heila_mosaik.bridges.iec104.backends import Backend, require
    from heila_mosaik.bridges.lab.relay import Bay

    for backend in Backend:
        require(backend)
    folder = keep or Path(tempfile.mkdtemp(prefix="hil-faults-"))
    Bay()  # compiles the grid's kernels once, before the clock runs
    logging.disable(logging.CRITICAL)  # what a garbled line makes the libraries say is not the result
    with _progress(trials, quiet=as_json) as tell:
        outcome = asyncio.run(Campaign(folder, seed, trials, parallel, tell).run())
    if as_json:
        typer.echo(json.dumps(_as_json(outcome, folder), indent=1, ensure_ascii=False))
    else:
        _show(outcome, folder)
    if outcome.violations:
        raise typer.Exit(1)
    if keep is None:
        folder.rmdir()


def _progress(trials: int, *, quiet: bool) -> Any:
    from contextlib import contextmanager

    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    @contextmanager
    def bar() -> Any:
        columns = (TextColumn("trials"), BarColumn(), TextColumn("{task.completed:.0f}"), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True), disable=quiet) as bars:
            task = bars.add_task("trials", total=trials)
            yield lambda done: bars.update(task, completed=done)

    return bar()


def _as_json(outcome: Outcome, folder: Path) -> dict[str, Any]:
    return {
        "trials": sum(outcome.trials.values()),
        "faults": dict(sorted(outcome.trials.items())),
        "sessions": dict(sorted(outcome.sessions.items())),
        "counts": dict(sorted(outcome.counts.items())),
        "largest_lag_s": round(outcome.largest_lag_s, 3),
        "seconds": round(outcome.seconds, 1),
        "violations": [
            {"session": number, "rule": found.rule, "at_s": found.at_s, "what": found.what}
            for number, found in outcome.violations
        ],
        "folder": str(folder) if outcome.violations else None,
    }


def _show(outcome: Outcome, folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for title, counter in (
        ("trials by what went wrong", outcome.trials),
        ("sessions, study → laboratory", outcome.sessions),
        ("what happened", outcome.counts),
    ):
        table = Table("", "", title=title, title_justify="left", show_header=False, show_edge=False)
        table.columns[1].justify = "right"
        for name, count in sorted(counter.items()):
            table.add_row(name, f"{count:,}".replace(",", " "))
        console.print(table)
    total = sum(outcome.trials.values())
    console.print(f"{total} trials in {outcome.seconds:.0f} s; longest lag of a process {outcome.largest_lag_s:.2f} s")
    rules = (
        "outside limits", "disarmed, stale or never asked for", "interlocked", "too fast a ramp",
        "lost in the audit", "dead man did not act", "hang", "leak",
    )  # fmt: skip
    if not outcome.violations:
        console.print(f"must not happen ({', '.join(rules)}): 0 of {total}", style="green")
        return
    console.print(f"must not happen: {len(outcome.violations)} of {total}, files in {folder}", style="red")
    for number, found in outcome.violations[:50]:
        console.print(f"  session {number}, {found.rule}: {found.what}")
