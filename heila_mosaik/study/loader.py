"""Scenario files in, checked scenarios out.

``extends:`` takes another file as base (mappings merge, everything else replaces), ``--set a.b=c`` comes last.  Every
problem is reported with the file and line it comes from, and all of them at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from io import StringIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML

from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.fields import describe, keys_at
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.yamlfile import Document, KeyPath, parse_yaml, read_yaml

_PATH_KEYS: tuple[KeyPath, ...] = (("series", "weather"), ("series", "prices"), ("grid",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A checked scenario and where it comes from.

    Attributes:
        scenario: The scenario.
        files: Files it was read from, the extended ones first.
        settings: ``--set`` arguments used.
        places: ``file:line`` or ``--set`` of every value given, by dotted key.
    """

    scenario: Scenario
    files: tuple[Path, ...]
    settings: tuple[str, ...] = ()
    places: dict[str, str] = field(default_factory=dict)


class ScenarioSource:
    """A scenario file read once, from which many scenarios are made.

    Args:
        path: Scenario file.
        settings: Changes that hold for all of them, as for :func:`load_scenario`.

    Raises:
        ProblemsError: With every problem of the file itself.
    """

    def __init__(self, path: Path | str, settings: Sequence[str] = ()) -> None:
        self.path = Path(path)
        self.loaded = load_scenario(self.path, settings)
        self._document = _read_with_bases(self.path, [], ())
        for setting in settings:
            _apply(setting, self._document)

    def make(self, changes: Mapping[str, Any], where: str = "") -> Scenario:
        """The scenario with some keys changed.

        Args:
            changes: Values by dotted key; a mapping replaces a part.
            where: What asks for the changes, for problems.

        Raises:
            ProblemsError: With every problem of the changed scenario.
        """
        data = _copied(self._document.data)
        document = Document(data=data, places=dict(self._document.places))
        for key, value in changes.items():
            keys = tuple(key.split("."))
            put(document, keys, value, where or key)
        try:
            scenario = Scenario.model_validate(data).placed_in(self.path.parent)
        except ValidationError as error:
            raise ProblemsError(where or f"scenario {self.path}", _problems(error, document, str(self.path))) from error
        missing = (
            list(_missing_files(scenario, document)) if {"grid", "series"} & {k.split(".")[0] for k in changes} else []
        )
        if missing:
            raise ProblemsError(where or f"scenario {self.path}", missing)
        return scenario


def _copied(data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _copied(value) for key, value in data.items()}
    return list(data) if isinstance(data, list) else data


def load_scenario(path: Path | str, settings: Sequence[str] = ()) -> Loaded:
    """Read, merge and check a scenario file.

    Args:
        path: Scenario file.
        settings: Changes ``a.b=value``; the value is read as YAML.

    Raises:
        ProblemsError: With every problem found.
    """
    path = Path(path)
    files: list[Path] = []
    merged = _read_with_bases(path, files, ())
    for setting in settings:
        _apply(setting, merged)
    if merged.data is None:
        merged.data = {}
    problems = merged.problems
    scenario: Scenario | None = None
    if not isinstance(merged.data, dict):
        problems.append(Problem(what="no mapping of keys", where=str(path), remedy="write 'name:', 'grid:', 'start:'"))
    elif path.is_file():
        try:
            scenario = Scenario.model_validate(merged.data).placed_in(path.parent)
        except ValidationError as error:
            problems.extend(_problems(error, merged, str(path)))
    if scenario is not None:
        problems.extend(_missing_files(scenario, merged))
    if problems or scenario is None:
        raise ProblemsError(f"scenario {path}", problems)
    places = {_dotted(key): place for key, place in merged.places.items() if key}
    return Loaded(scenario=scenario, files=tuple(files), settings=tuple(settings), places=places)


def dump_scenario(scenario: Scenario) -> str:
    """Resolved scenario as YAML, every key written, always the same bytes for the same scenario."""
    writer = YAML(typ="safe", pure=True)
    writer.default_flow_style = False
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    writer.width = 110
    text = StringIO()
    writer.dump(resolved(scenario), text)
    return text.getvalue()


