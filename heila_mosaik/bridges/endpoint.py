"""What equipment looks like from the study, whichever protocol leads to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from heila_mosaik.domain.quantities import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Last value of a monitor point.

    Attributes:
        name: Point.
        attribute: Study attribute, ``<element>.<quantity>``, empty when it is none.
        value: Value, study unit; NaN when undetermined.
        quality: Validity.
        at_s: When it arrived, monotonic. [s]
        device_time: Time tag of the equipment, ISO 8601, ``None`` when it sent none.
        cause: Cause of transmission as on the wire (IEC 60870-5-101, clause 7.2.3).
        received: When it arrived, wall clock of this machine.
    """

    name: str
    attribute: str
    value: float
    quality: Quality
    at_s: float
    device_time: str | None
    cause: int
    received: datetime


class Endpoint(Protocol):
    """Equipment a live actor or a simulator talks to.  Everything that moves it passes the safety gate inside."""

    @property
    def readings(self) -> Mapping[str, Reading]:
        """Last value of each monitor point that has arrived, by point name."""
        ...

    async def start(self) -> None:
        """Begin to connect."""
        ...

    async def stop(self) -> None:
        """Let go: disarm, finish fallbacks, close."""
        ...

    def study_alive(self) -> None:
        """The study has completed a step."""
        ...

    def request(self, name: str, value: float, *, cause: str = "", age_s: float = 0.0) -> None:
        """Ask for a value at a control point; refusals are notices and audit lines, not exceptions."""
        ...
