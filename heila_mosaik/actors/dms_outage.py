"""What the DMS knows and wants when supply is interrupted: settings, limits, expected load."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.network import Network
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid, floor_to
from heila_mosaik.domain.topology import Graph


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

    def limits(self, network: Network) -> Limits:
        """Limits while supply is restored."""
        limits = Limits.of(network)
        return replace(
            limits,
            v_min_pu=np.minimum(limits.v_min_pu, self.v_min_pu),
            v_max_pu=np.maximum(limits.v_max_pu, self.v_max_pu),
            line_percent=limits.line_percent * self.loading_percent / 100.0,
            trafo_percent=limits.trafo_percent * self.loading_percent / 100.0,
        )

    def expected(self, knowledge: Knowledge, now: datetime, step_s: int = 3600) -> tuple[FloatArray, FloatArray]:
        """Expected consumption of every injection until the repair. [MW] (k, n), [MVar] (k, n)"""
        count = max(1, round(self.repair_h * 3600 / step_s))
        grid = TimeGrid(start=floor_to(now, 900), step_s=step_s, count=count)
        ahead = knowledge.forecast(grid, now, None, None)
        return ahead.p_mw, ahead.q_mvar


def listed(names: tuple[str, ...]) -> str:
    """Names for a sentence, a few of many."""
    shown = ", ".join(names[:12])
    return (shown + (f" and {len(names) - 12} more" if len(names) > 12 else "")) or "nothing"
