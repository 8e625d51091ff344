"""The user's own actors and market rule: found, loaded, put in their place.

An own actor is made by a function of the user's, which gets a :class:`Place`.  The name under which the scenario lists
it is its address.  Where a standard actor has that address, the own one replaces it and may keep it inside.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np

from heila_mosaik.actors.base import Actor
from heila_mosaik.domain.market import ClearingMethod, MarketCalendar
from heila_mosaik.domain.streams import stream
from heila_mosaik.errors import HeilaError, Problem, ProblemsError
from heila_mosaik.study.extensions_part import ExtensionPart
from heila_mosaik.study.schema import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the maker of an own actor is given.

    Attributes:
        name: Address the actor must have as its ``name``.
        standard: The study's own actor of that address, fresh; ``None`` if there is none.
        scenario: The scenario.
        calendar: Times of the market.
        microgrids: Names of the microgrids; the address of a microgrid's management system is ``mgms_<name>``.
        generator: Random numbers of this actor alone.
        settings: What the scenario says under ``settings``.
    """

    name: str
    standard: Actor | None
    scenario: Scenario
    calendar: MarketCalendar
    microgrids: tuple[str, ...]
    generator: np.random.Generator
    settings: Mapping[str, Any]


class ActorMaker(Protocol):
    """Makes an own actor."""

    def __call__(self, place: Place) -> Actor:
        """Make it, fresh."""
        ...


class ExtensionError(HeilaError):
    """Own code that failed while it was loaded or while it made an actor.

    Attributes:
        key: Key of the scenario.
        python: What the key names.
        cause: The error with its place in the user's code.
    """

    exit_code = 2

    def __init__(self, key: str, python: str, error: BaseException) -> None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith("<")]
        at = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
        self.key, self.python, self.cause = key, python, f"{type(error).__name__}: {error}{at}"
        super().__init__(key, python, self.cause)

    def __str__(self) -> str:
        remedy = "mend that code; --debug shows the whole traceback"
        return f"{self.key} ({self.python}): {self.cause}\n    remedy: {remedy}"


def extension_problems(scenario: Scenario) -> tuple[Problem, ...]:
    """Everything that keeps the extensions of a scenario from being loaded; loads them."""
    problems: list[Problem] = []
    for key, part in scenario.extensions.parts().items():
        try:
            _load(key, part, scenario.folder)
        except ProblemsError as error:
            problems.extend(error.problems)
        except ExtensionError as error:
            problems.append(Problem(what=error.cause, where=key, remedy=f"mend {part.place}"))
    return tuple(problems)


def extension_checksums(scenario: Scenario) -> dict[str, str]:
    """SHA-256 of the file of every extension by its key; of modules as installed."""
    found: dict[str, str] = {}
    for key, part in scenario.extensions.parts().items():
        path = part.file(scenario.folder)
        if path is None:
            spec = importlib.util.find_spec(part.place)
            path = Path(spec.origin) if spec is not None and spec.origin is not None else None
        found[key] = hashlib.sha256(path.read_bytes()).hexdigest() if path is not None and path.is_file() else ""
    return found


def own_clearing(scenario: Scenario) -> ClearingMethod | None:
    """Clearing of the scenario's own; ``None``: the standard one.

    Raises:
        ProblemsError: If it cannot be found.
        ExtensionError: If its file fails to load.
    """
    part = scenario.extensions.clearing
    if part is None:
        return None
    found = _load("extensions.clearing", part, scenario.folder)
    return cast("ClearingMethod", partial(found, **part.settings) if part.settings else found)


def with_own_actors(
    scenario: Scenario,
    actors: Sequence[Actor],
    *,
    calendar: MarketCalendar,
    microgrids: Sequence[str],
    flexibility: bool,
) -> tuple[Actor, ...]:
    """The actors of a study with the scenario's own among them.

    An own actor takes the rank of the one it replaces; further ones act before the last, the market.

    Args:
        scenario: Scenario.
        actors: Standard actors, by order of precedence at equal times.
        calendar: Market calendar.
        microgrids: Names of the microgrids.
        flexibility: Whether the DSO takes part.

    Raises:
        ProblemsError: If an own actor cannot be found, or is none.
        ExtensionError: If own code fails.
    """
    placed = list(actors)
    rank = {actor.name: position for position, actor in enumerate(actors)}
    for name, part in scenario.extensions.actors.items():
        if not flexibility and (not part.in_baseline or name == "dms"):
            continue
        place = Place(
            name=name,
            standard=actors[rank[name]] if name in rank else None,
            scenario=scenario,
            calendar=calendar,
            microgrids=tuple(microgrids),
            generator=stream(scenario.seed, name),
            settings=dict(part.settings),
        )
        made = _made(f"extensions.actors.{name}", part, place)
        if name in rank:
            placed[rank[name]] = made
        else:
            placed.insert(len(placed) - 1, made)
    return tuple(placed)


def _made(key: str, part: ExtensionPart, place: Place) -> Actor:
    maker = cast("ActorMaker", _load(key, part, place.scenario.folder))
    try:
        actor = maker(place)
    except HeilaError:
        raise
    except Exception as error:
        raise ExtensionError(key, part.python, error) from error
    if getattr(actor, "name", None) == place.name and callable(getattr(actor, "step", None)):
        return actor
    problem = Problem(
        what=f"{part.name} made {actor!r}, which is no actor of the name {place.name!r}",
        where=key,
        remedy="return an object with name = place.name and step(now, inbox, measurements) -> Outcome",
    )
    raise ProblemsError(f"scenario {place.scenario.name}", [problem])


def _load(key: str, part: ExtensionPart, folder: Path) -> Callable[..., Any]:
    path = part.file(folder)
    problem: Problem | None = None
    module: Any = None
    if path is not None and not path.is_file():
        problem = Problem(what=f"file {part.place!r} does not exist", where=key, remedy=f"put it at {path}")
    else:
        try:
            module = _from_file(path) if path is not None else importlib.import_module(part.place)
        except ModuleNotFoundError as error:
            if path is not None or error.name is None or not f"{part.place}.".startswith(f"{error.name}."):
                raise ExtensionError(key, part.python, error) from error
            problem = Problem(
                what=f"no module {part.place!r}", where=key, remedy="install it, or name a file: own.py:name"
            )
        except Exception as error:
            raise ExtensionError(key, part.python, error) from error
    if problem is None:
        found = getattr(module, part.name, None)
        if callable(found):
            return cast("Callable[..., Any]", found)
        names = ", ".join(name for name, value in vars(module).items() if callable(value) and name[0] != "_")
        what = "is not callable" if found is not None else "is not there"
        problem = Problem(
            what=f"{part.name!r} {what} in {part.place}", where=key, remedy=f"name one of {names or 'its functions'}"
        )
    raise ProblemsError("own code", [problem])


def _from_file(path: Path) -> Any:
    """Module of a file, loaded once; its name holds a checksum, so that a changed file is loaded again."""
    path = path.resolve()
    digest = hashlib.sha256(str(path).encode() + b"\0" + path.read_bytes()).hexdigest()[:16]
    name = f"heila_own_{path.stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their own module up while they are made.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
