"""Frequency containment reserves (FCR) of the Nordic synchronous area.

Droop: FCR-N is symmetric, fully active at ±0.1 Hz with a dead band of at most ±0.01 Hz; FCR-D up runs from 49.9 to
49.5 Hz, down from 50.1 to 50.5 Hz.  Endurance rules for limited reservoirs and the hourly D-1 market with one marginal
price follow Fingrid's terms (2023).  Adjustments are consumption positive: low frequency lowers consumption.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from heila_mosaik.domain.information import Offer, ReserveNotification, SettlementStatement, VerificationNotification
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.verification import Tolerance, delivered

NOMINAL_HZ = 50.0
FULL_N_HZ = 0.1
START_D_HZ, FULL_D_HZ = 0.1, 0.5
MIN_BID_MW = {Product.FCR_N: 0.1, Product.FCR_D: 1.0}
RESERVE_PRODUCTS = (Product.FCR_N, Product.FCR_D)
ENDURANCE_H = {Product.FCR_N: 1.0, Product.FCR_D: 1.0 / 3.0}
"""Energy a limited reservoir keeps for a reserve, over its capacity (2023 terms). [h]"""

POWER_FACTOR_N, RETURN_FACTOR_D = 1.34, 0.2
"""Power kept over the capacity of FCR-N, and against the direction of FCR-D, to manage a limited reservoir. [1]"""


def capacity_of(item: Offer | ReserveNotification) -> float:
    """Capacity of a reserve or offer: both ways for FCR-N, upwards for FCR-D. [MW]"""
    if item.product is Product.FCR_N:
        return min(-item.p_min_mw, item.p_max_mw)
    return max(-item.p_min_mw, item.p_max_mw)


def occupied(item: Offer | ReserveNotification) -> tuple[float, float]:
    """Power of a limited reservoir that a reserve occupies, lowering and raising consumption (>= 0). [MW], [MW]"""
    capacity = capacity_of(item)
    if item.product is Product.FCR_N:
        return POWER_FACTOR_N * capacity, POWER_FACTOR_N * capacity
    return capacity, RETURN_FACTOR_D * capacity


def droop_fcr_n(frequency_hz: FloatArray, capacity_mw: float, dead_band_hz: float = 0.01) -> FloatArray:
    """Steady-state adjustment of FCR-N. [MW] (n,)

    Args:
        frequency_hz: Grid frequency. [Hz] (n,)
        capacity_mw: Maintained symmetric capacity. [MW]
        dead_band_hz: Half width of the dead band, at most 0.01. [Hz]

    Raises:
        ValueError: If the dead band is wider than the terms allow.
    """
    if not 0.0 <= dead_band_hz <= 0.01:
        raise ValueError(f"dead band {dead_band_hz} Hz is not within 0 to 0.01 Hz")
    deviation = np.asarray(frequency_hz, dtype=np.float64) - NOMINAL_HZ
    beyond = np.sign(deviation) * np.maximum(0.0, np.abs(deviation) - dead_band_hz)
    return capacity_mw * np.clip(beyond / (FULL_N_HZ - dead_band_hz), -1.0, 1.0)


def droop_fcr_d(frequency_hz: FloatArray, up_mw: float, down_mw: float = 0.0) -> FloatArray:
    """Steady-state adjustment of FCR-D: up below 49.9 Hz (<= 0), down above 50.1 Hz (>= 0). [MW] (n,)"""
    deviation = np.asarray(frequency_hz, dtype=np.float64) - NOMINAL_HZ
    share = np.clip((np.abs(deviation) - START_D_HZ) / (FULL_D_HZ - START_D_HZ), 0.0, 1.0)
    return np.where(deviation < 0.0, -up_mw * share, down_mw * share)


def fcr_d_required(seconds: FloatArray, target_mw: float) -> FloatArray:
    """Least activation of FCR-D after a step: half in 5 s, all in 30 s, linear between. [MW] (n,)"""
    return target_mw * np.interp(np.asarray(seconds, dtype=np.float64), [0.0, 5.0, 30.0], [0.0, 0.5, 1.0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservoir:
    """Limited reservoir behind a reserve.

    Attributes:
        lowering_mw: Power by which consumption can be lowered. [MW]
        raising_mw: Power by which consumption can be raised. [MW]
        lowering_mwh: Energy held for lowering. [MWh]
        raising_mwh: Room for raising. [MWh]
    """

    lowering_mw: float
    raising_mw: float
    lowering_mwh: float
    raising_mwh: float


def fcr_n_capacity(reservoir: Reservoir) -> float:
    """FCR-N a limited reservoir may sell: 134 % power (34 % for state-of-charge management), 1 h each way. [MW]"""
    power = min(reservoir.lowering_mw, reservoir.raising_mw) / POWER_FACTOR_N
    return max(0.0, min(power, reservoir.lowering_mwh, reservoir.raising_mwh))


def fcr_d_up_capacity(reservoir: Reservoir) -> float:
    """FCR-D up a limited reservoir may sell: 20 min of energy, 20 % power the other way. [MW]"""
    energy = 3.0 * reservoir.lowering_mwh
    return max(0.0, min(reservoir.lowering_mw, energy, reservoir.raising_mw / RETURN_FACTOR_D))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveOffer:
    """Offer of one hour of FCR.

    Attributes:
        id: Identity.
        submitted_at: Time of submission.
        capacity_mw: Capacity. [MW]
        price_eur_per_mw_h: Availability price. [EUR/(MW·h)]
    """

    id: str
    submitted_at: datetime
    capacity_mw: float
    price_eur_per_mw_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveResult:
    """Hourly result: accepted capacity by offer in price order, and the marginal price of all."""

    accepted_mw: tuple[tuple[str, float], ...]
    price_eur_per_mw_h: float
    missing_mw: float


def clear_reserve(
    offers: Sequence[ReserveOffer], demand_mw: float, min_bid_mw: float = 0.0, limit_eur_per_mw_h: float = np.inf
) -> ReserveResult:
    """Buy capacity for one hour in price order; every accepted offer gets the price of the last one taken.

    The last offer may be taken in part.  Offers below the smallest bid size or above the price limit do not count.
    """
    eligible = [
        each for each in offers if each.capacity_mw >= min_bid_mw and each.price_eur_per_mw_h <= limit_eur_per_mw_h
    ]
    accepted: list[tuple[str, float]] = []
    left, price = max(0.0, demand_mw), 0.0
    for offer in sorted(eligible, key=lambda each: (each.price_eur_per_mw_h, each.submitted_at, each.id)):
        if left <= 1e-9:
            break
        taken = min(left, offer.capacity_mw)
        accepted.append((offer.id, taken))
        left, price = left - taken, offer.price_eur_per_mw_h
    return ReserveResult(accepted_mw=tuple(accepted), price_eur_per_mw_h=price, missing_mw=left)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveSettlement:
    """Payment to a reserve provider for one hour. [EUR], [MWh]"""

    capacity_eur: float
    energy_eur: float
    up_mwh: float
    down_mwh: float


def settle_fcr(
    capacity_mw: float,
    maintained: FloatArray,
    price_eur_per_mw_h: float,
    adjustment_mw: FloatArray,
    step_s: float,
    up_eur_per_mwh: float,
    down_eur_per_mwh: float,
) -> ReserveSettlement:
    """Settle one provider: capacity that was really maintained, and FCR-N energy.

    Args:
        capacity_mw: Sold capacity. [MW]
        maintained: Share of the sold capacity that was available, 0..1. (n,)
        price_eur_per_mw_h: Marginal price. [EUR/(MW·h)]
        adjustment_mw: Delivered adjustment, consumption positive. [MW] (n,)
        step_s: Length of an interval. [s]
        up_eur_per_mwh: Price paid for up-regulation energy, not below day-ahead. [EUR/MWh]
        down_eur_per_mwh: Price charged for down-regulation energy, not above day-ahead. [EUR/MWh]
    """
    hours = step_s / 3600.0
    share = np.clip(np.asarray(maintained, dtype=np.float64), 0.0, 1.0)
    up_mwh = float(np.maximum(0.0, -adjustment_mw).sum()) * hours
    down_mwh = float(np.maximum(0.0, adjustment_mw).sum()) * hours
    return ReserveSettlement(
        capacity_eur=price_eur_per_mw_h * capacity_mw * float(share.sum()) * hours,
        energy_eur=up_mwh * up_eur_per_mwh - down_mwh * down_eur_per_mwh,
        up_mwh=up_mwh,
        down_mwh=down_mwh,
    )


def settle_reserve(
    identity: str,
    verification: VerificationNotification,
    reserve: ReserveNotification,
    tolerance: Tolerance | None = None,
) -> SettlementStatement:
    """Settle one verification of a frequency reserve.

    Capacity counts as maintained in an interval whose shortfall the tolerance forgives, else by the share delivered,
    and only maintained capacity is paid.  The energy of FCR-N is paid upwards and charged downwards at the price of
    the reserve; FCR-D has no energy payment (Fingrid's terms).

    Args:
        identity: Identity of the statement.
        verification: Measured against requested power.
        reserve: Terms of the reserve.
        tolerance: Shortfall that is forgiven.
    """
    forgiven = tolerance or Tolerance()
    outcome = delivered(verification.baseline_p_mw, verification.measured_p_mw, verification.requested_p_mw)
    allowed = np.maximum(forgiven.share * outcome.requested_mw, forgiven.absolute_mw)
    share = np.divide(
        outcome.delivered_mw, outcome.requested_mw, out=np.ones_like(allowed), where=outcome.requested_mw > 0.0
    )
    maintained = np.where(outcome.shortfall_mw <= allowed, 1.0, share)
    sign = np.sign(np.asarray(verification.requested_p_mw, dtype=np.float64))
    energy_price = reserve.price_eur_per_mwh if reserve.product is Product.FCR_N else 0.0
    paid = settle_fcr(
        capacity_of(reserve),
        maintained,
        reserve.availability_eur_per_mw_h,
        sign * outcome.delivered_mw,
        verification.step_s,
        energy_price,
        energy_price,
    )
    hours = verification.step_s / 3600.0
    count = len(allowed)
    short_mwh = float(outcome.shortfall_mw.sum()) * hours
    requested = float(outcome.requested_mw.sum()) * hours
    return SettlementStatement(
        id=identity,
        reserve=reserve.id,
        verification=verification.id,
        payer=reserve.buyer,
        payee=reserve.seller,
        start=verification.start,
        stop=verification.stop,
        requested_mwh=float((sign * outcome.requested_mw).sum()) * hours,
        delivered_mwh=float((sign * outcome.delivered_mw).sum()) * hours,
        availability_eur=paid.capacity_eur,
        activation_eur=paid.energy_eur,
        reactive_eur=0.0,
        penalty_eur=0.0,
        success=short_mwh <= max(forgiven.share * requested, forgiven.absolute_mw * count * hours) + 1e-12,
    )
