"""Positions of stepped devices, taps and capacitor banks, in a compiled grid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from heila_mosaik.domain.network import GridEngine


def set_position(engine: GridEngine, element: str, position: float) -> None:
    """Set tap or step of ``trafo.<id>`` or ``shunt.<id>``."""
    table, _, key = element.partition(".")
    if table == "shunt":
        engine.set_shunt_step(int(key), round(position))
    else:
        engine.set_tap(int(key), float(position))


def position_of(engine: GridEngine, element: str) -> int:
    """Tap or step of ``trafo.<id>`` or ``shunt.<id>``."""
    table, _, key = element.partition(".")
    return engine.shunt_step(int(key)) if table == "shunt" else round(engine.tap(int(key)))


@contextmanager
def placed(engine: GridEngine, positions: Mapping[str, float]) -> Iterator[None]:
    """Put devices at other positions for a while; afterwards they stand as before."""
    before = {element: position_of(engine, element) for element in positions}
    try:
        for element, position in positions.items():
            set_position(engine, element, position)
        yield
    finally:
        for element, old in before.items():
            set_position(engine, element, old)
