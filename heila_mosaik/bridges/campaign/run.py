"""Runs a campaign: laboratories and taps here, studies in processes of their own, a verdict on each session."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, TypeAlias

from heila_mosaik.bridges.campaign import study
from heila_mosaik.bridges.campaign.evidence import audit_violations, end_violations, group_is_empty
from heila_mosaik.bridges.campaign.judge import Judge, Violation
from heila_mosaik.bridges.campaign.plan import Session, Trial, Trouble, sessions
from heila_mosaik.bridges.campaign.record import RELAY_WATCHDOG_S, Record, campaign_points, read_acts
from heila_mosaik.bridges.campaign.tap import Tap
from heila_mosaik.bridges.iec104.backends import Backend
from heila_mosaik.bridges.lab.faults import Fault
from heila_mosaik.bridges.lab.relay import BaySettings
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab

TRIAL_S = 0.25
_START_S, _END_S, _ORPHAN_S = 90.0, 60.0, 10.0
_BAY = BaySettings(travel_s=0.02, delay_s=0.04, der_ramp_per_s=5.0, watchdog_s=RELAY_WATCHDOG_S)


_Start: TypeAlias = Callable[[study.StudyPlan, Connection], BaseProcess]


@dataclass(slots=True)
class Outcome:
    """What a campaign found.

    Attributes:
        trials: Trials by what went wrong.
        sessions: Sessions by backends of study and laboratory.
        counts: Orders, confirmations, refusals and so on.
        violations: With the number of their session.
        largest_lag_s: Longest time a process did not run. [s]
        seconds: Duration. [s]
    """

    trials: Counter[str] = field(default_factory=Counter)
    sessions: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[tuple[int, Violation]] = field(default_factory=list)
    largest_lag_s: float = 0.0
    seconds: float = 0.0


class _Bench:
    """One session: laboratory, tap, process."""

    def __init__(self, session: Session, folder: Path, trial_s: float) -> None:
        self.session, self.folder, self.trial_s = session, folder, trial_s
        self.record = Record(points=campaign_points())
        settings = StationSettings(backend=Backend(session.server), period_s=0.01, cyclic_s=0.7)
        self.lab = VirtualLab(self.record.points, settings, _BAY)
        self.tap = Tap(self.record, lambda: self.lab.port)
        self.violations: list[Violation] = []
        self.done: list[Trial] = []
        self.killed = False
        self.result: dict[str, Any] | None = None
        self.messages: asyncio.Queue[tuple[Any, ...] | None] = asyncio.Queue()

    def plan(self) -> study.StudyPlan:
        """What the study does."""
        many = list(enumerate(self.session.trials))
        return study.StudyPlan(
            seed=self.session.seed,
            backend=self.session.client,
            port=self.tap.port,
            folder=self.folder,
            trials=len(many),
            trial_s=self.trial_s,
            dry=self.session.dry,
            stale=frozenset(number for number, trial in many if trial.trouble == Trouble.STALE_STUDY),
            clock_jumps={number: trial.size for number, trial in many if trial.trouble == Trouble.STUDY_CLOCK},
        )

    async def run(self, start: _Start) -> None:
        """The whole session."""
        self.folder.mkdir(parents=True)
        async with self.lab:
            await self.tap.start()
            near, far = multiprocessing.Pipe()
            process = start(self.plan(), far)
            far.close()
            self._listen(near)
            try:
                await self._trials(process)
            finally:
                asyncio.get_running_loop().remove_reader(near.fileno())
                near.close()
                await self._bury(process)
                await self.tap.stop()

    def _listen(self, near: Connection) -> None:
        loop = asyncio.get_running_loop()

        def readable() -> None:
            try:
                self.messages.put_nowait(near.recv())
            except (EOFError, OSError):
                loop.remove_reader(near.fileno())
                self.messages.put_nowait(None)

        loop.add_reader(near.fileno(), readable)

    async def _message(self, limit_s: float) -> tuple[Any, ...] | None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                return await self.messages.get()
        return None

    async def _trials(self, process: BaseProcess) -> None:
        ready = await self._message(_START_S)
        if ready is None:
            self._wrong("hang", "the study did not start")
            return
        begun = float(ready[1])
        for number, trial in enumerate(self.session.trials):
            await _until(begun + number * self.trial_s)
            if not self.lab.bay.closed:
                self.lab.bay.reset_trip()
                self.lab.bay.operate(closed=True)
            await _until(begun + number * self.trial_s + trial.at_s)
            await self._trouble(trial, process)
            self.done.append(trial)
            if self.killed:
                await self._killed()
                return
        over = await self._message(_END_S)
        self.lab.clear_faults()
        result = await self._message(_END_S) if over else None
        if result is None:
            self._wrong("hang", "the study did not end")
            return
        self.result = result[1]

    async def _trouble(self, trial: Trial, process: BaseProcess) -> None:
        pid = process.pid or 0
        match trial.trouble:
            case Trouble.KILL:
                self.killed = True
                _signal(pid, signal.SIGKILL)
            case Trouble.SUSPEND:
                _signal(pid, signal.SIGSTOP)
                asyncio.get_running_loop().call_later(trial.for_s, _signal, pid, signal.SIGCONT)
            case Trouble.KILL_BACKEND:
                for child in _children(pid):
                    _signal(child, signal.SIGKILL)
            case Trouble.CUT:
                self.tap.cut(trial.for_s)
            case Trouble.DELAY:
                self.tap.hold(trial.for_s)
            case Trouble.GARBAGE:
                self.tap.garble(trial.data)
            case Trouble.NONE | Trouble.STALE_STUDY | Trouble.STUDY_CLOCK:
                pass
            case _:
                await self.lab.fault(Fault(trial.trouble), trial.for_s, trial.size)

    async def _killed(self) -> None:
        """The relay's own watchdog has to act: the study cannot any more."""
        at_s, supervised = time.monotonic(), self.lab.bay.supervised
        self.lab.clear_faults()
        if not supervised:
            return
        await _until(at_s + RELAY_WATCHDOG_S + 0.3)
        await _until(time.monotonic() + 2.0 * self.record.margin(at_s + RELAY_WATCHDOG_S))
        bay = self.lab.bay
        if bay.closed is not False or any(bay.setpoint.values()) or bay.watchdog_ok:
            self._wrong("dead man", f"breaker closed: {bay.closed}, set points {bay.setpoint} after the kill")

    async def _bury(self, process: BaseProcess) -> None:
        """End what is left; what should have ended by itself and did not is a leak."""
        group, end = process.pid or 0, time.monotonic() + _ORPHAN_S
        if self.result is None and not self.killed:
            _signal(group, signal.SIGKILL)
        while (process.is_alive() or not group_is_empty(group)) and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if process.is_alive() or not group_is_empty(group):
            self._wrong("leak", "processes of the study are left")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        process.join(1.0)

    def _wrong(self, rule: str, what: str) -> None:
        self.violations.append(Violation(rule=rule, at_s=time.monotonic(), what=what))

    def file(self) -> Verdict:
        """Everything the verdict rests on."""
        return Verdict(self.record, self.folder, self.killed, self.result, self.violations)


