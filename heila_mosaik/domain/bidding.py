"""From flexibility forecasts to offers: aggregation, pricing and energy groups.

An offer's range is what the microgrid can hold during the *whole* delivery period: over the forecast's intervals, the
least room between plan and limits.  Energy that a forecast holds once (a battery's content) is offered in many periods
but bound together by an energy group.

Pricing of the aggregator (variant *AMS prices*): the opportunity cost of moving energy is the spread between the spot
price of the period and the best price in the window - energy not drawn now could have been sold at the dearest hour,
energy drawn now could have been bought at the cheapest - plus wear; not below what the flexibility market is expected
to pay; times one plus a margin.  Variant *MGMS prices*: the microgrid's prices pass through plus a fee.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from heila_mosaik.domain.information import FlexibilityForecast, Offer, PriceForecast, ReserveNotification, Session
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS, Reservoir, fcr_d_up_capacity, fcr_n_capacity
from heila_mosaik.domain.timegrid import TimeGrid

_FCR_N_FED = 0.15
"""Energy that FCR-N feeds per capacity and hour: mean of its droop over the generator of ``domain.frequency``. [1]"""


class Variant(StrEnum):
    """Who prices flexibility: the two commercial variants of the HEILA architecture."""

    AMS_PRICES = "ams_prices"
    MGMS_PRICES = "mgms_prices"


@dataclass(frozen=True, slots=True, kw_only=True)
class BiddingPolicy:
    """How the aggregator offers.

    Attributes:
        variant: Who prices.
        margin: Margin on the aggregator's own price. [1]
        wear_eur_per_mwh: Wear and comfort cost added to opportunity cost. [EUR/MWh]
        fee_eur_per_mwh: Fee on top of prices passed through. [EUR/MWh]
        availability_eur_per_mw_h: Price of holding a range ready. [EUR/(MW·h)]
        reactive_eur_per_mvarh: Price of reactive energy. [EUR/MVarh]
        fcr_eur_per_mw_h: Availability price of frequency reserves, wear of FCR-N not in it. [EUR/(MW·h)]
        smallest_mw: Ranges below this are not offered. [MW, MVar]
        min_share: Smallest share of a divisible offer that may be bought. [1]
        block_periods: Offer blocks of this many delivery periods, all or nothing; 1: divisible offers per period.
    """

    variant: Variant = Variant.AMS_PRICES
    margin: float = 0.1
    wear_eur_per_mwh: float = 20.0
    fee_eur_per_mwh: float = 5.0
    availability_eur_per_mw_h: float = 2.0
    reactive_eur_per_mvarh: float = 1.0
    fcr_eur_per_mw_h: float = 15.0
    smallest_mw: float = 1e-3
    min_share: float = 0.0
    block_periods: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Adjustment a microgrid can hold over a period. [MW, MVar]; lowering <= 0, raising >= 0."""

    p_min_mw: float
    p_max_mw: float
    q_min_mvar: float
    q_max_mvar: float


