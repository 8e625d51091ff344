"""What moved energy is worth: the price at which the marginal seller of flexibility, a battery, breaks even.

A local flexibility market has no published price history that fits every place, so the expected price is derived.  A
seller that lowers its consumption by 1 MWh saves the spot price now and buys ``1/η`` MWh back later, at the mean spot
price of the day; one that raises it pays the spot price now and sells ``η`` MWh later at that mean; both wear the
battery once, when the energy leaves it::

    up   = wear + max(0, mean/η - spot)
    down = wear + max(0, spot - η·mean)

with the round-trip efficiency ``η`` and the wear of the batteries of this project (``BatterySpec``).  The price never
falls below the wear: nobody moves energy for nothing.
"""

from __future__ import annotations

import numpy as np

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.resources import BatterySpec

_REFERENCE = BatterySpec(p_max_mw=1.0, s_max_mva=1.0, energy_mwh=1.0)
ROUND_TRIP = _REFERENCE.efficiency_charge * _REFERENCE.efficiency_discharge
WEAR_EUR_PER_MWH = _REFERENCE.wear_eur_per_mwh


def break_even(
    spot_eur_per_mwh: FloatArray,
    step_s: int,
    *,
    round_trip: float = ROUND_TRIP,
    wear_eur_per_mwh: float = WEAR_EUR_PER_MWH,
) -> tuple[FloatArray, FloatArray]:
    """Price at which a battery breaks even when it lowers and when it raises consumption.

    Args:
        spot_eur_per_mwh: Spot price. [EUR/MWh] (n,)
        step_s: Length of an interval. [s]
        round_trip: Energy that comes back per energy taken. [1]
        wear_eur_per_mwh: Wear of energy that leaves the battery. [EUR/MWh]

    Returns:
        Prices upwards and downwards. [EUR/MWh] (n,), [EUR/MWh] (n,)
    """
    spot = np.asarray(spot_eur_per_mwh, dtype=np.float64)
    if not len(spot):
        return spot.copy(), spot.copy()
    mean = _day_mean(spot, max(1, 86400 // step_s))
    up = wear_eur_per_mwh + np.maximum(0.0, mean / round_trip - spot)
    down = wear_eur_per_mwh + np.maximum(0.0, spot - round_trip * mean)
    return up, down


def _day_mean(values: FloatArray, window: int) -> FloatArray:
    """Mean over the day around each interval, shorter at the ends. (n,)"""
    total = np.concatenate(([0.0], np.cumsum(values)))
    place = np.arange(len(values))
    first = np.maximum(0, place - window // 2)
    last = np.minimum(len(values), place + window - window // 2)
    return np.asarray((total[last] - total[first]) / (last - first))
