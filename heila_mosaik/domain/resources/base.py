"""What every resource has in common: set point in, power out, own limits, own energy book."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from heila_mosaik.errors import Problem, ProblemsError

Setpoint: TypeAlias = tuple[float | None, float | None]
"""Wanted (p_mw, q_mvar); ``None`` leaves the quantity to the resource. [MW], [MVar]"""

Limits: TypeAlias = tuple[float, float, float, float]
"""(p_min_mw, p_max_mw, q_min_mvar, q_max_mvar) that can be held for one step. [MW], [MVar]"""

FREE: Setpoint = (None, None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exogenous:
    """What the surroundings do to a resource during one step.

    Attributes:
        temperature_c: Air temperature. [°C]
        irradiance_w_per_m2: Global irradiance in the plane of the array. [W/m²]
        profile: Value of the resource's own profile relative to its rating; ``None`` if it has none. [1]
    """

    temperature_c: float = 10.0
    irradiance_w_per_m2: float = 0.0
    profile: float | None = None


NEUTRAL = Exogenous()


@dataclass(slots=True, kw_only=True)
class EnergyBook:
    """Where the energy of one resource came from and went to, since its start.  All entries in MWh.

    Attributes:
        electric_mwh: Net electrical energy drawn at the terminals.
        harvested_mwh: Energy taken from the surroundings (sun, ambient heat).
        useful_mwh: Energy handed to its purpose (heat, driving, appliance).
        losses_mwh: Energy lost (conversion, self-discharge, standing loss).
        stored_mwh: Change of the stored energy.
        unserved_mwh: Need that could not be met (not part of the balance).
        curtailed_mwh: Available energy left unused (not part of the balance).
    """

    electric_mwh: float = 0.0
    harvested_mwh: float = 0.0
    useful_mwh: float = 0.0
    losses_mwh: float = 0.0
    stored_mwh: float = 0.0
    unserved_mwh: float = 0.0
    curtailed_mwh: float = 0.0

    @property
    def residual_mwh(self) -> float:
        """Energy from nowhere; zero but for rounding. [MWh]"""
        return self.electric_mwh + self.harvested_mwh - self.useful_mwh - self.losses_mwh - self.stored_mwh


class Resource(ABC):
    """Base of the resource models.

    Attributes:
        name: Name, unique within a study.
        book: Energy book.
        p_mw: Active power of the last step. [MW]
        q_mvar: Reactive power of the last step. [MVar]
    """

    __slots__ = ("_dt_h", "book", "name", "p_mw", "q_mvar")

    def __init__(self, name: str) -> None:
        self.name = name
        self.book = EnergyBook()
        self.p_mw = 0.0
        self.q_mvar = 0.0
        self._dt_h = 0.25

    @abstractmethod
    def step(self, now: datetime, dt_s: float, setpoint: Setpoint, exogenous: Exogenous) -> tuple[float, float]:
        """Advance over ``[now, now + dt_s)``.

        Args:
            now: Start of the step, aware UTC.
            dt_s: Length of the step. [s]
            setpoint: Wanted powers; followed within limits.
            exogenous: Weather and profile value during the step.

        Returns:
            Active and reactive power during the step, consumption positive. [MW], [MVar]
        """

    def off(self, now: datetime, dt_s: float, exogenous: Exogenous) -> float:
        """Advance over ``[now, now + dt_s)`` without voltage: nothing is drawn or fed.

        Returns:
            Power it would have drawn and that nobody makes up for later. [MW]
        """
        self.step(now, dt_s, (0.0, 0.0), exogenous)
        return 0.0

    @abstractmethod
    def limits(self, now: datetime) -> Limits:
        """Powers that can be held for one more step of the last length from ``now``."""

    def state(self) -> Mapping[str, float]:
        """Measurable state, keys with units (``soc_percent``, ``e_mwh`` ...)."""
        return {}


def clip(value: float, low: float, high: float) -> float:
    """``value`` moved into ``[low, high]``; ``low`` wins when the bounds cross."""
    return max(low, min(value, high))


def demand(subject: str, rules: Iterable[tuple[bool, str, str, str]]) -> None:
    """Raise all broken rules of a specification together.

    Args:
        subject: Kind of the specification.
        rules: (holds, field, what is wrong, remedy) of each rule.

    Raises:
        ProblemsError: If a rule does not hold.
    """
    problems = [
        Problem(what=what, where=f"{subject}.{field}", remedy=remedy)
        for holds, field, what, remedy in rules
        if not holds
    ]
    if problems:
        raise ProblemsError(f"{subject} specification", problems)


def positive(value: float, field: str) -> tuple[bool, str, str, str]:
    """Rule: finite and greater than zero."""
    return (0.0 < value < float("inf"), field, f"must be greater than 0, got {value}", "give a positive number")


def share(value: float, field: str) -> tuple[bool, str, str, str]:
    """Rule: in (0, 1]."""
    return (0.0 < value <= 1.0, field, f"must lie in (0, 1], got {value}", "give a fraction, for example 0.95")


def percent(value: float, field: str) -> tuple[bool, str, str, str]:
    """Rule: in [0, 100]."""
    return (0.0 <= value <= 100.0, field, f"must lie in [0, 100] %, got {value}", "give a percentage")
