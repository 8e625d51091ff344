"""Reliability of supply: interruptions of customers and energy not supplied.

Definitions of IEEE Std 1366-2012: an interruption of at most five minutes is momentary, a longer one sustained;
SAIFI, SAIDI and CAIDI count sustained ones, MAIFI momentary ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.quantities import BoolArray, FloatArray

MOMENTARY_S = 300.0
"""Longest momentary interruption. [s]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Interruption indices of one run.

    Attributes:
        customers: Customers served.
        saifi: Sustained interruptions per customer. [1]
        saidi_min: Minutes of sustained interruption per customer. [min]
        caidi_min: Mean length of a sustained interruption; NaN without any. [min]
        maifi: Momentary interruptions per customer. [1]
        customer_minutes: Minutes of all interruptions, summed over customers. [min]
        worst_customers: Most customers interrupted at one time.
    """

    customers: float
    saifi: float
    saidi_min: float
    caidi_min: float
    maifi: float
    customer_minutes: float
    worst_customers: float


def reliability(supplied: BoolArray, customers: FloatArray, step_s: float) -> Reliability:
    """Indices from the supply of every load.

    An interruption that lasts beyond the end of the series counts with what is seen of it.

    Args:
        supplied: Whether each load has supply in each step. (n, m)
        customers: Customers of each load. (m,)
        step_s: Length of a step. [s]
    """
    total = float(customers.sum())
    sustained = momentary = minutes = sustained_minutes = 0.0
    for column, count in enumerate(customers.tolist()):
        for length in _spells(~supplied[:, column]):
            seconds = length * step_s
            minutes += count * seconds / 60.0
            if seconds > MOMENTARY_S:
                sustained += count
                sustained_minutes += count * seconds / 60.0
            else:
                momentary += count
    out = (~supplied) @ customers if supplied.size else np.zeros(1)
    share = 1.0 / total if total > 0 else float("nan")
    return Reliability(
        customers=total,
        saifi=sustained * share,
        saidi_min=sustained_minutes * share,
        caidi_min=sustained_minutes / sustained if sustained > 0 else float("nan"),
        maifi=momentary * share,
        customer_minutes=minutes,
        worst_customers=float(np.max(out, initial=0.0)),
    )


def _spells(out: BoolArray) -> list[int]:
    """Lengths of the runs of ``True``, in steps."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], out, [False])).astype(np.int8)))
    return (edges[1::2] - edges[::2]).tolist()


def not_supplied_mwh(demand_mw: FloatArray, supplied: BoolArray, step_s: float) -> float:
    """Energy that loads wanted and did not get. [MWh]

    Args:
        demand_mw: Demand of each load in each step; feeding counts as none. [MW] (n, m)
        supplied: Whether each load has supply. (n, m)
        step_s: Length of a step. [s]
    """
    missing = np.where(supplied, 0.0, np.maximum(np.nan_to_num(demand_mw), 0.0))
    return float(missing.sum()) * step_s / 3600.0
