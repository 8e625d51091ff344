"""Flexibility market: calendar, admission, ranking and clearing."""

from heila_mosaik.domain.market.admission import Reason, Refusal, check_bid, check_offer
from heila_mosaik.domain.market.awards import Award, ClearingRule, Pricing
from heila_mosaik.domain.market.calendar import MarketCalendar, MarketEvent
from heila_mosaik.domain.market.clearing import (
    Clearing,
    ClearingMethod,
    clear,
    remaining,
    require_sound,
    sales_by_offer,
)
from heila_mosaik.domain.market.ranking import cost_eur, rank

__all__ = [
    "Award",
    "Clearing",
    "ClearingMethod",
    "ClearingRule",
    "MarketCalendar",
    "MarketEvent",
    "Pricing",
    "Reason",
    "Refusal",
    "check_bid",
    "check_offer",
    "clear",
    "cost_eur",
    "rank",
    "remaining",
    "require_sound",
    "sales_by_offer",
]
