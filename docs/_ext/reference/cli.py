"""Page of the command line, from the functions behind the typer application.

The functions' own annotations are read, and not the click objects made of them: those differ between versions of typer.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from heila_mosaik.cli.app import app
from reference.text import code, table

_HEAD = """# Command line

Every command with its arguments and options, as `heila COMMAND --help` shows them. `heila --debug COMMAND` shows the
traceback of an error.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | the run failed: the simulation, a process or a cycle went wrong |
| 2 | bad input or wrong usage: everything that is wrong is printed with its place and remedy |
| 3 | a power flow diverged and `divergence` is `stop` |
| 130 | interrupted; what is done is kept and can be read |

"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One argument or option of a command.

    Attributes:
        names: Names on the command line.
        argument: Whether it is known by its place.
        required: Whether it must be given.
        value: What is given.
        default: What holds without it.
        meaning: Help text.
    """

    names: tuple[str, ...]
    argument: bool
    required: bool
    value: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command or group of commands.

    Attributes:
        name: Whole name, ``heila ...``.
        text: Docstring or help.
        parameters: Arguments and options in order.
        group: Whether it only holds commands.
    """

    name: str
    text: str
    parameters: tuple[Parameter, ...] = ()
    group: bool = False

    @property
    def usage(self) -> str:
        """How it is called."""
        arguments = [each for each in self.parameters if each.argument]
        shown = [each.names[0].upper() if each.required else f"[{each.names[0].upper()}]" for each in arguments]
        options = ["[OPTIONS]"] if len(arguments) < len(self.parameters) else []
        return " ".join([self.name, *options, *(["COMMAND"] if self.group else shown)])


def commands(group: typer.Typer = app, prefix: str = "heila") -> Iterator[Command]:
    """Every command by name, groups before their commands."""
    root = group.registered_callback
    parameters = tuple(_parameters(root.callback)) if root is not None and root.callback is not None else ()
    yield Command(name=prefix, text=str(group.info.help or ""), parameters=parameters, group=True)
    found: dict[str, Callable[..., Any] | typer.Typer] = {}
    for command in group.registered_commands:
        assert command.callback is not None
        found[command.name or command.callback.__name__.replace("_", "-")] = command.callback
    for below in group.registered_groups:
        assert below.typer_instance is not None
        found[str(below.typer_instance.info.name)] = below.typer_instance
    for name in sorted(found):
        each = found[name]
        if isinstance(each, typer.Typer):
            yield from commands(each, f"{prefix} {name}")
        else:
            yield Command(name=f"{prefix} {name}", text=inspect.getdoc(each) or "", parameters=tuple(_parameters(each)))


def page() -> str:
    """The page."""
    return _HEAD + "\n".join(_section(command) for command in commands())


def _section(command: Command) -> str:
    parts = [f"## {command.name}\n", f"```text\n{command.usage}\n```\n", command.text.replace("``", "`") + "\n"]
    arguments = [each for each in command.parameters if each.argument]
    options = [each for each in command.parameters if not each.argument]
    if arguments:
        rows = [(code(each.names[0]), each.value, "required" if each.required else each.default, each.meaning)
                for each in arguments]  # fmt: skip
        parts.append(table(("argument", "value", "default", "meaning"), rows))
    if options:
        rows = [(", ".join(code(name) for name in each.names), each.value,
                 "required" if each.required else each.default, each.meaning) for each in options]  # fmt: skip
        parts.append(table(("option", "value", "default", "meaning"), rows))
    return "\n".join(parts)


def _parameters(function: Callable[..., Any]) -> Iterator[Parameter]:
    hints = typing.get_type_hints(function, include_extras=True)
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints[name]
        info = next((each for each in getattr(hint, "__metadata__", ()) if isinstance(each, ArgumentInfo | OptionInfo)),
                    None)  # fmt: skip
        if info is None:
            continue
        argument = isinstance(info, ArgumentInfo)
        # Inside Annotated the first name lands in the place of the default.
        first = [info.default] if isinstance(info.default, str) else []
        names = (*first, *(info.param_decls or ())) or ((name,) if argument else (f"--{name.replace('_', '-')}",))
        required = parameter.default is parameter.empty
        yield Parameter(
            names=names,
            argument=argument,
            required=required,
            value=_value(typing.get_args(hint)[0], info),
            default="" if required else _default(parameter.default),
            meaning=str(info.help or ""),
        )


def _value(hint: Any, info: ArgumentInfo | OptionInfo) -> str:
    arguments = [each for each in typing.get_args(hint) if each is not type(None)]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        arguments = [each.value for each in hint]
    if arguments and isinstance(arguments[0], str):
        return " or ".join(code(each) for each in arguments)
    if arguments:
        more = ", repeatable" if typing.get_origin(hint) is list else ""
        return f"{_value(arguments[0], info)}{more}"
    if hint is bool:
        return ""
    if info.metavar:
        return code(info.metavar)
    bounds = [f"{sign} {bound:g}" for sign, bound in (("≥", info.min), ("≤", info.max)) if bound is not None]
    shown = {int: "integer", float: "number", str: "text", Path: "path"}.get(hint, hint.__name__)
    return f"{shown} {' and '.join(bounds)}" if bounds else shown


def _default(value: Any) -> str:
    return "" if value is None or value is False or value == "" else code(getattr(value, "value", value))
