"""A crew of Dask workers, and what it takes to outlive them and their scheduler."""

from __future__ import annotations

import queue
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from functools import partial
from typing import Any, Self

from distributed import Client, KilledWorker, Worker, WorkerPlugin, get_worker
from distributed.comm.core import CommClosedError

from heila_mosaik.errors import HeilaError
from heila_mosaik.study.sweep.drive import Report
from heila_mosaik.study.sweep.keys import code_version
from heila_mosaik.study.sweep.work import Order, Outcome, Work, carry_out, equip

_PLUGIN = "heila-sweep"
_CONNECT_S = 10.0
_LOOK_S = 2.0


class OtherCodeError(HeilaError):
    """A worker runs other code than the one that planned the sweep."""

    def __init__(self, worker: str, theirs: str, ours: str) -> None:
        self.worker, self.theirs, self.ours = worker, theirs, ours
        super().__init__(
            f"worker {worker} runs heila-mosaik {theirs}, this process {ours}: their results are not of one kind; "
            "install the same packages on both (the version holds a checksum of the code and its numerical packages)"
        )


class SchedulerGoneError(HeilaError):
    """The scheduler went and did not come back."""

    def __init__(self, address: str, waited_s: float) -> None:
        self.address, self.waited_s = address, waited_s
        super().__init__(
            f"the scheduler {address} did not answer for {waited_s:.0f} s; what is done is kept: start it and run the "
            "same command again"
        )


class Equip(WorkerPlugin):
    """Gives every worker, also one that joins later, the grids of the sweep."""

    def __init__(self, name: str, shelf: Any) -> None:
        self.name = _PLUGIN
        self._sweep, self._shelf = name, shelf

    def setup(self, worker: Worker) -> None:  # noqa: ARG002 - signature of Dask
        """Take the grids."""
        equip(self._sweep, self._shelf)


def on_worker(orders: Sequence[Order], work: Work, code: str) -> tuple[str, list[Outcome]]:
    """Carry a task out; returns the worker's address and the outcomes.

    Raises:
        OtherCodeError: If the worker's code differs.
    """
    address = str(get_worker().address)
    if code and code_version() != code:
        raise OtherCodeError(address, code_version(), code)
    return address, carry_out(orders, work)


