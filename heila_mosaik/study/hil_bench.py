"""The paper's experiment again: database, bridge, relay and back, with live actors, broker and virtual laboratory.

Five processes on one machine: AMS, MGMS, bridge, laboratory and mosquitto; one monotonic clock serves them all.  The
actors are as simple as the paper's scripts: the MGMS turns an activation into a breaker command and reports when the
breaker's position has come back; stores, envelopes, safety, audit and wire are those of a real run.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from heila_mosaik.bridges import keys as keyring
from heila_mosaik.bridges.broker import NAME as BROKER
from heila_mosaik.bridges.broker import BrokerProcess
from heila_mosaik.bridges.clock import PacedClock
from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.equipment_process import EquipmentConfig, Told
from heila_mosaik.bridges.field_live import LiveField
from heila_mosaik.bridges.iec104.backends import Backend
from heila_mosaik.bridges.iec104.client import EventsLost, LinkSettings
from heila_mosaik.bridges.ledger import Entry, State
from heila_mosaik.bridges.node import LiveNode
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.points import PointList
from heila_mosaik.study.hil_bench_actors import BREAKER, AmsPlan, BenchMgms, command, node_settings, serve_ams
from heila_mosaik.study.hil_bench_bare import BarePlan, serve_bare
from heila_mosaik.study.hil_bench_figures import BenchError, Leg, Rate
from heila_mosaik.study.hil_bench_lab import LabPlan, serve_lab
from heila_mosaik.study.hil_bench_signals import LIMIT_S, Signals, answer, child, within

SPONTANEOUS = 3
"""Cause of transmission (IEC 60870-5-101, clause 7.2.3)."""
_WARM = 10
_PAUSE_S = 0.02
_RATE_S = 5.0
_QUIET_S = 0.5


def bench_points() -> PointList:
    """The example list without pauses between orders and without ramps: they would be measured instead of the way."""
    changes: Mapping[str, Any] = {"min_interval_s": 0.0, "ramp_per_s": math.inf, "max_step": math.inf, "dead_band": 0.0}
    return PointList(
        tuple(replace(point, **changes) if point.name != "watchdog" else point for point in example_points())
    )


@dataclass(slots=True, kw_only=True)
class _Bench:
    """Everything that runs."""

    node: LiveNode
    actor: BenchMgms
    field: LiveField
    lab: Connection
    port: int
    ams: Connection
    signals: Signals
    count: int
    counts: Counter[str]
    closed: bool = True
    serial: int = 0

    async def voltage(self) -> tuple[list[float], list[float]]:
        """Change of the feeder voltage to the study's slot, and to the MGMS database."""
        slot, database = [], []
        for number in range(_WARM + self.count):
            pu = 1.0 + 1e-4 * (1 + number % 97) * (1 if number % 2 else -1)
            read = self.signals.expect(partial(_is_voltage, pu=pu))
            stored = self.signals.expect(partial(_holds, name="measurement/feeder.l1/vm_pu", value=pu))
            self.lab.send(("voltage", pu))
            at_ns = await answer(self.lab, "the laboratory")
            slot.append(((await within(read, "the voltage"))[0] - at_ns) / 1e6)
            database.append(((await within(stored, "the voltage in the database"))[0] - at_ns) / 1e6)
            await asyncio.sleep(_PAUSE_S + 0.001 * (number % 7))
        return slot[_WARM:], database[_WARM:]

    async def breaker(self) -> tuple[list[float], list[float]]:
        """Command in the MGMS database to the read-back at the bridge, and to the position in the MGMS database."""
        bridge, database = [], []
        for _ in range(_WARM + self.count):
            self.closed = not self.closed
            value = float(self.closed)
            self.serial += 1
            cause = f"bench-{self.serial}"
            confirmed = self.signals.expect(partial(_is_confirmed, cause=cause))
            stored = self.signals.expect(partial(_holds, name=f"measurement/{BREAKER}/closed", value=value))
            now = self.node.host.now()
            self.actor.next = command(now, self.closed, cause)
            # The step that gives the command and its commit count, so this is a little more than the paper's way.
            at_ns = time.monotonic_ns()
            await self.node.host.take(now, ())
            _told, entry = await within(confirmed, "the read-back")
            bridge.append(entry.state_at_s * 1e3 - at_ns / 1e6)
            database.append(((await within(stored, "the position in the database"))[0] - at_ns) / 1e6)
            await asyncio.sleep(_PAUSE_S)
        return bridge[_WARM:], database[_WARM:]

    async def setpoint(self) -> tuple[list[float], list[float]]:
        """Request of a set point to the station's confirmation of activation: from the study, and in the bridge alone.

        The bridge's time begins before its safety machine and includes ledger, audit and wire; the study's time adds
        the way from its process.
        """
        await self._close()
        study, bridge = [], []
        for number in range(_WARM + self.count):
            self.serial += 1
            cause, value = f"bench-{self.serial}", 0.01 * (1 + number % 20)
            answered = self.signals.expect(partial(_is_answered, cause=cause))
            begun_s = time.monotonic()
            self.field.process.request("der_p_setpoint", value, cause=cause)
            _at, entry = await within(answered, "the confirmation of the set point")
            study.append(1e3 * (entry.answered_at_s - begun_s))
            bridge.append(1e3 * (entry.answered_at_s - entry.sent_at_s))
            await asyncio.sleep(_PAUSE_S)
        return study[_WARM:], bridge[_WARM:]

    async def bare(self) -> list[float]:
        """The same with the protocol library alone."""
        await self._close()
        plan = BarePlan(points=bench_points(), port=self.port, count=_WARM + self.count, pause_s=_PAUSE_S)
        with child(serve_bare, plan) as pipe:
            found: list[float] = await answer(pipe, "the bare client", LIMIT_S + self.count)
        return found[_WARM:]

    async def activation(self) -> list[float]:
        """Activation in the AMS database over MQTT, MGMS, bridge, relay and back to the verification in it."""
        await self._close()
        self.ams.send((_WARM + self.count, not self.closed))
        found: list[float] | str = await answer(self.ams, "the AMS", LIMIT_S * (1 + self.count))
        if isinstance(found, str):
            raise BenchError(found)
        self.closed = (_WARM + self.count) % 2 == 0
        return found[_WARM:]

    async def rate(self, per_s: float) -> Rate:
        """Send values at a rate and count what arrives and what is said to be lost."""
        # The unit's ramp after the last leg sends values of its own.
        await self._quiet()
        before, dropped = self.counts.copy(), await self._dropped()
        chunk, begun, sent = max(1, round(per_s / 50.0)), time.monotonic(), 0
        while sent < per_s * _RATE_S:
            self.lab.send(("burst", chunk))
            sent += chunk
            await asyncio.sleep(max(0.0, begun + sent / per_s - time.monotonic()))
        await self._quiet()
        return Rate(
            sent_per_s=per_s,
            sent=sent,
            arrived=self.counts["arrived"] - before["arrived"],
            dropped=await self._dropped() - dropped,
            reported_lost=self.counts["lost"] - before["lost"],
        )

    async def _quiet(self) -> None:
        still = -1
        while still != self.counts["arrived"]:
            still = self.counts["arrived"]
            await asyncio.sleep(_QUIET_S)

    async def _dropped(self) -> int:
        self.lab.send(("dropped",))
        found: int = await answer(self.lab, "the laboratory")
        return found

    async def _close(self) -> None:
        """Bring the breaker to its closed position."""
        if self.closed:
            return
        self.closed, self.serial = True, self.serial + 1
        cause = f"bench-{self.serial}"
        confirmed = self.signals.expect(partial(_is_confirmed, cause=cause))
        now = self.node.host.now()
        self.actor.next = command(now, True, cause)
        await self.node.host.take(now, ())
        await within(confirmed, "the closed breaker")


