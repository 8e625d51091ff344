"""Links between actors: how long a transfer takes, what gets lost, doubled or overtaken, and when nothing passes.

The defaults are the transfer times of the HEILA architecture paper (table 3, means of ten transfers each); their spread
was not published, a coefficient of variation of 0.2 is an assumption of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from math import log, sqrt
from typing import Any

import numpy as np


class Distribution(StrEnum):
    """Shape of the transfer time; all keep the declared mean and standard deviation."""

    GAMMA = "gamma"
    LOGNORMAL = "lognormal"
    CONSTANT = "constant"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Period in which a link carries nothing.

    Attributes:
        start: Start, aware UTC.
        stop: End, aware UTC.
        held: Whether what is sent meanwhile is kept and passes at the end (a broker with persistent sessions, a queue
            at the sender); otherwise it is lost.
    """

    start: datetime
    stop: datetime
    held: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Behaviour of one direction between two actors.

    Attributes:
        delay_ms: Mean transfer time. [ms]
        jitter_ms: Standard deviation of the transfer time; 0 makes it constant. [ms]
        distribution: Shape of the transfer time.
        loss: Chance that one attempt is lost. [1]
        attempts: How often a message is sent before it counts as lost (1: at most once).
        retry_ms: Time between two attempts. [ms]
        duplication: Chance that a message arrives a second time. [1]
        reordering: Chance that a message is held back, so that later ones overtake it; the others keep their order.
            [1]
        hold_ms: How long it is held back. [ms]
        broker: Whether it passes the broker, so that an outage of the broker is one of the link.
        outages: Periods without any transfer.
    """

    delay_ms: float = 0.0
    jitter_ms: float = 0.0
    distribution: Distribution = Distribution.GAMMA
    loss: float = 0.0
    attempts: int = 1
    retry_ms: float = 5000.0
    duplication: float = 0.0
    reordering: float = 0.0
    hold_ms: float = 1000.0
    broker: bool = True
    outages: tuple[Outage, ...] = ()

    def __post_init__(self) -> None:
        shares = (self.loss, self.duplication, self.reordering)
        times = (self.delay_ms, self.jitter_ms, self.retry_ms, self.hold_ms)
        if min(times) < 0 or self.attempts < 1 or not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"link needs times >= 0, attempts >= 1 and shares between 0 and 1, got {self}")

    def delay(self, random: np.random.Generator) -> float:
        """Draw a transfer time. [ms]"""
        mean, deviation = self.delay_ms, self.jitter_ms
        if not mean or not deviation or self.distribution is Distribution.CONSTANT:
            return mean
        if self.distribution is Distribution.GAMMA:
            shape = (mean / deviation) ** 2
            return float(random.gamma(shape, mean / shape))
        sigma = sqrt(log(1.0 + (deviation / mean) ** 2))
        return float(random.lognormal(log(mean) - sigma**2 / 2.0, sigma))

    def outage(self, moment: datetime) -> Outage | None:
        """Outage in force at ``moment``."""
        return next((outage for outage in self.outages if outage.start <= moment < outage.stop), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Pairs of actors whose names fit two patterns.

    Attributes:
        sender: Pattern of the sender's name (``mgms_*``).
        receiver: Pattern of the receiver's name.
    """

    sender: str = "*"
    receiver: str = "*"

    def fits(self, sender: str, receiver: str) -> bool:
        """Whether a pair is meant."""
        return fnmatchcase(sender, self.sender) and fnmatchcase(receiver, self.receiver)


@dataclass(slots=True, kw_only=True)
class LinkTable:
    """Finds the link of a pair of actors.

    Attributes:
        default: Link of every pair to begin with.
        rules: What differs by pair, fields of :class:`Link`; all that fit apply, later ones over earlier ones.
        outages: Outages by pair; ``None`` is the broker, which all links but those past it share.
    """

    default: Link
    rules: Sequence[tuple[Pair, Mapping[str, Any]]] = ()
    outages: Sequence[tuple[Pair | None, Outage]] = ()
    _found: dict[tuple[str, str], Link] = field(default_factory=dict)

    def of(self, sender: str, receiver: str) -> Link:
        """Link from ``sender`` to ``receiver``."""
        pair = (sender, receiver)
        if pair not in self._found:
            changes: dict[str, Any] = {}
            for rule, fields in self.rules:
                if rule.fits(sender, receiver):
                    changes |= fields
            link = replace(self.default, **changes)
            mine = [out for where, out in self.outages if (link.broker if where is None else where.fits(*pair))]
            self._found[pair] = replace(link, outages=(*link.outages, *mine)) if mine else link
        return self._found[pair]


PUBLISHED = (
    (Pair(sender="mgms_*", receiver="ams"), 52.0),
    (Pair(sender="ams", receiver="mgms_*"), 36.0),
    (Pair(sender="cems_*", receiver="mgms_*"), 483.0),
    (Pair(sender="ied_*", receiver="mgms_*"), 483.0),
    (Pair(sender="mgms_*", receiver="cems_*"), 584.0),
    (Pair(sender="mgms_*", receiver="ied_*"), 584.0),
)
"""Published mean transfer times [ms]: Flexibility and Activation over MQTT, and the legs between the microgrid's
database and its relay over IEC 60870-5-104."""
PUBLISHED_MEAN_MS = 45.0
"""Mean of the three published transfer times between management systems (47, 52, 36 ms)."""
SPREAD = 0.2
"""Assumed standard deviation of a transfer time, relative to its mean."""
FIELD = ("cems_*", "ied_*", "sau")
"""Actors of the field; messages from and to them do not pass the broker."""
