"""Page of the mosaik simulators, from their attribute tables."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from typing import Any

import mosaik_api_v3

import heila_mosaik.simulators
from heila_mosaik.simulators.base import Attribute, Model
from reference.text import code, fields_of, paragraphs, split_unit, table

_HEAD = """# mosaik simulators

Every simulator works in anyone's own scenario; [an example](../../howto/own-mosaik.md). Start mosaik with
`cache=False`: its cache loses time-shifted data in multi-rate graphs. Consumption is positive but in pandapower's own
`sgen` and `gen` tables. An attribute in angle brackets stands for several, named at `init`.
"""


def page() -> str:
    """The page."""
    return "\n".join([_HEAD, *(_section(module, cls) for module, cls in simulators())])


def simulators() -> Iterator[tuple[Any, type]]:
    """Every simulator class with its module, in order of module name."""
    package = heila_mosaik.simulators
    for found in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{found.name}")
        for _, cls in inspect.getmembers(module, inspect.isclass):
            own = cls.__module__ == module.__name__ and found.name != "base"
            if own and issubclass(cls, mosaik_api_v3.Simulator):
                yield module, cls


def models_of(module: Any) -> tuple[Model, ...]:
    """Attribute tables of a simulator's module; empty for one that has none of its own."""
    return tuple(getattr(module, "MODELS", ()))


def _section(module: Any, cls: type) -> str:
    path = f"{module.__name__}:{cls.__name__}"
    first = (inspect.getdoc(module) or "").split("\n\n")[0]
    named = cls.__name__ if cls.__name__ != "Simulator" else module.__name__.rpartition(".")[2].capitalize()
    name = first.split("``")[1] if "``" in first else named
    parts = [f"## {name}\n", f'`{{"python": "{path}"}}`\n', paragraphs(cls) + "\n"]
    parameters = fields_of(cls.init, "Args")
    rows = []
    for key, parameter in inspect.signature(cls.init).parameters.items():
        if key in ("self", "sid", "time_resolution") or parameter.kind is parameter.VAR_KEYWORD:
            continue
        default = "required" if parameter.default is parameter.empty else code(repr(parameter.default))
        meaning, unit = split_unit(parameters.get(key, ""))
        rows.append((code(key), default, unit, meaning))
    if rows:
        parts.append("Parameters of `start`:\n\n" + table(("parameter", "default", "unit", "meaning"), rows))
    parts.extend(_model(model) for model in models_of(module))
    return "\n".join(parts)


def _model(model: Model) -> str:
    kind = "model" if model.public else "child"
    made = f"Made with `{model.name}({', '.join(model.params)})`." if model.public else "Comes with its parent."
    rows = [_row(attribute) for attribute in model.attributes]
    return f"### {kind} {model.name}\n\n{made}\n\n" + table(
        ("attribute", "direction", "unit", "several sources", "meaning"), rows
    )


def _row(attribute: Attribute) -> tuple[str, ...]:
    several = {"sum": "sum", "last": "last by name"}[attribute.reduce] if attribute.direction == "in" else ""
    return (code(attribute.name), attribute.direction, attribute.unit, several, attribute.meaning)
