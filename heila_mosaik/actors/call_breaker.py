"""A breaker that its controller closes for a call and opens after it, as for a unit in a laboratory bay."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from heila_mosaik.domain.information import ControlSignal, Measurements
from heila_mosaik.domain.quantities import Quantity

IDLE_MW = 0.02


class CallBreaker:
    """Decides when the breaker moves.

    It closes when a set point of a call comes near, and opens when none is left and the resources stand still: a
    breaker is not opened under load.  A position that was never reached is asked for again; a breaker that was there
    and has moved by itself (protection) is left alone until the next call.

    Args:
        name: Breaker.
        resources: Resources behind it.
        settle: Time after an order within which a reported position may still be the one before it.
    """

    def __init__(self, name: str, resources: Iterable[str], settle: timedelta) -> None:
        self.name = name
        self._resources = tuple(resources)
        self._settle = settle
        self._wanted: bool | None = None
        self._reached = False
        self._asked_at: datetime | None = None

    def decide(self, seen: Measurements | None, calls: Iterable[ControlSignal], effect: datetime) -> bool | None:
        """Position to ask for now; ``None``: leave the breaker alone.

        Args:
            seen: Latest measurements.
            calls: Set points that apply or will.
            effect: When an order given now takes effect.
        """
        position = seen.value(self.name, Quantity.BREAKER) if seen is not None else None
        if seen is None or position is None:
            return None
        called = any(signal.start <= effect < signal.stop for signal in calls)
        moving = self._asked_at is not None and effect - self._asked_at < self._settle
        if called is not self._wanted:
            if not called and self._loaded(seen):
                return None
            self._wanted, self._reached = called, False
        elif moving:
            return None
        self._reached = self._reached or (not moving and (position >= 0.5) is called)
        if self._reached:
            return None
        self._asked_at = effect
        return called

    def _loaded(self, seen: Measurements) -> bool:
        powers = (seen.value(name, Quantity.ACTIVE_POWER) for name in self._resources)
        return any(abs(p_mw) > IDLE_MW for p_mw in powers if p_mw is not None)
