"""Fault menu of the virtual laboratory and scripts of it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from heila_mosaik.bridges.lab.server import BLOCKED, INVALID, NOT_TOPICAL, OVERFLOW, SUBSTITUTED
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
    """All connections are cut and refused."""
    LOST_PATH = "lost_path"
    """Connections of one path are cut and refused. [path, from 1]"""
    RESTART = "restart"
    """As a lost connection; buffer and selections are gone, end of initialisation is announced."""
    LOST_RELAY = "lost_relay"
    """The gateway has lost the relay: values are not topical, orders are refused."""
    WRONG_QUALITY = "wrong_quality"
    """Everything is reported 0 invalid, 1 not topical, 2 substituted, 3 blocked, 4 overflow."""
    CLOCK_JUMP = "clock_jump"
    """Time tags are off. [s]"""
    BURST = "burst"
    """A burst of spontaneous events at once. [events]"""
    LOCAL = "local"
    """Somebody turns the switch to local."""
    NO_SYNCHRONISM = "no_synchronism"
    """The synchronism check does not permit closing."""
    SHORT_CIRCUIT = "short_circuit"
    """Short-circuit current in the feeder. [kA]"""


QUALITY_BITS = (INVALID, NOT_TOPICAL, SUBSTITUTED, BLOCKED, OVERFLOW)
"""Quality bit by the size of a wrong quality."""
_SIZES: dict[Fault, tuple[float, float]] = {
    Fault.SLOW: (0.0, 60.0),
    Fault.LOST_PATH: (1.0, 2.0),
    Fault.WRONG_QUALITY: (0.0, len(QUALITY_BITS) - 1.0),
    Fault.CLOCK_JUMP: (-3e8, 3e8),
    Fault.BURST: (1.0, 1e6),
    Fault.SHORT_CIRCUIT: (0.0, 100.0),
}
_NEED_SIZE = (Fault.SLOW, Fault.LOST_PATH, Fault.CLOCK_JUMP, Fault.BURST, Fault.SHORT_CIRCUIT)
_KEYS = ("at_s", "fault", "for_s", "size")


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
        found = list(_row_problems(row, f"{where}:{number}"))
        problems.extend(found)
        if not found:
            extra = {key: float(row[key]) for key in ("for_s", "size") if key in row}
            steps.append(FaultStep(at_s=float(row["at_s"]), fault=Fault(row["fault"]), **extra))
    if problems:
        raise ProblemsError(f"fault script {where}", problems)
    return tuple(sorted(steps, key=lambda step: step.at_s))


def parse_fault(text: str, where: str) -> FaultStep:
    """Read ``at_s:fault[:for_s[:size]]``, as on the command line.

    Raises:
        ProblemsError: With every problem.
    """
    (step,) = fault_script([dict(zip(_KEYS, text.split(":"), strict=False))], where)
    return step


def _row_problems(row: Mapping[str, Any], where: str) -> Iterator[Problem]:
    if not isinstance(row, Mapping):
        yield Problem(what=f"{row!r} is not a mapping", where=where, remedy="write at_s, fault, for_s, size")
        return
    for key in row:
        if key not in _KEYS:
            yield Problem(what=f"unknown key '{key}'", where=where, remedy=f"known: {', '.join(_KEYS)}")
    for key in ("at_s", "fault"):
        if key not in row:
            yield Problem(what=f"{key} is missing", where=where, remedy="give at_s [s] and fault")
    menu = [fault.value for fault in Fault]
    if "fault" in row and row["fault"] not in menu:
        close = difflib.get_close_matches(str(row["fault"]), menu, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        yield Problem(what=f"there is no fault '{row['fault']}'", where=where, remedy=f"{hint}known: {', '.join(menu)}")
    yield from _number_problems(row, where)


def _number_problems(row: Mapping[str, Any], where: str) -> Iterator[Problem]:
    known = row.get("fault") in [fault.value for fault in Fault]
    ranges = {"at_s": (0.0, 1e9), "for_s": (0.0, 1e9)}
    if known:
        ranges["size"] = _SIZES.get(Fault(row["fault"]), (-1e9, 1e9))
    for key, (low, high) in ranges.items():
        if key not in row:
            continue
        try:
            value = float(row[key])
        except (TypeError, ValueError):
            yield Problem(what=f"{key} is {row[key]!r}", where=where, remedy="write a number")
            continue
        if not low <= value <= high:
            yield Problem(what=f"{key} is {value:g}", where=where, remedy=f"write a number from {low:g} to {high:g}")
    if known and Fault(row["fault"]) in _NEED_SIZE and "size" not in row:
        remedy = f"give a number from {_SIZES[Fault(row['fault'])][0]:g} on; unit in docs/hil.md"
        yield Problem(what=f"fault {row['fault']} needs a size", where=where, remedy=remedy)
