"""Fault menu of the virtual laboratory and scripts of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from heila_mosaik.errors import Problem, ProblemsError


class Fault(StrEnum):
    """What can go wrong; ``size`` has the unit in brackets."""

    SLOW = "slow"
    """The gateway answers late. [s]"""
    NO_CONFIRMATION = "no_confirmation"
    """Orders are carried out, never confirmed."""
    NEGATIVE = "negative"
    """Orders are refused."""
    STUCK_BREAKER = "stuck_breaker"
    """Orders are confirmed, the breaker does not move."""
    FROZEN = "frozen"
    """Values stay as they are, the link lives."""
    LOST_TCP = "lost_tcp"
    """Connections are cut and refused."""
    RESTART = "restart"
    """As a lost connection; buffer and selections are gone, end of initialisation is announced."""
    WRONG_QUALITY = "wrong_quality"
    """Everything is reported invalid."""
    CLOCK_JUMP = "clock_jump"
    """Time tags are off. [s]"""
    BURST = "burst"
    """A burst of spontaneous events at once. [events]"""
    LOCAL = "local"
    """Somebody turns the switch to local."""
    SHORT_CIRCUIT = "short_circuit"
    """Short-circuit current in the feeder. [kA]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultStep:
    """One line of a script.

    Attributes:
        at_s: Start, since the laboratory's start. [s]
        fault: What goes wrong.
        for_s: Duration; a burst has none. [s]
        size: Magnitude, unit of the fault.
    """

    at_s: float
    fault: Fault
    for_s: float = 1.0
    size: float = 0.0


def fault_script(rows: Iterable[Mapping[str, Any]], where: str) -> tuple[FaultStep, ...]:
    """Read a script.

    Args:
        rows: Mappings with the fields of :class:`FaultStep`.
        where: File, for messages.

    Raises:
        ProblemsError: With every problem.
    """
    steps: list[FaultStep] = []
    problems: list[Problem] = []
    for number, row in enumerate(rows, 1):
        try:
            extra = {key: float(row[key]) for key in ("for_s", "size") if key in row}
            steps.append(FaultStep(at_s=float(row["at_s"]), fault=Fault(row["fault"]), **extra))
        except (KeyError, TypeError, ValueError) as error:
            menu = ", ".join(fault.value for fault in Fault)
            remedy = f"give at_s [s], fault (one of {menu}), for_s [s], size"
            problems.append(Problem(what=f"not a fault step: {error}", where=f"{where}:{number}", remedy=remedy))
    if problems:
        raise ProblemsError(f"fault script {where}", problems)
    return tuple(sorted(steps, key=lambda step: step.at_s))
