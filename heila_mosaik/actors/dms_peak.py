"""Technical process of the power flow optimisation: hold the exchange under a level that the reserves can sustain.

Every quarter of an hour the level is planned anew over the reserves' energy and time; between plans the reserves follow
the exchange estimated.  The peak counts as it is metered: as the mean over a quarter of an hour, and what has been
reached once is the floor for the rest of the day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_peak_market import PeakDesk, PeakSettings, to_midnight
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.domain.congestion import Limits, check_harm
from heila_mosaik.domain.congestion.harm import HarmCase
from heila_mosaik.domain.estimation import Estimate, Estimator
from heila_mosaik.domain.estimation.prior import Prior
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import ActivationNotification, ActivationRefusal, ReserveNotification
from heila_mosaik.domain.market.calendar import MarketCalendar
from heila_mosaik.domain.powerflowopt import Lot, Meter, exchange_of, plan_level, share_out
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

_CALLABLE = (Product.CRP, Product.CRP2)
_SPENT = 0.05
"""Share of a reserve's energy that counts as none left. [1]"""


class Peak:
    """Buys and calls flexibility against the peak.

    Args:
        settings: Settings of the DMS.
        peak: Settings of the power flow optimisation.
        estimator: Estimator with the grid engine.
        knowledge: Injections, plans and locations.
        limits: Limits of the grid and, at their connections, of customers' contracts.
        calendar: Times of the market.
        protected: Positions of buses whose voltage belongs to customers.
    """

    def __init__(
        self,
        settings: DmsSettings,
        peak: PeakSettings,
        estimator: Estimator,
        knowledge: Knowledge,
        limits: Limits,
        calendar: MarketCalendar,
        protected: Sequence[int] = (),
    ) -> None:
        self.settings, self.peak, self.estimator = settings, peak, estimator
        self.knowledge, self.limits, self.protected = knowledge, limits, tuple(protected)
        self.desk = PeakDesk(settings, peak, estimator, knowledge, limits, calendar)
        self.reserves: dict[str, ReserveNotification] = {}
        self.active: dict[str, ActivationNotification] = {}
        self._before: dict[str, ActivationNotification] = {}
        self.level: tuple[float, float] | None = None
        self.meter = Meter(peak.demand_s)
        self._planned_at: datetime | None = None
        self._planned: dict[str, float] = {}
        self._used_mwh: dict[str, float] = {}
        self._withheld: dict[str, datetime] = {}
        self._lower_since: dict[str, datetime] = {}
        own = len(knowledge.injections.names)
        self._columns = {name: own + k for k, name in enumerate(knowledge.locations)}

    def reserve(self, notification: ReserveNotification) -> bool:
        """Take a reserve that came from one of our bids; returns whether it is ours."""
        if notification.offer not in self.desk.bought or notification.location not in self.knowledge.locations:
            return False
        self.reserves[notification.id] = notification
        return True

    def refused(self, refusal: ActivationRefusal, now: datetime) -> bool:
        """The other side could not follow; returns whether the reserve is ours."""
        if refusal.reserve not in self.reserves:
            return False
        self._withheld[refusal.reserve] = now + timedelta(seconds=self.settings.withhold_s)
        self.active.pop(refusal.reserve, None)
        self._before.pop(refusal.reserve, None)
        return True

    def adjustments(self, now: datetime) -> dict[str, float]:
        """Adjustment in force at each location. [MW]"""
        sums = dict.fromkeys(self.knowledge.locations, 0.0)
        for activation in self._in_force(now).values():
            sums[activation.location] += activation.p_mw
        return sums

    def _in_force(self, now: datetime) -> dict[str, ActivationNotification]:
        """The call that acts now of each reserve: the last one, or the one before until the last one begins."""
        found = {}
        for key, activation in self.active.items():
            if activation.start <= now < activation.stop:
                found[key] = activation
            elif activation.start > now and (before := self._before.get(key)) is not None and before.stop > now:
                found[key] = before
        return found

    def informed(self, prior: Prior, now: datetime) -> Prior:
        """The prior with our calls in it; whether they are followed is not known before it is measured."""
        calls = {name: value for name, value in self.adjustments(now).items() if value}
        if not calls:
            return prior
        p, sigma = prior.p_mw.copy(), prior.sigma_p_mw.copy()
        for name, value in calls.items():
            p[self._columns[name]] += value
            sigma[self._columns[name]] += abs(value)
        return replace(prior, p_mw=p, sigma_p_mw=sigma)

    def held(self, now: datetime) -> list[ReserveNotification]:
        """Reserves that can still be called."""
        return [r for r in self.reserves.values() if r.product in _CALLABLE and self._withheld.get(r.id, now) <= now]

    def lots(self, now: datetime, grid: TimeGrid) -> list[tuple[Lot, int]]:
        """Reserves held as lots with what energy is left, and the bus of each."""
        found = []
        for reserve in self.held(now):
            lot = _lot(reserve, grid, self._used_mwh)
            if lot.active.any():
                found.append((lot, self.knowledge.locations[reserve.location]))
        return found

    # ------------------------------------------------------------------ one cycle

    def cycle(
        self, now: datetime, estimate: Estimate, deviation: tuple[FloatArray, FloatArray] | None, out: Outbox
    ) -> None:
        """Meter, plan the level if a plan is due, call."""
        self._expire(now)
        hours = self.settings.cycle_s / 3600.0
        for key, activation in self._in_force(now).items():
            energy = self.reserves[key].group or key
            self._used_mwh[energy] = self._used_mwh.get(energy, 0.0) + abs(activation.p_mw) * hours
        exchange = exchange_of(estimate.state)
        self.meter.read(now, exchange)
        ready = self._ready(now)
        due = self._planned_at is None or (now - self._planned_at).total_seconds() >= self.peak.cycle_s - 0.5
        if due and self.reserves:
            self._planned_at = floor_to(now, self.peak.cycle_s)
            self._plan(now, estimate, deviation, out)
        if self.level is None or not ready:
            return
        p, q = self._without_calls(now, estimate)
        wanted = self._wanted(now, ready, p, q)
        self._hold_back(now, wanted)
        changed = [r for r in ready if self._differs(r.id, wanted[r.id])]
        if changed and self.settings.harm_check:
            changed = self._released(now, changed, wanted, p, q, out)
        for reserve in ready:
            if reserve in changed:
                self._send(now, reserve, wanted[reserve.id], out)
            elif self._expiring(now, reserve):
                self._send(now, reserve, self._present(reserve.id), out)

    def _effect(self, now: datetime) -> datetime:
        lead = self.settings.lead_s
        return floor_to(now + timedelta(seconds=lead), self.settings.cycle_s) if lead > 0 else now

    def _ready(self, now: datetime) -> list[ReserveNotification]:
        effect = self._effect(now)
        return [reserve for reserve in self.held(now) if reserve.start <= effect < reserve.stop]

    def _without_calls(self, now: datetime, estimate: Estimate) -> tuple[FloatArray, FloatArray]:
        """Consumption per bus without our own calls."""
        p = estimate.p_mw.copy()
        for name, adjustment in self.adjustments(now).items():
            p[self._columns[name]] -= adjustment
        return self.estimator.bus_power(p, estimate.q_mvar)

    def _plan(
        self, now: datetime, estimate: Estimate, deviation: tuple[FloatArray, FloatArray] | None, out: Outbox
    ) -> None:
        """Plan the level over the time the reserves last."""
        last = max(reserve.stop for reserve in self.reserves.values())
        grid = to_midnight(floor_to(now, self.peak.step_s), last, self.peak.step_s)
        ahead = self.knowledge.forecast(grid, now, *(deviation or (None, None)))
        power = [self.estimator.bus_power(p, q) for p, q in zip(ahead.p_mw, ahead.q_mvar, strict=True)]
        power[0] = self._without_calls(now, estimate)
        lots = self.lots(now, grid)
        plan = plan_level(
            self.estimator.engine,
            np.array([each[0] for each in power]),
            np.array([each[1] for each in power]),
            np.full(grid.count, grid.hours),
            [lot for lot, _ in lots],
            np.array([bus for _, bus in lots], np.int64),
            self.limits,
            self.peak.prices,
            self.meter.billing(grid),
        )
        self.level = (float(plan.answer.import_level_mw[0]), float(plan.answer.export_level_mw[0]))
        # a set point of its own only where variation is priced; peaks alone are met by following the level
        follow = self.peak.prices.variation_eur_per_mw > 0
        self._planned = {lot.name: float(p[0]) for (lot, _), p in zip(lots, plan.answer.p_mw, strict=True) if follow}
        out.record(
            "level_planned",
            f"import level {self.level[0]:.3f} MW instead of {plan.before.peak_import_mw:.3f} MW",
            import_level_mw=self.level[0],
            export_level_mw=self.level[1],
            expected_import_mw=plan.before.peak_import_mw,
        )

    def _wanted(
        self, now: datetime, ready: list[ReserveNotification], p: FloatArray, q: FloatArray
    ) -> dict[str, float]:
        """Set point of each reserve: the plan's, and what is missing to the level."""
        assert self.level is not None
        state = self.estimator.engine.solve_bus(p, q)
        exchange = exchange_of(state)
        grid = TimeGrid(start=floor_to(now, self.peak.step_s), step_s=self.peak.step_s, count=1)
        lots = [self._sustained(now, reserve, grid) for reserve in ready]
        wanted = {
            lot.name: float(np.clip(self._planned.get(lot.name, 0.0), lot.p_min_mw, lot.p_max_mw)) for lot in lots
        }
        flow = exchange + sum(wanted.values())
        imported, exported = self.level
        # an export level that nobody priced is no reason to call anything
        over = max(flow - imported, 0.0) if self.peak.prices.import_eur_per_mw > 0 else 0.0
        under = max(-flow - exported, 0.0) if self.peak.prices.export_eur_per_mw > 0 else 0.0
        left = [
            replace(lot, p_min_mw=lot.p_min_mw - wanted[lot.name], p_max_mw=lot.p_max_mw - wanted[lot.name])
            for lot in lots
        ]
        more, _ = share_out(under - over, left)
        return {
            lot.name: float(np.clip(round(wanted[lot.name] + each, 3), lot.p_min_mw, lot.p_max_mw)) + 0.0
            for lot, each in zip(lots, more.tolist(), strict=True)
        }

    def _sustained(self, now: datetime, reserve: ReserveNotification, grid: TimeGrid) -> Lot:
        """A reserve as a lot, no wider than its energy left carries through the next interval."""
        lot = _lot(reserve, grid, self._used_mwh, self._effect(now))
        if lot.group_energy_mwh is None:
            return lot
        hours = min(float(self.peak.step_s), max((reserve.stop - now).total_seconds(), 60.0)) / 3600.0
        widest = lot.group_energy_mwh / hours
        if lot.group_energy_mwh < _SPENT * (reserve.group_energy_mwh or 0.0) or widest < self.peak.dead_band_mw:
            widest = 0.0  # the seller counts a little differently and would refuse the last of it
        return replace(lot, p_min_mw=max(lot.p_min_mw, -widest), p_max_mw=min(lot.p_max_mw, widest))

    def _present(self, reserve: str) -> float:
        activation = self.active.get(reserve)
        return activation.p_mw if activation is not None else 0.0

    def _hold_back(self, now: datetime, wanted: dict[str, float]) -> None:
        """Lower a set point only after a lower one has sufficed for a while."""
        for key, want in wanted.items():
            has = self._present(key)
            if not has or abs(want) >= abs(has) or want * has < 0:
                self._lower_since.pop(key, None)
                continue
            since = self._lower_since.setdefault(key, now)
            if (now - since).total_seconds() < self.peak.release_s:
                wanted[key] = has
            else:
                del self._lower_since[key]

    def _differs(self, reserve: str, wanted: float) -> bool:
        has = self._present(reserve)
        return has != 0.0 if wanted == 0.0 else abs(wanted - has) > self.peak.dead_band_mw

    def _expiring(self, now: datetime, reserve: ReserveNotification) -> bool:
        activation = self.active.get(reserve.id)
        soon = now + timedelta(seconds=2 * self.settings.cycle_s)
        if activation is None or not activation.p_mw:
            return False
        return activation.stop <= soon and activation.stop < reserve.stop

    def _released(
        self,
        now: datetime,
        changed: list[ReserveNotification],
        wanted: dict[str, float],
        p: FloatArray,
        q: FloatArray,
        out: Outbox,
    ) -> list[ReserveNotification]:
        """Changes that break no limit; the others are withheld with the reason."""
        places = self.knowledge.locations
        ids = {reserve.id for reserve in changed}
        rest = p.copy()
        for key, activation in self.active.items():
            if key not in ids:
                rest[places[activation.location]] += activation.p_mw
        bus = np.array([places[reserve.location] for reserve in changed], np.int64)
        adjustment = np.array([wanted[reserve.id] for reserve in changed])
        case = HarmCase(name="now", p_mw=rest, q_mvar=q)
        engine, still = self.estimator.engine, np.zeros(len(bus))
        check = check_harm(engine, [case], bus, adjustment, still, self.limits, protected=self.protected)
        for harm in check.harms:
            reserve = changed[harm.activation]
            self._withheld[reserve.id] = now + timedelta(seconds=self.settings.withhold_s)
            out.record(
                "activation_withheld",
                f"{wanted[reserve.id]:.3f} MW at {reserve.location} against the peak not released: {harm.reason}",
                reserve=reserve.id,
                location=reserve.location,
                p_mw=wanted[reserve.id],
                q_mvar=0.0,
            )
        return [reserve for reserve, free in zip(changed, check.released, strict=True) if free]

    def _send(self, now: datetime, reserve: ReserveNotification, p_mw: float, out: Outbox) -> None:
        start = max(self._effect(now), reserve.start)
        activation = ActivationNotification(
            id=out.identity("peak_activation"),
            reserve=reserve.id,
            location=reserve.location,
            start=start,
            stop=min(reserve.stop, start + timedelta(seconds=self.settings.validity_s)),
            p_mw=p_mw,
            q_mvar=0.0,
        )
        out.send(reserve.seller, activation)
        last = self.active.get(reserve.id)
        if last is not None and last.start <= now:
            self._before[reserve.id] = last
        self.active[reserve.id] = activation

    def _expire(self, now: datetime) -> None:
        for key, activation in list(self.active.items()):
            if activation.stop <= now or (not activation.p_mw and activation.start <= now):
                del self.active[key]
        for key in [key for key in self._before if key not in self.active or self.active[key].start <= now]:
            del self._before[key]
        for key in [key for key, reserve in self.reserves.items() if reserve.stop <= now]:
            offer = self.reserves.pop(key).offer
            self.desk.bought.discard(offer)
            for book in (self._used_mwh, self._planned):
                book.pop(key, None)
            for times in (self._withheld, self._lower_since):
                times.pop(key, None)
        if not self.reserves:
            self.level = None
            self._used_mwh.clear()


def _lot(reserve: ReserveNotification, grid: TimeGrid, used_mwh: dict[str, float], at: datetime | None = None) -> Lot:
    """A reserve as a lot; its energy is what it or its group has left."""
    active = np.array([reserve.start <= (at or grid.at(row)) < reserve.stop for row in range(grid.count)])
    energy = reserve.group_energy_mwh
    if energy is not None:
        energy = max(energy - used_mwh.get(reserve.group or reserve.id, 0.0), 0.0)
    return Lot(
        name=reserve.id,
        active=active,
        p_min_mw=reserve.p_min_mw,
        p_max_mw=reserve.p_max_mw,
        effect=np.ones(grid.count),
        price_eur_per_mwh=reserve.price_eur_per_mwh,
        group=reserve.group,
        group_energy_mwh=energy,
        one_way=False,
    )
