"""Distribution management system of the DSO: estimates, forecasts, buys and activates flexibility.

The DMS knows the grid only through telemetry, its own forecast and the plans of the microgrids; it never reads the
plant.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.dms_control import Controller
from heila_mosaik.actors.dms_functions import Functions, FunctionSettings
from heila_mosaik.actors.dms_market import MarketDesk
from heila_mosaik.actors.dms_restoration import Restoration, RestorationSettings
from heila_mosaik.actors.dms_security import Security
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.domain.congestion import Limits, Redispatch
from heila_mosaik.domain.estimation import Estimate, EstimationError, Estimator, EstimatorSettings
from heila_mosaik.domain.forecast import Detection, Knowledge
from heila_mosaik.domain.information import (
    ActivationRefusal,
    FlexibilityForecast,
    Measurements,
    Message,
    OfferList,
    OperationPlan,
    ReserveNotification,
    Session,
    SettlementStatement,
    VerificationNotification,
)
from heila_mosaik.domain.market.calendar import MarketCalendar, MarketEvent
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.quantities import FloatArray, Quality, Quantity
from heila_mosaik.domain.timegrid import floor_to

__all__ = ["Account", "Dms", "DmsSettings"]


_SEEN = (Quantity.BREAKER, Quantity.TAP, Quantity.FAULT)


@dataclass(slots=True)
class Account:
    """Running totals of what the DSO was told.

    Attributes:
        verifications: Verification notifications received.
        statements: Settlement statements received.
        succeeded: Statements of successful delivery.
        paid_eur: Sum paid. [EUR]
        delivered_mwh: Energy delivered, without sign. [MWh]
    """

    verifications: int = 0
    statements: int = 0
    succeeded: int = 0
    paid_eur: float = 0.0
    delivered_mwh: float = 0.0


class Dms:
    """Distribution management system.

    Args:
        settings: Settings.
        engine: Compiled grid of the DMS' own; never the plant's.
        knowledge: Injections with their forecast, locations of the microgrids.
        calendar: Times of the market.
        limits: Limits; by default those of the grid.
        estimation: Settings of the estimator.
        functions: Optional functions that are switched on.
        restoration: Settings of the restoration; ``None``: faults are not looked for.
    """

    def __init__(
        self,
        settings: DmsSettings,
        engine: GridEngine,
        knowledge: Knowledge,
        calendar: MarketCalendar,
        *,
        limits: Limits | None = None,
        estimation: EstimatorSettings | None = None,
        functions: FunctionSettings | None = None,
        restoration: RestorationSettings | None = None,
    ) -> None:
        self.name = settings.name
        self.settings, self.knowledge, self.calendar = settings, knowledge, calendar
        limits = limits or Limits.of(engine.network)
        self.estimator = Estimator(engine, knowledge.names, knowledge.bus, estimation)
        self.security = Security(engine, limits, settings)
        self.control = Controller(settings, self.estimator, knowledge, limits, self.security)
        self.desk = MarketDesk(settings, self.estimator, knowledge, limits, calendar, self.security)
        self.functions = Functions(
            functions or FunctionSettings(),
            settings,
            self.estimator,
            knowledge,
            limits,
            calendar,
            self.control,
            self.desk,
        )
        self.restoration = Restoration(restoration, self.estimator, knowledge) if restoration is not None else None
        self.account = Account()
        self.estimate: Estimate | None = None
        self.detection: Detection | None = None
        self.redispatch: Redispatch | None = None
        self._out = Outbox(self.name)
        self._inbox = Inbox(self._out)
        self._telemetry: Measurements | None = None
        self._received_at: datetime | None = None
        self._cycle_at: datetime | None = None
        self._recorded_at: datetime | None = None
        self._last: datetime | None = None
        self._deviation: tuple[FloatArray, FloatArray] | None = None
        self._positions: dict[str, float] = {}
        self._trouble = ""

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None = None) -> Outcome:
        """Take messages, run the technical process if a cycle is due, then the market's events."""
        self._out.begin(now)
        if measurements is not None:
            self._take_telemetry(now, measurements)
        for message in self._inbox.fresh(now, inbox):
            self._take(now, message)
        cycle = floor_to(now, self.settings.cycle_s)
        if self._received_at is not None and self._received_at >= cycle and self._cycle_at != cycle:
            self._cycle_at = cycle
            self._technical(now)
        if self.restoration is not None:
            self.restoration.step(now, self._out)
        self._watch(now)
        for _, session in self._due(now, MarketEvent.REQUEST):
            if self.functions.chosen.congestion:
                reserves = list(self.control.reserves.values())
                self.detection = self.desk.request(now, session, self._deviation, reserves, self._out)
            self.functions.request(now, session, self._out)
        for _, session in self._due(now, MarketEvent.BID):
            self.desk.bid(now, session, self._out)
            self.functions.bid(now, session, self._out)
        self._last = now
        wake = min(
            self.calendar.next_event(now, MarketEvent.REQUEST),
            self.calendar.next_event(now, MarketEvent.BID),
            floor_to(now, 3600) + timedelta(hours=1),
        )
        return self._out.outcome(wake_at=wake)

    def _due(self, now: datetime, event: MarketEvent) -> list[tuple[datetime, Session]]:
        """Market events since the last step that this DMS takes part in."""
        return list(self.calendar.due(self._last, now, event)) if self.settings.trade else []

    def _take(self, now: datetime, message: Message) -> None:
        body = message.body
        if isinstance(body, Measurements):
            self._take_telemetry(now, body)
        elif isinstance(body, OperationPlan):
            if not self.knowledge.learn(body):
                self._out.record("message_ignored", f"operation plan of {body.subject}, which is not at this grid")
        elif isinstance(body, OfferList):
            self.functions.choose(now, body, self._out)
        elif isinstance(body, ReserveNotification):
            if not self.functions.reserve(body):
                self._out.record("message_ignored", f"reserve {body.id} at unknown location {body.location}")
        elif isinstance(body, ActivationRefusal):
            self.functions.refused(body, now)
            self._out.record("activation_refused", body.reason, reserve=body.reserve, refused_by=body.refused_by)
        else:
            self._take_note(message)

    def _take_note(self, message: Message) -> None:
        """Take what needs no decision now."""
        body = message.body
        if isinstance(body, FlexibilityForecast) and self.restoration is not None:
            self.restoration.offer(body)
        elif isinstance(body, SettlementStatement):
            self._book(body)
        elif isinstance(body, VerificationNotification):
            self.account.verifications += 1
        else:
            self._out.record("message_ignored", f"{type(body).__name__} from {message.sender} is not for a DMS")

    def _take_telemetry(self, now: datetime, measured: Measurements) -> None:
        if self._telemetry is None or measured.at >= self._telemetry.at:
            self._telemetry, self._received_at = measured, now
            self._switch(now, measured)

    def _switch(self, now: datetime, measured: Measurements) -> None:
        """Follow reported switch and tap positions."""
        engine = self.estimator.engine
        for position, quantity in enumerate(measured.quantities):
            if quantity not in _SEEN or measured.qualities[position] != Quality.GOOD:
                continue
            element, value = measured.elements[position], measured.values[position]
            if self.restoration is not None:
                self.restoration.see(element, value)
            table, _, key = element.partition(".")
            if self._positions.get(element) == value or not key.isdigit():
                continue
            if quantity == Quantity.BREAKER and table == "switch":
                engine.set_switch(int(key), bool(value))
            elif quantity == Quantity.BREAKER and table == "ext_grid":
                engine.set_in_service(table, int(key), bool(value))
            elif quantity == Quantity.TAP and table in ("trafo", "trafo3w"):
                engine.set_tap(int(key), value, table)
            elif quantity == Quantity.TAP and table == "shunt":
                engine.set_shunt_step(int(key), round(value))
            else:
                continue
            self.security.forget()
            if element in self._positions:
                self._out.record("topology_changed", f"{element} is now at {value:g}", element=element, position=value)
            self._positions[element] = value
            self.functions.reported(now, element, value, self._out)

    def _technical(self, now: datetime) -> None:
        """Estimate, then optimise and release."""
        assert self._telemetry is not None
        prior = self.functions.prior(self.knowledge.prior(now, self.control.adjustments(now)), now)
        late = (now - self._telemetry.at).total_seconds()
        try:
            estimate = self.estimator.estimate(prior, self._telemetry, late)
        except EstimationError as error:
            # without a trusted estimate set points stay as they are and lapse with their validity
            if self._trouble != type(error).__name__:
                self._out.record("estimation_failed", str(error), failure=type(error).__name__)
            self._trouble = type(error).__name__
            return
        if self._trouble:
            self._out.record("estimation_recovered", "the estimate is consistent again")
            self._trouble = ""
        self.estimate = estimate
        self._record_estimate(now, estimate)
        self.redispatch = self.functions.run(now, estimate, self._out)
        expected_p, expected_q = prior.p_mw.copy(), prior.q_mvar.copy()
        own = len(self.knowledge.injections.names)
        self._deviation = (estimate.p_mw - expected_p, estimate.q_mvar - expected_q)
        # a microgrid's deviation from its plan is not persistence: it will follow its next plan
        self._deviation[0][own:] = 0.0
        self._deviation[1][own:] = 0.0
        self.functions.cleared(self._deviation)

    def _record_estimate(self, now: datetime, estimate: Estimate) -> None:
        for suspect in estimate.suspects:
            if not suspect.pseudo:
                self._out.record(
                    "bad_measurement",
                    f"{suspect.label} reads {suspect.value:.4g}, estimated {suspect.estimate:.4g}: rejected",
                    point=suspect.label,
                    normalised_residual=suspect.normalised_residual,
                )
        last = self._recorded_at
        if last is not None and (now - last).total_seconds() < self.settings.record_every_s - 0.5:
            return
        self._recorded_at = floor_to(now, self.settings.cycle_s)
        rms = (estimate.objective / len(estimate.used)) ** 0.5
        state = estimate.state
        # de-energised buses hold NaN
        voltages = state.vm_pu[state.vm_pu == state.vm_pu]
        self._out.record(
            "state_estimated",
            f"J = {estimate.objective:.3g} (limit {estimate.limit:.3g}) from {len(estimate.used)} measurements",
            objective=estimate.objective,
            limit=estimate.limit,
            weighted_rms=rms,
            measurements=len(estimate.used),
            iterations=estimate.iterations,
            suspects=len(estimate.suspects),
            v_min_pu=float(voltages.min()),
            v_max_pu=float(voltages.max()),
            line_loading_percent=float(state.line_loading_percent.max(initial=0.0)),
            trafo_loading_percent=float(state.trafo_loading_percent.max(initial=0.0)),
        )

    def _watch(self, now: datetime) -> None:
        """Report loss of telemetry once."""
        if self._received_at is None or self._trouble:
            return
        silence = (now - self._received_at).total_seconds()
        if silence > self.settings.telemetry_limit_s:
            self._trouble = "telemetry_lost"
            self._out.record(
                "telemetry_lost",
                f"no telemetry for {silence:.0f} s; activations lapse unless it returns",
                age_s=silence,
            )

    def _book(self, statement: SettlementStatement) -> None:
        account = self.account
        account.statements += 1
        account.succeeded += statement.success
        account.delivered_mwh += abs(statement.delivered_mwh)
        account.paid_eur += (
            statement.availability_eur + statement.activation_eur + statement.reactive_eur - statement.penalty_eur
        )
