"""Sample-and-hold slots between equipment that speaks when it likes and a study that looks at its own times.

Pure: times are one monotonic clock's seconds and come in as arguments.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from heila_mosaik.domain.quantities import Quality, Quantity

Attribute: TypeAlias = tuple[str, Quantity]
"""Attribute of the study: element and quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a slot holds at one moment.

    Attributes:
        value: Last good value, study unit; NaN if none ever came.
        quality: Validity at this moment.
        age_s: Time since the value was last confirmed by the equipment; infinite if never. [s]
    """

    value: float
    quality: Quality
    age_s: float


@dataclass(slots=True)
class _Slot:
    stale_after_s: float
    # (value, when it was good, quality): replaced as a whole, so that a reader in another thread sees no half of it.
    state: tuple[float, float, Quality] = (math.nan, -math.inf, Quality.MISSING)


class Slots:
    """One slot an attribute; filled by one thread, read by any.

    A value that is not good (or not a number) changes the quality and leaves the value held; a good value that has
    not been confirmed for ``stale_after_s`` is questionable.

    Args:
        stale_after_s: Age after which a held value is questionable, by attribute. [s]
    """

    def __init__(self, stale_after_s: Mapping[Attribute, float]) -> None:
        self._slots = {attribute: _Slot(limit) for attribute, limit in stale_after_s.items()}

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """Attributes that have a slot."""
        return tuple(self._slots)

    def put(self, attribute: Attribute, value: float, quality: Quality, at_s: float) -> None:
        """A value has arrived; attributes without a slot are left out."""
        slot = self._slots.get(attribute)
        if slot is None:
            return
        if quality is Quality.GOOD and not math.isfinite(value):
            quality = Quality.INVALID
        held, good_at_s, _ = slot.state
        slot.state = (value, at_s, quality) if quality is Quality.GOOD else (held, good_at_s, quality)

    def sample(self, now_s: float) -> dict[Attribute, Sample]:
        """What all slots hold now."""
        return {attribute: _read(slot, now_s) for attribute, slot in self._slots.items()}

    def missing(self) -> tuple[Attribute, ...]:
        """Attributes for which no good value has ever come."""
        return tuple(attribute for attribute, slot in self._slots.items() if math.isnan(slot.state[0]))


def _read(slot: _Slot, now_s: float) -> Sample:
    value, good_at_s, quality = slot.state
    if math.isnan(value):
        return Sample(value=math.nan, quality=quality, age_s=math.inf)
    age_s = max(0.0, now_s - good_at_s)
    stale = quality is Quality.GOOD and age_s > slot.stale_after_s
    return Sample(value=value, quality=Quality.QUESTIONABLE if stale else quality, age_s=age_s)
