"""The grid step against mosaik-pandapower-2 and against ``pp.runpp``, both sides in one run.

A mosaik world of three simulators: a source with the power of every appliance, the grid, a collector of every bus
voltage and line loading.  The same seeded day goes through our ``Grid`` (1440 steps) and through mosaik-pandapower-2
(fewer steps, stated, scaled to 1440); the benchmark stops if their voltages differ.  Our grid is measured twice: wired
element by element as the peer has to be, and by vectors.  Only ``world.run`` is timed; both sides are warmed up first.

Run ``python -m benchmarks.grid_step [--json] [--peer-steps 60] [--repeats 3]``.
"""

# ruff: noqa: ARG002 - mosaik gives the parameters their names

from __future__ import annotations

import argparse
import copy
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mosaik
import mosaik_api_v3
import numpy as np
import pandapower as pp
from loguru import logger

from heila_mosaik.domain.network import GridInput
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.gridmodel import compile_net, load_net
from heila_mosaik.gridmodel.tables import read_input

STEPS_PER_DAY = 1440
STEP_S = 60
PEER_STEPS = 60
TARGETS = {"cigre_mv": 50.0, "semiurb_mv": 40.0}
ENGINE_TARGET = 1000.0
_AGREEMENT_PU = 1e-6
_SIMULATORS = {
    "Source": {"python": "benchmarks.grid_step:Source"},
    "Collector": {"python": "benchmarks.grid_step:Collector"},
    "Ours": {"python": "heila_mosaik.simulators.grid:GridSimulator"},
    "Peer": {"python": "mosaik_components.pandapower:Simulator"},
}
_FED = (("load", "P_load[MW]", "Q_load[MVar]"), ("storage", "P_load[MW]", "Q_load[MVar]"))
_FED += (("sgen", "P_gen[MW]", "Q_gen[MVar]"),)


class Source(mosaik_api_v3.Simulator):
    """Gives one row of each table a step: a number per entity, or the whole row from one entity."""

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})

    def init(self, sid: str, time_resolution: float = 1.0, *, tables: dict[str, FloatArray]) -> Any:
        """Take tables of shape (steps, n) by attribute name."""
        self._tables, self._rows = tables, {}
        self.meta["models"] = {"Row": {"public": True, "params": [], "attrs": list(tables)}}
        self.meta["models"]["Element"] = {"public": True, "params": [], "attrs": list(tables)}
        return self.meta

    def create(self, num: int, model: str) -> list[dict[str, Any]]:
        """``Row`` gives lists, ``Element`` number k the k-th value."""
        return [{"eid": f"{model}-{k}", "type": model} for k in range(num)]

    def step(self, time: int, inputs: Any, max_advance: int) -> int:
        """Look up the rows."""
        row = time // STEP_S
        self._rows = {name: table[row].tolist() for name, table in self._tables.items()}
        return time + STEP_S

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
        """Values of the step."""
        data = {}
        for eid, names in outputs.items():
            model, k = eid.split("-")
            rows = self._rows
            data[eid] = {name: rows[name] if model == "Row" else rows[name][int(k)] for name in names}
        return data


class Collector(mosaik_api_v3.Simulator):
    """Keeps what arrives, one list a step."""

    def __init__(self) -> None:
        attrs = ["Vm[pu]", "loading[%]", "line_loading[%]"]
        models = {"Collector": {"public": True, "params": [], "attrs": attrs}}
        super().__init__({"api_version": "3.0", "type": "time-based", "models": models})

    def init(self, sid: str, time_resolution: float = 1.0, *, kept: dict[str, list[Any]]) -> Any:
        """Take the dict to fill; the caller reads it after the run."""
        self._kept = kept
        return self.meta

    def create(self, num: int, model: str) -> list[dict[str, Any]]:
        """One collector."""
        return [{"eid": "collector", "type": model}]

    def step(self, time: int, inputs: dict[str, dict[str, dict[str, Any]]], max_advance: int) -> int:
        """Keep the inputs."""
        for name, sources in inputs["collector"].items():
            self._kept.setdefault(name, []).append(list(sources.values()))
        return time + STEP_S

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Nothing to give."""
        return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A net and the appliance powers of each step.

    Attributes:
        net: pandapower net.
        powers: Powers by ``<table>_<p_mw|q_mvar>``. (steps, n)
    """

    net: Any
    powers: dict[str, FloatArray]


def make_day(net: Any, steps: int = STEPS_PER_DAY) -> Day:
    """Powers of the net times a smooth daily course with noise of its own for each appliance (seeded)."""
    rng = np.random.default_rng(2020)
    given: GridInput = read_input(net)
    hours = np.arange(steps) * 24.0 / STEPS_PER_DAY
    powers = {}
    for table in ("load", "sgen", "storage"):
        shift = rng.uniform(-2.0, 2.0, len(net[table]))
        course = 0.65 + 0.25 * np.sin(2 * np.pi * (hours[:, None] - 9.0 + shift) / 24.0)
        course = course + rng.normal(0.0, 0.02, course.shape)
        for quantity in ("p_mw", "q_mvar"):
            powers[f"{table}_{quantity}"] = course * getattr(given, f"{table}_{quantity}")
    return Day(net=net, powers=powers)


