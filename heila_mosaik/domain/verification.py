"""Verification of delivered flexibility against a declared baseline, and settlement.

Baselines follow USEF/NAESB practice: the operation plan declared beforehand, the meter before the call, or the mean of
X of the last Y comparable days, if wanted with a same-day adjustment.  All powers are consumption positive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from heila_mosaik.domain.information import ReserveNotification, SettlementStatement, VerificationNotification
from heila_mosaik.domain.quantities import FloatArray


class BaselineMethod(StrEnum):
    """Declared ways to tell what would have been drawn without the call."""

    OPERATION_PLAN = "operation_plan"
    METER_BEFORE = "meter_before"
    X_OF_Y = "x_of_y"


def meter_before(measured_mw: FloatArray, count: int) -> FloatArray:
    """Mean of the last usable readings before the call, held over ``count`` intervals.

    Args:
        measured_mw: Readings before the call; NaN is skipped. [MW] (k,)
        count: Intervals of delivery.

    Raises:
        ValueError: If no reading is usable.
    """
    usable = measured_mw[np.isfinite(measured_mw)]
    if not len(usable):
        raise ValueError("meter_before: no usable reading before the call; use another baseline method")
    return np.full(count, float(usable.mean()))


def x_of_y(days_mw: FloatArray, x: int, before_mw: FloatArray | None = None, *, high: bool = True) -> FloatArray:
    """Mean profile of the ``x`` days of highest (or lowest) energy among the last ``y`` comparable days.

    Args:
        days_mw: Power of the same intervals on earlier days without a call, newest first. [MW] (y, n)
        x: Number of days to take.
        before_mw: Shift of today against those days just before the call, for the same-day adjustment. [MW] (k,)
        high: Whether to take the highest days (as in High X of Y), else the lowest.

    Returns:
        Baseline. [MW] (n,)

    Raises:
        ValueError: If there are fewer than ``x`` days.
    """
    if not 1 <= x <= len(days_mw):
        raise ValueError(f"x_of_y: {x} of {len(days_mw)} days asked for; need 1 <= x <= y")
    energy = days_mw.sum(axis=1)
    order = np.argsort(-energy if high else energy, kind="stable")[:x]
    baseline = days_mw[np.sort(order)].mean(axis=0)
    return baseline if before_mw is None else baseline + float(np.mean(before_mw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """Shortfall that is forgiven: the larger of a share of the request and an absolute power.

    Attributes:
        share: Share of the requested energy. [1]
        absolute_mw: Power, for meter and baseline noise. [MW]
    """

    share: float = 0.1
    absolute_mw: float = 0.002


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """Outcome per interval, in the wanted direction (magnitudes, >= 0). [MW] (n,)"""

    requested_mw: FloatArray
    delivered_mw: FloatArray
    shortfall_mw: FloatArray


def delivered(baseline: Sequence[float], measured: Sequence[float], requested: Sequence[float]) -> Delivery:
    """Set delivered against requested adjustment, interval by interval.

    Delivery against the wanted direction counts as none; more than was asked for counts as what was asked for.  A
    missing reading (NaN) counts as not delivered: the seller has to prove delivery.
    """
    wanted = np.asarray(requested, dtype=np.float64)
    change = np.asarray(measured, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    size = np.abs(wanted)
    moved = np.nan_to_num(np.sign(wanted) * change, nan=0.0)
    got = np.clip(moved, 0.0, size)
    return Delivery(requested_mw=size, delivered_mw=got, shortfall_mw=size - got)


@dataclass(frozen=True, slots=True, kw_only=True)
class Penalty:
    """Deduction for what was missing beyond tolerance.

    Attributes:
        factor: Times the activated energy price. [1]
        floor_eur_per_mwh: Smallest price of missing energy. [EUR/MWh]
    """

    factor: float = 1.5
    floor_eur_per_mwh: float = 0.0


def settle(
    identity: str,
    verification: VerificationNotification,
    reserve: ReserveNotification,
    tolerance: Tolerance | None = None,
    penalty: Penalty | None = None,
) -> SettlementStatement:
    """Settle one verification of one reserve.

    Availability is paid for the verified time inside the delivery period, activation for energy delivered in the
    wanted direction, reactive energy likewise; energy missing beyond the tolerance costs a penalty.  The buyer pays
    the sum, the seller receives it: what one loses the other gains.

    Args:
        identity: Identity of the statement.
        verification: Measured against requested power.
        reserve: Terms of the reserve.
        tolerance: Shortfall that is forgiven.
        penalty: Price of missing energy.
    """
    tolerance, penalty = tolerance or Tolerance(), penalty or Penalty()
    hours = verification.step_s / 3600.0
    active = delivered(verification.baseline_p_mw, verification.measured_p_mw, verification.requested_p_mw)
    reactive = delivered(verification.baseline_q_mvar, verification.measured_q_mvar, verification.requested_q_mvar)
    allowed = np.maximum(tolerance.share * active.requested_mw, tolerance.absolute_mw)
    missing_mwh = float(np.maximum(0.0, active.shortfall_mw - allowed).sum()) * hours
    allowed_q = np.maximum(tolerance.share * reactive.requested_mw, tolerance.absolute_mw)
    missing_q = float(np.maximum(0.0, reactive.shortfall_mw - allowed_q).sum()) * hours
    sign = np.sign(np.asarray(verification.requested_p_mw, dtype=np.float64))
    overlap_s = (min(verification.stop, reserve.stop) - max(verification.start, reserve.start)).total_seconds()
    held_mw = max(-reserve.p_min_mw, reserve.p_max_mw)
    missing_price = max(penalty.factor * reserve.price_eur_per_mwh, penalty.floor_eur_per_mwh)
    charge = missing_price * missing_mwh + penalty.factor * reserve.reactive_eur_per_mvarh * missing_q
    requested_mwh = float(active.requested_mw.sum()) * hours
    # Success is judged on energy over the whole period: single noisy readings must not fail a good delivery.
    count = len(active.requested_mw)
    allowed_mwh = max(tolerance.share * requested_mwh, tolerance.absolute_mw * count * hours)
    reactive_h = float(reactive.requested_mw.sum()) * hours
    allowed_mvarh = max(tolerance.share * reactive_h, tolerance.absolute_mw * count * hours)
    success = (
        float(active.shortfall_mw.sum()) * hours <= allowed_mwh + 1e-12
        and float(reactive.shortfall_mw.sum()) * hours <= allowed_mvarh + 1e-12
    )
    return SettlementStatement(
        id=identity,
        reserve=reserve.id,
        verification=verification.id,
        payer=reserve.buyer,
        payee=reserve.seller,
        start=verification.start,
        stop=verification.stop,
        requested_mwh=float((sign * active.requested_mw).sum()) * hours,
        delivered_mwh=float((sign * active.delivered_mw).sum()) * hours,
        availability_eur=reserve.availability_eur_per_mw_h * held_mw * max(0.0, overlap_s) / 3600.0,
        activation_eur=reserve.price_eur_per_mwh * float(active.delivered_mw.sum()) * hours,
        reactive_eur=reserve.reactive_eur_per_mvarh * float(reactive.delivered_mw.sum()) * hours,
        penalty_eur=max(0.0, charge),
        success=success,
    )


def total_eur(statement: SettlementStatement) -> float:
    """What the payer owes the payee; negative when the penalty is larger. [EUR]"""
    earned = statement.availability_eur + statement.activation_eur + statement.reactive_eur
    return earned - statement.penalty_eur


def balances(statements: Iterable[SettlementStatement]) -> dict[str, float]:
    """Net receipts by actor; they sum to zero. [EUR]"""
    net: dict[str, float] = {}
    for statement in statements:
        amount = total_eur(statement)
        net[statement.payer] = net.get(statement.payer, 0.0) - amount
        net[statement.payee] = net.get(statement.payee, 0.0) + amount
    return dict(sorted(net.items()))
