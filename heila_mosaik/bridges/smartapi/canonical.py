"""Reads at once what our own writer wrote; everything else is left to the guarded graph.

A message is picked apart with regular expressions that need not be strict: it is written again, and only the very same
bytes count.  As the graph reads what the writer wrote as the message it was written from, both ways agree.
"""

from __future__ import annotations

import dataclasses
import math
import re
from datetime import datetime

from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.table import MESSAGES, Field, Kind, check_ranges, spec
from heila_mosaik.bridges.smartapi.turtle import HEADER, SIZE_MAX, Writer
from heila_mosaik.bridges.smartapi_refusal import RefusedError
from heila_mosaik.domain.information import InformationObject, Measurements, Message, PQProfile
from heila_mosaik.domain.quantities import Quality, Quantity

_KNOWN: dict[str, type] = {cls.__name__: cls for cls in MESSAGES}
_COUNT_MAX = 366 * 86400
_STRING = r'"((?:[^"\\]|\\.)*)"'
_MESSAGE = re.compile(
    re.escape(HEADER) + r"<[^>\s]*> a smartapi:Notification ;\n  smartapi:generatedBy <[^>\s]*> ;\n"
    r'  smartapi:generatedAt "([^"\s]{1,40})"\^\^xsd:dateTime ;\n  smartapi:id [0-9]{1,16} ;\n'
    rf"  heila:id {_STRING} ;\n  heila:sender {_STRING} ;\n  heila:receiver {_STRING} ;\n"
)
_CLASS = re.compile(r"\n<[^>\s]*> a smartapi:Entity , (?:smartapi:\w{1,40} , )?heila:([A-Za-z]{1,40})")
_PLAIN = re.compile(rf"heila:(\w+) (?:{_STRING}(\^\^xsd:dateTime)?|(true|false|[0-9]{{1,9}})) ")
_NUMBER = re.compile(
    r"ValueObject ; heila:field heila:(\w+) ; qudt:quantityKind \S+ ; qudt:unit \S+ ; rdf:value (\S{1,40}) \]"
)
_SERIES = re.compile(
    r"TimeSeries ; heila:field heila:(\w+) ; qudt:quantityKind \S+ ; qudt:unit \S+ ; smartapi:timeStep [^\n(]*?"
    r"smartapi:list (?:\( ([^)\n]*) \)|\[ rdf:first \[ smartapi:size [0-9]+ ; smartapi:indexedArray \[ "
    r"smartapi:entry ([^\n]*?) \] \] \])"
)
_ENTRY = re.compile(r"rdf:value (\S{1,40})")
_POINT = re.compile(
    r"heila:index [0-9]+ ; heila:element " + _STRING + r" ; heila:quantity " + _STRING + r" ; qudt:quantityKind \S+ ; "
    r"qudt:unit \S+(?: ; rdf:value (\S{1,40}))? ; heila:sigma (\S{1,40}) ; heila:quality " + _STRING + r" ; "
    r"heila:ageSeconds (\S{1,40}) \]"
)
_ESCAPE = re.compile(r'\\(?:u([0-9A-F]{4})|U([0-9A-F]{8})|([\\"nrt]))')
_SHORT = {"\\": "\\", '"': '"', "n": "\n", "r": "\r", "t": "\t"}
_PROFILE = tuple(field.name for field in dataclasses.fields(PQProfile))


class _OtherError(Exception):
    """Not what our writer writes; the graph has to look."""


def read_canonical(payload: bytes) -> Message | None:
    """Message from bytes our own writer wrote, ``None`` for all others and for what has to be refused."""
    if len(payload) > SIZE_MAX:
        return None
    try:
        text = payload.decode("ascii")
        message = _message(text)
        same = Writer().message(message) == payload
    except (_OtherError, RefusedError, ValueError, TypeError, KeyError, OverflowError, ArithmeticError):
        return None
    return message if same else None


def _message(text: str) -> Message:
    head = _MESSAGE.match(text)
    named = _CLASS.search(text, 0 if head is None else head.end())
    if head is None or named is None or named.group(1) not in _KNOWN:
        raise _OtherError
    cls = _KNOWN[named.group(1)]
    entity = text[named.end() :]
    body = _measurements(entity) if cls is Measurements else _flat(cls, entity, text[head.end() : named.start()])
    sent_at, identity, sender, receiver = head.groups()
    return Message(
        id=_text(identity), sender=_text(sender), receiver=_text(receiver), sent_at=_moment(sent_at), body=body
    )


