"""The congestion day with every actor against the bare grid of the same day in mosaik-pandapower-2.

Our side is ``scenarios/congestion_day.yaml`` as it stands: market, state estimation, optimisation, activation,
verification, settlement and every table recorded to disk.  Not in the time: building the study (reading the grid and
its profiles, compiling), the baseline run and the report.  The peer's side is a power flow per step of the same grid
without microgrids, from profiles to every appliance to every bus voltage and line loading, and nothing else; fewer
steps are run, half of them before and half after ours, and scaled to as many as ours.  Both sides are warmed up first.
Both are single-threaded; beside the wall-clock ratio stands that of processor time, which other load on the machine
disturbs less, and which decides.

Run ``python -m benchmarks.congestion_day [--json] [--steps 480] [--peer-steps 60]``; without ``--steps`` the whole
scenario runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.grid_step import PEER_STEPS, make_day, run_peer
from heila_mosaik.gridmodel.diagnosis import load_net
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.progress import Progress
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.schema import Scenario

SCENARIO = "scenarios/congestion_day.yaml"
TARGET = 5.0
_WARM_UP_H = 1.0
_FEW = 2


@dataclass(slots=True)
class Watch:
    """Wall time from the first step of the flexibility run to its last, and its longest step."""

    first: float = 0.0
    last: float = 0.0
    longest: float = 0.0
    steps: int = 0
    first_cpu: float = 0.0
    last_cpu: float = 0.0

    def __call__(self, progress: Progress) -> None:
        """Take the time of a step."""
        if progress.phase != "flexibility":
            return
        now = time.perf_counter()
        if self.steps:
            self.longest = max(self.longest, now - self.last)
        else:
            self.first, self.first_cpu = now, time.process_time()
        self.last, self.last_cpu, self.steps = now, time.process_time(), self.steps + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Figures of the benchmark.

    Attributes:
        steps: Steps of our run.
        build_s: Reading and compiling, not in the time. [s]
        run_s: All steps. [s]
        step_ms: Mean of a step. [ms]
        longest_ms: Longest step. [ms]
        peer_steps: Steps the peer ran.
        peer_s: Peer, scaled to our steps. [s]
        peer_step_ms: Mean of the peer's step. [ms]
        ratio: Peer by ours, wall clock.
        cpu_ratio: Peer by ours, processor time.
        target: Wanted ratio.
    """

    steps: int
    build_s: float
    run_s: float
    step_ms: float
    longest_ms: float
    peer_steps: int
    peer_s: float
    peer_step_ms: float
    ratio: float
    cpu_ratio: float
    target: float


def _run(scenario: Scenario) -> tuple[float, Watch]:
    watch = Watch()
    before = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        run_scenario(scenario, Path(place) / "run", baseline=False, progress=watch)
    return watch.first - before, watch


def _peer_step(net: Path, steps: int) -> tuple[float, float]:
    """Wall-clock and processor time of one step of the peer. [s], [s]"""
    day = make_day(load_net(net))
    run_peer(day, _FEW)
    first = time.process_time()
    run_peer(day, _FEW)
    second = time.process_time()
    wall_s = run_peer(day, steps)[0]
    # what both runs spend on building their world cancels out
    cpu_s = (time.process_time() - second) - (second - first)
    return wall_s / steps, cpu_s / (steps - _FEW)


def measure(path: str, steps: int | None, peer_steps: int) -> Result:
    """Run both sides.

    Args:
        path: Scenario file.
        steps: Steps of our side; all of the scenario if ``None``.
        peer_steps: Steps of the peer.
    """
    scenario = load_scenario(path).scenario
    if steps is not None:
        scenario = scenario.model_copy(update={"duration_h": steps * scenario.step_s / 3600.0, "stop": None})
    _run(scenario.model_copy(update={"duration_h": _WARM_UP_H, "stop": None}))
    net = scenario.grid_folder() / "net.json"
    before = _peer_step(net, peer_steps // 2)
    build_s, watch = _run(scenario)
    after = _peer_step(net, peer_steps - peer_steps // 2)
    # The watch sees the ends of the steps: the first step's own time is missing and counted as a mean one.
    step_s = (watch.last - watch.first) / (watch.steps - 1)
    step_cpu_s = (watch.last_cpu - watch.first_cpu) / (watch.steps - 1)
    peer_step_s, peer_cpu_s = 0.5 * (before[0] + after[0]), 0.5 * (before[1] + after[1])
    return Result(
        steps=watch.steps,
        build_s=build_s,
        run_s=step_s * watch.steps,
        step_ms=1e3 * step_s,
        longest_ms=1e3 * watch.longest,
        peer_steps=peer_steps,
        peer_s=peer_step_s * watch.steps,
        peer_step_ms=1e3 * peer_step_s,
        ratio=peer_step_s / step_s,
        cpu_ratio=peer_cpu_s / step_cpu_s,
        target=TARGET,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the ratio; 1 if the target is missed."""
    parser = argparse.ArgumentParser(description="Congestion day against the bare grid in mosaik-pandapower-2.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--steps", type=int, help="steps of our side; without: the whole scenario")
    parser.add_argument("--peer-steps", type=int, default=PEER_STEPS, help="steps of mosaik-pandapower-2, scaled")
    parser.add_argument("--scenario", default=SCENARIO, help="scenario file")
    options = parser.parse_args(arguments)
    if options.steps is not None and options.steps <= 1:
        parser.error("--steps must be at least 2")
    warnings.simplefilter("ignore")
    found = measure(options.scenario, options.steps, options.peer_steps)
    met = found.cpu_ratio >= TARGET
    if options.json:
        print(json.dumps({**asdict(found), "met": met}, indent=2))
    else:
        print(
            f"{options.scenario}: {found.steps} steps, baseline and report not counted\n"
            f"  every actor          {found.run_s:8.2f} s  {found.step_ms:7.2f} ms a step, longest "
            f"{found.longest_ms:.0f} ms; build {found.build_s:.1f} s not counted\n"
            f"  mosaik-pandapower-2  {found.peer_s:8.2f} s  {found.peer_step_ms:7.2f} ms a step, bare grid "
            f"({found.peer_steps} steps run, scaled)\n"
            f"  ratio {found.cpu_ratio:.1f} x by processor time (target {TARGET:.0f} x: {'met' if met else 'MISSED'}), "
            f"{found.ratio:.1f} x by wall clock"
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
