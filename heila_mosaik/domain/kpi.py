"""Key figures of a study as pure functions of arrays.

De-energised or missing elements are NaN and never count as congested.  Time series run along axis 0, elements along
axis 1; ``step_s`` is the length of an interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.information import CongestionKind, ReserveNotification, SettlementStatement
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.verification import balances


@dataclass(frozen=True, slots=True, kw_only=True)
class Congestion:
    """Congestion of a set of elements.

    Attributes:
        kind: Limit that is broken.
        element_minutes: Congested time of each element. [min] (m,)
        any_minutes: Time during which at least one element is congested. [min]
    """

    kind: CongestionKind
    element_minutes: FloatArray
    any_minutes: float


def voltage_congestion(
    vm_pu: FloatArray, v_min_pu: FloatArray, v_max_pu: FloatArray, step_s: float, tolerance_pu: float = 1e-6
) -> tuple[Congestion, Congestion]:
    """Undervoltage and overvoltage time. ``vm_pu`` [pu] (n, m), limits [pu] (m,)."""
    low = vm_pu < v_min_pu - tolerance_pu
    high = vm_pu > v_max_pu + tolerance_pu
    return (
        _congestion(CongestionKind.UNDERVOLTAGE, low, step_s),
        _congestion(CongestionKind.OVERVOLTAGE, high, step_s),
    )


def current_congestion(
    loading_percent: FloatArray, max_loading_percent: FloatArray, step_s: float, tolerance_percent: float = 1e-3
) -> Congestion:
    """Overload time of branches. ``loading_percent`` [%] (n, m), limits [%] (m,)."""
    over = loading_percent > max_loading_percent + tolerance_percent
    return _congestion(CongestionKind.CURRENT, over, step_s)


def _congestion(kind: CongestionKind, flags: np.ndarray, step_s: float) -> Congestion:
    minutes = step_s / 60.0
    return Congestion(
        kind=kind,
        element_minutes=flags.sum(axis=0, dtype=np.float64) * minutes,
        any_minutes=float(flags.any(axis=1).sum()) * minutes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Extreme:
    """Worst value with its place. ``step`` and ``element`` are positions, -1 where no value is known."""

    value: float
    step: int
    element: int


def worst(values: FloatArray, *, largest: bool = True) -> Extreme:
    """Largest (or smallest) value of a table, NaN skipped; the earliest at ties. ``values`` (n, m)."""
    usable = np.isfinite(values)
    if not usable.any():
        return Extreme(value=float("nan"), step=-1, element=-1)
    filled = np.where(usable, values, -np.inf if largest else np.inf)
    flat = int(filled.argmax() if largest else filled.argmin())
    step, element = np.unravel_index(flat, filled.shape)
    return Extreme(value=float(filled[step, element]), step=int(step), element=int(element))


def energy_mwh(p_mw: FloatArray, step_s: float) -> float:
    """Energy of a power series, NaN counted as none. [MWh]"""
    return float(np.nansum(p_mw)) * step_s / 3600.0


def curtailment_mwh(available_mw: FloatArray, produced_mw: FloatArray, step_s: float) -> float:
    """Production that was available and not used; both fed power, >= 0. [MWh]"""
    return energy_mwh(np.maximum(0.0, available_mw - produced_mw), step_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorFigures:
    """Estimation error: root mean square, largest magnitude, mean; and the number of values compared."""

    rms: float
    maximum: float
    bias: float
    count: int


def error_figures(estimate: FloatArray, truth: FloatArray) -> ErrorFigures:
    """Error of an estimate where both are known."""
    error = (estimate - truth)[np.isfinite(estimate) & np.isfinite(truth)]
    if not error.size:
        return ErrorFigures(rms=float("nan"), maximum=float("nan"), bias=float("nan"), count=0)
    return ErrorFigures(
        rms=float(np.sqrt(np.mean(error**2))),
        maximum=float(np.max(np.abs(error))),
        bias=float(np.mean(error)),
        count=int(error.size),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Flexibility:
    """Energy through the market, magnitudes. [MWh]

    Attributes:
        reserved_up_mwh, reserved_down_mwh: Held ready for lowering and for raising consumption.
        requested_mwh: Called.
        delivered_mwh: Delivered in the wanted direction.
        success_share: Share of settled deliveries within tolerance, NaN without any. [1]
    """

    reserved_up_mwh: float
    reserved_down_mwh: float
    requested_mwh: float
    delivered_mwh: float
    success_share: float


def flexibility(reserves: Sequence[ReserveNotification], statements: Sequence[SettlementStatement]) -> Flexibility:
    """Reserved, requested and delivered flexibility; pass every reserve once although two actors were told of it."""
    unique = {reserve.id: reserve for reserve in reserves}
    hours = {key: (each.stop - each.start).total_seconds() / 3600.0 for key, each in unique.items()}
    success = [statement.success for statement in statements]
    return Flexibility(
        reserved_up_mwh=sum(-each.p_min_mw * hours[key] for key, each in unique.items()),
        reserved_down_mwh=sum(each.p_max_mw * hours[key] for key, each in unique.items()),
        requested_mwh=sum(abs(each.requested_mwh) for each in statements),
        delivered_mwh=sum(abs(each.delivered_mwh) for each in statements),
        success_share=sum(success) / len(success) if success else float("nan"),
    )


def payments_eur(statements: Sequence[SettlementStatement]) -> dict[str, float]:
    """Net receipts by actor, every statement counted once; they sum to zero. [EUR]"""
    return balances({statement.id: statement for statement in statements}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Liquidity:
    """How deep the market is.

    Attributes:
        offered_to_needed: Offered over needed volume; infinite if nothing was needed. [1]
        hhi: Herfindahl-Hirschman index of the sellers' (or locations') shares, 0..10 000; NaN without offers.
    """

    offered_to_needed: float
    hhi: float


def liquidity(offered_mwh: Mapping[str, float], needed_mwh: float) -> Liquidity:
    """Liquidity of offers by seller or location. [MWh]"""
    volumes = np.array([volume for _, volume in sorted(offered_mwh.items()) if volume > 0.0], dtype=np.float64)
    total = float(volumes.sum())
    ratio = total / needed_mwh if needed_mwh > 0.0 else float("inf")
    hhi = float(np.sum((100.0 * volumes / total) ** 2)) if total > 0.0 else float("nan")
    return Liquidity(offered_to_needed=ratio, hhi=hhi)


def losses_mwh(losses_mw: FloatArray, step_s: float) -> float:
    """Energy lost in the grid. [MWh]"""
    return energy_mwh(losses_mw, step_s)


def duration_curve(values: FloatArray) -> FloatArray:
    """Values in falling order, NaN left out (loading duration curve). (k,)"""
    usable = values[np.isfinite(values)]
    return np.sort(usable)[::-1]