def resolved(scenario: Scenario) -> dict[str, Any]:
    """Every key of a scenario with its value, JSON-able; the same for every way to write the same scenario."""
    data = scenario.model_dump(mode="json")
    data["start"] = scenario.start_utc.isoformat()
    data["stop"], data["duration_h"] = scenario.stop_utc.isoformat(), None
    return data


def schema_json() -> str:
    """JSON schema of the scenario file, ``extends`` included."""
    schema = Scenario.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["properties"] = {
        "extends": {"type": "string", "description": "Scenario file this one builds on, relative to this file."},
        **schema["properties"],
    }
    return json.dumps(schema, indent=2, ensure_ascii=False)


def _read_with_bases(path: Path, files: list[Path], chain: tuple[Path, ...]) -> Document:
    real = path.resolve()
    if real in chain:
        names = " -> ".join(str(step) for step in (*chain, real))
        problem = Problem(what=f"extends in a circle: {names}", where=str(path), remedy="break the circle")
        return Document(problems=[problem])
    document = read_yaml(path)
    files.append(path)
    if not isinstance(document.data, dict) or "extends" not in document.data:
        return document
    base_name = document.data.pop("extends")
    where = document.places[("extends",)]
    if not isinstance(base_name, str):
        document.problems.append(Problem(what="extends is no path", where=where, remedy="give one file name"))
        return document
    base_path = path.parent / base_name
    if not base_path.is_file():
        near = _near(base_name, [file.name for file in sorted(path.parent.glob("*.y*ml"))])
        document.problems.append(
            Problem(what=f"extends {base_name!r}, which does not exist", where=where, remedy=near or "correct the path")
        )
        return document
    files.pop()
    base = _read_with_bases(base_path, files, (*chain, real))
    files.append(path)
    _rebase(base.data, base_path.parent, path.parent)
    return Document(
        data=_merge(base.data, document.data),
        places={**base.places, **document.places},
        problems=[*base.problems, *document.problems],
    )


def _rebase(data: Any, old: Path, new: Path) -> None:
    """Keep relative paths of an extended file pointing at the same file."""
    if old.resolve() == new.resolve():
        return
    for keys in _PATH_KEYS:
        holder = data
        for key in keys[:-1]:
            holder = holder.get(key) if isinstance(holder, dict) else None
        if not isinstance(holder, dict):
            continue
        written = holder.get(keys[-1])
        if not isinstance(written, str) or Path(written).is_absolute():
            continue
        if keys != ("grid",) or "/" in written:
            holder[keys[-1]] = Path(os.path.relpath(old / written, new)).as_posix()
    for part in _extensions(data):
        file, colon, name = str(part["python"]).rpartition(":")
        if file.endswith(".py") and not Path(file).is_absolute():
            part["python"] = f"{Path(os.path.relpath(old / file, new)).as_posix()}{colon}{name}"


def _extensions(data: Any) -> list[dict[str, Any]]:
    """Parts under ``extensions`` that name code, as far as the data are well formed."""
    given = data.get("extensions") if isinstance(data, dict) else None
    actors = given.get("actors") if isinstance(given, dict) else None
    parts = [*(actors.values() if isinstance(actors, dict) else ())]
    parts += [given.get("clearing")] if isinstance(given, dict) else []
    return [part for part in parts if isinstance(part, dict) and "python" in part]


