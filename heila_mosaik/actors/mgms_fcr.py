"""Frequency reserves of a microgrid: what its batteries may promise, what is sold, and who answers for it.

Until the reserve market of a day has cleared, a share of the batteries is kept back from other sales; afterwards what
was sold is.  So nothing is sold twice, whatever the order of the markets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np

from heila_mosaik.actors.mgms_book import Book, Holding
from heila_mosaik.domain.dispatch import Room
from heila_mosaik.domain.flexibility import Envelope
from heila_mosaik.domain.information import (
    FlexibilityForecast,
    PQProfile,
    ReserveNotification,
    VerificationNotification,
)
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.reserves import ENDURANCE_H, RESERVE_PRODUCTS, capacity_of, occupied
from heila_mosaik.domain.resources import BatterySpec, ResourceSpec
from heila_mosaik.domain.timegrid import TimeGrid

Gate = Callable[[datetime], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class FcrSettings:
    """How a microgrid takes part in the reserve market.

    Attributes:
        shares: Share of the batteries offered, by product. [1]
        clears_at: When the reserve market of a delivery time clears.
    """

    shares: Mapping[Product, float]
    clears_at: Gate


def batteries(resources: Mapping[str, ResourceSpec]) -> dict[str, float]:
    """Share of each battery in the power of all. [1]"""
    power = {name: spec.p_max_mw for name, spec in resources.items() if isinstance(spec, BatterySpec)}
    total = sum(power.values())
    return {name: value / total for name, value in power.items()}


def shares_of(reserve: ReserveNotification, resources: Mapping[str, ResourceSpec]) -> list[ReserveNotification]:
    """The reserve divided over the batteries; each part carries the resource in its identity and as its location."""
    return [
        replace(
            reserve,
            id=f"{reserve.id}/{name}",
            location=name,
            p_min_mw=reserve.p_min_mw * share,
            p_max_mw=reserve.p_max_mw * share,
        )
        for name, share in batteries(resources).items()
    ]


def open_intervals(settings: FcrSettings, grid: TimeGrid, now: datetime) -> FloatArray:
    """1 where the reserve market has not cleared yet, else 0. (n,)"""
    return np.array([float(settings.clears_at(grid.at(k)) > now) for k in range(grid.count)])


def _battery_room(
    envelopes: Mapping[str, Envelope], resources: Mapping[str, ResourceSpec], count: int
) -> tuple[FloatArray, FloatArray, float, float]:
    """Range and energy of the batteries, up and down. [MW], [MW] (n,), [MWh], [MWh]"""
    members = [envelopes[name] for name in batteries(resources) if name in envelopes]
    up = np.sum([each.up_mw for each in members], axis=0) if members else np.zeros(count)
    down = np.sum([each.down_mw for each in members], axis=0) if members else np.zeros(count)
    energies = [each.finite_energy() for each in members]
    return up, down, sum(e[0] for e in energies), sum(e[1] for e in energies)


def promises(
    settings: FcrSettings,
    microgrid: str,
    envelopes: Mapping[str, Envelope],
    resources: Mapping[str, ResourceSpec],
    now: datetime,
) -> list[FlexibilityForecast]:
    """Flexibility for the reserve market, without identity: the share of the batteries in intervals still open."""
    if not envelopes:
        return []
    grid = next(iter(envelopes.values())).grid
    up, down, energy_up, energy_down = _battery_room(envelopes, resources, grid.count)
    free = open_intervals(settings, grid, now)
    zero = (0.0,) * grid.count
    found = []
    for product, share in settings.shares.items():
        if share <= 0.0 or not free.any():
            continue
        profile = PQProfile(
            start=grid.start,
            step_s=grid.step_s,
            p_mw=zero,
            q_mvar=zero,
            p_min_mw=tuple((-share * up * free).tolist()),
            p_max_mw=tuple((share * down * free).tolist()),
            q_min_mvar=zero,
            q_max_mvar=zero,
        )
        found.append(
            FlexibilityForecast(
                id="",
                subject=microgrid,
                issued_at=now,
                product=product,
                profile=profile,
                energy_up_mwh=share * energy_up,
                energy_down_mwh=share * energy_down,
            )
        )
    return found


def kept_back(
    settings: FcrSettings,
    total: Envelope,
    envelopes: Mapping[str, Envelope],
    resources: Mapping[str, ResourceSpec],
    now: datetime,
) -> Envelope:
    """Flexibility of the microgrid without what the reserve market may still buy."""
    share = min(1.0, sum(settings.shares.values()))
    free = open_intervals(settings, total.grid, now)
    if share <= 0.0 or not free.any():
        return total
    up, down, energy_up, energy_down = _battery_room(envelopes, resources, total.grid.count)
    return replace(
        total,
        p_min_mw=np.minimum(total.p_mw, total.p_min_mw + share * up * free),
        p_max_mw=np.maximum(total.p_mw, total.p_max_mw - share * down * free),
        energy_up_mwh=max(0.0, total.energy_up_mwh - share * energy_up),
        energy_down_mwh=max(0.0, total.energy_down_mwh - share * energy_down),
    )


def in_force(book: Book, moment: datetime) -> list[ReserveNotification]:
    """Frequency reserves held at a moment."""
    held = (holding.reserve for holding in book.holdings.values())
    return [each for each in held if each.product in RESERVE_PRODUCTS and each.start <= moment < each.stop]


def without_reserves(
    rooms: Sequence[Room], book: Book, resources: Mapping[str, ResourceSpec], at: datetime
) -> list[Room]:
    """Rooms of the resources less what frequency reserves occupy at a moment."""
    held = in_force(book, at)
    if not held:
        return list(rooms)
    ranges = [occupied(each) for each in held]
    up, down = sum(r[0] for r in ranges), sum(r[1] for r in ranges)
    energy_up = sum(capacity_of(each) * ENDURANCE_H[each.product] for each in held)
    energy_down = sum(capacity_of(each) for each in held if each.product is Product.FCR_N)
    shares = batteries(resources)
    return [
        room
        if room.name not in shares
        else replace(
            room,
            up_mw=max(0.0, room.up_mw - shares[room.name] * up),
            down_mw=max(0.0, room.down_mw - shares[room.name] * down),
            energy_up_mwh=max(0.0, room.energy_up_mwh - shares[room.name] * energy_up),
            energy_down_mwh=max(0.0, room.energy_down_mwh - shares[room.name] * energy_down),
        )
        for room in rooms
    ]


def combined(book: Book, holding: Holding, start: datetime) -> VerificationNotification | None:
    """Verification of a reserve from those of its resources, without identity; ``None`` if none came."""
    parts = [
        body
        for body in book.site_verifications
        if body.start == start and body.reserve.startswith(f"{holding.reserve.id}/")
    ]
    if not parts:
        return None
    count = min(len(body.requested_p_mw) for body in parts)

    def total(name: str) -> tuple[float, ...]:
        return tuple(sum(values) for values in zip(*(getattr(body, name)[:count] for body in parts), strict=True))

    zero = (0.0,) * count
    return replace(
        parts[0],
        reserve=holding.reserve.id,
        location=holding.reserve.location,
        baseline_p_mw=total("baseline_p_mw"),
        measured_p_mw=total("measured_p_mw"),
        requested_p_mw=total("requested_p_mw"),
        baseline_q_mvar=zero,
        measured_q_mvar=zero,
        requested_q_mvar=zero,
    )
