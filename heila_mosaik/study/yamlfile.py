"""YAML with the line of every key.

ruamel composes the node tree; building plain Python from it here keeps the position of every key and leaves times as
text, so that a missing zone is seen by the schema and not lost by the parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from heila_mosaik.errors import Problem

KeyPath: TypeAlias = tuple[str | int, ...]
_MAX_DEPTH = 40


@dataclass(slots=True, kw_only=True)
class Document:
    """Contents of a YAML text.

    Attributes:
        data: Mappings, lists and scalars.
        places: ``file:line`` of every key and list item.
        problems: What is wrong with the text itself.
    """

    data: Any = None
    places: dict[KeyPath, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def parse_yaml(text: str, source: str) -> Document:
    """Parse a YAML text; ``source`` names it in places and problems."""
    document = Document()
    try:
        node = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{source}:{mark.line + 1}" if mark else source
        what = " ".join(str(part) for part in (error.context, error.problem) if part)
        document.problems.append(
            Problem(what=f"not YAML: {what}", where=where, remedy="check indentation, quotes and colons there")
        )
        return document
    except (YAMLError, ValueError) as error:
        document.problems.append(Problem(what=f"not YAML: {error}", where=source, remedy="save it as UTF-8 text"))
        return document
    if node is not None:
        document.data = _build(node, (), source, document)
    return document


def read_yaml(path: Path) -> Document:
    """Parse a YAML file; a file that cannot be read is a problem of the document."""
    document = Document()
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        document.problems.append(
            Problem(what=f"not UTF-8 text: {error.reason}", where=str(path), remedy="save it as UTF-8")
        )
    except OSError as error:
        document.problems.append(
            Problem(what=f"cannot be read: {error.strerror}", where=str(path), remedy="check the path and its rights")
        )
    else:
        document = parse_yaml(text, str(path))
    return document


def _build(node: Node, path: KeyPath, source: str, document: Document) -> Any:
    document.places.setdefault(path, f"{source}:{node.start_mark.line + 1}")
    if len(path) > _MAX_DEPTH:
        document.problems.append(
            Problem(what="nested too deeply", where=document.places[path], remedy="remove the alias to its own parent")
        )
        return None
    if isinstance(node, MappingNode):
        return _mapping(node, path, source, document)
    if isinstance(node, SequenceNode):
        return [_build(item, (*path, position), source, document) for position, item in enumerate(node.value)]
    return _scalar(node)


def _mapping(node: MappingNode, path: KeyPath, source: str, document: Document) -> dict[str, Any]:
    built: dict[str, Any] = {}
    for key_node, value_node in node.value:
        where = f"{source}:{key_node.start_mark.line + 1}"
        if not isinstance(key_node, ScalarNode):
            document.problems.append(Problem(what="a key is no plain word", where=where, remedy="use a word as key"))
            continue
        key = str(key_node.value)
        if key == "<<":
            document.problems.append(
                Problem(what="merge keys '<<' are not supported", where=where, remedy="use extends: of another file")
            )
            continue
        if key in built:
            first = document.places[(*path, key)]
            document.problems.append(
                Problem(what=f"key {key!r} stands twice (first at {first})", where=where, remedy="remove one of them")
            )
            continue
        document.places[(*path, key)] = where
        built[key] = _build(value_node, (*path, key), source, document)
    return built


def _scalar(node: Node) -> Any:
    kind = str(node.tag).rsplit(":", 1)[-1]
    # ruamel's round-trip scanner marks the line breaks of a folded text ('>') with a bell.
    text = str(node.value).replace("\a", "")
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    try:
        if kind == "int":
            return int(text.replace("_", ""), 10 if text.lstrip("+-").isdigit() else 0)
        if kind == "float":
            return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
    return text
