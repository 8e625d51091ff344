"""The loop that carries a sweep out: what is handed out, what is noted, what is tried again.

It knows no cluster: a :class:`Crew` takes orders and reports.  Whatever a crew loses is handed out again; an outcome
counts when it stands in the journal.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from heila_mosaik.errors import HeilaError
from heila_mosaik.results.sweepstore import Entry, SweepStore
from heila_mosaik.study.sweep.work import Order, Outcome

TASK_S = 4.0
"""Wall-clock time a task should take: long against handing it out, short against what its loss costs. [s]"""

_MOST_RUNS = 500
_AHEAD = 2
_SLOWEST = 3


class NoWorkersError(HeilaError):
    """Nobody is left to work."""

    def __init__(self, cause: str) -> None:
        self.cause = cause
        super().__init__(
            f"no worker is left that can work; last cause: {cause}. What is done is kept: mend that and run the same "
            "command again"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a crew tells of one task.

    Attributes:
        task: Number of the task.
        outcomes: What became of its orders; orders that are missing were not made.
        lost: Why the whole task was lost: ``""`` if it was not, ``worker`` if it may have killed its worker,
            ``crew`` if the connection or the scheduler went.
        worker: Who made it, as :meth:`Crew.dismiss` takes it.
        detail: Words of the crew about the loss.
    """

    task: int
    outcomes: Sequence[Outcome] = ()
    lost: str = ""
    worker: str = ""
    detail: str = ""


class Crew(Protocol):
    """Workers."""

    def size(self) -> int:
        """Workers at hand now."""
        ...

    def submit(self, tasks: Mapping[int, Sequence[Order]]) -> None:
        """Hand out tasks by number."""
        ...

    def reports(self, timeout_s: float) -> list[Report]:
        """Tasks that ended since the last call; waits up to ``timeout_s`` for the first."""
        ...

    def dismiss(self, worker: str) -> None:
        """Give no more work to a worker whose node cannot work."""
        ...


