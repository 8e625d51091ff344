"""Positions of stepped devices, taps and capacitor banks, in a compiled grid."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
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
def placed(engine: GridEngine, positions: Mapping[str, float], others: Iterable[GridEngine] = ()) -> Iterator[None]:
    """Put devices at other positions for a while, in ``engine`` and ``others``; afterwards they stand as before."""
    engines = (engine, *others) if positions else ()
    before = [(one, {element: position_of(one, element) for element in positions}) for one in engines]
    try:
        for one in engines:
            for element, position in positions.items():
                set_position(one, element, position)
        yield
    finally:
        for one, old in before:
            for element, position in old.items():
                set_position(one, element, position)
