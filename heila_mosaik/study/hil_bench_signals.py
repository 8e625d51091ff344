"""Waiting for what happens in other threads and processes, for measurements of hardware in the loop."""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from heila_mosaik.study.hil_bench_figures import BenchError

LIMIT_S = 60.0
_POLL_S = 0.5


class Signals:
    """What happened when, waited for by the measurement; told from any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: list[tuple[Callable[[Any], bool], asyncio.Future[tuple[int, Any]]]] = []

    def tell(self, what: Any) -> None:
        """Something happened now."""
        at_ns = time.monotonic_ns()
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._settle, at_ns, what)

    def _settle(self, at_ns: int, what: Any) -> None:
        for wanted, future in list(self._waiting):
            if not future.done() and wanted(what):
                future.set_result((at_ns, what))
        self._waiting = [pair for pair in self._waiting if not pair[1].done()]

    def expect(self, wanted: Callable[[Any], bool]) -> asyncio.Future[tuple[int, Any]]:
        """The next thing that is wanted, with its monotonic time. [ns]"""
        future: asyncio.Future[tuple[int, Any]] = self._loop.create_future()
        self._waiting.append((wanted, future))
        return future


async def within(future: asyncio.Future[tuple[int, Any]], what: str) -> tuple[int, Any]:
    """Wait for something that has to come.

    Raises:
        BenchError: If it does not.
    """
    try:
        return await asyncio.wait_for(future, LIMIT_S)
    except TimeoutError:
        raise BenchError(f"{what} did not come within {LIMIT_S:g} s") from None


async def answer(pipe: Connection, what: str, limit_s: float = LIMIT_S) -> Any:
    """Next word of another process.

    Raises:
        BenchError: If the process ends or says nothing for ``limit_s``.
    """
    return await asyncio.to_thread(_answer, pipe, what, limit_s)


def _answer(pipe: Connection, what: str, limit_s: float) -> Any:
    end = time.monotonic() + limit_s
    try:
        # In short waits: a thread that blocks for ever would hold up the end of an interrupted measurement.
        while not pipe.poll(_POLL_S):
            if time.monotonic() > end:
                raise BenchError(f"{what} said nothing for {limit_s:g} s")
        return pipe.recv()
    except (EOFError, OSError):
        raise BenchError(f"the process of {what} has ended by itself; its last words are above") from None


@contextmanager
def child(target: Callable[[Any, Connection], None], plan: Any) -> Iterator[Connection]:
    """A process with a pipe; ends when the pipe closes."""
    context = mp.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_enter, args=(target, plan, theirs))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join(10.0)
        if process.is_alive():
            process.kill()
            process.join()


def _enter(target: Callable[[Any, Connection], None], plan: Any, pipe: Connection) -> None:
    # Ctrl-C reaches the whole process group; who measures ends the others in order.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    target(plan, pipe)
