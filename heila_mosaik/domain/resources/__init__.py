"""Resources of a microgrid: specification and model of each kind."""

from __future__ import annotations

from datetime import datetime
from typing import TypeAlias

import numpy as np

from heila_mosaik.domain.resources.base import FREE, NEUTRAL, EnergyBook, Exogenous, Limits, Resource, Setpoint
from heila_mosaik.domain.resources.battery import Battery, BatterySpec
from heila_mosaik.domain.resources.ev import Ev, EvSpec
from heila_mosaik.domain.resources.heat_pump import HeatPump, HeatPumpSpec
from heila_mosaik.domain.resources.load import Load, LoadSpec
from heila_mosaik.domain.resources.pv import Pv, PvSpec
from heila_mosaik.domain.resources.shiftable_load import ShiftableLoad, ShiftableLoadSpec

ResourceSpec: TypeAlias = BatterySpec | PvSpec | EvSpec | HeatPumpSpec | ShiftableLoadSpec | LoadSpec

SPECS: dict[str, type[ResourceSpec]] = {
    "battery": BatterySpec,
    "pv": PvSpec,
    "ev": EvSpec,
    "heat_pump": HeatPumpSpec,
    "shiftable_load": ShiftableLoadSpec,
    "load": LoadSpec,
}
"""Specification of each kind, by the name used in files."""


def kind_of(spec: ResourceSpec) -> str:
    """Kind of a specification, as in :data:`SPECS`."""
    return next(kind for kind, cls in SPECS.items() if isinstance(spec, cls))


def make_resource(name: str, spec: ResourceSpec, start: datetime, rng: np.random.Generator) -> Resource:
    """Model of a resource.

    Args:
        name: Name of the resource.
        spec: Its specification.
        start: Start of the study, aware UTC.
        rng: The resource's own generator (used by EV sessions only).
    """
    match spec:
        case BatterySpec():
            return Battery(name, spec)
        case PvSpec():
            return Pv(name, spec)
        case EvSpec():
            return Ev(name, spec, start, rng)
        case HeatPumpSpec():
            return HeatPump(name, spec)
        case ShiftableLoadSpec():
            return ShiftableLoad(name, spec)
        case LoadSpec():
            return Load(name, spec)


__all__ = [
    "FREE",
    "NEUTRAL",
    "SPECS",
    "Battery",
    "BatterySpec",
    "EnergyBook",
    "Ev",
    "EvSpec",
    "Exogenous",
    "HeatPump",
    "HeatPumpSpec",
    "Limits",
    "Load",
    "LoadSpec",
    "Pv",
    "PvSpec",
    "Resource",
    "ResourceSpec",
    "Setpoint",
    "ShiftableLoad",
    "ShiftableLoadSpec",
    "kind_of",
    "make_resource",
]
