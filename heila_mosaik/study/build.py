"""From a scenario to everything a run is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from heila_mosaik.actors.base import Actor
from heila_mosaik.actors.dms import Dms
from heila_mosaik.domain.network import Network
from heila_mosaik.domain.streams import stream
from heila_mosaik.domain.telemetry import MeasurementModel, PositionPoints, standard_points
from heila_mosaik.domain.voltvar.means import OwnMeans
from heila_mosaik.errors import ProblemsError
from heila_mosaik.gridmodel import CompiledGrid
from heila_mosaik.gridmodel.study_net import StudyNet, regulated
from heila_mosaik.simulators.exchange import Exchange
from heila_mosaik.simulators.meters import Terminals
from heila_mosaik.simulators.network import CommunicationNetwork
from heila_mosaik.study.companies import GridKnowledge, make_companies
from heila_mosaik.study.contracts import voltage_bands
from heila_mosaik.study.environment import DsoForecast, Environment, injection_names, make_environment, own_rows
from heila_mosaik.study.events_part import event_problems
from heila_mosaik.study.gridfolder import GridFolder
from heila_mosaik.study.microgrids import Plant, charged, make_plant
from heila_mosaik.study.own_means import functions_of, own_means
from heila_mosaik.study.restoration import make_supply
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.shelf import Shelf
from heila_mosaik.study.transit import make_transit


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A scenario built: grid, resources, series; actors are made per run because they carry state.

    Attributes:
        scenario: The scenario.
        folder: Grid folder.
        net: pandapower net with microgrids.
        engine: Compiled grid.
        plant: Resources and controllers; their actors serve one run.
        environment: Profiles, weather, prices.
        means: The DSO's own means.
    """

    scenario: Scenario
    folder: GridFolder
    net: StudyNet
    engine: CompiledGrid
    plant: Plant
    environment: Environment
    means: OwnMeans

    @property
    def network(self) -> Network:
        """Tables of the grid."""
        return self.engine.network


def build_study(scenario: Scenario, shelf: Shelf | None = None) -> Study:
    """Read the grid folder and the series, attach microgrids, compile.

    Args:
        scenario: Scenario.
        shelf: Grids made ready by earlier runs.

    Raises:
        ProblemsError: With what is wrong in grid folder or series.
    """
    shelf = shelf if shelf is not None else Shelf()
    folder = shelf.folder(scenario)
    folder = replace(folder, microgrids=charged(folder.microgrids, scenario.microgrids.soc_start_percent))
    voltage_bands(scenario, folder.microgrids)
    ready = shelf.grid(scenario)
    net, engine = ready.net, ready.engine
    plant = make_plant(folder.microgrids, scenario.microgrids.control, float(scenario.step_s))
    problems = event_problems(scenario.events, scenario.restoration, engine.network) if scenario.events else []
    if problems:
        raise ProblemsError(f"scenario {scenario.name}", problems)
    theirs = {f"{table}.{key}" for added in net.microgrids.values() for table, key in added.elements.values()}
    own = frozenset(f"sgen.{key}" for key in engine.network.sgens.ids.tolist()) - theirs
    return Study(
        scenario=scenario,
        folder=folder,
        net=net,
        engine=engine,
        means=own_means(scenario, net.net, engine.network, ready.shunts, own),
        plant=plant,
        environment=make_environment(scenario, folder, net, plant),
    )


def terminals(study: Study) -> Terminals:
    """Rows of the resources in the grid's tables."""
    network = study.network
    tables = {"load": network.loads, "sgen": network.sgens, "storage": network.storages}
    rows = {kind: {int(element): row for row, element in enumerate(table.ids)} for kind, table in tables.items()}
    where = element_map(study)
    return Terminals(
        table=tuple(where[name][0] for name in study.plant.specs),
        row=tuple(rows[where[name][0]][where[name][1]] for name in study.plant.specs),
        sizes={kind: len(table.ids) for kind, table in tables.items()},
        breakers=breakers(study),
        presence=bool(study.scenario.events),
    )


def element_map(study: Study) -> dict[str, tuple[str, int]]:
    """(table, pandapower index) of every resource."""
    return {name: place for added in study.net.microgrids.values() for name, place in added.elements.items()}


def breakers(study: Study) -> dict[str, int]:
    """Switch at the point of common coupling behind each breaker's name."""
    return {part.pcc.breaker: study.net.microgrids[part.name].switch for part in study.folder.microgrids}


def observed(study: Study) -> tuple[str, ...]:
    """Breakers, taps and capacitor banks whose positions the control centre sees."""
    return (*(f"switch.{switch}" for switch in breakers(study).values()), *regulated(study.net.net))


def units(study: Study) -> tuple[str, ...]:
    """Generating units under the DSO's control; they are metered."""
    inverters = [unit.element for unit in study.means.inverters]
    return tuple(dict.fromkeys([*inverters, *(unit.element for unit in study.means.curtailable)]))


def _own(study: Study, table: str) -> set[int]:
    """Elements of a table that belong to microgrids."""
    return {element for kind, element in element_map(study).values() if kind == table}


def spontaneous(study: Study) -> tuple[str, ...]:
    """Switches, fault passage indicators and grid-forming storages that report by themselves."""
    network = study.network
    own = set(observed(study))
    switches = [f"switch.{switch}" for switch in network.switches.ids.tolist()]
    return (
        *(switch for switch in switches if switch not in own),
        *(f"line.{line}" for line in network.lines.ids.tolist()),
        *(f"ext_grid.{added.former}" for added in study.net.microgrids.values() if added.former >= 0),
        *(f"load.{load}" for load in network.loads.ids.tolist() if load not in _own(study, "load")),
        *(f"sgen.{sgen}" for sgen in network.sgens.ids.tolist() if sgen not in _own(study, "sgen")),
    )


