"""Guard in front of rdflib: bytes from outside become a graph only after one linear scan found them harmless.

rdflib as shipped fetches JSON-LD contexts from the network and from files, expands XML entities, recurses on nesting
and normalises ``"1E+999999999"^^xsd:decimal`` into gigabytes.  So nothing reaches it before size, encoding, nesting,
prefixes, numbers and typed literals were checked, and afterwards only literals of an allow-list remain.
"""

from __future__ import annotations

import json
import logging
import re
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from xml.parsers import expat

import rdflib
from rdflib import Graph, Literal

from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError

SIZE_MAX = 256 * 1024
DEPTH_MAX = 32
PREFIXES_MAX = 64
TYPED_MAX = 64
TEXT_MAX = 64 * 1024
BASE = "urn:heila:base:"
_XSD = "http://www.w3.org/2001/XMLSchema#"
DATATYPES = frozenset(
    f"{_XSD}{name}"
    for name in ("string", "boolean", "integer", "int", "long", "nonNegativeInteger", "decimal", "double", "float",
                 "dateTime", "duration", "dayTimeDuration")
)  # fmt: skip
FORMATS = {"text/turtle": "turtle", "application/x-turtle": "turtle", "application/ld+json": "json-ld",
           "application/rdf+xml": "xml"}  # fmt: skip

_TOKEN = re.compile(
    r'(?P<string>"""(?:[^"\\]|\\.|"(?!""))*"""|\'\'\'(?:[^\'\\]|\\.|\'(?!\'\'))*\'\'\'|"(?:[^"\\\n\r]|\\.)*"'
    r"|'(?:[^'\\\n\r]|\\.)*')"
    r"|(?P<iri><[^<>\"{}|^`\\\x00-\x20]*>)"
    r"|(?P<comment>#[^\n\r]*)"
    r"|(?P<open>[\[(])|(?P<close>[\])])"
    r"|(?P<typed>\^\^)"
    r"|(?P<word>(?:\\.|[^\s\"'<>\[\]();,#^\\])+#?)"
    r"|(?P<other>[\s;,]+)",
    re.DOTALL,
)
_NUMBER = re.compile(r"[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?\.?")
_BOMB = re.compile(r"[eE][+-]?[0-9]{4,}\s*$")
_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_LOCAL_STRING = re.compile(r"(?:<http://www\.w3\.org/2001/XMLSchema#string>|[A-Za-z][\w.-]*:(?:string))")
_TRUTH = ("true", "false", "1", "0")
_LOCK = threading.Lock()  # rdflib has one switch for the whole process
logging.getLogger("rdflib.term").setLevel(logging.ERROR)
warnings.filterwarnings("ignore", message="Parsing weird boolean", category=UserWarning)  # refused afterwards


def parse(payload: bytes, content_type: str = "text/turtle") -> Graph:
    """Graph of bytes from outside.

    Args:
        payload: The bytes; decoded as UTF-8 whatever charset their label names.
        content_type: Media type, parameters ignored.

    Raises:
        RefusedError: If any rule is broken; never another exception.
    """
    text = _decoded(payload)
    kind = FORMATS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        raise RefusedError(Refusal.SYNTAX, f"media type {content_type!r} is not readable", where="Content-Type",
                           remedy=f"send one of {', '.join(FORMATS)}")  # fmt: skip
    if kind == "turtle":
        scan_turtle(text)
    elif kind == "json-ld":
        text = json.dumps(scan_json(text))
    else:
        scan_xml(payload)
    # The store without contexts does half the work; only JSON-LD needs the other one.
    graph = Graph(store="default" if kind == "json-ld" else "SimpleMemory", bind_namespaces="none")
    try:
        with _literals_as_written():
            graph.parse(data=text, format=kind, publicID=BASE)
    except Exception as error:  # rdflib raises whatever its parsers raise: all of it means "not readable"
        raise RefusedError(Refusal.SYNTAX, f"not valid {kind}: {_short(error)}", remedy="send valid RDF") from error
    _check_literals(graph)
    return graph


@contextmanager
def _literals_as_written() -> Iterator[None]:
    """Keep rdflib from rewriting literals: digits stay as signed, and nothing is blown up."""
    with _LOCK:
        before = rdflib.NORMALIZE_LITERALS
        rdflib.NORMALIZE_LITERALS = False
        try:
            yield
        finally:
            rdflib.NORMALIZE_LITERALS = before


def _short(error: BaseException) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:200]


def _decoded(payload: bytes) -> str:
    if len(payload) > SIZE_MAX:
        raise RefusedError(Refusal.OVERSIZE, f"{len(payload)} bytes, limit {SIZE_MAX}", remedy="send less at once")
    try:
        text = payload.decode("utf-8", errors="strict")
    except UnicodeDecodeError as error:
        raise RefusedError(Refusal.NOT_UTF8, f"invalid UTF-8 at byte {error.start}", remedy="send UTF-8") from error
    if "\x00" in text:
        raise RefusedError(Refusal.SYNTAX, "contains a NUL character", remedy="send text without NUL")
    return text.removeprefix("\ufeff")


