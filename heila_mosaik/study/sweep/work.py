"""What a worker does: runs of a sweep, one after the other, in one process.

Everything here is sent to and executed by workers; it knows nothing of who hands out the work.
"""

from __future__ import annotations

import errno
import os
import shutil
import socket
import tempfile
import threading
import time
import traceback
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from heila_mosaik.errors import HeilaError

Figures = dict[str, float | str | None]
_NODE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO})
_ONE = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One run to make.

    Attributes:
        key: Identity.
        job: What the work function needs.
    """

    key: str
    job: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A scenario to run.

    Attributes:
        scenario: Resolved scenario, JSON-able.
        folder: Folder its relative paths start from.
        baseline: Whether the day without trade is run too.
        keep: Whose run folders are kept: ``none``, ``failed`` or ``all``.
        study: Study folder, as the workers see it.
    """

    scenario: dict[str, Any]
    folder: str
    baseline: bool
    keep: str
    study: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an order.

    Attributes:
        key: Identity.
        status: ``done``, ``failed``, or ``unfit``: this node cannot work, the run itself is not to blame.
        figures: Key figures by dotted name.
        cause: Why it failed, one line.
        trace: Traceback.
        final: Whether another attempt is in vain.
        wall_s: Wall-clock time. [s]
        worker: Host and process.
    """

    key: str
    status: str
    figures: Figures = field(default_factory=dict)
    cause: str = ""
    trace: str = ""
    final: bool = False
    wall_s: float = 0.0
    worker: str = ""


class Work(Protocol):
    """Makes one run; sent to the workers by name."""

    def __call__(self, key: str, job: Any) -> Figures:
        """Key figures of the run."""
        ...


def carry_out(orders: Sequence[Order], work: Work) -> list[Outcome]:
    """Make some runs; an error of one does not touch the others, a node that cannot work stops at once."""
    found: list[Outcome] = []
    worker = f"{socket.gethostname()}:{os.getpid()}"
    for order in orders:
        before = time.perf_counter()
        try:
            with _ONE:  # mosaik and the compiled grids serve one run at a time in a process
                figures = work(order.key, order.job)
            outcome = Outcome(key=order.key, status="done", figures=figures)
        except Exception as error:  # whatever a run raises belongs to that run and is kept with it
            outcome = _failed(order.key, error)
        wall_s = time.perf_counter() - before
        found.append(_stamped(outcome, wall_s, worker))
        if outcome.status == "unfit":
            break
    return found


def _failed(key: str, error: Exception) -> Outcome:
    unfit = isinstance(error, MemoryError) or _errno(error) in _NODE
    return Outcome(
        key=key,
        status="unfit" if unfit else "failed",
        cause=f"{type(error).__name__}: {error}",
        trace="".join(traceback.format_exception(error)),
        # Our own errors say that the input is wrong or the physics does not close: it would be so again.
        final=isinstance(error, HeilaError) and not unfit,
    )


def _errno(error: BaseException | None) -> int | None:
    """Number of the system error behind an exception."""
    from heila_mosaik.results.store import DiskFullError  # noqa: PLC0415 - keeps this module quick to import

    while error is not None:
        if isinstance(error, DiskFullError):
            return errno.ENOSPC
        if isinstance(error, OSError) and error.errno is not None:
            return error.errno
        error = error.__cause__ or error.__context__
    return None


def _stamped(outcome: Outcome, wall_s: float, worker: str) -> Outcome:
    return Outcome(
        key=outcome.key,
        status=outcome.status,
        figures=outcome.figures,
        cause=outcome.cause,
        trace=outcome.trace,
        final=outcome.final,
        wall_s=round(wall_s, 4),
        worker=worker,
    )


_shelves: dict[str, Any] = {}


def equip(name: str, shelf: Any) -> None:
    """Give this process the grids of a sweep, made ready elsewhere."""
    _shelves.clear()
    _shelves[name] = shelf


def run_job(key: str, job: Job) -> Figures:
    """Run a scenario and return its key figures; the work function of real sweeps."""
    from heila_mosaik.results.compare import flat  # noqa: PLC0415 - slow imports belong to the worker
    from heila_mosaik.results.kpis import write_kpis  # noqa: PLC0415
    from heila_mosaik.study.run import run_scenario  # noqa: PLC0415
    from heila_mosaik.study.schema import Scenario  # noqa: PLC0415
    from heila_mosaik.study.shelf import Shelf  # noqa: PLC0415

    scenario = Scenario.model_validate(job.scenario).placed_in(Path(job.folder))
    shelf = _shelves.setdefault(job.study, Shelf())
    with _scratch(key, job) as folder:
        run_scenario(scenario, folder, baseline=job.baseline, shelf=shelf, with_net=job.keep == "all")
        return plain(flat(write_kpis(folder)))


def plain(figures: dict[str, Any]) -> Figures:
    """Key figures that fit a table: numbers and texts; lists of elements stay in the run folder."""
    return {
        name: value if value is None or isinstance(value, str) else float(value)
        for name, value in figures.items()
        if isinstance(value, int | float | str | type(None)) and ".elements." not in name
    }


@contextmanager
def _scratch(key: str, job: Job) -> Any:
    """Run folder on the worker's own disk, moved to the study folder in one step if it is to be kept."""
    with tempfile.TemporaryDirectory(prefix="heila-run-") as place:
        folder = Path(place) / "run"
        try:
            yield folder
        except Exception:
            if job.keep != "none":
                _keep(folder, Path(job.study) / "failed" / key)
            raise
        if job.keep == "all":
            _keep(folder, Path(job.study) / "runs" / key)


def _keep(folder: Path, final: Path) -> None:
    if not folder.is_dir() or not final.parent.parent.is_dir() or final.exists():
        return
    draft = final.with_name(f".{final.name}.{socket.gethostname()}.{os.getpid()}")
    try:
        final.parent.mkdir(exist_ok=True)
        shutil.copytree(folder, draft)
        draft.rename(final)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not final.exists():
            raise