class DaskCrew:
    """Workers of a Dask scheduler; use as a context manager."""

    def __init__(
        self, address: str, work: Work, *, name: str = "", shelf: Any = None, code: str = "", patience_s: float = 300.0
    ) -> None:
        """Connect.

        Args:
            address: Scheduler, ``tcp://host:port``.
            work: Makes one run.
            name: Sweep, as its jobs name it.
            shelf: Grids for the workers; ``None`` sends none.
            code: Code version the workers must have; empty: whatever they have.
            patience_s: How long a scheduler may be gone. [s]

        Raises:
            SchedulerGoneError: If there is no scheduler.
        """
        self.address, self._work, self._code, self._patience_s = address, work, code, patience_s
        self._plugin = Equip(name, shelf) if shelf is not None else None
        self._ended: queue.SimpleQueue[tuple[int, int, Any]] = queue.SimpleQueue()
        self._futures: dict[int, Any] = {}
        self._era = 0
        self._looked, self._workers = 0.0, 0
        self._client: Client | None = None
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._drop()

    @property
    def dashboard(self) -> str:
        """Address of Dask's page, empty if the scheduler has none."""
        if self._client is None or "dashboard" not in self._client.scheduler_info().get("services", {}):
            return ""
        return str(self._client.dashboard_link)

    def size(self) -> int:
        """Workers at hand, looked up every few seconds."""
        now = time.monotonic()
        if now - self._looked > _LOOK_S or not self._workers:
            with suppress(OSError, CommClosedError, TimeoutError):
                self._workers = len(self._running().scheduler_info(n_workers=-1)["workers"])
            self._looked = now
        return self._workers

    def submit(self, tasks: Mapping[int, Sequence[Order]]) -> None:
        """Hand out tasks, all of them in one message."""
        client, era = self._running(), self._era
        # A run is a pure function, but its task must not share a key with one that failed before.
        futures = client.map(
            on_worker,
            [list(orders) for orders in tasks.values()],
            key=[f"heila-{era}-{task}-{id(self):x}" for task in tasks],
            pure=False,
            work=self._work,
            code=self._code,
        )
        for task, future in zip(tasks, futures, strict=True):
            self._futures[task] = future
            future.add_done_callback(partial(self._end, era, task))  # type: ignore[no-untyped-call]

    def _end(self, era: int, task: int, future: Any) -> None:
        """Called in a thread of Dask's: only note it."""
        self._ended.put((era, task, future))

    def reports(self, timeout_s: float) -> list[Report]:
        """Tasks that ended.

        Raises:
            SchedulerGoneError: If the scheduler went and did not come back.
            OtherCodeError: If a worker runs other code.
        """
        ended: list[tuple[int, int, Any]] = []
        with suppress(queue.Empty):
            ended.append(self._ended.get(timeout=timeout_s))
            while True:
                ended.append(self._ended.get_nowait())
        found = self._reported({task: f for era, task, f in ended if era == self._era and task in self._futures})
        if self._client is None or self._client.status != "running":
            found += self._recover()
        return found

    def dismiss(self, worker: str) -> None:
        """Retire a worker whose node cannot work; it ends, and its supervisor may start it elsewhere."""
        with suppress(OSError, CommClosedError, TimeoutError, ValueError):
            self._running().retire_workers([worker], close_workers=True, remove=True)
        self._looked = 0.0
        time.sleep(0.2)  # the scheduler forgets it with its next message

    # ------------------------------------------------------------------ inside

    def _running(self) -> Client:
        if self._client is None:
            raise SchedulerGoneError(self.address, 0.0)
        return self._client

    def _reported(self, ended: Mapping[int, Any]) -> list[Report]:
        found: list[Report] = []
        finished = {task: future for task, future in ended.items() if future.status == "finished"}
        for task, future in ended.items():
            del self._futures[task]
            if task not in finished:
                found.append(self._without_result(task, future))
        if finished:
            try:
                results = self._running().gather(list(finished.values()))  # type: ignore[no-untyped-call]
            except (OSError, CommClosedError, TimeoutError, CancelledError) as error:
                return [*found, *(Report(task=task, lost="crew", detail=str(error)) for task in finished)]
            for (task, future), (worker, outcomes) in zip(finished.items(), results, strict=True):
                future.release()
                found.append(Report(task=task, outcomes=outcomes, worker=worker))
        return found

    @staticmethod
    def _without_result(task: int, future: Any) -> Report:
        if future.status != "error":
            return Report(task=task, lost="crew", detail=f"task {future.status}")
        cause = future.exception()
        if isinstance(cause, HeilaError):
            raise cause
        if isinstance(cause, KilledWorker):
            return Report(task=task, lost="worker", detail=str(cause).split(".", maxsplit=1)[0])
        return Report(task=task, lost="worker", detail=f"{type(cause).__name__}: {cause}")

    def _recover(self) -> list[Report]:
        """Connect again; everything that was out is lost."""
        lost = [Report(task=task, lost="crew", detail="the scheduler went") for task in self._futures]
        self._drop()
        self._connect()
        return lost

    def _connect(self) -> None:
        began = time.monotonic()
        while True:
            try:
                self._client = self._new_client()
            except (OSError, CommClosedError, TimeoutError) as error:
                waited_s = time.monotonic() - began
                if waited_s > self._patience_s:
                    raise SchedulerGoneError(self.address, waited_s) from error
                time.sleep(min(1.0, self._patience_s))
            else:
                return

    def _new_client(self) -> Client:
        client = Client(self.address, timeout=_CONNECT_S, set_as_default=False)  # type: ignore[no-untyped-call]
        if self._plugin is not None:
            client.register_plugin(self._plugin)
        return client

    def _drop(self) -> None:
        self._era += 1
        self._futures.clear()
        self._looked, self._workers = 0.0, 0
        client, self._client = self._client, None
        if client is not None:
            with suppress(Exception):  # a connection that is gone may complain in any way while it is closed
                client.close(timeout=2.0)  # type: ignore[no-untyped-call]
