"""The two actors of a measurement, as simple as the paper's scripts, and the process of the AMS."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.bridges.clock import PacedClock
from heila_mosaik.bridges.mqtt import Broker
from heila_mosaik.bridges.node import LiveNode, NodeSettings
from heila_mosaik.domain.information import (
    ActivationNotification,
    ControlSignal,
    Measurements,
    Message,
    VerificationNotification,
)
from heila_mosaik.domain.quantities import Quantity

BREAKER = "feeder_breaker"
_LIMIT_S = 60.0
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AmsPlan:
    """What the process is given."""

    settings: NodeSettings


def node_settings(folder: Path, name: str, other: str, broker: Broker) -> NodeSettings:
    """Settings of one of the two live actors."""
    return NodeSettings(
        keys=folder / "keys", store=folder / f"{name}.db", broker=broker, registration=False, partners=(other,)
    )


class BenchMgms:
    """Turns activations into breaker commands; reports when the position has come back."""

    def __init__(self) -> None:
        self.name, self._out = "mgms", Outbox("mgms")
        self.next: ControlSignal | None = None
        self._waiting: tuple[str, bool] | None = None

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:
        """One step."""
        self._out.begin(now)
        for message in inbox:
            if isinstance(message.body, ActivationNotification):
                self._waiting = (message.body.reserve, message.body.p_mw > 0)
                self.next = command(now, message.body.p_mw > 0, message.body.reserve)
        if self.next is not None:
            self._out.control(self.next)
            self.next = None
        if measurements is not None and self._waiting is not None:
            position = measurements.value(BREAKER, Quantity.BREAKER)
            if position is not None and (position >= 0.5) is self._waiting[1]:
                self._out.send("ams", _verification(self._waiting[0], now, position))
                self._waiting = None
        return self._out.outcome()


def command(now: datetime, closed: bool, cause: str) -> ControlSignal:
    """A breaker command."""
    return ControlSignal(id=f"c-{cause}", target=BREAKER, start=now, stop=now + _HOUR, closed=closed, cause=cause)


def _verification(reserve: str, now: datetime, position: float) -> VerificationNotification:
    zero = (0.0,)
    return VerificationNotification(
        id=f"v-{reserve}", reserve=reserve, location="multipower", start=now, stop=now + timedelta(minutes=15),
        step_s=900, baseline_method="meter_before", baseline_p_mw=zero, measured_p_mw=(position,),
        requested_p_mw=(position,), baseline_q_mvar=zero, measured_q_mvar=zero, requested_q_mvar=zero,
    )  # fmt: skip


class _Ams:
    """Sends calls, takes verifications."""

    def __init__(self) -> None:
        self.name, self._out = "ams", Outbox("ams")
        self.next: tuple[str, float] | None = None
        self.arrived: dict[str, str] = {}
        self.sent: dict[str, str] = {}

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:  # noqa: ARG002
        """One step."""
        self._out.begin(now)
        for message in inbox:
            if isinstance(message.body, VerificationNotification):
                self.arrived[message.body.reserve] = message.id
        if self.next is not None:
            reserve, p_mw = self.next
            body = ActivationNotification(
                id=f"a-{reserve}", reserve=reserve, location="multipower", start=now, stop=now + _HOUR, p_mw=p_mw,
                q_mvar=0.0,
            )  # fmt: skip
            self._out.send("mgms", body)
            self.next = None
            outcome = self._out.outcome()
            self.sent[reserve] = outcome.messages[0].id
            return outcome
        return self._out.outcome()


def serve_ams(plan: AmsPlan, pipe: Connection) -> None:
    """Entry of the process: ``(count, first)`` makes that many calls; answers with their times. [ms]"""
    asyncio.run(_serve(plan, pipe))


async def _serve(plan: AmsPlan, pipe: Connection) -> None:
    actor = _Ams()
    node = LiveNode(actor, PacedClock.real(), plan.settings)
    running = asyncio.create_task(node.run())
    end = time.monotonic() + _LIMIT_S
    while not (node.mqtt is not None and node.mqtt.connected) and time.monotonic() < end:
        await asyncio.sleep(0.02)
    pipe.send("ready")
    try:
        while True:
            count, first = await asyncio.to_thread(pipe.recv)
            pipe.send(await _call(node, actor, count, first))
    except (EOFError, OSError):
        pass
    node.host.stop()
    await asyncio.wait([running], timeout=_LIMIT_S)


async def _call(node: LiveNode, actor: _Ams, count: int, first: bool) -> list[float] | str:
    closed = first
    for number in range(count):
        reserve = f"r{number}"
        actor.next = (reserve, 0.1 if closed else -0.1)
        await node.host.take(node.host.now(), ())
        end = time.monotonic() + _LIMIT_S
        while reserve not in actor.arrived:
            if time.monotonic() > end:
                return f"the verification of call {number} did not come within {_LIMIT_S:g} s"
            await asyncio.sleep(0.0005)
        closed = not closed
        await asyncio.sleep(0.004)
    return _times(node.store.path, actor)


def _times(path: Path, actor: _Ams) -> list[float]:
    """From the commit in the outbox to the commit in the inbox, by reserve. [ms]"""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        sent = dict(db.execute("SELECT id, created_ns FROM outbox").fetchall())
        got = dict(db.execute("SELECT id, received_ns FROM inbox").fetchall())
    return [(got[actor.arrived[reserve]] - sent[identity]) / 1e6 for reserve, identity in actor.sent.items()]
