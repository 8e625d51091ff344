"""Smart API structure of a graph: nodes, value objects, time series and the list encodings of the original library.

Prefixes play no role (the peer writes ns1, ns2); only IRIs count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache
from typing import cast

from rdflib import BNode, Graph, Literal, URIRef
from rdflib.term import Node

from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError

LIST_MAX = 10_000
_FIRST, _REST, _NIL = URIRef(f"{v.RDF}first"), URIRef(f"{v.RDF}rest"), URIRef(f"{v.RDF}nil")
STEP_MAX_S = 366 * 86400


def malformed(what: str, where: str, remedy: str = "see docs/messages.md") -> RefusedError:
    """Refusal of a graph whose shape is wrong."""
    return RefusedError(Refusal.SHAPE, what, where=where, remedy=remedy)


_reference = cache(URIRef)  # only IRIs of our own tables are looked up


@dataclass(frozen=True, slots=True)
class Thing:
    """A node of a graph with typed look-ups; every look-up names the place when it fails.

    Attributes:
        graph: The graph.
        node: The node.
        zone: Zone of times without offset; ``None`` refuses them.
        value_iri: Property that holds its value: a value object may also say a range by minimum and maximum.
    """

    graph: Graph
    node: Node
    zone: tzinfo | None = None
    value_iri: str = f"{v.RDF}value"

    @property
    def label(self) -> str:
        """Name for messages to a human."""
        return str(self.node) if isinstance(self.node, URIRef) else "a blank node"

    def objects(self, *iris: str) -> list[Node]:
        """All objects of the given properties, in a fixed order."""
        found = [node for iri in iris for node in self.graph.objects(self.node, _reference(iri))]
        return found if len(found) < 2 else sorted(found, key=lambda node: (type(node).__name__, str(node)))

    def things(self, *iris: str) -> list[Thing]:
        """All objects as things."""
        return [Thing(self.graph, node, self.zone) for node in self.objects(*iris)]

    def one(self, *iris: str) -> Node | None:
        """The only object, or ``None``."""
        found = self.objects(*iris)
        if len(found) > 1:
            raise malformed(f"{len(found)} values of <{iris[0]}>, at most one is meant", self.label)
        return found[0] if found else None

    def types(self) -> list[str]:
        """IRIs of its types."""
        return [str(node) for node in self.objects(f"{v.RDF}type")]

    def text(self, *iris: str) -> str | None:
        """A plain text."""
        node = self.one(*iris)
        if node is None:
            return None
        if not isinstance(node, Literal):
            raise malformed(f"<{iris[0]}> must be a literal", self.label)
        return str(node)

    def integer(self, iri: str) -> int | None:
        """An integer."""
        node = self.one(iri)
        value = node.value if isinstance(node, Literal) else None
        if node is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise malformed(f"<{iri}> must be an integer, got {str(node)[:40]!r}", self.label)
        return value

    def moment(self, iri: str) -> datetime | None:
        """A time, in UTC."""
        node = self.one(iri)
        return None if node is None else as_moment(node, iri, self.zone)

    def kind(self) -> str | None:
        """Quantity kind, old or current property."""
        node = self.one(f"{v.QUDT}quantityKind", f"{v.QUDT_NOW}hasQuantityKind", f"{v.QUDT_NOW}quantityKind")
        return None if node is None else v.canonical_kind(str(node))

    def unit(self) -> str:
        """Unit, old or current property; empty when absent."""
        return str(self.one(f"{v.QUDT}unit", f"{v.QUDT_NOW}unit", f"{v.QUDT_NOW}hasUnit") or "")

    def grid(self) -> tuple[datetime, int] | None:
        """Start and step of a time series, if both are stated. [-, s]"""
        context = self.one(f"{v.SMARTAPI}temporalContext")
        start = None if context is None else Thing(self.graph, context, self.zone).moment(f"{v.SMARTAPI}start")
        step = self.one(f"{v.SMARTAPI}timeStep")
        return None if start is None or step is None else (start, as_seconds(step))

    def numbers(self) -> list[Literal]:
        """Items of the ``smartapi:list`` of a time series."""
        node = self.one(f"{v.SMARTAPI}list")
        return [] if node is None else list_items(self.graph, node)


def as_moment(node: Node, where: str, zone: tzinfo | None = None) -> datetime:
    """A time literal in UTC.

    Args:
        node: The literal.
        where: Place, for the error.
        zone: Zone of a time without offset.

    Raises:
        RefusedError: If it is not a time or has no zone.
    """
    value = node.value if isinstance(node, Literal) else None
    if not isinstance(value, datetime):
        raise malformed(f"{str(node)[:40]!r} is not an xsd:dateTime", where)
    if value.tzinfo is None and zone is not None:
        value = value.replace(tzinfo=zone)
    if value.tzinfo is None:
        raise RefusedError(Refusal.NAIVE_TIME, f"{node} has no offset", where=where, remedy="add one, e.g. +00:00")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise malformed(f"{node} lies outside the calendar", where) from error


def as_seconds(node: Node) -> int:
    """A step of whole seconds. [s]"""
    value = node.value if isinstance(node, Literal) else None
    if not isinstance(value, timedelta):
        raise malformed(f"{str(node)[:40]!r} is not a duration of fixed length", "smartapi:timeStep")
    seconds = value.total_seconds()
    if not 1 <= seconds <= STEP_MAX_S or seconds != int(seconds):
        raise malformed(f"step of {seconds} s", "smartapi:timeStep", "whole seconds, at most a year")
    return int(seconds)


def lexical(node: Node | None, where: str) -> str:
    """Lexical number of a numeric literal.

    Raises:
        RefusedError: If the node is not a number.
    """
    value = node.value if isinstance(node, Literal) else None
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise malformed(f"{'nothing' if node is None else repr(str(node)[:40])} where a number belongs", where)
    return str(node)


def list_items(graph: Graph, head: Node) -> list[Literal]:
    """Items of a list in any working encoding of the Smart API library.

    rdf:List, ``indexedArray`` (also behind dcterms:abstract, as its writer does), and ``rawArray`` (JSON).
    Its ``array`` keeps neither order nor duplicates and is refused beyond one item.
    """
    thing = Thing(graph, head)
    first = thing.one(f"{v.RDF}first", f"{v.DCT}abstract")
    if first is not None and not isinstance(first, Literal) and not thing.objects(f"{v.RDF}rest"):
        thing = Thing(graph, first)
    for encoding, read in (("indexedArray", _indexed), ("rawArray", _raw), ("array", _itemized)):
        array = thing.one(f"{v.SMARTAPI}{encoding}")
        if array is not None:
            items = read(thing, Thing(graph, array))
            size = thing.integer(f"{v.SMARTAPI}size")
            if size is not None and size != len(items):
                raise malformed(f"list of {len(items)} items declares size {size}", "smartapi:list")
            return items
    return list(_linked(graph, head))


def _linked(graph: Graph, head: Node) -> Iterable[Literal]:
    # A profile has hundreds of items: straight look-ups here, two a item, are half the time of reading a message.
    seen: set[Node] = set()
    while head != _NIL:
        items, rests = list(graph.objects(head, _FIRST)), list(graph.objects(head, _REST))
        if not items and not rests and not seen:
            return  # how the original library writes an empty list
        usable = len(items) == 1 and len(rests) <= 1 and isinstance(items[0], Literal)
        if not usable or head in seen or len(seen) >= LIST_MAX:
            raise malformed("list with a loop, a fork, too long, or with an item that is no literal", "smartapi:list")
        seen.add(head)
        yield cast("Literal", items[0])
        head = rests[0] if rests else _NIL


def _indexed(_: Thing, array: Thing) -> list[Literal]:
    items: dict[int, Literal] = {}
    for entry in array.things(f"{v.SMARTAPI}entry"):
        index, value = entry.integer(f"{v.SMARTAPI}index"), entry.one(f"{v.RDF}value")
        if index is None or index in items or not isinstance(value, Literal):
            raise malformed("entry without index or value, or an index twice", "smartapi:indexedArray")
        items[index] = value
    if sorted(items) != list(range(len(items))):
        raise malformed("indices are not 0, 1, 2, …", "smartapi:indexedArray")
    return [items[index] for index in range(len(items))]


def _raw(_: Thing, array: Thing) -> list[Literal]:
    try:
        values = json.loads(array.text(f"{v.RDF}value") or "")
    except (ValueError, RecursionError) as error:
        raise malformed("not a JSON array", "smartapi:rawArray") from error
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        raise malformed("not a JSON array of numbers", "smartapi:rawArray")
    return [Literal(value) for value in values]


def _itemized(_: Thing, array: Thing) -> list[Literal]:
    found = [node for node in array.objects(f"{v.RDF}value") if isinstance(node, Literal)]
    if len(found) > 1:
        raise malformed("an unordered array loses order and duplicates", "smartapi:array", "send an rdf:List")
    return found


def blank(node: Node) -> bool:
    """Whether a node has no name."""
    return isinstance(node, BNode)
