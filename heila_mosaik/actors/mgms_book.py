"""What an MGMS remembers: reserves, activations, plans and metered power; bounded by :meth:`Book.prune`."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from heila_mosaik.domain.flexibility import Envelope
from heila_mosaik.domain.information import ActivationNotification, ReserveNotification, VerificationNotification
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS
from heila_mosaik.domain.timegrid import floor_to

MINUTE = timedelta(minutes=1)
TOLERANCE = 1e-6


@dataclass(slots=True)
class Call:
    """Adjustment that applies over ``[start, stop)``."""

    start: datetime
    stop: datetime
    p_mw: float
    q_mvar: float


@dataclass(slots=True)
class Holding:
    """A reserve with the calls on it and what it has used."""

    reserve: ReserveNotification
    calls: list[Call] = field(default_factory=list)
    verified_until: datetime | None = None
    used_up_mwh: float = 0.0
    used_down_mwh: float = 0.0
    baseline: tuple[float, float] | None = None
    declared: bool = False

    def energy_mwh(self) -> float:
        """Energy that may be called in one direction in all. [MWh]"""
        if self.reserve.group_energy_mwh is not None:
            return self.reserve.group_energy_mwh
        hours = (self.reserve.stop - self.reserve.start).total_seconds() / 3600.0
        return max(-self.reserve.p_min_mw, self.reserve.p_max_mw) * hours

    def asked(self, moment: datetime) -> tuple[float, float]:
        """Adjustment in force. [MW], [MVar]"""
        for call in reversed(self.calls):
            if call.start <= moment < call.stop:
                return call.p_mw, call.q_mvar
        return 0.0, 0.0

    def owed_mwh(self, up: bool) -> float:
        """Energy that may still be called in a direction. [MWh]"""
        return max(0.0, self.energy_mwh() - (self.used_up_mwh if up else self.used_down_mwh))


@dataclass(slots=True)
class Book:
    """Memory of an MGMS."""

    holdings: dict[str, Holding] = field(default_factory=dict)
    plans: list[tuple[datetime, Envelope]] = field(default_factory=list)
    meter: dict[datetime, tuple[float, float]] = field(default_factory=dict)
    read_at: dict[datetime, datetime] = field(default_factory=dict)
    site_verifications: list[VerificationNotification] = field(default_factory=list)

    def add(self, reserve: ReserveNotification) -> None:
        """Enter a reserve, once; a scheduled one is called at once for its whole time."""
        if reserve.id in self.holdings:
            return
        holding = Holding(reserve, verified_until=reserve.start)
        if reserve.product is Product.SRP:
            p_mw = reserve.p_min_mw if reserve.p_min_mw < -TOLERANCE else reserve.p_max_mw
            q_mvar = reserve.q_min_mvar if reserve.q_min_mvar < -TOLERANCE else reserve.q_max_mvar
            holding.calls.append(Call(reserve.start, reserve.stop, p_mw, q_mvar))
        self.holdings[reserve.id] = holding

    def why_not(self, call: ActivationNotification, now: datetime) -> str:
        """Reason against an activation, empty if there is none."""
        holding = self.holdings.get(call.reserve)
        if holding is None:
            return f"reserve {call.reserve} is unknown here"
        reserve = holding.reserve
        if call.stop <= now or call.start >= reserve.stop or call.stop <= reserve.start:
            return (
                f"activation {call.start.isoformat()}..{call.stop.isoformat()} expired or outside the reserve's "
                f"{reserve.start.isoformat()}..{reserve.stop.isoformat()}"
            )
        if not reserve.p_min_mw - TOLERANCE <= call.p_mw <= reserve.p_max_mw + TOLERANCE:
            return f"{call.p_mw:.4f} MW is outside the reserved {reserve.p_min_mw:.4f}..{reserve.p_max_mw:.4f} MW"
        if not reserve.q_min_mvar - TOLERANCE <= call.q_mvar <= reserve.q_max_mvar + TOLERANCE:
            return (
                f"{call.q_mvar:.4f} MVar is outside the reserved "
                f"{reserve.q_min_mvar:.4f}..{reserve.q_max_mvar:.4f} MVar"
            )
        if abs(call.p_mw) > TOLERANCE and self.owed_mwh(call.p_mw < 0, call.reserve) <= abs(call.p_mw) / 60.0:
            return f"energy of the reserve is exhausted, {holding.energy_mwh():.4f} MWh were sold"
        return ""

    def call(self, asked: ActivationNotification, now: datetime, p_mw: float, q_mvar: float) -> None:
        """Enter an accepted activation; it replaces earlier ones of the same reserve from its start."""
        holding = self.holdings[asked.reserve]
        start = max(asked.start, now, holding.reserve.start)
        stop = min(asked.stop, holding.reserve.stop)
        kept = [call for call in holding.calls if call.start < start]
        for call in kept:
            call.stop = min(call.stop, start)
        holding.calls = [*kept, Call(start, stop, p_mw, q_mvar)]

    def followed_mw(self, minute: datetime) -> float:
        """Adjustment of frequency control when the meter was read in a minute, as its sites measured it. [MW]"""
        moment = self.read_at.get(minute, minute)
        total = 0.0
        for body in self.site_verifications:
            if body.start <= moment < body.stop:
                place = min(int((moment - body.start).total_seconds() // body.step_s), len(body.requested_p_mw) - 1)
                total += body.requested_p_mw[place]
        return total

    def asked(self, moment: datetime, without: str = "") -> tuple[float, float]:
        """Sum of the adjustments in force, one reserve left out if named. [MW], [MVar]"""
        total_p, total_q = 0.0, 0.0
        for name, holding in self.holdings.items():
            if name != without and holding.reserve.start <= moment < holding.reserve.stop:
                p_mw, q_mvar = holding.asked(moment)
                total_p, total_q = total_p + p_mw, total_q + q_mvar
        return total_p, total_q

    def owed_mwh(self, up: bool, reserve: str = "") -> float:
        """Energy that may still be called: of one reserve with its group, or of all. [MWh]"""
        if reserve:
            holding = self.holdings[reserve]
            group = holding.reserve.group
            members = [h for h in self.holdings.values() if h is holding or (group and h.reserve.group == group)]
            used = sum(h.used_up_mwh if up else h.used_down_mwh for h in members)
            return max(0.0, holding.energy_mwh() - used)
        return sum(h.owed_mwh(up) for h in self.holdings.values() if h.reserve.product not in RESERVE_PRODUCTS)

    def sold_mw(self, moment: datetime, up: bool) -> float:
        """Range sold in one direction at a moment, signed. [MW]"""
        held = [
            h.reserve
            for h in self.holdings.values()
            if h.reserve.product not in RESERVE_PRODUCTS and h.reserve.start <= moment < h.reserve.stop
        ]
        return sum(reserve.p_min_mw if up else reserve.p_max_mw for reserve in held)

    def book_energy(self, now: datetime, dt_s: float) -> None:
        """Count what was called over the last ``dt_s`` before ``now``."""
        middle = now - timedelta(seconds=dt_s / 2)
        for holding in self.holdings.values():
            p_mw = holding.asked(middle)[0]
            holding.used_up_mwh += max(0.0, -p_mw) * dt_s / 3600.0
            holding.used_down_mwh += max(0.0, p_mw) * dt_s / 3600.0

    def planned(self, moment: datetime) -> tuple[float, float] | None:
        """Plan of the interval that contains ``moment``: the latest one made before the interval began."""
        found: tuple[float, float] | None = None
        for issued_at, plan in self.plans:
            if moment not in plan.grid:
                continue
            position = plan.grid.position(moment)
            if found is None or issued_at <= plan.grid.at(position):
                found = (float(plan.p_mw[position]), float(plan.q_mvar[position]))
        return found

    def metered(self, start: datetime, count: int) -> list[tuple[float, float]] | None:
        """Minute values from ``start``, the last one held over gaps; ``None`` if nothing is known."""
        last = self.meter.get(start)
        if last is None:
            earlier = [moment for moment in self.meter if moment <= start]
            last = self.meter[max(earlier)] if earlier else None
        rows = []
        for k in range(count):
            last = self.meter.get(start + k * MINUTE, last)
            rows.append(last)
        first = next((row for row in rows if row is not None), None)
        return None if first is None else [row if row is not None else first for row in rows]

    def put_meter(self, at: datetime, p_mw: float, q_mvar: float) -> None:
        """Enter power at the point of common coupling."""
        self.meter[floor_to(at, 60)] = (p_mw, q_mvar)
        self.read_at[floor_to(at, 60)] = at

    def moments(self, settlement_s: int, delay_s: int) -> list[datetime]:
        """When calls begin and when settlement periods can be verified.

        Args:
            settlement_s: Settlement period. [s]
            delay_s: Wait for late measurements. [s]
        """
        found: list[datetime] = []
        for holding in self.holdings.values():
            at = holding.verified_until
            if at is not None and at < holding.reserve.stop:
                stop = min(floor_to(at, settlement_s) + timedelta(seconds=settlement_s), holding.reserve.stop)
                found.append(stop + timedelta(seconds=delay_s))
            found.extend(call.start for call in holding.calls)
        return found

    def prune(self, now: datetime) -> None:
        """Forget what is over: verified reserves, old plans, old minutes."""
        horizon = now - timedelta(hours=2)
        self.site_verifications = [body for body in self.site_verifications if body.stop > horizon]
        done = [
            k for k, h in self.holdings.items() if (h.verified_until or now) >= h.reserve.stop and h.reserve.stop < now
        ]
        # Members of a group count each other's energy: a group goes only as a whole.
        open_groups = {h.reserve.group for k, h in self.holdings.items() if k not in done and h.reserve.group}
        for name in done:
            if self.holdings[name].reserve.group not in open_groups:
                del self.holdings[name]
        for holding in self.holdings.values():
            holding.calls = [call for call in holding.calls if call.stop > horizon]
        if len(self.meter) > 400:
            self.meter = {moment: row for moment, row in self.meter.items() if moment >= horizon}
            self.read_at = {moment: at for moment, at in self.read_at.items() if moment >= horizon}
        while len(self.plans) > 1 and self.plans[1][0] <= horizon:
            self.plans.pop(0)
