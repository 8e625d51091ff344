"""What an MGMS has sold and declared, and how its operation plan keeps to both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from heila_mosaik.actors.mgms_book import Book, Holding
from heila_mosaik.domain.flexibility import Envelope
from heila_mosaik.domain.information import PQProfile
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.reserves import ENDURANCE_H, RESERVE_PRODUCTS, capacity_of, occupied
from heila_mosaik.domain.resources import BatterySpec, HeatPumpSpec, ResourceSpec
from heila_mosaik.domain.scheduling import Obligation
from heila_mosaik.domain.timegrid import TimeGrid

TOLERANCE = 1e-6
FCR_NOTICE_S = 3600
"""How far ahead the plan behind a frequency reserve is frozen: beyond it the state of charge may be managed. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """Range and remaining energy sold.

    Attributes:
        up_mw, down_mw: Range for lowering and raising consumption (>= 0). [MW] (n,)
        q_low_mvar, q_high_mvar: Reactive range, lowering and raising (>= 0). [MVar] (n,)
        energy_up_mwh, energy_down_mwh: Energy that may still be called. [MWh]
        fcr_up_mw, fcr_down_mw: Range of the batteries that frequency reserves occupy (>= 0). [MW] (n,)
        fcr_energy_up_mwh, fcr_energy_down_mwh: Energy kept for them. [MWh]
        declared: Intervals whose plan was declared after a sale and must not change. [bool] (n,)
    """

    up_mw: FloatArray
    down_mw: FloatArray
    q_low_mvar: FloatArray
    q_high_mvar: FloatArray
    energy_up_mwh: float
    energy_down_mwh: float
    fcr_up_mw: FloatArray
    fcr_down_mw: FloatArray
    fcr_energy_up_mwh: float
    fcr_energy_down_mwh: float
    declared: npt.NDArray[np.bool_]

    def any(self) -> bool:
        """Whether any active range is sold."""
        return any(bool(np.any(part > TOLERANCE)) for part in (self.up_mw, self.down_mw, self.fcr_up_mw))


def _span(holding: Holding, grid: TimeGrid) -> slice:
    """Intervals of the grid that the delivery period touches."""
    first = max(0, grid.position(holding.reserve.start))
    last = min(grid.count, grid.position(holding.reserve.stop - timedelta(seconds=1)) + 1)
    return slice(first, max(first, last))


