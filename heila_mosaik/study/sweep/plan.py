"""From a sweep file to the runs it stands for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.results.manifest import checksum
from heila_mosaik.study.extensions import extension_checksums
from heila_mosaik.study.fields import describe, keys_at
from heila_mosaik.study.loader import ScenarioSource, put, resolved
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.shelf import Shelf
from heila_mosaik.study.sweep.keys import code_version, run_key
from heila_mosaik.study.sweep.sampling import Point, expand, repetition_seed
from heila_mosaik.study.sweep.schema import SweepFile
from heila_mosaik.study.yamlfile import Document, parse_yaml, read_yaml

_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One run of a sweep.

    Attributes:
        sample: Number of its point.
        key: Identity.
        point: Varied values by scenario key.
        seed: Seed.
        repetition: Number of the repetition, from 0.
        scenario: Resolved scenario.
    """

    sample: int
    key: str
    point: Point
    seed: int
    repetition: int
    scenario: Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A sweep ready to be carried out.

    Attributes:
        sweep: The file's contents, ``full`` applied.
        path: The file.
        runs: Runs in order; points that resolve to the same scenario share a key, and are made once.
        shelf: Grid folders read while planning.
    """

    sweep: SweepFile
    path: Path
    runs: tuple[Planned, ...]
    shelf: Shelf

    @property
    def doubles(self) -> int:
        """Points that stand for a run that is there already."""
        return len(self.runs) - len({run.key for run in self.runs})

    @property
    def varied(self) -> tuple[str, ...]:
        """Scenario keys that differ between runs, in the order of the file."""
        return tuple(dict.fromkeys(key for run in self.runs for key in run.point))


def read_sweep(path: Path, settings: Sequence[str] = (), *, full: bool = False) -> SweepFile:
    """Read and check a sweep file.

    Args:
        path: Sweep file.
        settings: Changes of the sweep file, ``a.b=value``.
        full: Whether the keys under ``full`` replace those of the file.

    Raises:
        ProblemsError: With every problem found.
    """
    document = read_yaml(path)
    problems = list(document.problems)
    if document.data is not None and not isinstance(document.data, dict):
        problems.append(
            Problem(what="no mapping of keys", where=str(path), remedy="write 'name:', 'scenario:', 'vary:'")
        )
    if problems or document.data is None:
        raise ProblemsError(f"sweep {path}", problems or [_empty(path)])
    for setting in settings:
        _apply(setting, document)
    if full:
        replaced = document.data.get("full") or {}
        document.data = {**document.data, **(replaced if isinstance(replaced, dict) else {})}
    try:
        sweep = SweepFile.model_validate(document.data)
    except ValidationError as error:
        problems += [*document.problems, *_problems(error, document, path)]
    if problems or document.problems:
        raise ProblemsError(f"sweep {path}", problems or document.problems)
    return sweep


def make_plan(path: Path, settings: Sequence[str] = (), *, full: bool = False) -> Plan:
    """Plan a sweep: every run with its resolved scenario and key.

    Args:
        path: Sweep file.
        settings: Changes of the sweep file, ``a.b=value``.
        full: Whether the keys under ``full`` replace those of the file.

    Raises:
        ProblemsError: With every problem of the file, of its scenario or of a point.
    """
    sweep = read_sweep(path, settings, full=full)
    base = path.parent / sweep.scenario
    if not base.is_file():
        problem = Problem(
            what=f"scenario {sweep.scenario!r} does not exist", where=f"{path} (scenario)", remedy=f"looked at {base}"
        )
        raise ProblemsError(f"sweep {path}", [problem])
    source, shelf, code = ScenarioSource(base), Shelf(), code_version()
    runs: list[Planned] = []
    problems: list[Problem] = []
    for sample, point, repetition, changes in _wanted(sweep, source.loaded.scenario.seed):
        try:
            scenario = source.make({**sweep.set, **changes}, f"{path}, {_named(changes)}")
            data = data_checksums(scenario, shelf)
        except ProblemsError as error:
            problems += error.problems
            if len(problems) >= _SHOWN:
                break
            continue
        key = run_key(resolved(scenario), data, baseline=sweep.baseline, code=code)
        runs.append(
            Planned(sample=sample, key=key, point=point, seed=scenario.seed, repetition=repetition, scenario=scenario)
        )
    if problems:
        raise ProblemsError(f"sweep {path}", dict.fromkeys(problems))
    return Plan(sweep=sweep, path=path, runs=tuple(runs), shelf=shelf)


def data_checksums(scenario: Scenario, shelf: Shelf) -> dict[str, str]:
    """SHA-256 of every data file of a scenario by name."""
    found = dict(shelf.folder(scenario).checksums)
    for name, written in (("weather", scenario.series.weather), ("prices", scenario.series.prices)):
        if written is not None:
            found[name] = checksum(scenario.path(written))
    return found | extension_checksums(scenario)


def _wanted(sweep: SweepFile, seed: int) -> Iterator[tuple[int, Point, int, dict[str, Any]]]:
    for number, point in enumerate(expand(sweep.vary)):
        if sweep.seeds is not None:
            for each in sweep.seeds:
                yield number, point, 0, {**point, "seed": each}
        elif sweep.repetitions == 1:
            yield number, point, 0, dict(point)
        else:
            own = int(point.get("seed", sweep.set.get("seed", seed)))
            for repetition in range(sweep.repetitions):
                yield number, point, repetition, {**point, "seed": repetition_seed(own, number, repetition)}


def _apply(setting: str, document: Document) -> None:
    key, equals, text = setting.partition("=")
    source = f"--set {setting}"
    if not equals or not key.strip():
        document.problems.append(Problem(what="not of the form a=value", where=source, remedy="--set repetitions=5"))
        return
    value = parse_yaml(text, source)
    document.problems.extend(value.problems)
    top, dot, rest = key.strip().partition(".")
    if top == "set" and dot:
        # Scenario keys keep their dots: set.growth.der=1.2 adds the key growth.der.
        put(document, ("set", rest), value.data, source)
    else:
        put(document, tuple(key.strip().split(".")), value.data, source)


def _problems(error: ValidationError, document: Document, path: Path) -> Iterator[Problem]:
    for detail in error.errors(include_url=False):
        keys: tuple[str | int, ...] = tuple(p for p in detail["loc"] if not (isinstance(p, str) and p == "Span"))
        keys = tuple(p for p in keys if not (isinstance(p, str) and ("[" in p or "(" in p)))
        place = keys
        while place and place not in document.places:
            place = place[:-1]
        dotted = ".".join(str(key) for key in keys)
        where = document.places.get(place, str(path)) + (f" ({dotted})" if dotted else "")
        message = detail["msg"].removeprefix("Value error, ")
        if detail["type"] == "extra_forbidden":
            known = ", ".join(keys_at(SweepFile, keys[:-1]))
            yield Problem(what=f"unknown key {keys[-1]!r}", where=where, remedy=f"known keys here: {known}")
        else:
            yield Problem(
                what=message[:1].lower() + message[1:],
                where=where,
                remedy=describe(SweepFile, keys) or "see docs/sweeps.md",
            )


def _named(changes: Mapping[str, Any]) -> str:
    return "point " + ", ".join(f"{key}={value}" for key, value in changes.items()) if changes else "the scenario"


def _empty(path: Path) -> Problem:
    return Problem(what="the file is empty", where=str(path), remedy="write 'name:', 'scenario:' and 'vary:'")
