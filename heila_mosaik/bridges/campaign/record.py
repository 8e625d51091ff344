"""What is known of one session: what the study did, what was on the wire, what the station told."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.points import Fallback, PointList
from heila_mosaik.bridges.safety_types import SafetySettings

SAFETY = SafetySettings(
    study_timeout_s=0.4, value_max_age_s=0.3, arm_max_s=60.0, ramp_credit_s=0.1, watchdog_period_s=0.1
)
"""Times of the study under test; short, so that much happens in little time."""
READBACK_S, RELAY_WATCHDOG_S, STALE_S = 0.5, 0.8, 1.5


def campaign_points() -> PointList:
    """The example list with short times."""
    points = []
    for point in example_points():
        change: dict[str, Any] = {"stale_after_s": STALE_S}
        if point.type.is_setpoint:
            change |= {"ramp_per_s": 0.5, "min_interval_s": 0.02, "fallback_within_s": 2.5, "max_step": 0.6}
        elif point.fallback is Fallback.OPEN:
            change |= {"min_interval_s": 0.1, "fallback_within_s": 1.5}
        points.append(replace(point, **change))
    return PointList(tuple(points))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An order at the tap, before anything is done to it.

    Attributes:
        at_s: When it was read. [s]
        name: Control point; empty for an address nobody listed.
        value: Value, study unit.
        select: Whether it only selects.
    """

    at_s: float
    name: str
    value: float
    select: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A value handed to the study's end of the connection."""

    at_s: float
    name: str
    value: float
    good: bool


@dataclass(frozen=True, slots=True)
class Act:
    """Something the study or its operator did, written down before it was done."""

    at_s: float
    what: str
    name: str = ""
    value: float = math.nan
    extra: float = 0.0


@dataclass(slots=True)
class Record:
    """One session.

    Attributes:
        points: Point list.
        acts: In the order of time.
        orders: In the order of the wire.
        told: In the order of the wire.
        downs: When the tap lost a started connection. [s]
        lags: When and for how long one of the processes did not run. [s]
    """

    points: PointList
    acts: list[Act] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    told: list[Told] = field(default_factory=list)
    downs: list[float] = field(default_factory=list)
    lags: list[tuple[float, float]] = field(default_factory=list)

    def dump(self, path: Path) -> None:
        """Write everything down, for whoever has to look into a violation."""
        rows = {name: [asdict(one) for one in getattr(self, name)] for name in ("acts", "orders", "told")}
        path.write_text(json.dumps({**rows, "downs": self.downs, "lags": self.lags}, indent=0))

    def margin(self, at_s: float) -> float:
        """How late what was decided may be seen at the tap, from what the processes lagged around that time. [s]"""
        near = [size for start, size in self.lags if start - 0.5 <= at_s <= start + size + 1.0]
        return 0.15 + (max(near) if near else 0.0) * 1.5


def read_acts(path: Path) -> list[Act]:
    """Acts a study wrote; the line a killed study was writing is left out."""
    acts = []
    for line in path.read_bytes().split(b"\n"):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        acts.append(Act(row[0], row[1], row[2], math.nan if row[3] is None else float(row[3]), row[4]))
    return acts