def _too_deep(depth: int) -> None:
    if depth > DEPTH_MAX:
        raise RefusedError(Refusal.TOO_DEEP, f"nested deeper than {DEPTH_MAX}", remedy="use a flatter structure")


def _too_many(prefixes: int) -> None:
    if prefixes > PREFIXES_MAX:
        raise RefusedError(Refusal.TOO_MANY_PREFIXES, f"more than {PREFIXES_MAX} prefixes", remedy="declare fewer")


def check_lexical(lexical: str, *, typed: bool = True) -> None:
    """Refuse a lexical form that costs more than it says (huge exponent, endless digits, markup).

    Raises:
        RefusedError: If it does.
    """
    if typed and len(lexical) > TYPED_MAX:
        raise RefusedError(Refusal.NUMBER_BOMB, f"typed literal of {len(lexical)} characters",
                           remedy=f"at most {TYPED_MAX} characters")  # fmt: skip
    if _BOMB.search(lexical) and (typed or _NUMBER.fullmatch(lexical.strip())):
        raise RefusedError(Refusal.NUMBER_BOMB, f"number {lexical[:40]!r} has an exponent of four or more digits",
                           remedy="send numbers a double can hold")  # fmt: skip
    if typed and ("<" in lexical or "&" in lexical):
        raise RefusedError(Refusal.DATATYPE, "markup in a typed literal", remedy="send plain text without a datatype")


def _unescape(match: re.Match[str]) -> str:
    code = match.group()
    return chr(min(int(f"0x{code[2:]}", 0), 0x10FFFF)) if code[1] in "uU" and len(code) > 2 else code[1]


def scan_turtle(text: str) -> None:
    """Check Turtle without building anything: nesting, prefixes, numbers, typed literals, IRIs.

    Raises:
        RefusedError: If a rule is broken.
    """
    position, depth, prefixes = 0, 0, 0
    string, expects_type = "", False
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise RefusedError(Refusal.SYNTAX, f"unexpected {text[position]!r} at character {position}",
                               remedy="send valid Turtle")  # fmt: skip
        position, kind, token = match.end(), match.lastgroup, match.group()
        if kind in ("other", "comment"):
            continue
        if kind == "typed":
            expects_type = True
            continue
        if expects_type:
            _check_typed(string, token)
        expects_type = False
        depth += {"open": 1, "close": -1}.get(kind or "", 0)
        _too_deep(depth)
        if kind == "string":
            string = _content(token)
        elif kind == "word":
            prefixes += token.lower() in ("@prefix", "prefix")
            _too_many(prefixes)
            _check_word(token)


def _content(token: str) -> str:
    content = token[3:-3] if token[:3] in ('"""', "'''") else token[1:-1]
    if len(content) > TEXT_MAX:
        raise RefusedError(Refusal.OVERSIZE, f"text of {len(content)} characters", remedy=f"at most {TEXT_MAX}")
    return _ESCAPE.sub(_unescape, content) if "\\" in content else content


def _check_typed(string: str, datatype: str) -> None:
    if not _LOCAL_STRING.fullmatch(datatype):
        check_lexical(string)


def _check_word(token: str) -> None:
    if token[0] in "{}" or "{" in token or "=>" in token:
        raise RefusedError(Refusal.SYNTAX, "Notation 3 formulas are not Turtle", remedy="send Turtle")
    if _NUMBER.fullmatch(token):
        check_lexical(token.rstrip("."))
    elif len(token) > 1024:
        raise RefusedError(Refusal.SYNTAX, f"name of {len(token)} characters", remedy="at most 1024")


def scan_json(text: str) -> object:
    """Parsed JSON-LD without remote, file or imported contexts.

    Raises:
        RefusedError: If a rule is broken.
    """
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(match.group(), 0)
        _too_deep(depth)
    try:
        document = json.loads(text, parse_constant=_no_constant, parse_int=_integer, parse_float=_double)
    except ValueError as error:
        raise RefusedError(Refusal.SYNTAX, f"not valid JSON: {_short(error)}", remedy="send valid JSON") from error
    _walk_json(document, coerced=_coerces(document))
    return document


def _no_constant(constant: str) -> float:
    raise RefusedError(Refusal.NOT_FINITE, f"{constant} in JSON", remedy="send finite numbers")


def _integer(digits: str) -> int:
    check_lexical(digits)
    return int(digits)


def _double(digits: str) -> float:
    check_lexical(digits)
    return float(digits)


def _coerces(node: object) -> bool:
    """Whether a context can give plain strings a datatype, by a definition of a term or another name for ``@type``.

    If none can, a string that looks like a number is a name.
    """
    if isinstance(node, list):
        return any(map(_coerces, node))
    if not isinstance(node, dict):
        return False
    contexts = node.get("@context", ())
    for entry in contexts if isinstance(contexts, list) else [contexts]:
        terms = entry.values() if isinstance(entry, dict) else ()
        if any(isinstance(term, dict) or str(term).startswith("@") for term in terms):
            return True
    return any(map(_coerces, node.values()))


