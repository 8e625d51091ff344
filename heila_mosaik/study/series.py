"""Time series of the user: CSV or Parquet tables with a zone-aware ``time`` column, checked strictly.

A table is regular (one step, no gap), holds numbers only and says its zone.  All problems are collected, with the
line of a CSV file or the row of a Parquet file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.errors import Problem, ProblemsError

WEATHER_COLUMNS = ("temperature_c", "irradiance_w_per_m2", "wind_m_per_s")
PRICE_COLUMNS = ("spot_eur_per_mwh",)
_MOST = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ZONE = "write times with their zone, for example 2016-08-22T10:00:00+00:00"


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesTable:
    """A regular table of numbers.

    Attributes:
        path: File it came from.
        grid: Time grid of the rows.
        columns: Names of the columns, in the order of the file.
        values: Numbers. (n_time, n_column)
    """

    path: Path
    grid: TimeGrid
    columns: tuple[str, ...]
    values: FloatArray

    def column(self, name: str) -> FloatArray:
        """Values of one column. (n_time,)"""
        return self.values[:, self.columns.index(name)]

    def on(self, grid: TimeGrid) -> FloatArray:
        """Values held over the intervals of another grid. (grid.count, n_column)

        Raises:
            ProblemsError: If the table does not cover the grid.
        """
        problems = coverage_problems(self.path, self.grid, grid)
        if problems:
            raise ProblemsError(f"series {self.path}", problems)
        first = (grid.start - self.grid.start).total_seconds()
        rows = (first + np.arange(grid.count) * grid.step_s) // self.grid.step_s
        return self.values[rows.astype(np.int64)]


def read_series(path: Path | str, required: Sequence[str] = (), period: TimeGrid | None = None) -> SeriesTable:
    """Read and check a table.

    Args:
        path: ``.csv`` or ``.parquet`` file.
        required: Columns it must hold beside ``time``; other columns are read too.
        period: Period it must cover.

    Raises:
        ProblemsError: With everything that is wrong.
    """
    file = Path(path)
    problems: list[Problem] = []
    table: SeriesTable | None = None
    if not file.is_file():
        problems.append(Problem(what="there is no such file", where=str(file), remedy="correct the path"))
    elif file.suffix.lower() == ".csv":
        table = _read_csv(file, required, problems)
    elif file.suffix.lower() == ".parquet":
        table = _read_parquet(file, required, problems)
    else:
        problems.append(
            Problem(what=f"unknown kind of file {file.suffix!r}", where=str(file), remedy="use .csv or .parquet")
        )
    if not problems and period is not None and table is not None:
        problems.extend(coverage_problems(file, table.grid, period))
    if problems or table is None:
        raise ProblemsError(f"series {file}", shortened(problems, str(file)))
    return table


def coverage_problems(path: Path, have: TimeGrid, want: TimeGrid) -> list[Problem]:
    """Problem if ``have`` does not cover ``want``."""
    if have.start <= want.start and want.stop <= have.stop:
        return []
    return [
        Problem(
            what=f"covers {have.start.isoformat()} to {have.stop.isoformat()}, "
            f"but {want.start.isoformat()} to {want.stop.isoformat()} is needed",
            where=str(path),
            remedy="choose a period inside the table, or extend the table (forecasts look beyond the end of a study)",
        )
    ]


def time_grid(seconds: IntArray, places: Sequence[str], problems: list[Problem]) -> TimeGrid | None:
    """Regular grid of times given in seconds since 1970, or ``None`` with problems added.

    Args:
        seconds: Times. [s] (n,)
        places: Where each time stands. (n,)
        problems: Problems are added here.
    """
    if len(seconds) < 2:
        problems.append(
            Problem(
                what="fewer than two rows",
                where=places[0] if places else "time",
                remedy="give at least two times, so that the step is known",
            )
        )
        return None
    steps = np.diff(seconds)
    forward = steps[steps > 0]
    values, counts = np.unique(forward if len(forward) else np.array([1]), return_counts=True)
    step_s = int(values[counts.argmax()])
    for position in np.flatnonzero(steps != step_s).tolist():
        step = int(steps[position])
        kind = "time goes back or repeats" if step <= 0 else "step changes"
        problems.append(
            Problem(
                what=f"{kind}: {step} s after {_at(seconds[position])}, elsewhere {step_s} s",
                where=places[position + 1],
                remedy="sort the rows, fill gaps and remove doubles; daylight saving shows here when the zone is wrong",
            )
        )
    if bool((steps != step_s).any()):
        return None
    return TimeGrid(start=_at(seconds[0]), step_s=step_s, count=len(seconds))


def column_problems(names: Sequence[str], required: Sequence[str], where: str) -> list[Problem]:
    """Missing and doubled columns."""
    problems = [
        Problem(what=f"column {name!r} stands twice", where=where, remedy="rename or remove one of them")
        for position, name in enumerate(names)
        if name in names[:position]
    ]
    for name in ("time", *required):
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"rename {near[0]!r} to it" if near else f"add it; there are: {', '.join(names[:12])}"
            problems.append(Problem(what=f"column {name!r} is missing", where=where, remedy=hint))
    return problems


def number_problems(values: FloatArray, names: Sequence[str], places: Sequence[str]) -> list[Problem]:
    """Values that are not finite; one problem a column, at the first bad row."""
    bad = ~np.isfinite(values)
    return [
        Problem(
            what=f"column {names[column]!r}: {int(bad[:, column].sum())} values missing or not finite",
            where=places[int(bad[:, column].argmax())],
            remedy="fill the gap; nothing is interpolated silently",
        )
        for column in np.flatnonzero(bad.any(axis=0)).tolist()
    ]


def zone_problem(kind: pa.DataType, where: str) -> Problem | None:
    """Problem if a Parquet time column carries no zone."""
    if not pa.types.is_timestamp(kind):
        return Problem(what=f"time is {kind}, not a timestamp", where=where, remedy=_ZONE)
    if kind.tz is None:
        return Problem(what="time has no zone", where=where, remedy="localise it, for example to UTC, before writing")
    return None


def parquet_seconds(column: pa.ChunkedArray) -> IntArray:
    """Times of a Parquet column. [s since 1970] (n,)"""
    return np.asarray(column.cast(pa.timestamp("s", "UTC")).cast(pa.int64()).to_numpy(), dtype=np.int64)


def _read_parquet(path: Path, required: Sequence[str], problems: list[Problem]) -> SeriesTable | None:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        problems.append(Problem(what=f"not readable as Parquet: {error}", where=str(path), remedy="write it again"))
        return None
    problems.extend(column_problems(table.column_names, required, str(path)))
    names = [name for name in table.column_names if name != "time"]
    for name in names:
        kind = table.schema.field(name).type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
            problems.append(
                Problem(what=f"column {name!r} is {kind}, not a number", where=str(path), remedy="convert it to float")
            )
    if problems:
        return None
    wrong_zone = zone_problem(table.schema.field("time").type, f"{path}, column time")
    if wrong_zone is not None or table["time"].null_count:
        lost = Problem(what="missing times", where=f"{path}, column time", remedy="give every row its time")
        problems.append(wrong_zone or lost)
        return None
    places = [f"{path}, row {row}" for row in range(table.num_rows)]
    grid = time_grid(parquet_seconds(table["time"]), places, problems)
    values = np.empty((table.num_rows, len(names)))
    for position, name in enumerate(names):
        values[:, position] = table[name].cast(pa.float64()).to_numpy()
    problems.extend(number_problems(values, names, places))
    return None if grid is None else SeriesTable(path=path, grid=grid, columns=tuple(names), values=values)


def _read_csv(path: Path, required: Sequence[str], problems: list[Problem]) -> SeriesTable | None:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (UnicodeDecodeError, OSError) as error:
        problems.append(Problem(what=f"cannot be read: {error}", where=str(path), remedy="save it as UTF-8 text"))
        return None
    reader = csv.reader(text.splitlines())
    names = [name.strip() for name in next(reader, [])]
    if len(names) == 1 and ";" in names[0]:
        remedy = "separate with commas and write numbers with a decimal point"
        problems.append(Problem(what="columns are separated by semicolons", where=f"{path}:1", remedy=remedy))
        return None
    problems.extend(column_problems(names, required, f"{path}:1"))
    if problems:
        return None
    rows = [(row, f"{path}:{reader.line_num}") for row in reader if row]
    at = names.index("time")
    times: list[int] = []
    numbers: list[list[float]] = []
    for row, place in rows:
        if len(row) != len(names):
            what = f"{len(row)} fields, but the header has {len(names)}"
            problems.append(Problem(what=what, where=place, remedy="give every row all its fields"))
            continue
        _take_time(row[at], place, times, problems)
        numbers.append([_number(cell, place, problems) for column, cell in enumerate(row) if column != at])
    if problems:
        return None
    places = [place for _row, place in rows]
    columns = [name for name in names if name != "time"]
    grid = time_grid(np.asarray(times, dtype=np.int64), places, problems)
    values = np.asarray(numbers, dtype=np.float64).reshape(len(numbers), len(columns))
    problems.extend(number_problems(values, columns, places))
    return None if grid is None else SeriesTable(path=path, grid=grid, columns=tuple(columns), values=values)


def _take_time(text: str, place: str, times: list[int], problems: list[Problem]) -> None:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        problems.append(Problem(what=f"{text!r} is not an ISO 8601 time", where=place, remedy=_ZONE))
        return
    if moment.tzinfo is None:
        problems.append(Problem(what=f"time {text!r} has no zone", where=place, remedy=_ZONE))
        return
    times.append(round((moment - _EPOCH).total_seconds()))


def _number(text: str, place: str, problems: list[Problem]) -> float:
    try:
        return float(text) if text.strip() else math.nan
    except ValueError:
        what = f"{text!r} is not a number"
        problems.append(Problem(what=what, where=place, remedy="write a number with a decimal point"))
        return math.nan


def _at(seconds: int | np.int64) -> datetime:
    return _EPOCH + timedelta(seconds=int(seconds))


def shortened(problems: list[Problem], where: str) -> list[Problem]:
    """First problems of many: a wrong zone makes every row wrong; the first ones tell it."""
    if len(problems) <= _MOST:
        return problems
    rest = len(problems) - _MOST
    return [
        *problems[:_MOST],
        Problem(what=f"and {rest} more of the kind", where=where, remedy="mend the ones above first"),
    ]
