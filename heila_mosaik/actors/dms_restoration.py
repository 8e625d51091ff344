"""Restoration by the DMS: waits for the trip, isolates, supplies the rest, asks microgrids, goes back after repair.

Every step waits until telemetry shows the switches where they were sent: a command is not a position.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_islands import Islands
from heila_mosaik.actors.dms_outage import Carrier, RestorationSettings, listed
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import ControlSignal, FlexibilityForecast
from heila_mosaik.domain.quantities import BoolArray, FloatArray
from heila_mosaik.domain.reconfiguration import Cases
from heila_mosaik.domain.restoration import Plan, Question, plan_restoration, way_back

__all__ = ["Carrier", "Restoration", "RestorationSettings", "Stage"]

_FOREVER = timedelta(days=365)


class Stage(StrEnum):
    """Where an incident stands."""

    NORMAL = "normal"
    LOCATE = "locate"
    OPEN = "open"
    CLOSE = "close"
    RESTORED = "restored"
    RETURN_CLOSE = "return_close"
    RETURN_OPEN = "return_open"


class Restoration:
    """State machine of one incident at a time; further faults join it.

    Args:
        settings: Settings.
        estimator: Estimator with the DMS' own grid, which follows the reported switches.
        knowledge: What the DMS expects of loads and microgrids.
    """

    def __init__(self, settings: RestorationSettings, estimator: Estimator, knowledge: Knowledge) -> None:
        self.settings, self.estimator, self.knowledge = settings, estimator, knowledge
        self.stage = Stage.NORMAL
        self.plan: Plan | None = None
        self.islands = Islands(settings, estimator, knowledge)
        self._normal = settings.graph.devices
        self._positions = dict(self._normal)
        owned = {carrier.device for carrier in settings.carriers}
        self._operable = [name for name in self._normal if name not in owned and name not in settings.fixed]
        self._faulted: set[str] = set()
        self._known: set[str] = set()
        self._decide_at: datetime | None = None
        self._since: datetime | None = None
        self._waiting: dict[str, bool] = {}
        self._limited: set[str] = set()
        self._failed: set[str] = set()
        self._trouble_at: datetime | None = None

    # ------------------------------------------------------------------ what is seen

    def see(self, element: str, value: float) -> None:
        """Take a reported position or fault passage indicator."""
        if element.startswith("line."):
            (self._faulted.add if value >= 0.5 else self._faulted.discard)(element)
        elif element in self._positions:
            self._positions[element] = value >= 0.5
        elif element.startswith(("load.", "sgen.")):
            off = self.knowledge.disconnected
            (off.discard if value >= 0.5 else off.add)(element)

    def offer(self, offered: FlexibilityForecast) -> None:
        """Take what an islanded microgrid can export."""
        self.islands.offer(offered)

    def dark(self) -> BoolArray:
        """Buses without supply from the grid above, as far as positions tell. (n_bus,)"""
        graph = self.settings.graph
        live = graph.connected(graph.links(self._positions), self.settings.sources)
        found: BoolArray = ~live[: graph.first["line"]]
        return found

    # ------------------------------------------------------------------ what is done

    def step(self, now: datetime, out: Outbox) -> None:
        """Advance to ``now``."""
        fresh, mended = self._faulted - self._known, self._known - self._faulted
        self._known = set(self._faulted)
        if fresh:
            self._notice(now, sorted(fresh), out)
        if mended:
            self._mended(now, sorted(mended), out)
        if not self.settings.enabled or self.stage is Stage.NORMAL:
            return
        if self._waiting and not self._confirmed(now, out):
            return
        self._advance(now, out)

    def _notice(self, now: datetime, fresh: list[str], out: Outbox) -> None:
        count = self._customers(self.dark())
        out.record(
            "fault_detected",
            f"fault passage indicators locate {', '.join(fresh)}; {count:.0f} customers are without supply",
            faulted=", ".join(fresh),
            customers=count,
        )
        self.stage, self._waiting = Stage.LOCATE, {}
        self._decide_at = now + timedelta(seconds=self.settings.locate_s)
        self._trouble_at = self._trouble_at or now

    def _mended(self, now: datetime, mended: list[str], out: Outbox) -> None:
        out.record("fault_repaired", f"{', '.join(mended)} may be energised again", repaired=", ".join(mended))
        self._waiting = {}
        if self._faulted:
            self.stage, self._decide_at = Stage.LOCATE, now
        elif self.settings.enabled:
            self.stage = Stage.RETURN_CLOSE
            self._return(now, out)
        else:
            self.stage = Stage.RETURN_CLOSE
            self._send(now, self._moved(), out)

    def _moved(self) -> dict[str, bool]:
        """Own devices out of their normal position."""
        return {name: self._normal[name] for name in self._operable if self._positions[name] != self._normal[name]}

    def _confirmed(self, now: datetime, out: Outbox) -> bool:
        left = [name for name, closed in self._waiting.items() if self._positions.get(name) != closed]
        if not left:
            self._waiting = {}
            return True
        assert self._since is not None
        if (now - self._since).total_seconds() <= self.settings.confirm_s:
            return False
        out.record(
            "switching_failed",
            f"{', '.join(left)} did not move within {self.settings.confirm_s:.0f} s; planned again without",
            devices=", ".join(left),
        )
        self._failed |= set(left)
        self._waiting, self.stage, self._decide_at = {}, Stage.LOCATE, now
        return True

    def _advance(self, now: datetime, out: Outbox) -> None:
        if self.stage is Stage.LOCATE and self._decide_at is not None and now >= self._decide_at:
            self._decide(now, out)
        elif self.stage is Stage.OPEN:
            assert self.plan is not None
            self.stage = Stage.CLOSE
            self._send(now, dict.fromkeys(self.plan.closing, True), out)
        elif self.stage is Stage.CLOSE:
            self.stage = Stage.RESTORED
            self._report(now, out)
        elif self.stage is Stage.RESTORED:
            operable = [name for name in self._operable if name not in self._failed]
            own = self.islands.form(now, self._positions, sorted(self._faulted), operable, out)
            if own:
                self._send(now, own, out)
        elif self.stage is Stage.RETURN_CLOSE:
            self.stage = Stage.RETURN_OPEN
            _close, opening = way_back(self._positions, self._normal, self._operable)
            self._send(now, dict.fromkeys(opening, False), out)
        elif self.stage is Stage.RETURN_OPEN:
            self._finish(now, out)

    def _decide(self, now: datetime, out: Outbox) -> None:
        question = self._question(now)
        engine = self.estimator.engine.copy()
        for carrier in self.settings.carriers:
            if carrier.former:
                engine.set_in_service("ext_grid", int(carrier.former.partition(".")[2]), False)
        plan = plan_restoration(engine, question)
        self.plan = plan
        out.record(
            "restoration_planned",
            f"isolate with {listed(plan.isolate)}; open {listed(plan.opening)}; close {listed(plan.closing)}; "
            f"{self._customers(plan.served):.0f} customers come back, {self._customers(plan.dark):.0f} stay dark"
            + ("; generators of the dark part stay off" if plan.generators_off else "")
            + "".join(f"; {listed(part.buses)}: {part.reason}" for part in plan.unserved),
            isolate=", ".join(plan.isolate),
            opening=", ".join(plan.opening),
            closing=", ".join(plan.closing),
            served_customers=self._customers(plan.served),
            dark_customers=self._customers(plan.dark),
            evaluations=plan.evaluations,
            margin=plan.outcome.margin,
        )
        off = [name for name in self._dark_generators() if name not in self.knowledge.disconnected]
        off = off if plan.generators_off else []
        self._limited |= set(off)
        self.stage = Stage.OPEN
        self._send(now, dict.fromkeys((*plan.isolate, *plan.opening, *off), False), out)

    def _question(self, now: datetime) -> Question:
        own = self.settings
        # a microgrid that protection cut off comes back by itself as soon as there is voltage
        closed = {carrier.device: True for carrier in own.carriers}
        p, q = self.settings.expected(self.knowledge, now)
        dark = self._dark_generators()
        alone = np.array([name not in dark for name in self.knowledge.names], float)
        return Question(
            graph=own.graph,
            positions={**self._positions, **closed},
            faulted=tuple(sorted(self._faulted)),
            operable=[name for name in self._operable if name not in self._failed],
            sources=own.sources,
            weight=self._weight(p),
            cases=self._cases(p, q),
            limits=self.settings.limits(self.estimator.engine.network),
            alone=self._cases(p * alone, q * alone) if dark else None,
        )

    def _cases(self, p_mw: FloatArray, q_mvar: FloatArray) -> Cases:
        pairs = [self.estimator.bus_power(p_mw[row], q_mvar[row]) for row in range(len(p_mw))]
        return Cases(p_mw=np.array([pair[0] for pair in pairs]), q_mvar=np.array([pair[1] for pair in pairs]))

    def _dark_generators(self) -> list[str]:
        """Generators of the grid at buses without supply, in order."""
        dark = self.dark()
        return [
            name
            for name, bus in zip(self.knowledge.names, self.knowledge.bus.tolist(), strict=True)
            if name.startswith("sgen.") and dark[bus]
        ]

    def _weight(self, p_mw: FloatArray) -> FloatArray:
        """Worth of each bus: mean load, ten times as much a step of priority."""
        names = self.knowledge.names
        rank = np.array([10.0 ** (3 - self.settings.priority.get(name, 2)) for name in names])
        load = np.array([not name.startswith("sgen.") for name in names])
        mean = np.maximum(p_mw.mean(axis=0), 1e-6) * rank * load
        weight, _none = self.estimator.bus_power(mean, mean)
        return weight

    def _send(self, now: datetime, positions: Mapping[str, bool], out: Outbox) -> None:
        """Send commands and remember to see them confirmed."""
        for device, closed in positions.items():
            out.control(
                ControlSignal(id=out.identity("control"), target=device, start=now, stop=now + _FOREVER, closed=closed)
            )
        self._waiting = {name: closed for name, closed in positions.items() if name in self._positions}
        self._since = now

    def _report(self, now: datetime, out: Outbox) -> None:
        assert self._trouble_at is not None
        left = self._customers(self.dark())
        minutes = (now - self._trouble_at).total_seconds() / 60.0
        out.record(
            "supply_restored",
            f"switching is done after {minutes:.0f} min; {left:.0f} customers are without the grid's supply",
            minutes=minutes,
            customers=left,
        )
        self._send(now, dict.fromkeys(self.islands.release(now, self.dark(), out), True), out)

    # ------------------------------------------------------------------ after the repair

    def _return(self, now: datetime, out: Outbox) -> None:
        """Close what was opened for the fault; islands meet the grid there and follow it from then on."""
        closing, _opening = way_back(self._positions, self._normal, self._operable)
        self._send(now, dict.fromkeys(closing, True), out)

    def _finish(self, now: datetime, out: Outbox) -> None:
        ready = self.islands.release(now, self.dark(), out)
        left = sorted({*ready, *self.islands.off, *self._limited})
        self._send(now, dict.fromkeys(left, True), out)
        self._limited = set()
        self.islands.clear()
        assert self._trouble_at is not None
        hours = (now - self._trouble_at).total_seconds() / 3600.0
        out.record("normal_operation", f"all switches are in their normal position after {hours:.2f} h", hours=hours)
        self.plan, self._trouble_at, self._failed = None, None, set()
        self.stage = Stage.NORMAL

    def _customers(self, buses: BoolArray) -> float:
        loads = self.estimator.engine.network.loads
        return float(
            sum(
                self.settings.customers.get(f"load.{load}", 0.0)
                for load, bus in zip(loads.ids.tolist(), loads.bus.tolist(), strict=True)
                if buses[bus]
            )
        )
