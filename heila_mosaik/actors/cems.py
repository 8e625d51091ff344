"""Customer energy management system: hands set points to its resources, reports what they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.call_breaker import CallBreaker
from heila_mosaik.actors.field_settings import FieldSettings, power_limits
from heila_mosaik.actors.frequency_control import FrequencyControl
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.domain.flexibility import ExogenousForecast, forecast_resource
from heila_mosaik.domain.information import (
    ControlSignal,
    FlexibilityForecast,
    Measurements,
    Message,
    OperationPlan,
    PQProfile,
    ReserveNotification,
    VerificationNotification,
    WeatherForecast,
)
from heila_mosaik.domain.quantities import Product, Quantity
from heila_mosaik.domain.resources import BatterySpec, HeatPumpSpec
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

TOLERANCE_MW = 1e-6
FREQUENCY_POINT = "grid"
"""Element under which a site measures the frequency of the grid."""
MOVING_S = 120.0


class Cems:
    """One state machine for a customer site; see :class:`FieldSettings`.

    A set point of an activation goes before the plan.  When it stops, the plan's set point of the running interval is
    given again (battery, heat pump); resources without plan fall back to their own behaviour.
    """

    def __init__(self, name: str, settings: FieldSettings) -> None:
        self.name = name
        self.settings = settings
        self._out = Outbox(name)
        self._inbox = Inbox(self._out)
        self._seen: Measurements | None = None
        self._plans: dict[str, OperationPlan] = {}
        self._active: dict[str, ControlSignal] = {}
        self._ordered_at: dict[str, datetime] = {}
        self._planned_until: dict[str, datetime] = {}
        self._weather: WeatherForecast | None = None
        self._report_at: datetime | None = None
        self._reported: Measurements | None = None
        self._reported_at: datetime | None = None
        self._forecast_at: datetime | None = None
        self._own: dict[str, PQProfile] = {}
        self._samples: dict[str, list[tuple[datetime, float, float]]] = {}
        self._frequency = FrequencyControl(settings.settlement_s, settings.effect_s)
        settle = timedelta(seconds=max(MOVING_S, 3.0 * settings.effect_s))
        moved = settings.breakers if settings.on_call else ()
        self._switches = [CallBreaker(each, settings.resources, settle) for each in moved]

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """Advance to ``now``; see :class:`heila_mosaik.actors.base.Actor`."""
        self._out.begin(now)
        if measurements is not None:
            self._seen = measurements
        for message in self._inbox.fresh(now, inbox):
            self._receive(now, message)
        if measurements is not None:
            self._sample(now)
        self._expire(now)
        self._switch(now)
        self._follow_plans(now)
        if self._frequency.armed and self._seen is not None:
            self._follow_frequency(now, self._seen, fresh=measurements is not None)
        self._report(now)
        due = self._forecast_at is None or now >= self._forecast_at
        if self.settings.distributed and self._weather is not None and due:
            self._forecast(now)
            self._forecast_at = floor_to(now, self.settings.forecast_s) + timedelta(seconds=self.settings.forecast_s)
        return self._out.outcome(self._wake(now))

    def _receive(self, now: datetime, message: Message) -> None:
        body = message.body
        if isinstance(body, ControlSignal):
            self._control(now, body, message.sent_at)
        elif isinstance(body, OperationPlan):
            if body.subject in self.settings.resources:
                self._plans[body.subject] = body
                self._planned_until.pop(body.subject, None)
        elif isinstance(body, WeatherForecast):
            self._weather = body
        elif isinstance(body, ReserveNotification) and not self._frequency.arm(body):
            self._out.record("message_ignored", f"reserve {body.id} is no frequency reserve")

    def _control(self, now: datetime, signal: ControlSignal, sent_at: datetime) -> None:
        """Check a set point, hold it and hand it to the resource; one overtaken on its way by a later one is void."""
        if sent_at < self._ordered_at.get(signal.target, sent_at):
            return
        self._ordered_at[signal.target] = sent_at
        if signal.target in self.settings.breakers or (
            signal.closed is not None and signal.target in self.settings.resources
        ):
            self._out.control(signal)
            return
        spec = self.settings.resources.get(signal.target)
        if spec is None or signal.stop <= now:
            if spec is not None and sent_at < signal.stop:
                # It was good when it was sent and ended on its way: nothing to do, nothing wrong.
                return
            why = "is not one of mine" if spec is None else f"stopped at {signal.stop.isoformat()}"
            self._out.record("control_refused", f"{signal.target} {why}", control=signal.id)
            return
        p_mw = signal.p_mw
        if p_mw is not None:
            low, high = power_limits(spec)
            p_mw = max(low, min(p_mw, high))
            if abs(p_mw - (signal.p_mw or 0.0)) > TOLERANCE_MW:
                self._out.record(
                    "setpoint_limited",
                    f"{signal.target}: {signal.p_mw:.4f} MW is outside {low:.4f}..{high:.4f} MW",
                    wanted_mw=signal.p_mw or 0.0,
                    given_mw=p_mw,
                )
        held = ControlSignal(
            id=self._out.identity("control"),
            target=signal.target,
            start=max(signal.start, now),
            stop=signal.stop,
            p_mw=p_mw,
            q_mvar=signal.q_mvar,
            cause=signal.cause or signal.id,
        )
        self._active[signal.target] = held
        self._planned_until.pop(signal.target, None)
        self._out.control(held)

    def _expire(self, now: datetime) -> None:
        for target in [name for name, signal in self._active.items() if signal.stop <= now]:
            signal = self._active.pop(target)
            self._planned_until.pop(target, None)
            if self.settings.distributed:
                self._verify(signal)

    def _switch(self, now: datetime) -> None:
        """Close breakers for a call, open them after it."""
        effect = now + timedelta(seconds=self.settings.effect_s)
        for switch in self._switches:
            closed = switch.decide(self._seen, self._active.values(), effect)
            if closed is not None:
                cause = next((signal.cause for signal in self._active.values()), "end of the call")
                stop = now + timedelta(seconds=self.settings.step_s)
                identity = self._out.identity("control")
                self._out.control(
                    ControlSignal(id=identity, target=switch.name, start=now, stop=stop, closed=closed, cause=cause)
                )

    def _follow_plans(self, now: datetime) -> None:
        """Give the plan's set point at the start of each interval to resources that follow one."""
        effect = now + timedelta(seconds=self.settings.effect_s)
        if self._switches:
            return  # without a call they are disconnected
        for name, plan in self._plans.items():
            until = self._planned_until.get(name)
            followed = isinstance(self.settings.resources[name], BatterySpec | HeatPumpSpec)
            active = self._active.get(name)
            busy = active is not None and active.stop > effect
            if not followed or busy or (until is not None and effect < until):
                continue
            grid = plan.profile.grid
            if effect not in grid:
                continue
            position = grid.position(effect)
            self._planned_until[name] = stop = grid.at(position + 1)
            self._out.control(
                ControlSignal(
                    id=self._out.identity("control"),
                    target=name,
                    start=max(now, grid.at(position), *((active.stop,) if active is not None else ())),
                    stop=stop,
                    p_mw=plan.profile.p_mw[position],
                    cause=plan.id,
                )
            )

    def _follow_frequency(self, now: datetime, seen: Measurements, *, fresh: bool) -> None:
        """Autonomous frequency control: droop around plan or call, verification of the periods that are over.

        A call that arrives between two readings moves the point around which the last reading acts.
        """
        if fresh:
            powers = {name: seen.value(name, Quantity.ACTIVE_POWER) for name in self.settings.resources}
            self._frequency.sample(seen.at, {name: p_mw for name, p_mw in powers.items() if p_mw is not None})
            for body in self._frequency.verify(now):
                self._out.send(self.settings.mgms, replace(body, id=self._out.identity("verification")))
        frequency = seen.value(FREQUENCY_POINT, Quantity.FREQUENCY)
        effect = seen.at + timedelta(seconds=self.settings.effect_s)
        if frequency is None:
            return  # without a reading the set points lapse and the plan holds
        base = {name: self._undisturbed(name, effect) for name in self._frequency.running(effect)}
        stop = effect + timedelta(seconds=max(60.0, 3.0 * self.settings.effect_s))
        for name, p_mw in self._frequency.points(seen.at, frequency, base).items():
            low, high = power_limits(self.settings.resources[name])
            call = self._active.get(name)
            self._out.control(
                ControlSignal(
                    id=self._out.identity("control"),
                    target=name,
                    start=seen.at,
                    stop=stop,
                    p_mw=max(low, min(p_mw, high)),
                    q_mvar=None if call is None or call.stop <= effect else call.q_mvar,
                    cause="frequency",
                )
            )

    def _undisturbed(self, name: str, moment: datetime) -> float:
        """Power of a resource by its running call, else by its plan, else none. [MW]"""
        active, plan = self._active.get(name), self._plans.get(name)
        if active is not None and active.p_mw is not None and active.start <= moment < active.stop:
            return active.p_mw
        if plan is not None and moment in plan.profile.grid:
            return plan.profile.p_mw[plan.profile.grid.position(moment)]
        return 0.0

    def _report(self, now: datetime) -> None:
        """Send the latest measurements when due."""
        if self._seen is None:
            return
        own = self.settings
        busy = self._active or self._frequency.running(now)
        interval = own.active_report_s if busy else own.report_s
        due = floor_to(now, interval)
        last = self._reported_at
        regular = last is None or last < floor_to(now, own.report_s)
        if regular or self._switched() or (last is not None and last < due and self._is_news()):
            self._reported_at = now
            self._reported = self._seen
            self._out.send(own.mgms, self._seen)
        self._report_at = due + timedelta(seconds=interval)

    def _switched(self) -> bool:
        """Whether a breaker has moved since the last report: that cannot wait."""
        old, new = self._reported, self._seen
        if old is None or new is None:
            return False
        return any(
            old.value(name, kind) != new.value(name, kind)
            for name in self.settings.breakers
            for kind in (Quantity.BREAKER, Quantity.PRESENCE)
        )

    def _is_news(self) -> bool:
        """Whether a value has left the dead band around the one reported last."""
        old, new = self._reported, self._seen
        if old is None or new is None or len(old.values) != len(new.values) or old.qualities != new.qualities:
            return True
        band = self.settings.report_band
        return any(abs(b - a) > max(1e-3, band * abs(a)) for a, b in zip(old.values, new.values, strict=True))

    def _sample(self, now: datetime) -> None:
        """Remember powers while a set point applies, for the own verification."""
        if not self.settings.distributed or self._seen is None:
            return
        for name in self._active:
            p_mw = self._seen.value(name, Quantity.ACTIVE_POWER)
            if p_mw is not None:
                q_mvar = self._seen.value(name, Quantity.REACTIVE_POWER) or 0.0
                self._samples.setdefault(name, []).append((now, p_mw, q_mvar))

    def _verify(self, signal: ControlSignal) -> None:
        """Tell the MGMS how well a set point was followed (distributed variant)."""
        samples = [row for row in self._samples.pop(signal.target, []) if signal.start <= row[0] < signal.stop]
        plan = self._plans.get(signal.target)
        if not samples or signal.p_mw is None:
            return
        profile = plan.profile if plan is not None else self._own.get(signal.target)
        base = 0.0
        if profile is not None and samples[0][0] in profile.grid:
            base = profile.p_mw[profile.grid.position(samples[0][0])]
        count = len(samples)
        q_asked = signal.q_mvar or 0.0
        self._out.send(
            self.settings.mgms,
            VerificationNotification(
                id=self._out.identity("verification"),
                reserve=signal.cause,
                location=signal.target,
                start=signal.start,
                stop=signal.stop,
                step_s=max(1, round((signal.stop - signal.start).total_seconds() / count)),
                baseline_method="operation_plan",
                baseline_p_mw=(base,) * count,
                measured_p_mw=tuple(row[1] for row in samples),
                requested_p_mw=(signal.p_mw - base,) * count,
                baseline_q_mvar=(0.0,) * count,
                measured_q_mvar=tuple(row[2] for row in samples),
                requested_q_mvar=(q_asked,) * count,
            ),
        )

    def _forecast(self, now: datetime) -> None:
        """Send the flexibility of the own resources (distributed variant)."""
        own, weather = self.settings, self._weather
        assert weather is not None
        grid = TimeGrid(start=floor_to(now, own.step_s), step_s=own.step_s, count=own.horizon_s // own.step_s)
        exogenous = ExogenousForecast(
            grid=grid,
            temperature_c=resample(weather.temperature_c, weather.start, weather.step_s, grid, 10.0),
            irradiance_w_per_m2=resample(weather.irradiance_w_per_m2, weather.start, weather.step_s, grid, 0.0),
        )
        for name, spec in own.resources.items():
            soc = self._seen.value(name, Quantity.STATE_OF_CHARGE) if self._seen is not None else None
            state = {} if soc is None else {"soc_percent": soc}
            envelope = forecast_resource(name, spec, state, exogenous, own.flexibility)
            up, down = envelope.finite_energy()
            self._own[name] = envelope.profile()
            self._out.send(
                own.mgms,
                FlexibilityForecast(
                    id=self._out.identity("flexibility"),
                    subject=name,
                    issued_at=now,
                    product=Product.CRP,
                    profile=self._own[name],
                    energy_up_mwh=up,
                    energy_down_mwh=down,
                ),
            )

    def _wake(self, now: datetime) -> datetime | None:
        """Next time something is due without a message."""
        moments = [signal.stop for signal in self._active.values()]
        moments += list(self._planned_until.values())
        moments += [moment for moment in (self._report_at, self._forecast_at) if moment is not None]
        later = [moment for moment in moments if moment > now]
        return min(later, default=None)


def resample(
    values: Sequence[float], start: datetime, step_s: int, grid: TimeGrid, default: float
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Values of another regular series at the intervals of ``grid``.

    Past the end of the series the same time of its last full day is taken (persistence), else its last value.
    """
    if not values:
        return np.full(grid.count, default)
    offset = (grid.start - start).total_seconds()
    position = ((offset + np.arange(grid.count) * grid.step_s) // step_s).astype(np.int64)
    day, count = max(1, round(86400 / step_s)), len(values)
    if count >= day:
        over = np.maximum(0, position - count + 1)
        position = position - -(-over // day) * day
    return np.asarray(values, dtype=np.float64)[np.clip(position, 0, count - 1)]
