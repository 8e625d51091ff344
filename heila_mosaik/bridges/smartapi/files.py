"""Message files: which form they are in, and what they hold."""

from __future__ import annotations

import json
from datetime import tzinfo
from pathlib import Path

from heila_mosaik.bridges.smartapi.plain import PlainNotification, read_plain
from heila_mosaik.bridges.smartapi.reader import read_message
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.domain.codec import CodecError, message_from_json_dict
from heila_mosaik.domain.information import Message
from heila_mosaik.errors import Problem, ProblemsError

TURTLE, JSON_LD, RDF_XML, JSON = "text/turtle", "application/ld+json", "application/rdf+xml", "application/json"
_SUFFIXES = {".ttl": TURTLE, ".jsonld": JSON_LD, ".rdf": RDF_XML, ".xml": RDF_XML}


def read_bytes(path: Path) -> bytes:
    """Bytes of a message file.

    Raises:
        ProblemsError: If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        problem = Problem(what=f"cannot be read: {error.strerror}", where=str(path), remedy="name a readable file")
        raise ProblemsError("message file", [problem]) from error


def form_of(path: Path, payload: bytes) -> str:
    """Media type of a file, by its name or else by how it begins; ``application/json`` is the form studies use."""
    named = _SUFFIXES.get(path.suffix.lower())
    if named is not None:
        return named
    start = payload.lstrip()[:1]
    if start in (b"{", b"["):
        return JSON if _is_study_form(payload) else JSON_LD
    return RDF_XML if start == b"<" and payload.lstrip()[:5] in (b"<?xml", b"<rdf:") else TURTLE


def _is_study_form(payload: bytes) -> bool:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"kind", "body"} <= set(found)


def load(payload: bytes, form: str) -> Message:
    """The message in a file's bytes.

    Raises:
        RefusedError: If it is none of ours.
    """
    if form != JSON:
        return read_message(payload, form)
    try:
        return message_from_json_dict(json.loads(payload))
    except (CodecError, ValueError, TypeError) as error:
        raise RefusedError(Refusal.SHAPE, str(error), remedy="see docs/messages.md") from error


def load_any(payload: bytes, form: str, assume_zone: tzinfo | None = None) -> Message | PlainNotification:
    """The message, or what a Smart API peer said that is none of our objects.

    Raises:
        RefusedError: If it is neither.
    """
    try:
        return load(payload, form)
    except RefusedError as error:
        if form == JSON or error.reason not in (Refusal.UNKNOWN_OBJECT, Refusal.NAIVE_TIME, Refusal.SHAPE):
            raise
        try:
            plain = read_plain(payload, form, assume_zone=assume_zone)
        except RefusedError as other:
            raise other from error
        if error.reason is Refusal.SHAPE and _claims_to_be_ours(payload):
            raise
        return plain


def _claims_to_be_ours(payload: bytes) -> bool:
    return b"heila.example/vocabulary" in payload
