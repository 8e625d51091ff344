"""A crew of one: this process."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from heila_mosaik.study.sweep.drive import Report
from heila_mosaik.study.sweep.work import Order, Work, carry_out


class InProcess:
    """Makes each task when it is asked for reports; for debugging and as the bare loop of benchmarks."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._tasks: deque[tuple[int, Sequence[Order]]] = deque()
        self._fit = True

    def size(self) -> int:
        """One, or none after this node turned out unfit."""
        return int(self._fit)

    def submit(self, tasks: Mapping[int, Sequence[Order]]) -> None:
        """Queue tasks."""
        self._tasks.extend(tasks.items())

    def reports(self, timeout_s: float) -> list[Report]:  # noqa: ARG002 - nothing to wait for
        """Make the next task."""
        if not self._tasks:
            return []
        task, orders = self._tasks.popleft()
        return [Report(task=task, outcomes=carry_out(orders, self._work), worker="here")]

    def dismiss(self, worker: str) -> None:  # noqa: ARG002 - there is only one
        """Stop working."""
        self._fit = False
