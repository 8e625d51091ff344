"""Market volumes of a run over time: offered, cleared, activated and delivered adjustment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.trades import congestion_bodies, is_reserve


@dataclass(frozen=True, slots=True, kw_only=True)
class Flows:
    """Signed adjustments on the time axis of the run, consumption positive (up-regulation is negative).

    All are active [MW] or all reactive [MVar].

    Attributes:
        times: Time axis. (n,)
        offered_low, offered_high: Range of the newest offers, summed over locations. (n,)
        cleared_low, cleared_high: Range reserved. (n,)
        activated: Called. (n,)
        delivered: Measured minus baseline where something was called, NaN elsewhere. (n,)
    """

    times: pd.DatetimeIndex
    offered_low: FloatArray
    offered_high: FloatArray
    cleared_low: FloatArray
    cleared_high: FloatArray
    activated: FloatArray
    delivered: FloatArray


ACTIVE, REACTIVE = ("p", "mw"), ("q", "mvar")


def flows(run: RunFolder, times: pd.DatetimeIndex, power: tuple[str, str] = ACTIVE) -> Flows:
    """Volumes of a run on the time axis ``times``, of active or of reactive power."""
    letter, unit = power
    lowest, highest = f"{letter}_min_{unit}", f"{letter}_max_{unit}"
    offered_low, offered_high = _offered(run, times, lowest, highest)
    cleared_low, cleared_high = np.zeros(len(times)), np.zeros(len(times))
    for reserve in congestion_bodies(run, "ReserveNotification"):
        span = _span(times, reserve["start"], reserve["stop"])
        cleared_low[span] += reserve[lowest]
        cleared_high[span] += reserve[highest]
    return Flows(
        times=times,
        offered_low=offered_low,
        offered_high=offered_high,
        cleared_low=cleared_low,
        cleared_high=cleared_high,
        activated=_activated(run, times, f"{letter}_{unit}"),
        delivered=_delivered(run, times, f"{letter}_{unit}"),
    )


def offers(run: RunFolder) -> list[dict[str, Any]]:
    """Every offer of the congestion market once, whether it was sent by itself or only listed."""
    found = {offer["id"]: offer for offer in run.bodies("Offer")}
    for listed in run.bodies("OfferList"):
        for offer in listed["offers"]:
            found.setdefault(offer["id"], offer)
    return [offer for offer in found.values() if not is_reserve(offer)]


def _offered(run: RunFolder, times: pd.DatetimeIndex, lowest: str, highest: str) -> tuple[FloatArray, FloatArray]:
    """A later submission for a location replaces an earlier one; offers submitted together add up."""
    low: dict[str, FloatArray] = {}
    high: dict[str, FloatArray] = {}
    newest: dict[str, FloatArray] = {}
    for offer in sorted(offers(run), key=lambda each: (each["submitted_at"], each["id"])):
        place = offer["location"]
        if place not in low:
            low[place], high[place], newest[place] = (np.zeros(len(times)) for _ in range(3))
        span = _span(times, offer["start"], offer["stop"])
        submitted = pd.Timestamp(offer["submitted_at"]).timestamp()
        keep = (newest[place][span] == submitted).astype(np.float64)
        low[place][span] = low[place][span] * keep + offer[lowest]
        high[place][span] = high[place][span] * keep + offer[highest]
        newest[place][span] = submitted
    empty = np.zeros(len(times))
    return sum(low.values(), empty), sum(high.values(), empty)


def _activated(run: RunFolder, times: pd.DatetimeIndex, key: str) -> FloatArray:
    by_reserve: dict[str, list[dict[str, Any]]] = {}
    for activation in congestion_bodies(run, "ActivationNotification"):
        by_reserve.setdefault(activation["reserve"], []).append(activation)
    total = np.zeros(len(times))
    for calls in by_reserve.values():
        one = np.zeros(len(times))
        for call in sorted(calls, key=lambda each: (each["start"], each["id"])):
            # A later activation of the same reserve replaces whatever was left of the earlier one.
            one[int(times.searchsorted(pd.Timestamp(call["start"]))) :] = 0.0
            one[_span(times, call["start"], call["stop"])] = call[key]
        total += one
    return total


def _delivered(run: RunFolder, times: pd.DatetimeIndex, power: str) -> FloatArray:
    total = np.full(len(times), np.nan)
    seen: set[tuple[str, str]] = set()
    for check in congestion_bodies(run, "VerificationNotification"):
        # Two reserves of one location at one time are measured at the same meter: count it once.
        key = (check["location"], check["start"])
        asked = np.array(check[f"requested_{power}"], dtype=np.float64)
        # A meter also differs from its baseline while nothing is called: that is no delivery.
        if key in seen or not np.any(asked):
            continue
        seen.add(key)
        measured, baseline = (np.array(check[f"{name}_{power}"], dtype=np.float64) for name in ("measured", "baseline"))
        change = np.where(asked != 0.0, measured - baseline, np.nan)
        span = _span(times, check["start"], check["stop"])
        moments = times[span]
        passed = (moments - pd.Timestamp(check["start"])).total_seconds().to_numpy()
        position = np.minimum((passed // check["step_s"]).astype(int), len(change) - 1)
        given = change[position]
        known = ~np.isnan(given)
        total[span] = np.where(known, np.nan_to_num(total[span]) + np.nan_to_num(given), total[span])
    return total


def _span(times: pd.DatetimeIndex, start: str, stop: str) -> slice:
    return slice(int(times.searchsorted(pd.Timestamp(start))), int(times.searchsorted(pd.Timestamp(stop))))