def _world() -> mosaik.World:
    logger.disable("mosaik")
    logger.disable("mosaik_components")
    # cache=False on both sides: it is the faster setting, and the only right one with time-shifted connections
    return mosaik.World(_SIMULATORS, cache=False, skip_greetings=True, configure_logging=False)


def _run(world: mosaik.World, steps: int) -> float:
    before = time.perf_counter()
    world.run(until=steps * STEP_S, print_progress=False)
    return time.perf_counter() - before


def _feed(world: mosaik.World, day: Day, table: str, targets: list[Any], names: tuple[str, str], scale: Any) -> None:
    """Connect one source entity to each target."""
    if not targets:
        return
    keys = (f"{table}_p_mw", f"{table}_q_mvar")
    source = world.start("Source", tables={key: day.powers[key] * scale for key in keys})
    for element, target in zip(source.Element.create(len(targets)), targets, strict=True):
        world.connect(element, target, *zip(keys, names, strict=True))


def run_ours_by_vector(day: Day, steps: int) -> tuple[float, FloatArray]:
    """Seconds of ``world.run`` and voltages (steps, n_bus), vectors in and out."""
    world, kept = _world(), {}
    grid = world.start("Ours", step_size=STEP_S).Grid(net=day.net)
    source = world.start("Source", tables=day.powers).Row()
    collector = world.start("Collector", kept=kept).Collector()
    names = {
        f"{t}_{q}": f"{t}_{n}"
        for t in ("load", "sgen", "storage")
        for q, n in (("p_mw", "P[MW]"), ("q_mvar", "Q[MVar]"))
    }
    world.connect(source, grid, *((key, name) for key, name in names.items() if day.powers[key].shape[1]))
    world.connect(grid, collector, "Vm[pu]", "line_loading[%]")
    seconds = _run(world, steps)
    return seconds, np.asarray([row[0] for row in kept["Vm[pu]"]])


def _collect(world: mosaik.World, grid: Any) -> dict[str, list[Any]]:
    kept: dict[str, list[Any]] = {}
    collector = world.start("Collector", kept=kept).Collector()
    for child in grid.children:
        if child.type == "Bus":
            world.connect(child, collector, "Vm[pu]")
        elif child.type == "Line":
            world.connect(child, collector, "loading[%]")
    return kept


def run_ours_by_element(day: Day, steps: int) -> tuple[float, FloatArray]:
    """Seconds of ``world.run`` and voltages (steps, n_bus), one entity per appliance, bus and line."""
    world = _world()
    grid = world.start("Ours", step_size=STEP_S).Grid(net=day.net)
    for table, _p, _q in _FED:
        targets = [child for child in grid.children if child.type == table.capitalize()]
        _feed(world, day, table, targets, ("P[MW]", "Q[MVar]"), 1.0)
    kept = _collect(world, grid)
    seconds = _run(world, steps)
    return seconds, np.asarray(kept["Vm[pu]"])


def run_peer(day: Day, steps: int) -> tuple[float, FloatArray]:
    """The same day in mosaik-pandapower-2, which takes powers at buses; the appliances of its net are set to zero."""
    net = copy.deepcopy(day.net)
    for table, _p, _q in _FED:
        net[table]["p_mw"], net[table]["q_mvar"] = 0.0, 0.0
    world = _world()
    grid = world.start("Peer", step_size=STEP_S).Grid(net=net)
    buses = {int(child.eid.split("-")[1]): child for child in grid.children if child.type == "Bus"}
    for table, p, q in _FED:
        rows = day.net[table]
        scale = (rows.scaling * rows.in_service).to_numpy(float)
        _feed(world, day, table, [buses[int(bus)] for bus in rows.bus], (p, q), scale)
    kept = _collect(world, grid)
    seconds = _run(world, steps)
    return seconds, np.asarray(kept["Vm[pu]"])


def peer_day_seconds(net_path: str | Path, steps: int = PEER_STEPS) -> float:
    """Time mosaik-pandapower-2 needs for the bare grid over a day of 1440 steps.

    Args:
        net_path: pandapower JSON file.
        steps: Steps that are run; the time is scaled to 1440.

    Returns:
        Time of ``world.run``. [s]
    """
    day = make_day(load_net(net_path))
    run_peer(day, 2)
    return run_peer(day, steps)[0] * STEPS_PER_DAY / steps


