"""What the safety machine remembers of one control point."""

from __future__ import annotations

import math
from dataclasses import dataclass

from heila_mosaik.bridges.points import Point
from heila_mosaik.bridges.safety_types import Kind, Phase


@dataclass(slots=True)
class Control:
    """State of one control point."""

    point: Point
    phase: Phase = Phase.DISARMED
    armed_until_s: float = -math.inf
    written: float | None = None
    written_at_s: float = -math.inf
    requested_at_s: float = -math.inf
    target: float | None = None
    cause: str = ""
    released_at_s: float = -math.inf
    fell_back_at_s: float = -math.inf
    kind: Kind | None = None
    busy: bool = False
    at_once: bool = False
