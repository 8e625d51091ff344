"""Tolerant reader of any Smart API message: what the original library writes, quantities, units and digits untouched.

Values and time series are found wherever the library lets them stand: on entities, on inputs and outputs of activities,
on the message itself, as a price of an offering.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

from rdflib import BNode, Literal, URIRef
from rdflib.term import Node

from heila_mosaik.bridges import rdfguard
from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.graph import Thing, malformed
from heila_mosaik.bridges.smartapi.reader import root_of

_VALUE, _SERIES = f"{v.SMARTAPI}ValueObject", f"{v.SMARTAPI}TimeSeries"
_PRICES = (f"{v.GR}UnitPriceSpecification", f"{v.GR}PriceSpecification")


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainValue:
    """A number as the peer wrote it.

    Attributes:
        owner: Nearest thing with a name above it: entity, activity or message.
        quantity: IRI of the quantity kind, empty if none is given.
        unit: IRI of the unit, empty if none is given.
        value: Lexical value, empty if none is given.
        minimum: Lexical lower limit.
        maximum: Lexical upper limit.
    """

    owner: str
    quantity: str
    unit: str
    value: str
    minimum: str = ""
    maximum: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainSeries:
    """A time series as the peer wrote it.

    Attributes:
        owner: Nearest thing with a name above it.
        quantity: IRI of the quantity kind.
        unit: IRI of the unit.
        start: Start of the first interval, UTC.
        step_s: Length of an interval. [s]
        values: Lexical values, in order. (n,)
    """

    owner: str
    quantity: str
    unit: str
    start: datetime | None
    step_s: int | None
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlainNotification:
    """What any Smart API peer said.

    Attributes:
        kind: ``Notification``, ``Request``, ``Response`` …
        generated_by: IRI of the sender.
        generated_at: Time of the message, UTC; ``None`` if it has none.
        values: Its values.
        series: Its time series.
    """

    kind: str
    generated_by: str
    generated_at: datetime | None
    values: tuple[PlainValue, ...]
    series: tuple[PlainSeries, ...]


def read_plain(
    payload: bytes, content_type: str = "text/turtle", *, assume_zone: tzinfo | None = None
) -> PlainNotification:
    """Read a message of the original Smart API library.

    Args:
        payload: Turtle, JSON-LD or RDF/XML.
        content_type: Media type; its charset is not believed.
        assume_zone: Zone of times without offset.  The library's factories write such times; they are refused unless
            somebody says where the peer's clock stands.

    Raises:
        RefusedError: If the guard or the shape forbids it.
    """
    root = root_of(rdfguard.parse(payload, content_type))
    root = Thing(root.graph, root.node, assume_zone)
    found = list(_below(root))
    values = [_value(thing, owner) for thing, owner in found if _VALUE in thing.types()]
    values += [_price(thing, owner) for thing, owner in found if any(kind in thing.types() for kind in _PRICES)]
    series = [_series(thing, owner) for thing, owner in found if _SERIES in thing.types()]
    kinds = [iri[len(v.SMARTAPI) :] for iri in root.types() if iri.startswith(v.SMARTAPI)]
    return PlainNotification(
        kind=next((kind for kind in kinds if kind not in ("Message", "Evaluation", "ValueObject")), "Message"),
        generated_by=str(root.one(f"{v.SMARTAPI}generatedBy") or ""),
        generated_at=root.moment(f"{v.SMARTAPI}generatedAt"),
        values=tuple(sorted(values, key=lambda each: (each.owner, each.quantity, each.unit, each.value))),
        series=tuple(sorted(series, key=lambda each: (each.owner, each.quantity, each.unit, each.values))),
    )


def _below(root: Thing) -> Iterator[tuple[Thing, str]]:
    """Everything the message leads to, each thing once, with the name of the nearest named thing above it."""
    waiting: list[tuple[Node, str]] = [(root.node, root.label if isinstance(root.node, URIRef) else "message")]
    seen: set[Node] = set()
    while waiting:
        node, owner = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        thing = Thing(root.graph, node, root.zone)
        yield thing, owner
        name = thing.label if isinstance(node, URIRef) else owner
        below = {target for target in root.graph.objects(node) if not isinstance(target, Literal)} - seen
        waiting += sorted(((target, name) for target in below), key=lambda pair: (isinstance(pair[0], BNode), pair[0]))


def _value(thing: Thing, owner: str) -> PlainValue:
    return PlainValue(
        owner=owner,
        quantity=thing.kind() or "",
        unit=thing.unit(),
        value=str(_literal(thing, f"{v.RDF}value")),
        minimum=str(_literal(thing, f"{v.SMARTAPI}minimum")),
        maximum=str(_literal(thing, f"{v.SMARTAPI}maximum")),
    )


def _literal(thing: Thing, iri: str) -> Literal | str:
    node = thing.one(iri)
    if node is None:
        return ""
    if not isinstance(node, Literal):
        raise malformed(f"<{iri}> must be a literal", thing.label)
    return node


def _price(thing: Thing, owner: str) -> PlainValue:
    return PlainValue(
        owner=owner,
        quantity=thing.kind() or f"{v.SMARTAPI}EnergyPrice",
        unit=thing.unit(),
        value=thing.text(f"{v.GR}hasCurrencyValue") or "",
    )


def _series(thing: Thing, owner: str) -> PlainSeries:
    start, step_s = thing.grid() or (None, None)
    return PlainSeries(
        owner=owner,
        quantity=thing.kind() or "",
        unit=thing.unit(),
        start=start,
        step_s=step_s,
        values=tuple(str(item) for item in thing.numbers()),
    )
