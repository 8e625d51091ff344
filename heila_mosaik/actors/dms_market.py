"""Market process of the DMS: forecast, detect, ask for offers, choose, bid."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_security import Security
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.domain.congestion import Action, Limits, PurchaseInterval, optimise, plan_purchase
from heila_mosaik.domain.congestion.purchase import free, widened
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.forecast import Detection, Knowledge, detect, needs_of
from heila_mosaik.domain.information import (
    Bid,
    CongestionKind,
    FlexibilityRequest,
    OfferList,
    ReserveNotification,
    Session,
)
from heila_mosaik.domain.market.calendar import MarketCalendar, MarketEvent
from heila_mosaik.domain.positions import placed
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid


class Own(Protocol):
    """The DSO's own means, as far as the market must know them."""

    def positions(self, p_mw: FloatArray, q_mvar: FloatArray, limits: Limits) -> dict[str, float]:
        """Positions of own devices that serve an expected state best."""
        ...

    def actions(self, p_mw: FloatArray, *, reactive: bool) -> tuple[Action, ...]:
        """Own means beside the offers, for the expected consumption of every injection. [MW] (n,)

        ``reactive``: with the reactive power of inverters, which serves voltages and is not counted on for currents.
        """
        ...


@dataclass(slots=True)
class _Open:
    """A request whose offer list is awaited, with the intervals to cure."""

    session: Session
    intervals: tuple[PurchaseInterval, ...]
    made_at: datetime


