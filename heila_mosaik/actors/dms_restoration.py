"""Restoration by the DMS: waits for the trip, isolates, supplies the rest, asks microgrids, goes back after repair.

Every step waits until telemetry shows the switches where they were sent: a command is not a position.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import ControlSignal, FlexibilityForecast
from heila_mosaik.domain.quantities import BoolArray, FloatArray
from heila_mosaik.domain.reconfiguration import Cases
from heila_mosaik.domain.restoration import (
    Demand,
    IslandPlan,
    IslandSource,
    Plan,
    Question,
    plan_island,
    plan_restoration,
    way_back,
)
from heila_mosaik.domain.timegrid import TimeGrid, floor_to
from heila_mosaik.domain.topology import Graph

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A microgrid that may carry an island, as the DMS knows it.

    Attributes:
        name: Microgrid.
        mgms: Address of its management system.
        breaker: Name of the breaker at its point of common coupling.
        device: The same in the grid, ``switch.7``.
        bus: Bus position on the side of the grid.
        storage: Grid-forming storage; empty: it cannot carry one.
        former: How the grid model carries it, ``ext_grid.3``.
        s_mva: Apparent power of the storage. [MVA]
    """

    name: str
    mgms: str
    breaker: str
    device: str
    bus: int
    storage: str = ""
    former: str = ""
    s_mva: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RestorationSettings:
    """Settings of the restoration.

    Attributes:
        graph: Connectivity of the grid, positions as in normal operation.
        sources: Buses the grid above supplies.
        fixed: Switches without remote control.
        carriers: Microgrids.
        priority: Priority of each load, 1 first.
        customers: Customers of each load.
        v_min_pu, v_max_pu: Voltage band while supply is restored. [pu]
        loading_percent: Highest loading while supply is restored. [%]
        locate_s: From the trip to the decision. [s]
        confirm_s: A switch not seen in its place by then has failed. [s]
        repair_h: Outage planned for after a fault. [h]
        enabled: Whether it acts; otherwise it only reports.
    """

    graph: Graph
    sources: tuple[int, ...]
    fixed: tuple[str, ...] = ()
    carriers: tuple[Carrier, ...] = ()
    priority: Mapping[str, int] = field(default_factory=dict)
    customers: Mapping[str, float] = field(default_factory=dict)
    v_min_pu: float = 0.93
    v_max_pu: float = 1.1
    loading_percent: float = 110.0
    locate_s: float = 60.0
    confirm_s: float = 300.0
    repair_h: float = 4.0
    enabled: bool = True


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
        self.islands: dict[str, IslandPlan] = {}
        self._normal = settings.graph.devices
        self._positions = dict(self._normal)
        owned = {carrier.device for carrier in settings.carriers}
        self._operable = [name for name in self._normal if name not in owned and name not in settings.fixed]
        self._faulted: set[str] = set()
        self._known: set[str] = set()
        self._decide_at: datetime | None = None
        self._since: datetime | None = None
        self._waiting: dict[str, bool] = {}
        self._offers: dict[str, FlexibilityForecast] = {}
        self._off: set[str] = set()
        self._limited: set[str] = set()
        self._held: set[str] = set()
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
        self._offers[offered.subject] = offered

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
            self._form_islands(now, out)
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
            f"isolate with {_list(plan.isolate)}; open {_list(plan.opening)}; close {_list(plan.closing)}; "
            f"{self._customers(plan.served):.0f} customers come back, {self._customers(plan.dark):.0f} stay dark"
            + ("; generators of the dark part stay off" if plan.generators_off else "")
            + "".join(f"; {_list(part.buses)}: {part.reason}" for part in plan.unserved),
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
        network, own = self.estimator.engine.network, self.settings
        # a microgrid that protection cut off comes back by itself as soon as there is voltage
        closed = {carrier.device: True for carrier in own.carriers}
        limits = Limits.of(network)
        lines, trafos = network.lines.max_loading_percent, network.trafos.max_loading_percent
        limits = replace(
            limits,
            v_min_pu=np.minimum(limits.v_min_pu, own.v_min_pu),
            v_max_pu=np.maximum(limits.v_max_pu, own.v_max_pu),
            line_percent=lines * own.loading_percent / 100.0,
            trafo_percent=trafos * own.loading_percent / 100.0,
        )
        p, q = self._expected(now)
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
            limits=limits,
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

    def _expected(self, now: datetime, step_s: int = 3600) -> tuple[FloatArray, FloatArray]:
        """Expected consumption of every injection until the repair. [MW] (k, n), [MVar] (k, n)"""
        count = max(1, round(self.settings.repair_h * 3600 / step_s))
        grid = TimeGrid(start=floor_to(now, 900), step_s=step_s, count=count)
        ahead = self.knowledge.forecast(grid, now, None, None)
        return ahead.p_mw, ahead.q_mvar

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
        self._hand_back(now, out)

    def _hand_back(self, now: datetime, out: Outbox) -> None:
        """Connect what an island had left off, and release microgrids, where the grid supplies again."""
        dark = self.dark()
        for carrier in self.settings.carriers:
            if carrier.name in self.islands and not dark[carrier.bus]:
                del self.islands[carrier.name]
                out.send(carrier.mgms, self._order(now, carrier.storage, out, closed=None, forming=False))
            if carrier.name in self._held and not dark[carrier.bus]:
                self._held.discard(carrier.name)
                out.send(carrier.mgms, self._order(now, carrier.breaker, out, closed=True, forming=False))
        places = zip(self.knowledge.names, self.knowledge.bus.tolist(), strict=True)
        ready = [name for name, bus in places if name in self._off and not dark[bus]]
        self._off -= set(ready)
        self._send(now, dict.fromkeys(ready, True), out)

    # ------------------------------------------------------------------ islands

    def _form_islands(self, now: datetime, out: Outbox) -> None:
        """Ask microgrids in the dark part that have offered to carry the loads around them."""
        graph = self.settings.graph
        live = graph.connected(graph.links(self._positions), self.settings.sources)
        faulty = graph.connected(graph.links(self._positions), [graph.place(line) for line in sorted(self._faulted)])
        taken = {bus for plan in self.islands.values() for bus in plan.buses}
        allowed = ~live & ~faulty
        allowed[list(taken)] = False
        for carrier in self._by_energy():
            offered = self._offers.get(carrier.name)
            useful = carrier.storage and carrier.name not in self.islands and allowed[carrier.bus]
            if not useful or offered is None or self._positions[carrier.device] or offered.profile.stop <= now:
                continue
            # every microgrid keeps the zone it hangs on; two sources do not meet in one island
            mine = allowed.copy()
            mine[[other.bus for other in self.settings.carriers if other.storage and other is not carrier]] = False
            plan = self._island(now, carrier, offered, mine)
            if plan is not None:
                self.islands[carrier.name] = plan
                self._start_island(now, carrier, plan, out)
                return

    def _by_energy(self) -> list[Carrier]:
        """Microgrids by what they offer, most first."""
        offers = {name: offered.energy_up_mwh for name, offered in self._offers.items()}
        return sorted(self.settings.carriers, key=lambda carrier: (-offers.get(carrier.name, 0.0), carrier.name))

    def _island(
        self, now: datetime, carrier: Carrier, offered: FlexibilityForecast, allowed: BoolArray
    ) -> IslandPlan | None:
        step_s = offered.profile.step_s
        p, q = self._expected(now, step_s)
        count = min(len(p), len(offered.profile.p_min_mw))
        demands: dict[int, list[Demand]] = {}
        generators: dict[int, list[str]] = {}
        for column, (name, bus) in enumerate(zip(self.knowledge.names, self.knowledge.bus.tolist(), strict=True)):
            if name.startswith("load."):
                demand = Demand(
                    name=name,
                    p_mw=np.maximum(p[:count, column], 0.0),
                    q_mvar=q[:count, column],
                    priority=self.settings.priority.get(name, 2),
                    customers=self.settings.customers.get(name, 1.0),
                )
                demands.setdefault(bus, []).append(demand)
            elif name.startswith("sgen."):
                generators.setdefault(bus, []).append(name)
        source = IslandSource(
            name=carrier.name,
            breaker=carrier.device,
            bus=carrier.bus,
            p_mw=-np.asarray(offered.profile.p_min_mw[:count]),
            s_mva=carrier.s_mva,
            energy_mwh=offered.energy_up_mwh,
        )
        operable = [*(name for name in self._operable if name not in self._failed), carrier.device]
        return plan_island(
            self.settings.graph, self._positions, operable, source, demands, generators, allowed, step_s / 3600.0
        )

    def _start_island(self, now: datetime, carrier: Carrier, plan: IslandPlan, out: Outbox) -> None:
        out.record(
            "island_planned",
            f"{carrier.name} carries {_list(plan.connect)} at {len(plan.buses)} buses: at most {plan.peak_mw:.3f} MW, "
            f"{plan.energy_mwh:.3f} MWh; {_list(plan.disconnect)} stay off",
            microgrid=carrier.name,
            loads=", ".join(plan.connect),
            disconnect=", ".join(plan.disconnect),
            peak_mw=plan.peak_mw,
            energy_mwh=plan.energy_mwh,
        )
        self._off |= set(plan.disconnect)
        own = dict.fromkeys(plan.opening, False) | dict.fromkeys(plan.closing[:-1], True)
        self._send(now, dict.fromkeys(plan.disconnect, False) | own, out)
        for other in self.settings.carriers:
            if other is not carrier and other.bus in plan.buses:
                # voltage at its breaker will not mean that the grid is back
                self._held.add(other.name)
                out.send(other.mgms, self._order(now, other.breaker, out, closed=False, forming=False))
        out.send(carrier.mgms, self._order(now, carrier.breaker, out, closed=True, forming=True))

    def _order(self, now: datetime, target: str, out: Outbox, *, closed: bool | None, forming: bool) -> ControlSignal:
        return ControlSignal(
            id=out.identity("control"),
            target=target,
            start=now,
            stop=now + _FOREVER,
            closed=closed,
            grid_forming=forming,
        )

    # ------------------------------------------------------------------ after the repair

    def _return(self, now: datetime, out: Outbox) -> None:
        """Close what was opened for the fault; islands meet the grid there and follow it from then on."""
        closing, _opening = way_back(self._positions, self._normal, self._operable)
        self._send(now, dict.fromkeys(closing, True), out)

    def _finish(self, now: datetime, out: Outbox) -> None:
        self._hand_back(now, out)
        left = sorted(self._off | self._limited)
        self._send(now, dict.fromkeys(left, True), out)
        self._off, self._limited = set(), set()
        assert self._trouble_at is not None
        hours = (now - self._trouble_at).total_seconds() / 3600.0
        out.record("normal_operation", f"all switches are in their normal position after {hours:.2f} h", hours=hours)
        self.islands, self.plan, self._trouble_at = {}, None, None
        self._offers, self._failed = {}, set()
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


def _list(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:12])
    return (shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")) or "nothing"
