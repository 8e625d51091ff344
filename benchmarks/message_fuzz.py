"""What must not get in: altered, forged, replayed and poisonous messages at the door of an actor, 100 000 of them.

Five kinds of trouble knock at the same door (envelope, guard, reader) behind which an aggregator and a microgrid work:

- ``altered``: bytes or signature of a signed message changed on the way;
- ``forged``: signed with other keys, other algorithms, other claims, for others, in the name of others, or said again;
- ``bomb``: nesting, prefixes, numbers, entities, contexts, broken UTF-8, sizes, in all three serialisations;
- ``peer``: a trusted peer signs a mutated message: everything the guard and the reader must refuse by themselves;
- ``sound``: good messages in between, all of which must come through.

The door must refuse with a named reason or hand over a message, nothing else; nothing altered or forged may come
through; the actors must not fail on what did; memory must not grow.  What came through from the ``peer`` is checked
for what no message may hold (numbers that are not finite, times without zone).

Run ``python -m benchmarks.message_fuzz [--count 100000] [--seed 1] [--json]``.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import resource
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from benchmarks.fuzz_knocks import Knock, Lab, T, bodies, knocks
from heila_mosaik.actors.ams import Ams
from heila_mosaik.actors.mgms import Mgms
from heila_mosaik.actors.mgms_settings import MgmsSettings
from heila_mosaik.bridges.smartapi import RefusedError
from heila_mosaik.domain import information as info
from heila_mosaik.domain.market import MarketCalendar
from heila_mosaik.domain.resources import BatterySpec

__all__ = ["Result", "T", "bodies", "run"]


@dataclass(slots=True)
class Result:
    """What happened.

    Attributes:
        knocks: Tries by kind.
        let_in: Messages that came through, by kind.
        refused: Refusals by reason.
        forgeries: Altered or forged messages that came through.
        crashes: Errors other than a named refusal, with their cause.
        unsound: Messages that came through and hold what none may hold.
        slowest_ms: Longest time at the door. [ms]
        memory_growth_mb: Growth of the process from a tenth of the run to its end. [MB]
        remembered: Identities in the replay store at the end.
        seconds: Wall time. [s]
    """

    knocks: Counter[str] = field(default_factory=Counter)
    let_in: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    forgeries: list[str] = field(default_factory=list)
    crashes: list[str] = field(default_factory=list)
    unsound: list[str] = field(default_factory=list)
    slowest_ms: float = 0.0
    memory_growth_mb: float = 0.0
    remembered: int = 0
    seconds: float = 0.0

    @property
    def held(self) -> bool:
        """Whether nothing got in that must not, and nothing broke."""
        good = self.let_in["sound"] == self.knocks["sound"]
        return good and not (self.forgeries or self.crashes or self.unsound)


class Company:
    """The actors behind the door; the same messages go to both."""

    def __init__(self) -> None:
        battery = {"battery": BatterySpec(p_max_mw=0.5, s_max_mva=0.6, energy_mwh=1.0)}
        settings = MgmsSettings(
            microgrid="a", resources=battery, controllers={"battery": "cems_a"}, breaker="cb", horizon_s=4 * 3600
        )
        self.actors = (Mgms("mgms_a", settings), Ams(calendar=MarketCalendar()))
        self.now = T

    def hear(self, message: info.Message) -> None:
        """Hand over a message, a moment after the last one."""
        self.now += timedelta(milliseconds=20)
        for actor in self.actors:
            actor.step(self.now, [replace(message, receiver=actor.name)], None)


def unsound(value: Any) -> str:
    """What a message holds that none may hold; empty if nothing."""
    if isinstance(value, float) and not math.isfinite(value):
        return f"number {value}"
    if isinstance(value, datetime) and value.tzinfo is None:
        return f"time {value} without zone"
    if isinstance(value, info.Measurements):  # a missing value is NaN by its definition
        value = (value.source, value.at, value.sigmas, value.ages_s)
    if isinstance(value, tuple):
        return next((found for part in value if (found := unsound(part))), "")
    if dataclasses.is_dataclass(value):
        return next((found for each in dataclasses.fields(value) if (found := unsound(getattr(value, each.name)))), "")
    return ""


def _memory_mb() -> float:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a pseudo file
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def run(count: int, seed: int, *, actors: bool = True) -> Result:
    """Knock ``count`` times.

    Args:
        count: Number of tries.
        seed: Seed of the mutations; keys are fresh each time.
        actors: Whether what comes through is handed to actors.
    """
    lab, result, company = Lab(seed), Result(), Company()
    begun, memory = time.perf_counter(), 0.0
    for number, knock in enumerate(knocks(lab, count)):
        lab.now += 0.05  # the door's clock goes on, so that its memory of identities turns over
        result.knocks[knock.kind] += 1
        at = time.perf_counter()
        message = _open(lab, knock, result)
        result.slowest_ms = max(result.slowest_ms, 1000.0 * (time.perf_counter() - at))
        if message is not None:
            _judge(knock, message, result)
            if actors:
                _hear(company, knock, message, result)
        if number == count // 10:
            memory = _memory_mb()
    result.refused = Counter({str(reason): n for reason, n in lab.door.envelope.refused.most_common()})
    result.memory_growth_mb = _memory_mb() - memory
    result.remembered = len(lab.door.envelope.replay or ())
    result.seconds = time.perf_counter() - begun
    return result


def _open(lab: Lab, knock: Knock, result: Result) -> info.Message | None:
    try:
        return lab.door.open(knock.payload, knock.signature, encrypted=knock.encrypted, content_type=knock.content_type)
    except RefusedError:
        return None
    except Exception as error:  # that is what is looked for
        result.crashes.append(f"{knock.kind}: {type(error).__name__}: {str(error)[:200]} on {knock.payload[:200]!r}")
        return None


def _judge(knock: Knock, message: info.Message, result: Result) -> None:
    result.let_in[knock.kind] += 1
    if knock.kind in ("altered", "forged") and not knock.genuine:
        result.forgeries.append(f"{knock.kind}: {knock.signature[:100]} {knock.payload[:200]!r}")
    found = unsound(message)
    if found or knock.kind == "bomb":
        result.unsound.append(f"{knock.kind}: {found or 'came through'} in {knock.payload[:200]!r}")


def _hear(company: Company, knock: Knock, message: info.Message, result: Result) -> None:
    try:
        company.hear(message)
    except Exception as error:  # that is what is looked for
        what = f"{type(error).__name__}: {str(error)[:200]} at {_place(error)}"
        result.crashes.append(
            f"actor on {knock.kind}: {what} from {type(message.body).__name__} {message.body!r}"[:1500]
        )
        company.__init__()  # type: ignore[misc]


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = run(options.count, options.seed)
    if options.json:
        print(json.dumps({**dataclasses.asdict(result), "held": result.held}, indent=1))
    else:
        _print(result)
    raise SystemExit(0 if result.held else 1)


def _print(result: Result) -> None:
    print(f"{result.knocks.total()} messages in {result.seconds:.0f} s, slowest {result.slowest_ms:.0f} ms at the door")
    for kind in result.knocks:
        print(f"  {kind:8} {result.knocks[kind]:7}  let in {result.let_in[kind]:6}")
    print("refused by reason: " + ", ".join(f"{reason} {count}" for reason, count in result.refused.most_common()))
    print(
        f"replay store holds {result.remembered}; memory grew by {result.memory_growth_mb:.1f} MB after the first tenth"
    )
    for name in ("forgeries", "crashes", "unsound"):
        found = getattr(result, name)
        print(f"{name}: {len(found)}")
        for line in found[:10]:
            print(f"    {line}")
    print("held" if result.held else "DID NOT HOLD")


if __name__ == "__main__":
    main()
