"""A retailer that is responsible for its balance and buys flexibility where it has sold more than it holds."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.domain.information import (
    ActivationNotification,
    Bid,
    CongestionKind,
    FlexibilityRequest,
    Measurements,
    Message,
    Need,
    OfferList,
    Purchase,
    ReserveNotification,
    Session,
    SettlementStatement,
)
from heila_mosaik.domain.market import MarketEvent
from heila_mosaik.domain.verification import total_eur
from heila_mosaik.study.extensions import Place


class Retailer:
    """Asks the market in every session for what it still misses, bids, and calls what it was sold.

    Args:
        place: Where it stands in the study.  Settings: ``short``, a list of ``start``, ``stop`` and ``mw``, the power
            it misses; ``limit_eur_per_mwh``.
    """

    def __init__(self, place: Place) -> None:
        self.name = place.name
        self.paid_eur = 0.0
        self._calendar = place.calendar
        self._microgrids = place.microgrids
        self._short = [_hours(entry) for entry in place.settings["short"]]
        self._limit = float(place.settings.get("limit_eur_per_mwh", 250.0))
        self._bought: dict[datetime, float] = {}
        self._out = Outbox(self.name)
        self._inbox = Inbox(self._out)  # drops doubles and what has been overtaken
        self._last: datetime | None = None

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None = None) -> Outcome:
        """Take the mail, then ask the market if a session is due."""
        self._out.begin(now)
        for message in self._inbox.fresh(now, inbox):
            match message.body:
                case OfferList() as offers:
                    self._bid(now, offers)
                case ReserveNotification() as reserve:
                    self._call(reserve)
                case SettlementStatement() as statement:
                    self.paid_eur += total_eur(statement)
        for _, session in self._calendar.due(self._last, now, MarketEvent.REQUEST):
            self._ask(now, session)
        self._last = now
        return self._out.outcome(wake_at=self._calendar.next_event(now, MarketEvent.REQUEST))

    def _missing(self, start: datetime) -> float:
        """Power still missing in the delivery period that begins at ``start``. [MW]"""
        short = sum(mw for first, last, mw in self._short if first <= start < last)
        return max(0.0, short - self._bought.get(start, 0.0))

    def _ask(self, now: datetime, session: Session) -> None:
        window = self._calendar.delivery_window(session, now)
        needs = []
        for k in range(window.count):
            missing = self._missing(window.at(k))
            if missing > 0.0:
                needs.append(
                    Need(
                        element="portfolio",
                        kind=CongestionKind.PEAK,
                        start=window.at(k),
                        stop=window.at(k + 1),
                        excess=missing,
                        locations=self._microgrids,
                        effect_p=(-1.0,) * len(self._microgrids),  # raising consumption makes it worse, wherever
                        effect_q=(0.0,) * len(self._microgrids),
                    )
                )
        if needs:
            request = FlexibilityRequest(
                id=self._out.identity("request"),
                buyer=self.name,
                session=session,
                start=window.start,
                stop=window.stop,
                needs=tuple(needs),
            )
            self._out.send("fmp", request)

    def _bid(self, now: datetime, offers: OfferList) -> None:
        purchases, taken = [], dict[datetime, float]()
        for offer in offers.offers:  # best first
            wanted = self._missing(offer.start) - taken.get(offer.start, 0.0)
            size = min(wanted, -offer.p_min_mw)
            if size > 1e-3 and offer.divisible and offer.price_eur_per_mwh <= self._limit:
                purchases.append(Purchase(offer=offer.id, p_min_mw=-size, p_max_mw=0.0))
                taken[offer.start] = taken.get(offer.start, 0.0) + size
        if purchases:
            bid = Bid(
                id=self._out.identity("bid"),
                buyer=self.name,
                request=offers.request,
                session=offers.session,
                submitted_at=now,
                purchases=tuple(purchases),
                limit_eur_per_mwh=self._limit,
            )
            self._out.send("fmp", bid)

    def _call(self, reserve: ReserveNotification) -> None:
        """What it buys it needs: every reserve is called in full, at once."""
        size = -reserve.p_min_mw
        self._bought[reserve.start] = self._bought.get(reserve.start, 0.0) + size
        call = ActivationNotification(
            id=self._out.identity("activation"),
            reserve=reserve.id,
            location=reserve.location,
            start=reserve.start,
            stop=reserve.stop,
            p_mw=-size,
            q_mvar=0.0,
        )
        self._out.send(reserve.seller, call)
        self._out.record("balance_bought", f"{size:.3f} MW from {reserve.start.isoformat()}", mw=size)


def _hours(entry: Mapping[str, object]) -> tuple[datetime, datetime, float]:
    return (
        datetime.fromisoformat(str(entry["start"])),
        datetime.fromisoformat(str(entry["stop"])),
        float(str(entry["mw"])),
    )
