"""``heila message check``: everything that is wrong with a message file, for the one who must repair it."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from pathlib import Path

from rdflib import Graph, Namespace, URIRef
from rdflib.namespace import RDF
from rdflib.term import Node

from heila_mosaik.bridges import rdfguard
from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.files import JSON, form_of, load, read_bytes
from heila_mosaik.bridges.smartapi_refusal import RefusedError
from heila_mosaik.errors import Problem, ProblemsError


def shapes() -> str:
    """The shipped SHACL shapes, Turtle."""
    return (resources.files("heila_mosaik.bridges") / "shapes" / "messages.ttl").read_text(encoding="utf-8")


def check_message(path: Path) -> list[Problem]:
    """Problems of a message file: guard, shapes (all of them) and what a receiver refuses first.

    Args:
        path: Turtle, JSON-LD, RDF/XML, or the JSON that studies use; told by the name, else by the content.
    """
    try:
        payload = read_bytes(path)
    except ProblemsError as error:
        return list(error.problems)
    form = form_of(path, payload)
    problems: list[Problem] = []
    try:
        if form != JSON:
            graph = rdfguard.parse(payload, form)
            problems = [_placed(path, problem) for problem in _shacl(graph)]
        load(payload, form)
    except RefusedError as error:
        first = error.problem
        problems.append(
            _placed(path, Problem(what=f"{first.what} ({error.reason})", where=first.where, remedy=first.remedy))
        )
    return problems


def _placed(path: Path, problem: Problem) -> Problem:
    return Problem(what=problem.what, where=f"{path}: {problem.where}", remedy=problem.remedy)


def _shacl(graph: Graph) -> list[Problem]:
    import pyshacl  # noqa: PLC0415 - half a second, and only this command needs it

    sh = Namespace("http://www.w3.org/ns/shacl#")
    data = Graph()  # pyshacl wants a store with contexts
    data += graph
    _, report, _ = pyshacl.validate(data, shacl_graph=Graph().parse(data=shapes(), format="turtle"), advanced=False)
    found = set()
    for result in report.subjects(RDF.type, sh.ValidationResult):
        focus, path = report.value(result, sh.focusNode), str(report.value(result, sh.resultPath) or "")
        value = report.value(result, sh.value)
        shown = f", not {str(value)[:60]!r}" if value is not None and not str(value).startswith("N") else ""
        message = str(report.value(result, sh.resultMessage) or "does not conform")
        found.add((_place(graph, focus), f"{_local(path)}: {message}{shown}"))
    return [
        Problem(what=what, where=where, remedy="write it as docs/messages.md shows") for where, what in sorted(found)
    ]


def _local(iri: str) -> str:
    return iri.rpartition("#")[2]


def _place(graph: Graph, node: Node | None) -> str:
    """Where a node is: its name, or how one gets to it from the nearest thing with a name."""
    steps: list[str] = []
    while node is not None and not isinstance(node, URIRef) and len(steps) < rdfguard.DEPTH_MAX:
        above = next(iter(sorted(graph.subject_predicates(node), key=str)), None)
        if above is None:
            break
        steps.append(_local(str(above[1])) + "".join(_marks(graph, node)))
        node = above[0]
    name = str(node) if isinstance(node, URIRef) else "message"
    return " ".join([name, *reversed([step for step in steps if step not in ("rest", "first")])])


def _marks(graph: Graph, node: Node) -> Iterator[str]:
    field = graph.value(node, URIRef(f"{v.HEILA}field"))
    index = graph.value(node, URIRef(f"{v.HEILA}index"))
    if field is not None:
        yield f"[{_local(str(field))}]"
    if index is not None:
        yield f"[{index}]"
