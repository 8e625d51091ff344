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
    """What can go wrong; :data:`MENU` says what each one does."""

    SLOW = "slow"
    NO_CONFIRMATION = "no_confirmation"
    NEGATIVE = "negative"
    STUCK_BREAKER = "stuck_breaker"
    FROZEN = "frozen"
    LOST_TCP = "lost_tcp"
    LOST_PATH = "lost_path"
    LOST_RELAY = "lost_relay"
    RESTART = "restart"
    WRONG_QUALITY = "wrong_quality"
    CLOCK_JUMP = "clock_jump"
    BURST = "burst"
    LOCAL = "local"
    NO_SYNCHRONISM = "no_synchronism"
    SHORT_CIRCUIT = "short_circuit"


MENU: dict[Fault, str] = {
    Fault.SLOW: "the gateway answers late; size in seconds",
    Fault.NO_CONFIRMATION: "orders are carried out, never confirmed",
    Fault.NEGATIVE: "orders are refused",
    Fault.STUCK_BREAKER: "orders are confirmed, the breaker does not move",
    Fault.FROZEN: "values stay as they are, the link lives",
    Fault.LOST_TCP: "all connections are cut and refused",
    Fault.LOST_PATH: "connections of one path are cut and refused; size 1 or 2",
    Fault.LOST_RELAY: "the gateway has lost the relay: values are not topical, orders are refused",
    Fault.RESTART: "as lost_tcp; buffer and selections are gone, the end of initialisation is announced (hat)",
    Fault.WRONG_QUALITY: "values are 0 invalid, 1 not topical, 2 substituted, 3 blocked, 4 overflow",
    Fault.CLOCK_JUMP: "time tags are off; size in seconds",
    Fault.BURST: "a burst of spontaneous events at once; size in events",
    Fault.LOCAL: "somebody turns the switch to local",
    Fault.NO_SYNCHRONISM: "the synchronism check does not permit closing",
    Fault.SHORT_CIRCUIT: "short-circuit current in the feeder; size in kA",
}


def menu() -> str:
    """The menu, one fault a line."""
    return "\n".join(f"  {fault.value:<16} {what}" for fault, what in MENU.items())


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
    parts = text.split(":")
    if len(parts) > len(_KEYS):
        problem = Problem(what=f"'{text}' has too many parts", where=where, remedy="write at_s:fault[:for_s[:size]]")
        raise ProblemsError(f"fault script {where}", [problem])
    (step,) = fault_script([dict(zip(_KEYS, parts, strict=False))], where)
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
