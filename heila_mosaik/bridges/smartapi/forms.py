"""Other serialisations of the same graph: JSON-LD and RDF/XML, the same bytes for the same message."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree as ET

from rdflib import BNode, Graph, Literal, URIRef
from rdflib.term import Node

from heila_mosaik.bridges import rdfguard
from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.turtle import Writer
from heila_mosaik.domain.information import Message

_NUMBERED = re.compile(r"[0-9]+$")


def to_json_ld(message: Message) -> bytes:
    """JSON-LD with an inline context of prefixes only."""
    graph = _graph(message)
    nodes = [_described(graph, subject) for subject in _subjects(graph)]
    return (json.dumps({"@context": dict(v.PREFIXES), "@graph": nodes}, indent=1) + "\n").encode("ascii")


def to_rdf_xml(message: Message) -> bytes:
    """RDF/XML, one description a subject; characters XML cannot hold make it fail as a message does on the wire."""
    graph = _graph(message)
    for prefix, iri in v.PREFIXES.items():
        ET.register_namespace(prefix, iri)
    root = ET.Element(f"{{{v.RDF}}}RDF")
    for subject in _subjects(graph):
        about = "nodeID" if isinstance(subject, BNode) else "about"
        node = ET.SubElement(root, f"{{{v.RDF}}}Description", {f"{{{v.RDF}}}{about}": str(subject)})
        for predicate, value in _statements(graph, subject):
            _property(node, str(predicate), value)
    ET.indent(root, " ")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="utf-8") + b"\n"


def _property(node: ET.Element, predicate: str, value: Node) -> None:
    namespace, local = _split(predicate)
    element = ET.SubElement(node, f"{{{namespace}}}{local}")
    if isinstance(value, Literal):
        element.text = str(value)
        if value.datatype is not None:
            element.set(f"{{{v.RDF}}}datatype", str(value.datatype))
    else:
        element.set(f"{{{v.RDF}}}{'nodeID' if isinstance(value, BNode) else 'resource'}", str(value))


def _split(iri: str) -> tuple[str, str]:
    namespace, mark, local = iri.rpartition("#")
    return f"{namespace}{mark}", local


def _graph(message: Message) -> Graph:
    """Graph of our own Turtle with blank nodes named in the order in which they are written."""
    found = rdfguard.parse(Writer().message(message))  # keeps every digit as it is written
    blank = {node for triple in found for node in triple if isinstance(node, BNode)}
    names: dict[Node, Node] = {node: BNode(f"b{place}") for place, node in enumerate(sorted(blank, key=_number))}
    named = Graph(bind_namespaces="none")
    for s, p, o in found:
        named.add((names.get(s, s), p, names.get(o, o)))
    return named


def _number(node: BNode) -> int:
    match = _NUMBERED.search(str(node))
    return int(match.group()) if match else 0


def _order(node: Node) -> tuple[int, int, str]:
    return isinstance(node, BNode), _number(node) if isinstance(node, BNode) else 0, str(node)


def _subjects(graph: Graph) -> list[Node]:
    return sorted(set(graph.subjects()), key=_order)


def _statements(graph: Graph, subject: Node) -> list[tuple[Node, Node]]:
    return sorted(graph.predicate_objects(subject), key=lambda pair: (str(pair[0]), _order(pair[1])))


def _described(graph: Graph, subject: Node) -> dict[str, Any]:
    described: dict[str, Any] = {"@id": _name(subject)}
    for predicate, value in _statements(graph, subject):
        if str(predicate) == f"{v.RDF}type":
            described.setdefault("@type", []).append(_short(str(value)))
        else:
            described.setdefault(_short(str(predicate)), []).append(_object(value))
    return {key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in described.items()}


def _name(node: Node) -> str:
    return f"_:{node}" if isinstance(node, BNode) else str(node)


def _short(iri: str) -> str:
    return next((f"{p}:{iri[len(base) :]}" for p, base in v.PREFIXES.items() if iri.startswith(base)), iri)


def _object(value: Node) -> Any:
    if isinstance(value, URIRef | BNode):
        return {"@id": _name(value)}
    assert isinstance(value, Literal)
    if value.datatype is None:
        return str(value)
    return {"@value": str(value), "@type": _short(str(value.datatype))}
