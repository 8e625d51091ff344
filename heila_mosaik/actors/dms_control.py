"""Technical process of the DMS: optimise reserved flexibility, check for harm, release."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_curtail import Curtailment
from heila_mosaik.actors.dms_release import Proposal, Release
from heila_mosaik.actors.dms_security import Security
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.domain.congestion import Action, Limits, Redispatch, optimise, violations
from heila_mosaik.domain.estimation import Estimate, Estimator
from heila_mosaik.domain.forecast import Knowledge, Nowcast
from heila_mosaik.domain.information import ActivationNotification, ActivationRefusal, ReserveNotification
from heila_mosaik.domain.network import GridState
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.timegrid import floor_to

_CALLABLE = (Product.CRP, Product.CRP2)


@dataclass(slots=True)
class _Tracked:
    """Adjustment in force at one location; while it settles, the baseline keeps its distance to the plan."""

    p_mw: float = 0.0
    q_mvar: float = 0.0
    changed_at: datetime | None = None
    held: tuple[float, float] = (0.0, 0.0)


class Controller:
    """Keeps reserves and activations of the DMS.

    Args:
        settings: Settings of the DMS.
        estimator: Estimator with the grid engine.
        knowledge: Injections and locations.
        limits: Limits of the grid.
        security: Outages to guard against.
    """

    def __init__(
        self,
        settings: DmsSettings,
        estimator: Estimator,
        knowledge: Knowledge,
        limits: Limits,
        security: Security,
    ) -> None:
        self.settings, self.estimator, self.knowledge = settings, estimator, knowledge
        self.limits, self.security = limits, security
        self.kept = limits.tightened(
            settings.voltage_margin_pu, settings.loading_margin_percent, settings.loading_margin_percent
        )
        self.release = Release(settings, estimator, knowledge, limits)
        self._nowcast = Nowcast(knowledge)
        self.reserves: dict[str, ReserveNotification] = {}
        self.active: dict[str, ActivationNotification] = {}
        self._tracked = {name: _Tracked() for name in knowledge.locations}
        self._columns = {name: len(knowledge.injections.names) + k for k, name in enumerate(knowledge.locations)}
        self._used_mwh: dict[str, float] = {}
        self._lower_since: dict[str, datetime] = {}
        self._reason = ""
        self.curtailment: Curtailment | None = None

    def reserve(self, notification: ReserveNotification) -> bool:
        """Take a reserve; returns whether its location is known."""
        if notification.location not in self.knowledge.locations:
            return False
        self.reserves[notification.id] = notification
        return True

    def refused(self, refusal: ActivationRefusal, now: datetime) -> None:
        """The other side could not follow: the reserve rests for a while."""
        if refusal.reserve in self.reserves:
            self.release.rest(refusal.reserve, now)
            if self.active.pop(refusal.reserve, None) is not None:
                self._retrack(now)

    def adjustments(self, now: datetime) -> dict[str, tuple[float, float]]:
        """Adjustment in force at each location. [MW], [MVar]"""
        self._expire(now)
        self._retrack(now)
        return {name: (tracked.p_mw, tracked.q_mvar) for name, tracked in self._tracked.items()}

    def baseline(self, now: datetime, estimate: Estimate) -> tuple[FloatArray, FloatArray]:
        """Consumption of every injection as it would be without activations. [MW], [MVar] (n,)"""
        p, q = estimate.p_mw.copy(), estimate.q_mvar.copy()
        for name, tracked in self._tracked.items():
            column = self._columns[name]
            settling = (
                tracked.changed_at is not None and (now - tracked.changed_at).total_seconds() < self.settings.settle_s
            )
            plan = self.knowledge.planned(name, now)
            if settling:
                p[column], q[column] = plan[0] + tracked.held[0], plan[1] + tracked.held[1]
            else:
                p[column] -= tracked.p_mw
                q[column] -= tracked.q_mvar
                tracked.held = (float(p[column]) - plan[0], float(q[column]) - plan[1])
        return p, q

    def cycle(self, now: datetime, estimate: Estimate, out: Outbox) -> Redispatch | None:
        """One cycle of the technical process; returns the optimisation if one was needed."""
        self._expire(now)
        self._retrack(now)
        p, q = self.baseline(now, estimate)
        last_resort = self.curtailment
        if last_resort is not None:
            p = last_resort.uncurtailed(p)
        p, q = self._nowcast.ahead(now, self._effect(now), p, q)
        p_bus, q_bus = self.estimator.bus_power(p, q)
        ready = self._ready(now)
        own = last_resort.actions(p) if last_resort is not None else ()
        if not self.active and not (last_resort is not None and last_resort.active):
            network = self.estimator.engine.network
            if not (ready or own) or not (
                violations(self._coming(estimate, p_bus, q_bus), network, self.kept)
                or self.security.broken(p_bus, q_bus, out)
            ):
                broken = violations(estimate.state, network, self.limits)
                self._note(out, f"no reserve can be called; worst {broken[0]}" if broken else "")
                return None
        actions = tuple(self._action(reserve, now) for reserve in ready)
        present = {reserve.id: self._present(reserve.id) for reserve in ready}
        begin = np.array([*present.values(), *((0.0, 0.0) for _ in own)]).reshape(-1, 2).T.ravel()
        answer = optimise(
            self.estimator.engine,
            p_bus,
            q_bus,
            (*actions, *own),
            self.kept,
            start=begin,
            contingencies=self.security.kept(out),
        )
        if last_resort is not None:
            cut = answer.p_mw[len(ready) :]
            last_resort.take(now, cut, p, out)
            # the rest of the cycle judges calls with the curtailment in place
            p_bus = p_bus + np.bincount([action.bus for action in own], cut, len(p_bus))
        # margins that cannot be kept are no congestion yet
        broken = violations(answer.state, self.estimator.engine.network, self.limits) if answer.after else ()
        insecure = any(violation.outage for violation in answer.after)
        self._note(out, answer.reason if broken or insecure else "")
        wanted = {
            reserve.id: _rounded(reserve, float(answer.p_mw[k]), float(answer.q_mvar[k]))
            for k, reserve in enumerate(ready)
        }
        self._hold_back(now, wanted, ready, answer, (p_bus, q_bus))
        changed = [reserve for reserve in ready if self._differs(reserve.id, wanted[reserve.id])]
        if self.settings.harm_check:
            proposal = Proposal(now=now, p_bus_mw=p_bus, q_bus_mvar=q_bus, ready=ready, wanted=wanted, present=present)
            changed, withdrawn = self.release.judge(proposal, changed, out)
            wanted |= dict.fromkeys((reserve.id for reserve in withdrawn), (0.0, 0.0))
            changed += withdrawn
        for reserve in [*changed, *self._expiring(now, ready, changed)]:
            self._send(now, reserve, wanted[reserve.id] if reserve in changed else self._present(reserve.id), out)
        if changed and self.settings.lead_s <= 0:
            self._retrack(now)  # otherwise nothing changes before the set points take effect
        self._account(now)
        return answer

    def _ready(self, now: datetime) -> list[ReserveNotification]:
        """Callable reserves whose delivery period holds the time a set point takes effect, in the order made."""
        effect = self._effect(now)
        return [
            reserve
            for reserve in self.reserves.values()
            if reserve.product in _CALLABLE
            and reserve.start <= effect < reserve.stop
            and not self.release.resting(reserve.id, now)
        ]

    def _effect(self, now: datetime) -> datetime:
        """Time at which a set point decided now takes effect: the start of the step it falls in."""
        lead = self.settings.lead_s
        return floor_to(now + timedelta(seconds=lead), self.settings.cycle_s) if lead > 0 else now

    def _coming(self, estimate: Estimate, p_bus: FloatArray, q_bus: FloatArray) -> GridState:
        """State in which a set point decided now would act."""
        return self.estimator.engine.solve_bus(p_bus, q_bus) if self.settings.lead_s > 0 else estimate.state

    def _expire(self, now: datetime) -> None:
        over = [key for key, activation in self.active.items() if activation.stop <= now]
        for key in over:
            del self.active[key]
        if over:
            self._retrack(now)
        for key in [key for key, reserve in self.reserves.items() if reserve.stop <= now]:
            del self.reserves[key]
            self.release.forget(key)
            self._used_mwh.pop(key, None)
            self._lower_since.pop(key, None)

    def _retrack(self, now: datetime) -> None:
        """Take over the adjustments now in force; a location that changes holds its baseline."""
        sums = dict.fromkeys(self._tracked, (0.0, 0.0))
        for activation in self.active.values():
            if activation.start > now:
                continue
            p, q = sums[activation.location]
            sums[activation.location] = (p + activation.p_mw, q + activation.q_mvar)
        for name, (p, q) in sums.items():
            tracked = self._tracked[name]
            if (p, q) != (tracked.p_mw, tracked.q_mvar):
                tracked.p_mw, tracked.q_mvar, tracked.changed_at = p, q, now

    def _action(self, reserve: ReserveNotification, now: datetime) -> Action:
        share = 1.0
        if reserve.group and reserve.group_energy_mwh is not None:
            used = sum(
                self._used_mwh.get(other.id, 0.0) for other in self.reserves.values() if other.group == reserve.group
            )
            hours = min(self.settings.validity_s, (reserve.stop - now).total_seconds()) / 3600.0
            widest = max(-reserve.p_min_mw, reserve.p_max_mw) * hours
            share = min(1.0, max(reserve.group_energy_mwh - used, 0.0) / widest) if widest > 0 else 1.0
        return Action(
            name=reserve.id,
            bus=self.knowledge.locations[reserve.location],
            p_min_mw=reserve.p_min_mw * share,
            p_max_mw=reserve.p_max_mw * share,
            q_min_mvar=reserve.q_min_mvar,
            q_max_mvar=reserve.q_max_mvar,
            price_up=reserve.price_eur_per_mwh,
            price_down=reserve.price_eur_per_mwh,
            price_q=reserve.reactive_eur_per_mvarh,
        )

    def _present(self, reserve: str) -> tuple[float, float]:
        activation = self.active.get(reserve)
        return (activation.p_mw, activation.q_mvar) if activation is not None else (0.0, 0.0)

    def _hold_back(
        self,
        now: datetime,
        wanted: dict[str, tuple[float, float]],
        ready: list[ReserveNotification],
        answer: Redispatch,
        bus_power: tuple[FloatArray, FloatArray],
    ) -> None:
        """Lower a set point only after a lower one has sufficed for a while, so that it does not chase every load.

        What is held must not break a limit that the answer keeps: reactive power that was good for a current may be
        too much for a voltage a minute later.
        """
        held: dict[str, tuple[float, float]] = {}
        for key, want in wanted.items():
            has = self._present(key)
            least = [new if abs(new) > abs(old) or new * old < 0 else old for new, old in zip(want, has, strict=True)]
            if least[0] != has[0] or least[1] != has[1] or has == (0.0, 0.0):
                self._lower_since.pop(key, None)
                held[key] = (least[0], least[1])
                continue
            since = self._lower_since.setdefault(key, now)
            if (now - since).total_seconds() < self.settings.release_s:
                held[key] = has
            else:
                del self._lower_since[key]
        if any(held[key] != wanted[key] for key in held) and self._keeps(wanted | held, ready, answer, bus_power):
            wanted |= held

    def _keeps(
        self,
        points: dict[str, tuple[float, float]],
        ready: list[ReserveNotification],
        answer: Redispatch,
        bus_power: tuple[FloatArray, FloatArray],
    ) -> bool:
        """Whether set points break no limit that the answer keeps, by AC power flow."""
        p_bus, q_bus = bus_power[0].copy(), bus_power[1].copy()
        for reserve in ready:
            bus = self.knowledge.locations[reserve.location]
            p_bus[bus] += points[reserve.id][0]
            q_bus[bus] += points[reserve.id][1]
        left = {(item.element, item.kind) for item in answer.after}
        engine = self.estimator.engine
        found = violations(engine.solve_bus(p_bus, q_bus), engine.network, self.limits)
        return all((item.element, item.kind) in left for item in found)

    def _differs(self, reserve: str, wanted: tuple[float, float]) -> bool:
        """Whether a set point moves beyond the dead band; back to zero always counts."""
        has = self._present(reserve)
        if wanted == (0.0, 0.0):
            return has != (0.0, 0.0)
        bands = (self.settings.dead_band_mw, self.settings.dead_band_mvar)
        return any(abs(want - old) > band for want, old, band in zip(wanted, has, bands, strict=True))

    def _expiring(
        self, now: datetime, ready: list[ReserveNotification], changed: list[ReserveNotification]
    ) -> list[ReserveNotification]:
        soon = now + timedelta(seconds=2 * self.settings.cycle_s)
        return [
            reserve
            for reserve in ready
            if reserve not in changed
            and reserve.id in self.active
            and self.active[reserve.id].stop <= soon
            and self.active[reserve.id].stop < reserve.stop
        ]

    def _send(self, now: datetime, reserve: ReserveNotification, point: tuple[float, float], out: Outbox) -> None:
        start = max(self._effect(now), reserve.start)
        activation = ActivationNotification(
            id=out.identity("activation"),
            reserve=reserve.id,
            location=reserve.location,
            start=start,
            stop=min(reserve.stop, start + timedelta(seconds=self.settings.validity_s)),
            p_mw=point[0],
            q_mvar=point[1],
        )
        out.send(reserve.seller, activation)
        if point == (0.0, 0.0):
            self.active.pop(reserve.id, None)
        else:
            self.active[reserve.id] = activation

    def _account(self, now: datetime) -> None:
        hours = self.settings.cycle_s / 3600.0
        for key, activation in self.active.items():
            if activation.start > now:
                continue
            self._used_mwh[key] = self._used_mwh.get(key, 0.0) + abs(activation.p_mw) * hours

    def _note(self, out: Outbox, reason: str) -> None:
        """Record what remains broken, once when it begins and once when it ends."""
        if reason and not self._reason:
            out.record("congestion_left", reason)
        elif self._reason and not reason:
            out.record("congestion_cleared", "all limits hold with the margins kept")
        self._reason = reason


def _rounded(reserve: ReserveNotification, p_mw: float, q_mvar: float) -> tuple[float, float]:
    """Set point in whole kilowatts, inside the reserve."""
    p = min(max(round(p_mw, 3), reserve.p_min_mw), reserve.p_max_mw)
    q = min(max(round(q_mvar, 3), reserve.q_min_mvar), reserve.q_max_mvar)
    return p + 0.0, q + 0.0
