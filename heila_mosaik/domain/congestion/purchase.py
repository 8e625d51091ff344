"""Which offers to buy: redispatch of every congested interval, coupled by storage energy and block offers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from heila_mosaik.domain.congestion.cases import Action, Contingency, RedispatchSettings
from heila_mosaik.domain.congestion.limits import Limits, Violation
from heila_mosaik.domain.congestion.redispatch import Redispatch, optimise
from heila_mosaik.domain.information import Offer, Purchase
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.positions import placed
from heila_mosaik.domain.quantities import FloatArray, Product

_UNUSED_MW = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchaseInterval:
    """A congested interval of the forecast.

    Attributes:
        start: Start of the interval.
        hours: Length. [h]
        p_mw, q_mvar: Expected consumption per bus. [MW], [MVar] (n_bus,)
        limits: Limits, tightened by the uncertainty at the stated risk.
        probability: Chance that the interval is congested: how likely energy is called. [1]
        means: Own means of the DSO that compete with the offers by price.
        positions: Positions its taps and capacitor banks will have.
        contingencies: Outages after which limits must hold too (N-1).
    """

    start: datetime
    hours: float
    p_mw: FloatArray
    q_mvar: FloatArray
    limits: Limits
    probability: float = 1.0
    means: tuple[Action, ...] = ()
    positions: Mapping[str, float] = field(default_factory=dict)
    contingencies: tuple[Contingency, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PurchasePlan:
    """Answer of :func:`plan_purchase`.

    Attributes:
        purchases: Ranges to buy, in the order of the offers.
        expected_cost_eur: Availability and expected energy. [EUR]
        cured: Intervals whose limits all hold with the purchase, judged by AC power flow.
        left: Worst violation left in each of the other intervals.
        rejected: Offers not feasible economically: ``(offer, reason)``.
    """

    purchases: tuple[Purchase, ...]
    expected_cost_eur: float
    cured: int
    left: tuple[tuple[datetime, Violation], ...]
    rejected: tuple[tuple[str, str], ...]


def plan_purchase(
    engine: GridEngine,
    intervals: tuple[PurchaseInterval, ...],
    offers: tuple[Offer, ...],
    buses: dict[str, int],
    *,
    limit_eur_per_mwh: float,
    settings: RedispatchSettings | None = None,
) -> PurchasePlan:
    """Choose the ranges of offers that cure the forecast congestion at least cost.

    The intervals are optimised worst first; what an energy group delivers in one interval is no longer there for the
    next.  Block offers are bought whole if they are used at all.

    Args:
        engine: Compiled grid.
        intervals: Congested intervals.
        offers: Offers on the list.
        buses: Bus position of each location.
        limit_eur_per_mwh: What an alternative costs the DSO; dearer offers are not bought. [EUR/MWh]
        settings: Settings of the redispatch.
    """
    rejected = [
        (offer.id, f"{_price(offer):.2f} EUR/MWh is over the alternative's {limit_eur_per_mwh:.2f}")
        for offer in offers
        if _price(offer) > limit_eur_per_mwh
    ]
    usable = [offer for offer in offers if _price(offer) <= limit_eur_per_mwh and offer.location in buses]
    energy = {offer.group: offer.group_energy_mwh for offer in usable if offer.group and offer.group_energy_mwh}
    ranges: dict[str, FloatArray] = {}
    called: dict[str, float] = {}
    cured = 0
    left: list[tuple[datetime, Violation]] = []
    for interval in intervals:
        present = [offer for offer in usable if offer.start <= interval.start < offer.stop]
        actions = tuple(_action(offer, buses[offer.location], energy, interval.hours, ranges) for offer in present)
        with placed(engine, interval.positions, (case.engine for case in interval.contingencies)):
            answer = optimise(
                engine,
                interval.p_mw,
                interval.q_mvar,
                (*actions, *interval.means),
                interval.limits,
                settings,
                contingencies=interval.contingencies,
            )
        cured += not answer.after
        if answer.after:
            left.append((interval.start, max(answer.after, key=lambda violation: violation.severity)))
        _note(present, answer, interval, ranges, called, energy)
    purchases = tuple(
        _purchase(offer, ranges[offer.id]) for offer in usable if offer.id in ranges and ranges[offer.id].any()
    )
    by_id = {offer.id: offer for offer in usable}
    cost = sum(called.values()) + sum(_availability(by_id[purchase.offer], purchase) for purchase in purchases)
    return PurchasePlan(
        purchases=purchases, expected_cost_eur=cost, cured=cured, left=tuple(left), rejected=tuple(rejected)
    )


def free(means: tuple[Action, ...]) -> tuple[Action, ...]:
    """Own means that only move reactive power: what they cure need not be bought."""
    return tuple(action for action in means if action.p_min_mw == action.p_max_mw == 0.0)


def _price(offer: Offer) -> float:
    """Price of a MWh if the whole range is called throughout. [EUR/MWh]"""
    return offer.price_eur_per_mwh + offer.availability_eur_per_mw_h


def _action(offer: Offer, bus: int, energy: dict[str, float], hours: float, ranges: dict[str, FloatArray]) -> Action:
    """An offer as an action; what is already bought of it costs no availability again."""
    share = 1.0
    if offer.group in energy:
        widest = max(-offer.p_min_mw, offer.p_max_mw) * hours
        share = min(1.0, max(energy[offer.group], 0.0) / widest) if widest > 0 else 1.0
    has = ranges.get(offer.id)
    dearer = offer.price_eur_per_mwh + (0.0 if has is not None and has.any() else offer.availability_eur_per_mw_h)
    return Action(
        name=offer.id,
        bus=bus,
        p_min_mw=offer.p_min_mw * share,
        p_max_mw=offer.p_max_mw * share,
        q_min_mvar=offer.q_min_mvar,
        q_max_mvar=offer.q_max_mvar,
        price_up=dearer,
        price_down=dearer,
        price_q=offer.reactive_eur_per_mvarh,
    )


def _note(
    present: list[Offer],
    answer: Redispatch,
    interval: PurchaseInterval,
    ranges: dict[str, FloatArray],
    called: dict[str, float],
    energy: dict[str, float],
) -> None:
    """Widen the ranges to buy by what this interval uses, and take the energy from the groups."""
    for position, offer in enumerate(present):
        p, q = float(answer.p_mw[position]), float(answer.q_mvar[position])
        p, q = (p if abs(p) > _UNUSED_MW else 0.0), (q if abs(q) > _UNUSED_MW else 0.0)
        if not (p or q):
            continue
        has = ranges.setdefault(offer.id, np.zeros(4))
        ranges[offer.id] = np.array([min(has[0], p), max(has[1], p), min(has[2], q), max(has[3], q)])
        cost = abs(p) * offer.price_eur_per_mwh + abs(q) * offer.reactive_eur_per_mvarh
        called[offer.id] = called.get(offer.id, 0.0) + cost * interval.hours * interval.probability
        if offer.group in energy:
            energy[offer.group] -= abs(p) * interval.hours


def _purchase(offer: Offer, used: FloatArray) -> Purchase:
    """Range to buy: all of a block offer, at least the smallest share of a divisible one."""
    whole = np.array([offer.p_min_mw, offer.p_max_mw, offer.q_min_mvar, offer.q_max_mvar])
    if not offer.divisible:
        bought = whole
    else:
        least = whole * offer.min_share
        bought = np.where(whole < 0, np.minimum(used, least), np.maximum(used, least))
        if offer.product == Product.CRP:  # one direction only
            bought[0 if abs(used[0]) < used[1] else 1] = 0.0
    # market messages carry whole watts; rounding stays inside the offer
    bought = np.clip(np.round(bought, 6), np.minimum(whole, 0.0), np.maximum(whole, 0.0))
    return Purchase(
        offer=offer.id,
        p_min_mw=float(bought[0]),
        p_max_mw=float(bought[1]),
        q_min_mvar=float(bought[2]),
        q_max_mvar=float(bought[3]),
    )


def _availability(offer: Offer, purchase: Purchase) -> float:
    hours = (offer.stop - offer.start).total_seconds() / 3600.0
    return max(-purchase.p_min_mw, purchase.p_max_mw) * offer.availability_eur_per_mw_h * hours


def widened(plan: PurchasePlan, offers: tuple[Offer, ...], factor: float) -> PurchasePlan:
    """The plan with every range ``factor`` times as wide, inside the offers (reserve for what the model misses)."""
    by_id = {offer.id: offer for offer in offers}
    purchases = tuple(
        replace(
            purchase,
            p_min_mw=max(purchase.p_min_mw * factor, by_id[purchase.offer].p_min_mw),
            p_max_mw=min(purchase.p_max_mw * factor, by_id[purchase.offer].p_max_mw),
            q_min_mvar=max(purchase.q_min_mvar * factor, by_id[purchase.offer].q_min_mvar),
            q_max_mvar=min(purchase.q_max_mvar * factor, by_id[purchase.offer].q_max_mvar),
        )
        for purchase in plan.purchases
    )
    return replace(plan, purchases=purchases)
