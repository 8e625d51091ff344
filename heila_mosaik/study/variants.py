"""Variants of one scenario in one process: the same grid, profiles and seed, one thing different."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.loader import ScenarioSource, resolved
from heila_mosaik.study.progress import Progress
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.shelf import Shelf
from heila_mosaik.study.yamlfile import parse_yaml

AS_WRITTEN = "as_written"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One of the scenarios to compare.

    Attributes:
        name: Name of its run folder.
        scenario: Resolved scenario.
    """

    name: str
    scenario: Scenario


def make_variants(source: ScenarioSource, chosen: Sequence[str], dropped: Sequence[str]) -> list[Variant]:
    """The scenario as it is written and one variant for each wish; wishes that change nothing are left out.

    Args:
        source: Scenario file.
        chosen: ``--with``: a switch (``flexibility``, ``harm_check``, ``intraday``) or ``key=value[,key=value]``.
        dropped: ``--without``: a switch.

    Raises:
        ProblemsError: With every wish that cannot be met.
    """
    problems: list[Problem] = []
    found = [Variant(name=AS_WRITTEN, scenario=source.loaded.scenario)]
    seen = [resolved(source.loaded.scenario)]
    for option, wishes in (("with", chosen), ("without", dropped)):
        for wish in wishes:
            where = f"--{option} {wish}"
            try:
                changes = _values(wish, where) if "=" in wish and option == "with" else _switch(wish, option, where)
                scenario = source.make(changes, where)
            except ProblemsError as error:
                problems += error.problems
                continue
            if resolved(scenario) not in seen:
                seen.append(resolved(scenario))
                found.append(Variant(name=_folder_name(option, wish), scenario=scenario))
    if problems:
        raise ProblemsError("variants", problems)
    return found


def run_variants(
    variants: Sequence[Variant], out: Path, progress: Callable[[Progress], None] | None = None
) -> dict[str, Path]:
    """Run variants one after the other on one shelf; returns the run folder of each.

    Args:
        variants: Variants.
        out: Folder for their run folders; must not exist.
        progress: Told how far each has come, with the variant's name as phase.
    """
    shelf = Shelf()
    folders: dict[str, Path] = {}
    for variant in variants:
        tell = None if progress is None else _named(progress, variant.name)
        folders[variant.name] = run_scenario(
            variant.scenario, out / variant.name, baseline=False, progress=tell, shelf=shelf
        )
    return folders


def switches() -> dict[str, str]:
    """Dotted key of every on-off key of a scenario by each name it may be called."""
    names: dict[str, list[str]] = {}
    for key in _flags(Scenario, ()):
        parts = key.split(".")
        for name in {key, parts[-1], *([parts[-2]] if parts[-1] in ("enabled", "plan") and len(parts) > 1 else [])}:
            names.setdefault(name, []).append(key)
    return {name: keys[0] for name, keys in names.items() if len(keys) == 1}


def _flags(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    for name, info in model.model_fields.items():
        options: list[Any] = [info.annotation, *get_args(info.annotation)]
        if bool in options:
            yield ".".join((*path, name))
        for option in options:
            if isinstance(option, type) and issubclass(option, BaseModel):
                yield from _flags(option, (*path, name))


def _switch(wish: str, option: str, where: str) -> dict[str, Any]:
    known = switches()
    if wish not in known:
        near = get_close_matches(wish, known, n=1)
        remedy = f"did you mean {near[0]!r}?" if near else f"switches: {', '.join(sorted(known))}"
        raise ProblemsError("variants", [Problem(what=f"no switch {wish!r}", where=where, remedy=remedy)])
    return {known[wish]: option == "with"}


def _values(wish: str, where: str) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for part in wish.split(","):
        key, equals, text = part.partition("=")
        if not equals or not key.strip():
            problem = Problem(what=f"{part!r} is not of the form a.b=value", where=where, remedy="dms.cycle_s=120")
            raise ProblemsError("variants", [problem])
        changes[key.strip()] = parse_yaml(text, where).data
    return changes


def _folder_name(option: str, wish: str) -> str:
    return f"{option}_" + "".join(letter if letter.isalnum() or letter in "._=-" else "_" for letter in wish)


def _named(progress: Callable[[Progress], None], name: str) -> Callable[[Progress], None]:
    def tell(told: Progress) -> None:
        if told.phase != "build":
            progress(Progress(phase=name, simulated=told.simulated, start=told.start, stop=told.stop))

    return tell