def _flat(cls: type, entity: str, activity: str) -> InformationObject:
    """An object without parts."""
    table = spec(cls)
    plain = {m.group(1): m for m in _PLAIN.finditer(entity)}
    numbers = dict(_NUMBER.findall(entity))
    series = {m.group(1): m for m in _SERIES.finditer(activity)}
    values: dict[str, object] = {"id": _text(plain["id"].group(2))}
    for field in table.fields:
        match field.kind:
            case Kind.SERIES:
                values[field.name] = _list(series.get(field.name), field)
            case Kind.NUMBER:
                values[field.name] = _number(numbers.get(field.name), field)
            case Kind.COLUMN | Kind.TEXTS | Kind.PARTS:
                raise _OtherError
            case _:
                values[field.name] = _scalar(plain.get(field.name), field)
        if values[field.name] is None and not field.optional:
            if field.default is dataclasses.MISSING:
                raise _OtherError
            values[field.name] = field.default
    check_ranges(values, cls.__name__)
    if table.profile:
        values["profile"] = PQProfile(**{name: values.pop(name) for name in _PROFILE})  # type: ignore[arg-type]
    made: InformationObject = cls(**values)
    return made


def _scalar(found: re.Match[str] | None, field: Field) -> object:
    if found is None:
        return None
    _, string, timed, word = found.groups()
    if field.kind is Kind.TIME:
        if not timed:
            raise _OtherError
        return _moment(string)
    if field.kind is Kind.FLAG:
        return {"true": True, "false": False}[word]
    if field.kind is Kind.COUNT:
        if not 1 <= int(word) <= _COUNT_MAX:
            raise _OtherError
        return int(word)
    value = _text(string)
    return value if field.code is None else field.code(value)


def _number(written: str | None, field: Field) -> float | bool | None:
    if written is None:
        return None
    assert field.number is not None
    if field.number.units == "bool":
        return {"true": True, "false": False}[written]
    return _checked((written,), field)[0]


def _list(found: re.Match[str] | None, field: Field) -> tuple[float, ...]:
    if found is None:
        return ()
    return _checked(found.group(2).split(" ") if found.group(2) else _ENTRY.findall(found.group(3)), field)


def _checked(written: list[str] | tuple[str, ...], field: Field) -> tuple[float, ...]:
    number = field.number
    if number is None or not isinstance(number.units, str):
        raise _OtherError
    exponent = v.UNITS[number.units].exponent
    values = tuple([_shifted(item, exponent) for item in written])
    if values and not number.low <= min(values) <= max(values) <= number.high:
        raise _OtherError
    return values


def _shifted(written: str, exponent: int) -> float:
    """Value in the field's unit, shifted digit by digit as the writer shifted it."""
    if exponent:
        mantissa, _, power = written.partition("e")
        written = f"{mantissa}e{int(power) - exponent}"
    value = float(written)
    if not math.isfinite(value):
        raise _OtherError
    return value


def _measurements(entity: str) -> Measurements:
    head, _, points = entity.partition("smartapi:valueObject")
    plain = {m.group(1): m for m in _PLAIN.finditer(f"{head} ")}
    rows = [_point(match) for match in _POINT.finditer(points)]
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    return Measurements(
        id=_text(plain["id"].group(2)),
        source=_text(plain["source"].group(2)),
        at=_moment(plain["at"].group(2)),
        elements=columns[0],
        quantities=columns[1],
        values=columns[2],
        sigmas=columns[3],
        qualities=columns[4],
        ages_s=columns[5],
    )


def _point(found: re.Match[str]) -> tuple[str, Quantity, float, float, Quality, float]:
    element, named, written, sigma, graded, age = found.groups()
    quantity, quality = Quantity(_text(named)), Quality(_text(graded))
    unit = v.QUANTITIES[quantity][1]
    exponent = v.UNITS[unit].exponent
    if written is None:
        if quality is not Quality.MISSING:
            raise _OtherError
        value = math.nan
    else:
        value = {"true": 1.0, "false": 0.0}[written] if written in ("true", "false") else _shifted(written, exponent)
    deviation, age_s = _shifted(sigma, exponent), _shifted(age, 0)
    if deviation < 0 or age_s < 0:
        raise _OtherError
    return _text(element), quantity, value, deviation, quality, age_s


def _moment(written: str) -> datetime:
    moment = datetime.fromisoformat(written)
    if moment.tzinfo is None:
        raise _OtherError
    return moment


def _text(written: str) -> str:
    return _ESCAPE.sub(_unescape, written) if "\\" in written else written


def _unescape(found: re.Match[str]) -> str:
    four, eight, short = found.groups()
    return _SHORT[short] if short else chr(int(four or eight, 16))
