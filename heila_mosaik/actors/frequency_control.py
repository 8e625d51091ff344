"""Autonomous frequency control at a site: droop on the locally measured frequency, armed by reserves.

No command travels while it works: the site follows the frequency it measures itself, as in the published FCR cycle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.domain.information import ReserveNotification, VerificationNotification
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS, droop_fcr_d, droop_fcr_n
from heila_mosaik.domain.timegrid import floor_to

BASELINE = "operation_plan"


@dataclass(slots=True)
class _Armed:
    """A reserve of one resource and the readings of its running settlement period."""

    reserve: ReserveNotification
    period: datetime
    rows: list[tuple[datetime, float, float, float]] = field(default_factory=list)


def droop(reserve: ReserveNotification, frequency_hz: float) -> float:
    """Adjustment a reserve asks for at a frequency, consumption positive. [MW]"""
    reading = np.array([frequency_hz])
    if reserve.product is Product.FCR_N:
        return float(droop_fcr_n(reading, min(-reserve.p_min_mw, reserve.p_max_mw))[0])
    return float(droop_fcr_d(reading, -reserve.p_min_mw, reserve.p_max_mw)[0])


class FrequencyControl:
    """Reserves armed at one site.

    Args:
        settlement_s: Settlement period. [s]
        effect_s: Time from a set point to its effect. [s]
    """

    def __init__(self, settlement_s: int = 900, effect_s: float = 0.0) -> None:
        self.settlement_s, self.effect_s = settlement_s, effect_s
        self._armed: dict[str, _Armed] = {}
        self._asked: dict[str, tuple[datetime, float, float]] = {}

    def arm(self, reserve: ReserveNotification) -> bool:
        """Take a reserve of one resource; returns whether it is a frequency reserve."""
        if reserve.product not in RESERVE_PRODUCTS:
            return False
        self._armed[reserve.id] = _Armed(reserve, floor_to(reserve.start, self.settlement_s))
        return True

    @property
    def armed(self) -> bool:
        """Whether any reserve waits or runs."""
        return bool(self._armed)

    def running(self, moment: datetime) -> dict[str, list[ReserveNotification]]:
        """Reserves in force by resource."""
        found: dict[str, list[ReserveNotification]] = {}
        for each in self._armed.values():
            if each.reserve.start <= moment < each.reserve.stop:
                found.setdefault(each.reserve.location, []).append(each.reserve)
        return found

    def points(self, now: datetime, frequency_hz: float, base_mw: Mapping[str, float]) -> dict[str, float]:
        """Set point of every resource with a reserve in force when it takes effect. [MW]

        Args:
            now: Time of the reading.
            frequency_hz: Local frequency. [Hz]
            base_mw: What each resource would do without the reserve. [MW]
        """
        effect = now + timedelta(seconds=self.effect_s)
        found: dict[str, float] = {}
        self._asked = {}
        for name, reserves in self.running(effect).items():
            base = base_mw[name]
            asked = {reserve.id: droop(reserve, frequency_hz) for reserve in reserves}
            for reserve in reserves:
                others = sum(power for key, power in asked.items() if key != reserve.id)
                self._asked[reserve.id] = (effect, base + others, asked[reserve.id])
            found[name] = base + sum(asked.values())
        return found

    def sample(self, now: datetime, measured_mw: Mapping[str, float]) -> None:
        """Keep what was asked for at ``now`` beside what is measured."""
        for key, (effect, base, asked) in self._asked.items():
            armed = self._armed.get(key)
            if (
                armed is not None
                and abs((effect - now).total_seconds()) < 0.5
                and armed.reserve.location in measured_mw
            ):
                armed.rows.append((now, base, asked, measured_mw[armed.reserve.location]))

    def verify(self, now: datetime) -> list[VerificationNotification]:
        """Verifications, without identity, of the settlement periods that are over; ended reserves are forgotten."""
        found = []
        for key, armed in list(self._armed.items()):
            reserve = armed.reserve
            while armed.period < reserve.stop:
                start = max(armed.period, reserve.start)
                stop = min(armed.period + timedelta(seconds=self.settlement_s), reserve.stop)
                if now < stop:
                    break
                armed.period = armed.period + timedelta(seconds=self.settlement_s)
                body = self._verification(armed, start, stop)
                if body is not None:
                    found.append(body)
            if reserve.stop <= now:
                del self._armed[key]
        return found

    def _verification(self, armed: _Armed, start: datetime, stop: datetime) -> VerificationNotification | None:
        rows = [row for row in armed.rows if start <= row[0] < stop]
        armed.rows = [row for row in armed.rows if row[0] >= stop]
        if not rows:
            return None
        zero = (0.0,) * len(rows)
        return VerificationNotification(
            id="",
            reserve=armed.reserve.id,
            location=armed.reserve.location,
            start=start,
            stop=stop,
            step_s=max(1, round((stop - start).total_seconds() / len(rows))),
            baseline_method=BASELINE,
            baseline_p_mw=tuple(row[1] for row in rows),
            measured_p_mw=tuple(row[3] for row in rows),
            requested_p_mw=tuple(row[2] for row in rows),
            baseline_q_mvar=zero,
            measured_q_mvar=zero,
            requested_q_mvar=zero,
        )
