"""Guarded graph to message: the table read backwards."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from urllib.parse import unquote

from rdflib import Graph, Literal, URIRef
from rdflib.term import Node

from heila_mosaik.bridges import rdfguard
from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.canonical import read_canonical
from heila_mosaik.bridges.smartapi.graph import Thing, lexical, malformed
from heila_mosaik.bridges.smartapi.table import MESSAGES, RANGES, Field, Kind, Number, check_ranges, spec
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.domain.information import InformationObject, Measurements, Message, PQProfile
from heila_mosaik.domain.quantities import Quality, Quantity

_MESSAGE_TYPES = tuple(
    f"{v.SMARTAPI}{name}" for name in ("Notification", "Request", "Response", "AliveRequest", "AliveResponse")
)
_PROFILE_FIELDS = tuple(field.name for field in dataclasses.fields(PQProfile))


def read_message(payload: bytes, content_type: str = "text/turtle") -> Message:
    """Message from bytes that come from outside; what our own writer wrote is read without a graph.

    Args:
        payload: Turtle, JSON-LD or RDF/XML.
        content_type: Media type.

    Raises:
        RefusedError: With the named reason; no other exception leaves.
    """
    known = read_canonical(payload) if content_type == "text/turtle" else None
    return read_graph(payload, content_type) if known is None else known


def read_graph(payload: bytes, content_type: str = "text/turtle") -> Message:
    """Message from bytes that come from outside, through the guarded graph.

    Args:
        payload: Turtle, JSON-LD or RDF/XML.
        content_type: Media type.

    Raises:
        RefusedError: With the named reason; no other exception leaves.
    """
    graph = rdfguard.parse(payload, content_type)
    root = root_of(graph)
    action = root.one(f"{v.SMARTAPI}activity")
    if action is None:
        raise malformed("message without smartapi:activity", root.label)
    entity = Thing(graph, action).one(f"{v.SMARTAPI}entity")
    if entity is None:
        raise malformed("activity without smartapi:entity", root.label)
    sent_at = root.moment(f"{v.SMARTAPI}generatedAt")
    if sent_at is None:
        raise malformed("message without smartapi:generatedAt", root.label)
    try:
        body = _Reader(graph, Thing(graph, action)).body(Thing(graph, entity))
    except (ValueError, TypeError, OverflowError) as error:
        raise malformed(str(error), root.label) from error
    generated_by = root.one(f"{v.SMARTAPI}generatedBy")
    return Message(
        id=root.text(f"{v.HEILA}id") or _named(str(root.node), v.MESSAGE),
        sender=root.text(f"{v.HEILA}sender") or _named(str(generated_by or ""), v.ACTOR),
        receiver=root.text(f"{v.HEILA}receiver") or "",
        sent_at=sent_at,
        body=body,
    )


def root_of(graph: Graph) -> Thing:
    """The one message of a graph."""
    roots = list(
        dict.fromkeys(s for iri in _MESSAGE_TYPES for s in graph.subjects(URIRef(f"{v.RDF}type"), URIRef(iri)))
    )
    if len(roots) != 1:
        raise malformed(f"{len(roots)} messages in one payload", "message", "send exactly one smartapi:Notification")
    return Thing(graph, roots[0])


def _named(iri: str, base: str) -> str:
    return unquote(iri[len(base) :]) if iri.startswith(base) else iri


def _require(name: str, owner: str) -> RefusedError:
    return malformed(f"field {name} is missing", f"{owner}.{name}")


@dataclass(slots=True)
class _Reader:
    graph: Graph
    activity: Thing

    def body(self, entity: Thing) -> InformationObject:
        names = [iri[len(v.HEILA) :] for iri in entity.types() if iri.startswith(v.HEILA)]
        classes = [cls for cls in MESSAGES if cls.__name__ in names]
        if len(classes) != 1:
            raise RefusedError(
                Refusal.UNKNOWN_OBJECT,
                f"entity is of no known information object ({', '.join(names) or 'no heila type'})",
                where=entity.label,
                remedy=f"type it as one of {', '.join(cls.__name__ for cls in MESSAGES)}",
            )
        if classes[0] is Measurements:
            return self._measurements(entity)
        made = self._build(entity, classes[0])
        assert isinstance(made, InformationObject)
        return made

    def _build(self, thing: Thing, cls: type) -> object:
        table = spec(cls)
        owner = cls.__name__
        values: dict[str, object] = {}
        if issubclass(cls, InformationObject):
            values["id"] = thing.text(f"{v.HEILA}id") or _named(thing.label, v.OBJECT)
        kind = thing.text(f"{v.HEILA}kind")
        pointers = _by_field(thing.things(f"{v.SMARTAPI}valueObject"), table.fields, (Kind.NUMBER, Kind.COLUMN))
        series = _by_field(self.activity.things(f"{v.SMARTAPI}timeSeries"), table.fields, (Kind.SERIES,))
        for field in table.fields:
            if field.kind is Kind.SERIES:
                values[field.name] = self._series(series.get(field.name, []), field, owner)
            elif field.kind in (Kind.NUMBER, Kind.COLUMN):
                values[field.name] = _numbers(pointers.get(field.name, []), field, kind, owner)
            else:
                values[field.name] = self._plain(thing, field, owner)
        if table.timed:
            _same_grid(values, [one for many in series.values() for one in many], owner)
        for field in table.fields:
            if values[field.name] is None and not field.optional:
                if field.default is dataclasses.MISSING:
                    raise _require(field.name, owner)
                values[field.name] = field.default
        check_ranges(values, owner)
        if table.profile:
            profile = PQProfile(**{name: values.pop(name) for name in _PROFILE_FIELDS})  # type: ignore[arg-type]
            values["profile"] = profile
        return cls(**values)

    def _plain(self, thing: Thing, field: Field, owner: str) -> object:
        iri, where = f"{v.HEILA}{field.name}", f"{owner}.{field.name}"
        if field.kind is Kind.TIME:
            return thing.moment(iri)
        if field.kind is Kind.COUNT:
            count = thing.integer(iri)
            if count is not None and not 1 <= count <= 366 * 86400:
                raise RefusedError(Refusal.OUT_OF_RANGE, f"{count}", where=where, remedy="1 … 31622400")
            return count
        if field.kind is Kind.TEXTS:
            return tuple(part.text(f"{v.RDF}value") or "" for part in _ordered(thing.things(iri), where))
        if field.kind is Kind.PARTS:
            assert field.part is not None
            return tuple(self._build(part, field.part) for part in _ordered(thing.things(iri), where))
        return _scalar(thing, field, iri, where)

    def _series(self, found: list[Thing], field: Field, owner: str) -> tuple[float, ...]:
        where = f"{owner}.{field.name}"
        if not found:
            return ()
        if len(found) > 1:
            raise malformed(f"{len(found)} time series", where)
        assert field.number is not None
        unit_iri = found[0].unit()
        return tuple(_number(item, unit_iri, field.number, None, where) for item in found[0].numbers())

    def _measurements(self, entity: Thing) -> Measurements:
        points = _ordered(entity.things(f"{v.SMARTAPI}valueObject"), "Measurements")
        columns = [_point(point) for point in points]
        at = entity.moment(f"{v.HEILA}at")
        if at is None:
            raise _require("at", "Measurements")
        return Measurements(
            id=entity.text(f"{v.HEILA}id") or _named(entity.label, v.OBJECT),
            source=entity.text(f"{v.HEILA}source") or "",
            at=at,
            elements=tuple(column[0] for column in columns),
            quantities=tuple(column[1] for column in columns),
            values=tuple(column[2] for column in columns),
            sigmas=tuple(column[3] for column in columns),
            qualities=tuple(column[4] for column in columns),
            ages_s=tuple(column[5] for column in columns),
        )


def _scalar(thing: Thing, field: Field, iri: str, where: str) -> object:
    text = thing.text(iri)
    if text is None or field.kind is Kind.TEXT:
        return text
    if field.kind is Kind.FLAG:
        node = thing.one(iri)
        if not isinstance(node, Literal) or not isinstance(node.value, bool):
            raise malformed(f"{text!r} is not true or false", where)
        return node.value
    assert field.code is not None
    try:
        return field.code(text)
    except ValueError as error:
        choices = ", ".join(field.code)
        raise malformed(f"{text[:40]!r} is not known", where, f"one of {choices}") from error


def _by_field(found: list[Thing], fields: tuple[Field, ...], kinds: tuple[Kind, ...]) -> dict[str, list[Thing]]:
    """Group by the named field.

    A peer that names none is understood when only one field has the quantity, or when it gives a range by
    ``smartapi:minimum`` and ``smartapi:maximum``.
    """
    grouped: dict[str, list[Thing]] = {}
    wanted = [field for field in fields if field.kind in kinds]
    for thing in found:
        name = str(thing.one(f"{v.HEILA}field") or "").removeprefix(v.HEILA)
        for field_name, part in [(name, thing)] if name else _guessed(thing, wanted):
            grouped.setdefault(field_name, []).append(part)
    unknown = sorted(set(grouped) - {field.name for field in wanted})
    if unknown:
        raise malformed(f"unknown field {unknown[0][:60]!r}", "heila:field", f"one of {[f.name for f in wanted]}")
    return grouped


def _guessed(thing: Thing, wanted: list[Field]) -> list[tuple[str, Thing]]:
    """Fields that a value object or series without ``heila:field`` can only mean."""
    kind = thing.kind()
    fitting = [field.name for field in wanted if field.number and field.number.quantity == kind]
    if len(fitting) == 1:
        return [(fitting[0], thing)]
    limits = (f"{v.SMARTAPI}minimum", f"{v.SMARTAPI}maximum")
    pair = [name for name in RANGES if name in fitting]
    if len(pair) == 2 and all(thing.objects(limit) for limit in limits):
        return [(name, dataclasses.replace(thing, value_iri=limit)) for name, limit in zip(pair, limits, strict=True)]
    raise malformed(f"quantity <{kind}> fits {len(fitting)} fields", "value object", "add heila:field")


def _ordered(things: list[Thing], where: str) -> list[Thing]:
    indices = [thing.integer(f"{v.HEILA}index") for thing in things]
    if sorted(index for index in indices if index is not None) != list(range(len(things))):
        raise malformed("heila:index is not 0, 1, 2, …", where)
    order = sorted(range(len(things)), key=lambda position: indices[position] or 0)
    return [things[position] for position in order]


def _numbers(found: list[Thing], field: Field, kind: str | None, owner: str) -> object:
    where = f"{owner}.{field.name}"
    assert field.number is not None
    if field.kind is Kind.COLUMN:
        return tuple(_value(thing, field.number, kind, where) for thing in _ordered(found, where))
    if len(found) > 1:
        raise malformed(f"{len(found)} values", where)
    return _value(found[0], field.number, kind, where) if found else None


def _value(thing: Thing, number: Number, kind: str | None, where: str) -> float | bool:
    stated = thing.kind()
    if stated is not None and stated != number.quantity:
        raise malformed(f"quantity <{stated}>, expected <{number.quantity}>", where)
    node = thing.one(thing.value_iri)
    if number.units == "bool":
        if not isinstance(node, Literal) or not isinstance(node.value, bool):
            raise malformed("breaker position must be true or false", where)
        return node.value
    return _number(node, thing.unit(), number, kind, where)


def _number(node: Node | None, unit_iri: str, number: Number, kind: str | None, where: str) -> float:
    try:
        unit = number.unit(kind)
    except KeyError as error:
        raise malformed(f"kind {kind!r} has no unit", where) from error
    value = v.from_wire(lexical(node, where), unit_iri, unit, where)
    if not number.low <= value <= number.high:
        raise RefusedError(Refusal.OUT_OF_RANGE, f"{value} {unit} outside {number.low} … {number.high}", where=where,
                           remedy="send a value in range")  # fmt: skip
    return value


def _same_grid(values: dict[str, object], series: list[Thing], owner: str) -> None:
    for thing in series:
        grid = thing.grid()
        if grid is None:
            continue
        start, step = values["start"] or grid[0], values["step_s"] or grid[1]
        if grid != (start, step):
            raise malformed(f"time series starts {grid[0]} at {grid[1]} s, the object says {start}, {step} s", owner)
        values["start"], values["step_s"] = start, step


def _point(thing: Thing) -> tuple[str, Quantity, float, float, Quality, float]:
    element = thing.text(f"{v.HEILA}element")
    if element is None:
        raise _require("element", "Measurements")
    named = thing.text(f"{v.HEILA}quantity")
    quantity = Quantity(named) if named else v.quantity_of(thing.kind() or "")
    if quantity is None:
        raise malformed(f"quantity <{thing.kind()}> is not known", f"Measurements {element}")
    unit, where = v.QUANTITIES[quantity][1], f"Measurements {element}.{quantity}"
    quality = Quality(thing.text(f"{v.HEILA}quality") or Quality.GOOD)
    node = thing.one(f"{v.RDF}value")
    if node is None and quality is not Quality.MISSING:
        raise malformed("no value, and quality is not 'missing'", where)
    sigma, age = thing.one(f"{v.HEILA}sigma"), thing.one(f"{v.HEILA}ageSeconds")
    deviation = 0.0 if sigma is None else v.from_wire(lexical(sigma, where), thing.unit(), unit, where)
    age_s = 0.0 if age is None else v.from_wire(lexical(age, where), v.UNITS["1"].iri, "1", where)
    if deviation < 0 or age_s < 0:
        raise RefusedError(Refusal.OUT_OF_RANGE, "negative uncertainty or age", where=where, remedy="send >= 0")
    return element, quantity, _measured(node, thing, unit, where), deviation, quality, age_s


def _measured(node: Node | None, thing: Thing, unit: str, where: str) -> float:
    if node is None:
        return math.nan
    if isinstance(node, Literal) and isinstance(node.value, bool):
        return float(node.value)
    return v.from_wire(lexical(node, where), thing.unit(), unit, where)
