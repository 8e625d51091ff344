"""Which offers and bids the market admits, and why it refuses others."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from heila_mosaik.domain.information import Bid, Offer
from heila_mosaik.domain.market.calendar import MarketCalendar


class Reason(StrEnum):
    """Why something was refused."""

    AFTER_GATE = "after_gate"
    NO_SESSION = "no_session"
    BAD_OFFER = "bad_offer"
    DELIVERY_LENGTH = "delivery_length"
    UNKNOWN_OFFER = "unknown_offer"
    WRONG_SESSION = "wrong_session"
    PRICE_ABOVE_LIMIT = "price_above_limit"
    BLOCK_NOT_WHOLE = "block_not_whole"
    BELOW_MIN_SHARE = "below_min_share"
    BEYOND_RANGE = "beyond_range"
    EMPTY = "empty"
    GROUP_ENERGY = "group_energy"
    SOLD_TO_ANOTHER = "sold_to_another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An offer, bid or purchase that was not taken.

    Attributes:
        subject: Identity of the offer or bid.
        offer: Identity of the offer concerned.
        reason: Kind of reason.
        detail: Sentence with the figures.
    """

    subject: str
    offer: str
    reason: Reason
    detail: str


def check_offer(offer: Offer, calendar: MarketCalendar, arrived_at: datetime) -> Refusal | None:
    """Refusal of an offer that came after its gate or contradicts itself; ``None`` admits it."""

    def refuse(reason: Reason, detail: str) -> Refusal:
        return Refusal(subject=offer.id, offer=offer.id, reason=reason, detail=detail)

    if offer.session not in calendar.sessions:
        return refuse(Reason.NO_SESSION, f"no {offer.session} sessions are held")
    gate = calendar.gate(offer.session, offer.start)
    if arrived_at > gate:
        return refuse(
            Reason.AFTER_GATE,
            f"arrived {arrived_at.isoformat()}, gate of delivery {offer.start.isoformat()} was {gate.isoformat()}",
        )
    problem = _contradiction(offer, calendar)
    return None if problem is None else refuse(*problem)


def check_bid(bid: Bid, calendar: MarketCalendar, arrived_at: datetime, first_delivery: datetime) -> Refusal | None:
    """Refusal of a bid that came after the bid gate of its first delivery; ``None`` admits it."""
    if bid.session not in calendar.sessions:
        return Refusal(subject=bid.id, offer="", reason=Reason.NO_SESSION, detail=f"no {bid.session} sessions are held")
    gate = calendar.bid_gate(bid.session, first_delivery)
    if arrived_at > gate:
        detail = f"arrived {arrived_at.isoformat()}, bids for {first_delivery.isoformat()} closed {gate.isoformat()}"
        return Refusal(subject=bid.id, offer="", reason=Reason.AFTER_GATE, detail=detail)
    return None


def _contradiction(offer: Offer, calendar: MarketCalendar) -> tuple[Reason, str] | None:
    """What is wrong with the offer itself."""
    ranges = (offer.p_min_mw, offer.p_max_mw, offer.q_min_mvar, offer.q_max_mvar)
    prices = (offer.price_eur_per_mwh, offer.availability_eur_per_mw_h, offer.reactive_eur_per_mvarh)
    if not all(map(math.isfinite, (*ranges, *prices))):
        return Reason.BAD_OFFER, "a range or price is not a finite number"
    if ranges[0] > 0.0 or ranges[1] < 0.0 or ranges[2] > 0.0 or ranges[3] < 0.0 or not any(ranges):
        return Reason.BAD_OFFER, f"range P [{ranges[0]}, {ranges[1]}] MW does not contain 0 or is empty"
    if not 0.0 <= offer.min_share <= 1.0:
        return Reason.BAD_OFFER, f"min_share {offer.min_share} is not between 0 and 1"
    length_s = (offer.stop - offer.start).total_seconds()
    whole = length_s % calendar.delivery_s == 0.0
    if not whole or (offer.divisible and length_s != calendar.delivery_s):
        return Reason.DELIVERY_LENGTH, f"delivery lasts {length_s:.0f} s, the product {calendar.delivery_s} s"
    return None
