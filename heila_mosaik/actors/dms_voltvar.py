"""Volt/VAR control of the DMS: plans taps, banks and inverter Q over the day and commands them.

The controller judges the grid *without* the flexibility that is called: own means come first, bought flexibility does
what they leave, curtailment what both leave.  So the decisions form a chain, not a loop: calls depend on positions,
positions never on calls, and the two cannot hunt each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_voltvar_settings import VoltVarSettings
from heila_mosaik.domain.congestion import Action, Limits
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.estimation.prior import Prior
from heila_mosaik.domain.forecast import Knowledge, Nowcast
from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.positions import placed
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid, floor_to
from heila_mosaik.domain.voltvar import Assessment, assess, optimise_reactive, plan_day, search
from heila_mosaik.domain.voltvar.devices import Positions, by_element, place, present, wear_eur
from heila_mosaik.domain.voltvar.means import OwnMeans

Deviation = tuple[FloatArray, FloatArray] | None


@dataclass(slots=True)
class _Pending:
    """A command on its way."""

    position: float
    sent_at: datetime


class VoltVar:
    """Keeps positions and set points of the DSO's own means.

    Args:
        settings: Settings.
        means: What may be moved.
        estimator: Estimator with the grid engine.
        knowledge: Injections and plans.
        limits: Limits of the grid.
    """

    def __init__(
        self, settings: VoltVarSettings, means: OwnMeans, estimator: Estimator, knowledge: Knowledge, limits: Limits
    ) -> None:
        self.settings, self.means = settings, means
        self.estimator, self.knowledge, self.limits = estimator, knowledge, limits
        names = {name: column for column, name in enumerate(knowledge.names)}
        self.columns = np.array([names[unit.element] for unit in means.inverters], np.int64)
        self.pending: dict[str, _Pending] = {}
        self._moved_at: dict[str, datetime] = {}
        self._setpoint = np.full(len(means.inverters), np.nan)
        self._sent_at: datetime | None = None
        self._planned_at: datetime | None = None
        self._broken_since: datetime | None = None
        self._q_expected = np.zeros(len(means.inverters))
        self._at: Positions | None = None
        self._left = False
        self._nowcast = Nowcast(knowledge)

    # ------------------------------------------------------------------ for the other functions of the DMS

    def informed(self, prior: Prior) -> Prior:
        """The prior with the reactive power the inverters are expected to have."""
        if not len(self.columns):
            return prior
        q, sigma = prior.q_mvar.copy(), prior.sigma_q_mvar.copy()
        q[self.columns] = self._q_expected
        sigma[self.columns] = np.maximum(sigma[self.columns], 0.2 * np.abs(self._q_expected))
        return replace(prior, q_mvar=q, sigma_q_mvar=sigma)

    @contextmanager
    def anticipated(self) -> Iterator[None]:
        """The engine with the positions commanded: what a set point decided now will meet."""
        with placed(self.estimator.engine, {name: wait.position for name, wait in self.pending.items()}):
            yield

    def helped(self, p_mw: FloatArray, q_mvar: FloatArray, limits: Limits) -> dict[str, float]:
        """Positions that serve an expected state best, for the market: what they cure need not be bought."""
        devices = self.means.devices
        if not devices:
            return {}
        start = present(self.estimator.engine, devices)
        self._at = None
        with placed(self.estimator.engine, by_element(devices, start)):
            found = search(
                lambda at: self._cost(at, p_mw, q_mvar, None, limits).cost_eur_per_h,
                devices,
                start,
                hours=self.settings.last_h,
                budget=self.settings.budget,
            )
        return by_element(devices, found.positions)

    def reactive_actions(self, generation_mw: FloatArray) -> tuple[Action, ...]:
        """Reactive power of the inverters as actions for the market's forecast."""
        return self.means.reactive(self.means.q_limits(generation_mw)) if self.settings.setpoints else ()

    def generation(self, p_mw: FloatArray) -> FloatArray:
        """Generation of the inverters among all injections. [MW] (m,)"""
        return -p_mw[..., self.columns]

    def reported(self, now: datetime, element: str, position: float, out: Outbox) -> None:
        """Telemetry shows a position."""
        wait = self.pending.get(element)
        if wait is not None and wait.position == position:
            del self.pending[element]
            late = (now - wait.sent_at).total_seconds()
            out.record(
                "switching_confirmed", f"{element} is at {position:g}", element=element, position=position, after_s=late
            )

    # ------------------------------------------------------------------ one cycle

    def cycle(self, now: datetime, p_mw: FloatArray, q_mvar: FloatArray, deviation: Deviation, out: Outbox) -> None:
        """Judge the present state, plan if a plan is due, command.

        Args:
            now: Time.
            p_mw: Active consumption of every injection without called flexibility and curtailment. [MW] (n,)
            q_mvar: Reactive consumption. [MVar] (n,)
            deviation: Deviation from the expectation, for the forecast.
            out: Outbox.
        """
        self._overdue(now, out)
        if len(self.columns):
            self._q_expected = q_mvar[self.columns].copy()
        p_mw, q_mvar = self._nowcast.ahead(now, now + timedelta(seconds=self.settings.lead_s), p_mw, q_mvar)
        bare = q_mvar.copy()
        bare[self.columns] = 0.0
        p_bus, q_bus = self.estimator.bus_power(p_mw, bare)
        limit = self.means.q_limits(self.generation(p_mw))
        start = self._expected()
        with placed(self.estimator.engine, by_element(self.means.devices, start)):
            self._at = None
            state = self._cost(start, p_bus, q_bus, limit, self.limits, held=True)
            urgent = self._lasting(now, state)
            target = start
            if urgent:
                target = self._correct(now, start, p_bus, q_bus, limit, out)
            elif self.settings.plan and self.means.devices and _due(now, self._planned_at, self.settings.replan_s):
                self._planned_at = floor_to(now, self.settings.cycle_s)
                target = self._plan(now, start, p_bus, q_bus, limit, deviation, out)
            if urgent or _due(now, self._sent_at, self.settings.cycle_s):
                self._sent_at = floor_to(now, self.settings.cycle_s)
                self._set_inverters(now, target, p_bus, q_bus, limit, out)

    def _expected(self) -> Positions:
        """Positions once all commands on their way have arrived."""
        at = dict(by_element(self.means.devices, present(self.estimator.engine, self.means.devices)))
        at |= {name: wait.position for name, wait in self.pending.items()}
        return tuple(round(at[device.elements[0]]) for device in self.means.devices)

    def _cost(
        self,
        at: Positions,
        p_bus: FloatArray,
        q_bus: FloatArray,
        limit: FloatArray | None,
        limits: Limits,
        *,
        held: bool = False,
    ) -> Assessment:
        """Assess positions; the engine is left there.

        ``held``: inverters at their present set points; otherwise they follow their characteristic, which stands for
        the set points they will get for the state and the positions in question.
        """
        if at != self._at:
            place(self.estimator.engine, self.means.devices, at)
            self._at = at
        inverters = self.means.inverters
        set_now = self._setpoint if held and self.settings.setpoints else None
        return assess(self.estimator.engine, p_bus, q_bus, limits, self.settings.weights, inverters, limit, set_now)

    def _lasting(self, now: datetime, state: Assessment) -> bool:
        """Whether a voltage limit has been broken for long enough."""
        v = state.state.vm_pu
        with np.errstate(invalid="ignore"):
            broken = bool(((v < self.limits.v_min_pu - 1e-4) | (v > self.limits.v_max_pu + 1e-4)).any())
        if not broken:
            self._broken_since, self._left = None, False
            return False
        self._broken_since = self._broken_since or now
        return (now - self._broken_since).total_seconds() >= self.settings.confirm_s

    def _correct(
        self, now: datetime, start: Positions, p_bus: FloatArray, q_bus: FloatArray, limit: FloatArray, out: Outbox
    ) -> Positions:
        """Move against a broken limit, dwell times aside; returns the positions commanded."""
        found = search(
            lambda at: self._cost(at, p_bus, q_bus, limit, self.limits).cost_eur_per_h,
            self.means.devices,
            start,
            hours=self.settings.last_h,
            budget=self.settings.budget * 2,
        )
        before = self._cost(start, p_bus, q_bus, limit, self.limits)
        if found.positions != start:
            self._broken_since = None
            why = f"a broken limit, {before.cost_eur_per_h:.0f} to {found.cost_eur_per_h:.0f} EUR/h"
            self._command(now, start, found.positions, why, out)
        elif not self._left:
            out.record("voltage_left", f"no position of own devices cures the broken limit: {self._worst(before)}")
        self._left = found.positions == start
        return found.positions

    def _worst(self, state: Assessment) -> str:
        """The voltage furthest outside the band, in words."""
        v = state.state.vm_pu
        beyond = np.fmax(np.nan_to_num(self.limits.v_min_pu - v), np.nan_to_num(v - self.limits.v_max_pu))
        worst = int(np.argmax(beyond))
        bus = self.estimator.engine.network.bus_ids[worst]
        band = f"{self.limits.v_min_pu[worst]:.3f} to {self.limits.v_max_pu[worst]:.3f} pu"
        return f"bus.{bus} {v[worst]:.4f} pu ({band})"

    def _plan(
        self,
        now: datetime,
        start: Positions,
        p_bus: FloatArray,
        q_bus: FloatArray,
        limit: FloatArray,
        deviation: Deviation,
        out: Outbox,
    ) -> Positions:
        """Plan the horizon and command what is due now; returns the positions commanded."""
        settings, devices = self.settings, self.means.devices
        first = now.replace(minute=0, second=0, microsecond=0)
        grid = TimeGrid(
            start=first, step_s=settings.step_s, count=max(1, round(settings.horizon_h * 3600 / settings.step_s))
        )
        ahead = self.knowledge.forecast(grid, now, *(deviation or (None, None)))
        q_ahead = ahead.q_mvar.copy()
        q_ahead[:, self.columns] = 0.0
        states = [(p_bus, q_bus, limit)]
        states += [
            (*self.estimator.bus_power(p, q), self.means.q_limits(self.generation(p)))
            for p, q in zip(ahead.p_mw[1:], q_ahead[1:], strict=True)
        ]
        hours = np.full(grid.count, grid.hours)
        hours[0] = max((grid.at(1) - now).total_seconds() / 3600.0, grid.hours / 4)
        plan = plan_day(
            lambda row, at: self._cost(at, *states[row], self.limits).cost_eur_per_h,
            hours,
            devices,
            start,
            budget=settings.budget,
            max_steps=settings.max_steps,
        )
        target = tuple(
            new if self._rested(now, device.name, device.dwell_s) else old
            for device, old, new in zip(devices, start, plan.positions[0], strict=True)
        )
        # what is due now must pay by itself or by what follows it, and a part of a plan may not pay at all
        gain = plan.gain_eur
        if target != plan.positions[0]:
            change = self._cost(start, *states[0], self.limits).cost_eur_per_h
            change -= self._cost(target, *states[0], self.limits).cost_eur_per_h
            gain = change * float(hours[0]) - wear_eur(devices, start, target)
        if gain < settings.gain_eur:
            target = start
        if target != start:
            self._command(now, start, target, f"a plan that saves {gain:.2f} EUR over {settings.horizon_h:g} h", out)
        out.record(
            "voltvar_planned",
            f"{sum(plan.steps)} steps ahead save {plan.gain_eur:.2f} EUR of {plan.stay_eur:.2f} EUR",
            steps=sum(plan.steps),
            gain_eur=plan.gain_eur,
            stay_eur=plan.stay_eur,
            evaluations=plan.evaluations,
        )
        return target

    def _rested(self, now: datetime, name: str, dwell_s: float) -> bool:
        moved = self._moved_at.get(name)
        return moved is None or (now - moved).total_seconds() >= dwell_s

    def _command(self, now: datetime, start: Positions, target: Positions, why: str, out: Outbox) -> None:
        for device, old, new in zip(self.means.devices, start, target, strict=True):
            if old == new:
                continue
            self._moved_at[device.name] = now
            for element in device.elements:
                self.pending[element] = _Pending(float(new), now)
                signal = ControlSignal(
                    id=out.identity("command"),
                    target=element,
                    start=now,
                    stop=now + timedelta(days=1),
                    position=float(new),
                    cause="volt/var",
                )
                out.control(signal)
                out.record(
                    "switching_commanded",
                    f"{element} from {old} to {new}: {why}",
                    element=element,
                    old=old,
                    position=new,
                )

    def _set_inverters(
        self, now: datetime, at: Positions, p_bus: FloatArray, q_bus: FloatArray, limit: FloatArray, out: Outbox
    ) -> None:
        """Reactive set points for the state at the positions commanded."""
        if not (self.settings.setpoints and self.means.inverters):
            return
        place(self.estimator.engine, self.means.devices, at)
        self._at = at
        found = optimise_reactive(
            self.estimator.engine,
            p_bus,
            q_bus,
            self.means.inverters,
            limit,
            self.limits,
            self.settings.weights,
            np.nan_to_num(self._setpoint),
        )
        moved = ~(np.abs(found.q_mvar - self._setpoint) <= self.settings.dead_band_mvar)
        self._setpoint = np.where(moved, found.q_mvar, self._setpoint)
        for unit, q in zip(self.means.inverters, self._setpoint.tolist(), strict=True):
            out.control(
                ControlSignal(
                    id=out.identity("command"),
                    target=unit.element,
                    start=now,
                    stop=now + timedelta(seconds=self.settings.validity_s),
                    q_mvar=round(q, 4),
                    cause="volt/var",
                )
            )
        if moved.any():
            out.record(
                "reactive_set",
                f"{int(moved.sum())} of {len(moved)} inverters moved; losses "
                f"{found.before.losses_mw:.4f} to {found.after.losses_mw:.4f} MW",
                moved=int(moved.sum()),
                losses_before_mw=found.before.losses_mw,
                losses_mw=found.after.losses_mw,
            )

    def _overdue(self, now: datetime, out: Outbox) -> None:
        """Report commands that telemetry does not show; the position reported counts again."""
        for element in list(self.pending):
            wait = self.pending[element]
            if (now - wait.sent_at).total_seconds() > self.settings.acknowledge_s:
                del self.pending[element]
                out.record(
                    "switching_unconfirmed",
                    f"{element} was told to go to {wait.position:g} at {wait.sent_at:%H:%M} and was not seen there",
                    element=element,
                    position=wait.position,
                )


def _due(now: datetime, last: datetime | None, period_s: int) -> bool:
    return last is None or (now - last).total_seconds() >= period_s - 0.5
