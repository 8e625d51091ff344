"""Capacitor banks added to a net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacitorBank:
    """A switched bank.

    Attributes:
        name: Name.
        bus: pandapower index of its bus.
        step_mvar: Reactive power of a step at nominal voltage. [MVar]
        steps: Number of steps.
        start: Steps in at the start.
    """

    name: str
    bus: int
    step_mvar: float
    steps: int
    start: int


def attach_capacitors(net: Any, banks: Sequence[CapacitorBank]) -> tuple[int, ...]:
    """Add banks as shunts; returns their pandapower indices."""
    import pandapower as pp  # noqa: PLC0415 - slow import, needed once

    return tuple(
        int(
            pp.create_shunt(
                net, bank.bus, q_mvar=-bank.step_mvar, p_mw=0.0, step=bank.start, max_step=bank.steps, name=bank.name
            )
        )
        for bank in banks
    )


def tap_range(net: Any, trafo: int) -> tuple[int, int] | None:
    """Lowest and highest tap of a transformer; ``None`` without a tap changer."""
    row = net.trafo.loc[trafo]
    low, high, now = (row.get(name) for name in ("tap_min", "tap_max", "tap_pos"))
    if any(value is None or value != value for value in (low, high, now)) or not high > low:  # noqa: PLR0124  # NaN
        return None
    return int(low), int(high)
