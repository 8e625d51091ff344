"""What is tried in a campaign: drawn from a seed, session by session."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from heila_mosaik.bridges.lab.faults import Fault

MOST_TRIALS = 24
"""Trials of a session that is not killed."""


class Trouble(StrEnum):
    """What is done to the study, its process, its connection and its clock."""

    NONE = "none"
    KILL = "kill"
    SUSPEND = "suspend"
    KILL_BACKEND = "kill_backend"
    CUT = "cut"
    DELAY = "delay"
    GARBAGE = "garbage"
    STUDY_CLOCK = "study_clock"
    STALE_STUDY = "stale_study"


OF_THE_STATION: tuple[Fault, ...] = tuple(fault for fault in Fault if fault not in (Fault.LOST_PATH, Fault.LOST_TCP))
"""Faults of the laboratory's menu; its lost connections are the tap's business."""
_WEIGHTS: dict[str, float] = {
    Trouble.NONE: 6.0,
    Trouble.KILL: 3.0,
    Trouble.SUSPEND: 4.0,
    Trouble.CUT: 7.0,
    Trouble.DELAY: 7.0,
    Trouble.GARBAGE: 7.0,
    Trouble.STUDY_CLOCK: 5.0,
    Trouble.STALE_STUDY: 7.0,
    **dict.fromkeys(OF_THE_STATION, 3.0),
}
_PAIRS = (("hat", "hat"),) * 7 + (("c104", "hat"),) * 2 + (("hat", "c104"),)
_GARBAGE = (
    b"\x00",
    b"\x68",
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x68\x03\x00\x00\x00",
    b"\x68\xff" + b"\xa5" * 255,
    b"\x68\x04\x01\x00\xfe\xff",
    b"\x68\x04\x77\x00\x00\x00",
    b"\x68\x0e\x00\x00\x00\x00\xff\x01\x03\x00\x01\x00\x01\x00\x00\x01",
    b"\x68\x15\xfc\xff\x00\x00\x1f\x01\x03\x00\x01\x00\xd1\x07\x00\x02\xff\xff\xff\xff\xff\xff\xff",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One fault in the midst of orders.

    Attributes:
        trouble: What goes wrong: a :class:`Trouble` or a fault of the laboratory.
        at_s: When, since the start of the trial. [s]
        for_s: How long. [s]
        size: Magnitude.
        data: Octets of a garbled line.
    """

    trouble: str
    at_s: float
    for_s: float
    size: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A study from its start to its end.

    Attributes:
        number: Number.
        seed: Of the study's acts.
        client: Backend of the study.
        server: Backend of the laboratory.
        dry: Whether nothing is ever armed.
        trials: What happens; the last one may be a kill.
    """

    number: int
    seed: int
    client: str
    server: str
    dry: bool
    trials: tuple[Trial, ...]


def sessions(seed: int, trials: int, trial_s: float) -> Iterator[Session]:
    """Sessions with this many trials in total."""
    left, number = trials, 0
    while left > 0:
        draw = random.Random(f"{seed}/{number}")  # noqa: S311  # a test plan, no secret
        client, server = draw.choice(_PAIRS)
        weights = dict(_WEIGHTS)
        if client == "c104":
            weights[Trouble.KILL_BACKEND] = 4.0
        many: list[Trial] = []
        while len(many) < min(left, MOST_TRIALS):
            many.append(_trial(draw, weights, trial_s))
            if many[-1].trouble == Trouble.KILL:
                break
        left -= len(many)
        dry = draw.random() < 0.08
        yield Session(
            number=number, seed=draw.getrandbits(32), client=client, server=server, dry=dry, trials=tuple(many)
        )
        number += 1


def _trial(draw: random.Random, weights: dict[str, float], trial_s: float) -> Trial:
    trouble = draw.choices(list(weights), list(weights.values()))[0]
    sizes = {
        Fault.SLOW: draw.uniform(0.01, 0.6),
        Fault.WRONG_QUALITY: float(draw.randrange(5)),
        Fault.CLOCK_JUMP: draw.choice((-86400.0, -1.0, 60.0, 1e8)),
        Fault.BURST: float(draw.randrange(50, 3000)),
        Fault.SHORT_CIRCUIT: draw.uniform(0.5, 5.0),
        Trouble.STUDY_CLOCK: draw.choice((-86400.0, -3.0, 3.0, 3600.0, 1e8)),
    }
    return Trial(
        trouble=trouble,
        at_s=draw.uniform(0.0, 0.6 * trial_s),
        for_s=draw.uniform(0.1, 2.0) * trial_s,
        size=sizes.get(trouble, 0.0),  # type: ignore[call-overload]
        data=draw.choice(_GARBAGE),
    )
