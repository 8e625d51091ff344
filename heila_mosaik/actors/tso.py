"""Transmission system operator: buys frequency containment reserves day ahead and activates them by frequency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    Bid,
    FlexibilityRequest,
    Measurements,
    Message,
    Offer,
    OfferList,
    Purchase,
    ReserveNotification,
    Session,
    SettlementStatement,
    VerificationNotification,
)
from heila_mosaik.domain.market import MarketCalendar, MarketEvent
from heila_mosaik.domain.quantities import Product, Quantity
from heila_mosaik.domain.reserves import (
    MIN_BID_MW,
    ReserveOffer,
    capacity_of,
    clear_reserve,
    droop_fcr_d,
    droop_fcr_n,
)
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.domain.verification import total_eur

REQUEST_S = 4 * 3600
"""Part of the day that one request asks for. [s]"""


class Tso:
    """Transmission system operator.

    Args:
        name: Address.
        calendar: Market calendar.
        demand_mw: Capacity wanted in every hour by product. [MW]
        limit_eur_per_mw_h: Highest availability price. [EUR/(MW·h)]
        min_bid_mw: Smallest single offer taken. [MW]
        smallest_mw: Smallest capacity of a seller in an hour by product, its offers summed; the market terms ask 0.1
            (FCR-N) and 1 (FCR-D), aggregation included. [MW]
        activate: Whether to call reserves from measured frequency (centralised control); otherwise the sites do it.
        step_mw: Smallest change of a set point worth a new call. [MW]
        market: Address of the market platform.
    """

    def __init__(
        self,
        name: str = "tso",
        *,
        calendar: MarketCalendar,
        demand_mw: dict[Product, float],
        limit_eur_per_mw_h: float = 100.0,
        min_bid_mw: float = 0.0,
        smallest_mw: Mapping[Product, float] | None = None,
        activate: bool = False,
        step_mw: float = 0.001,
        market: str = "fmp",
    ) -> None:
        self.name = name
        self.calendar = calendar
        self.demand_mw = dict(demand_mw)
        self.limit_eur_per_mw_h, self.min_bid_mw = limit_eur_per_mw_h, min_bid_mw
        self.smallest_mw = dict(MIN_BID_MW if smallest_mw is None else smallest_mw)
        self.activate, self.step_mw, self.market = activate, step_mw, market
        self.paid_eur = 0.0
        self._out = Outbox(name)
        self._inbox = Inbox(self._out)
        self._reserves: dict[str, ReserveNotification] = {}
        self._called_mw: dict[str, float] = {}
        self._last: datetime | None = None

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None = None) -> Outcome:
        """Ask for offers when due, bid, keep reserves, and follow the frequency."""
        self._out.begin(now)
        self._reserves = {key: each for key, each in self._reserves.items() if each.stop > now}
        self._called_mw = {key: power for key, power in self._called_mw.items() if key in self._reserves}
        for message in self._inbox.fresh(now, inbox):
            self._take(now, message)
        for moment, session in self.calendar.due(self._last, now, MarketEvent.REQUEST):
            if session is Session.DAY_AHEAD:
                self._request(self.calendar.delivery_window(session, moment), session)
        frequency = None if measurements is None else _frequency(measurements)
        if self.activate and frequency is not None:
            self._follow(now, frequency)
        self._last = now
        return self._out.outcome(wake_at=self.calendar.next_event(now, MarketEvent.REQUEST, Session.DAY_AHEAD))

    def _request(self, window: TimeGrid, session: Session) -> None:
        """Ask for the offers of a day in parts: hours do not depend on each other, and a list has a limit."""
        whole = max(1, REQUEST_S // window.step_s)
        for first in range(0, window.count, whole):
            self._out.send(
                self.market,
                FlexibilityRequest(
                    id=self._out.identity("request"),
                    buyer=self.name,
                    session=session,
                    start=window.at(first),
                    stop=window.at(min(first + whole, window.count)),
                    needs=(),
                ),
            )

    def _take(self, now: datetime, message: Message) -> None:
        body = message.body
        if isinstance(body, OfferList):
            self._bid(now, body)
        elif isinstance(body, ReserveNotification):
            self._reserves[body.id] = body
        elif isinstance(body, SettlementStatement):
            self.paid_eur += total_eur(body)
        elif isinstance(body, ActivationRefusal):
            self._out.record("reserve_refused", body.reason, reserve=body.reserve)
        elif not isinstance(body, VerificationNotification):
            self._out.record("message_ignored", f"{type(body).__name__} from {message.sender} is not for a TSO")

    def _bid(self, now: datetime, offers: OfferList) -> None:
        """Buy each hour's demand of each product in price order."""
        hours: dict[tuple[str, datetime], list[Offer]] = {}
        for offer in offers.offers:
            hours.setdefault((str(offer.product), offer.start), []).append(offer)
        purchases: list[Purchase] = []
        for (product, start), hourly in sorted(hours.items()):
            purchases += self._buy(Product(product), start, hourly)
        if purchases:
            self._out.send(
                self.market,
                Bid(
                    id=self._out.identity("bid"),
                    buyer=self.name,
                    request=offers.request,
                    session=offers.session,
                    submitted_at=now,
                    purchases=tuple(purchases),
                    limit_eur_per_mwh=self.limit_eur_per_mw_h,
                ),
            )

    def _buy(self, product: Product, start: datetime, hourly: Sequence[Offer]) -> list[Purchase]:
        """Buy one hour of one product in price order; sellers below the smallest bid of the terms do not count."""
        offered: dict[str, float] = {}
        for offer in hourly:
            offered[offer.seller] = offered.get(offer.seller, 0.0) + capacity_of(offer)
        book = {offer.id: offer for offer in hourly if offered[offer.seller] >= self.smallest_mw.get(product, 0.0)}
        result = clear_reserve(
            [_reserve_offer(offer) for offer in book.values()],
            self.demand_mw.get(product, 0.0),
            self.min_bid_mw,
            self.limit_eur_per_mw_h,
        )
        if result.missing_mw > 1e-9 and product in self.demand_mw:
            self._out.record(
                "reserve_missing",
                f"{product} {start.isoformat()}: {result.missing_mw:.3f} MW not offered",
                product=str(product),
                missing_mw=result.missing_mw,
            )
        purchases = []
        for identity, capacity in result.accepted_mw:
            offer = book[identity]
            share = capacity / capacity_of(offer)
            purchases.append(Purchase(offer=identity, p_min_mw=share * offer.p_min_mw, p_max_mw=share * offer.p_max_mw))
        return purchases

    def _follow(self, now: datetime, frequency_hz: float) -> None:
        """Call running reserves by droop; a call holds until replaced, at most to the end of the reserve."""
        reading = np.array([frequency_hz])
        for key in sorted(self._reserves):
            reserve = self._reserves[key]
            if not reserve.start <= now < reserve.stop - timedelta(seconds=1):
                continue
            if reserve.product is Product.FCR_N:
                wanted = float(droop_fcr_n(reading, min(-reserve.p_min_mw, reserve.p_max_mw))[0])
            else:
                wanted = float(droop_fcr_d(reading, -reserve.p_min_mw, reserve.p_max_mw)[0])
            if abs(wanted - self._called_mw.get(key, 0.0)) < self.step_mw:
                continue
            self._called_mw[key] = wanted
            self._out.send(
                reserve.seller,
                ActivationNotification(
                    id=self._out.identity("activation"),
                    reserve=key,
                    location=reserve.location,
                    start=now,
                    stop=reserve.stop,
                    p_mw=wanted,
                    q_mvar=0.0,
                ),
            )


def _reserve_offer(offer: Offer) -> ReserveOffer:
    return ReserveOffer(
        id=offer.id,
        submitted_at=offer.submitted_at,
        capacity_mw=capacity_of(offer),
        price_eur_per_mw_h=offer.availability_eur_per_mw_h,
    )


def _frequency(measurements: Measurements) -> float | None:
    for element, quantity in zip(measurements.elements, measurements.quantities, strict=True):
        if quantity is Quantity.FREQUENCY:
            return measurements.value(element, quantity)
    return None
