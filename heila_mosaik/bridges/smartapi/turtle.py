"""Message to Turtle: deterministic ASCII bytes from templates (a signature covers exactly these bytes).

Everything outside ASCII is escaped, so that a receiver may read the bytes under any charset label.
"""

from __future__ import annotations

import math
import re
import zlib
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.table import ALSO, Field, Kind, Number, spec
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.domain.information import InformationObject, Measurements, Message

LINKED_LIST_MAX = 900  # the Smart API library reads an rdf:List recursively
SIZE_MAX = 256 * 1024
HEADER = "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in v.PREFIXES.items())
_SHORT = sorted(((iri, name) for name, iri in v.PREFIXES.items()), key=lambda pair: -len(pair[0]))
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SPECIAL = re.compile(r"[^ !#-\[\]-~]")


def _escape(match: re.Match[str]) -> str:
    char = match.group()
    code = ord(char)
    return _ESCAPES.get(char) or (f"\\u{code:04X}" if code <= 0xFFFF else f"\\U{code:08X}")


def text(value: str) -> str:
    """Quoted Turtle string in ASCII."""
    return f'"{_SPECIAL.sub(_escape, value)}"'


def name(iri: str) -> str:
    """Prefixed name of an IRI of a known namespace."""
    for namespace, prefix in _SHORT:
        if iri.startswith(namespace):
            return f"{prefix}:{iri[len(namespace) :]}"
    return f"<{iri}>"


def reference(base: str, identity: str) -> str:
    """IRI of a named thing."""
    return f"<{base}{quote(identity, safe='/:-._~')}>"


def moment(value: datetime) -> str:
    """Time with offset."""
    return f'"{value.astimezone(UTC).isoformat()}"^^xsd:dateTime'


def number_list(values: tuple[float, ...], exponent: int) -> str:
    """A series: rdf:List, or the indexed array when it is long."""
    if len(values) <= LINKED_LIST_MAX:
        return f"( {' '.join(v.to_wire(float(value), exponent) for value in values)} )"
    entries = " , ".join(
        f"[ smartapi:index {index} ; rdf:value {v.to_wire(float(value), exponent)} ]"
        for index, value in enumerate(values)
    )
    return f"[ rdf:first [ smartapi:size {len(values)} ; smartapi:indexedArray [ smartapi:entry {entries} ] ] ]"


