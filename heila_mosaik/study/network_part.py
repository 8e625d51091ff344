"""Scenario part ``network``: the communication between actors."""

from __future__ import annotations

from datetime import UTC
from typing import Annotated, Any, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from heila_mosaik.simulators.links import (
    FIELD,
    PUBLISHED,
    PUBLISHED_MEAN_MS,
    SPREAD,
    Distribution,
    Link,
    LinkTable,
    Outage,
    Pair,
)

_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_NotNegative = Annotated[float, Field(ge=0.0)]
_Pattern = Annotated[str, Field(min_length=1, max_length=100)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class LinkPart(_Part):
    """One direction between actors; what is left out is taken from ``network``."""

    sender: _Pattern = Field(default="*", description="Name or pattern of the sender, for example mgms_*.")
    receiver: _Pattern = Field(default="*", description="Name or pattern of the receiver.")
    delay_mean_ms: _NotNegative | None = Field(default=None, description="Mean transfer time of a message. [ms]")
    delay_std_ms: _NotNegative | None = Field(default=None, description="Standard deviation of it. [ms]")
    distribution: Literal["gamma", "lognormal", "constant"] | None = Field(
        default=None, description="Shape of the transfer time."
    )
    loss: _Share | None = Field(default=None, description="Chance that one attempt is lost. [1]")
    attempts: int | None = Field(default=None, ge=1, le=1000, description="Attempts before a message is lost.")
    retry_s: _NotNegative | None = Field(default=None, description="Time between two attempts. [s]")
    duplication: _Share | None = Field(default=None, description="Chance that a message arrives twice. [1]")
    reordering: _Share | None = Field(default=None, description="Chance that a message is held back. [1]")
    hold_ms: _NotNegative | None = Field(default=None, description="How long it is held back. [ms]")
    broker: bool | None = Field(default=None, description="Whether the link passes the broker.")


class OutagePart(_Part):
    """A period in which the broker, or every link that fits, carries nothing."""

    start: AwareDatetime = Field(description="Start, ISO 8601 with zone.")
    stop: AwareDatetime = Field(description="End, ISO 8601 with zone.")
    broker: bool = Field(default=False, description="true: the broker; false: the links named by the patterns.")
    sender: _Pattern = Field(default="*", description="Name or pattern of the sender.")
    receiver: _Pattern = Field(default="*", description="Name or pattern of the receiver.")
    messages: Literal["lost", "held"] = Field(
        default="lost", description="What becomes of messages meanwhile; held ones pass at the end."
    )

    @model_validator(mode="after")
    def _period(self) -> Self:
        if self.stop <= self.start:
            raise ValueError(f"stop {self.stop.isoformat()} is not after start {self.start.isoformat()}")
        if self.broker and (self.sender, self.receiver) != ("*", "*"):
            raise ValueError("give either broker: true or the patterns sender and receiver")
        return self


class Network(_Part):
    """Communication between actors.

    Without ``delay_mean_ms`` every link has its published transfer time (HEILA architecture paper, table 3): 52 ms
    from MGMS to AMS, 36 ms back, 483 ms from device to MGMS, 584 ms back, 45 ms elsewhere.
    """

    delay_mean_ms: _NotNegative | None = Field(
        default=None, description="Mean transfer time on every link; absent: the published one. [ms]"
    )
    delay_std_ms: _NotNegative | None = Field(
        default=None, description="Standard deviation of it; absent: a fifth of the mean. [ms]"
    )
    distribution: Literal["gamma", "lognormal", "constant"] = Field(
        default="gamma", description="Shape of the transfer time."
    )
    loss: _Share = Field(default=0.0, description="Chance that one attempt is lost. [1]")
    attempts: int = Field(default=1, ge=1, le=1000, description="Attempts before a message is lost.")
    retry_s: _NotNegative = Field(default=5.0, description="Time between two attempts. [s]")
    duplication: _Share = Field(default=0.0, description="Chance that a message arrives twice. [1]")
    reordering: _Share = Field(
        default=0.0, description="Chance that a message is held back and overtaken; the others keep their order. [1]"
    )
    hold_ms: _NotNegative = Field(default=1000.0, description="How long it is held back. [ms]")
    links: tuple[LinkPart, ...] = Field(default=(), description="Single links; of those that fit, the last one holds.")
    outages: tuple[OutagePart, ...] = Field(default=(), description="Outages of links or of the broker.")

    def table(self) -> LinkTable:
        """Links and outages of the study."""
        rules: list[tuple[Pair, dict[str, Any]]] = []
        for name in FIELD:
            rules += [(Pair(sender=name), {"broker": False}), (Pair(receiver=name), {"broker": False})]
        if self.delay_mean_ms is None:
            rules += [(pair, self._delay(mean)) for pair, mean in PUBLISHED]
        rules += [(Pair(sender=part.sender, receiver=part.receiver), self._changes(part)) for part in self.links]
        default = Link(
            **self._delay(PUBLISHED_MEAN_MS if self.delay_mean_ms is None else self.delay_mean_ms),
            distribution=Distribution(self.distribution),
            loss=self.loss,
            attempts=self.attempts,
            retry_ms=self.retry_s * 1000.0,
            duplication=self.duplication,
            reordering=self.reordering,
            hold_ms=self.hold_ms,
        )
        return LinkTable(default=default, rules=rules, outages=[_outage(part) for part in self.outages])

    def _delay(self, mean_ms: float) -> dict[str, Any]:
        spread = SPREAD * mean_ms if self.delay_std_ms is None else self.delay_std_ms
        return {"delay_ms": mean_ms, "jitter_ms": spread}

    def _changes(self, part: LinkPart) -> dict[str, Any]:
        """What a link says, in fields of :class:`Link`."""
        changes: dict[str, Any] = {} if part.delay_mean_ms is None else self._delay(part.delay_mean_ms)
        given = {
            "jitter_ms": part.delay_std_ms,
            "distribution": None if part.distribution is None else Distribution(part.distribution),
            "retry_ms": None if part.retry_s is None else part.retry_s * 1000.0,
            **{name: getattr(part, name) for name in _SAME},
        }
        return changes | {name: value for name, value in given.items() if value is not None}


_SAME = ("loss", "attempts", "duplication", "reordering", "hold_ms", "broker")


def _outage(part: OutagePart) -> tuple[Pair | None, Outage]:
    outage = Outage(start=part.start.astimezone(UTC), stop=part.stop.astimezone(UTC), held=part.messages == "held")
    return (None if part.broker else Pair(sender=part.sender, receiver=part.receiver)), outage
