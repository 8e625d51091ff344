"""Flexibility market: calendar, ranking and clearing."""

from heila_mosaik.domain.market.calendar import MarketCalendar, MarketEvent

__all__ = ["MarketCalendar", "MarketEvent"]