def room(forecast: FlexibilityForecast, start: datetime, stop: datetime) -> Room | None:
    """Adjustment that can be held throughout ``[start, stop)``; ``None`` unless the forecast covers it all."""
    profile = forecast.profile
    first = int((start - profile.start).total_seconds() // profile.step_s)
    last = -int(-(stop - profile.start).total_seconds() // profile.step_s)
    if first < 0 or last > len(profile.p_mw) or first >= last:
        return None
    span = range(first, last)
    p, q = profile.p_mw, profile.q_mvar
    return Room(
        p_min_mw=min(0.0, max(profile.p_min_mw[k] - p[k] for k in span)),
        p_max_mw=max(0.0, min(profile.p_max_mw[k] - p[k] for k in span)),
        q_min_mvar=min(0.0, max(profile.q_min_mvar[k] - q[k] for k in span)),
        q_max_mvar=max(0.0, min(profile.q_max_mvar[k] - q[k] for k in span)),
    )


def without(forecast: FlexibilityForecast, reserves: Sequence[ReserveNotification]) -> FlexibilityForecast:
    """A forecast less the range and energy of reserves that it does not know of yet."""
    profile, grid = forecast.profile, forecast.profile.grid
    limits = [list(series) for series in (profile.p_min_mw, profile.p_max_mw, profile.q_min_mvar, profile.q_max_mvar)]
    plans = (profile.p_mw, profile.p_mw, profile.q_mvar, profile.q_mvar)
    energy: dict[tuple[str, bool], float] = {}
    for reserve in reserves:
        first = max(0, grid.position(reserve.start))
        last = min(grid.count, grid.position(reserve.stop - timedelta(microseconds=1)) + 1)
        if last <= first:
            continue
        sizes = (reserve.p_min_mw, reserve.p_max_mw, reserve.q_min_mvar, reserve.q_max_mvar)
        for limit, plan, size in zip(limits, plans, sizes, strict=True):
            for k in range(first, last):
                left = limit[k] - size
                limit[k] = min(plan[k], left) if size < 0.0 else max(plan[k], left) if size > 0.0 else limit[k]
        hours = (last - first) * grid.hours
        for is_up, size in ((True, -reserve.p_min_mw), (False, reserve.p_max_mw)):
            if size > 0.0:
                key = (reserve.group or reserve.id, is_up)
                most = reserve.group_energy_mwh if reserve.group_energy_mwh is not None else float("inf")
                energy[key] = min(most, energy.get(key, 0.0) + size * hours)
    if not reserves:
        return forecast
    return replace(
        forecast,
        profile=replace(
            profile,
            p_min_mw=tuple(limits[0]),
            p_max_mw=tuple(limits[1]),
            q_min_mvar=tuple(limits[2]),
            q_max_mvar=tuple(limits[3]),
        ),
        energy_up_mwh=max(0.0, forecast.energy_up_mwh - sum(e for (_, up), e in energy.items() if up)),
        energy_down_mwh=max(0.0, forecast.energy_down_mwh - sum(e for (_, up), e in energy.items() if not up)),
    )


def aggregate(forecasts: Sequence[FlexibilityForecast], window: TimeGrid) -> tuple[FloatArray, FloatArray]:
    """Flexibility of all microgrids together, lowering (<= 0) and raising (>= 0). [MW], [MW] (n,)"""
    lowering, raising = np.zeros(window.count), np.zeros(window.count)
    for forecast in forecasts:
        for k in range(window.count):
            held = room(forecast, window.at(k), window.at(k + 1))
            if held is not None:
                lowering[k] += held.p_min_mw
                raising[k] += held.p_max_mw
    return lowering, raising


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Prices of the delivery periods of a window, and the spot price if it is known. [EUR/MWh] (n,)"""

    up: FloatArray
    down: FloatArray
    spot: FloatArray | None = None


def aggregator_prices(forecast: PriceForecast | None, window: TimeGrid, policy: BiddingPolicy) -> Prices:
    """Prices the aggregator asks by opportunity cost (module docstring); without forecast, wear plus margin."""
    spot, up_market, down_market = (np.zeros(window.count) for _ in range(3))
    if forecast is not None and forecast.spot_eur_per_mwh:
        for k in range(window.count):
            elapsed = (window.at(k) - forecast.start).total_seconds()
            at = min(max(int(elapsed // forecast.step_s), 0), len(forecast.spot_eur_per_mwh) - 1)
            spot[k] = forecast.spot_eur_per_mwh[at]
            up_market[k] = forecast.flexibility_up_eur_per_mwh[at]
            down_market[k] = forecast.flexibility_down_eur_per_mwh[at]
    if not window.count:
        return Prices(up=spot, down=spot)
    factor = 1.0 + policy.margin
    up = np.maximum(spot.max() - spot + policy.wear_eur_per_mwh, up_market) * factor
    down = np.maximum(spot - spot.min() + policy.wear_eur_per_mwh, down_market) * factor
    return Prices(up=up, down=down, spot=spot)


def microgrid_prices(forecast: FlexibilityForecast, window: TimeGrid, policy: BiddingPolicy) -> Prices | None:
    """Prices of the microgrid plus fee, dearest interval of each period; ``None`` if it gave none."""
    if not forecast.price_up_eur_per_mwh or not forecast.price_down_eur_per_mwh:
        return None

    def of(series: tuple[float, ...]) -> FloatArray:
        prices = np.zeros(window.count)
        for k in range(window.count):
            grid = forecast.profile.grid
            first = min(max(grid.position(window.at(k)), 0), len(series) - 1)
            last = min(max(grid.position(window.at(k + 1) - timedelta(microseconds=1)) + 1, first + 1), len(series))
            prices[k] = max(series[first:last])
        return prices + policy.fee_eur_per_mwh

    return Prices(up=of(forecast.price_up_eur_per_mwh), down=of(forecast.price_down_eur_per_mwh))


def make_offers(
    forecast: FlexibilityForecast,
    prices: Prices,
    *,
    window: TimeGrid,
    session: Session,
    seller: str,
    submitted_at: datetime,
    policy: BiddingPolicy,
    identity: Callable[[], str],
) -> tuple[Offer, ...]:
    """Offers of one microgrid for the delivery periods of a window.

    CRP gives one-directional offers (lowering; raising; reactive only), CRP-2 one offer with both directions, SRP
    one-directional offers whose energy never passes what the forecast holds, FCR symmetric (FCR-N) or up (FCR-D)
    offers within the limited-reservoir rules, the energy of FCR-N at the spot price.

    Args:
        forecast: Flexibility of the microgrid.
        prices: Prices of the delivery periods.
        window: Delivery periods.
        session: Market session.
        seller: Aggregator.
        submitted_at: Time of submission.
        policy: How the aggregator offers.
        identity: Gives the next offer identity.
    """
    offers: list[Offer] = []
    step = max(1, policy.block_periods)
    for first in range(0, window.count, step):
        last = min(first + step, window.count)
        start, stop = window.at(first), window.at(last)
        held = room(forecast, start, stop)
        if held is None:
            continue
        up, down = float(prices.up[first:last].max()), float(prices.down[first:last].max())
        spot = float(prices.spot[first:last].mean()) if prices.spot is not None else 0.0
        for leg in _legs(forecast, held, (stop - start).total_seconds() / 3600.0, up, down, spot):
            if max(-leg.p_min_mw, leg.p_max_mw, -leg.q_min_mvar, leg.q_max_mvar) < policy.smallest_mw:
                continue
            offer = _offer(identity(), forecast, leg, policy, start, stop)
            offers.append(replace(offer, seller=seller, session=session, submitted_at=submitted_at))
    return tuple(offers)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leg:
    p_min_mw: float = 0.0
    p_max_mw: float = 0.0
    q_min_mvar: float = 0.0
    q_max_mvar: float = 0.0
    price: float = 0.0
    wear: float = 0.0
    group: str = ""
    energy_mwh: float | None = None


def _offer(
    identity: str, forecast: FlexibilityForecast, leg: _Leg, policy: BiddingPolicy, start: datetime, stop: datetime
) -> Offer:
    """One offer, before seller, session and submission are filled in."""
    is_reserve = forecast.product in RESERVE_PRODUCTS
    return Offer(
        id=identity,
        seller="",
        location=forecast.subject,
        product=forecast.product,
        session=Session.DAY_AHEAD,
        start=start,
        stop=stop,
        submitted_at=start,
        p_min_mw=leg.p_min_mw,
        p_max_mw=leg.p_max_mw,
        q_min_mvar=leg.q_min_mvar,
        q_max_mvar=leg.q_max_mvar,
        price_eur_per_mwh=leg.price,
        availability_eur_per_mw_h=policy.fcr_eur_per_mw_h + leg.wear * policy.wear_eur_per_mwh
        if is_reserve
        else policy.availability_eur_per_mw_h,
        reactive_eur_per_mvarh=policy.reactive_eur_per_mvarh,
        divisible=policy.block_periods <= 1,
        min_share=policy.min_share,
        group=f"{forecast.id}/{leg.group}" if leg.group else "",
        group_energy_mwh=leg.energy_mwh,
    )


def _legs(
    forecast: FlexibilityForecast, held: Room, hours: float, up: float, down: float, spot: float
) -> tuple[_Leg, ...]:
    product, energy_up, energy_down = forecast.product, forecast.energy_up_mwh, forecast.energy_down_mwh
    lowering = held.p_min_mw if energy_up > 0.0 else 0.0
    raising = held.p_max_mw if energy_down > 0.0 else 0.0
    if product in RESERVE_PRODUCTS:
        return (_fcr_leg(product, lowering, raising, energy_up, energy_down, spot),)
    if product is Product.CRP2:
        # One group has one figure: the scarcer direction that exists bounds the energy moved.
        present = [energy for energy, size in ((energy_up, lowering), (energy_down, raising)) if size]
        return (
            _Leg(
                p_min_mw=lowering,
                p_max_mw=raising,
                q_min_mvar=held.q_min_mvar,
                q_max_mvar=held.q_max_mvar,
                price=max(up, down) if lowering and raising else up if lowering else down,
                group="both" if present else "",
                energy_mwh=min(present) if present else None,
            ),
        )
    if product is Product.SRP:
        # Scheduled energy is delivered for sure: no period may hold more than the reservoir.
        lowering, raising = max(lowering, -energy_up / hours), min(raising, energy_down / hours)
    return (
        _Leg(p_min_mw=lowering, price=up, group="up", energy_mwh=energy_up),
        _Leg(p_max_mw=raising, price=down, group="down", energy_mwh=energy_down),
        _Leg(q_min_mvar=held.q_min_mvar, q_max_mvar=held.q_max_mvar),
    )


def _fcr_leg(
    product: Product, lowering: float, raising: float, energy_up: float, energy_down: float, price: float
) -> _Leg:
    """Capacity a limited reservoir may sell; the energy behind it is one for all periods, as calls go up and down."""
    reservoir = Reservoir(lowering_mw=-lowering, raising_mw=raising, lowering_mwh=energy_up, raising_mwh=energy_down)
    if product is Product.FCR_N:
        capacity = fcr_n_capacity(reservoir)
        energy = min(energy_up, energy_down)
        return _Leg(
            p_min_mw=-capacity, p_max_mw=capacity, price=price, wear=_FCR_N_FED, group="fcr_n", energy_mwh=energy
        )
    return _Leg(p_min_mw=-fcr_d_up_capacity(reservoir), group="fcr_d", energy_mwh=energy_up)
