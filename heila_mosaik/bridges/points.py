"""Point list: which information object of the equipment is which attribute of the study.

Limits, dead band, ramp and tolerance are given **in the unit of the study attribute** (``p_mw`` in MW,
consumption positive); ``unit`` and ``scale`` describe the wire: ``study value = wire value · scale``.
A generator-positive wire therefore has a negative scale.

Type names follow IEC 60870-5-101:2003, clause 7.2.1; address ranges IEC 60870-5-104:2006, clause 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from heila_mosaik.domain.quantities import Quality, Quantity

NORMALISED_MAX = 1.0 - 2.0**-15
"""Largest normalised value (NVA, IEC 60870-5-101 clause 7.2.6.6)."""
SCALED_MAX = 32767.0
"""Largest scaled value (SVA, IEC 60870-5-101 clause 7.2.6.7)."""
DOUBLE_OFF, DOUBLE_ON = 1.0, 2.0
"""Determined states of double points and double commands (DPI, DCO)."""


class Direction(StrEnum):
    """Monitor: equipment to study.  Control: study to equipment."""

    MONITOR = "monitor"
    CONTROL = "control"


class PointType(StrEnum):
    """Type of an information object, without and with time tag alike."""

    SINGLE_POINT = "single_point"
    DOUBLE_POINT = "double_point"
    STEP_POSITION = "step_position"
    MEASURED_NORMALISED = "measured_normalised"
    MEASURED_SCALED = "measured_scaled"
    MEASURED_FLOAT = "measured_float"
    SINGLE_COMMAND = "single_command"
    DOUBLE_COMMAND = "double_command"
    SETPOINT_NORMALISED = "setpoint_normalised"
    SETPOINT_SCALED = "setpoint_scaled"
    SETPOINT_FLOAT = "setpoint_float"

    @property
    def direction(self) -> Direction:
        """Direction the type travels in."""
        return Direction.CONTROL if self.is_setpoint or self.is_switch_command else Direction.MONITOR

    @property
    def is_setpoint(self) -> bool:
        """Whether the type carries an analogue order."""
        return self.value.startswith("setpoint_")

    @property
    def is_switch_command(self) -> bool:
        """Whether the type carries a switching order."""
        return self.value.endswith("_command")

    @property
    def is_double(self) -> bool:
        """Whether the wire carries a two-bit state."""
        return self in (PointType.DOUBLE_POINT, PointType.DOUBLE_COMMAND)

    @property
    def wire_limit(self) -> float:
        """Largest magnitude the wire can carry."""
        if self in (PointType.MEASURED_NORMALISED, PointType.SETPOINT_NORMALISED):
            return NORMALISED_MAX
        if self in (PointType.MEASURED_SCALED, PointType.SETPOINT_SCALED):
            return SCALED_MAX
        return 3.4028234663852886e38


class Fallback(StrEnum):
    """Where a point goes when nobody watches over it any more."""

    HOLD = "hold"
    RAMP_TO_ZERO = "ramp_to_zero"
    OPEN = "open"


class Role(StrEnum):
    """Process: belongs to the study.  Watchdog: sign of life the relay supervises."""

    PROCESS = "process"
    WATCHDOG = "watchdog"


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One information object.

    Attributes:
        name: Unique name.
        direction: Monitor or control direction.
        station: Station's common address (ASDU address).
        address: Information object address.
        type: Type on the wire.
        time_tag: Whether events carry CP56Time2a.
        unit: Unit on the wire, for people and for checking ``scale``.
        scale: Study value per wire value.
        dead_band: Change below which an event is not worth sending, study unit.
        minimum: Lower limit of a set point, study unit.
        maximum: Upper limit of a set point, study unit.
        ramp_per_s: Largest rate of change of a set point, study unit per second.
        max_step: Largest change one request may ask for, study unit.
        min_interval_s: Shortest time between two orders. [s]
        fallback: Behaviour when the study, the operator or the link is lost.
        fallback_within_s: Time within which the fallback is complete. [s]
        select: Whether orders go by select before operate.
        feedback: Monitor point that reads the order back.
        tolerance: Largest difference between order and read-back, study unit.
        breaker: Monitor point of the breaker that must be closed for a set point.
        permission: Monitor point that permits closing (synchronism check).
        local: Monitor point that is on while the equipment is in local mode.
        stale_after_s: Age after which a monitored value is no longer used. [s]
        element: Element or resource of the study.
        quantity: Quantity of the study, ``None`` when the point is not an attribute of the study.
        role: What the point is for.
        where: File and line, for messages.
    """

    name: str
    direction: Direction
    station: int
    address: int
    type: PointType
    time_tag: bool = True
    unit: str = ""
    scale: float = 1.0
    dead_band: float = 0.0
    minimum: float = -math.inf
    maximum: float = math.inf
    ramp_per_s: float = math.inf
    max_step: float = math.inf
    min_interval_s: float = 0.0
    fallback: Fallback = Fallback.HOLD
    fallback_within_s: float = math.inf
    select: bool = False
    feedback: str = ""
    tolerance: float = 0.0
    breaker: str = ""
    permission: str = ""
    local: str = ""
    stale_after_s: float = 10.0
    element: str = ""
    quantity: Quantity | None = None
    role: Role = Role.PROCESS
    where: str = ""

    @property
    def attribute(self) -> str:
        """Study attribute, ``<element>.<quantity>``, or empty."""
        return f"{self.element}.{self.quantity.value}" if self.quantity is not None else ""

    def to_study(self, wire: float, quality: Quality) -> tuple[float, Quality]:
        """Convert a received value; an undetermined double point becomes NaN of quality invalid."""
        if not math.isfinite(wire):
            return math.nan, Quality.INVALID
        if self.type.is_double:
            if wire not in (DOUBLE_OFF, DOUBLE_ON):
                return math.nan, Quality.INVALID
            return wire - DOUBLE_OFF, quality
        return wire * self.scale, quality

    def to_wire(self, value: float) -> float:
        """Convert a study value to what the wire carries."""
        if self.type.is_double:
            return value + DOUBLE_OFF
        if self.type.is_switch_command:
            return value
        wire = value / self.scale
        return float(round(wire)) if self.type is PointType.SETPOINT_SCALED else wire


