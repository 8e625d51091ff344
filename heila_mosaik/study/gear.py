"""The switchgear of a study: its switches, protection, grid-forming storages and faults."""

from __future__ import annotations

from typing import TYPE_CHECKING

from heila_mosaik.domain.switchgear import Former, Switchgear
from heila_mosaik.domain.topology import make_graph
from heila_mosaik.study.microgrids import former, rating_mva
from heila_mosaik.study.world import Gear

if TYPE_CHECKING:  # build imports this module
    from heila_mosaik.study.build import Study


def sources(study: Study) -> tuple[int, ...]:
    """Buses the grid above supplies: those of the external grids that are no microgrid's."""
    own = {added.former for added in study.net.microgrids.values()}
    grids = study.network.ext_grids
    return tuple(int(bus) for bus, grid in zip(grids.bus, grids.ids, strict=True) if int(grid) not in own)


def formers(study: Study) -> tuple[Former, ...]:
    """Storages of the microgrids that can hold an island."""
    place = {int(bus): row for row, bus in enumerate(study.network.bus_ids)}
    found: list[Former] = []
    for part in study.folder.microgrids:
        added = study.net.microgrids[part.name]
        if added.former >= 0:
            name = former(part)
            found.append(
                Former(
                    name=name,
                    microgrid=part.name,
                    bus=place[added.bus],
                    element=f"ext_grid.{added.former}",
                    rating_mva=rating_mva(study.plant.specs[name]),
                )
            )
    return tuple(found)


def appliances(study: Study) -> tuple[str, ...]:
    """Loads and generators of the grid; those of microgrids have contactors of their own."""
    own = {
        f"{table}.{element}" for added in study.net.microgrids.values() for table, element in added.elements.values()
    }
    tables = (("load", study.network.loads), ("sgen", study.network.sgens))
    return tuple(name for kind, table in tables for each in table.ids if (name := f"{kind}.{int(each)}") not in own)


def gear(study: Study, *, islands: bool) -> Gear:
    """Switchgear of one run.

    Args:
        study: The study.
        islands: Whether microgrids may hold islands.
    """
    able = formers(study) if islands else ()
    faults = tuple(event.fault() for event in study.scenario.events)
    machine = Switchgear(make_graph(study.network), sources(study), able, faults)
    return Gear(machine=machine, formers=able, loads=bool(faults), appliances=appliances(study) if faults else ())


def resource_buses(study: Study) -> dict[str, int]:
    """Bus position of every resource, in the order of the resource simulator."""
    place = {int(bus): row for row, bus in enumerate(study.network.bus_ids)}
    home = {name: added.bus for added in study.net.microgrids.values() for name in added.elements}
    return {name: place[home[name]] for name in study.plant.specs}
