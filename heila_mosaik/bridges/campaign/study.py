"""The study under test: a process with the real bridge, driven by random acts of a study and its operator.

What it does is written to a file before it is done, so that nothing is lost when it is killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import math
import os
import random
import resource
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.campaign.record import READBACK_S, SAFETY, campaign_points
from heila_mosaik.bridges.iec104.backends import make_client
from heila_mosaik.bridges.iec104.bridge import Iec104Bridge
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState
from heila_mosaik.bridges.ledger import Entry, State
from heila_mosaik.bridges.safety_types import Phase, Refusal

_BEAT_S, _OPEN_S, _STOP_S = 0.04, 20.0, 4.0
_WILD = (math.nan, math.inf, -math.inf, 1e300, -1e300, 0.500001, -0.500001, 0.51, -0.31, 2.0, 1e-320, -0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyPlan:
    """What a session does.

    Attributes:
        seed: Of its random acts.
        backend: Client backend.
        port: Where to connect.
        folder: Files of the session.
        trials: Number of trials.
        trial_s: Length of a trial. [s]
        dry: Whether nothing is ever armed.
        stale: Trials in which the study gives no sign of life.
        clock_jumps: Trials in which the wall clock of the study jumps, and by how much. [s]
    """

    seed: int
    backend: str
    port: int
    folder: Path
    trials: int
    trial_s: float
    dry: bool
    stale: frozenset[int]
    clock_jumps: dict[int, float]


class _Study:
    """One session's study and operator."""

    def __init__(self, plan: StudyPlan) -> None:
        self.plan = plan
        self.random = random.Random(plan.seed)  # noqa: S311  # a test plan, no secret
        self.file = os.open(plan.folder / "acts.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.points = campaign_points()
        self.names = [point.name for point in self.points.controlled]
        self.offset = timedelta()
        self.trial = 0
        self.lag_s = 0.0

    def note(self, what: str, name: str = "", value: float | None = None, extra: float = 0.0) -> None:
        """Write an act down before it is done."""
        shown = repr(value) if value is not None and not math.isfinite(value) else value
        os.write(self.file, json.dumps([time.monotonic(), what, name, shown, extra]).encode() + b"\n")

    def wall(self) -> datetime:
        """A wall clock that jumps."""
        return datetime.now(UTC) + self.offset

    def hear(self, notice: Any) -> None:
        """Write down what the bridge reports."""
        if isinstance(notice, Entry) and notice.state is State.CONFIRMED:
            self.note("confirmed", notice.name, notice.value, float(notice.id))
        elif isinstance(notice, Entry) and notice.state in (State.UNKNOWN, State.REFUSED):
            self.note(notice.state.value, notice.name, notice.value)
        elif isinstance(notice, Refusal):
            self.note("refusal", notice.reason.value)

    async def beat(self, bridge: Iec104Bridge) -> None:
        """The study's steps, and a watch over this process's own lag."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now - due > 0.03:
                self.note("lag", "", due, now - due)
            if self.trial not in self.plan.stale:
                self.note("alive")
                bridge.study_alive()
            due = max(due + _BEAT_S, now)
            await asyncio.sleep(due - time.monotonic())

    def act(self, bridge: Iec104Bridge) -> None:
        """One random act."""
        draw, name = self.random.random(), self.random.choice(self.names)
        if bridge.status.emergency_stopped and draw < 0.5:
            self.note("reset")
            bridge.reset(who="operator")
        elif draw < 0.6 and Phase.ARMED not in bridge.status.phases.values():
            self.arm(bridge)
        elif draw < 0.78:
            self.request(bridge, name)
        elif draw < 0.93:
            self.arm(bridge)
        elif draw < 0.95:
            self.note("disarm", name)
            bridge.disarm((name,), who="operator")
        elif draw < 0.965:
            self.note("stop")
            bridge.emergency_stop(who="operator")
        else:
            for entry in bridge.status.unknown:
                bridge.resolve(entry.id, who="operator")

    def arm(self, bridge: Iec104Bridge) -> None:
        """Arm everything, mostly for long enough."""
        if self.plan.dry:
            return
        for_s = self.random.choice((0.1, 1.0, 10.0, 30.0, 30.0, 30.0, 30.0, -1.0, 1e9))
        for name in self.names:
            self.note("arm", name, None, for_s)
        bridge.arm(tuple(self.names), for_s, who="operator")

    def request(self, bridge: Iec104Bridge, name: str) -> None:
        """Ask for a value: sensible, wild, or old."""
        kind = self.random.random()
        point = self.points[name]
        if kind < 0.2:
            value = self.random.choice(_WILD)
        elif point.type.is_switch_command:
            value = self.random.choice((0.0, 1.0, 1.0))
        else:
            value = round(self.random.uniform(point.minimum, point.maximum), 3)
        age = self.random.choice((0.0, 0.0, 0.0, 0.05, 0.5, 9.0, -1.0))
        self.note("request", name, value, age)
        bridge.request(name, value, cause=f"trial {self.trial}", age_s=age)

    async def live(self, bridge: Iec104Bridge, begun: float) -> None:
        """All trials."""
        for trial in range(self.plan.trials):
            self.trial = trial
            self.offset = timedelta(seconds=self.plan.clock_jumps.get(trial, 0.0))
            start = begun + trial * self.plan.trial_s
            moments = sorted(self.random.uniform(0.0, self.plan.trial_s) for _ in range(6))
            if trial % 4 == 0:
                self.arm(bridge)
            for moment in moments:
                await asyncio.sleep(max(start + moment - time.monotonic(), 0.0))
                self.act(bridge)
        await asyncio.sleep(max(begun + self.plan.trials * self.plan.trial_s - time.monotonic(), 0.0))


async def _run(plan: StudyPlan, pipe: Connection) -> dict[str, Any]:
    study = _Study(plan)
    link = LinkSettings(host="127.0.0.1", port=plan.port, answer_s=0.4, reconnect_s=0.03, refresh_s=0.25, t0_s=2.0)
    before = _usage()
    audit = AuditLog(plan.folder / "audit.jsonl")
    client = make_client(plan.backend, link, study.points)
    bridge = Iec104Bridge(
        study.points, client, audit, who="study", safety=SAFETY, readback_timeout_s=READBACK_S, wall=study.wall,
        notify=study.hear,
    )  # fmt: skip
    await bridge.start()
    beat = asyncio.create_task(study.beat(bridge))
    opened = await _until_open(bridge)
    begun = time.monotonic()
    pipe.send(("ready", begun, opened))
    await study.live(bridge, begun)
    half = _usage()
    pipe.send(("over",))
    reopened = await _until_open(bridge)
    for name in study.names:
        study.note("disarm", name)
    begun = time.monotonic()
    await bridge.stop(limit_s=_STOP_S)
    took = time.monotonic() - begun
    beat.cancel()
    await asyncio.gather(beat, return_exceptions=True)
    audit.close()
    await asyncio.sleep(0.05)
    return {
        "opened": opened, "reopened": reopened, "stop_s": took, "before": before, "half": half, "after": _usage(),
        "received": bridge.status.received, "late_s": bridge.status.late_s,
    }  # fmt: skip


async def _until_open(bridge: Iec104Bridge) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_OPEN_S):
            while bridge.status.link is not LinkState.OPEN:
                await asyncio.sleep(0.01)
    return bridge.status.link is LinkState.OPEN


def _usage() -> dict[str, int]:
    """What a process could leak."""
    return {
        "tasks": len(asyncio.all_tasks()),
        "files": len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").exists() else 0,  # noqa: PTH208
        "threads": threading.active_count(),
        "memory_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def main(plan: StudyPlan, pipe: Connection) -> None:
    """Process of the study; a group of its own, so that what it started can be found when it is killed."""
    os.setsid()
    logging.disable(logging.CRITICAL)
    pipe.send(("result", asyncio.run(_run(plan, pipe))))
