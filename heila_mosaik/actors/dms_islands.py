"""Islands on the DMS' side: who may carry grid zones, what is asked of them, when they are released."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_outage import Carrier, RestorationSettings, listed
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import ControlSignal, FlexibilityForecast
from heila_mosaik.domain.quantities import BoolArray
from heila_mosaik.domain.restoration import Demand, IslandPlan, IslandSource, check_island, plan_island
from heila_mosaik.domain.topology import Positions

_FOREVER = timedelta(days=365)
_SHARES = (1.0, 0.7, 0.4)
"""Parts of an offer that are tried, until voltages and currents of the island hold."""


class Islands:
    """Islands in force, offers of microgrids, and what was switched off for them.

    Args:
        settings: Settings of the restoration.
        estimator: Estimator with the DMS' own grid.
        knowledge: What the DMS expects of loads.

    Attributes:
        plans: Islands in force, by microgrid.
        off: Loads and generators left off in islands.
    """

    def __init__(self, settings: RestorationSettings, estimator: Estimator, knowledge: Knowledge) -> None:
        self.settings, self.estimator, self.knowledge = settings, estimator, knowledge
        self.plans: dict[str, IslandPlan] = {}
        self.off: set[str] = set()
        self._offers: dict[str, FlexibilityForecast] = {}
        self._held: set[str] = set()

    def offer(self, offered: FlexibilityForecast) -> None:
        """Take what an islanded microgrid can export."""
        self._offers[offered.subject] = offered

    def clear(self) -> None:
        """Forget an incident that is over."""
        self.plans, self.off, self._offers, self._held = {}, set(), {}, set()

    def release(self, now: datetime, dark: BoolArray, out: Outbox) -> list[str]:
        """Release microgrids where the grid supplies again; returns what may be connected there.

        Args:
            now: Time.
            dark: Buses without supply from the grid. (n_bus,)
            out: Takes the orders.
        """
        for carrier in self.settings.carriers:
            if carrier.name in self.plans and not dark[carrier.bus]:
                del self.plans[carrier.name]
                out.send(carrier.mgms, _order(now, carrier.storage, out, closed=None, forming=False))
            if carrier.name in self._held and not dark[carrier.bus]:
                self._held.discard(carrier.name)
                out.send(carrier.mgms, _order(now, carrier.breaker, out, closed=True, forming=False))
        places = zip(self.knowledge.names, self.knowledge.bus.tolist(), strict=True)
        ready = [name for name, bus in places if name in self.off and not dark[bus]]
        self.off -= set(ready)
        return ready

    def form(
        self, now: datetime, positions: Positions, faulted: Collection[str], operable: Sequence[str], out: Outbox
    ) -> dict[str, bool]:
        """Ask one microgrid in the dark part that has offered to carry the loads around it.

        Args:
            now: Time.
            positions: Position of every device.
            faulted: Elements with a fault.
            operable: Devices that may move.
            out: Takes the order and the record.

        Returns:
            What the DMS switches itself for it; empty if nobody is asked.
        """
        graph = self.settings.graph
        live = graph.connected(graph.links(positions), self.settings.sources)
        faulty = graph.connected(graph.links(positions), [graph.place(line) for line in sorted(faulted)])
        taken = {bus for plan in self.plans.values() for bus in plan.buses}
        allowed = ~live & ~faulty
        allowed[list(taken)] = False
        for carrier in self._by_energy():
            offered = self._offers.get(carrier.name)
            useful = carrier.storage and carrier.name not in self.plans and allowed[carrier.bus]
            if not useful or offered is None or positions[carrier.device] or offered.profile.stop <= now:
                continue
            # every microgrid keeps the zone it hangs on; two sources do not meet in one island
            mine = allowed.copy()
            mine[[other.bus for other in self.settings.carriers if other.storage and other is not carrier]] = False
            plan = self._island(now, carrier, offered, (positions, operable, mine))
            if plan is not None:
                self.plans[carrier.name] = plan
                return self._start(now, carrier, plan, out)
        return {}

    def _by_energy(self) -> list[Carrier]:
        """Microgrids by what they offer, most first."""
        offers = {name: offered.energy_up_mwh for name, offered in self._offers.items()}
        return sorted(self.settings.carriers, key=lambda carrier: (-offers.get(carrier.name, 0.0), carrier.name))

    def _island(
        self,
        now: datetime,
        carrier: Carrier,
        offered: FlexibilityForecast,
        grid: tuple[Positions, Sequence[str], BoolArray],
    ) -> IslandPlan | None:
        positions, operable, allowed = grid
        step_s = offered.profile.step_s
        p, q = self.settings.expected(self.knowledge, now, step_s)
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
        movable = [*operable, carrier.device]
        for share in _SHARES:
            source = IslandSource(
                name=carrier.name,
                breaker=carrier.device,
                bus=carrier.bus,
                p_mw=-share * np.asarray(offered.profile.p_min_mw[:count]),
                s_mva=share * carrier.s_mva,
                energy_mwh=offered.energy_up_mwh,
            )
            plan = plan_island(
                self.settings.graph, positions, movable, source, demands, generators, allowed, step_s / 3600.0
            )
            if plan is None or self._carries(carrier, plan, demands):
                return plan
        return None

    def _carries(self, carrier: Carrier, plan: IslandPlan, demands: Mapping[int, Sequence[Demand]]) -> bool:
        """Whether voltages and currents of an island stay within the limits of restoration."""
        former = int(carrier.former.partition(".")[2])
        return check_island(
            self.estimator.engine, self.settings.limits(self.estimator.engine.network), plan, former, demands
        ).feasible

    def _start(self, now: datetime, carrier: Carrier, plan: IslandPlan, out: Outbox) -> dict[str, bool]:
        out.record(
            "island_planned",
            f"{carrier.name} carries {listed(plan.connect)} at {len(plan.buses)} buses: at most {plan.peak_mw:.3f} MW, "
            f"{plan.energy_mwh:.3f} MWh; {listed(plan.disconnect)} stay off",
            microgrid=carrier.name,
            loads=", ".join(plan.connect),
            disconnect=", ".join(plan.disconnect),
            peak_mw=plan.peak_mw,
            energy_mwh=plan.energy_mwh,
        )
        self.off |= set(plan.disconnect)
        own = dict.fromkeys(plan.opening, False) | dict.fromkeys(plan.closing[:-1], True)
        for other in self.settings.carriers:
            if other is not carrier and other.bus in plan.buses:
                # voltage at its breaker will not mean that the grid is back
                self._held.add(other.name)
                out.send(other.mgms, _order(now, other.breaker, out, closed=False, forming=False))
        out.send(carrier.mgms, _order(now, carrier.breaker, out, closed=True, forming=True))
        return dict.fromkeys(plan.disconnect, False) | own


def _order(now: datetime, target: str, out: Outbox, *, closed: bool | None, forming: bool) -> ControlSignal:
    return ControlSignal(
        id=out.identity("control"),
        target=target,
        start=now,
        stop=now + _FOREVER,
        closed=closed,
        grid_forming=forming,
    )
