"""What the terminal shows: progress of a run, tables of differences."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from heila_mosaik.results.compare import Difference
from heila_mosaik.study.progress import Progress as RunProgress

Show = Callable[[RunProgress], None]


@contextmanager
def progress_display(*, enabled: bool) -> Iterator[Show | None]:
    """Show phase, bar, simulated clock, times real time and remaining time; yields the callback for the run."""
    if not enabled:
        yield None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[clock]}  {task.fields[speed]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    # Progress goes to standard error, so that standard output holds only the result.
    with Progress(*columns, console=Console(stderr=True)) as bars:
        tasks: dict[str, tuple[TaskID, float, float]] = {}
        ended: set[TaskID] = set()

        def show(told: RunProgress) -> None:
            now = time.monotonic()
            if told.phase not in tasks:
                _end_all(bars, ended)
                tasks[told.phase] = (bars.add_task(told.phase, total=1.0, clock="", speed=""), now, told.simulated_s)
            task, began, first_s = tasks[told.phase]
            elapsed = now - began
            speed = f"{(told.simulated_s - first_s) / elapsed:,.0f} × real time" if elapsed > 0 else ""
            clock = told.simulated.strftime("%Y-%m-%d %H:%M UTC")
            bars.update(task, completed=told.share, clock=clock, speed=speed)

        yield show
        _end_all(bars, ended)


def _end_all(bars: Progress, ended: set[TaskID]) -> None:
    """Fill the bars of the phases that are over: the last step of a phase is told before it ends."""
    for task in bars.task_ids:
        if task not in ended:
            bars.update(task, completed=1.0)
            ended.add(task)


def difference_tables(found: dict[str, list[Difference]], first: str, second: str, *, every: bool) -> None:
    """Print settings that differ and figures side by side."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=160)  # a file or a pipe has no width of its own: keep every row on one line
    for part, differences in found.items():
        table = Table(title=part, title_justify="left", show_edge=False)
        table.add_column("key", overflow="fold")
        for heading in (first, second, "change"):
            table.add_column(heading, justify="right")
        for each in differences:
            if every or each.first != each.second:
                table.add_row(each.key, _text(each.first), _text(each.second), _text(each.change))
        console.print(table if table.row_count else f"{part}: no difference")


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else str(value)