def _is_voltage(what: Any, *, pu: float) -> bool:
    return isinstance(what, Reading) and what.name == "feeder_ul1" and abs(what.value - pu) < 2e-5


def _is_confirmed(what: Any, *, cause: str) -> bool:
    return isinstance(what, Entry) and what.cause == cause and what.state is State.CONFIRMED


def _is_answered(what: Any, *, cause: str) -> bool:
    return isinstance(what, Entry) and what.cause == cause and what.answered_at_s is not None


def _holds(what: Any, *, name: str, value: float) -> bool:
    return isinstance(what, tuple) and name in what[0] and abs(_number(what[0][name]) - value) < 2e-5


def _number(text: str) -> float:
    found = json.loads(text)["value"]
    return math.nan if found is None else float(found)


@asynccontextmanager
async def _bench(folder: Path, count: int, travel_s: float, backend: Backend) -> AsyncIterator[_Bench]:
    """Start everything, arm the laboratory's points, let go of it in the end."""
    keys = folder / "keys"
    keyring.write_lab(keys, ["ams", "mgms", BROKER])
    points = bench_points()
    async with AsyncExitStack() as stack:
        broker = stack.enter_context(BrokerProcess(keys=keys, work=folder / "broker", kind="mosquitto", tls=True))
        lab = stack.enter_context(child(serve_lab, LabPlan(points=points, travel_s=travel_s)))
        port = await answer(lab, "the laboratory")
        ams = stack.enter_context(
            child(serve_ams, AmsPlan(settings=node_settings(folder, "ams", "mgms", broker.link("ams"))))
        )
        signals, actor, clock = Signals(), BenchMgms(), PacedClock.real()
        counts = Counter[str]()

        def listener(told: Told) -> None:
            if isinstance(told, Reading):
                counts["arrived"] += told.cause == SPONTANEOUS
            if isinstance(told, EventsLost):
                counts["lost"] += told.count
            if isinstance(told, Entry) or (isinstance(told, Reading) and told.name == "feeder_ul1"):
                signals.tell(told)

        config = EquipmentConfig(
            points=points,
            link=LinkSettings(host="127.0.0.1", port=port),
            audit=folder / "audit.jsonl",
            who="bench",
            backend=backend,
            readback_timeout_s=5.0 + travel_s,
        )
        field = LiveField(config, "mgms", clock.now, listener=listener)
        settings = node_settings(folder, "mgms", "ams", broker.link("mgms"))
        node = LiveNode(actor, clock, settings, control=field)
        node.host.watch = lambda values, messages, outcome: signals.tell((values, outcome, messages))
        bench = _Bench(
            node=node,
            actor=actor,
            field=field,
            lab=lab,
            port=port,
            ams=ams,
            signals=signals,
            count=count,
            counts=counts,
        )
        running = asyncio.create_task(node.run())
        await field.start(node.host.measure)
        try:
            await asyncio.to_thread(field.process.wait_ready, LIMIT_S)
            armed = ("breaker_command", "der_p_setpoint")
            field.process.arm(armed, 3600.0, who="bench")
            if await answer(ams, "the AMS") != "ready":
                raise BenchError("the AMS did not start")
            yield bench
        finally:
            await field.stop()
            node.host.stop()
            await asyncio.wait([running], timeout=LIMIT_S)


