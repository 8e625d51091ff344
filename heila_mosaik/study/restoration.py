"""Restoration of a study: what the DMS and the microgrids are told about it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from heila_mosaik.actors.dms_restoration import Carrier, RestorationSettings
from heila_mosaik.actors.mgms_island import IslandSettings
from heila_mosaik.domain.supply import reliability
from heila_mosaik.domain.topology import Graph, fault_breakers, make_graph
from heila_mosaik.study.companies import Supply
from heila_mosaik.study.events_part import customers_of
from heila_mosaik.study.gear import formers, sources
from heila_mosaik.study.microgrid_file import MicrogridPart
from heila_mosaik.study.microgrids import Plant, former
from heila_mosaik.study.schema import Scenario

_OTHERS = ("battery", "pv")

if TYPE_CHECKING:  # build imports this module
    from heila_mosaik.study.build import Study


def make_supply(study: Study, *, islands: bool) -> Supply | None:
    """What companies do about an interruption; ``None`` in a study without events.

    Args:
        study: The study.
        islands: Whether microgrids may hold islands.
    """
    if not study.scenario.events:
        return None
    parts = study.folder.microgrids
    return Supply(
        restoration=restoration_settings(study, islands=islands),
        islands={part.name: island_settings(study.scenario, part, study.plant, islands=islands) for part in parts},
    )


def customers(study: Study) -> dict[str, float]:
    """Customers of every load; in a microgrid only its plain loads have any."""
    kinds = {part.name: part.type for microgrid in study.folder.microgrids for part in microgrid.resources}
    flexible = {
        element
        for added in study.net.microgrids.values()
        for name, (table, element) in added.elements.items()
        if table == "load" and kinds[name] != "load"
    }
    return customers_of(study.scenario.restoration, study.network, flexible)


def describe_supply(study: Study) -> dict[str, Any]:
    """``supply`` of ``grid.json``: customers, switches and what would happen if nobody switched."""
    network = study.network
    served, graph = customers(study), make_graph(network)
    own = {name: element for added in study.net.microgrids.values() for name, (_t, element) in added.elements.items()}
    kinds = {part.name: part.type for microgrid in study.folder.microgrids for part in microgrid.resources}
    return {
        "customers": served,
        "plain_loads": {name: f"load.{element}" for name, element in own.items() if kinds[name] == "load"},
        "microgrid_loads": sorted(f"load.{element}" for name, element in own.items() if kinds[name] not in _OTHERS),
        "formers": [str(added.former) for added in study.net.microgrids.values() if added.former >= 0],
        "switches": _switches(study),
        "untouched": _untouched(study, graph, served),
    }


def _switches(study: Study) -> dict[str, list[Any]]:
    """Switches as columns: where they sit and how they stand at the start."""
    network = study.network
    table, tables = network.switches, {"line": network.lines.ids, "trafo": network.trafos.ids, "bus": network.bus_ids}
    return {
        "id": table.ids.tolist(),
        "bus": network.bus_ids[table.bus].tolist(),
        "other": [f"{kind}.{int(tables[kind][row])}" for kind, row in zip(table.kind, table.other, strict=True)],
        "closed": table.closed.tolist(),
    }


def _untouched(study: Study, graph: Graph, served: Mapping[str, float]) -> dict[str, float]:
    """Interruptions if the tripped breakers stayed open until the last repair of a fault they opened for."""
    network, start, step_s = study.network, study.scenario.start_utc, study.scenario.step_s
    faults = sorted((event.fault() for event in study.scenario.events), key=lambda fault: fault.at)
    count = np.array([served[f"load.{load}"] for load in network.loads.ids.tolist()])
    dark = np.zeros((study.scenario.steps, len(count)), bool)
    for fault in faults:
        tripped = dict.fromkeys(fault_breakers(graph, graph.links({}), graph.place(fault.element)), False)
        live = graph.connected(graph.links(tripped), sources(study))
        first, last = (math.ceil((moment - start).total_seconds() / step_s) for moment in (fault.at, fault.repaired_at))
        dark[first:last, ~live[network.loads.bus]] = True
    found = reliability(~dark, count, step_s)
    return {"saidi_min": found.saidi_min, "saifi": found.saifi, "customer_minutes": found.customer_minutes}


def restoration_settings(study: Study, *, islands: bool) -> RestorationSettings:
    """Settings of the DMS' restoration."""
    own, network = study.scenario.restoration, study.network
    able = {each.microgrid: each for each in formers(study)} if islands else {}
    place = {int(bus): row for row, bus in enumerate(network.bus_ids)}
    carriers = []
    for part in study.folder.microgrids:
        added, storage = study.net.microgrids[part.name], able.get(part.name)
        carriers.append(
            Carrier(
                name=part.name,
                mgms=f"mgms_{part.name}",
                breaker=part.pcc.breaker,
                device=f"switch.{added.switch}",
                bus=place[part.bus],
                storage=storage.name if storage else "",
                former=storage.element if storage else "",
                s_mva=storage.rating_mva if storage else 0.0,
            )
        )
    loads = [f"load.{load}" for load in network.loads.ids.tolist()]
    return RestorationSettings(
        graph=make_graph(network),
        sources=sources(study),
        fixed=own.fixed,
        carriers=tuple(carriers),
        priority={name: own.priority.get(name, own.default_priority) for name in loads},
        customers=customers(study),
        v_min_pu=own.v_min_pu,
        v_max_pu=own.v_max_pu,
        loading_percent=own.loading_percent,
        locate_s=own.locate_s,
        confirm_s=max(own.confirm_s, 3.0 * study.scenario.step_s),
        repair_h=own.repair_h,
        enabled=own.enabled,
    )


def island_settings(scenario: Scenario, part: MicrogridPart, plant: Plant, *, islands: bool) -> IslandSettings:
    """How a microgrid behaves without the grid."""
    operator = next(c.name for c in plant.controllers if part.pcc.breaker in c.breakers)
    return IslandSettings(
        former=former(part) if islands else "",
        priority={resource.name: resource.island_priority for resource in part.resources},
        operator=operator,
        outlast_h=scenario.restoration.repair_h,
        review_s=max(300, scenario.step_s),
        resync_s=float(scenario.step_s),
    )
