"""Microgrid management system: forecasts, plans, dispatches and verifies one microgrid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.mgms_book import MINUTE, Book, Holding
from heila_mosaik.actors.mgms_forecast import Expectation, asking_prices, whole
from heila_mosaik.actors.mgms_rooms import envelope_from, room_of
from heila_mosaik.actors.mgms_settings import MgmsSettings
from heila_mosaik.domain.dispatch import Room, spread
from heila_mosaik.domain.flexibility import Envelope
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    ControlSignal,
    FlexibilityForecast,
    Measurements,
    Message,
    OperationPlan,
    PQProfile,
    PriceForecast,
    ReserveNotification,
    VerificationNotification,
    WeatherForecast,
)
from heila_mosaik.domain.quantities import FloatArray, Quality, Quantity
from heila_mosaik.domain.resources import BatterySpec, EvSpec, HeatPumpSpec, PvSpec
from heila_mosaik.domain.scheduling import Obligation
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

TOLERANCE = 1e-6
SHORT_SHARE = 0.02
USABLE = (Quality.GOOD, Quality.QUESTIONABLE)


class Mgms:
    """State machine of one microgrid; see :class:`MgmsSettings`."""

    def __init__(self, name: str, settings: MgmsSettings) -> None:
        if settings.baseline_method not in ("operation_plan", "meter_before"):
            raise ValueError(f"{name}: unknown baseline_method {settings.baseline_method!r}")
        self.name = name
        self.settings = settings
        self._out = Outbox(name)
        self._book = Book()
        self._expects = Expectation(settings.resources, settings.typical)
        self._latest: dict[str, dict[Quantity, float]] = {}
        self._theirs: dict[str, FlexibilityForecast] = {}
        self._envelopes: dict[str, Envelope] = {}
        self._closed = True
        self._now: datetime | None = None
        self._next_forecast: datetime | None = None
        self._next_dispatch: datetime | None = None

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """Advance to ``now``; see :class:`heila_mosaik.actors.base.Actor`."""
        self._out.begin(now)
        if self._now is not None and now > self._now:
            self._book.book_energy(now, (now - self._now).total_seconds())
        self._now = now
        if measurements is not None:
            self._measured(measurements)
        reserved = False
        calls = []
        for message in inbox:
            body = message.body
            if isinstance(body, ActivationNotification):
                calls.append(body)
            elif isinstance(body, ReserveNotification):
                self._book.add(body)
                reserved = True
            else:
                self._take(now, body)
        due = self._expects.weather is not None and (self._next_forecast is None or now >= self._next_forecast)
        if due or reserved:
            self._reschedule(now)
        if due:
            self._forecast(now)
            self._next_forecast = self._forecast_after(now)
        accepted = sum(self._accept(now, call) for call in calls)
        if accepted or reserved or (self._next_dispatch is not None and now >= self._next_dispatch):
            self._dispatch(now)
        for holding in list(self._book.holdings.values()):
            self._verify(now, holding)
        self._book.prune(now)
        return self._out.outcome(self._wake(now))

    def _take(self, now: datetime, body: object) -> None:
        if isinstance(body, Measurements):
            self._measured(body)
        elif isinstance(body, WeatherForecast):
            self._expects.weather = body
            if self.settings.distributed:
                for controller in dict.fromkeys(self.settings.controllers.values()):
                    self._out.send(controller, body)
        elif isinstance(body, PriceForecast):
            self._expects.prices = body
        elif isinstance(body, FlexibilityForecast):
            self._theirs[body.subject] = body
        elif isinstance(body, VerificationNotification):
            error = np.abs(
                np.subtract(body.measured_p_mw, np.add(body.baseline_p_mw, body.requested_p_mw)), dtype=np.float64
            )
            self._out.record(
                "resource_verified", f"{body.location} verified itself", resource=body.location, error_mw=error.mean()
            )
        else:
            self._out.record("ignored", f"{type(body).__name__} is not for an MGMS", at=now.isoformat())

    def _measured(self, seen: Measurements) -> None:
        """Take in values of resources and breaker."""
        resources = self.settings.resources
        for name, quantity, value, quality in zip(
            seen.elements, seen.quantities, seen.values, seen.qualities, strict=True
        ):
            if quality not in USABLE:
                continue
            if name == self.settings.breaker and quantity is Quantity.BREAKER:
                self._breaker(value >= 0.5)
            elif name in resources:
                self._latest.setdefault(name, {})[quantity] = value
                if quantity is Quantity.STATE_OF_CHARGE:
                    self._expects.soc[name] = value
        for name in dict.fromkeys(seen.elements):
            row = self._latest.get(name)
            if row is not None and Quantity.ACTIVE_POWER in row:
                low = row.get(Quantity.POWER_MIN)
                self._expects.learn(name, seen.at, row[Quantity.ACTIVE_POWER], None if low is None else -low)
        if len(self._latest) == len(resources):
            rows = self._latest.values()
            p_mw = math.fsum(row.get(Quantity.ACTIVE_POWER, 0.0) for row in rows) if self._closed else 0.0
            q_mvar = math.fsum(row.get(Quantity.REACTIVE_POWER, 0.0) for row in rows) if self._closed else 0.0
            self._book.put_meter(seen.at, p_mw, q_mvar)

    def _breaker(self, closed: bool) -> None:
        if closed != self._closed:
            state = "closed" if closed else "opened: islanded, no flexibility can be delivered"
            self._out.record("pcc_breaker", f"breaker {self.settings.breaker} {state}", closed=closed)
        self._closed = closed

    def _grid(self, now: datetime) -> TimeGrid:
        own = self.settings
        return TimeGrid(start=floor_to(now, own.step_s), step_s=own.step_s, count=own.horizon_s // own.step_s)

    def _reserved(self, grid: TimeGrid) -> tuple[FloatArray, FloatArray, float, float]:
        """Range and remaining energy sold, up and down. [MW] (n,), [MW] (n,), [MWh], [MWh]"""
        up, down = np.zeros(grid.count), np.zeros(grid.count)
        energy: dict[tuple[str, bool], float] = {}
        for name, holding in self._book.holdings.items():
            reserve = holding.reserve
            first, last = (
                max(0, grid.position(reserve.start)),
                min(grid.count, grid.position(reserve.stop - timedelta(seconds=1)) + 1),
            )
            if last <= first:
                continue
            up[first:last] -= reserve.p_min_mw
            down[first:last] += reserve.p_max_mw
            for is_up, sold in ((True, -reserve.p_min_mw), (False, reserve.p_max_mw)):
                if sold > TOLERANCE:
                    # Members of a group share their energy: count it once.
                    energy[(reserve.group or name, is_up)] = self._book.owed_mwh(is_up, name)
        return (
            up,
            down,
            sum(mwh for (_, is_up), mwh in energy.items() if is_up),
            sum(mwh for (_, is_up), mwh in energy.items() if not is_up),
        )

    def _reschedule(self, now: datetime) -> None:
        """Make a new operation plan and send it to aggregator and resources."""
        own, grid = self.settings, self._grid(now)
        exogenous = self._expects.exogenous(grid)
        up, down, energy_up, energy_down = self._reserved(grid)
        plans: Mapping[str, FloatArray] = {}
        if own.distributed and len(self._theirs) == len(own.resources):
            self._envelopes = {name: envelope_from(body, grid) for name, body in self._theirs.items()}
        else:
            free = self._expects.envelopes(exogenous, own.flexibility, {})
            duties = []
            for is_up, sold, energy in ((True, up, energy_up), (False, down, energy_down)):
                others = [e for n, e in free.items() if not isinstance(own.resources[n], BatterySpec | HeatPumpSpec)]
                given = np.sum([e.up_mw if is_up else e.down_mw for e in others], axis=0) if others else 0.0
                need = np.maximum(0.0, sold - given)
                part = float((need / np.maximum(sold, TOLERANCE)).max(initial=0.0))
                duties.append(Obligation(up=is_up, power_mw=need, energy_mwh=energy * min(1.0, part)))
            if own.arbitrage or any(duty.power_mw.any() for duty in duties):
                schedule = self._expects.schedule(exogenous, duties, own.keep_share)
                plans = schedule.p_mw
                if schedule.shortfall_mw > 1e-4 or schedule.shortfall_mwh > 1e-4:
                    self._out.record(
                        "reserve_short",
                        "resources cannot keep the whole reserve ready",
                        short_mw=schedule.shortfall_mw,
                        short_mwh=schedule.shortfall_mwh,
                    )
            self._envelopes = self._expects.envelopes(exogenous, own.flexibility, plans)
        total = whole(own.microgrid, self._envelopes, own.flexibility)
        self._book.plans.append((now, total))
        self._send_plan(own.ams, own.microgrid, now, total.profile())
        for name, controller in own.controllers.items():
            if name in self._envelopes:
                self._send_plan(controller, name, now, self._envelopes[name].profile())

    def _send_plan(self, receiver: str, subject: str, now: datetime, profile: PQProfile) -> None:
        identity = self._out.identity("plan")
        self._out.send(receiver, OperationPlan(id=identity, subject=subject, issued_at=now, profile=profile))

    def _forecast(self, now: datetime) -> None:
        """Send the flexibility that is still free to the aggregator."""
        own = self.settings
        total = self._book.plans[-1][1]
        grid = total.grid
        energy_up, energy_down = total.finite_energy()
        if not self._closed:
            p, q = total.p_mw, total.q_mvar
            total = replace(total, p_min_mw=p, p_max_mw=p, q_min_mvar=q, q_max_mvar=q)
            energy_up, energy_down = 0.0, 0.0
        elif own.net_of_reserves:
            up, down, sold_up, sold_down = self._reserved(grid)
            low, high = np.minimum(total.p_mw, total.p_min_mw + up), np.maximum(total.p_mw, total.p_max_mw - down)
            total = replace(total, p_min_mw=low, p_max_mw=high)
            energy_up, energy_down = max(0.0, energy_up - sold_up), max(0.0, energy_down - sold_down)
        price_up: tuple[float, ...] = ()
        price_down: tuple[float, ...] = ()
        if own.prices:
            price_up, price_down = asking_prices(total.cost_eur_per_mwh, self._expects.spot(grid), own.margin)
        self._out.send(
            own.ams,
            FlexibilityForecast(
                id=self._out.identity("flexibility"),
                subject=own.microgrid,
                issued_at=now,
                product=own.product,
                profile=total.profile(),
                energy_up_mwh=energy_up,
                energy_down_mwh=energy_down,
                price_up_eur_per_mwh=price_up,
                price_down_eur_per_mwh=price_down,
            ),
        )

    def _forecast_after(self, now: datetime) -> datetime:
        own = self.settings
        later = [floor_to(now, own.intraday_s) + timedelta(seconds=own.intraday_s)]
        for hour in own.day_ahead_h:
            moment = floor_to(now, 86400) + timedelta(hours=hour)
            later.append(moment if moment > now else moment + timedelta(days=1))
        return min(later)

    def _accept(self, now: datetime, call: ActivationNotification) -> bool:
        """Check an activation, refuse it (or the part that cannot be followed) with the reason."""
        reason = "" if self._closed else f"breaker {self.settings.breaker} is open, the microgrid is islanded"
        reason = reason or self._book.why_not(call, now)
        if reason:
            self._refuse(call, call.p_mw, call.q_mvar, reason)
            return False
        begin = max(now, call.start)
        p_other, q_other = self._book.asked(begin, without=call.reserve)
        p_mw, q_mvar = p_other + call.p_mw, q_other + call.q_mvar
        rooms = self._rooms(begin)
        can = spread(p_mw, q_mvar, rooms, self._book.owed_mwh(p_mw < 0), self.settings.control_s / 3600.0)
        short_p, short_q = p_mw - can.p_mw, q_mvar - can.q_mvar
        if abs(short_p) > SHORT_SHARE * abs(p_mw) + TOLERANCE or abs(short_q) > SHORT_SHARE * abs(q_mvar) + TOLERANCE:
            reason = (
                f"resources can move {can.p_mw:.4f} MW and {can.q_mvar:.4f} MVar of {p_mw:.4f} MW, {q_mvar:.4f} MVar"
            )
            self._refuse(call, short_p, short_q, reason)
        self._book.call(call, now, call.p_mw, call.q_mvar)
        return True

    def _refuse(self, call: ActivationNotification, p_mw: float, q_mvar: float, reason: str) -> None:
        self._out.send(
            self.settings.ams,
            ActivationRefusal(
                id=self._out.identity("refusal"),
                reserve=call.reserve,
                refused_by=self.name,
                p_mw=p_mw,
                q_mvar=q_mvar,
                start=call.start,
                stop=call.stop,
                reason=reason,
            ),
        )
        self._out.record("activation_refused", reason, reserve=call.reserve, p_mw=p_mw, q_mvar=q_mvar)

    def _rooms(self, moment: datetime) -> list[Room]:
        """What each resource can do at ``moment``, from plan, measurements and state."""
        rooms = []
        for name, envelope in self._envelopes.items():
            if moment not in envelope.grid:
                continue
            spec, row = self.settings.resources[name], self._latest.get(name, {})
            rooms.append(room_of(name, spec, row, envelope, envelope.grid.position(moment)))
        return rooms

    def _dispatch(self, now: datetime) -> None:
        """Spread what is asked now over the resources."""
        own = self.settings
        p_mw, q_mvar = self._book.asked(now)
        calls = [call for holding in self._book.holdings.values() for call in holding.calls]
        running = [call for call in calls if call.start <= now < call.stop]
        coming = [call.start for call in calls if call.start > now]
        if not running or not self._closed:
            self._next_dispatch = min(coming, default=None)
            return
        stop = min(call.stop for call in running)
        rooms = self._rooms(now)
        result = spread(p_mw, q_mvar, rooms, self._book.owed_mwh(p_mw < 0), own.control_s / 3600.0)
        cause = next((k for k, h in self._book.holdings.items() if any(c in running for c in h.calls)), "")
        for room, p_adjust, q_adjust in zip(rooms, result.p_adjust_mw, result.q_adjust_mvar, strict=True):
            able = room.up_mw > TOLERANCE or room.down_mw > TOLERANCE or room.q_room_mvar > TOLERANCE
            if not able or room.name not in own.controllers:
                continue
            autonomous = isinstance(own.resources[room.name], PvSpec | EvSpec) and abs(p_adjust) <= TOLERANCE
            signal = ControlSignal(
                id=self._out.identity("control"),
                target=room.name,
                start=now,
                stop=stop,
                p_mw=None if autonomous else room.p_mw + p_adjust,
                q_mvar=room.q_mvar + q_adjust,
                cause=cause,
            )
            self._out.send(own.controllers[room.name], signal)
        again = floor_to(now, own.control_s) + timedelta(seconds=own.control_s)
        self._next_dispatch = min([again, stop, *coming])

    def _verify(self, now: datetime, holding: Holding) -> None:
        """Send measured against requested power for every settlement period that is over."""
        own, reserve = self.settings, holding.reserve
        while holding.verified_until is not None and holding.verified_until < reserve.stop:
            start = holding.verified_until
            stop = min(floor_to(start, own.settlement_s) + timedelta(seconds=own.settlement_s), reserve.stop)
            if now < stop + timedelta(seconds=own.verification_delay_s):
                return
            holding.verified_until = stop
            count = max(1, round((stop - start).total_seconds() / 60))
            metered = self._book.metered(start, count)
            baseline = self._baseline(holding, start, count)
            if metered is None or baseline is None:
                self._out.record("verification_missing", "no measurements or no plan", reserve=reserve.id)
                continue
            moments = [start + k * MINUTE for k in range(count)]
            # What other reserves asked for is not this one's deviation.
            others = [self._book.asked(moment, without=reserve.id) for moment in moments]
            asked = [holding.asked(moment) for moment in moments]
            self._out.send(
                own.ams,
                VerificationNotification(
                    id=self._out.identity("verification"),
                    reserve=reserve.id,
                    location=own.microgrid,
                    start=start,
                    stop=stop,
                    step_s=round((stop - start).total_seconds() / count),
                    baseline_method=own.baseline_method,
                    baseline_p_mw=tuple(b[0] + o[0] for b, o in zip(baseline, others, strict=True)),
                    measured_p_mw=tuple(row[0] for row in metered),
                    requested_p_mw=tuple(row[0] for row in asked),
                    baseline_q_mvar=tuple(b[1] + o[1] for b, o in zip(baseline, others, strict=True)),
                    measured_q_mvar=tuple(row[1] for row in metered),
                    requested_q_mvar=tuple(row[1] for row in asked),
                ),
            )

    def _baseline(self, holding: Holding, start: datetime, count: int) -> list[tuple[float, float]] | None:
        """Declared baseline of each minute. [MW], [MVar]"""
        if self.settings.baseline_method == "meter_before":
            if holding.baseline is None:
                before = self._book.metered(holding.reserve.start - 15 * MINUTE, 15)
                if before is None:
                    return None
                holding.baseline = (math.fsum(r[0] for r in before) / 15, math.fsum(r[1] for r in before) / 15)
            return [holding.baseline] * count
        rows = [self._book.planned(start + k * MINUTE) for k in range(count)]
        return None if any(row is None for row in rows) else [row for row in rows if row is not None]

    def _wake(self, now: datetime) -> datetime | None:
        """Next time something is due without a message."""
        own = self.settings
        moments = [m for m in (self._next_forecast, self._next_dispatch) if m is not None]
        for holding in self._book.holdings.values():
            at = holding.verified_until
            if at is not None and at < holding.reserve.stop:
                stop = min(floor_to(at, own.settlement_s) + timedelta(seconds=own.settlement_s), holding.reserve.stop)
                moments.append(stop + timedelta(seconds=own.verification_delay_s))
            moments.extend(call.start for call in holding.calls)
        return min((moment for moment in moments if moment > now), default=None)


__all__ = ["Mgms", "MgmsSettings"]
