"""Hands an actor's set points to its equipment: each at its time, never after its end, a command at most once."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from heila_mosaik.bridges.store import Store
from heila_mosaik.bridges.store_rows import Control, Handing
from heila_mosaik.domain.information import ControlSignal

ControlSink = Callable[[ControlSignal], None]
"""Takes a set point for equipment; must not block.  What it raises is recorded as the reason of a failure."""

_log = logging.getLogger(__name__)


class ControlDesk:
    """Set points on their way to equipment.

    A breaker command is marked before it is handed over: if the process dies in between, its fate is unknown and it is
    not repeated.  A set point is absolute, so it is handed over again as long as it applies.

    Args:
        store: Store of the actor.
        sink: Equipment; ``None``: there is none and set points are only written down.
    """

    def __init__(self, store: Store, sink: ControlSink | None) -> None:
        self._store, self._sink = store, sink
        self._waiting: list[Control] = []
        self.counts: dict[Handing, int] = dict.fromkeys(Handing, 0)

    def recover(self, now: datetime) -> None:
        """Take up what a process before this one left."""
        for control in self._store.open_controls():
            if control.state is Handing.HANDING and control.signal.closed is not None:
                self._settle(
                    control, Handing.UNKNOWN, "the process ended while it was handed over; look at the breaker"
                )
            else:
                self._waiting.append(control)
        self.hand_over(now)

    def add(self, controls: list[Control], now: datetime) -> None:
        """Take set points of a step."""
        self._waiting.extend(controls)
        self.hand_over(now)

    def next_at(self) -> datetime | None:
        """When the next set point begins to apply."""
        return min((control.signal.start for control in self._waiting), default=None)

    def hand_over(self, now: datetime) -> None:
        """Hand over what applies now; what has ended is not executed any more."""
        due = [control for control in self._waiting if control.signal.start <= now or control.signal.stop <= now]
        if not due:
            return
        self._waiting = [control for control in self._waiting if control not in due]
        newest = {control.signal.target: control.seq for control in due if control.signal.stop > now}
        for control in due:
            if control.signal.stop <= now:
                self._settle(
                    control, Handing.EXPIRED, f"ended {control.signal.stop.isoformat()}, now {now.isoformat()}"
                )
            elif newest[control.signal.target] != control.seq and control.signal.closed is None:
                self._settle(control, Handing.EXPIRED, "replaced by a later set point before it was handed over")
            else:
                self._hand(control)

    def _hand(self, control: Control) -> None:
        if self._sink is None:
            self._settle(control, Handing.DONE, "no equipment")
            return
        if control.signal.closed is not None:
            self._store.hand(control.seq, Handing.HANDING)
        try:
            self._sink(control.signal)
        except Exception as error:  # equipment may raise anything; the actor goes on
            _log.exception("%s: set point for %s failed", self._store.actor, control.signal.target)
            self._settle(control, Handing.FAILED, f"{type(error).__name__}: {error}")
        else:
            self._settle(control, Handing.DONE, "")

    def _settle(self, control: Control, state: Handing, reason: str) -> None:
        self.counts[state] += 1
        if state is Handing.UNKNOWN:
            _log.error("%s: command to %s: %s", self._store.actor, control.signal.target, reason)
        self._store.hand(control.seq, state, reason)
