"""Release of activations: AC check for harm before a call leaves, withdrawal of calls that have become harmful.

The open problem named by the platform's authors: activating one service must not violate the operation of other actors
nor provoke a need for more flexibility.  What the check judges is in :mod:`heila_mosaik.domain.congestion.harm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.domain.congestion import Harm, Limits, check_harm
from heila_mosaik.domain.congestion.harm import HarmCase
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import ActivationRefusal, ReserveNotification
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """Set points of one cycle that are to be judged.

    Attributes:
        now: Time of the decision.
        p_bus_mw, q_bus_mvar: Consumption per bus without any activation, when the set points act. (n_bus,)
        ready: Reserves that can be called.
        wanted: Set point wanted of each reserve. [MW], [MVar]
        present: Set point in force of each reserve. [MW], [MVar]
    """

    now: datetime
    p_bus_mw: FloatArray
    q_bus_mvar: FloatArray
    ready: Sequence[ReserveNotification]
    wanted: Mapping[str, Point]
    present: Mapping[str, Point]


class Release:
    """Judges set points by the limits of the grid and those other actors have by contract.

    Args:
        settings: Settings of the DMS.
        estimator: Estimator with the grid engine.
        knowledge: Injections and locations.
        limits: Limits of the grid.
    """

    def __init__(self, settings: DmsSettings, estimator: Estimator, knowledge: Knowledge, limits: Limits) -> None:
        self.settings, self.estimator, self.knowledge = settings, estimator, knowledge
        self.limits = self._with_actors(limits)
        contracted = {*settings.pcc_v_min_pu, *settings.pcc_v_max_pu}
        self.protected = tuple(bus for name, bus in knowledge.locations.items() if name in contracted)
        self._rests: dict[str, datetime] = {}

    def _with_actors(self, limits: Limits) -> Limits:
        """Limits of the grid, at the customers' connections those of their contracts, the DMS' margin kept."""
        own, keep = self.settings, self.settings.voltage_margin_pu
        low, high = limits.v_min_pu.copy(), limits.v_max_pu.copy()
        for name, bus in self.knowledge.locations.items():
            low[bus] = max(low[bus], own.pcc_v_min_pu.get(name, -keep) + keep)
            high[bus] = min(high[bus], own.pcc_v_max_pu.get(name, float("inf")) - keep)
        return replace(limits, v_min_pu=low, v_max_pu=high)

    def rest(self, reserve: str, now: datetime) -> None:
        """Leave a reserve alone for a while."""
        self._rests[reserve] = now + timedelta(seconds=self.settings.withhold_s)

    def resting(self, reserve: str, now: datetime) -> bool:
        """Whether a reserve is left alone."""
        return self._rests.get(reserve, now) > now

    def forget(self, reserve: str) -> None:
        """The reserve has ended."""
        self._rests.pop(reserve, None)

    def judge(
        self, proposal: Proposal, changed: Sequence[ReserveNotification], out: Outbox
    ) -> tuple[list[ReserveNotification], list[ReserveNotification]]:
        """Changes that may be released, and running calls that have to be withdrawn; the reasons are recorded."""
        harms = self._harms(proposal, changed, proposal.wanted, proposal.present, rebound=self.settings.rebound > 0)
        for harm in harms:
            reserve = changed[harm.activation]
            self._report("activation_withheld", proposal, reserve, proposal.wanted[reserve.id], harm, out)
        refused = {harm.activation for harm in harms}
        released = [reserve for k, reserve in enumerate(changed) if k not in refused]
        points = {**proposal.present, **{reserve.id: proposal.wanted[reserve.id] for reserve in released}}
        running = [each for each in proposal.ready if each not in released and points[each.id] != (0.0, 0.0)]
        withdrawn = []
        for harm in self._harms(proposal, running, points, points):
            reserve = running[harm.activation]
            withdrawn.append(reserve)
            self._report("activation_withdrawn", proposal, reserve, points[reserve.id], harm, out)
        return released, withdrawn

    def _harms(
        self,
        proposal: Proposal,
        judged: Sequence[ReserveNotification],
        points: Mapping[str, Point],
        others: Mapping[str, Point],
        *,
        rebound: bool = False,
    ) -> tuple[Harm, ...]:
        """Harm that the ``points`` of the judged reserves would do while those of the ``others`` act."""
        if not judged:
            return ()
        places, ids = self.knowledge.locations, {reserve.id for reserve in judged}
        rest_p, rest_q = proposal.p_bus_mw.copy(), proposal.q_bus_mvar.copy()
        for reserve in proposal.ready:
            if reserve.id not in ids:
                rest_p[places[reserve.location]] += others[reserve.id][0]
                rest_q[places[reserve.location]] += others[reserve.id][1]
        cases = [HarmCase(name="now", p_mw=rest_p, q_mvar=rest_q)]
        if rebound:
            cases.append(self._after(proposal.now, max(reserve.stop for reserve in judged)))
        p, q = (np.array([points[reserve.id][axis] for reserve in judged]) for axis in (0, 1))
        bus = np.array([places[reserve.location] for reserve in judged], dtype=np.int64)
        return check_harm(self.estimator.engine, cases, bus, p, q, self.limits, protected=self.protected).harms

    def _after(self, now: datetime, stop: datetime) -> HarmCase:
        """The state expected when the reserve has ended and part of its energy comes back."""
        grid = TimeGrid(start=stop, step_s=self.settings.forecast_step_s, count=1)
        ahead = self.knowledge.forecast(grid, now, None, None)
        p_bus, q_bus = self.estimator.bus_power(ahead.p_mw[0], ahead.q_mvar[0])
        return HarmCase(name="after the reserve ends", p_mw=p_bus, q_mvar=q_bus, share=-self.settings.rebound)

    def _report(
        self, event: str, proposal: Proposal, reserve: ReserveNotification, point: Point, harm: Harm, out: Outbox
    ) -> None:
        """Record the harm and tell the seller that the activation is not released any more."""
        self.rest(reserve.id, proposal.now)
        reason = harm.reason + self._whose(harm)
        done = "not released" if event == "activation_withheld" else "withdrawn"
        out.record(
            event,
            f"{point[0]:.3f} MW, {point[1]:.3f} MVar at {reserve.location} {done}: {reason}",
            reserve=reserve.id,
            location=reserve.location,
            element=harm.violation.element,
            p_mw=point[0],
            q_mvar=point[1],
        )
        refusal = ActivationRefusal(
            id=out.identity("refusal"),
            reserve=reserve.id,
            refused_by=self.settings.name,
            p_mw=point[0],
            q_mvar=point[1],
            start=proposal.now,
            stop=reserve.stop,
            reason=reason,
        )
        out.send(reserve.seller, refusal)

    def _whose(self, harm: Harm) -> str:
        """Names the customer whose contract the harm would break."""
        table, _, _ = harm.violation.element.partition(".")
        if table != "bus":
            return ""
        own = self.settings
        for name, bus in self.knowledge.locations.items():
            bound = (
                own.pcc_v_max_pu.get(name) if harm.violation.limit >= 1.0 else own.pcc_v_min_pu.get(name)
            )  # a band holds the nominal voltage
            if bus == harm.violation.position and bound is not None:
                return f"; {name} has {bound:.4f} pu by contract, {own.voltage_margin_pu:.4f} pu kept"
        return ""
