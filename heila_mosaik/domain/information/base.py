"""What all information objects share: identity, the PQ profile, and the message that carries one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import TypeAlias

from heila_mosaik.domain.timegrid import TimeGrid, require_aware

Series: TypeAlias = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationObject:
    """Base: every object has an identity that is unique within a study.

    Raises:
        ValueError: If a time has no zone or ``start`` is not before ``stop``.
    """

    id: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, datetime):
                object.__setattr__(self, field.name, require_aware(value, f"{type(self).__name__}.{field.name}"))
        start, stop = getattr(self, "start", None), getattr(self, "stop", None)
        if isinstance(start, datetime) and isinstance(stop, datetime) and start >= stop:
            raise ValueError(f"{type(self).__name__} {self.id}: start {start} is not before stop {stop}")


def require_lengths(owner: str, **columns: tuple[object, ...]) -> None:
    """Refuse columns that belong together and differ in length.

    Args:
        owner: Class, for the error.
        columns: The columns by name.

    Raises:
        ValueError: If they differ.
    """
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{owner}: columns of different lengths: {shown}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PQProfile:
    """Active and reactive power over time with the limits within which it may be adjusted.

    Attributes:
        start: Start of the first interval, aware UTC.
        step_s: Length of an interval. [s]
        p_mw: Planned active power, consumption positive. [MW] (n,)
        q_mvar: Planned reactive power. [MVar] (n,)
        p_min_mw: Lowest active power that can be held. [MW] (n,)
        p_max_mw: Highest active power that can be held. [MW] (n,)
        q_min_mvar: Lowest reactive power. [MVar] (n,)
        q_max_mvar: Highest reactive power. [MVar] (n,)
    """

    start: datetime
    step_s: int
    p_mw: Series
    q_mvar: Series
    p_min_mw: Series
    p_max_mw: Series
    q_min_mvar: Series
    q_max_mvar: Series

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", require_aware(self.start, "PQProfile.start"))
        require_lengths("PQProfile", **{field.name: getattr(self, field.name) for field in fields(self)[2:]})
        if self.step_s < 1:
            raise ValueError(f"PQProfile: step of {self.step_s} s")

    @property
    def grid(self) -> TimeGrid:
        """Time grid of the profile."""
        return TimeGrid(start=self.start, step_s=self.step_s, count=len(self.p_mw))

    @property
    def stop(self) -> datetime:
        """End of the last interval."""
        return self.start + timedelta(seconds=self.step_s * len(self.p_mw))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An information object on its way from one actor to another.

    Attributes:
        id: Unique within a study, ``<sender>-<count>``.
        sender: Actor that sends.
        receiver: Actor that receives.
        sent_at: Simulated time of sending, aware UTC.
        body: The information object.
    """

    id: str
    sender: str
    receiver: str
    sent_at: datetime
    body: InformationObject
