"""Merit order of offers: relief at the buyer's needs per euro."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from heila_mosaik.domain.information import FlexibilityRequest, Need, Offer
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS

MIN_COST_EUR = 0.01
"""Cost below which offers count as equally cheap: one cent, so that free flexibility ranks by relief. [EUR]"""


def rank(offers: Sequence[Offer], request: FlexibilityRequest) -> tuple[tuple[Offer, ...], tuple[float, ...]]:
    """Order offers for a request, best first.

    The relief of one need is the share of its excess that the full offer removes (so that per-unit voltage and
    percent loading add up), at most 1, negative where the offer makes it worse; it is weighted by probability and by
    the part of the need's time that the delivery covers.  Each offer is judged at the corner of its range (lowering
    or raising P, lowering or raising Q) with most net relief per euro; a block only as it would be used, likewise.
    Offers without net relief are left out.

    A request without needs asks for frequency reserves: offers of FCR products in order of availability price.

    Returns:
        Ordered offers and their relief per euro. [1/EUR] (n,), (n,)
    """
    matching = [
        offer
        for offer in offers
        if offer.session == request.session and offer.start < request.stop and offer.stop > request.start
    ]
    if not request.needs:
        reserves = [offer for offer in matching if offer.product in RESERVE_PRODUCTS]
        chosen = [(1.0 / max(offer.availability_eur_per_mw_h, MIN_COST_EUR), offer) for offer in reserves]
    else:
        scored = [
            (relief_per_eur(offer, request.needs), offer) for offer in matching if offer.product not in RESERVE_PRODUCTS
        ]
        chosen = [(score, offer) for score, offer in scored if score > 0.0]
    chosen.sort(key=lambda pair: (-pair[0], *priority(pair[1])))
    return tuple(offer for _, offer in chosen), tuple(score for score, _ in chosen)


def priority(offer: Offer) -> tuple[float, datetime, str]:
    """Deterministic order of offers: price, submission time, identity."""
    return (offer.price_eur_per_mwh, offer.submitted_at, offer.id)


def relief_per_eur(offer: Offer, needs: Sequence[Need]) -> float:
    """Net relief of all needs per euro at the best corner of the offer's range. [1/EUR]"""
    effects = [_effects(offer, need) for need in needs]
    effects = [each for each in effects if each[2] > 0.0]
    best = 0.0
    for p_mw in _corners(offer.p_min_mw, offer.p_max_mw):
        for q_mvar in _corners(offer.q_min_mvar, offer.q_max_mvar):
            relief = sum(weight * min(1.0, by_p * p_mw + by_q * q_mvar) for by_p, by_q, weight in effects)
            if relief > 0.0:
                best = max(best, relief / max(cost_eur(offer, p_mw, q_mvar), MIN_COST_EUR))
    return best


def cost_eur(offer: Offer, p_mw: float, q_mvar: float) -> float:
    """Cost of holding and fully using an adjustment over the whole delivery period. [EUR]"""
    hours = (offer.stop - offer.start).total_seconds() / 3600.0
    active = abs(p_mw) * (offer.price_eur_per_mwh + offer.availability_eur_per_mw_h)
    return hours * (active + abs(q_mvar) * offer.reactive_eur_per_mvarh)


def _corners(low: float, high: float) -> tuple[float, ...]:
    return (low, 0.0, high) if low < 0.0 < high else (0.0, low or high) if low or high else (0.0,)


def _effects(offer: Offer, need: Need) -> tuple[float, float, float]:
    """Share of the need's excess removed per MW and per MVar, and the weight of the need for this offer."""
    overlap_s = (min(offer.stop, need.stop) - max(offer.start, need.start)).total_seconds()
    if overlap_s <= 0.0 or need.excess <= 0.0 or offer.location not in need.locations:
        return 0.0, 0.0, 0.0
    position = need.locations.index(offer.location)
    weight = need.probability * overlap_s / (need.stop - need.start).total_seconds()
    return need.effect_p[position] / need.excess, need.effect_q[position] / need.excess, weight
