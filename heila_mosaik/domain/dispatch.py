"""Spreading a microgrid's set point over its resources.

Cheapest first as long as the energy of the cheap ones covers all that is still owed; otherwise, and among equals, the
resource that can hold out longest goes first.  Longest-duration-first keeps every future call feasible that any policy
could follow (Evans, Tindemans and Angeli 2018, doi 10.1109/TPWRS.2018.2849858) and balances states of charge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.quantities import FloatArray

TINY = 1e-9
LONG_H = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What one resource can do now.

    Attributes:
        name: Resource.
        p_mw: Power without adjustment. [MW]
        up_mw: By how much consumption can be lowered (>= 0). [MW]
        down_mw: By how much consumption can be raised (>= 0). [MW]
        energy_up_mwh: Energy by which it can be lowered; infinite if power alone limits it. [MWh]
        energy_down_mwh: Energy by which it can be raised. [MWh]
        q_mvar: Reactive power without adjustment. [MVar]
        q_room_mvar: Largest reactive adjustment either way. [MVar]
        s_max_mva: Apparent power limit; infinite if none. [MVA]
        cost_eur_per_mwh: Cost of moved energy. [EUR/MWh]
    """

    name: str
    p_mw: float
    up_mw: float
    down_mw: float
    energy_up_mwh: float = math.inf
    energy_down_mwh: float = math.inf
    q_mvar: float = 0.0
    q_room_mvar: float = 0.0
    s_max_mva: float = math.inf
    cost_eur_per_mwh: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Set point of each resource and what they add up to.

    Attributes:
        p_adjust_mw: Adjustment of each resource. [MW] (n,)
        q_adjust_mvar: Reactive adjustment of each resource. [MVar] (n,)
        p_mw: Sum of the adjustments. [MW]
        q_mvar: Sum of the reactive adjustments. [MVar]
    """

    p_adjust_mw: tuple[float, ...]
    q_adjust_mvar: tuple[float, ...]
    p_mw: float
    q_mvar: float


def longest_first(wanted_mw: float, power_mw: FloatArray, energy_mwh: FloatArray, dt_h: float) -> FloatArray:
    """Spread a wanted power so that the remaining durations come as close to each other as possible.

    Args:
        wanted_mw: Power to spread (>= 0). [MW]
        power_mw: Power of each resource (>= 0). [MW] (n,)
        energy_mwh: Remaining energy of each; may be infinite. [MWh] (n,)
        dt_h: How long the power will be held. [h]

    Returns:
        Power of each, at most ``power_mw`` and ``energy_mwh / dt_h``; adds up to ``wanted_mw`` if that is possible.
    """
    cap = np.minimum(power_mw, energy_mwh / dt_h)
    if wanted_mw >= float(cap.sum()):
        return cap
    duration = np.where(power_mw > TINY, np.minimum(energy_mwh, LONG_H) / np.maximum(power_mw, TINY), 0.0)
    duration = np.minimum(duration, LONG_H)
    # Each resource gives clip((duration - level) / dt) of its power: piecewise linear and falling in the level.
    levels = np.unique(np.concatenate([duration, duration - dt_h, [0.0]]))
    given = (np.clip((duration[None, :] - levels[:, None]) / dt_h, 0.0, 1.0) * power_mw).clip(max=cap).sum(axis=1)
    level = float(np.interp(-wanted_mw, -given, levels))
    powers = np.minimum(np.clip((duration - level) / dt_h, 0.0, 1.0) * power_mw, cap)
    total = float(powers.sum())
    if total > wanted_mw:
        return powers * (wanted_mw / total)
    # Energy caps bend the line between break points: hand the rest to those with room.
    room = cap - powers
    return powers + room * min(1.0, (wanted_mw - total) / max(float(room.sum()), TINY))


def _covers(power_mw: FloatArray, energy_mwh: FloatArray, owed_mwh: float) -> bool:
    """Whether a group can deliver ``owed_mwh`` in any way its power allows."""
    used = power_mw > TINY
    if not np.any(used):
        return False
    return float((energy_mwh[used] / power_mw[used]).min()) * float(power_mw[used].sum()) >= owed_mwh


def merit(
    wanted_mw: float, power_mw: FloatArray, energy_mwh: FloatArray, cost: FloatArray, owed_mwh: float, dt_h: float
) -> FloatArray:
    """Spread a power cheapest first where that is safe, else longest duration first. [MW] (n,)

    Args:
        wanted_mw: Power to spread (>= 0). [MW]
        power_mw: Power of each resource. [MW] (n,)
        energy_mwh: Remaining energy of each. [MWh] (n,)
        cost: Cost of moved energy of each. [EUR/MWh] (n,)
        owed_mwh: Energy that may still be called in this direction, this call included. [MWh]
        dt_h: How long the power will be held. [h]
    """
    for price in np.unique(cost).tolist():
        group = cost <= price
        if not _covers(np.where(group, power_mw, 0.0), energy_mwh, owed_mwh):
            continue
        first = longest_first(wanted_mw, np.where(group, power_mw, 0.0), energy_mwh, dt_h)
        rest = max(0.0, wanted_mw - float(first.sum()))
        return first + longest_first(rest, np.where(group, 0.0, power_mw), energy_mwh, dt_h)
    return longest_first(wanted_mw, power_mw, energy_mwh, dt_h)


def spread(
    p_adjust_mw: float, q_adjust_mvar: float, rooms: Sequence[Room], owed_mwh: float = math.inf, dt_h: float = 1.0 / 60
) -> Spread:
    """Spread an adjustment at the point of common coupling over resources.

    Args:
        p_adjust_mw: Wanted change of active power; negative lowers consumption. [MW]
        q_adjust_mvar: Wanted change of reactive power. [MVar]
        rooms: What each resource can do. (n,)
        owed_mwh: Energy that may still be called in the direction of the call. [MWh]
        dt_h: How long the set points will be held before the next spreading. [h]

    Returns:
        Adjustments within every limit; their sum falls short of the wish only if the resources cannot do more.
    """
    up = p_adjust_mw < 0
    power = np.array([max(0.0, room.up_mw if up else room.down_mw) for room in rooms], dtype=np.float64)
    energy = np.array([max(0.0, room.energy_up_mwh if up else room.energy_down_mwh) for room in rooms])
    cost = np.array([room.cost_eur_per_mwh for room in rooms], dtype=np.float64)
    moved = merit(abs(p_adjust_mw), power, energy, cost, owed_mwh, dt_h) * (-1.0 if up else 1.0)
    q_room = np.array(
        [
            min(room.q_room_mvar, math.sqrt(max(0.0, room.s_max_mva**2 - (room.p_mw + p) ** 2)))
            for room, p in zip(rooms, moved.tolist(), strict=True)
        ],
        dtype=np.float64,
    )
    q_total = float(q_room.sum())
    q_share = math.copysign(min(1.0, abs(q_adjust_mvar) / q_total), q_adjust_mvar) if q_total > TINY else 0.0
    q_moved = q_room * q_share
    return Spread(
        p_adjust_mw=tuple(moved.tolist()),
        q_adjust_mvar=tuple(q_moved.tolist()),
        p_mw=float(moved.sum()),
        q_mvar=float(q_moved.sum()),
    )
