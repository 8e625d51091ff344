"""Reading and checking point lists: CSV or YAML in, frozen points out, all problems at once."""

from __future__ import annotations

import csv
import difflib
import importlib.resources
import io
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError

from heila_mosaik.bridges.point_checks import check_list
from heila_mosaik.bridges.points import Direction, Fallback, Point, PointList, PointType, Role
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.errors import Problem, ProblemsError

Choice = TypeVar("Choice", bound=StrEnum)

REQUIRED = ("name", "direction", "station", "address", "type")
NUMBERS = (
    "scale", "dead_band", "minimum", "maximum", "ramp_per_s", "max_step", "min_interval_s", "fallback_within_s",
    "tolerance", "stale_after_s",
)  # fmt: skip
TEXTS = ("unit", "feedback", "breaker", "permission", "local")
FLAGS = ("time_tag", "select")
COLUMNS = (*REQUIRED, *NUMBERS, *TEXTS, *FLAGS, "fallback", "attribute", "role")
_TRUE, _FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


@dataclass(frozen=True, slots=True)
class _Row:
    """Cells of one point and where they stand."""

    where: str
    cells: Mapping[str, str]


@dataclass(slots=True)
class _Reader:
    """Turns the cells of one row into fields and collects what is wrong with them."""

    row: _Row
    problems: list[Problem]
    fields: dict[str, Any] = field(default_factory=dict)

    def wrong(self, column: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(what=what, where=f"{self.row.where}, column {column}", remedy=remedy))

    def cell(self, column: str) -> str:
        return self.row.cells.get(column, "").strip()

    def choice(self, column: str, kind: type[Choice]) -> None:
        text = self.cell(column)
        if not text:
            return
        names = [member.value for member in kind]
        if text in names:
            self.fields[column] = kind(text)
            return
        self.wrong(column, f"'{text}' is not a known {column}", _did_you_mean(text, names))

    def number(self, column: str) -> None:
        text = self.cell(column)
        if not text:
            return
        try:
            value = float(text)
        except ValueError:
            self.wrong(column, f"'{text}' is not a number", "write a number with a decimal point, or leave it empty")
            return
        if not math.isfinite(value):
            self.wrong(column, f"'{text}' is not finite", "leave the cell empty for 'no limit'")
            return
        self.fields[column] = value

    def integer(self, column: str, low: int, high: int) -> None:
        text = self.cell(column)
        if not text:
            return
        try:
            value = int(text)
        except ValueError:
            self.wrong(column, f"'{text}' is not an integer", f"write an integer from {low} to {high}")
            return
        if not low <= value <= high:
            self.wrong(column, f"{value} is outside {low}…{high}", f"use an address from {low} to {high}")
            return
        self.fields[column] = value

    def flag(self, column: str) -> None:
        text = self.cell(column).lower()
        if not text:
            return
        if text not in (*_TRUE, *_FALSE):
            self.wrong(column, f"'{text}' is neither yes nor no", "write yes or no")
            return
        self.fields[column] = text in _TRUE

    def attribute(self) -> None:
        text = self.cell("attribute")
        if not text:
            return
        element, dot, quantity = text.rpartition(".")
        names = [member.value for member in Quantity]
        if not dot or not element:
            self.wrong("attribute", f"'{text}' is not <element>.<quantity>", "write for example bus.7.vm_pu")
        elif quantity not in names:
            self.wrong("attribute", f"'{quantity}' is not a quantity of the study", _did_you_mean(quantity, names))
        else:
            self.fields.update(element=element, quantity=Quantity(quantity))

    def limits(self) -> None:
        """What of the numbers can be judged although another cell of the row is wrong."""
        low, high = self.fields.get("minimum"), self.fields.get("maximum")
        if low is not None and high is not None and low >= high:
            what = f"minimum {low:g} is not below maximum {high:g}"
            self.wrong("minimum", what, "exchange or correct the limits")

    def read(self) -> Point | None:
        before = len(self.problems)
        for column in REQUIRED:
            if not self.cell(column):
                self.wrong(column, f"{column} is missing", f"write the {column} of every point")
        self.fields["name"] = self.cell("name")
        self.choice("direction", Direction)
        self.choice("type", PointType)
        self.choice("fallback", Fallback)
        self.choice("role", Role)
        self.integer("station", 1, 65534)
        self.integer("address", 1, 16777215)
        for column in NUMBERS:
            self.number(column)
        for column in FLAGS:
            self.flag(column)
        for column in TEXTS:
            self.fields[column] = self.cell(column)
        self.attribute()
        if len(self.problems) > before:
            self.limits()
            return None
        return Point(**self.fields, where=self.row.where)


