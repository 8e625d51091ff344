"""Page of the information objects, from their dataclasses and the wire table."""

from __future__ import annotations

import dataclasses
import typing
from enum import StrEnum
from typing import Any

from heila_mosaik.bridges.smartapi.table import ALSO, BY_NAME, MESSAGES
from heila_mosaik.domain import information
from heila_mosaik.domain.quantities import Quantity
from reference.text import code, fields_of, paragraphs, split_unit, table

_HEAD = """# Information objects

Immutable values of plain Python types that actors exchange. Powers are consumption-positive; an *adjustment* is the
wanted change against the operation plan, so up-regulation is negative. Times are aware UTC. How each field is written
on the wire (quantity, unit, RDF shape) is on the page [messages](../../messages.md), documents of IEC 62325-451-7 and
CIM on [message forms](../../message-forms.md).

## Overview

"""


def classes() -> tuple[type, ...]:
    """Every class of the page: the objects that travel, then their parts."""
    parts = [cls for cls in BY_NAME.values() if cls not in MESSAGES]
    return (*MESSAGES, *parts, information.PQProfile, information.Message)


def page() -> str:
    """The page."""
    rows = [(f"[{cls.__name__}](#{cls.__name__.lower()})", paragraphs(cls), _also(cls)) for cls in MESSAGES]
    overview = table(("object", "what it is", "corresponds to"), rows)
    return _HEAD + overview + "\n" + "\n".join([*(_section(cls) for cls in classes()), _codes()])


def _also(cls: type) -> str:
    return ALSO.get(cls.__name__, ("", ""))[1]


def _section(cls: type) -> str:
    meaning = fields_of(cls)
    rows = []
    for field in dataclasses.fields(cls):
        default = "required" if field.default is dataclasses.MISSING else _default(field.default)
        text, unit = split_unit(meaning.get(field.name, "Identity, unique in a study." if field.name == "id" else ""))
        rows.append((code(field.name), _type(typing.get_type_hints(cls)[field.name]), default, unit, text))
    also = f"Corresponds to: {_also(cls)}.\n\n" if _also(cls) else ""
    return f"## {cls.__name__}\n\n{paragraphs(cls)}\n\n{also}" + table(
        ("field", "type", "default", "unit", "meaning"), rows
    )


def _default(value: object) -> str:
    if value is None:
        return "absent"
    return code(value) if value not in ("", ()) else "empty"


def _codes() -> str:
    rows = [(code(each.value), each.name.replace("_", " ").lower()) for each in Quantity]
    return "## Quantity\n\nWhat a measured value is.\n\n" + table(("code", "quantity"), rows)


def _type(hint: Any) -> str:
    arguments = typing.get_args(hint)
    if type(None) in arguments:
        return f"{_type(next(each for each in arguments if each is not type(None)))} or absent"
    if typing.get_origin(hint) is tuple:
        inside = _type(arguments[0])
        return "series" if inside == "number" else f"list of {inside}"
    names = {float: "number", int: "integer", str: "text", bool: "boolean"}
    if hint in names:
        return names[hint]
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        values = [code(each.value) for each in hint]
        return " or ".join(values) if len(values) < 6 else hint.__name__
    return "time" if hint.__name__ == "datetime" else hint.__name__