@dataclass(slots=True)
class Verdict:
    """A session that has ended, to be judged in a process of its own: judging takes time the taps do not have."""

    record: Record
    folder: Path
    killed: bool
    result: dict[str, Any] | None
    violations: list[Violation]

    def reach(self) -> Verdict:
        """Judge; keeps the files of a session only when something was wrong."""
        record, acts, audit = self.record, self.folder / "acts.jsonl", self.folder / "audit.jsonl"
        record.acts = read_acts(acts) if acts.exists() else []
        record.lags += [(act.value, act.extra) for act in record.acts if act.what == "lag"]
        self.violations.extend(Judge(record).violations())
        if audit.exists():
            self.violations.extend(audit_violations(record, audit, killed=self.killed))
        if self.result is not None:
            self.violations.extend(end_violations(self.result))
        if self.violations:
            record.dump(self.folder / "record.json")
            (self.folder / "violations.txt").write_text("\n".join(map(str, self.violations)) + "\n")
        else:
            shutil.rmtree(self.folder, ignore_errors=True)
        return self


def _warm_up(context: Any) -> None:
    process = context.Process(target=int)
    process.start()
    process.join()


async def _until(at_s: float) -> None:
    await asyncio.sleep(max(at_s - time.monotonic(), 0.0))


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return found


