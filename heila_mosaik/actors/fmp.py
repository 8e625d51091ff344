"""Flexibility market platform: order book, ranking, clearing and settlement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.domain.information import (
    Bid,
    FlexibilityRequest,
    Measurements,
    Message,
    Offer,
    OfferList,
    ReserveNotification,
    Session,
    VerificationNotification,
)
from heila_mosaik.domain.market import (
    Clearing,
    ClearingMethod,
    ClearingRule,
    MarketCalendar,
    MarketEvent,
    Reason,
    Refusal,
    check_bid,
    check_offer,
    clear,
    rank,
    remaining,
    require_sound,
    sales_by_offer,
)
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS, settle_reserve
from heila_mosaik.domain.verification import Penalty, Tolerance, settle, total_eur

_KEEP = timedelta(days=2)
"""How long a reserve is remembered after delivery, for late verification."""


@dataclass(slots=True)
class _Sold:
    reserve: ReserveNotification
    settled: set[datetime]


class Fmp:
    """Flexibility market platform.

    Admits offers before their gate, answers requests with ranked offer lists, clears bids (at once or at the
    session's clearing time), tells seller and buyer what was reserved, and settles verified deliveries.

    Args:
        name: Address.
        calendar: Market calendar.
        rule: Clearing rule.
        clearing: How a session is cleared; what it awards is held against the offers.
        clear_at_once: Clear each bid when it arrives instead of at the session's clearing time.
        tolerance: Shortfall forgiven in settlement.
        penalty: Price of missing energy.
        list_limit: Most offers in one list, so that it fits a message (256 KiB); the best ranked ones go.
    """

    def __init__(
        self,
        name: str = "fmp",
        *,
        calendar: MarketCalendar,
        rule: ClearingRule | None = None,
        clearing: ClearingMethod = clear,
        clear_at_once: bool = False,
        tolerance: Tolerance | None = None,
        penalty: Penalty | None = None,
        list_limit: int = 100,
    ) -> None:
        self.name = name
        self.calendar = calendar
        self.rule = rule or ClearingRule()
        self.clearing = clearing
        self.clear_at_once = clear_at_once
        self.tolerance = tolerance or Tolerance()
        self.penalty = penalty or Penalty()
        self.list_limit = list_limit
        self.payments_eur: dict[str, float] = {}
        self._out = Outbox(name)
        self._inbox = Inbox(self._out)
        self._offers: dict[str, Offer] = {}
        self._bids: list[Bid] = []
        self._sold: dict[str, _Sold] = {}
        self._last: datetime | None = None

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None = None) -> Outcome:  # noqa: ARG002
        """Take messages, then clear the sessions that are due."""
        self._out.begin(now)
        self._prune(now)
        # A clearing time that passed before this step did not see the messages that arrive with it.
        cleared = [each for each in self.calendar.due(self._last, now, MarketEvent.CLEAR) if each[0] < now]
        for _, session in cleared:
            self._clear(session)
        for message in self._inbox.fresh(now, inbox):
            self._take(now, message)
        for moment, session in self.calendar.due(self._last, now, MarketEvent.CLEAR):
            if moment == now:
                self._clear(session)
        self._last = now
        return self._out.outcome(wake_at=self.calendar.next_event(now, MarketEvent.CLEAR))

    def _take(self, now: datetime, message: Message) -> None:
        body = message.body
        if isinstance(body, Offer):
            self._take_offer(now, body)
        elif isinstance(body, FlexibilityRequest):
            self._answer(message.sender, body)
        elif isinstance(body, Bid):
            self._take_bid(now, body)
        elif isinstance(body, VerificationNotification):
            self._settle(body)
        else:
            self._out.record("message_ignored", f"{type(body).__name__} from {message.sender} is not for a market")

    def _take_offer(self, now: datetime, offer: Offer) -> None:
        refusal = check_offer(offer, self.calendar, now)
        if refusal is None and offer.id in self._offers:
            refusal = Refusal(subject=offer.id, offer=offer.id, reason=Reason.BAD_OFFER, detail="identity already used")
        if refusal is not None:
            self._refuse(refusal, "offer_refused")
            return
        replaced = [known.id for known in self._offers.values() if self._supersedes(now, offer, known)]
        for identity in replaced:
            del self._offers[identity]
        self._offers[offer.id] = offer

    def _answer(self, buyer: str, request: FlexibilityRequest) -> None:
        sales = sales_by_offer([each.reserve for each in self._sold.values()])
        candidates = (remaining(offer, sales.get(offer.id, ())) for offer in self._offers.values())
        available = [offer for offer in candidates if offer is not None]
        offers, relief = rank(available, request)
        self._out.send(
            buyer,
            OfferList(
                id=self._out.identity("offer_list"),
                request=request.id,
                session=request.session,
                offers=offers[: self.list_limit],
                relief_per_eur=relief[: self.list_limit],
            ),
        )
        self._out.record(
            "offers_ranked",
            f"{len(offers)} of {len(available)} open offers help against {len(request.needs)} needs",
            request=request.id,
            offers=len(offers),
            needs=len(request.needs),
        )

    def _take_bid(self, now: datetime, bid: Bid) -> None:
        starts = [self._offers[each.offer].start for each in bid.purchases if each.offer in self._offers]
        refusal = check_bid(bid, self.calendar, now, min(starts)) if starts else None
        if refusal is not None:
            self._refuse(refusal, "bid_refused")
            return
        self._bids.append(bid)
        if self.clear_at_once:
            self._clear(bid.session)

    def _clear(self, session: Session) -> None:
        bids = [bid for bid in self._bids if bid.session == session]
        if not bids:
            return
        self._bids = [bid for bid in self._bids if bid.session != session]
        sold = [each.reserve for each in self._sold.values()]
        offers = tuple(self._offers.values())
        result: Clearing = self.clearing(offers, bids, self.rule, sold)
        if self.clearing is not clear:
            require_sound(result, offers, sold)
        for refusal in result.refusals:
            self._refuse(refusal, "purchase_refused")
        for award in result.awards:
            reserve = award.reserve(self._out.identity("reserve"))
            self._sold[reserve.id] = _Sold(reserve, set())
            self._out.send(reserve.seller, reserve)
            self._out.send(reserve.buyer, reserve)
        reserved = sum(max(-each.ranges[0], each.ranges[1]) for each in result.awards)
        self._out.record(
            "cleared",
            f"{session}: {len(bids)} bids, {len(result.awards)} reserves, {len(result.refusals)} refusals",
            session=str(session),
            bids=len(bids),
            reserves=len(result.awards),
            reserved_mw=float(reserved),
        )

    def _settle(self, verification: VerificationNotification) -> None:
        sold = self._sold.get(verification.reserve)
        if sold is None or verification.start in sold.settled:
            reason = "unknown reserve" if sold is None else "period already settled"
            self._out.record("verification_refused", f"{verification.reserve}: {reason}", verification=verification.id)
            return
        sold.settled.add(verification.start)
        identity = self._out.identity("settlement")
        if sold.reserve.product in RESERVE_PRODUCTS:
            statement = settle_reserve(identity, verification, sold.reserve, self.tolerance)
        else:
            statement = settle(identity, verification, sold.reserve, self.tolerance, self.penalty)
        amount = total_eur(statement)
        for actor, change in ((statement.payer, -amount), (statement.payee, amount)):
            self.payments_eur[actor] = self.payments_eur.get(actor, 0.0) + change
        self._out.send(statement.payee, statement)
        self._out.send(statement.payer, statement)

    def _refuse(self, refusal: Refusal, event: str) -> None:
        self._out.record(
            event,
            f"{refusal.offer or refusal.subject}: {refusal.detail}",
            subject=refusal.subject,
            offer=refusal.offer,
            reason=str(refusal.reason),
        )

    def _prune(self, now: datetime) -> None:
        """Forget offers whose delivery began (no bid can reach them) and reserves long delivered."""
        self._offers = {key: offer for key, offer in self._offers.items() if offer.start > now}
        if any(each.reserve.stop + _KEEP <= now for each in self._sold.values()):
            self._sold = {key: each for key, each in self._sold.items() if each.reserve.stop + _KEEP > now}

    def _supersedes(self, now: datetime, new: Offer, old: Offer) -> bool:
        """A later submission replaces the seller's older open offers of the same place, product and delivery time.

        Offers of another session stay until that session has cleared: its buyers may be about to bid for them.
        """
        return (
            new.submitted_at > old.submitted_at
            and (new.seller, new.location, new.product) == (old.seller, old.location, old.product)
            and new.start < old.stop
            and new.stop > old.start
            and (new.session == old.session or now > self.calendar.bid_gate(old.session, old.start))
        )
