"""The laboratory's menu as lines of text: faults by hand, the relay's front panel, and what is going on."""

from __future__ import annotations

from collections.abc import Callable

from heila_mosaik.bridges.lab.faults import FaultStep, menu, parse_fault
from heila_mosaik.bridges.lab.station import VirtualLab
from heila_mosaik.errors import ProblemsError

_HELP = """faults, by name: <fault> [for_s] [size], for example "slow 10 0.5"
{menu}
relay: reset (acknowledge the trip), open, close, local, remote, source <pu>, load <MW>
other: status, clear (end all faults), help, quit"""


class Console:
    """Carries out lines.

    Args:
        lab: Laboratory.
        say: Takes the answers.
    """

    def __init__(self, lab: VirtualLab, say: Callable[[str], None]) -> None:
        self._lab = lab
        self._say = say
        self._words: dict[str, Callable[[], None]] = {
            "help": self._help,
            "status": self._status,
            "clear": lab.clear_faults,
            "reset": lab.bay.reset_trip,
            "open": lambda: self._panel(closed=False),
            "close": lambda: self._panel(closed=True),
            "local": lambda: self._switch(local=True),
            "remote": lambda: self._switch(local=False),
        }

    async def line(self, text: str) -> bool:
        """Carry out one line; false when it asks to end."""
        words = text.split()
        if not words:
            return True
        if words[0] in ("quit", "exit"):
            return False
        if words[0] in self._words and len(words) == 1:
            self._words[words[0]]()
        elif words[0] in ("source", "load"):
            self._set(words[0], words[1:])
        else:
            await self._fault(words)
        return True

    async def _fault(self, words: list[str]) -> None:
        try:
            step: FaultStep = parse_fault(":".join(["0", *words]), "line")
        except ProblemsError as error:
            self._say("\n".join(str(problem) for problem in error.problems))
            return
        await self._lab.fault(step.fault, step.for_s, step.size)

    def _help(self) -> None:
        self._say(_HELP.format(menu=menu()))

    def _panel(self, *, closed: bool) -> None:
        """Somebody at the relay presses a key: the local switch does not hinder them."""
        if closed and self._lab.bay.tripped:
            self._say("tripped: acknowledge with 'reset' first")
            return
        self._lab.bay.operate(closed)

    def _switch(self, *, local: bool) -> None:
        self._lab.bay.local_switch = local

    def _set(self, what: str, words: list[str]) -> None:
        try:
            value = float(words[0])
        except (IndexError, ValueError):
            self._say(f"write '{what} <number>'")
            return
        low, high = (0.5, 1.5) if what == "source" else (-10.0, 10.0)
        if not low <= value <= high:
            self._say(f"{what} takes a number from {low:g} to {high:g}")
        elif what == "source":
            self._lab.bay.source_pu = value
        else:
            self._lab.bay.load_p_mw = value

    def _status(self) -> None:
        lab, bay = self._lab, self._lab.bay
        position = {True: "closed", False: "open", None: "travelling"}[bay.closed]
        seen = bay.measured
        self._say(
            f"breaker {position}, {'local' if bay.local else 'remote'}, trip {'on' if bay.tripped else 'off'}, "
            f"watchdog {'ok' if bay.watchdog_ok else 'expired'}\n"
            f"feeder {seen.vm_pu:.4f} pu, {1e3 * seen.i_ka:.1f} A, {seen.p_mw:.3f} MW, {seen.q_mvar:.3f} Mvar\n"
            f"DER {bay.der['p']:.3f} MW, {bay.der['q']:.3f} Mvar "
            f"(set points {bay.setpoint['p']:.3f}, {bay.setpoint['q']:.3f})\n"
            f"clients {lab.clients}, orders {len(lab.orders)}, events dropped {lab.dropped}, "
            f"faults: {', '.join(lab.faults) or 'none'}"
        )
