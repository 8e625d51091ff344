"""Writer of a run folder.

A run folder appears at once under its final name and is never written twice.  Series, messages and records go out as
Parquet parts while the run goes: a killed run keeps everything but the part that was being filled.  The data files
hold simulated time only and have the same bytes for the same scenario and seed; wall-clock time stands in the
manifest alone.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from heila_mosaik.actors.base import Record
from heila_mosaik.domain.codec import to_json_dict
from heila_mosaik.domain.information import Message
from heila_mosaik.errors import HeilaError
from heila_mosaik.results.manifest import Manifest

_TIME = pa.timestamp("us", tz="UTC")
MESSAGES_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("sender", pa.string()),
        ("receiver", pa.string()),
        ("kind", pa.string()),
        ("sent_at", _TIME),
        ("delivered_at", _TIME),
        ("status", pa.string()),
        ("body", pa.string()),
    ]
)
RECORDS_SCHEMA = pa.schema(
    [("at", _TIME), ("actor", pa.string()), ("event", pa.string()), ("detail", pa.string()), ("values", pa.string())]
)


class RunFolderExistsError(HeilaError):
    """A run folder is never overwritten."""

    exit_code = 2

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"{folder} exists; a run folder is never overwritten: choose another --out or remove it")


class DiskFullError(HeilaError):
    """No room for the results."""

    def __init__(self, folder: Path, free_mb: float, needed_mb: float) -> None:
        self.folder, self.free_mb, self.needed_mb = folder, free_mb, needed_mb
        super().__init__(
            f"{folder}: {free_mb:.0f} MB free, {needed_mb:.0f} MB wanted to go on; what was written so far is kept. "
            "Free some space or choose another --out"
        )


class SeriesWriter:
    """One table of a fixed set of columns, filled row by row into preallocated memory."""

    def __init__(self, store: RunStore, name: str, columns: Sequence[str], part_rows: int) -> None:
        if len(set(columns)) != len(columns) or "time" in columns:
            raise ValueError(f"series {name}: column names must differ from each other and from 'time'")
        self.name = name
        self.columns = tuple(columns)
        self._store = store
        self._times = np.zeros(part_rows, dtype=np.int64)
        self._values = np.zeros((part_rows, len(self.columns)))
        self._schema = pa.schema([("time", pa.int64()), *((column, pa.float64()) for column in self.columns)])
        self._filled = 0
        self._parts = 0

    def append(self, time_s: int, values: npt.ArrayLike) -> None:
        """Add one row.

        Args:
            time_s: Simulated time, epoch seconds UTC. [s]
            values: One value per column. (n,)
        """
        self._times[self._filled] = time_s
        self._values[self._filled] = values
        self._filled += 1
        if self._filled == len(self._times):
            self.flush()

    def flush(self) -> None:
        """Write the rows held in memory as one part."""
        if not self._filled:
            return
        block = np.ascontiguousarray(self._values[: self._filled].T)
        arrays = [pa.array(self._times[: self._filled]), *(pa.array(column) for column in block)]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        self._store.write_part(f"series/{self.name}", self._parts, table)
        self._parts += 1
        self._filled = 0


class RowsWriter:
    """Rows of mixed types (messages, records), written in parts."""

    def __init__(self, store: RunStore, folder: str, schema: pa.Schema, part_rows: int) -> None:
        self._store, self._folder, self._schema, self._part_rows = store, folder, schema, part_rows
        self._rows: list[tuple[Any, ...]] = []
        self._parts = 0

    def append(self, row: tuple[Any, ...]) -> None:
        """Add one row in the order of the schema."""
        self._rows.append(row)
        if len(self._rows) >= self._part_rows:
            self.flush()

    def flush(self) -> None:
        """Write the rows held in memory as one part."""
        if not self._rows:
            return
        columns = zip(*self._rows, strict=True)
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._store.write_part(self._folder, self._parts, pa.Table.from_arrays(arrays, schema=self._schema))
        self._parts += 1
        self._rows = []


class RunStore:
    """Run folder being written; use as a context manager.

    Leaving the block without an error marks the run ``complete``; an error or Ctrl-C writes what is in memory and
    marks it ``incomplete`` with the reason.
    """

    def __init__(
        self,
        folder: Path,
        *,
        scenario_yaml: str,
        name: str,
        seed: int,
        part_rows: int = 480,
        min_free_mb: float = 200.0,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Create the folder.

        Args:
            folder: Final place; must not exist.
            scenario_yaml: Resolved scenario.
            name: Name of the study.
            seed: Seed of the study.
            part_rows: Rows of one Parquet part.
            min_free_mb: Free disk below which writing stops. [MB]
            provenance: Facts for the manifest, JSON-able (grid checksum, scenario files, engine rung ...).

        Raises:
            RunFolderExistsError: If the folder exists.
            DiskFullError: If the disk is nearly full.
        """
        self.folder = folder
        self._part_rows, self._min_free_mb = part_rows, min_free_mb
        if folder.exists():
            raise RunFolderExistsError(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._check_disk(folder.parent)
        self._manifest = Manifest.begin(name=name, seed=seed, provenance=dict(provenance or {}))
        draft = folder.parent / f".{folder.name}.{os.getpid()}"
        draft.mkdir()
        (draft / "scenario.resolved.yaml").write_text(scenario_yaml, encoding="utf-8")
        (draft / "log.jsonl").touch()
        self._manifest.write(draft)
        draft.rename(folder)
        self._series: dict[str, SeriesWriter] = {}
        self._messages = RowsWriter(self, "messages", MESSAGES_SCHEMA, max(part_rows, 1000))
        self._records = RowsWriter(self, "records", RECORDS_SCHEMA, max(part_rows, 1000))
        self._further: list[RowsWriter] = []
        self._log = (folder / "log.jsonl").open("a", encoding="utf-8")
        self._closed = False

    def series(self, name: str, columns: Sequence[str]) -> SeriesWriter:
        """Open a table of float columns; ``time`` (epoch seconds UTC) comes first by itself."""
        if name in self._series:
            raise ValueError(f"series {name} is open already")
        self._series[name] = SeriesWriter(self, name, columns, self._part_rows)
        return self._series[name]

    def rows(self, folder: str, schema: pa.Schema, part_rows: int = 10_000) -> RowsWriter:
        """Open a further table of mixed types under its own folder."""
        writer = RowsWriter(self, folder, schema, part_rows)
        self._further.append(writer)
        return writer

    def message(self, message: Message, *, delivered_at: datetime | None, status: str = "delivered") -> None:
        """Record a message; ``delivered_at`` is ``None`` when it was lost."""
        body = orjson.dumps(to_json_dict(message.body)).decode()
        kind = type(message.body).__name__
        self._messages.append(
            (message.id, message.sender, message.receiver, kind, message.sent_at, delivered_at, status, body)
        )

    def record(self, record: Record) -> None:
        """Record a decision or figure of an actor."""
        values = orjson.dumps(dict(sorted(record.values.items())), option=orjson.OPT_SERIALIZE_NUMPY).decode()
        self._records.append((record.at, record.actor, record.event, record.detail, values))

    def log(self, event: str, **values: float | str | bool | None) -> None:
        """Add a line to ``log.jsonl``; simulated time only, no wall clock."""
        self._log.write(json.dumps({"event": event, **values}, ensure_ascii=False) + "\n")
        self._log.flush()

    def write_json(self, name: str, value: Any) -> None:
        """Write a JSON file such as ``grid.json`` or ``kpis.json``."""
        text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True)
        self._replace(self.folder / name, (text + "\n").encode())

    def failure(self, name: str, files: Mapping[str, str | bytes]) -> Path:
        """Keep the inputs of a failed step under ``failed/<name>/`` so that it can be replayed."""
        place = self.folder / "failed" / name
        place.mkdir(parents=True, exist_ok=True)
        for file_name, content in files.items():
            (place / file_name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return place

    def note(self, **provenance: Any) -> None:
        """Add facts to the manifest's provenance."""
        self._manifest.provenance.update(provenance)

    def write_part(self, folder: str, part: int, table: pa.Table) -> None:
        """Write one Parquet part under its final name at once."""
        self._check_disk(self.folder)
        place = self.folder / folder
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"part-{part:05d}.parquet"
        draft = path.with_suffix(".tmp")
        try:
            # Floats of a simulation hardly repeat: a dictionary costs time and saves nothing.
            pq.write_table(table, draft, compression="zstd", compression_level=1, use_dictionary=False, version="2.6")
        except OSError as error:
            draft.unlink(missing_ok=True)
            raise self._disk_error(error) from error
        draft.rename(path)
        self._manifest.add_file(path, self.folder)

    def finish(self, status: str = "complete", reason: str = "") -> None:
        """Write what is in memory and close the manifest; only the first call counts."""
        if self._closed:
            return
        self._closed = True
        try:
            for series in self._series.values():
                series.flush()
            self._messages.flush()
            self._records.flush()
            for rows in self._further:
                rows.flush()
        except HeilaError as error:
            status, reason = "incomplete", reason or str(error)
            raise
        finally:
            self._log.close()
            self._manifest.end(self.folder, status, reason)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
            return
        reason = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{type(error).__name__}: {error}"
        try:
            self.finish("incomplete", reason)
        except HeilaError as again:
            # The first error is the one to report; the second (a full disk, again) only cut the last part.
            error.add_note(f"the last part could not be written: {again}")

    def _replace(self, path: Path, content: bytes) -> None:
        draft = path.with_name(f".{path.name}.tmp")
        try:
            draft.write_bytes(content)
        except OSError as error:
            raise self._disk_error(error) from error
        draft.replace(path)

    def _check_disk(self, place: Path) -> None:
        free_mb = shutil.disk_usage(place).free / 1e6
        if free_mb < self._min_free_mb:
            raise DiskFullError(self.folder, free_mb, self._min_free_mb)

    def _disk_error(self, error: OSError) -> HeilaError:
        free_mb = shutil.disk_usage(self.folder).free / 1e6
        failure: HeilaError = DiskFullError(self.folder, free_mb, self._min_free_mb)
        return failure if error.errno in (28, 122) else HeilaError(f"{self.folder}: cannot be written: {error}")
