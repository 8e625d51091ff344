"""Which loads an island can carry: by priority, within power and energy of its sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.quantities import FloatArray

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """A load that can be connected or left off.

    Attributes:
        name: Load or resource.
        p_mw: Expected active power in each interval, consumption positive. [MW] (k,)
        q_mvar: Expected reactive power. [MVar] (k,)
        priority: 1 comes first.
        customers: Customers behind it; among equal priorities the one with most customers per energy comes first.
    """

    name: str
    p_mw: FloatArray
    q_mvar: FloatArray
    priority: int = 2
    customers: float = 1.0


def pick_up(
    demands: Sequence[Demand],
    p_mw: FloatArray,
    s_mva: float,
    energy_mwh: float,
    hours: float,
    *,
    charge_mw: FloatArray | None = None,
) -> tuple[str, ...]:
    """Names of the demands to connect, in order of priority.

    A demand is connected if the power of every interval and the energy of all intervals still suffice.  One that does
    not fit is passed over, and a smaller one of lower priority may fill the gap.

    Args:
        demands: What asks for supply.
        p_mw: Power the sources can give in each interval; what they must give in any case is taken off. [MW] (k,)
        s_mva: Apparent power of the grid-forming converter. [MVA]
        energy_mwh: Energy the sources can give over all intervals. [MWh]
        hours: Length of an interval. [h]
        charge_mw: Power the storage can take in each interval: the net demand must not fall below minus this. [MW] (k,)
    """
    total_p, total_q = np.zeros_like(p_mw), np.zeros_like(p_mw)
    chosen: list[str] = []
    for demand in sorted(demands, key=_rank):
        p, q = total_p + demand.p_mw, total_q + demand.q_mvar
        fits = (
            bool((p <= p_mw + _TOLERANCE).all())
            and bool((np.hypot(p, q) <= s_mva + _TOLERANCE).all())
            and float(p.sum()) * hours <= energy_mwh + _TOLERANCE
            and (charge_mw is None or bool((p >= -charge_mw - _TOLERANCE).all()))
        )
        if fits:
            total_p, total_q = p, q
            chosen.append(demand.name)
    return tuple(chosen)


def _rank(demand: Demand) -> tuple[int, float, str]:
    energy = max(float(np.sum(demand.p_mw)), 1e-9)
    return demand.priority, -demand.customers / energy, demand.name
