"""What goes into and comes out of the safety machine.  Times ``at_s`` are one monotonic clock's seconds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from heila_mosaik.domain.quantities import Quality


class Reason(StrEnum):
    """Why an order was refused or a fallback given up."""

    UNKNOWN_POINT = "unknown_point"
    NOT_CONTROLLABLE = "not_controllable"
    NOT_A_NUMBER = "not_a_number"
    OUTSIDE_LIMITS = "outside_limits"
    STEP_TOO_LARGE = "step_too_large"
    TOO_FREQUENT = "too_frequent"
    NOT_ARMED = "not_armed"
    FALLING_BACK = "falling_back"
    STUDY_STALE = "study_stale"
    VALUE_STALE = "value_stale"
    EQUIPMENT_STALE = "equipment_stale"
    BREAKER_OPEN = "breaker_open"
    NO_PERMISSION = "no_permission"
    LOCAL_MODE = "local_mode"
    LINK_DOWN = "link_down"
    EMERGENCY_STOPPED = "emergency_stopped"
    CLOCK_BACKWARDS = "clock_backwards"
    FALLBACK_MISSED = "fallback_missed"
    BAD_DURATION = "bad_duration"
    ORDER_PENDING = "order_pending"
    AUDIT_FAILED = "audit_failed"


class Kind(StrEnum):
    """Why a value goes on the wire."""

    REQUEST = "request"
    RAMP = "ramp"
    FALLBACK = "fallback"
    EMERGENCY = "emergency"
    WATCHDOG = "watchdog"


class Phase(StrEnum):
    """State of one control point: orders pass only while armed; releasing carries out the fallback."""

    DISARMED = "disarmed"
    ARMED = "armed"
    RELEASING = "releasing"


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetySettings:
    """Times of the safety machine.

    Attributes:
        study_timeout_s: Silence of the study after which every armed point falls back. [s]
        value_max_age_s: Age at which a value of the study is no longer sent. [s]
        arm_max_s: Longest time a point may be armed. [s]
        ramp_credit_s: Longest pause a ramp may make up for in one write. [s]
        watchdog_period_s: Time between two signs of life to the relay. [s]
    """

    study_timeout_s: float = 3.0
    value_max_age_s: float = 2.0
    arm_max_s: float = 3600.0
    ramp_credit_s: float = 1.0
    watchdog_period_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A value of the equipment arrived, in the study's unit."""

    at_s: float
    name: str
    value: float
    quality: Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyAlive:
    """The study has completed a step."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkChanged:
    """The connection is open for orders, or no longer."""

    at_s: float
    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An operator arms points for a time."""

    at_s: float
    names: tuple[str, ...]
    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Disarm:
    """An operator disarms points; no names: all of them."""

    at_s: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class EmergencyStop:
    """Everything armed goes to its safe state at once; latched until :class:`Reset`."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reset:
    """An operator releases the emergency stop; points stay disarmed."""

    at_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Requested:
    """The study wants a value at a control point.

    Attributes:
        at_s: Now.
        name: Control point.
        value: Wanted value, study unit; 1 closes and 0 opens a breaker.
        valued_at_s: When the study computed it, same clock.
        cause: Identity of the activation or plan behind it.
    """

    at_s: float
    name: str
    value: float
    valued_at_s: float
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """The station answered an order: it confirmed, refused, or (``None``) did not say."""

    at_s: float
    name: str
    positive: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """Time has passed."""

    at_s: float


Event: TypeAlias = (
    Observed | StudyAlive | LinkChanged | Arm | Disarm | EmergencyStop | Reset | Requested | Answered | Tick
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A value that may go on the wire, study unit."""

    at_s: float
    name: str
    value: float
    kind: Kind
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Something that does not go on the wire, and why."""

    at_s: float
    name: str
    value: float
    reason: Reason
    detail: str
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """Answer of the machine to one event."""

    writes: tuple[Write, ...] = ()
    refusals: tuple[Refusal, ...] = ()