class Campaign:
    """Sessions, several at a time.

    Args:
        folder: Where the sessions keep their files.
        seed: Of everything drawn.
        trials: Trials in total.
        parallel: Sessions at a time.
        tell: Told the number of trials done.
    """

    def __init__(
        self, folder: Path, seed: int, trials: int, parallel: int = 4, tell: Callable[[int], None] | None = None
    ) -> None:
        self._folder, self._seed, self._trials, self._parallel = folder, seed, trials, parallel
        self._tell = tell
        self._active: set[_Bench] = set()
        self.outcome = Outcome()

    async def run(self) -> Outcome:
        """Run all of it."""
        begun = time.monotonic()
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__, study.__name__, "heila_mosaik.bridges.iec104.hat_client"])

        def start(plan: study.StudyPlan, pipe: Connection) -> BaseProcess:
            process = context.Process(target=study.main, args=(plan, pipe), daemon=True)
            process.start()
            return process

        # The first process brings the server of processes up, with all it imports: not while something is measured.
        await asyncio.to_thread(_warm_up, context)
        watch = asyncio.create_task(self._watch_lag())
        gate = asyncio.Semaphore(self._parallel)
        with ProcessPoolExecutor(1, mp_context=context) as judges:
            async with asyncio.TaskGroup() as group:
                for session in sessions(self._seed, self._trials, TRIAL_S):
                    await gate.acquire()
                    group.create_task(self._session(session, gate, start, judges))
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        self.outcome.seconds = time.monotonic() - begun
        return self.outcome

    async def _session(
        self, session: Session, gate: asyncio.Semaphore, start: _Start, judges: ProcessPoolExecutor
    ) -> None:
        bench = _Bench(session, self._folder / f"session-{session.number:05d}", TRIAL_S)
        self._active.add(bench)
        try:
            await bench.run(start)
        except Exception as error:
            # One session that cannot be run must not hide what the others find.
            bench.violations.append(Violation(rule="campaign", at_s=time.monotonic(), what=f"{error!r}"))
            (bench.folder / "traceback.txt").write_text(traceback.format_exc())
        finally:
            self._active.discard(bench)
            gate.release()
        verdict = await asyncio.get_running_loop().run_in_executor(judges, bench.file().reach)
        self._count(bench, verdict)
        if self._tell is not None:
            self._tell(sum(self.outcome.trials.values()))

    async def _watch_lag(self) -> None:
        """This process's own lag, for the margins of the judge."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            if now - due > 0.03:
                for bench in self._active:
                    bench.record.lags.append((due, now - due))
            due = now + 0.01
            await asyncio.sleep(0.01)

    def _count(self, bench: _Bench, verdict: Verdict) -> None:
        outcome, record = self.outcome, verdict.record
        outcome.trials.update(str(trial.trouble) for trial in bench.done)
        outcome.sessions[f"{bench.session.client} → {bench.session.server}"] += 1
        counts = outcome.counts
        counts["orders on the wire"] += sum(not o.select and o.name != "watchdog" for o in record.orders)
        counts["orders judged within 0.3 s"] += sum(
            not o.select and o.name != "watchdog" and record.margin(o.at_s) <= 0.3 for o in record.orders
        )
        counts["signs of life"] += sum(order.name == "watchdog" for order in record.orders)
        counts["values told"] += len(record.told)
        counts["connections lost"] += len(record.downs)
        for act in record.acts:
            if act.what in ("request", "confirmed", "unknown", "refused"):
                counts[{"request": "requests", "refused": "refused by the station"}.get(act.what, act.what)] += 1
            elif act.what == "refusal":
                counts[f"refused: {act.name}"] += 1
        counts["kills followed by the relay's watchdog"] += bench.killed and not bench.lab.bay.watchdog_ok
        outcome.largest_lag_s = max([outcome.largest_lag_s, *(size for _, size in record.lags)])
        outcome.violations += [(bench.session.number, violation) for violation in verdict.violations]
