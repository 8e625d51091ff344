"""Stepped devices of the DSO: tap changers and capacitor banks, alone or ganged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.positions import position_of, set_position

Positions: TypeAlias = tuple[int, ...]
"""Position of each device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A device with whole positions.

    Attributes:
        elements: ``trafo.<id>`` or ``shunt.<id>``; several elements move together (parallel transformers).
        low, high: Lowest and highest position.
        wear_eur: Cost of one step of one element: contacts, oil, share of a replacement. [EUR]
        dwell_s: Time a position is kept at least, unless a limit is broken. [s]

    Raises:
        ValueError: If it has no element, an unknown table or no range.
    """

    elements: tuple[str, ...]
    low: int
    high: int
    wear_eur: float = 1.0
    dwell_s: float = 1800.0

    def __post_init__(self) -> None:
        tables = {element.partition(".")[0] for element in self.elements}
        if not self.elements or not tables <= {"trafo", "shunt"}:
            raise ValueError(f"a device is made of trafo.<id> or shunt.<id>, not {self.elements}")
        if self.low > self.high:
            raise ValueError(f"{self.name}: lowest position {self.low} is above the highest {self.high}")
        if self.wear_eur < 0:
            raise ValueError(f"{self.name}: wear of {self.wear_eur} EUR a step is negative")

    @property
    def name(self) -> str:
        """Its elements, joined."""
        return "+".join(self.elements)

    @property
    def step_eur(self) -> float:
        """Wear of one step of all its elements. [EUR]"""
        return self.wear_eur * len(self.elements)


def place(engine: GridEngine, devices: tuple[Device, ...], positions: Positions) -> None:
    """Put the devices of ``engine`` at ``positions``."""
    for device, position in zip(devices, positions, strict=True):
        for element in device.elements:
            set_position(engine, element, position)


def present(engine: GridEngine, devices: tuple[Device, ...]) -> Positions:
    """Positions as they stand in ``engine``; of a ganged device that of its first element."""
    return tuple(position_of(engine, device.elements[0]) for device in devices)


def by_element(devices: tuple[Device, ...], positions: Positions) -> dict[str, float]:
    """Positions by element."""
    pairs = zip(devices, positions, strict=True)
    return {element: float(position) for device, position in pairs for element in device.elements}


def wear_eur(devices: tuple[Device, ...], old: Positions, new: Positions) -> float:
    """Wear of going from ``old`` to ``new``. [EUR]"""
    return sum(device.step_eur * abs(b - a) for device, a, b in zip(devices, old, new, strict=True))
