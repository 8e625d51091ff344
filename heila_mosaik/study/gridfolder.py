"""Grid folders: a pandapower net, its profiles and its microgrids, read and checked as a whole.

A folder holds ``net.json`` (pandapower), ``profiles.parquet`` or ``profiles.csv`` (zone-aware ``time`` and relative
profiles), ``microgrids.yaml`` and, if it is frozen, ``checksums.sha256``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.diagnosis import load_net
from heila_mosaik.gridmodel.nettables import NetTables, net_tables
from heila_mosaik.study.microgrid_file import MicrogridFile, MicrogridPart, profile_columns
from heila_mosaik.study.series import (
    column_problems,
    coverage_problems,
    number_problems,
    parquet_seconds,
    read_series,
    shortened,
    time_grid,
    zone_problem,
)
from heila_mosaik.study.yamlfile import Document, read_yaml

NET, MICROGRIDS, CHECKSUMS = "net.json", "microgrids.yaml", "checksums.sha256"
PROFILES = ("profiles.parquet", "profiles.csv")
_NO_DOCUMENT = Document()
_LOAD_SUFFIXES = ("_pload", "_qload")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiles:
    """Profile table of a grid folder, read by window and column.

    Attributes:
        path: File.
        grid: Time grid of the whole table.
        columns: Profile columns, without ``time``.
        values: The whole table when it came from CSV; Parquet is read when asked for. (n_time, n_column)
    """

    path: Path
    grid: TimeGrid
    columns: tuple[str, ...]
    values: FloatArray | None = None

    def read(self, columns: Sequence[str], start: datetime, stop: datetime) -> tuple[TimeGrid, FloatArray]:
        """Relative profiles of the rows whose intervals touch ``start`` to ``stop``.

        Args:
            columns: Names, in the order wanted.
            start: Start of the window, aware UTC.
            stop: End of the window, aware UTC.

        Returns:
            Time grid of the rows and values ``(n_time, len(columns))``.

        Raises:
            ProblemsError: If the table does not cover the window or lacks a column.
        """
        wanted = TimeGrid(start=start, step_s=max(1, int((stop - start).total_seconds())), count=1)
        problems = coverage_problems(self.path, self.grid, wanted)
        problems += [
            _unknown_profile(name, self.columns, str(self.path)) for name in columns if name not in self.columns
        ]
        if problems:
            raise ProblemsError(f"profiles {self.path}", problems)
        first = self.grid.position(start)
        last = -((self.grid.start - stop) // (self.grid.at(1) - self.grid.at(0)))
        grid = TimeGrid(start=self.grid.at(first), step_s=self.grid.step_s, count=last - first)
        if self.values is not None:
            return grid, self.values[first:last, [self.columns.index(name) for name in columns]]
        return grid, _parquet_rows(self.path, columns, first, last)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridFolder:
    """A checked grid folder.

    Attributes:
        name: Name of the folder.
        path: Folder.
        net_path: pandapower JSON.
        net: The net; copy it before changing it.
        tables: Buses, loads and static generators of the net as plain values.
        profiles: Profile table.
        microgrids: Microgrids in the order of the file.
        checksums: SHA-256 of each file by name, as found.
        warnings: What is odd but does not stop a study.
    """

    name: str
    path: Path
    net_path: Path
    net: Any
    tables: NetTables
    profiles: Profiles
    microgrids: tuple[MicrogridPart, ...]
    checksums: Mapping[str, str]
    warnings: tuple[Problem, ...]


def load_grid_folder(path: Path | str, *, frozen: bool = False, also: Sequence[MicrogridPart] = ()) -> GridFolder:
    """Read and check a grid folder.

    Args:
        path: Folder.
        frozen: A file that differs from ``checksums.sha256`` is an error; otherwise a warning.
        also: Microgrids besides those of the folder.

    Raises:
        ProblemsError: With everything that is wrong.
    """
    folder = Path(path)
    if not folder.is_dir():
        problem = Problem(what="there is no such folder", where=str(folder), remedy="correct the path of the grid")
        raise ProblemsError(f"grid {folder}", [problem])
    problems: list[Problem] = []
    found, differences = _checksums(folder)
    problems += differences if frozen else []
    net, tables = _net(folder / NET, problems)
    profiles = _profiles(folder, problems)
    document = read_yaml(folder / MICROGRIDS)
    microgrids = _microgrids(document, folder / MICROGRIDS, problems)
    if tables is not None:
        problems += _net_problems(tables, profiles, folder / NET)
    used: dict[str, str] = {}
    problems += _microgrid_problems(microgrids, document, Path(MICROGRIDS), tables, profiles, used)
    problems += _microgrid_problems(also, _NO_DOCUMENT, Path("microgrids.also"), tables, profiles, used)
    if problems or tables is None or profiles is None:
        raise ProblemsError(f"grid {folder}", problems)
    return GridFolder(
        name=folder.resolve().name,
        path=folder,
        net_path=folder / NET,
        net=net,
        tables=tables,
        profiles=profiles,
        microgrids=(*microgrids, *also),
        checksums=found,
        warnings=() if frozen else tuple(differences),
    )


def _checksums(folder: Path) -> tuple[dict[str, str], list[Problem]]:
    names = [name for name in (NET, *PROFILES, MICROGRIDS) if (folder / name).is_file()]
    found = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}
    listing = folder / CHECKSUMS
    problems: list[Problem] = []
    if not listing.is_file():
        return found, problems
    remedy = f"restore the file, or, if the change is meant, write the new sum into {CHECKSUMS} (sha256sum)"
    for number, line in enumerate(listing.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        stated, _, name = line.partition("  ")
        name = name.strip()
        if line.strip() and found.get(name) != stated.strip():
            what = f"{name or line!r} differs from its checksum" if name in found else f"{name or line!r} is missing"
            problems.append(Problem(what=what, where=f"{listing}:{number}", remedy=remedy))
    return found, problems


def _net(path: Path, problems: list[Problem]) -> tuple[Any, NetTables | None]:
    try:
        net = load_net(path)
    except ProblemsError as error:
        problems.extend(error.problems)
        return None, None
    return net, net_tables(net)


def _profiles(folder: Path, problems: list[Problem]) -> Profiles | None:
    path = next((folder / name for name in PROFILES if (folder / name).is_file()), None)
    if path is None:
        remedy = "write a table with a zone-aware column time and one column a profile"
        problems.append(Problem(what=f"no {' or '.join(PROFILES)}", where=str(folder), remedy=remedy))
        return None
    try:
        if path.suffix == ".csv":
            table = read_series(path)
            return Profiles(path=path, grid=table.grid, columns=table.columns, values=table.values)
        return _scan_parquet(path)
    except ProblemsError as error:
        problems.extend(error.problems)
    except (pa.ArrowException, OSError) as error:
        problems.append(Problem(what=f"not readable as Parquet: {error}", where=str(path), remedy="write it again"))
    return None


def _scan_parquet(path: Path) -> Profiles:
    """Check a profile table by row groups, so that years of profiles need little memory."""
    file = pq.ParquetFile(path)
    schema = file.schema_arrow
    problems = column_problems(schema.names, (), str(path))
    names = [name for name in schema.names if name != "time"]
    problems += [
        Problem(what=f"column {name!r} is {schema.field(name).type}", where=str(path), remedy="convert it to float")
        for name in names
        if not pa.types.is_floating(schema.field(name).type)
    ]
    if not problems:
        wrong = zone_problem(schema.field("time").type, f"{path}, column time")
        problems += [wrong] if wrong is not None else []
    if problems:
        raise ProblemsError(str(path), problems)
    times = file.read(columns=["time"])["time"]
    if times.null_count:
        lost = Problem(what="missing times", where=f"{path}, column time", remedy="give every row its time")
        raise ProblemsError(str(path), [lost])
    grid = time_grid(parquet_seconds(times), [f"{path}, row {row}" for row in range(len(times))], problems)
    first = 0
    for group in range(file.num_row_groups):
        rows = file.read_row_group(group, columns=names)
        places = [f"{path}, row {first + row}" for row in range(rows.num_rows)]
        problems += number_problems(_matrix(rows, names), names, places)
        first += rows.num_rows
    if problems or grid is None:
        raise ProblemsError(str(path), shortened(problems, str(path)))
    return Profiles(path=path, grid=grid, columns=tuple(names))


def _parquet_rows(path: Path, columns: Sequence[str], first: int, last: int) -> FloatArray:
    file = pq.ParquetFile(path)
    unique = list(dict.fromkeys(columns))
    parts, begin = [], 0
    for group in range(file.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        if begin < last and first < end:
            rows = _matrix(file.read_row_group(group, columns=unique), unique)
            parts.append(rows[max(first - begin, 0) : last - begin])
        begin = end
    table = np.concatenate(parts) if parts else np.empty((0, len(unique)))
    return table[:, [unique.index(name) for name in columns]]


def _matrix(rows: pa.Table, names: Sequence[str]) -> FloatArray:
    values = np.empty((rows.num_rows, len(names)))
    for position, name in enumerate(names):
        values[:, position] = rows[name].cast(pa.float64()).to_numpy()
    return values


def _microgrids(document: Document, path: Path, problems: list[Problem]) -> tuple[MicrogridPart, ...]:
    problems.extend(document.problems)
    if document.problems and document.data is None:
        return ()
    try:
        return MicrogridFile.model_validate(document.data).microgrids
    except ValidationError as error:
        kinds = {"battery", "pv", "ev", "heat_pump", "shiftable_load", "load"}
        for detail in error.errors(include_url=False):
            # pydantic puts the kind of a resource between its position and its key; the file has no such level.
            keys = tuple(
                part
                for position, part in enumerate(detail["loc"])
                if not (part in kinds and position and isinstance(detail["loc"][position - 1], int))
            )
            missing = "is missing" if detail["type"] == "missing" else detail["msg"]
            what = "unknown key" if detail["type"] == "extra_forbidden" else missing
            remedy = "see the keys in docs and in the grids that ship with the package; units stand in the key names"
            where = f"{_place(document, keys, path)} ({'.'.join(str(key) for key in keys)})"
            problems.append(Problem(what=f"{str(keys[-1]) if keys else 'file'!s}: {what}", where=where, remedy=remedy))
    return ()


def _place(document: Document, keys: tuple[str | int, ...], path: Path) -> str:
    while keys and keys not in document.places:
        keys = keys[:-1]
    return document.places.get(keys, str(path))


def _net_problems(tables: NetTables, profiles: Profiles | None, path: Path) -> Iterator[Problem]:
    buses = set(tables.bus_ids.tolist())
    for table, elements in tables.elements.items():
        suffixes = _LOAD_SUFFIXES if table == "load" else ("",)
        for position, element in enumerate(elements.ids.tolist()):
            where = f"{path}, {table} {element}"
            if int(elements.bus[position]) not in buses:
                remedy = "move the element to an existing bus"
                yield Problem(what=f"bus {elements.bus[position]} does not exist", where=where, remedy=remedy)
            name = elements.profiles[position]
            if name and profiles is not None:
                for column in (name + suffix for suffix in suffixes):
                    if column not in profiles.columns:
                        yield _unknown_profile(column, profiles.columns, where)


def _unknown_profile(column: str, known: Sequence[str], where: str) -> Problem:
    near = get_close_matches(column, known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"add the column; there are: {', '.join(sorted(known)[:10])}"
    return Problem(what=f"profile column {column!r} does not exist", where=where, remedy=hint)


def _microgrid_problems(
    microgrids: Sequence[MicrogridPart],
    document: Document,
    path: Path,
    tables: NetTables | None,
    profiles: Profiles | None,
    used: dict[str, str],
) -> Iterator[Problem]:
    for number, microgrid in enumerate(microgrids):
        base = ("microgrids", number)
        names = [(microgrid.name, (*base, "name")), (microgrid.pcc.breaker, (*base, "pcc", "breaker"))]
        names += [(part.name, (*base, "resources", k, "name")) for k, part in enumerate(microgrid.resources)]
        for name, keys in names:
            where = _place(document, keys, path)
            if name in used:
                remedy = "names of microgrids, breakers and resources are unique in a folder: rename one"
                yield Problem(what=f"name {name!r} is taken (at {used[name]})", where=where, remedy=remedy)
            used.setdefault(name, where)
        if tables is not None:
            yield from _bus_problems(microgrid, _place(document, (*base, "bus"), path), tables)
        yield from _resource_problems(microgrid, base, document, path, profiles)


def _bus_problems(microgrid: MicrogridPart, where: str, tables: NetTables) -> Iterator[Problem]:
    ids = tables.bus_ids.tolist()
    if microgrid.bus not in ids:
        remedy = f"use an index of net.bus ({min(ids)} to {max(ids)})"
        yield Problem(
            what=f"microgrid {microgrid.name}: bus {microgrid.bus} does not exist", where=where, remedy=remedy
        )
    elif not tables.bus_in_service[ids.index(microgrid.bus)]:
        what = f"microgrid {microgrid.name}: bus {microgrid.bus} is out of service"
        yield Problem(what=what, where=where, remedy="choose a bus in service")


def _resource_problems(
    microgrid: MicrogridPart, base: tuple[str | int, ...], document: Document, path: Path, profiles: Profiles | None
) -> Iterator[Problem]:
    for position, resource in enumerate(microgrid.resources):
        keys = (*base, "resources", position)
        try:
            resource.spec()
        except ProblemsError as error:
            for problem in error.problems:
                field = problem.where.rpartition(".")[2].split()[-1]
                where = f"{_place(document, (*keys, field), path)} ({resource.name}: {problem.where})"
                yield Problem(what=problem.what, where=where, remedy=problem.remedy)
        for column in profile_columns(resource):
            if profiles is not None and column not in profiles.columns:
                where = _place(document, (*keys, "profile"), path)
                yield _unknown_profile(column, profiles.columns, f"{where} ({resource.name})")
