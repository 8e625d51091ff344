"""How many runs and how many tasks the machinery of a sweep hands out: 50 000 tiny runs on many simulated workers.

The runs do nothing, so that all of the time is machinery: driver, journal, Dask's scheduler and its messages.  The
workers are real Dask workers that share this process, because a machine with two cores cannot hold a thousand
processes; they share its interpreter lock too.  Figures are a second of processor time, driver, scheduler and workers
together, so that other load on the machine does not count: lower bounds of what a scheduler on a core of its own bears.

``packed`` lets the driver put many runs in a task, as a sweep does; ``single`` is one run a task, which shows what the
scheduler itself bears.  A thousand workers with tasks of ``TASK_S`` seconds need ``1000 / TASK_S`` tasks a second.

Run ``python -m benchmarks.sweep_scheduler [--json] [--runs 50000] [--single 3000] [--workers 100]``.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
from distributed import LocalCluster

from heila_mosaik.results.sweepstore import SweepStore
from heila_mosaik.study.sweep import drive
from heila_mosaik.study.sweep.daskcrew import DaskCrew
from heila_mosaik.study.sweep.work import Order

SOURCE = {"sweep": {"name": "tiny", "analysis": [], "description": "", "vary": []}, "varied": [], "code": "none"}
MANY = 1000


def nothing(key: str, job: Any) -> dict[str, float | str | None]:
    """A run without work and with as many figures as a small study has."""
    return {f"figure_{number}": float(job + number) for number in range(20)} | {"key": key}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One way to hand out.

    Attributes:
        runs: Runs made.
        tasks: Tasks they were handed out in.
        seconds: Wall time. [s]
        cpu_s: Processor time of driver, scheduler and workers together. [s]
    """

    runs: int
    tasks: int
    seconds: float
    cpu_s: float


def once(address: str, runs: int, most: int) -> Row:
    """Hand out ``runs`` runs in tasks of at most ``most``."""
    keys = [f"run{number:07d}" for number in range(runs)]
    orders = [Order(key=key, job=number) for number, key in enumerate(keys)]
    with tempfile.TemporaryDirectory() as place, mock.patch.object(drive, "_MOST_RUNS", most):
        store = SweepStore(Path(place) / "study", source=SOURCE, plan=pa.table({"key": keys}))
        with store, DaskCrew(address, nothing) as crew:
            work = drive.Drive(orders, store, crew)
            before = time.process_time()
            tally = work.run()
            cpu_s = time.process_time() - before
            rows = store.publish()
        if rows != runs or tally.done != runs or len(set(store.entries)) != runs:
            raise SystemExit(f"{runs} runs wanted, {rows} rows written")
    return Row(runs=runs, tasks=work.handed_out, seconds=tally.elapsed_s, cpu_s=cpu_s)


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 if a thousand workers could not be kept busy."""
    parser = argparse.ArgumentParser(description="Tiny runs on many simulated workers.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs", type=int, default=50_000, help="runs, many a task")
    parser.add_argument("--single", type=int, default=3_000, help="runs, one a task")
    parser.add_argument("--workers", type=int, default=100, help="simulated workers")
    given = parser.parse_args(arguments)
    logging.disable(logging.WARNING)
    with LocalCluster(
        n_workers=given.workers, threads_per_worker=1, processes=False, dashboard_address=None, silence_logs=50,
        memory_limit=0,  # each would take the memory of all of them for its own, pause and collect garbage
    ) as cluster:  # fmt: skip
        packed = once(cluster.scheduler_address, given.runs, 500)
        single = once(cluster.scheduler_address, given.single, 1)
    needed = MANY / drive.TASK_S
    pace = single.tasks / single.cpu_s
    figures = {
        "workers": given.workers, "packed": asdict(packed), "single": asdict(single),
        "runs_per_cpu_s": packed.runs / packed.cpu_s, "tasks_per_cpu_s": pace, "needed_tasks_per_s": needed,
        "workers_kept_busy": pace * drive.TASK_S,
    }  # fmt: skip
    if given.json:
        print(json.dumps(figures, indent=2))
    else:
        print(
            f"{given.workers} simulated workers\n"
            f"  packed {packed.runs:7d} runs in {packed.tasks:6d} tasks {packed.seconds:7.1f} s, of it "
            f"{packed.cpu_s:6.1f} s processor: {packed.runs / packed.cpu_s:6.0f} runs a processor second\n"
            f"  single {single.runs:7d} runs in {single.tasks:6d} tasks {single.seconds:7.1f} s, of it "
            f"{single.cpu_s:6.1f} s processor: {pace:6.0f} tasks a processor second\n"
            f"  {MANY} workers with tasks of {drive.TASK_S:g} s need {needed:.0f} tasks/s; "
            f"this pace keeps {pace * drive.TASK_S:.0f} busy"
        )
    return 0 if pace >= needed else 1


if __name__ == "__main__":
    sys.exit(main())
