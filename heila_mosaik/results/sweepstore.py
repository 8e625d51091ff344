"""Writer of a study folder: the journal of its runs and the dataset made of it.

Only the process that drives a sweep writes here.  Each outcome is one line of ``journal.jsonl``, on disk before the
sweep goes on; a line cut short by a crash is dropped when the folder is opened again.  The Parquet dataset under
``results/`` is made of the journal in the order of the plan and holds nothing of when, where and in how many attempts
a run was made: it has the same bytes whatever happened meanwhile.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from heila_mosaik.errors import HeilaError

JOURNAL, RESULTS, PLAN, TIMINGS, FAILURES, SOURCE = (
    "journal.jsonl",
    "results",
    "plan.parquet",
    "timings.parquet",
    "failures",
    "sweep.json",
)
_PART_ROWS = 5000


class StudyInUseError(HeilaError):
    """Another process drives a sweep in this folder."""

    exit_code = 2

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"{folder}: another heila sweep is at work here; wait for it or choose another --out")


class NotAStudyError(HeilaError):
    """A folder that holds something else."""

    exit_code = 2

    def __init__(self, folder: Path, reason: str) -> None:
        self.folder, self.reason = folder, reason
        super().__init__(f"{folder}: {reason}; give the folder that 'heila sweep' printed")


class OtherResultError(HeilaError):
    """A run that was made twice gave two results."""

    def __init__(self, key: str, figures: Sequence[str]) -> None:
        self.key, self.figures = key, tuple(figures)
        super().__init__(
            f"run {key} was made twice with different results ({', '.join(figures[:5])}): the runs depend on something "
            "beside scenario, code and data; compare the machines' packages, then report it"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Outcome of a run in the journal.

    Attributes:
        key: Run.
        status: ``done`` or ``failed``.
        figures: Key figures by dotted name, empty if it failed.
        cause: Why it failed.
        attempts: Attempts made so far.
        wall_s: Wall-clock time of the last attempt. [s]
        worker: Who made it.
    """

    key: str
    status: str
    figures: Mapping[str, float | str | None] = field(default_factory=dict)
    cause: str = ""
    attempts: int = 1
    wall_s: float = 0.0
    worker: str = ""


class SweepStore:
    """Study folder being written; use as a context manager."""

    def __init__(self, folder: Path, *, source: Mapping[str, Any], plan: pa.Table) -> None:
        """Open a folder, new or of an earlier call of the same study.

        Args:
            folder: Study folder.
            source: The sweep as it was asked for, for ``sweep.json``.
            plan: Runs in order; ``key`` comes first, then what is varied.

        Raises:
            NotAStudyError: If the folder holds something else.
            StudyInUseError: If another process is at work in it.
        """
        if folder.exists() and any(folder.iterdir()) and not (folder / SOURCE).is_file():
            raise NotAStudyError(folder, "the folder is not empty and holds no study")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.plan = folder, plan
        self._lock = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            raise StudyInUseError(folder) from error
        self.entries = read_journal(folder)
        _write(folder / SOURCE, (json.dumps(source, indent=1, ensure_ascii=False) + "\n").encode())
        pq.write_table(plan, folder / ".plan.tmp")
        (folder / ".plan.tmp").replace(folder / PLAN)
        self._journal = self._open()

    def _open(self) -> Any:
        """Open the journal behind its last whole line."""
        path = self.folder / JOURNAL
        if path.is_file():
            content = path.read_bytes()
            whole = content.rfind(b"\n") + 1
            if whole < len(content):
                with path.open("r+b") as file:
                    file.truncate(whole)
        return path.open("ab")

    def add(self, entries: Sequence[Entry]) -> None:
        """Note outcomes; they are on disk when this returns.

        Raises:
            OtherResultError: If a run was done before with another result.
        """
        lines = []
        for entry in entries:
            before = self.entries.get(entry.key)
            if before is not None and before.status == "done":
                if entry.status == "done" and dict(before.figures) != dict(entry.figures):
                    names = {*before.figures, *entry.figures}
                    differ = sorted(n for n in names if before.figures.get(n) != entry.figures.get(n))
                    raise OtherResultError(entry.key, differ)
                continue
            self.entries[entry.key] = entry
            lines.append(json.dumps(asdict(entry), separators=(",", ":"), ensure_ascii=False) + "\n")
        if not lines:
            return
        try:
            self._journal.write("".join(lines).encode())
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise HeilaError(
                f"{self.folder / JOURNAL}: cannot be written ({error.strerror}); free some space and run the same "
                "command again, what was done is kept"
            ) from error

    def explain(self, key: str, text: str) -> None:
        """Keep the traceback of a failed run as ``failures/<key>.txt``."""
        place = self.folder / FAILURES
        place.mkdir(exist_ok=True)
        (place / f"{key}.txt").write_text(text, encoding="utf-8")

    def publish(self) -> int:
        """Write dataset and timings from the journal; returns the number of rows."""
        keys = self.plan["key"].to_pylist()
        rows = [row for row, key in enumerate(keys) if (e := self.entries.get(key)) is not None and e.status == "done"]
        plan = self.plan.take(pa.array(rows, pa.int64()))
        done = [self.entries[keys[row]] for row in rows]
        table = _with_figures(plan, done)
        draft = self.folder / ".results.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        for part, start in enumerate(range(0, max(table.num_rows, 1), _PART_ROWS)):
            pq.write_table(table.slice(start, _PART_ROWS), draft / f"part-{part:05d}.parquet", compression="zstd")
        shutil.rmtree(self.folder / RESULTS, ignore_errors=True)
        draft.replace(self.folder / RESULTS)
        mine = [self.entries[key] for key in keys if key in self.entries]
        columns = ("key", "status", "cause", "attempts", "wall_s", "worker")
        timings = pa.table({name: [getattr(entry, name) for entry in mine] for name in columns})
        pq.write_table(timings, self.folder / TIMINGS)
        return len(done)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._journal.close()
        self._lock.close()


def read_journal(folder: Path) -> dict[str, Entry]:
    """Last outcome of every run in the journal of a study folder; a run that was done stays done."""
    path = folder / JOURNAL
    found: dict[str, Entry] = {}
    if not path.is_file():
        return found
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break  # cut short by a crash
            entry = Entry(**json.loads(line))
            before = found.get(entry.key)
            if before is None or before.status != "done":
                found[entry.key] = entry
    return found


def _with_figures(plan: pa.Table, done: Sequence[Entry]) -> pa.Table:
    names = sorted({name for entry in done for name in entry.figures} - set(plan.column_names))
    for name in names:
        values = [entry.figures.get(name) for entry in done]
        text = any(isinstance(value, str) for value in values)
        if text:
            column = pa.array([None if value is None else str(value) for value in values], pa.string())
        else:
            column = pa.array([None if value is None else float(value) for value in values], pa.float64())
        plan = plan.append_column(name, column)
    return plan


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.tmp")
    draft.write_bytes(content)
    draft.replace(path)
