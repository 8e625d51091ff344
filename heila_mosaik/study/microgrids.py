"""From ``microgrids.yaml`` to resources, their controllers and the connections in the grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from heila_mosaik.actors.base import Actor
from heila_mosaik.actors.cems import Cems
from heila_mosaik.actors.field_settings import FieldSettings
from heila_mosaik.actors.ied import Ied
from heila_mosaik.domain.resources import BatterySpec, EvSpec, LoadSpec, PvSpec, ResourceSpec
from heila_mosaik.gridmodel.microgrids import TABLE_OF_KIND, MicrogridConnection
from heila_mosaik.simulators.meters import Controller
from heila_mosaik.study.microgrid_file import BatteryPart, MicrogridPart, ResourcePart


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """All resources of a study.

    Attributes:
        specs: Specification of each resource, in the order of the resource simulator.
        tables: pandapower table of each resource.
        controllers: Who meters and controls what.
        fields: CEMS and IED actors.
    """

    specs: dict[str, ResourceSpec]
    tables: dict[str, str]
    controllers: tuple[Controller, ...]
    fields: tuple[Actor, ...]

    def controller_of(self) -> dict[str, str]:
        """Address of the controller of each resource."""
        names = tuple(self.specs)
        return {names[place]: c.name for c in self.controllers for place in c.positions}


def specification(part: ResourcePart) -> ResourceSpec:
    """Specification of a resource as the resource simulator reads it.

    Sessions are given per charging point in the file and per site in the model; profiles name a column.
    """
    spec = part.spec()
    if isinstance(spec, EvSpec):
        return replace(spec, sessions_per_day=spec.sessions_per_day * spec.chargers)
    if isinstance(spec, LoadSpec) and spec.profile:
        return replace(spec, profile=f"{spec.profile}_pload")
    return spec


def rating_mva(spec: ResourceSpec) -> float:
    """Rated power of a resource. [MVA]"""
    if isinstance(spec, BatterySpec | PvSpec):
        return spec.s_max_mva
    if isinstance(spec, EvSpec):
        return spec.p_max_mw * spec.chargers
    if isinstance(spec, LoadSpec):
        return float((spec.p_mw**2 + spec.q_mvar**2) ** 0.5)
    p_max_mw: float | None = getattr(spec, "p_max_mw", None)
    return p_max_mw or float(getattr(spec, "p_mw", 0.0))


def charged(microgrids: Sequence[MicrogridPart], percent: float | None) -> tuple[MicrogridPart, ...]:
    """Microgrids whose batteries start at ``percent``, as far as their bands allow; ``None`` changes nothing."""
    if percent is None:
        return tuple(microgrids)

    def start(part: ResourcePart) -> ResourcePart:
        if not isinstance(part, BatteryPart):
            return part
        inside = min(max(percent, part.soc_min_percent), part.soc_max_percent)
        return part.model_copy(update={"soc_start_percent": inside})

    return tuple(
        part.model_copy(update={"resources": tuple(start(resource) for resource in part.resources)})
        for part in microgrids
    )


def former(microgrid: MicrogridPart) -> str:
    """Name of the storage that can hold an island, the largest where there are several; empty without."""
    able = [part for part in microgrid.resources if isinstance(part, BatteryPart) and part.grid_forming]
    return max(able, key=lambda part: (part.s_max_mva, part.name)).name if able else ""


def connections(microgrids: Sequence[MicrogridPart], *, islands: bool = False) -> tuple[MicrogridConnection, ...]:
    """Connection of each microgrid to the grid.

    Args:
        microgrids: Microgrids of the grid folder.
        islands: Whether the study may have islands; only then the grid model carries grid-forming storages.
    """
    return tuple(
        MicrogridConnection(
            name=microgrid.name,
            bus=microgrid.bus,
            resources=tuple(
                (part.name, TABLE_OF_KIND.get(part.type, "load"), rating_mva(specification(part)))
                for part in microgrid.resources
            ),
            former=former(microgrid) if islands else "",
        )
        for microgrid in microgrids
    )


def make_plant(microgrids: Sequence[MicrogridPart], control: str | None, effect_s: float) -> Plant:
    """Resources with one CEMS per microgrid and one IED per resource that has its own.

    Args:
        microgrids: Microgrids of the grid folder.
        control: Overrides the control variant of every microgrid.
        effect_s: Time from a set point to its effect. [s]
    """
    specs: dict[str, ResourceSpec] = {}
    tables: dict[str, str] = {}
    controllers: list[Controller] = []
    fields: list[Actor] = []
    for microgrid in microgrids:
        first = len(specs)
        own = {part.name: specification(part) for part in microgrid.resources}
        specs |= own
        tables |= {part.name: TABLE_OF_KIND.get(part.type, "load") for part in microgrid.resources}
        settings = FieldSettings(
            mgms=f"mgms_{microgrid.name}",
            resources={},
            distributed=(control or microgrid.control) == "distributed",
            on_call=microgrid.pcc.operation == "on_call",
            effect_s=effect_s,
        )
        managed = [part.name for part in microgrid.resources if part.managed_by == "cems"]
        place = {name: first + offset for offset, name in enumerate(own)}
        breakers: tuple[str, ...] = (microgrid.pcc.breaker,)
        if managed:
            name = f"cems_{microgrid.name}"
            fields.append(
                Cems(name, replace(settings, resources={key: own[key] for key in managed}, breakers=breakers))
            )
            positions = tuple(place[key] for key in managed)
            controllers.append(Controller(name=name, microgrid=microgrid.name, positions=positions, breakers=breakers))
            breakers = ()
        for part in microgrid.resources:
            if part.managed_by == "ied":
                name = f"ied_{part.name}"
                fields.append(Ied(name, part.name, own[part.name], replace(settings, breakers=breakers)))
                controllers.append(
                    Controller(name=name, microgrid=microgrid.name, positions=(place[part.name],), breakers=breakers)
                )
                breakers = ()
    return Plant(specs=specs, tables=tables, controllers=tuple(controllers), fields=tuple(fields))
