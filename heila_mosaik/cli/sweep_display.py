"""Progress of a sweep on the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from heila_mosaik.study.sweep.drive import Tally
from heila_mosaik.study.sweep.plan import Plan
from heila_mosaik.study.sweep.run import Opened

_MINUTE, _HOUR = 60, 3600


@contextmanager
def sweep_display(plan: Plan) -> Iterator[tuple[Callable[[Opened], None], Callable[[Tally], None]]]:
    """Show bar, done, failed, ETA, workers, the slowest runs and the address of Dask's page."""
    points = {run.key: ", ".join(f"{key}={value}" for key, value in run.point.items()) for run in plan.runs}
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[eta]}")
    )
    task = bar.add_task(plan.sweep.name, total=len(plan.runs), eta="")
    page = Text("making the grids ready and starting workers ...", style="dim")
    lines = Text("")
    console = Console(stderr=True)
    with Live(Group(bar, page, lines), console=console, refresh_per_second=4):

        def opened(found: Opened) -> None:
            page.plain = f"dashboard {found.dashboard}" if found.dashboard else "no dashboard (pip install bokeh)"

        def show(tally: Tally) -> None:
            over = tally.skipped + tally.done + tally.failed
            bar.update(task, completed=over, eta=f"ETA {span(tally.eta_s)}")
            lines.plain = "\n".join(told(tally, points))

        yield opened, show
    if not console.is_terminal:
        console.print()  # a live display leaves the last line of a pipe open


def told(tally: Tally, points: dict[str, str]) -> list[str]:
    """Lines below the bar."""
    counts = (
        f"{tally.done} done, {tally.skipped} before, {tally.failed} failed, {tally.retried} repeated, "
        f"{tally.lost} tasks lost; {tally.running} handed out to {tally.workers} workers"
    )
    lines = [counts]
    if tally.done:
        lines.append(f"{tally.mean_s:.2f} s a run, {tally.done / max(tally.elapsed_s, 1e-9) * _HOUR:,.0f} runs/h")
    lines += [f"slowest {wall_s:6.2f} s  {key[:8]}  {points.get(key, '')}" for key, wall_s in tally.slowest]
    return lines


def span(seconds: float | None) -> str:
    """Length of time as a person says it."""
    if seconds is None:
        return "–"
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.1f} h"
