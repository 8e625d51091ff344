"""Switching commands: what a control signal does to a compiled grid.

Targets are ``switch.3``, ``line.7`` and ``load.4`` (``closed``: position or service state), ``trafo.0`` and ``shunt.1``
(``position``: tap, step), or the name of a breaker.  A position holds until the next command; ``stop`` of the signal
means nothing here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.errors import Problem, ProblemsError

_SERVICE = ("line", "load", "sgen", "storage", "ext_grid")
_STEPPED = ("trafo", "trafo3w", "shunt")


class CommandQueue:
    """Holds signals until they begin, in the order of their coming.

    Args:
        breakers: Switch (pandapower id) of each named breaker.
    """

    def __init__(self, breakers: Mapping[str, int] | None = None) -> None:
        self._breakers = dict(breakers or {})
        self._waiting: list[ControlSignal] = []

    def take(self, signal: ControlSignal) -> None:
        """Keep a signal; those for resources are not for the grid and are left out."""
        table, _, key = signal.target.partition(".")
        if signal.target in self._breakers or (table in ("switch", *_SERVICE, *_STEPPED) and key):
            self._waiting.append(signal)

    def due(self, now: datetime | None) -> list[ControlSignal]:
        """Signals that begin by ``now`` (all of them without a clock), in order; they leave the queue."""
        ready = [signal for signal in self._waiting if now is None or signal.start <= now]
        self._waiting = [signal for signal in self._waiting if now is not None and signal.start > now]
        return ready

    def execute(self, engine: GridEngine, now: datetime | None) -> dict[str, float]:
        """Carry out what is due.

        Args:
            engine: The grid.
            now: Time.

        Returns:
            New position of each element named by a command, in order.

        Raises:
            ProblemsError: Naming every command whose target does not exist or that lacks its value.
        """
        switches: dict[int, bool] = {}
        moved: dict[str, float] = {}
        problems: list[Problem] = []
        for signal in self.due(now):
            element = self.element(signal.target)
            wrong = _lacking(signal, element)
            if wrong is not None:
                problems.append(wrong)
                continue
            table, number = element.split(".")
            try:
                if table == "switch":
                    # asks whether it exists before anything is moved
                    engine.closed(int(number))
                    switches[int(number)] = bool(signal.closed)
                    moved[element] = float(bool(signal.closed))
                else:
                    moved[element] = _set(engine, table, int(number), signal)
            except ProblemsError as error:
                problems += error.problems
        if problems:
            raise ProblemsError("commands to the grid", problems)
        if switches:
            engine.set_switches(switches)
        return moved

    def element(self, target: str) -> str:
        """``<table>.<id>`` of a target."""
        return f"switch.{self._breakers[target]}" if target in self._breakers else target


def _lacking(signal: ControlSignal, element: str) -> Problem | None:
    table, _, number = element.partition(".")
    if not number.isdigit():
        return Problem(
            what=f"target {signal.target!r} is no element", where=signal.id, remedy="write switch.3, trafo.0"
        )
    field = "position" if table in _STEPPED else "closed"
    if getattr(signal, field) is None:
        return Problem(what=f"command for {signal.target} without {field}", where=signal.id, remedy=f"set {field}")
    return None


def _set(engine: GridEngine, table: str, number: int, signal: ControlSignal) -> float:
    if table in _SERVICE:
        engine.set_in_service(table, number, bool(signal.closed))
        return float(bool(signal.closed))
    assert signal.position is not None
    if table == "shunt":
        engine.set_shunt_step(number, round(signal.position))
        return float(engine.shunt_step(number))
    engine.set_tap(number, signal.position, table)
    return engine.tap(number, table)


def positions(engine: GridEngine, elements: tuple[str, ...]) -> dict[str, float]:
    """Present position of switches, taps, steps and service states, by ``<table>.<id>``."""
    found: dict[str, float] = {}
    for element in elements:
        table, _, key = element.partition(".")
        if table == "switch":
            found[element] = float(engine.closed(int(key)))
        elif table == "shunt":
            found[element] = float(engine.shunt_step(int(key)))
        elif table in _STEPPED:
            found[element] = engine.tap(int(key), table)
        else:
            found[element] = float(engine.in_service(table, int(key)))
    return found