def _telemetered(study: Study) -> tuple[str, ...]:
    """Positions the control centre follows; what is connected for calls only counts as connected: a call closes it."""
    switches = breakers(study)
    on_call = {f"switch.{switches[p.pcc.breaker]}" for p in study.folder.microgrids if p.pcc.operation == "on_call"}
    return tuple(name for name in observed(study) if name not in on_call)


def measuring(study: Study) -> MeasurementModel:
    """Telemetry of the substation, its feeders and the points of common coupling."""
    network, telemetry = study.network, study.scenario.telemetry
    busbars = set(network.trafos.to_bus.tolist()) or set(network.ext_grids.bus.tolist())
    feeders = tuple(
        f"line.{int(line)}"
        for line, start in zip(network.lines.ids, network.lines.from_bus, strict=True)
        if int(start) in busbars
    )
    trafos = tuple(f"trafo.{int(trafo)}" for trafo in network.trafos.ids)
    stations = tuple(meter for meter in telemetry.meters if meter.startswith("bus."))
    branches = tuple(meter for meter in telemetry.meters if meter not in stations)
    points = standard_points(
        network,
        tuple(dict.fromkeys((*trafos, *feeders, *branches))),
        tuple(study.net.microgrids),
        (*units(study), *stations),
        voltage_relative=telemetry.voltage_noise_percent / 100.0,
        power_relative=telemetry.power_noise_percent / 100.0,
        stations=stations,
    )
    return MeasurementModel(
        network,
        "sau",
        points,
        stream(study.scenario.seed, "telemetry"),
        delay_s=telemetry.delay_s,
        period_s=study.scenario.step_s,
        dropout=telemetry.dropout,
        positions=PositionPoints(
            cyclic=_telemetered(study), spontaneous=spontaneous(study) if study.scenario.events else ()
        ),
    )


def _knowledge(study: Study) -> GridKnowledge:
    network = study.network
    taken = {kind: {e for t, e in element_map(study).values() if t == kind} for kind in ("load", "sgen")}
    rows: dict[str, tuple[int, ...]] = {}
    for kind, table, ratings in (
        ("load", network.loads, study.net.loads),
        ("sgen", network.sgens, study.net.sgens),
    ):
        own = frozenset(row for row, element in enumerate(table.ids) if int(element) in taken[kind])
        rows[kind] = own_rows(ratings, own)
    load, sgen = list(rows["load"]), list(rows["sgen"])
    position = {int(bus): place for place, bus in enumerate(network.bus_ids)}
    return GridKnowledge(
        engine=study.engine.copy(),
        names=(
            *injection_names("load", network.loads, rows["load"]),
            *injection_names("sgen", network.sgens, rows["sgen"]),
        ),
        bus=np.concatenate([network.loads.bus[load], network.sgens.bus[sgen]]).tolist(),
        scale_mva=np.concatenate([network.loads.scale[load], network.sgens.scale[sgen]]).tolist(),
        profile=DsoForecast(
            study.environment, network, rows, study.scenario.dms.forecast_error_percent / 100.0, study.scenario.seed
        ),
        locations={name: position[added.bus] for name, added in study.net.microgrids.items()},
    )


def make_actors(study: Study, *, flexibility: bool) -> tuple[tuple[Actor, ...], Dms | None]:
    """All actors of a study, fresh, in the order in which they act at equal times, and the DMS among them.

    Args:
        study: The study.
        flexibility: Whether the DSO takes part in the market; it restores supply after a fault in any case.
    """
    islands = flexibility and study.scenario.restoration.microgrids
    supply = make_supply(study, islands=islands)
    known = _knowledge(study) if flexibility or supply is not None else None
    if known is not None and supply is not None:
        known = replace(known, restoration=supply.restoration, trade=flexibility)
    return make_companies(
        study.scenario,
        study.folder.microgrids,
        study.plant,
        study.environment.truth,
        known,
        study.environment.typical,
        functions_of(study.scenario, study.means) if flexibility else None,
        supply,
    )


Probes = Mapping[str, Callable[[], Sequence[float]]]
"""Series read from actors after each step, by table."""


def probes_of(study: Study, dms: Dms | None) -> Probes:
    """What is recorded of the control room: its estimate of the voltages."""
    if dms is None:
        return {}
    missing = [float("nan")] * len(study.network.bus_ids)

    def estimate() -> Sequence[float]:
        found: Any = dms.estimate
        return missing if found is None else found.state.vm_pu.tolist()

    return {"estimate_vm_pu": estimate}


def make_network(study: Study) -> CommunicationNetwork:
    """Communication network of a study."""
    return CommunicationNetwork(study.scenario.network.table(), seed=study.scenario.seed)


def make_exchange(study: Study, *, flexibility: bool) -> tuple[Exchange, Probes]:
    """Actors with their network, and the series read from them after each step.

    Args:
        study: The study.
        flexibility: Whether the DSO takes part in the market.
    """
    actors, dms = make_actors(study, flexibility=flexibility)
    translate = make_transit(study.scenario.messages, [actor.name for actor in actors])
    return Exchange(actors, make_network(study), translate=translate), probes_of(study, dms)
