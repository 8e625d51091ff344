"""From plans and measurements to what each resource can do now."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from heila_mosaik.domain.dispatch import Room
from heila_mosaik.domain.flexibility import Envelope
from heila_mosaik.domain.information import ControlSignal, FlexibilityForecast
from heila_mosaik.domain.quantities import FloatArray, Quantity
from heila_mosaik.domain.resources import (
    BatterySpec,
    EvSpec,
    HeatPumpSpec,
    LoadSpec,
    PvSpec,
    ResourceSpec,
    ShiftableLoadSpec,
)
from heila_mosaik.domain.resources.heat_pump import cop_at
from heila_mosaik.domain.timegrid import TimeGrid

SIGNAL_BAND = 2e-4
"""Set points that differ by less are the same. [MW, MVar]"""


def rooms_at(
    moment: datetime,
    envelopes: Mapping[str, Envelope],
    resources: Mapping[str, ResourceSpec],
    latest: Mapping[str, Mapping[Quantity, float]],
) -> list[Room]:
    """What each resource can do at a moment its plan covers.

    Args:
        moment: Time.
        envelopes: Plan and range of each resource.
        resources: Specification of each.
        latest: Latest measurements of each.
    """
    return [
        room_of(name, resources[name], latest.get(name, {}), envelope, envelope.grid.position(moment))
        for name, envelope in envelopes.items()
        if moment in envelope.grid
    ]


def room_of(name: str, spec: ResourceSpec, row: Mapping[Quantity, float], envelope: Envelope, position: int) -> Room:
    """What one resource can do in interval ``position`` of its envelope.

    Args:
        name: Resource.
        spec: Its specification.
        row: Its latest measurements.
        envelope: Its plan and range.
        position: Interval of the envelope.
    """
    base, q_room = float(envelope.p_mw[position]), float(envelope.q_max_mvar[position] - envelope.q_mvar[position])
    up, down = float(envelope.up_mw[position]), float(envelope.down_mw[position])
    energy_up, energy_down, s_max = envelope.energy_up_mwh, envelope.energy_down_mwh, math.inf
    soc = row.get(Quantity.STATE_OF_CHARGE)
    if isinstance(spec, BatterySpec):
        s_max, q_room = spec.s_max_mva, spec.s_max_mva
        if soc is not None:
            content = spec.energy_mwh / 100.0
            energy_up = max(0.0, soc - spec.soc_min_percent) * content * spec.efficiency_discharge
            energy_down = max(0.0, spec.soc_max_percent - soc) * content * spec.efficiency_discharge
    elif isinstance(spec, HeatPumpSpec) and soc is not None:
        content = spec.storage_mwh_thermal / 100.0 / float(cop_at(row.get(Quantity.TEMPERATURE, 7.0), spec.cop))
        energy_up, energy_down = soc * content, (100.0 - soc) * content
    elif isinstance(spec, PvSpec | EvSpec) and Quantity.POWER_MIN in row and Quantity.POWER_MAX in row:
        # They follow no plan: what they would do by themselves is the end of their measured range.
        low, high = row[Quantity.POWER_MIN], row[Quantity.POWER_MAX]
        base = low if isinstance(spec, PvSpec) else high
        up, down, energy_up, energy_down = base - low, high - base, math.inf, math.inf
        if isinstance(spec, PvSpec):
            s_max, q_room = spec.s_max_mva, spec.q_capability(-low, -low)
    return Room(
        name=name,
        p_mw=base,
        up_mw=max(0.0, up),
        down_mw=max(0.0, down),
        energy_up_mwh=energy_up,
        energy_down_mwh=energy_down,
        q_mvar=0.0,
        q_room_mvar=max(0.0, q_room),
        s_max_mva=s_max,
        cost_eur_per_mwh=envelope.cost_eur_per_mwh,
    )


def with_declared(
    asked_mw: float,
    sold_mw: float,
    declared_mw: float | None,
    rooms: Sequence[Room],
    rows: Mapping[str, Mapping[Quantity, float]],
    specs: Mapping[str, ResourceSpec],
) -> float:
    """Adjustment to spread so that at least the call is delivered, against what is and against what was declared.

    Loads and sun never follow the forecast.  Where they leave the microgrid short of the declared plan in the direction
    of the call, the others make up for it, within what was sold; the other way round nothing is taken from the call.

    Args:
        asked_mw: Adjustment asked for. [MW]
        sold_mw: Largest adjustment sold in that direction, signed. [MW]
        declared_mw: Declared plan of the microgrid; ``None`` if there is none. [MW]
        rooms: What each resource can do.
        rows: Latest measurements by resource.
        specs: Specifications by resource.
    """
    if declared_mw is None or asked_mw == 0.0:
        return asked_mw
    natural = math.fsum(
        rows.get(room.name, {}).get(Quantity.ACTIVE_POWER, room.p_mw)
        if isinstance(specs[room.name], LoadSpec | ShiftableLoadSpec)
        else room.p_mw
        for room in rooms
    )
    missing = declared_mw - natural
    if asked_mw > 0.0:
        return max(asked_mw, min(asked_mw + missing, sold_mw))
    return min(asked_mw, max(asked_mw + missing, sold_mw))


def part_of(short: float, own: float) -> float:
    """The part of a shortfall that falls on one call, at most all it asks for. [MW]"""
    return max(min(0.0, own), min(short, max(0.0, own)))


def envelope_from(body: FlexibilityForecast, grid: TimeGrid) -> Envelope:
    """Envelope from a controller's own forecast, moved to ``grid`` (its last value held past its end)."""
    profile = body.profile
    position = np.clip(profile.grid.position(grid.start) + np.arange(grid.count), 0, len(profile.p_mw) - 1)

    def held(values: Sequence[float]) -> FloatArray:
        return np.asarray(values, dtype=np.float64)[position]

    return Envelope(
        name=body.subject,
        grid=grid,
        p_mw=held(profile.p_mw),
        q_mvar=held(profile.q_mvar),
        p_min_mw=held(profile.p_min_mw),
        p_max_mw=held(profile.p_max_mw),
        q_min_mvar=held(profile.q_min_mvar),
        q_max_mvar=held(profile.q_max_mvar),
        energy_up_mwh=body.energy_up_mwh,
        energy_down_mwh=body.energy_down_mwh,
    )


def repeats(last: ControlSignal | None, signal: ControlSignal) -> bool:
    """Whether the controller already has this set point until the same moment."""
    if last is None or last.stop != signal.stop or last.stop <= signal.start:
        return False
    if (last.p_mw is None) != (signal.p_mw is None):
        return False
    near_p = abs((last.p_mw or 0.0) - (signal.p_mw or 0.0)) <= SIGNAL_BAND
    return near_p and abs((last.q_mvar or 0.0) - (signal.q_mvar or 0.0)) <= SIGNAL_BAND