@dataclass(frozen=True)
class PointList:
    """Points of one laboratory or substation, in the order of the file."""

    points: tuple[Point, ...]

    def __iter__(self) -> Iterator[Point]:
        return iter(self.points)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, name: str) -> Point:
        return self.by_name[name]

    @cached_property
    def by_name(self) -> dict[str, Point]:
        """Points by name."""
        return {point.name: point for point in self.points}

    @cached_property
    def by_address(self) -> dict[tuple[int, int], Point]:
        """Points by common address and information object address."""
        return {(point.station, point.address): point for point in self.points}

    @cached_property
    def monitored(self) -> tuple[Point, ...]:
        """Points in monitor direction."""
        return tuple(point for point in self.points if point.direction is Direction.MONITOR)

    @cached_property
    def controlled(self) -> tuple[Point, ...]:
        """Points in control direction, watchdogs excluded."""
        return tuple(
            point for point in self.points if point.direction is Direction.CONTROL and point.role is Role.PROCESS
        )

    @cached_property
    def watchdogs(self) -> tuple[Point, ...]:
        """Sign-of-life points."""
        return tuple(point for point in self.points if point.role is Role.WATCHDOG)

    @cached_property
    def stations(self) -> tuple[int, ...]:
        """Common addresses, ascending."""
        return tuple(sorted({point.station for point in self.points}))

    @cached_property
    def control_of(self) -> dict[tuple[str, Quantity], Point]:
        """Control point of each study attribute."""
        return {(point.element, point.quantity): point for point in self.controlled if point.quantity is not None}