@dataclass(slots=True, kw_only=True)
class Tally:
    """How far a sweep has come.

    Attributes:
        total: Runs of the plan.
        skipped: Runs done by an earlier call.
        done: Runs done now.
        failed: Runs given up.
        retried: Attempts that failed and were made again.
        lost: Tasks handed out again because their worker or the scheduler went.
        running: Orders handed out.
        workers: Workers at hand.
        mean_s: Mean wall-clock time of a run on its worker. [s]
        elapsed_s: Wall-clock time of this call. [s]
        slowest: Key and time of the slowest runs. [s]
    """

    total: int
    skipped: int = 0
    done: int = 0
    failed: int = 0
    retried: int = 0
    lost: int = 0
    running: int = 0
    workers: int = 0
    mean_s: float = 0.0
    elapsed_s: float = 0.0
    slowest: list[tuple[str, float]] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Runs to go."""
        return self.total - self.skipped - self.done - self.failed

    @property
    def eta_s(self) -> float | None:
        """Expected time to the end from the pace of this call; ``None`` before the first run. [s]"""
        return self.left * self.elapsed_s / self.done if self.done else None


@dataclass(slots=True)
class _Task:
    orders: tuple[Order, ...]
    exclusive: bool = False


class Drive:
    """One sweep being carried out."""

    def __init__(
        self,
        orders: Sequence[Order],
        store: SweepStore,
        crew: Crew,
        *,
        retries: int = 2,
        retry_failed: bool = False,
        notify: Callable[[Tally], None] | None = None,
    ) -> None:
        """Take up a sweep where the journal left it.

        Args:
            orders: Every run of the plan.
            store: Study folder.
            crew: Workers.
            retries: Further attempts at a run that failed or lost its worker.
            retry_failed: Whether runs that an earlier call gave up are tried again.
            notify: Told how far it has come.
        """
        self._store, self._crew, self._retries, self._notify = store, crew, retries, notify
        self.tally = Tally(total=len(orders))
        self._attempts: dict[str, int] = {}
        self._waiting: deque[Order] = deque()
        # Orders of a task that was lost with its worker, then those that were lost again though alone in their task.
        self._alone: deque[Order] = deque()
        self._suspects: deque[Order] = deque()
        for order in orders:
            before = store.entries.get(order.key)
            if before is None:
                self._waiting.append(order)
            elif before.status == "done":
                self.tally.skipped += 1
            elif retry_failed:
                self._waiting.append(order)
            else:
                self.tally.failed += 1
        self._out: dict[int, _Task] = {}
        self._number = 0
        self._wall_s = 0.0

    def run(self) -> Tally:
        """Carry the sweep out.

        Raises:
            NoWorkersError: If every node turned out unfit.
        """
        began = time.monotonic()
        while self._waiting or self._alone or self._suspects or self._out:
            self._hand_out()
            self._note(self._crew.reports(1.0))
            self.tally.elapsed_s = time.monotonic() - began
            self.tally.workers = self._crew.size()
            self.tally.running = sum(len(task.orders) for task in self._out.values())
            if self._notify is not None:
                self._notify(self.tally)
        return self.tally

    @property
    def handed_out(self) -> int:
        """Tasks handed out so far."""
        return self._number

    # ------------------------------------------------------------------ out

    def _hand_out(self) -> None:
        if self._suspects and not (self._waiting or self._alone or self._out):
            self._hand_out_suspect()
            return
        room = _AHEAD * max(1, self._crew.size()) - len(self._out)
        new: dict[int, tuple[Order, ...]] = {}
        while room > 0 and (self._alone or self._waiting):
            if self._alone:
                orders: tuple[Order, ...] = (self._alone.popleft(),)
            else:
                orders = tuple(self._waiting.popleft() for _ in range(self._runs_per_task()))
            self._out[self._number] = _Task(orders)
            new[self._number] = orders
            self._number += 1
            room -= 1
        if new:
            self._crew.submit(new)

    def _hand_out_suspect(self) -> None:
        """Try a run with nothing beside it.

        A crew tells which tasks a dead worker held, not which of them it was working on: only a run that was out by
        itself can be blamed.
        """
        orders = (self._suspects.popleft(),)
        self._out[self._number] = _Task(orders, exclusive=True)
        self._crew.submit({self._number: orders})
        self._number += 1

    def _runs_per_task(self) -> int:
        """Runs of the next task: about ``TASK_S`` of work, and at the end small enough to keep everyone busy."""
        if not self.tally.done:
            return 1
        by_time = int(TASK_S / max(self.tally.mean_s, 1e-6))
        by_balance = -(-len(self._waiting) // (2 * max(1, self._crew.size())))
        return max(1, min(by_time, by_balance, _MOST_RUNS, len(self._waiting)))

    # ------------------------------------------------------------------ in

    def _note(self, reports: Sequence[Report]) -> None:
        """Take reports and put what they settle on disk, all of them in one write."""
        kept: list[Entry] = []
        unfit = ""
        for report in reports:
            unfit = self._take(report, kept) or unfit
        self._store.add(kept)
        if unfit and self._crew.size() == 0:
            raise NoWorkersError(unfit)

    def _take(self, report: Report, kept: list[Entry]) -> str:
        """Take one report; returns why its node is unfit, if it is."""
        task = self._out.pop(report.task, None)
        if task is None:
            return ""
        if report.lost:
            self._lose(task, report, kept)
            return ""
        by_key = {order.key: order for order in task.orders}
        unfit = ""
        for outcome in report.outcomes:
            order = by_key.pop(outcome.key)
            if outcome.status == "unfit":
                unfit = outcome.cause
                self._waiting.appendleft(order)
                self._crew.dismiss(report.worker)
            elif (entry := self._judge(order, outcome)) is not None:
                kept.append(entry)
        # What stands behind a run that could not be made was not tried.
        self._waiting.extendleft(reversed(list(by_key.values())))
        return unfit

    def _judge(self, order: Order, outcome: Outcome) -> Entry | None:
        attempts = self._attempts.get(order.key, 0) + 1
        self._attempts[order.key] = attempts
        entry = Entry(
            key=order.key,
            status=outcome.status,
            figures=outcome.figures,
            cause=outcome.cause,
            attempts=attempts,
            wall_s=outcome.wall_s,
            worker=outcome.worker,
        )
        if outcome.status == "done":
            self._count(order.key, outcome.wall_s)
            return entry
        self._store.explain(order.key, outcome.trace)
        if not outcome.final and attempts <= self._retries:
            self.tally.retried += 1
            self._waiting.append(order)
            return None
        self.tally.failed += 1
        return entry

    def _lose(self, task: _Task, report: Report, kept: list[Entry]) -> None:
        self.tally.lost += 1
        if report.lost == "crew":
            self._waiting.extendleft(reversed(task.orders))
            return
        if len(task.orders) > 1:
            # One of them may kill its worker: alone, it harms nobody else and is found.
            self._alone.extend(task.orders)
            return
        (order,) = task.orders
        if not task.exclusive:
            self._suspects.append(order)
            return
        attempts = self._attempts.get(order.key, 0) + 1
        self._attempts[order.key] = attempts
        if attempts <= self._retries:
            self._suspects.append(order)
            return
        cause = f"its worker died in {attempts} of {attempts} attempts ({report.detail})"
        self._store.explain(order.key, cause + "\n")
        kept.append(Entry(key=order.key, status="failed", cause=cause, attempts=attempts))
        self.tally.failed += 1

    def _count(self, key: str, wall_s: float) -> None:
        self.tally.done += 1
        self._wall_s += wall_s
        self.tally.mean_s = self._wall_s / self.tally.done
        self.tally.slowest = sorted([*self.tally.slowest, (key, wall_s)], key=lambda each: -each[1])[:_SLOWEST]