class MarketDesk:
    """Buys reserve for the congestion expected.

    Args:
        settings: Settings of the DMS.
        estimator: Estimator with the grid engine.
        knowledge: Injections, plans and locations.
        limits: Limits of the grid.
        calendar: Times of the market.
        security: Outages to guard against.
    """

    def __init__(
        self,
        settings: DmsSettings,
        estimator: Estimator,
        knowledge: Knowledge,
        limits: Limits,
        calendar: MarketCalendar,
        security: Security,
    ) -> None:
        self.settings, self.estimator, self.knowledge = settings, estimator, knowledge
        self.limits, self.calendar, self.security = limits, calendar, security
        self._open: dict[str, _Open] = {}
        self._bids: dict[Session, list[Bid]] = {}
        self.own: Own | None = None
        self.bought: set[str] = set()

    def request(
        self,
        now: datetime,
        session: Session,
        deviation: tuple[FloatArray, FloatArray] | None,
        reserves: list[ReserveNotification],
        out: Outbox,
    ) -> Detection | None:
        """Forecast the horizon and ask the market for offers if the session's window needs any."""
        self._forget(now)
        window = self.calendar.delivery_window(session, now)
        step_s = self.settings.forecast_step_s
        stop = max(window.stop, now + timedelta(hours=self.settings.horizon_h))
        start = now.replace(minute=0, second=0, microsecond=0)
        count = int((stop - start).total_seconds()) // step_s
        grid = TimeGrid(start=start, step_s=step_s, count=count)
        p, q = deviation if deviation is not None else (None, None)
        forecast = self.knowledge.forecast(grid, now, p, q)
        keep = np.array([window.start <= grid.at(row) < window.stop for row in range(grid.count)])
        engine, bus = self.estimator.engine, self.estimator.bus
        cases = self.security.cases(out)
        look = partial(detect, engine, forecast, bus, self.limits, risk=self.settings.risk, contingencies=cases)
        found = look(keep=keep)
        intervals, covered = self._intervals(found, grid, reserves, forecast.p_mw)
        if covered:
            keep[covered] = False
            found = look(keep=keep)
        self._report(session, found, len(covered), out)
        if not intervals:
            return found
        request = FlexibilityRequest(
            id=out.identity("request"),
            buyer=self.settings.name,
            session=session,
            start=window.start,
            stop=window.stop,
            needs=needs_of(engine, found, dict(self.knowledge.locations), contingencies=cases),
        )
        self._open[request.id] = _Open(session, intervals, now)
        out.send(self.settings.market, request)
        return found

    def _intervals(
        self, found: Detection, grid: TimeGrid, reserves: list[ReserveNotification], expected_mw: FloatArray
    ) -> tuple[tuple[PurchaseInterval, ...], list[int]]:
        """Congested intervals, worst first, and those that reserves bought before or own means cure already."""
        engine, places = self.estimator.engine, self.knowledge.locations
        open_intervals: list[tuple[float, PurchaseInterval]] = []
        covered: list[int] = []
        for row in sorted(found.limits):
            p, q, start = found.p_bus_mw[row], found.q_bus_mvar[row], grid.at(row)
            own = tuple(
                Action(
                    name=reserve.id,
                    bus=places[reserve.location],
                    p_min_mw=reserve.p_min_mw,
                    p_max_mw=reserve.p_max_mw,
                    q_min_mvar=reserve.q_min_mvar,
                    q_max_mvar=reserve.q_max_mvar,
                    price_up=reserve.price_eur_per_mwh,
                    price_down=reserve.price_eur_per_mwh,
                    price_q=reserve.reactive_eur_per_mvarh,
                )
                for reserve in reserves
                if reserve.start <= start < reserve.stop and reserve.location in places
            )
            here = [item for item in found.congestions if item.first <= row < item.first + item.count]
            positions: dict[str, float] = {}
            means: tuple[Action, ...] = ()
            if self.own is not None:
                positions = self.own.positions(p, q, found.limits[row])
                voltage_only = all(item.kind != CongestionKind.CURRENT for item in here)
                means = self.own.actions(expected_mw[row], reactive=voltage_only)
            if own or self.own is not None:
                cases = found.contingencies[row]
                with placed(engine, positions, (case.engine for case in cases)):
                    answer = optimise(engine, p, q, (*own, *free(means)), found.limits[row], contingencies=cases)
                if not answer.after:
                    covered.append(row)
                    continue
            if own:
                bus = [action.bus for action in own]
                p = p + np.bincount(bus, weights=answer.p_mw[: len(own)], minlength=len(p))
                q = q + np.bincount(bus, weights=answer.q_mvar[: len(own)], minlength=len(q))
            excess = max(item.excess for item in here)
            interval = PurchaseInterval(
                start=start,
                hours=grid.hours,
                p_mw=p,
                q_mvar=q,
                limits=found.limits[row],
                probability=found.probability[row],
                means=means,
                positions=positions,
                contingencies=found.contingencies[row],
            )
            open_intervals.append((-excess, interval))
        open_intervals.sort(key=lambda pair: (pair[0], pair[1].start))
        return tuple(interval for _, interval in open_intervals), covered

    def choose(self, now: datetime, offers: OfferList, out: Outbox) -> None:
        """Judge the offers technically and economically and prepare the bid."""
        waiting = self._open.pop(offers.request, None)
        if waiting is None:
            out.record("offer_list_ignored", f"{offers.id} answers {offers.request}, which is not open")
            return
        plan = plan_purchase(
            self.estimator.engine,
            waiting.intervals,
            offers.offers,
            dict(self.knowledge.locations),
            limit_eur_per_mwh=self.settings.price_limit_eur_per_mwh,
        )
        divisible = tuple(offer for offer in offers.offers if offer.divisible)
        plan = widened(plan, offers.offers, self.settings.reserve_factor) if divisible else plan
        left = f"; worst left {max(plan.left, key=lambda item: item[1].severity)[1]}" if plan.left else ""
        out.record(
            "purchase_planned",
            f"{len(plan.purchases)} of {len(offers.offers)} offers cure {plan.cured} of {len(waiting.intervals)} "
            f"intervals for {plan.expected_cost_eur:.2f} EUR expected{left}",
            offers=len(offers.offers),
            purchases=len(plan.purchases),
            cured=plan.cured,
            intervals=len(waiting.intervals),
            too_dear=len(plan.rejected),
            expected_cost_eur=plan.expected_cost_eur,
        )
        if not plan.purchases:
            return
        self.bought |= {purchase.offer for purchase in plan.purchases}
        bid = Bid(
            id=out.identity("bid"),
            buyer=self.settings.name,
            request=offers.request,
            session=waiting.session,
            submitted_at=now,
            purchases=plan.purchases,
            limit_eur_per_mwh=self.settings.price_limit_eur_per_mwh,
        )
        self._bids.setdefault(waiting.session, []).append(bid)
        if self.calendar.next_event(now, MarketEvent.BID, waiting.session) > self.calendar.next_event(
            now, MarketEvent.CLEAR, waiting.session
        ):
            self.bid(now, waiting.session, out)  # bidding time has passed, clearing has not

    def bid(self, now: datetime, session: Session, out: Outbox) -> None:
        """Submit the bids prepared for a session."""
        for bid in self._bids.pop(session, []):
            body = Bid(
                id=bid.id,
                buyer=bid.buyer,
                request=bid.request,
                session=bid.session,
                submitted_at=now,
                purchases=bid.purchases,
                limit_eur_per_mwh=bid.limit_eur_per_mwh,
            )
            out.send(self.settings.market, body)

    def _report(self, session: Session, found: Detection, covered: int, out: Outbox) -> None:
        worst = max(found.congestions, key=lambda item: item.probability, default=None)
        text = f"{len(found.congestions)} congestions expected in the {session} window"
        if worst is not None:
            after = f" after the outage of {worst.outage}" if worst.outage else ""
            text += f", likeliest {worst.element} {worst.kind}{after} with probability {worst.probability:.2f}"
        out.record(
            "congestion_forecast",
            text,
            session=session.value,
            congestions=len(found.congestions),
            covered_intervals=covered,
            max_probability=0.0 if worst is None else worst.probability,
        )

    def _forget(self, now: datetime) -> None:
        """Requests nobody answered do not stay for ever."""
        day = timedelta(days=1)
        self._open = {key: waiting for key, waiting in self._open.items() if now - waiting.made_at < day}
