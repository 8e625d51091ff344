"""Functions of the DMS that a study may switch on: Volt/VAR control, curtailment, power flow optimisation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_control import Controller
from heila_mosaik.actors.dms_curtail import Curtailment
from heila_mosaik.actors.dms_market import MarketDesk
from heila_mosaik.actors.dms_peak import Peak
from heila_mosaik.actors.dms_peak_market import PeakSettings
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.actors.dms_voltvar import VoltVar
from heila_mosaik.actors.dms_voltvar_settings import VoltVarSettings
from heila_mosaik.domain.congestion import Action, Limits, Redispatch
from heila_mosaik.domain.estimation import Estimate, Estimator
from heila_mosaik.domain.estimation.prior import Prior
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import ActivationRefusal, OfferList, ReserveNotification, Session
from heila_mosaik.domain.market.calendar import MarketCalendar
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.voltvar.means import OwnMeans

Deviation = tuple[FloatArray, FloatArray] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionSettings:
    """What is switched on.

    Attributes:
        means: Own means of the DSO; none of them moves without a function that uses it.
        volt_var: Volt/VAR control; ``None``: off.
        peak: Power flow optimisation; ``None``: off.
        congestion: Whether flexibility is bought and called against congestion.
    """

    means: OwnMeans = field(default_factory=OwnMeans)
    volt_var: VoltVarSettings | None = None
    peak: PeakSettings | None = None
    congestion: bool = True


class Functions:
    """Optional functions, and what they mean for the others.

    Args:
        chosen: What is switched on.
        settings: Settings of the DMS.
        estimator: Estimator with the grid engine.
        knowledge: Injections, plans and locations.
        limits: Limits of the grid.
        calendar: Times of the market.
        control: Congestion management.
        desk: Its market process.
    """

    def __init__(
        self,
        chosen: FunctionSettings,
        settings: DmsSettings,
        estimator: Estimator,
        knowledge: Knowledge,
        limits: Limits,
        calendar: MarketCalendar,
        control: Controller,
        desk: MarketDesk,
    ) -> None:
        self.chosen, self.control, self.desk = chosen, control, desk
        self._deviation: Deviation = None
        self._knowledge, self._own = knowledge, len(knowledge.injections.names)
        self.volt_var: VoltVar | None = None
        self.curtailment: Curtailment | None = None
        self.peak: Peak | None = None
        if chosen.volt_var is not None:
            self.volt_var = VoltVar(chosen.volt_var, chosen.means, estimator, knowledge, limits)
        if chosen.means.curtailable and chosen.congestion:
            self.curtailment = Curtailment(chosen.means.curtailable, knowledge)
            control.curtailment = self.curtailment
        if chosen.peak is not None:
            kept = control.release
            self.peak = Peak(
                settings, chosen.peak, estimator, knowledge, kept.limits, calendar, protected=kept.protected
            )
        if self.volt_var is not None or self.curtailment is not None:
            desk.own = self

    # ------------------------------------------------------------------ technical process

    def prior(self, prior: Prior, now: datetime) -> Prior:
        """The expectation with own set points and calls in it."""
        if self.curtailment is not None:
            self.curtailment.expect(prior.p_mw)
            prior = self.curtailment.informed(prior)
        if self.volt_var is not None:
            prior = self.volt_var.informed(prior)
        if self.peak is not None:
            prior = self.peak.informed(prior, now)
        return prior

    def reported(self, now: datetime, element: str, position: float, out: Outbox) -> None:
        """Telemetry shows a position."""
        if self.volt_var is not None:
            self.volt_var.reported(now, element, position, out)

    def run(self, now: datetime, estimate: Estimate, out: Outbox) -> Redispatch | None:
        """One cycle of all functions in their order: own means, bought flexibility, curtailment; then the peak."""
        if self.volt_var is not None or self.peak is not None:
            self._deviation = self.deviation(now, estimate)
        deviation = self._deviation
        if self.volt_var is not None:
            p, q = self.control.baseline(now, estimate)
            if self.curtailment is not None:
                p = self.curtailment.uncurtailed(p)
            self.volt_var.cycle(now, p, q, deviation, out)
        answer = None
        with self._anticipated():
            if self.chosen.congestion:
                answer = self.control.cycle(now, estimate, out)
            if self.peak is not None:
                self.peak.cycle(now, estimate, deviation, out)
        return answer

    @contextmanager
    def _anticipated(self) -> Iterator[None]:
        if self.volt_var is None:
            yield
            return
        with self.volt_var.anticipated():
            yield

    def deviation(self, now: datetime, estimate: Estimate) -> tuple[FloatArray, FloatArray]:
        """What the estimate shows beyond the forecast as it is read between its values, own set points left out.

        A microgrid's deviation from its plan is not persistence: it will follow its next plan.
        """
        p, q = self._knowledge.expected(now)
        own = self._own
        found = (
            np.append(estimate.p_mw[:own] - p[:own], np.zeros(len(p) - own)),
            np.append(estimate.q_mvar[:own] - q[:own], np.zeros(len(q) - own)),
        )
        self.cleared(found)
        return found

    def cleared(self, deviation: tuple[FloatArray, FloatArray]) -> None:
        """Take what own set points explain out of the deviation from the forecast."""
        if self.volt_var is not None:
            deviation[1][self.volt_var.columns] = 0.0
        if self.curtailment is not None:
            deviation[0][self.curtailment.capped] = 0.0

    # ------------------------------------------------------------------ market process

    def positions(self, p_mw: FloatArray, q_mvar: FloatArray, limits: Limits) -> dict[str, float]:
        """Positions of own devices that serve an expected state best."""
        return self.volt_var.helped(p_mw, q_mvar, limits) if self.volt_var is not None else {}

    def actions(self, p_mw: FloatArray, *, reactive: bool) -> tuple[Action, ...]:
        """Own means as actions beside the offers, for the expected consumption of every injection. [MW] (n,)

        Reactive set points serve losses and voltages; what they do for currents is not counted on.
        """
        found: tuple[Action, ...] = ()
        if self.volt_var is not None and reactive:
            found += self.volt_var.reactive_actions(self.volt_var.generation(p_mw))
        if self.curtailment is not None:
            found += self.curtailment.actions(p_mw)
        return found

    def request(self, now: datetime, session: Session, out: Outbox) -> None:
        """Market event: ask for offers against the peak."""
        if self.peak is not None:
            self.peak.desk.request(now, session, self._deviation, self.peak.meter.billing, out)

    def bid(self, now: datetime, session: Session, out: Outbox) -> None:
        """Market event: bid."""
        if self.peak is not None:
            self.peak.desk.bid(now, session, out)

    def choose(self, now: datetime, offers: OfferList, out: Outbox) -> None:
        """Hand an offer list to the function that asked; no offer is bought twice."""
        peak = self.peak
        if peak is not None and peak.desk.awaits(offers.request):
            kept = _without(offers, self.desk.bought)
            peak.desk.choose(now, kept, lambda grid: peak.lots(now, grid), peak.meter.billing, out)
        else:
            self.desk.choose(now, _without(offers, peak.desk.bought) if peak is not None else offers, out)

    def reserve(self, notification: ReserveNotification) -> bool:
        """Hand a reserve to the function that bought it; returns whether its location is known."""
        if self.peak is not None and self.peak.reserve(notification):
            return True
        return self.control.reserve(notification)

    def refused(self, refusal: ActivationRefusal, now: datetime) -> None:
        """Hand a refusal to the function that called."""
        if self.peak is None or not self.peak.refused(refusal, now):
            self.control.refused(refusal, now)


def _without(offers: OfferList, bought: set[str]) -> OfferList:
    """The list without offers another function has bid for."""
    keep = [k for k, offer in enumerate(offers.offers) if offer.id not in bought]
    if len(keep) == len(offers.offers):
        return offers
    return replace(
        offers,
        offers=tuple(offers.offers[k] for k in keep),
        relief_per_eur=tuple(float(np.asarray(offers.relief_per_eur)[k]) for k in keep),
    )
