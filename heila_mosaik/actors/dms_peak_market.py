"""Market process of the power flow optimisation: flexibility against the peak of the substation's exchange."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import (
    Bid,
    CongestionKind,
    FlexibilityRequest,
    Need,
    Offer,
    OfferList,
    Purchase,
    Session,
)
from heila_mosaik.domain.market.calendar import MarketCalendar, MarketEvent
from heila_mosaik.domain.powerflowopt import Billing, LevelSettings, Lot, PeakPlan, effects, plan_level
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

_SMALLEST_MW = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class PeakSettings:
    """Settings of the power flow optimisation.

    Attributes:
        prices: Value of lower peaks and variation.
        step_s: Interval of the plan. [s]
        band: Flexibility is asked for where the exchange is within this share of its peak. [1]
        cycle_s: Time between plans of the technical process. [s]
        dead_band_mw: Smaller changes of a set point are not sent. [MW]
        release_s: A set point is lowered only after a lower one has sufficed for this long. [s]
        demand_s: The peak is metered as the mean over this time. [s]
    """

    prices: LevelSettings = field(default_factory=LevelSettings)
    step_s: int = 900
    band: float = 0.25
    cycle_s: int = 900
    dead_band_mw: float = 0.02
    release_s: float = 300.0
    demand_s: int = 900


@dataclass(slots=True)
class _Open:
    """A request whose offer list is awaited, with the forecast it was made from."""

    session: Session
    grid: TimeGrid
    p_bus_mw: FloatArray
    q_bus_mvar: FloatArray
    made_at: datetime


class PeakDesk:
    """Buys reserve that lowers the peak.

    Args:
        settings: Settings of the DMS.
        peak: Settings of the power flow optimisation.
        estimator: Estimator with the grid engine.
        knowledge: Injections, plans and locations.
        limits: Limits of the grid.
        calendar: Times of the market.
    """

    def __init__(
        self,
        settings: DmsSettings,
        peak: PeakSettings,
        estimator: Estimator,
        knowledge: Knowledge,
        limits: Limits,
        calendar: MarketCalendar,
    ) -> None:
        self.settings, self.peak, self.estimator = settings, peak, estimator
        self.knowledge, self.limits, self.calendar = knowledge, limits, calendar
        self.bought: set[str] = set()
        self.plan: PeakPlan | None = None
        self._open: dict[str, _Open] = {}
        self._bids: dict[Session, list[Bid]] = {}

    def awaits(self, request: str) -> bool:
        """Whether an offer list answers one of our requests."""
        return request in self._open

    def request(
        self,
        now: datetime,
        session: Session,
        deviation: tuple[FloatArray, FloatArray] | None,
        billing: Callable[[TimeGrid], Billing],
        out: Outbox,
    ) -> None:
        """Forecast the exchange and ask for offers where it comes near its peak.

        Args:
            now: Time.
            session: Market session.
            deviation: Deviation from the expectation, for the forecast.
            billing: Billing periods of a grid with the peaks reached.
            out: Outbox.
        """
        self._open = {key: each for key, each in self._open.items() if now - each.made_at < timedelta(days=1)}
        window = self.calendar.delivery_window(session, now)
        # to the end of the last day touched: a low peak now is worth nothing if a higher one comes later that day
        grid = to_midnight(window.start, window.stop, self.peak.step_s)
        ahead = self.knowledge.forecast(grid, now, *(deviation or (None, None)))
        bus_power = [self.estimator.bus_power(p, q) for p, q in zip(ahead.p_mw, ahead.q_mvar, strict=True)]
        p_bus, q_bus = np.array([each[0] for each in bus_power]), np.array([each[1] for each in bus_power])
        names = tuple(self.knowledge.locations)
        places = np.array([self.knowledge.locations[name] for name in names], np.int64)
        exchange, effect = effects(self.estimator.engine, p_bus, q_bus, places)
        needs = self._needs(grid, window, exchange, effect, names, billing(grid))
        out.record(
            "exchange_forecast",
            f"exchange of the {session} window from {np.nanmin(exchange):.2f} to {np.nanmax(exchange):.2f} MW",
            session=session.value,
            lowest_mw=float(np.nanmin(exchange)),
            highest_mw=float(np.nanmax(exchange)),
            needs=len(needs),
        )
        if not needs:
            return
        body = FlexibilityRequest(
            id=out.identity("peak_request"),
            buyer=self.settings.name,
            session=session,
            start=window.start,
            stop=window.stop,
            needs=needs,
        )
        self._open[body.id] = _Open(session, grid, p_bus, q_bus, now)
        out.send(self.settings.market, body)

    def _needs(
        self,
        grid: TimeGrid,
        window: TimeGrid,
        exchange: FloatArray,
        effect: FloatArray,
        names: tuple[str, ...],
        billing: Billing,
    ) -> tuple[Need, ...]:
        """Times within the band below the import peak of their day, and below the export peak if that is priced."""
        prices = self.peak.prices
        needs: list[Need] = []
        for sign, price, reached in (
            (1.0, prices.import_eur_per_mw, billing.reached_import_mw),
            (-1.0, prices.export_eur_per_mw, billing.reached_export_mw),
        ):
            flow = np.nan_to_num(sign * exchange, nan=-np.inf)
            top = np.zeros(len(reached))
            np.maximum.at(top, billing.period, flow)
            threshold = np.maximum(top * (1.0 - self.peak.band), reached)[billing.period]
            if price <= 0:
                continue
            inside = np.array([window.start <= grid.at(row) < window.stop for row in range(grid.count)])
            for first, stop in _runs(inside & (flow > np.maximum(threshold, _SMALLEST_MW))):
                worst = first + int(np.argmax((flow - threshold)[first:stop]))
                needs.append(
                    Need(
                        element="ext_grid",
                        kind=CongestionKind.PEAK,
                        start=grid.at(first),
                        stop=grid.at(stop),
                        excess=float((flow - threshold)[worst]),
                        locations=names,
                        effect_p=tuple((-sign * effect[worst]).tolist()),
                        effect_q=(0.0,) * len(names),
                    )
                )
        return tuple(needs)

    def choose(
        self,
        now: datetime,
        offers: OfferList,
        held: Callable[[TimeGrid], list[tuple[Lot, int]]],
        billing: Callable[[TimeGrid], Billing],
        out: Outbox,
    ) -> None:
        """Level the forecast with the offers and prepare the bid; reserves held in the grid's intervals count first."""
        waiting = self._open.pop(offers.request)
        grid = waiting.grid
        usable = [
            offer
            for offer in offers.offers
            if offer.location in self.knowledge.locations and _price(offer) <= self.settings.price_limit_eur_per_mwh
        ]
        own = held(grid)
        lots = [lot for lot, _ in own] + [_lot(offer, grid) for offer in usable]
        bus = [place for _, place in own] + [self.knowledge.locations[offer.location] for offer in usable]
        self.plan = plan = plan_level(
            self.estimator.engine,
            waiting.p_bus_mw,
            waiting.q_bus_mvar,
            np.full(grid.count, grid.hours),
            lots,
            np.array(bus, np.int64),
            self.limits,
            self.peak.prices,
            billing(grid),
        )
        rows = plan.answer.p_mw[len(own) :]
        purchases = tuple(
            purchase
            for offer, row in zip(usable, rows, strict=True)
            if (purchase := _purchase(offer, row, self.settings.reserve_factor)) is not None
        )
        out.record(
            "peak_planned",
            f"{len(purchases)} of {len(usable)} offers lower the import peak expected from "
            f"{plan.before.peak_import_mw:.3f} to {plan.after.peak_import_mw:.3f} MW, {plan.answer.cost_eur:.2f} EUR",
            session=waiting.session.value,
            offers=len(usable),
            purchases=len(purchases),
            before_mw=plan.before.peak_import_mw,
            after_mw=plan.after.peak_import_mw,
            export_before_mw=plan.before.peak_export_mw,
            export_after_mw=plan.after.peak_export_mw,
            variation_before_mw=plan.before.variation_mw,
            variation_after_mw=plan.after.variation_mw,
            harmful=len(plan.harmful),
            cost_eur=plan.answer.cost_eur,
            value_eur=plan.answer.value_eur,
        )
        if not purchases:
            return
        self.bought |= {purchase.offer for purchase in purchases}
        bid = Bid(
            id=out.identity("peak_bid"),
            buyer=self.settings.name,
            request=offers.request,
            session=waiting.session,
            submitted_at=now,
            purchases=purchases,
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
            out.send(self.settings.market, replace(bid, submitted_at=now))


def to_midnight(start: datetime, stop: datetime, step_s: int) -> TimeGrid:
    """Intervals from ``start`` to the midnight (UTC) at or after ``stop``."""
    last = floor_to(stop, 86400)
    last += timedelta(days=1) if last < stop else timedelta()
    return TimeGrid(start=start, step_s=step_s, count=max(1, int((last - start).total_seconds()) // step_s))


def _price(offer: Offer) -> float:
    return offer.price_eur_per_mwh + offer.availability_eur_per_mw_h


def _runs(near: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[tuple[int, int]]:
    """Contiguous runs of ``True`` as (first, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], near.astype(np.int8), [0]))))
    return [(int(first), int(stop)) for first, stop in zip(edges[::2], edges[1::2], strict=True)]


def _lot(offer: Offer, grid: TimeGrid) -> Lot:
    active = np.array([offer.start <= grid.at(row) < offer.stop for row in range(grid.count)])
    return Lot(
        name=offer.id,
        active=active,
        p_min_mw=offer.p_min_mw,
        p_max_mw=offer.p_max_mw,
        effect=np.ones(grid.count),
        price_eur_per_mwh=offer.price_eur_per_mwh,
        availability_eur_per_mw_h=offer.availability_eur_per_mw_h,
        group=offer.group,
        group_energy_mwh=offer.group_energy_mwh,
        divisible=offer.divisible,
        one_way=offer.product == Product.CRP,
    )


def _purchase(offer: Offer, used: FloatArray, factor: float) -> Purchase | None:
    """Range to buy for a use, wider by ``factor`` where the offer can be divided."""
    low, high = float(used.min(initial=0.0)), float(used.max(initial=0.0))
    if max(-low, high) < _SMALLEST_MW:
        return None
    if not offer.divisible:
        low, high = offer.p_min_mw, offer.p_max_mw
    else:
        least = offer.min_share
        low = max(min(low * factor, offer.p_min_mw * least if low < 0 else 0.0), offer.p_min_mw)
        high = min(max(high * factor, offer.p_max_mw * least if high > 0 else 0.0), offer.p_max_mw)
    return Purchase(offer=offer.id, p_min_mw=round(low, 6), p_max_mw=round(high, 6), q_min_mvar=0.0, q_max_mvar=0.0)
