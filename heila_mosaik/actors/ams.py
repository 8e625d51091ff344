"""Aggregator management system: from microgrids' flexibility to offers, and from reserves to activations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.domain.bidding import (
    BiddingPolicy,
    Variant,
    aggregate,
    aggregator_prices,
    make_offers,
    microgrid_prices,
    without,
)
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    FlexibilityForecast,
    Measurements,
    Message,
    OperationPlan,
    PriceForecast,
    ReserveNotification,
    Session,
    SettlementStatement,
    VerificationNotification,
    WeatherForecast,
)
from heila_mosaik.domain.market import MarketCalendar, MarketEvent
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.domain.verification import total_eur

_KEEP = timedelta(days=2)
_TOLERANCE_MW = 1e-6


class Ams:
    """Aggregator management system.

    Args:
        name: Address.
        calendar: Market calendar.
        policy: How it offers; ``policy.variant`` says who prices.
        market: Address of the market platform.
        dso: Address of the DSO's management system, which gets operation plans and verifications.
        microgrid_prefix: Address of a microgrid's management system is this plus its location.
    """

    def __init__(
        self,
        name: str = "ams",
        *,
        calendar: MarketCalendar,
        policy: BiddingPolicy | None = None,
        market: str = "fmp",
        dso: str = "dms",
        microgrid_prefix: str = "mgms_",
    ) -> None:
        self.name = name
        self.calendar = calendar
        self.policy = policy or BiddingPolicy()
        self.market, self.dso, self.microgrid_prefix = market, dso, microgrid_prefix
        self.account_eur: dict[str, float] = {}
        self._out = Outbox(name)
        self._inbox = Inbox(self._out)
        self._forecasts: dict[tuple[str, str], list[FlexibilityForecast]] = {}
        self._price: PriceForecast | None = None
        self._reserves: dict[str, ReserveNotification] = {}
        self._sold_at: dict[str, datetime] = {}
        self._activations: dict[str, datetime] = {}
        self._last: datetime | None = None

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None = None) -> Outcome:  # noqa: ARG002
        """Take messages, then send the offers that are due."""
        self._out.begin(now)
        self._prune(now)
        for message in self._inbox.fresh(now, inbox):
            self._take(now, message)
        for moment, session in self.calendar.due(self._last, now, MarketEvent.OFFERS):
            self._offer(now, self.calendar.delivery_window(session, moment), session)
        self._last = now
        return self._out.outcome(wake_at=self.calendar.next_event(now, MarketEvent.OFFERS))

    def flexibility(self, window: TimeGrid) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Aggregated flexibility over a window, lowering (<= 0) and raising (>= 0). [MW], [MW] (n,)"""
        lowering, raising = aggregate(self._covering(window), window)
        return tuple(lowering.tolist()), tuple(raising.tolist())

    def _take(self, now: datetime, message: Message) -> None:
        body = message.body
        if isinstance(body, FlexibilityForecast):
            self._remember(body)
        elif isinstance(body, PriceForecast):
            self._price = body
        elif isinstance(body, WeatherForecast):
            pass  # of use to the microgrids; prices are made from prices here
        elif isinstance(body, ReserveNotification):
            self._reserves[body.id] = body
            self._sold_at[body.id] = now
            self._out.send(self.microgrid_prefix + body.location, body)
        elif isinstance(body, ActivationNotification):
            self._pass_activation(now, message.sender, body)
        elif isinstance(body, OperationPlan):
            self._out.send(self.dso, body)
        elif isinstance(body, VerificationNotification | ActivationRefusal):
            self._pass_report(body)
        elif isinstance(body, SettlementStatement):
            self._book(body)
        else:
            self._out.record("message_ignored", f"{type(body).__name__} from {message.sender} is not for an aggregator")

    def _remember(self, forecast: FlexibilityForecast) -> None:
        """Keep a forecast; drop older ones whose horizon it covers whole."""
        known = self._forecasts.setdefault((forecast.subject, str(forecast.product)), [])
        profile = forecast.profile
        kept = [
            each
            for each in known
            if each.issued_at > forecast.issued_at
            or each.profile.start < profile.start
            or each.profile.stop > profile.stop
        ]
        self._forecasts[forecast.subject, str(forecast.product)] = [*kept, forecast]

    def _covering(self, window: TimeGrid) -> list[FlexibilityForecast]:
        """Newest forecast of each microgrid and product that reaches into the window, in order of name."""
        chosen: list[FlexibilityForecast] = []
        for key in sorted(self._forecasts):
            fitting = [
                each
                for each in self._forecasts[key]
                if each.profile.start < window.stop and each.profile.stop > window.start
            ]
            whole = [
                each for each in fitting if each.profile.start <= window.start and each.profile.stop >= window.stop
            ]
            if fitting:
                chosen.append(max(whole or fitting, key=lambda each: (each.issued_at, each.id)))
        return chosen

    def _offer(self, now: datetime, window: TimeGrid, session: Session) -> None:
        covering = self._covering(window)
        is_day_ahead = session is Session.DAY_AHEAD
        forecasts = [each for each in covering if is_day_ahead or each.product not in RESERVE_PRODUCTS]
        own = aggregator_prices(self._price, window, self.policy)
        count = 0
        for forecast in forecasts:
            prices = own
            if self.policy.variant is Variant.MGMS_PRICES and forecast.product not in RESERVE_PRODUCTS:
                given = microgrid_prices(forecast, window, self.policy)
                if given is None:
                    self._out.record(
                        "offer_withheld", f"{forecast.subject} gave no prices, which the variant asks of it"
                    )
                    continue
                prices = given
            offers = make_offers(
                self._unsold(forecast),
                prices,
                window=window,
                session=session,
                seller=self.name,
                submitted_at=now,
                policy=self.policy,
                identity=lambda: self._out.identity("offer"),
            )
            for offer in offers:
                self._out.send(self.market, offer)
            count += len(offers)
        lowering, raising = aggregate(forecasts, window)
        self._out.record(
            "offers_sent",
            f"{session}: {count} offers of {len(forecasts)} forecasts for {window.start.isoformat()}",
            session=str(session),
            offers=count,
            lowering_mwh=float(-lowering.sum() * window.hours),
            raising_mwh=float(raising.sum() * window.hours),
        )

    def _unsold(self, forecast: FlexibilityForecast) -> FlexibilityForecast:
        """The forecast without what was sold after it was made: nothing may be offered twice."""
        later = [
            reserve
            for key, reserve in self._reserves.items()
            if reserve.location == forecast.subject and self._sold_at[key] >= forecast.issued_at
        ]
        return without(forecast, later)

    def _pass_activation(self, now: datetime, sender: str, activation: ActivationNotification) -> None:
        reason = self._objection(now, sender, activation)
        if reason is None:
            self._activations[activation.id] = activation.stop
            self._out.send(self.microgrid_prefix + activation.location, activation)
            return
        self._out.record("activation_refused", reason, activation=activation.id, reserve=activation.reserve)
        self._out.send(
            sender,
            ActivationRefusal(
                id=self._out.identity("refusal"),
                reserve=activation.reserve,
                refused_by=self.name,
                p_mw=activation.p_mw,
                q_mvar=activation.q_mvar,
                start=activation.start,
                stop=activation.stop,
                reason=reason,
            ),
        )

    def _objection(self, now: datetime, sender: str, activation: ActivationNotification) -> str | None:
        reserve = self._reserves.get(activation.reserve)
        if reserve is None:
            return f"reserve {activation.reserve} is not known"
        checks = (
            (sender == reserve.buyer, f"{sender} did not buy reserve {reserve.id}, {reserve.buyer} did"),
            (activation.location == reserve.location, f"reserve delivers at {reserve.location}"),
            (activation.id not in self._activations, f"activation {activation.id} came twice"),
            (now < activation.stop, f"activation ended {activation.stop.isoformat()}"),
            (
                activation.start < reserve.stop and activation.stop > reserve.start,
                f"outside delivery {reserve.start.isoformat()} to {reserve.stop.isoformat()}",
            ),
            (
                _within(activation.p_mw, reserve.p_min_mw, reserve.p_max_mw),
                f"P {activation.p_mw:.6f} MW outside [{reserve.p_min_mw:.6f}, {reserve.p_max_mw:.6f}]",
            ),
            (
                _within(activation.q_mvar, reserve.q_min_mvar, reserve.q_max_mvar),
                f"Q {activation.q_mvar:.6f} MVar outside [{reserve.q_min_mvar:.6f}, {reserve.q_max_mvar:.6f}]",
            ),
        )
        return next((reason for holds, reason in checks if not holds), None)

    def _pass_report(self, report: VerificationNotification | ActivationRefusal) -> None:
        reserve = self._reserves.get(report.reserve)
        buyer = self.dso if reserve is None else reserve.buyer
        if isinstance(report, ActivationRefusal) and report.refused_by == buyer:
            self._out.record("activation_not_released", report.reason, reserve=report.reserve, by=buyer)
            return
        self._out.send(buyer, report)
        if isinstance(report, VerificationNotification):
            self._out.send(self.market, report)

    def _book(self, statement: SettlementStatement) -> None:
        """Keep the account of each location; statements of unknown reserves go to ``unknown``."""
        reserve = self._reserves.get(statement.reserve)
        location = "unknown" if reserve is None else reserve.location
        self.account_eur[location] = self.account_eur.get(location, 0.0) + total_eur(statement)

    def _prune(self, now: datetime) -> None:
        """Forget what is over: a year must run in bounded memory."""
        if self._last is not None and self._last.date() == now.date():
            return
        self._forecasts = {
            key: kept
            for key, known in self._forecasts.items()
            if (kept := [each for each in known if each.profile.stop > now])
        }
        self._reserves = {key: each for key, each in self._reserves.items() if each.stop + _KEEP > now}
        self._sold_at = {key: at for key, at in self._sold_at.items() if key in self._reserves}
        self._activations = {key: stop for key, stop in self._activations.items() if stop + _KEEP > now}


def _within(value: float, low: float, high: float) -> bool:
    return low - _TOLERANCE_MW <= value <= high + _TOLERANCE_MW
