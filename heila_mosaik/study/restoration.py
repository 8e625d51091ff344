"""Restoration of a study: what the DMS and the microgrids are told about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heila_mosaik.actors.dms_restoration import Carrier, RestorationSettings
from heila_mosaik.actors.mgms_island import IslandSettings
from heila_mosaik.domain.topology import make_graph
from heila_mosaik.study.companies import Supply
from heila_mosaik.study.events_part import customers_of
from heila_mosaik.study.gear import formers, sources
from heila_mosaik.study.microgrid_file import MicrogridPart
from heila_mosaik.study.microgrids import Plant, former
from heila_mosaik.study.schema import Scenario

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
    customers = customers_of(own, network)
    return RestorationSettings(
        graph=make_graph(network),
        sources=sources(study),
        fixed=own.fixed,
        carriers=tuple(carriers),
        priority={name: own.priority.get(name, own.default_priority) for name in loads},
        customers=dict(zip(loads, customers.tolist(), strict=True)),
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
