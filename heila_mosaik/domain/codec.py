"""JSON form of the information objects.

One encoder and one decoder per class, derived once from its type hints, so that a new field needs no second entry.
Times are ISO 8601 in UTC, enumerations their value, tuples lists.  JSON has no NaN: a number that is not finite is
written as the string ``"NaN"``, ``"Infinity"`` or ``"-Infinity"`` and read back as such.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeAlias, get_args, get_origin, get_type_hints

from heila_mosaik.domain import information
from heila_mosaik.domain.information import InformationObject, Message

Json: TypeAlias = Any
_Convert: TypeAlias = Callable[[Any], Any]


class CodecError(ValueError):
    """A JSON object is not the information object it claims to be.

    Attributes:
        kind: Class the object claims to be.
        reason: What does not fit.
    """

    def __init__(self, kind: str, reason: str) -> None:
        self.kind = kind
        self.reason = reason
        super().__init__(f"{kind}: {reason}")


KINDS: Mapping[str, type[InformationObject]] = {
    name: value
    for name, value in sorted(vars(information).items())
    if isinstance(value, type) and issubclass(value, InformationObject) and value is not InformationObject
}
"""Information objects by name."""


def to_json_dict(value: Any) -> dict[str, Json]:
    """Return the JSON object of an information object or of one of its parts (``Need``, ``PQProfile`` …)."""
    cls: Any = type(value)
    return {name: encode(getattr(value, name)) for name, encode in _encoders(cls)}


def from_json_dict(kind: str, given: Mapping[str, Json]) -> InformationObject:
    """Rebuild the information object of class ``kind``.

    Raises:
        CodecError: If the kind is unknown, a field is unknown, missing or of the wrong type, or a value is refused.
    """
    if kind not in KINDS:
        raise CodecError(kind, f"unknown kind; known are {', '.join(KINDS)}")
    built: InformationObject = _build(KINDS[kind], given)
    return built


def message_to_json_dict(message: Message) -> dict[str, Json]:
    """Return the JSON object of a message; ``kind`` names the class of ``body``."""
    return {
        "id": message.id,
        "sender": message.sender,
        "receiver": message.receiver,
        "sent_at": message.sent_at.isoformat(),
        "kind": type(message.body).__name__,
        "body": to_json_dict(message.body),
    }


def message_from_json_dict(given: Mapping[str, Json]) -> Message:
    """Rebuild a message.

    Raises:
        CodecError: If anything is missing or does not fit.
    """
    wanted = {"id", "sender", "receiver", "sent_at", "kind", "body"}
    if set(given) != wanted:
        raise CodecError("Message", f"fields {sorted(given)} instead of {sorted(wanted)}")
    try:
        return Message(
            id=_text(given["id"]),
            sender=_text(given["sender"]),
            receiver=_text(given["receiver"]),
            sent_at=_moment(given["sent_at"]),
            body=from_json_dict(_text(given["kind"]), given["body"]),
        )
    except TypeError as error:
        raise CodecError("Message", str(error)) from error


def _build(cls: Any, given: Mapping[str, Json]) -> Any:
    if not isinstance(given, Mapping):
        raise CodecError(cls.__name__, f"expected an object, got {type(given).__name__}")
    decoders, required = _decoders(cls)
    unknown = [name for name in given if name not in decoders]
    missing = [name for name in required if name not in given]
    if unknown or missing:
        raise CodecError(cls.__name__, f"unknown fields {unknown}, missing fields {missing}")
    values = {}
    for name, value in given.items():
        try:
            values[name] = decoders[name](value)
        except CodecError:
            raise
        except (TypeError, ValueError) as error:
            raise CodecError(cls.__name__, f"{name}: {error}") from error
    try:
        return cls(**values)
    except ValueError as error:
        raise CodecError(cls.__name__, str(error)) from error


@cache
def _encoders(cls: Any) -> tuple[tuple[str, _Convert], ...]:
    hints = get_type_hints(cls)
    return tuple((field.name, _encoder(hints[field.name])) for field in fields(cls))


@cache
def _decoders(cls: Any) -> tuple[dict[str, _Convert], tuple[str, ...]]:
    hints = get_type_hints(cls)
    required = tuple(f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING)
    return {field.name: _decoder(hints[field.name]) for field in fields(cls)}, required


def _encoder(hint: Any) -> _Convert:
    inner = _optional(hint)
    if inner is not None:
        encode = _encoder(inner)
        return lambda value: None if value is None else encode(value)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if item is float:
            return _numbers_out
        encode_item = _encoder(item)
        return lambda value: [encode_item(part) for part in value]
    simple: dict[Any, _Convert] = {float: _number_out, datetime: datetime.isoformat}
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return lambda value: value.value
    return to_json_dict if is_dataclass(hint) else simple.get(hint, lambda value: value)


def _decoder(hint: Any) -> _Convert:
    inner = _optional(hint)
    if inner is not None:
        decode = _decoder(inner)
        return lambda value: None if value is None else decode(value)
    if get_origin(hint) is tuple:
        return _tuple_in(_decoder(get_args(hint)[0]))
    if isinstance(hint, type) and is_dataclass(hint):
        return lambda value: _build(hint, value)
    simple: dict[Any, _Convert] = {float: _number_in, datetime: _moment, str: _text, int: _whole, bool: _truth}
    return simple.get(hint, hint)  # an enumeration is its own decoder


def _optional(hint: Any) -> Any:
    """Type inside ``X | None``, else ``None``."""
    if get_origin(hint) in (types.UnionType, typing.Union):
        inner = [part for part in get_args(hint) if part is not type(None)]
        if len(inner) == 1:
            return inner[0]
    return None


def _number_out(value: float) -> float | str:
    value = float(value)
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")


def _numbers_out(values: tuple[float, ...]) -> list[float | str]:
    # One sum is much cheaper than a test per value; it is finite for every ordinary profile.
    if math.isfinite(sum(values)):
        return [float(value) for value in values]
    return [_number_out(value) for value in values]


def _number_in(value: Json) -> float:
    if isinstance(value, str):
        if value not in ("NaN", "Infinity", "-Infinity"):
            raise ValueError(f"expected a number, got {value!r}")
        return float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {type(value).__name__}")
    return float(value)


def _tuple_in(decode: _Convert) -> _Convert:
    def convert(values: Json) -> tuple[Any, ...]:
        if not isinstance(values, list | tuple):
            raise TypeError(f"expected a list, got {type(values).__name__}")
        return tuple(decode(value) for value in values)

    return convert


def _moment(value: Json) -> datetime:
    return datetime.fromisoformat(_text(value))


def _text(value: Json) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, got {type(value).__name__}")
    return value


def _whole(value: Json) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"expected an integer, got {type(value).__name__}")
    return value


def _truth(value: Json) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"expected true or false, got {type(value).__name__}")
    return value
