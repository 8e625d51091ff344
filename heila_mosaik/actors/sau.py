"""Substation automation unit: collects the measurements of the field and reports them to the control centre."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from math import isfinite

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.domain.information import Measurements, Message
from heila_mosaik.domain.quantities import Quality, Quantity

_PLAUSIBLE: Mapping[Quantity, tuple[float, float]] = {
    Quantity.VOLTAGE: (0.2, 2.0),
    Quantity.CURRENT: (0.0, 100.0),
    Quantity.ACTIVE_POWER: (-1e4, 1e4),
    Quantity.REACTIVE_POWER: (-1e4, 1e4),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SauSettings:
    """Settings of the unit.

    Attributes:
        name: Address.
        dms: Address of the control centre.
        plausible: Range outside which a value is reported invalid, by quantity.
    """

    name: str = "sau"
    dms: str = "dms"
    plausible: Mapping[Quantity, tuple[float, float]] = field(default_factory=lambda: dict(_PLAUSIBLE))


class Sau:
    """Checks values for plausibility and sends them on with quality and age.

    Args:
        settings: Settings.
    """

    def __init__(self, settings: SauSettings | None = None) -> None:
        self.settings = settings or SauSettings()
        self.name = self.settings.name
        self._out = Outbox(self.name)
        self._inbox = Inbox(self._out)
        self._reported: set[str] = set()

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None = None) -> Outcome:
        """Forward fresh measurements, the unit's own and those other devices sent to it."""
        self._out.begin(now)
        received = [m.body for m in self._inbox.fresh(now, inbox) if isinstance(m.body, Measurements)]
        if measurements is not None:
            received.insert(0, measurements)
        for measured in received:
            self._out.send(self.settings.dms, self._checked(now, measured))
        return self._out.outcome()

    def _checked(self, now: datetime, measured: Measurements) -> Measurements:
        late = (now - measured.at).total_seconds()
        qualities = measured.qualities
        bad = [
            position
            for position, value in enumerate(measured.values)
            if qualities[position] in (Quality.GOOD, Quality.QUESTIONABLE)
            and not self._plausible(measured.quantities[position], value)
        ]
        if bad:
            qualities = tuple(Quality.INVALID if k in bad else quality for k, quality in enumerate(qualities))
        self._report(measured, bad)
        return replace(
            measured,
            id=self._out.identity("measurements"),
            at=now,
            qualities=qualities,
            ages_s=tuple(age + late for age in measured.ages_s) if late > 0 else measured.ages_s,
        )

    def _plausible(self, quantity: Quantity, value: float) -> bool:
        low, high = self.settings.plausible.get(quantity, (-float("inf"), float("inf")))
        return isfinite(value) and low <= value <= high

    def _report(self, measured: Measurements, bad: list[int]) -> None:
        """Record each point once when it turns bad and once when it recovers."""
        labels = {f"{measured.elements[k]} {measured.quantities[k]}": measured.values[k] for k in bad}
        for label, value in labels.items():
            if label not in self._reported:
                self._out.record("value_implausible", f"{label} reads {value:g}", point=label)
        prefix = {
            f"{element} {quantity}" for element, quantity in zip(measured.elements, measured.quantities, strict=True)
        }
        for label in sorted((self._reported & prefix) - set(labels)):
            self._out.record("value_recovered", f"{label} is plausible again", point=label)
        self._reported = (self._reported - prefix) | set(labels)
