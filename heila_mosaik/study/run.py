"""Runs a scenario: baseline and flexibility, into one run folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from heila_mosaik.gridmodel.study_net import save_net
from heila_mosaik.results.gridmap import MicrogridEntry, ResourceEntry, describe_grid
from heila_mosaik.results.store import RunStore
from heila_mosaik.simulators.exchange import Exchange
from heila_mosaik.study.build import Probes, Study, build_study, make_exchange, measuring, observed, terminals
from heila_mosaik.study.contracts import voltage_bands
from heila_mosaik.study.extensions import extension_checksums
from heila_mosaik.study.frequency import make_frequency
from heila_mosaik.study.gear import gear, resource_buses
from heila_mosaik.study.loader import dump_scenario
from heila_mosaik.study.microgrids import make_plant
from heila_mosaik.study.progress import Progress
from heila_mosaik.study.reinforcement import cost, lengths, plan_reinforcement
from heila_mosaik.study.restoration import describe_supply
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.shelf import Shelf
from heila_mosaik.study.world import Parts, run_world

Report = Callable[[Progress], None]


class MakeExchange(Protocol):
    """Makes the actors of a run, hosted, and the series read from them."""

    def __call__(self, study: Study, *, flexibility: bool) -> tuple[Exchange, Probes]:
        """Make them, fresh."""
        ...


def run_scenario(
    scenario: Scenario,
    out: Path,
    *,
    baseline: bool = True,
    progress: Report | None = None,
    host: MakeExchange | None = None,
    shelf: Shelf | None = None,
    with_net: bool = True,
) -> Path:
    """Run a scenario.

    Args:
        scenario: Checked scenario.
        out: Run folder to make; must not exist.
        baseline: Whether the same day without any trade is run first, into ``<out>/baseline``.
        progress: Told how far the run has come.
        host: Makes what hosts the actors; a mixed run has its own for the run with flexibility.
        shelf: Grids made ready by earlier runs.
        with_net: Whether the run folder gets the pandapower net.

    Returns:
        The run folder.

    Raises:
        ProblemsError: With what is wrong in grid folder or series.
        HeilaError: If the run cannot go on; the folder is then marked incomplete and stays readable.
    """
    if progress is not None:
        progress(
            Progress(phase="build", simulated=scenario.start_utc, start=scenario.start_utc, stop=scenario.stop_utc)
        )
    shelf = shelf if shelf is not None else Shelf()
    if scenario.reinforcement.plan:
        scenario = plan_reinforcement(scenario, lambda trial, place: _without_trade(trial, place, shelf))
    study = build_study(scenario, shelf)
    with open_store(study, out, with_net=with_net) as store:
        if baseline and scenario.flexibility:
            with open_store(study, out / "baseline", flexibility=False, with_net=with_net) as other:
                run_phase(study, other, "baseline", progress, flexibility=False)
        phase = "flexibility" if scenario.flexibility else "baseline"
        run_phase(study, store, phase, progress, flexibility=scenario.flexibility, host=host)
    return out


def _without_trade(scenario: Scenario, folder: Path, shelf: Shelf) -> Any:
    study = build_study(scenario, shelf)
    with open_store(study, folder, with_net=False) as store:
        run_phase(study, store, "plan", None, flexibility=False)
    return study.net.net


def open_store(study: Study, folder: Path, *, flexibility: bool = True, with_net: bool = True) -> RunStore:
    """Run folder of a study, with what the report needs to know of its grid."""
    scenario = study.scenario
    if not flexibility:
        scenario = scenario.model_copy(update={"flexibility": False})
    store = RunStore(
        folder,
        scenario_yaml=dump_scenario(scenario),
        name=scenario.name,
        seed=scenario.seed,
        part_rows=scenario.results.series_part_rows,
        provenance=_provenance(study),
    )
    store.write_json("grid.json", describe(study))
    if with_net:
        save_net(study.net.net, folder / "net.json")
    return store


def _provenance(study: Study) -> dict[str, Any]:
    facts: dict[str, Any] = {"grid": study.folder.name, "grid_checksums": dict(study.folder.checksums)}
    own = extension_checksums(study.scenario)
    return facts | ({"extension_checksums": own} if own else {})


def run_phase(
    study: Study,
    store: RunStore,
    phase: str,
    progress: Report | None,
    *,
    flexibility: bool,
    host: MakeExchange | None = None,
    adapt: Callable[[Parts], Parts] = lambda parts: parts,
) -> None:
    """Run a study once.

    Args:
        study: The study.
        store: Where it is recorded.
        phase: What it is, for the display.
        progress: Told how far the run has come.
        flexibility: Whether the DSO takes part.
        host: Makes what hosts the actors.
        adapt: Changes what the run is made of, for example for equipment in the loop.
    """
    scenario = study.scenario
    # CEMS and IEDs carry state: every run gets fresh ones.
    fresh = replace(
        study, plant=make_plant(study.folder.microgrids, scenario.microgrids.control, float(scenario.step_s))
    )
    exchange, probes = (host or make_exchange)(fresh, flexibility=flexibility)
    columns = _columns(fresh)
    frequency = make_frequency(scenario)
    absent = [] if flexibility else ["estimate_vm_pu"]
    absent += [] if frequency is not None else ["frequency_hz"]
    absent += [] if fresh.means.devices else ["device_position"]
    absent += [] if scenario.events else ["load_supplied", "resource_unserved_mw"]
    wanted = [name for name in scenario.results.record if name not in absent]

    def tick(now: datetime) -> None:
        if progress is not None:
            progress(Progress(phase=phase, simulated=now, start=scenario.start_utc, stop=scenario.stop_utc))

    parts = Parts(
        start=scenario.start_utc,
        steps=scenario.steps,
        step_s=scenario.step_s,
        seed=scenario.seed,
        net=fresh.net.net,
        engine=fresh.engine,
        on_divergence=scenario.divergence,
        failed=store.folder / "failed",
        table=fresh.environment.table,
        followers=fresh.environment.followers,
        specs=fresh.plant.specs,
        controllers=fresh.plant.controllers,
        terminals=terminals(fresh),
        observed=observed(fresh),
        frequency_hz=frequency,
        means=fresh.means,
        gear=gear(fresh, islands=flexibility and scenario.restoration.microgrids),
        buses=resource_buses(fresh),
        measuring=measuring(fresh) if flexibility or scenario.events else None,
        exchange=exchange,
        probes=probes,
        sink=store,
        tables={name: store.series(name, columns[name]).append for name in wanted},
        tick=tick,
    )
    run_world(adapt(parts))


def _columns(study: Study) -> dict[str, list[str]]:
    network = study.network

    def ids(values: Any) -> list[str]:
        return [str(int(value)) for value in values]

    columns = {
        "bus_vm_pu": ids(network.bus_ids),
        "estimate_vm_pu": ids(network.bus_ids),
        "line_loading_percent": ids(network.lines.ids),
        "trafo_loading_percent": ids(network.trafos.ids),
        "system": ["losses_mw", "iterations", "converged"],
        "pcc_p_mw": list(study.net.microgrids),
        "frequency_hz": ["hz"],
        "device_position": [element for element in observed(study) if not element.startswith("switch.")],
    }
    tables = {"load": network.loads, "sgen": network.sgens, "storage": network.storages, "ext": network.ext_grids}
    for kind, table in tables.items():
        columns[f"{kind}_p_mw"] = columns[f"{kind}_q_mvar"] = ids(table.ids)
    columns["load_supplied"] = ids(network.loads.ids)
    for name in ("resource_p_mw", "resource_q_mvar", "resource_soc_percent", "resource_unserved_mw"):
        columns[name] = list(study.plant.specs)
    return columns


def describe(study: Study) -> dict[str, Any]:
    """``grid.json`` of a run folder: what the report needs to know of the grid."""
    bands = voltage_bands(study.scenario, study.folder.microgrids)
    entries = [
        MicrogridEntry(
            name=part.name,
            label=part.label or part.name,
            bus=study.net.microgrids[part.name].bus,
            v_min_pu=bands.get(part.name, (None, None))[0],
            v_max_pu=bands.get(part.name, (None, None))[1],
            resources=tuple(
                ResourceEntry(
                    name=resource.name,
                    kind=resource.type,
                    table=study.net.microgrids[part.name].elements[resource.name][0],
                    element=study.net.microgrids[part.name].elements[resource.name][1],
                )
                for resource in part.resources
            ),
        )
        for part in study.folder.microgrids
    ]
    described = describe_grid(study.network, entries)
    if study.scenario.reinforcement.lines or study.scenario.reinforcement.trafos:
        described["reinforcement"] = cost(study.scenario, lengths(study.net.net))
    if study.scenario.events:
        described["supply"] = describe_supply(study)
    return described