class Writer:
    """Writes one message.

    Args:
        kilowatts: Write active power in kW, as the original field sites did, instead of MW; no digit is lost.
    """

    __slots__ = ("_kilowatts", "_series")

    def __init__(self, *, kilowatts: bool = False) -> None:
        self._kilowatts = kilowatts
        self._series: list[str] = []

    def _unit(self, name_: str) -> v.Unit:
        return v.KILOWATT if self._kilowatts and name_ == "MW" else v.UNITS[name_]

    def _meaning(self, number: Number, kind: str | None) -> tuple[str, int]:
        unit = self._unit(number.unit(kind))
        return f"qudt:quantityKind {name(number.quantity)} ; qudt:unit {name(unit.iri)}", unit.exponent

    def _value_object(self, field: Field, value: float | bool, kind: str | None, index: int | None = None) -> str:
        assert field.number is not None
        meaning, exponent = self._meaning(field.number, kind)
        shown = str(value).lower() if isinstance(value, bool) else v.to_wire(float(value), exponent)
        place = "" if index is None else f" ; heila:index {index}"
        return f"[ a smartapi:ValueObject ; heila:field heila:{field.name}{place} ; {meaning} ; rdf:value {shown} ]"

    def _plain(self, field: Field, value: object) -> str:
        if field.kind is Kind.TIME:
            assert isinstance(value, datetime)
            return moment(value)
        if field.kind in (Kind.FLAG, Kind.COUNT):
            return str(value).lower()
        return text(value.value if isinstance(value, StrEnum) else str(value))

    def _property(self, field: Field, value: object, kind: str | None) -> list[str]:
        if value is None or value == field.default:
            return []
        if field.kind is Kind.NUMBER:
            assert isinstance(value, float | int)
            return [f"smartapi:valueObject {self._value_object(field, value, kind)}"]
        if field.kind in (Kind.TEXT, Kind.CODE, Kind.TIME, Kind.FLAG, Kind.COUNT):
            return [f"heila:{field.name} {self._plain(field, value)}"]
        assert isinstance(value, tuple)
        if field.kind is Kind.COLUMN:
            parts = [self._value_object(field, item, kind, index) for index, item in enumerate(value)]
            return [f"smartapi:valueObject {' , '.join(parts)}"]
        if field.kind is Kind.TEXTS:
            # Typed, because the original library forgets blank nodes without a class it knows.
            parts = [
                f"[ a smartapi:Object ; heila:index {index} ; rdf:value {text(item)} ]"
                for index, item in enumerate(value)
            ]
        else:
            parts = [f"[ heila:index {index} ; {self.describe(item)} ]" for index, item in enumerate(value)]
        return [f"heila:{field.name} {' , '.join(parts)}"]

    def _time_series(self, field: Field, values: tuple[float, ...], start: datetime, step_s: int) -> None:
        assert field.number is not None
        if not values:
            return
        meaning, exponent = self._meaning(field.number, None)
        stop = start + timedelta(seconds=step_s * len(values))
        self._series.append(
            f"[ a smartapi:TimeSeries ; heila:field heila:{field.name} ; {meaning} ; "
            f'smartapi:timeStep "PT{step_s}S"^^xsd:duration ; smartapi:temporalContext [ a smartapi:TemporalContext ; '
            f"smartapi:start {moment(start)} ; smartapi:end {moment(stop)} ] ; "
            f"smartapi:list {number_list(values, exponent)} ]"
        )

    def describe(self, thing: Any) -> str:
        """Predicates and objects of an information object or of a part of one."""
        cls: type = type(thing)
        table = spec(cls)
        profile = getattr(thing, "profile", None) if table.profile else None
        kind = getattr(thing, "kind", None)
        lines = [_BREAKER if getattr(thing, "closed", None) is not None else _types(cls.__name__)]
        if isinstance(thing, InformationObject):
            lines.append(f"heila:id {text(thing.id)}")
        inner = frozenset(("start", "step_s", *getattr(profile, "__slots__", ()))) if profile else frozenset()
        for field in table.fields:
            value = getattr(profile if field.name in inner else thing, field.name)
            if field.kind is Kind.SERIES:
                grid = profile or thing
                self._time_series(field, value, grid.start, grid.step_s)
            else:
                lines += self._property(field, value, kind)
        return " ;\n  ".join(lines)

    def _measurements(self, body: Measurements) -> str:
        lines = [
            _types("Measurements"),
            f"heila:id {text(body.id)}",
            f"heila:source {text(body.source)}",
            f"heila:at {moment(body.at)}",
        ]
        lines += [f"smartapi:valueObject {self._point(body, index)}" for index in range(len(body.elements))]
        return " ;\n  ".join(lines)

    def _point(self, body: Measurements, index: int) -> str:
        kind_iri, unit_name = v.QUANTITIES[body.quantities[index]]
        unit = self._unit(unit_name)
        value = body.values[index]
        shown = "" if math.isnan(value) else f" ; rdf:value {v.to_wire(float(value), unit.exponent)}"
        if unit_name == "bool" and value in (0.0, 1.0):
            shown = f" ; rdf:value {'true' if value else 'false'}"
        return (
            f"[ a smartapi:ValueObject , cim:{'DiscreteValue' if unit_name == 'bool' else 'AnalogValue'} ; "
            f"heila:index {index} ; heila:element {text(body.elements[index])} ; "
            f"heila:quantity {text(body.quantities[index].value)} ; "
            f"qudt:quantityKind {name(kind_iri)} ; qudt:unit {name(unit.iri)}{shown} ; "
            f"heila:sigma {v.to_wire(float(body.sigmas[index]), unit.exponent)} ; "
            f"heila:quality {text(body.qualities[index].value)} ; "
            f"heila:ageSeconds {v.to_wire(float(body.ages_s[index]), 0)} ]"
        )

    def message(self, message: Message) -> bytes:
        """Turtle of a message.

        Raises:
            RefusedError: If it is larger than a receiver accepts.
        """
        self._series = []
        body = message.body
        described = self._measurements(body) if isinstance(body, Measurements) else self.describe(body)
        entity = reference(v.OBJECT, body.id)
        activity = ["a smartapi:Activity", "smartapi:method smartapi:Write"]
        start, stop = getattr(body, "start", None), getattr(body, "stop", None)
        if isinstance(start, datetime) and isinstance(stop, datetime):
            activity.append(
                f"smartapi:temporalContext [ a smartapi:TemporalContext ; smartapi:start {moment(start)} ; "
                f"smartapi:end {moment(stop)} ]"
            )
        activity.append(f"smartapi:entity {entity}")
        activity += [f"smartapi:timeSeries {series}" for series in self._series]
        sender, action = reference(v.ACTOR, message.sender), reference(v.ACTIVITY, message.id)
        turtle = (
            f"{HEADER}{reference(v.MESSAGE, message.id)} a smartapi:Notification ;\n"
            f"  smartapi:generatedBy {sender} ;\n  smartapi:generatedAt {moment(message.sent_at)} ;\n"
            f"  smartapi:id {numeric_identity(message.id)} ;\n  heila:id {text(message.id)} ;\n"
            f"  heila:sender {text(message.sender)} ;\n  heila:receiver {text(message.receiver)} ;\n"
            f"  smartapi:activity {action} .\n{sender} a smartapi:Entity .\n"
            f"{action} {f' ;{chr(10)}  '.join(activity)} .\n{entity} {described} .\n"
        )
        payload = turtle.encode("ascii")
        if len(payload) > SIZE_MAX:
            raise RefusedError(
                Refusal.OVERSIZE,
                f"{message.id} ({type(body).__name__}) takes {len(payload)} bytes, limit {SIZE_MAX}",
                where=message.id,
                remedy="send a shorter horizon, fewer points or fewer offers in one message",
            )
        return payload


def numeric_identity(identity: str) -> int:
    """smartapi:id of a message: its running number, or a checksum of an identity without one."""
    tail = re.search(r"([0-9]{1,15})$", identity)
    return int(tail.group(1)) if tail and tail.group(1).isascii() else zlib.crc32(identity.encode())


def _types(cls: str) -> str:
    also = f" , cim:{ALSO[cls][0]}" if ALSO.get(cls, ("",))[0] else ""
    return f"a smartapi:Entity , heila:{cls}{also}"


# A command to a breaker, as the original field sites said it.
_BREAKER = "a smartapi:Entity , smartapi:CircuitBreaker , heila:ControlSignal , cim:Command"