def _walk_json(node: object, *, coerced: bool) -> None:
    if isinstance(node, dict):
        typed = coerced or ("@value" in node and "@type" in node)
        for key, value in node.items():
            if key in ("@import", "@base"):
                raise RefusedError(Refusal.REMOTE_CONTEXT, f"{key} is not allowed", remedy="write the context inline")
            if key == "@context":
                _check_context(value)
            _check_json_text(key, typed=False)
            if isinstance(value, str):
                _check_json_text(value, typed=typed)
            else:
                _walk_json(value, coerced=coerced)
    elif isinstance(node, list):
        for value in node:
            _walk_json(value, coerced=coerced)
    elif isinstance(node, str):
        _check_json_text(node, typed=coerced)


def _check_context(value: object) -> None:
    for entry in value if isinstance(value, list) else [value]:
        if not isinstance(entry, dict):
            raise RefusedError(Refusal.REMOTE_CONTEXT, f"context {str(entry)[:80]!r} is not inline",
                               where="@context", remedy="write the context inline; none is fetched")  # fmt: skip
        _too_many(len(entry))


def _check_json_text(text: str, *, typed: bool) -> None:
    if typed:
        check_lexical(text, typed=False)
    if len(text) > TEXT_MAX or (len(text) > TYPED_MAX and text.strip("+-. \t\r\n0123456789eE") == ""):
        raise RefusedError(Refusal.NUMBER_BOMB, f"string of {len(text)} digits or characters", remedy="send less")
    if "<!" in text:
        raise RefusedError(Refusal.ENTITY_EXPANSION, "markup declaration in a string", remedy="send plain text")


class _XmlScan:
    """Counts depth and namespaces and checks typed text while expat reads; nothing is expanded."""

    def __init__(self) -> None:
        self.depth = 0
        self.prefixes = 0
        self.typed = False
        self.text: list[str] = []

    def start(self, _name: str, attributes: dict[str, str]) -> None:
        """Opening tag."""
        self.depth += 1
        _too_deep(self.depth)
        self.prefixes += sum(key.startswith("xmlns") for key in attributes)
        _too_many(self.prefixes)
        kinds = [value for key, value in attributes.items() if key.endswith("parseType")]
        if any(kind not in ("Resource", "Collection") for kind in kinds):
            raise RefusedError(Refusal.DATATYPE, "rdf:parseType Literal", remedy="send plain text")
        self.typed = any(key.endswith("datatype") for key in attributes)
        self.text = []

    def end(self, _name: str) -> None:
        """Closing tag."""
        self.depth -= 1
        if self.typed:
            check_lexical("".join(self.text))
        self.typed, self.text = False, []

    def characters(self, data: str) -> None:
        """Text."""
        self.text.append(data)

    def doctype(self, *_: object) -> None:
        """A document type declaration, the door of entities."""
        raise RefusedError(Refusal.ENTITY_EXPANSION, "DOCTYPE in RDF/XML", remedy="leave the DOCTYPE out")


def scan_xml(payload: bytes) -> None:
    """Check RDF/XML: no DOCTYPE, no entities, UTF-8, nesting, namespaces, typed text.

    Raises:
        RefusedError: If a rule is broken.
    """
    scan = _XmlScan()
    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler, parser.EndElementHandler = scan.start, scan.end
    parser.StartDoctypeDeclHandler = scan.doctype
    parser.CharacterDataHandler = scan.characters
    head = payload[:200].lower()
    if b"<?xml" in head and b"encoding" in head and not re.search(rb"encoding\s*=\s*[\"'](utf-8|us-ascii)[\"']", head):
        raise RefusedError(Refusal.NOT_UTF8, "XML declares an encoding other than UTF-8", remedy="send UTF-8")
    try:
        parser.Parse(payload, True)
    except expat.ExpatError as error:
        raise RefusedError(Refusal.SYNTAX, f"not valid XML: {_short(error)}", remedy="send valid XML") from error


def _literals(graph: Graph) -> Iterable[Literal]:
    return (term for triple in graph for term in triple if isinstance(term, Literal))


def _check_literals(graph: Graph) -> None:
    for literal in _literals(graph):
        datatype = literal.datatype
        if datatype is None:
            continue
        if str(datatype) not in DATATYPES:
            raise RefusedError(Refusal.DATATYPE, f"datatype <{datatype}> is not allowed",
                               remedy="use the XML Schema types of docs/messages.md")  # fmt: skip
        # rdflib takes any other text for false: a breaker would open
        wrong = str(datatype) == f"{_XSD}boolean" and str(literal) not in _TRUTH
        if literal.value is None or wrong:
            raise RefusedError(Refusal.SYNTAX, f"{str(literal)[:40]!r} is not a {str(datatype).rpartition('#')[2]}",
                               remedy="send a valid literal")  # fmt: skip