def _did_you_mean(text: str, names: Iterable[str]) -> str:
    known = list(names)
    close = difflib.get_close_matches(text, known, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}known: {', '.join(known)}"


def _check_columns(found: Iterable[str], where: str, problems: list[Problem]) -> None:
    problems.extend(
        Problem(what=f"unknown column '{name}'", where=where, remedy=_did_you_mean(name, COLUMNS))
        for name in found
        if name not in COLUMNS
    )


def _rows_of_csv(text: str, file: str, problems: list[Problem]) -> list[_Row]:
    # Spreadsheets set to a language with a decimal comma separate cells with semicolons.
    first = next((line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")), "")
    reader = csv.reader(io.StringIO(text), delimiter=";" if ";" in first and "," not in first else ",")
    header: list[str] | None = None
    rows: list[_Row] = []
    for cells in reader:
        where = f"{file}:{reader.line_num}"
        if not any(cell.strip() for cell in cells) or cells[0].lstrip().startswith("#"):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            _check_columns(header, where, problems)
            problems.extend(
                Problem(what=f"column '{name}' appears twice", where=where, remedy="keep one of them")
                for name in sorted({name for name in header if header.count(name) > 1})
            )
        elif len(cells) != len(header):
            what = f"{len(cells)} cells under {len(header)} columns"
            problems.append(Problem(what=what, where=where, remedy="quote cells that contain a comma"))
        else:
            rows.append(_Row(where, dict(zip(header, cells, strict=True))))
    return rows


def _rows_of_yaml(text: str, file: str, problems: list[Problem]) -> list[_Row]:
    try:
        document = YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problems.append(Problem(what=str(error.problem), where=f"{file}:{line}", remedy="correct the YAML syntax"))
        return []
    entries = document.get("points") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        problems.append(Problem(what="no list 'points'", where=f"{file}:1", remedy="start the file with 'points:'"))
        return []
    rows: list[_Row] = []
    for number, entry in enumerate(entries):
        where = f"{file}:{entries.lc.data[number][0] + 1}"  # type: ignore[attr-defined]
        if not isinstance(entry, dict):
            problems.append(Problem(what="a point is not a mapping", where=where, remedy="write 'name: …' and so on"))
            continue
        _check_columns([str(key) for key in entry], where, problems)
        rows.append(_Row(where, {str(key): "" if cell is None else str(cell) for key, cell in entry.items()}))
    return rows


_FORMATS: dict[str, Callable[[str, str, list[Problem]], list[_Row]]] = {
    ".csv": _rows_of_csv,
    ".yaml": _rows_of_yaml,
    ".yml": _rows_of_yaml,
}


def parse_points(text: str, file: str) -> PointList:
    """Read a point list from text.

    Args:
        text: Contents.
        file: File name for messages; its ending selects CSV or YAML.

    Raises:
        ProblemsError: With every problem found, file and line and remedy each.
    """
    problems: list[Problem] = []
    rows_of = _FORMATS.get(Path(file).suffix.lower())
    if rows_of is None:
        remedy = "name the file .csv, .yaml or .yml"
        raise ProblemsError(f"point list {file}", [Problem(what="unknown file type", where=file, remedy=remedy)])
    rows = rows_of(text, file, problems)
    points = [point for row in rows if (point := _Reader(row, problems).read()) is not None]
    if not rows and not problems:
        problems.append(Problem(what="no points", where=f"{file}:1", remedy="list at least one point"))
    known = {row.cells.get("name", "").strip() for row in rows}
    problems.extend(check_list(points, known))
    if problems:
        raise ProblemsError(f"point list {file}", problems)
    return PointList(tuple(points))


def load_points(path: Path | str) -> PointList:
    """Read a point list from a CSV or YAML file.

    Raises:
        ProblemsError: With every problem found, file and line and remedy each.
    """
    place = Path(path)
    try:
        text = place.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        what = (error.strerror or str(error)) if isinstance(error, OSError) else f"not UTF-8: {error.reason}"
        remedy = "give the path of a readable file; spreadsheets call the format 'CSV UTF-8'"
        raise ProblemsError(f"point list {place}", [Problem(what=what, where=str(place), remedy=remedy)]) from error
    return parse_points(text, str(place))


def example_points() -> PointList:
    """The example list of a COM600 gateway with a REF615 feeder relay."""
    name = "com600_ref615.csv"
    text = importlib.resources.files("heila_mosaik.bridges").joinpath("data", name).read_text(encoding="utf-8")
    return parse_points(text, name)