def _merge(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    merged = dict(base)
    for key, value in over.items():
        merged[key] = _merge(base.get(key), value)
    return merged


def _apply(setting: str, document: Document) -> None:
    key, equals, text = setting.partition("=")
    keys = tuple(part.strip() for part in key.split("."))
    source = f"--set {setting}"
    if not equals or not all(keys):
        document.problems.append(Problem(what="not of the form a.b=value", where=source, remedy="--set dms.cycle_s=60"))
        return
    value = parse_yaml(text, source)
    document.problems.extend(value.problems)
    put(document, keys, value.data, source)


def put(document: Document, keys: tuple[str, ...], value: Any, source: str) -> None:
    """Write a value at a place of a document, making the parts on the way."""
    if not isinstance(document.data, dict):
        document.data = {}
    holder = document.data
    for depth, part in enumerate(keys[:-1], 1):
        if not isinstance(holder.get(part), dict):
            holder[part] = {}
            document.places[keys[:depth]] = source
        holder = holder[part]
    holder[keys[-1]] = value
    document.places[keys] = source
    if keys in (("duration_h",), ("stop",)):
        # The length is one choice of two keys: setting one withdraws the other.
        document.data.pop("stop" if keys == ("duration_h",) else "duration_h", None)


def _problems(error: ValidationError, document: Document, source: str) -> Iterator[Problem]:
    seen_period = False
    for detail in error.errors(include_url=False):
        location = tuple(part for part in detail["loc"] if not _is_branch(part))
        seen_period = seen_period or not location
        yield _problem(detail, location, document, source)
    # A check over several keys runs only when each key is right by itself; the length is worth telling anyway.
    given = [key for key in ("duration_h", "stop") if document.data.get(key) is not None]
    if not seen_period and len(given) != 1:
        yield Problem(what="give either duration_h or stop", where=source, remedy="for example duration_h: 24")


def _problem(detail: ErrorDetails, location: KeyPath, document: Document, source: str) -> Problem:
    key = _dotted(location)
    place = _place(location, document, source)
    where = f"{place} ({key})" if key else place
    kind, given = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        near = _near(str(location[-1]), _keys_at(location[:-1]))
        remedy = near or f"known keys here: {', '.join(_keys_at(location[:-1]))}"
        return Problem(what=f"unknown key {str(location[-1])!r}", where=where, remedy=remedy)
    if kind == "missing":
        return Problem(what=f"key {str(location[-1])!r} is missing", where=where, remedy=describe(Scenario, location))
    if kind == "timezone_aware":
        return Problem(what=f"time {given} has no zone", where=where, remedy=f"write {given}+02:00 or {given}Z")
    if kind in ("literal_error", "enum"):
        expected = str(detail.get("ctx", {}).get("expected", ""))
        near = _near(str(given), [word.strip().strip("'") for word in expected.replace(" or ", ",").split(",")])
        return Problem(what=f"{given!r} is not allowed", where=where, remedy=near or f"choose one of {expected}")
    message = detail["msg"].removeprefix("Value error, ")
    if not isinstance(given, dict | BaseModel | type(None)) and repr(given) not in message:
        message = f"{message[:1].lower()}{message[1:]}, got {given!r}"
    return Problem(what=message, where=where, remedy=describe(Scenario, location) or "correct the values")


def _missing_files(scenario: Scenario, document: Document) -> Iterator[Problem]:
    if not scenario.grid_folder().is_dir():
        places = scenario.grid_folders()
        known = sorted({p.name for place in places if place.parent.is_dir() for p in place.parent.iterdir()})
        where = f"{_place(('grid',), document, '')} (grid)"
        looked = ", ".join(str(place) for place in dict.fromkeys(places))
        remedy = _near(scenario.grid, known) or f"give a folder under grids/ or a path; looked at {looked}"
        yield Problem(what=f"grid folder {scenario.grid!r} does not exist", where=where, remedy=remedy)
    for name, written in (("weather", scenario.series.weather), ("prices", scenario.series.prices)):
        if written is not None and not scenario.path(written).is_file():
            yield Problem(
                what=f"file {written!r} does not exist",
                where=f"{_place(('series', name), document, '')} (series.{name})",
                remedy=f"put it at {scenario.path(written)} or remove the key to use the seeded generator",
            )


def _place(location: KeyPath, document: Document, source: str) -> str:
    for length in range(len(location), -1, -1):
        if location[:length] in document.places:
            return document.places[location[:length]]
    return source


def _is_branch(part: str | int) -> bool:
    """Whether a part of a pydantic location names a branch of a union and not a key."""
    return isinstance(part, str) and any(mark in part for mark in "[(")


def _keys_at(location: KeyPath) -> list[str]:
    keys = keys_at(Scenario, location)
    return keys if location else ["extends", *keys]


def _near(word: str, known: Iterable[str]) -> str:
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]!r}?" if close else ""


def _dotted(location: KeyPath) -> str:
    return ".".join(str(part) for part in location)