async def run_bench(
    folder: Path,
    *,
    count: int = 10,
    travel_s: float = 0.0,
    backend: Backend = Backend.HAT,
    rates: Sequence[float] = (),
    told: Callable[[str], None] = lambda _: None,
) -> tuple[list[Leg], list[Rate]]:
    """Measure all legs.

    Args:
        folder: Folder for stores, keys and audit.
        count: Repetitions of each leg.
        travel_s: Travel time of the laboratory's breaker. [s]
        backend: Implementation of IEC 60870-5-104.
        rates: Rates of values to try. [1/s]
        told: Told what is being measured.

    Raises:
        BenchError: If something does not arrive.
    """
    async with _bench(folder, count, travel_s, backend) as bench:
        told("feeder voltage")
        slot, database = await bench.voltage()
        told("breaker command")
        bridge, position = await bench.breaker()
        told("set point")
        asked, confirmed = await bench.setpoint()
        bare = await bench.bare()
        told("activation")
        chain = await bench.activation()
        found = []
        for per_s in rates:
            told(f"{per_s:g} values/s")
            found.append(await bench.rate(per_s))
    # A relay without travel time leaves what software and wire take; only that has a target.
    still = ((99, 10.0),) if travel_s == 0.0 else ()
    legs = [
        Leg(name="feeder voltage, relay to study attribute", ms=tuple(slot), target=((50, 3.0), (99, 10.0))),
        Leg(name="feeder voltage, relay to MGMS database", ms=tuple(database), published_ms=483.0),
        Leg(name="set point, bridge to confirmation", ms=tuple(confirmed), target=((50, 1.0),)),
        Leg(name="set point, study's process to confirmation", ms=tuple(asked)),
        Leg(name="set point, bare protocol library (baseline)", ms=tuple(bare)),
        Leg(name="breaker command, MGMS database to read-back", ms=tuple(bridge), target=still),
        Leg(name="breaker command, MGMS database to relay and back", ms=tuple(position), published_ms=584.0),
        Leg(name="activation, AMS to relay and back as verification", ms=tuple(chain), published_ms=1150.0),
    ]
    return legs, found
