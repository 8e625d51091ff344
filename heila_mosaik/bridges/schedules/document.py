"""A market document as a tree of named elements in the order of its schema, and that tree as XML or JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from xml.etree import ElementTree as ET

_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Content: TypeAlias = "str | Sequence[Element]"


@dataclass(frozen=True, slots=True)
class Element:
    """One element.

    Attributes:
        name: Local name.
        content: Text, or child elements in order.
        attributes: Attributes.
        namespace: Namespace of the document; only the root has one.
    """

    name: str
    content: Content
    attributes: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""


def present(*elements: Element | None) -> tuple[Element, ...]:
    """The elements that are there."""
    return tuple(element for element in elements if element is not None)


def xml_text(text: str) -> str:
    """The text with the replacement character for what XML 1.0 cannot hold (control characters, surrogates)."""
    return _FORBIDDEN.sub("\ufffd", text)


def xml_bytes(root: ET.Element) -> bytes:
    """Indented XML with its declaration."""
    ET.indent(root, " ")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="utf-8") + b"\n"


def to_xml(document: Element) -> bytes:
    """XML bytes, the same for the same document."""
    root = _node(document)
    root.set("xmlns", document.namespace)
    return xml_bytes(root)


def _node(element: Element) -> ET.Element:
    node = ET.Element(element.name, dict(element.attributes))
    if isinstance(element.content, str):
        node.text = xml_text(element.content)
    else:
        node.extend(_node(child) for child in element.content)
    return node


def to_json(document: Element) -> bytes:
    """The same tree as JSON: children by name, lists where a name repeats, attributes beside ``value``."""
    tree = {"$schema": document.namespace, document.name: _value(document)}
    return (json.dumps(tree, indent=1, ensure_ascii=False) + "\n").encode()


def _value(element: Element) -> Any:
    if isinstance(element.content, str):
        return {**element.attributes, "value": element.content} if element.attributes else element.content
    found: dict[str, Any] = {}
    for child in element.content:
        value = _value(child)
        if child.name in _REPEATED:
            found.setdefault(child.name, []).append(value)
        else:
            found[child.name] = value
    return found


_REPEATED = {"Bid_TimeSeries", "TimeSeries", "PlannedResource_TimeSeries", "Period", "Series_Period", "Point", "Reason"}
