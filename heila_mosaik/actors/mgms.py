"""Microgrid management system: forecasts, plans, dispatches and verifies one microgrid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.actors.mgms_book import Book, Holding
from heila_mosaik.actors.mgms_fcr import kept_back, promises, shares_of, without_reserves
from heila_mosaik.actors.mgms_forecast import Expectation, asking_prices, forecast_after, whole
from heila_mosaik.actors.mgms_island import Islanding
from heila_mosaik.actors.mgms_plan import (
    declared_powers,
    duties_of,
    follow,
    idle_between,
    is_store,
    keep_declared,
    same_plan,
    sold_on,
    unsold,
)
from heila_mosaik.actors.mgms_rooms import envelope_from, part_of, repeats, rooms_at, with_declared
from heila_mosaik.actors.mgms_settings import MgmsSettings
from heila_mosaik.actors.mgms_verify import verification
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
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS
from heila_mosaik.domain.resources import EvSpec, LoadSpec, PvSpec
from heila_mosaik.domain.scheduling import Schedule
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

TOLERANCE = 1e-6
SHORT_SHARE = 0.02
PLAN_H = 6.0
RESERVE_WAIT = timedelta(seconds=30)
USABLE = (Quality.GOOD, Quality.QUESTIONABLE)


class Mgms:
    """State machine of one microgrid; see :class:`MgmsSettings`."""

    def __init__(self, name: str, settings: MgmsSettings) -> None:
        if settings.baseline_method not in ("operation_plan", "meter_before"):
            raise ValueError(f"{name}: unknown baseline_method {settings.baseline_method!r}")
        self.name = name
        self.settings = settings
        self._out = Outbox(name)
        self._inbox = Inbox(self._out)
        self._book = Book()
        self._expects = Expectation(settings.resources, settings.typical)
        self._latest: dict[str, dict[Quantity, float]] = {}
        self._theirs: dict[str, FlexibilityForecast] = {}
        self._envelopes: dict[str, Envelope] = {}
        self._closed = True
        self._now: datetime | None = None
        self._next_forecast: datetime | None = None
        self._next_dispatch: datetime | None = None
        self._replan_at: datetime | None = None
        self._plans_sent: dict[str, PQProfile] = {}
        self._short: tuple[float, float] = (0.0, 0.0)
        self._given: dict[str, ControlSignal] = {}
        self._island = Islanding.of(settings)

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """Advance to ``now``; see :class:`heila_mosaik.actors.base.Actor`."""
        self._out.begin(now)
        if self._now is not None and now > self._now:
            self._book.book_energy(now, (now - self._now).total_seconds())
        self._now = now
        if measurements is not None:
            self._measured(measurements)
        calls = []
        for message in self._inbox.fresh(now, inbox):
            body = message.body
            if isinstance(body, ActivationNotification):
                calls.append(body)
            elif isinstance(body, ReserveNotification):
                self._reserve(now, body)
            else:
                self._take(now, body)
        due = self._known() and (self._next_forecast is None or now >= self._next_forecast)
        replan = self._replan_at is not None and now >= self._replan_at
        if due or (replan and self._known()):
            self._reschedule(now)
            self._replan_at = None
        if due:
            self._forecast(now)
            self._next_forecast = forecast_after(self.settings, now)
        accepted = sum(self._accept(now, call) for call in calls)
        if accepted or replan or (self._next_dispatch is not None and now >= self._next_dispatch):
            self._dispatch(now)
        for holding in list(self._book.holdings.values()):
            self._verify(now, holding)
        self._book.prune(now)
        return self._out.outcome(min(filter(None, (self._without_grid(now), self._wake(now))), default=None))

    def _without_grid(self, now: datetime) -> datetime | None:
        """Look after the island; returns when to look again."""
        island, at = self._island, (self.settings.breaker, self._closed)
        return None if island is None else island.step(now, *at, self._envelopes, self._latest, self._out)

    def _reserve(self, now: datetime, reserve: ReserveNotification) -> None:
        """Enter a reserve and plan for it soon; a frequency reserve is handed to the sites."""
        self._book.add(reserve)
        for part in shares_of(reserve, self.settings.resources) if reserve.product in RESERVE_PRODUCTS else ():
            self._out.send(self.settings.controllers[part.location], part)
        # Reserves of one clearing arrive one by one: plan once for all of them.
        soon = now + RESERVE_WAIT if reserve.start > now + RESERVE_WAIT else now
        self._replan_at = soon if self._replan_at is None else min(soon, self._replan_at)

    def _known(self) -> bool:
        """Whether enough is known to plan: the weather, and in the distributed variant what the controllers say."""
        own = self.settings
        return self._expects.weather is not None and (not own.distributed or len(self._theirs) == len(own.resources))

    def _take(self, now: datetime, body: object) -> None:
        if isinstance(body, Measurements):
            self._measured(body)
        elif isinstance(body, ControlSignal) and self._island is not None:
            self._island.order(now, body, self.settings.breaker, self._out)
        elif isinstance(body, WeatherForecast):
            self._expects.weather = body
            if self.settings.distributed:
                for controller in dict.fromkeys(self.settings.controllers.values()):
                    self._out.send(controller, body)
        elif isinstance(body, PriceForecast):
            self._expects.prices = body
        elif isinstance(body, FlexibilityForecast):
            self._theirs[body.subject] = body
        elif isinstance(body, VerificationNotification) and body.reserve.rpartition("/")[0] in self._book.holdings:
            self._book.site_verifications.append(body)
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
            elif name == self.settings.breaker and quantity is Quantity.PRESENCE and self._island is not None:
                self._island.presence(seen.at, value >= 0.5)
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
        closed = closed or self.settings.on_call  # its controller closes it for a call
        if closed != self._closed:
            state = "closed" if closed else "opened: islanded, no flexibility can be delivered"
            self._out.record("pcc_breaker", f"breaker {self.settings.breaker} {state}", closed=closed)
        self._closed = closed

    def _grid(self, now: datetime) -> TimeGrid:
        own = self.settings
        return TimeGrid(start=floor_to(now, own.step_s), step_s=own.step_s, count=own.horizon_s // own.step_s)

    def _reschedule(self, now: datetime) -> None:
        """Make a new operation plan and send it to aggregator and resources."""
        own, grid = self.settings, self._grid(now)
        exogenous = self._expects.exogenous(grid)
        sold = sold_on(self._book, grid)
        declared = declared_powers(self._envelopes, grid, sold, own.resources)
        if own.distributed:
            # Loads promise nothing, and their daily shape is known here: their controllers only meter them.
            loads = {name: spec for name, spec in own.resources.items() if isinstance(spec, LoadSpec)}
            known = self._expects.envelopes(exogenous, own.flexibility, {})
            self._envelopes = {
                name: known[name] if name in loads else follow(envelope_from(body, grid), declared.get(name))
                for name, body in self._theirs.items()
            }
        else:
            plans: Mapping[str, FloatArray] = idle_between(declared) if own.on_call else declared
            # What is connected for calls only stands still between them: nothing to schedule.
            free = self._expects.envelopes(exogenous, own.flexibility, {}) if sold.any() and not own.on_call else {}
            duties = duties_of(sold, free, own.resources) if free else []
            if (own.arbitrage and not own.on_call) or any(duty.power_mw.any() for duty in duties):
                schedule = self._expects.schedule(exogenous, duties, own, declared)
                plans = schedule.p_mw
                self._note_short(schedule)
            self._envelopes = self._expects.envelopes(exogenous, own.flexibility, plans)
        plan = whole(own.microgrid, self._envelopes, own.flexibility)
        total = keep_declared(plan, self._book.plans[-1][1] if self._book.plans else None, sold)
        for holding in self._book.holdings.values():
            holding.declared = True
        self._book.plans.append((now, total))
        self._send_plan(own.ams, own.microgrid, now, total.profile(), whole_h=own.horizon_s / 3600.0)
        for name, controller in own.controllers.items():
            if name in self._envelopes and is_store(own.resources[name]):
                self._send_plan(controller, name, now, self._envelopes[name].profile(), whole_h=PLAN_H)

    def _note_short(self, schedule: Schedule) -> None:
        """Record a reserve that cannot be kept, when it appears or changes."""
        short = (round(schedule.shortfall_mw, 3), round(schedule.shortfall_mwh, 3))
        if any(short) and short != self._short:
            self._out.record(
                "reserve_short",
                "resources cannot keep the whole reserve ready",
                short_mw=schedule.shortfall_mw,
                short_mwh=schedule.shortfall_mwh,
            )
        self._short = short

    def _send_plan(self, receiver: str, subject: str, now: datetime, profile: PQProfile, whole_h: float) -> None:
        """Send a plan unless the one sent before still holds for the hours that matter."""
        if same_plan(self._plans_sent.get(subject), profile, whole_h):
            return
        self._plans_sent[subject] = profile
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
            sold = sold_on(self._book, grid)
            total = unsold(total, sold)
            energy_up = max(0.0, energy_up - sold.energy_up_mwh - sold.fcr_energy_up_mwh)
            energy_down = max(0.0, energy_down - sold.energy_down_mwh - sold.fcr_energy_down_mwh)
            if own.fcr is not None:
                total = replace(total, energy_up_mwh=energy_up, energy_down_mwh=energy_down)
                total = kept_back(own.fcr, total, self._envelopes, own.resources, now)
                energy_up, energy_down = total.energy_up_mwh, total.energy_down_mwh
                for promise in promises(own.fcr, own.microgrid, self._envelopes, own.resources, now):
                    self._out.send(own.ams, replace(promise, id=self._out.identity("flexibility")))
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

    def _accept(self, now: datetime, call: ActivationNotification) -> bool:
        """Check an activation, refuse it (or the part that cannot be followed) with the reason."""
        reason = "" if self._closed else f"breaker {self.settings.breaker} is open, the microgrid is islanded"
        reason = "the microgrid carries an island" if self._island is not None and self._island.feeding else reason
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
            self._refuse(call, part_of(short_p, call.p_mw), part_of(short_q, call.q_mvar), reason)
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
        rooms = rooms_at(moment, self._envelopes, self.settings.resources, self._latest)
        return without_reserves(rooms, self._book, self.settings.resources, moment)

    def _dispatch(self, now: datetime) -> None:
        """Spread what is asked now over the resources."""
        own = self.settings
        calls = [call for holding in self._book.holdings.values() for call in holding.calls]
        # What ends before a signal could arrive is not spread any more: the controllers end it by themselves.
        soon = now + timedelta(seconds=max(own.lead_s, own.effect_s))
        effect = now + timedelta(seconds=own.effect_s)
        running = [call for call in calls if call.start <= effect and soon < call.stop]
        coming = [call.start - timedelta(seconds=own.effect_s) for call in calls if call.start > effect]
        if not running or not self._closed:
            ending = [call.stop for call in calls if call.start <= now < call.stop] if self._closed else []
            self._next_dispatch = min([*coming, *ending], default=None)
            return
        p_mw, q_mvar = math.fsum(call.p_mw for call in running), math.fsum(call.q_mvar for call in running)
        start, stop = max(now, *(call.start for call in running)), min(call.stop for call in running)
        rooms = self._rooms(now)
        plan, sold = self._book.planned(effect), self._book.sold_mw(effect, p_mw < 0)
        p_mw = with_declared(p_mw, sold, plan[0] if plan else None, rooms, self._latest, own.resources)
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
                start=start,
                stop=stop,
                p_mw=None if autonomous else room.p_mw + p_adjust,
                q_mvar=room.q_mvar + q_adjust,
                cause=cause,
            )
            if not repeats(self._given.get(signal.target), signal):
                self._given[room.name] = signal
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
            body = verification(own, self._book, holding, start, stop)
            if body is None:
                self._out.record("verification_missing", "no measurements or no plan", reserve=reserve.id)
                continue
            self._out.send(own.ams, replace(body, id=self._out.identity("verification")))

    def _wake(self, now: datetime) -> datetime | None:
        """Next time something is due without a message."""
        own = self.settings
        moments = [m for m in (self._next_forecast, self._next_dispatch, self._replan_at) if m is not None]
        moments += self._book.moments(own.settlement_s, own.verification_delay_s)
        return min((moment for moment in moments if moment > now), default=None)
