"""Rules, prices and terms of what a clearing awards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import numpy as np

from heila_mosaik.domain.information import Bid, Offer, ReserveNotification
from heila_mosaik.domain.market.ranking import priority
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS

TINY = 1e-9
"""Powers and energies below this are none. [MW, MWh]"""


class Pricing(StrEnum):
    """What is paid for activated energy."""

    PAY_AS_BID = "pay_as_bid"
    PAY_AS_CLEAR = "pay_as_clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearingRule:
    """Rules of clearing.

    Attributes:
        pricing: Pay-as-bid, or pay-as-clear: all a bid takes of one product and period gets the highest offer price
            among it.  (Purchases name their offers because location matters, so one price for all buyers would not
            be any buyer's margin; per bid the price never passes the bid's limit.)  Frequency reserves are always
            paid the marginal availability price of the hour.
        firm_energy: Whether conditional products, too, may only be sold up to the energy of their group.  Otherwise
            only scheduled energy (SRP) is, and reserves carry the group's energy as a limit of what may be called.
    """

    pricing: Pricing = Pricing.PAY_AS_BID
    firm_energy: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Award:
    """Part of an offer that a buyer gets; :meth:`reserve` makes the notification.

    Attributes:
        bid: Identity of the bid.
        buyer: Who buys.
        offer: The offer.
        ranges: p_min, p_max, q_min, q_max that may be called. [MW, MW, MVar, MVar]
        price_eur_per_mwh: Cleared price of activated energy. [EUR/MWh]
        availability_eur_per_mw_h: Cleared price of availability. [EUR/(MW·h)]
        group_energy_mwh: Energy this buyer's reserves of the group can call together. [MWh]
    """

    bid: str
    buyer: str
    offer: Offer
    ranges: tuple[float, float, float, float]
    price_eur_per_mwh: float
    availability_eur_per_mw_h: float
    group_energy_mwh: float | None

    def reserve(self, identity: str) -> ReserveNotification:
        """Reserve notification with a given identity."""
        offer = self.offer
        return ReserveNotification(
            id=identity,
            offer=offer.id,
            buyer=self.buyer,
            seller=offer.seller,
            location=offer.location,
            product=offer.product,
            start=offer.start,
            stop=offer.stop,
            p_min_mw=self.ranges[0],
            p_max_mw=self.ranges[1],
            q_min_mvar=self.ranges[2],
            q_max_mvar=self.ranges[3],
            price_eur_per_mwh=self.price_eur_per_mwh,
            availability_eur_per_mw_h=self.availability_eur_per_mw_h,
            reactive_eur_per_mvarh=offer.reactive_eur_per_mvarh,
            group=offer.group,
            group_energy_mwh=self.group_energy_mwh,
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A purchase that may be served: who asks which ranges of what is left of an offer."""

    bid: Bid
    offer: Offer
    asked: tuple[float, float, float, float]
    submitted_at: datetime

    @property
    def hours(self) -> float:
        """Length of delivery. [h]"""
        return hours_of(self.offer)

    @property
    def energy_mwh(self) -> float:
        """Energy if called in full over the whole delivery. [MWh]"""
        return max(-self.asked[0], self.asked[1]) * self.hours

    @property
    def key(self) -> tuple[float, datetime, str, float, datetime, str]:
        """Deterministic order of merit."""
        return (*priority(self.offer), -self.bid.limit_eur_per_mwh, self.submitted_at, self.bid.id)


def hours_of(item: Offer | ReserveNotification) -> float:
    """Length of delivery. [h]"""
    return (item.stop - item.start).total_seconds() / 3600.0


def priced(
    accepted: Sequence[tuple[Candidate, float]], energy_left: Mapping[str, float], rule: ClearingRule
) -> tuple[Award, ...]:
    """Awards of accepted purchases with their prices and the energy each buyer may call."""
    margin: dict[tuple[str, str, datetime, datetime], float] = {}
    fcr: dict[tuple[str, datetime, datetime], float] = {}
    reserved: dict[tuple[str, str], float] = {}
    scheduled: dict[str, float] = {}
    for each, share in accepted:
        offer = each.offer
        pool = (each.bid.id, str(offer.product), offer.start, offer.stop)
        if max(-each.asked[0], each.asked[1]) > TINY:
            margin[pool] = max(margin.get(pool, -np.inf), offer.price_eur_per_mwh)
        fcr[pool[1:]] = max(fcr.get(pool[1:], -np.inf), offer.availability_eur_per_mw_h)
        if offer.product is Product.SRP:
            scheduled[offer.group] = scheduled.get(offer.group, 0.0) + share * each.energy_mwh
        else:
            key = (offer.group, each.bid.buyer)
            reserved[key] = reserved.get(key, 0.0) + share * each.energy_mwh
    awards: list[Award] = []
    for each, share in accepted:
        offer = each.offer
        pool = (each.bid.id, str(offer.product), offer.start, offer.stop)
        uniform = rule.pricing is Pricing.PAY_AS_CLEAR
        is_fcr = offer.product in RESERVE_PRODUCTS
        asked = each.asked
        awards.append(
            Award(
                bid=each.bid.id,
                buyer=each.bid.buyer,
                offer=offer,
                ranges=(share * asked[0], share * asked[1], share * asked[2], share * asked[3]),
                price_eur_per_mwh=margin.get(pool, offer.price_eur_per_mwh) if uniform else offer.price_eur_per_mwh,
                availability_eur_per_mw_h=fcr[pool[1:]] if is_fcr else offer.availability_eur_per_mw_h,
                group_energy_mwh=_granted(each, share, energy_left, reserved, scheduled),
            )
        )
    return tuple(awards)


def _granted(
    candidate: Candidate,
    share: float,
    energy_left: Mapping[str, float],
    reserved: Mapping[tuple[str, str], float],
    scheduled: Mapping[str, float],
) -> float | None:
    """Energy a buyer may call from a group: competing buyers divide it in proportion to what they reserved."""
    group = candidate.offer.group
    if group not in energy_left:
        return candidate.offer.group_energy_mwh
    if candidate.offer.product is Product.SRP:
        return share * candidate.energy_mwh
    left = max(0.0, energy_left[group] - scheduled.get(group, 0.0))
    mine = reserved[group, candidate.bid.buyer]
    total = sum(energy for (name, _), energy in reserved.items() if name == group)
    return min(mine, left * mine / total) if total > 0.0 else 0.0