def sold_on(book: Book, grid: TimeGrid) -> Sold:
    """What of a grid is sold."""
    up, down, q_low, q_high = (np.zeros(grid.count) for _ in range(4))
    declared = np.zeros(grid.count, dtype=np.bool_)
    fcr_up, fcr_down, need_up, need_down = (np.zeros(grid.count) for _ in range(4))
    soon = slice(0, max(1, FCR_NOTICE_S // grid.step_s))
    limit: dict[tuple[str, bool], float] = {}
    asked: dict[tuple[str, bool], float] = {}
    for name, holding in book.holdings.items():
        reserve, span = holding.reserve, _span(holding, grid)
        if span.stop <= span.start:
            continue
        if reserve.product in RESERVE_PRODUCTS:
            ranges, capacity = occupied(reserve), capacity_of(reserve)
            fcr_up[span] += ranges[0]
            fcr_down[span] += ranges[1]
            need_up[span] += capacity * ENDURANCE_H[reserve.product]
            need_down[span] += capacity if reserve.product is Product.FCR_N else 0.0
            declared[slice(span.start, min(span.stop, soon.stop))] |= holding.declared
            continue
        up[span] -= reserve.p_min_mw
        down[span] += reserve.p_max_mw
        q_low[span] -= reserve.q_min_mvar
        q_high[span] += reserve.q_max_mvar
        declared[span] |= holding.declared
        hours = (span.stop - span.start) * grid.hours
        for is_up, power in ((True, -reserve.p_min_mw), (False, reserve.p_max_mw)):
            if power > TOLERANCE:
                # Members of a group share their energy: count it once, and no more than they can call.
                key = (reserve.group or name, is_up)
                limit[key] = book.owed_mwh(is_up, name)
                asked[key] = asked.get(key, 0.0) + power * hours
    energies = {key: min(mwh, asked[key]) for key, mwh in limit.items()}
    return Sold(
        up_mw=up,
        down_mw=down,
        q_low_mvar=q_low,
        q_high_mvar=q_high,
        energy_up_mwh=sum(mwh for (_, is_up), mwh in energies.items() if is_up),
        energy_down_mwh=sum(mwh for (_, is_up), mwh in energies.items() if not is_up),
        fcr_up_mw=fcr_up,
        fcr_down_mw=fcr_down,
        fcr_energy_up_mwh=float(need_up.max(initial=0.0)),
        fcr_energy_down_mwh=float(need_down.max(initial=0.0)),
        declared=declared,
    )


def is_store(spec: ResourceSpec) -> bool:
    """Whether a resource follows an operation plan."""
    return isinstance(spec, BatterySpec | HeatPumpSpec)


def duties_of(sold: Sold, free: Mapping[str, Envelope], specs: Mapping[str, ResourceSpec]) -> list[Obligation]:
    """What the stores must keep ready of the sold range: all that the other resources do not give."""
    duties = []
    others = [envelope for name, envelope in free.items() if not is_store(specs[name])]
    for is_up, range_mw, energy in (
        (True, sold.up_mw, sold.energy_up_mwh),
        (False, sold.down_mw, sold.energy_down_mwh),
    ):
        given = np.sum([e.up_mw if is_up else e.down_mw for e in others], axis=0) if others else 0.0
        need = np.maximum(0.0, range_mw - given)
        part = float((need / np.maximum(range_mw, TOLERANCE)).max(initial=0.0))
        duties.append(Obligation(up=is_up, power_mw=need, energy_mwh=energy * min(1.0, part)))
    members = tuple(name for name, spec in specs.items() if isinstance(spec, BatterySpec))
    duties += [
        Obligation(up=True, power_mw=sold.fcr_up_mw, energy_mwh=sold.fcr_energy_up_mwh, stores=members),
        Obligation(up=False, power_mw=sold.fcr_down_mw, energy_mwh=sold.fcr_energy_down_mwh, stores=members),
    ]
    return duties


def _earlier(old: Envelope, grid: TimeGrid) -> tuple[FloatArray, FloatArray]:
    """Powers of an earlier plan on ``grid``; NaN past its end. [MW], [MVar] (n,)"""
    position = old.grid.position(grid.start) + np.arange(grid.count)
    inside = (position >= 0) & (position < old.grid.count)
    place = np.clip(position, 0, old.grid.count - 1)
    return np.where(inside, old.p_mw[place], np.nan), np.where(inside, old.q_mvar[place], np.nan)


def declared_powers(
    old: Mapping[str, Envelope], grid: TimeGrid, sold: Sold, specs: Mapping[str, ResourceSpec]
) -> dict[str, FloatArray]:
    """Power of every store in the declared intervals, NaN elsewhere. [MW] (n,) each"""
    if not np.any(sold.declared):
        return {}
    return {
        name: np.where(sold.declared, _earlier(envelope, grid)[0], np.nan)
        for name, envelope in old.items()
        if is_store(specs[name])
    }


def idle_between(declared: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Plans of stores that stand still wherever nothing is declared."""
    return {name: np.nan_to_num(p_mw) for name, p_mw in declared.items()}


def follow(envelope: Envelope, p_mw: FloatArray | None) -> Envelope:
    """The envelope with other plan powers where ``p_mw`` is not NaN; its absolute limits stay."""
    if p_mw is None:
        return envelope
    plan = np.clip(np.where(np.isfinite(p_mw), p_mw, envelope.p_mw), envelope.p_min_mw, envelope.p_max_mw)
    return replace(envelope, p_mw=plan)


def keep_declared(new: Envelope, old: Envelope | None, sold: Sold) -> Envelope:
    """The new plan of the microgrid with the declared powers where they must not change.

    The room around the plan is that of the new one: what the resources can do does not depend on what was declared.
    """
    if old is None or not np.any(sold.declared):
        return new
    p_old, q_old = _earlier(old, new.grid)
    p_shift = np.where(sold.declared & np.isfinite(p_old), p_old - new.p_mw, 0.0)
    q_shift = np.where(sold.declared & np.isfinite(q_old), q_old - new.q_mvar, 0.0)
    return replace(
        new,
        p_mw=new.p_mw + p_shift,
        p_min_mw=new.p_min_mw + p_shift,
        p_max_mw=new.p_max_mw + p_shift,
        q_mvar=new.q_mvar + q_shift,
        q_min_mvar=new.q_min_mvar + q_shift,
        q_max_mvar=new.q_max_mvar + q_shift,
    )


def unsold(total: Envelope, sold: Sold) -> Envelope:
    """What of the microgrid's flexibility is still for sale."""
    return replace(
        total,
        p_min_mw=np.minimum(total.p_mw, total.p_min_mw + sold.up_mw + sold.fcr_up_mw),
        p_max_mw=np.maximum(total.p_mw, total.p_max_mw - sold.down_mw - sold.fcr_down_mw),
        q_min_mvar=np.minimum(total.q_mvar, total.q_min_mvar + sold.q_low_mvar),
        q_max_mvar=np.maximum(total.q_mvar, total.q_max_mvar - sold.q_high_mvar),
    )


def same_plan(sent: PQProfile | None, new: PQProfile, hours: float, tolerance_mw: float = 1e-4) -> bool:
    """Whether a plan already sent still holds: the same power over the next hours, and it reaches that far.

    Args:
        sent: Plan sent before.
        new: Plan made now.
        hours: How far ahead it matters. [h]
        tolerance_mw: Difference that does not matter. [MW]
    """
    if sent is None or sent.step_s != new.step_s:
        return False
    count = min(len(new.p_mw), round(hours * 3600 / new.step_s))
    first = sent.grid.position(new.start)
    if first < 0:
        return False
    old: Sequence[float] = sent.p_mw[first : first + count]
    return len(old) == count and all(abs(a - b) <= tolerance_mw for a, b in zip(old, new.p_mw[:count], strict=True))
