"""Memory of a long study: a month against a year at quarter hours with every actor.

Each period runs in its own process; peak resident memory is read from the operating system.  A study streams its
results, so the peak must hardly depend on the length.  What has to grow is the profile table (0.3 kB a quarter hour
and column of eight bytes) and the caches of the interpreter.

Run ``python -m benchmarks.year [--json] [--days 31 366] [--grid rural_mv] [--allocations]``.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.schema import Scenario

TARGET_RATIO = 1.2
TARGET_MIB = 1024.0
MONTH, YEAR = 31, 366
_FIRST_LOOK = 0.25
_LINES = 15


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One period.

    Attributes:
        days: Length. [d]
        steps: Steps of a quarter hour.
        seconds: Wall time with start-up. [s]
        peak_mib: Peak resident memory of the process. [MiB]
        written_mib: Size of the run folder. [MiB]
    """

    days: int
    steps: int
    seconds: float
    peak_mib: float
    written_mib: float


def make_scenario(days: int, grid: str) -> Scenario:
    """A study of ``days`` days from the first of January local time, quarter hours, every actor at work."""
    return Scenario.model_validate(
        {
            "name": f"days_{days}",
            "grid": grid,
            "start": "2015-12-31T23:00:00+00:00",
            "duration_h": 24 * days,
            "step_s": 900,
            "growth": {"der": 1.2},
            "dms": {"cycle_s": 900},
            "market": {"zone": "Europe/Berlin"},
        }
    )


def run_once(days: int, grid: str, allocations: bool) -> Row:
    """Run one period in this process."""
    scenario = make_scenario(days, grid)
    before = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        look = _Allocations(scenario.steps) if allocations else None
        out = run_scenario(scenario, Path(place) / "run", baseline=False, progress=look)
        size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return Row(
        days=days,
        steps=scenario.steps,
        seconds=time.perf_counter() - before,
        peak_mib=peak * unit / 2**20,
        written_mib=size / 2**20,
    )


class _Allocations:
    """Prints what was allocated after the first quarter of a run and still lives at its end."""

    def __init__(self, steps: int) -> None:
        self._first, self._last, self._seen = round(steps * _FIRST_LOOK), steps - 1, 0

    def __call__(self, progress: Any) -> None:
        if progress.phase == "build":
            return
        self._seen += 1
        if self._seen == self._first:
            tracemalloc.start(1)
        elif self._seen == self._last:
            found = tracemalloc.take_snapshot().statistics("lineno")
            total = sum(item.size for item in found) / 2**20
            lines = [f"{item.size / 2**20:8.2f} MiB {item.count:8d}  {item.traceback}" for item in found[:_LINES]]
            print("\n".join([f"allocated since step {self._first}: {total:.1f} MiB", *lines]), file=sys.stderr)
            tracemalloc.stop()


def measure(days: int, grid: str, allocations: bool = False) -> Row:
    """Run one period in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.year", "--once", "--days", str(days), "--grid", grid]
    if allocations:
        command.append("--allocations")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def _text(rows: list[Row], ratio: float, met: bool) -> str:
    lines = [
        f"{row.days:4d} days {row.steps:6d} steps {row.seconds:8.1f} s {1e3 * row.seconds / row.steps:6.1f} ms a step"
        f"  peak {row.peak_mib:6.0f} MiB  written {row.written_mib:6.1f} MiB"
        for row in rows
    ]
    verdict = "met" if met else "MISSED"
    lines.append(f"peak ratio {ratio:.2f} (target {TARGET_RATIO}, at most {TARGET_MIB:.0f} MiB: {verdict})")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Print the peaks; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Peak memory of a month against a year.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--days", type=int, nargs="+", default=[MONTH, YEAR], help="periods, shortest first [d]")
    parser.add_argument("--grid", default="rural_mv", help="grid folder")
    parser.add_argument("--allocations", action="store_true", help="print what grows, by line of code (slow)")
    parser.add_argument("--once", action="store_true", help="run one period in this process")
    options = parser.parse_args(arguments)
    if options.once:
        print(json.dumps(asdict(run_once(options.days[0], options.grid, options.allocations))))
        return 0
    rows = [measure(days, options.grid, options.allocations) for days in options.days]
    ratio = rows[-1].peak_mib / rows[0].peak_mib
    met = ratio <= TARGET_RATIO and rows[-1].peak_mib <= TARGET_MIB
    if options.json:
        print(json.dumps({"periods": [asdict(row) for row in rows], "ratio": ratio, "met": met}, indent=2))
    else:
        print(_text(rows, ratio, met))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
