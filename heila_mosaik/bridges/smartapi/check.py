"""``heila message check``: everything that is wrong with a message file, for the one who must repair it."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from rdflib import Graph, Namespace
from rdflib.namespace import RDF

from heila_mosaik.bridges import rdfguard
from heila_mosaik.bridges.smartapi.reader import read_message
from heila_mosaik.bridges.smartapi_refusal import RefusedError
from heila_mosaik.errors import Problem

_TYPES = {".ttl": "text/turtle", ".jsonld": "application/ld+json", ".json": "application/ld+json",
          ".rdf": "application/rdf+xml", ".xml": "application/rdf+xml"}  # fmt: skip


def shapes() -> str:
    """The shipped SHACL shapes, Turtle."""
    return (resources.files("heila_mosaik.bridges") / "shapes" / "messages.ttl").read_text(encoding="utf-8")


def check_message(path: Path) -> list[Problem]:
    """Problems of a message file: guard, shapes (all of them) and the reader's table.

    Args:
        path: Turtle (``.ttl``), JSON-LD (``.jsonld``) or RDF/XML (``.rdf``).
    """
    kind = _TYPES.get(path.suffix.lower(), "text/turtle")
    try:
        payload = path.read_bytes()
    except OSError as error:
        return [Problem(what=f"cannot be read: {error.strerror}", where=str(path), remedy="name a readable file")]
    try:
        graph = rdfguard.parse(payload, kind)
    except RefusedError as error:
        return [_at(path, error)]
    problems = [Problem(what=what, where=f"{path}: {where}", remedy=remedy) for what, where, remedy in _shacl(graph)]
    try:
        read_message(payload, kind)
    except RefusedError as error:
        problems.append(_at(path, error))
    return problems


def _at(path: Path, error: RefusedError) -> Problem:
    problem = error.problem
    return Problem(what=f"{problem.what} ({error.reason})", where=f"{path}: {problem.where}", remedy=problem.remedy)


def _shacl(graph: Graph) -> list[tuple[str, str, str]]:
    import pyshacl  # noqa: PLC0415 - half a second, and only this command needs it

    sh = Namespace("http://www.w3.org/ns/shacl#")
    data = Graph()  # pyshacl wants a store with contexts
    data += graph
    _, report, _ = pyshacl.validate(data, shacl_graph=Graph().parse(data=shapes(), format="turtle"), advanced=False)
    found = []
    for result in report.subjects(RDF.type, sh.ValidationResult):
        path = str(report.value(result, sh.resultPath) or "").rpartition("#")[2]
        message = str(report.value(result, sh.resultMessage) or "does not conform")
        focus = str(report.value(result, sh.focusNode) or "")
        place = focus if focus.startswith(("urn:", "http")) else "a blank node"
        found.append((f"{path}: {message}", place, "see docs/messages.md"))
    return sorted(set(found))
