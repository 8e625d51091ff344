"""A sweep against the bare loop: parallel efficiency, overhead, start-up of a warm run, runs an hour beside a peer.

Every run is the same working hours of ``scenarios/congestion_day.yaml`` with another seed: every actor, every table
recorded, key figures computed.  The bare loop makes some of them one after the other in this process on one shelf; the
sweep makes all of them on ``--jobs`` worker processes.  Workers are started before the clock; what they cost is told.

Other load on the machine falls on both, so the figures to keep are ratios: ``busy`` is the share of the workers' time
spent in runs (the rest is the sweep's machinery and idle ends), ``startup`` the share of a warm run before mosaik
begins to step, and ``efficiency`` the speed of the sweep against as many bare loops as there are workers.

Run ``python -m benchmarks.sweep [--json] [--runs 24] [--jobs 2] [--hours 6] [--step 60] [--peer-steps 60]``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import mosaik
import pandas as pd

from benchmarks.grid_step import PEER_STEPS, STEPS_PER_DAY, peer_day_seconds
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.sweep import run as sweep_run
from heila_mosaik.study.sweep.plan import Plan, make_plan
from heila_mosaik.study.sweep.work import equip, run_job

SCENARIO = Path(__file__).resolve().parents[1] / "scenarios" / "congestion_day.yaml"
EFFICIENCY, OVERHEAD, STARTUP = 0.9, 0.05, 0.01
_BARE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Figures of the benchmark.

    Attributes:
        runs: Runs of the sweep.
        jobs: Worker processes.
        bare_s: Median of a run in the bare loop, before and after the sweep. [s]
        sweep_s: Wall time of the sweep with its workers at hand. [s]
        in_runs_s: Time its workers spent in runs. [s]
        open_s: Start of the workers. [s]
        busy: Share of the workers' time spent in runs. [1]
        overhead: Time of machinery and idle ends by time in runs. [1]
        efficiency: Bare time of all runs by workers' time of the sweep. [1]
        startup_ms: Median time of a warm run before mosaik begins to step. [ms]
        startup_share: The same by the whole run. [1]
        runs_per_hour: Pace of the sweep.
        peer_runs_per_hour: As long a day of mosaik-pandapower-2, bare grid, on as many processes.
    """

    runs: int
    jobs: int
    bare_s: float
    sweep_s: float
    in_runs_s: float
    open_s: float
    busy: float
    overhead: float
    efficiency: float
    startup_ms: float
    startup_share: float
    runs_per_hour: float
    peer_runs_per_hour: float


def _plan(place: Path, runs: int, hours: float, step_s: int) -> Plan:
    text = (
        f"name: bench\nscenario: {SCENARIO}\nseeds: {list(range(1, runs + 1))}\nkeep: none\n"
        f"set: {{start: 2016-08-22T09:00:00+02:00, duration_h: {hours:g}, step_s: {step_s}, dms.cycle_s: {step_s}}}\n"
    )
    path = place / "sweep.yaml"
    path.write_text(text, encoding="utf-8")
    return make_plan(path)


def _bare(plan: Plan, out: Path) -> list[float]:
    times = []
    for order in sweep_run.orders_of(plan, out)[:_BARE]:
        before = time.perf_counter()
        run_job(order.key, order.job)
        times.append(time.perf_counter() - before)
    return times


def _startup(plan: Plan) -> tuple[float, float]:
    """Median time of warm runs until mosaik begins to step, and their median length. [s], [s]"""
    starts, wholes = [], []
    begin = mosaik.World.run
    for run in plan.runs[:_BARE]:
        marks: list[float] = []

        def noted(*given: Any, marks: list[float] = marks, **named: Any) -> Any:
            marks.append(time.perf_counter())
            return begin(*given, **named)

        with tempfile.TemporaryDirectory() as place, mock.patch.object(mosaik.World, "run", noted):
            before = time.perf_counter()
            run_scenario(run.scenario, Path(place) / "run", baseline=False, shelf=plan.shelf, with_net=False)
            wholes.append(time.perf_counter() - before)
        starts.append(marks[0] - before)
    return statistics.median(starts), statistics.median(wholes)


def measure(runs: int, jobs: int, hours: float, step_s: int, peer_steps: int) -> Result:
    """Run all sides."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        plan = _plan(root, runs, hours, step_s)
        out = root / "study"
        equip(str(out.resolve()), plan.shelf)
        sweep_run.warm_up(plan)
        equip(str(out.resolve()), plan.shelf)
        bare = _bare(plan, out)
        opened: list[float] = []
        began = time.perf_counter()
        tally = sweep_run.run_sweep(
            plan, out, sweep_run.Place(jobs=jobs), opened=lambda _found: opened.append(time.perf_counter() - began)
        )
        in_runs_s = float(pd.read_parquet(out / "timings.parquet")["wall_s"].sum())
        equip(str(out.resolve()), plan.shelf)
        bare += _bare(plan, out)
        start_s, whole_s = _startup(plan)
        scenario = plan.runs[0].scenario
        peer_s = peer_day_seconds(scenario.grid_folder() / "net.json", peer_steps) / STEPS_PER_DAY * scenario.steps
    bare_s = statistics.median(bare)
    workers_s = jobs * tally.elapsed_s
    return Result(
        runs=tally.done,
        jobs=jobs,
        bare_s=bare_s,
        sweep_s=tally.elapsed_s,
        in_runs_s=in_runs_s,
        open_s=opened[0],
        busy=in_runs_s / workers_s,
        overhead=workers_s / in_runs_s - 1.0,
        efficiency=bare_s * tally.done / workers_s,
        startup_ms=1e3 * start_s,
        startup_share=start_s / whole_s,
        runs_per_hour=3600.0 * tally.done / tally.elapsed_s,
        peer_runs_per_hour=3600.0 * jobs / peer_s,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the figures; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Sweep against the bare loop.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--runs", type=int, default=24, help="runs of the sweep")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--hours", type=float, default=6.0, help="length of a run [h]")
    parser.add_argument("--step", type=int, default=60, help="step of a run [s]")
    parser.add_argument("--peer-steps", type=int, default=PEER_STEPS, help="steps of mosaik-pandapower-2, scaled")
    given = parser.parse_args(arguments)
    found = measure(given.runs, given.jobs, given.hours, given.step, given.peer_steps)
    met = found.busy >= EFFICIENCY and found.overhead <= OVERHEAD and found.startup_share <= STARTUP
    if given.json:
        print(json.dumps({**asdict(found), "met": met}, indent=2))
    else:
        print(
            f"{found.runs} runs of {given.hours:g} h at {given.step} s on {found.jobs} workers: {found.sweep_s:.1f} s "
            f"(workers started in {found.open_s:.1f} s)\n"
            f"  bare loop     {found.bare_s:8.3f} s a run\n"
            f"  efficiency    {found.efficiency:8.2f}   busy {found.busy:.3f} (target {EFFICIENCY})\n"
            f"  overhead      {100 * found.overhead:8.1f} % (target {100 * OVERHEAD:.0f} %)\n"
            f"  start-up      {found.startup_ms:8.1f} ms a warm run, {100 * found.startup_share:.2f} % "
            f"(target {100 * STARTUP:.0f} %)\n"
            f"  pace          {found.runs_per_hour:8.0f} runs/h with every actor; mosaik-pandapower-2, bare grid: "
            f"{found.peer_runs_per_hour:.0f} runs/h, {found.runs_per_hour / found.peer_runs_per_hour:.1f} x\n"
            f"  targets {'met' if met else 'MISSED'}"
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