def _each(call: Callable[[], Any], count: int) -> float:
    before = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - before) / count


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Medians of one grid.

    Attributes:
        grid: Name.
        buses: Buses of the grid.
        peer_steps: Steps the peer was run for.
        peer_day_s: Day of mosaik-pandapower-2, scaled to 1440 steps. [s]
        vector_day_s: Our day of 1440 steps, wired by vectors. [s]
        element_day_s: Our day of 1440 steps, wired element by element. [s]
        vector_ratio, element_ratio: Peer by ours.
        target: Wanted ratio.
        runpp_us, engine_us: One ``pp.runpp`` and one engine step. [us]
        engine_ratio: runpp by engine.
        worst_difference_pu: Largest difference of the voltages of both sides. [pu]
    """

    grid: str
    buses: int
    peer_steps: int
    peer_day_s: float
    vector_day_s: float
    element_day_s: float
    vector_ratio: float
    element_ratio: float
    target: float
    runpp_us: float
    engine_us: float
    engine_ratio: float
    worst_difference_pu: float


def measure(name: str, net: Any, peer_steps: int, repeats: int) -> Row:
    """Measure one grid, the sides in turn."""
    day = make_day(net)
    engine, given = compile_net(net), read_input(net)
    runs: dict[str, list[float]] = {"peer": [], "vector": [], "element": [], "runpp": [], "engine": []}
    run_peer(day, 2)
    run_ours_by_vector(day, 2)
    engine.solve(given)
    worst = 0.0
    for _ in range(repeats):
        seconds, truth = run_peer(day, peer_steps)
        runs["peer"].append(seconds * STEPS_PER_DAY / peer_steps)
        for kind, run in (("vector", run_ours_by_vector), ("element", run_ours_by_element)):
            seconds, volts = run(day, STEPS_PER_DAY)
            runs[kind].append(seconds)
            worst = max(worst, float(np.nanmax(np.abs(volts[:peer_steps] - truth))))
        runs["runpp"].append(_each(lambda: pp.runpp(net), 20) * 1e6)
        runs["engine"].append(_each(lambda: engine.solve(given), 2000) * 1e6)
    if not worst <= _AGREEMENT_PU:
        raise ArithmeticError(f"{name}: voltages of the two sides differ by {worst:.2g} pu")
    mid = {kind: statistics.median(values) for kind, values in runs.items()}
    return Row(
        grid=name,
        buses=len(net.bus),
        peer_steps=peer_steps,
        peer_day_s=mid["peer"],
        vector_day_s=mid["vector"],
        element_day_s=mid["element"],
        vector_ratio=mid["peer"] / mid["vector"],
        element_ratio=mid["peer"] / mid["element"],
        target=TARGETS[name],
        runpp_us=mid["runpp"],
        engine_us=mid["engine"],
        engine_ratio=mid["runpp"] / mid["engine"],
        worst_difference_pu=worst,
    )


def nets() -> dict[str, Callable[[], Any]]:
    """The grids of the benchmark."""
    import simbench  # noqa: PLC0415  # slow import, not needed by peer_day_seconds
    from pandapower.networks import create_cigre_network_mv  # noqa: PLC0415

    return {
        "cigre_mv": lambda: create_cigre_network_mv(with_der="pv_wind"),
        "semiurb_mv": lambda: simbench.get_simbench_net("1-MV-semiurb--0-sw"),
    }


def _text(row: Row) -> str:
    def verdict(ratio: float, target: float) -> str:
        return f"{ratio:6.0f} x  (target {target:.0f} x: {'met' if ratio >= target else 'MISSED'})"

    return "\n".join(
        [
            f"{row.grid} ({row.buses} buses): {STEPS_PER_DAY} steps, voltages within {row.worst_difference_pu:.1g} pu",
            f"  mosaik-pandapower-2   {row.peer_day_s:8.2f} s  ({row.peer_steps} steps run, scaled)",
            f"  Grid, vectors         {row.vector_day_s:8.2f} s  {verdict(row.vector_ratio, row.target)}",
            f"  Grid, by element      {row.element_day_s:8.2f} s  {row.element_ratio:6.0f} x",
            f"  pp.runpp              {row.runpp_us:8.0f} us",
            f"  engine step           {row.engine_us:8.1f} us {verdict(row.engine_ratio, ENGINE_TARGET)}",
        ]
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the ratios; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="Grid step against mosaik-pandapower-2 and pp.runpp.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--peer-steps", type=int, default=PEER_STEPS, help="steps of mosaik-pandapower-2, scaled")
    parser.add_argument("--repeats", type=int, default=3, help="repeats; the median counts")
    parser.add_argument("--rural", default="grids/rural_mv/net.json", help="net whose bare day the peer runs")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    rows = [measure(name, make(), options.peer_steps, options.repeats) for name, make in nets().items()]
    rural = peer_day_seconds(options.rural, options.peer_steps)
    if options.json:
        print(json.dumps({"grids": [asdict(row) for row in rows], "peer_rural_mv_day_s": rural}, indent=2))
    else:
        print("\n".join(_text(row) for row in rows))
        print(
            f"{options.rural}: bare day of mosaik-pandapower-2 {rural:.1f} s ({options.peer_steps} steps run, scaled)"
        )
    met = all(row.vector_ratio >= row.target and row.engine_ratio >= ENGINE_TARGET for row in rows)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
