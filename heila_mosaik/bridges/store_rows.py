"""Rows of a live actor's store and the tables they live in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from heila_mosaik.actors.base import Outcome
from heila_mosaik.domain.codec import from_json_dict, message_from_json_dict, message_to_json_dict, to_json_dict
from heila_mosaik.domain.information import ControlSignal, InformationObject, Measurements, Message

LAYOUT = 1
"""Version of the tables."""

TABLES = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE inbox(
    seq INTEGER PRIMARY KEY, sender TEXT NOT NULL, id TEXT NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
    via TEXT NOT NULL, received_ns INTEGER NOT NULL, step INTEGER,
    place INTEGER, UNIQUE(sender, id));
CREATE INDEX inbox_pending ON inbox(seq) WHERE step IS NULL;
CREATE INDEX inbox_step ON inbox(step, place);
CREATE TABLE replay(
    issuer TEXT NOT NULL, jti TEXT NOT NULL, forget_at REAL NOT NULL, PRIMARY KEY(issuer, jti)) WITHOUT ROWID;
CREATE INDEX replay_age ON replay(forget_at);
CREATE TABLE steps(
    step INTEGER PRIMARY KEY, now TEXT NOT NULL, measurements TEXT, wake_at TEXT, tag TEXT NOT NULL,
    digest TEXT NOT NULL, outcome TEXT NOT NULL, at_ns INTEGER NOT NULL);
CREATE TABLE snapshots(step INTEGER PRIMARY KEY, made_by TEXT NOT NULL, state BLOB NOT NULL);
CREATE TABLE outbox(
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, receiver TEXT NOT NULL, kind TEXT NOT NULL,
    message TEXT NOT NULL, step INTEGER NOT NULL, created_ns INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0, settled_ns INTEGER, reason TEXT NOT NULL DEFAULT '');
CREATE INDEX outbox_open ON outbox(seq) WHERE state = 'waiting';
CREATE TABLE controls(
    seq INTEGER PRIMARY KEY, step INTEGER NOT NULL, target TEXT NOT NULL, signal TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting', reason TEXT NOT NULL DEFAULT '');
CREATE INDEX controls_open ON controls(seq) WHERE state IN ('waiting', 'handing');
CREATE TABLE records(
    seq INTEGER PRIMARY KEY, step INTEGER NOT NULL, at TEXT NOT NULL, actor TEXT NOT NULL, event TEXT NOT NULL,
    detail TEXT NOT NULL, "values" TEXT NOT NULL);
CREATE TABLE watched(name TEXT PRIMARY KEY, value TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
"""


class Delivery(StrEnum):
    """What became of an outgoing message."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    REFUSED = "refused"
    EXPIRED = "expired"


class Handing(StrEnum):
    """What became of a set point for an own device."""

    WAITING = "waiting"
    HANDING = "handing"
    DONE = "done"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message in the inbox.

    Attributes:
        seq: Order of acceptance.
        message: The message.
    """

    seq: int
    message: Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message in the outbox.

    Attributes:
        seq: Order of sending.
        message: The message.
        created_ns: When it was committed, wall clock. [ns since 1970]
        tries: Sendings so far.
    """

    seq: int
    message: Message
    created_ns: int
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A set point that waits to be handed to equipment, or was being handed when the process ended."""

    seq: int
    signal: ControlSignal
    state: Handing


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step as the journal holds it: enough to take it again and to see that it comes out the same.

    Attributes:
        number: Count of the step, from 1.
        now: Simulated time.
        inbox: Messages it took, in order.
        measurements: Measurements it was given.
        digest: Hash of what it answered.
        tag: Identity a coordinator gave the step; empty when the actor runs on its own clock.
        answer: JSON of the outcome, kept for a coordinator that asks again; empty without a tag.
    """

    number: int
    now: datetime
    inbox: tuple[Received, ...]
    measurements: Measurements | None
    digest: str
    tag: str = ""
    answer: str = ""


def pack(value: Mapping[str, Any] | Sequence[Any]) -> str:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def pack_message(message: Message) -> str:
    """JSON of a message."""
    return pack(message_to_json_dict(message))


def unpack_message(text: str) -> Message:
    """Message from :func:`pack_message`."""
    return message_from_json_dict(json.loads(text))


def pack_body(body: InformationObject) -> str:
    """JSON of an information object without its class."""
    return pack(to_json_dict(body))


def unpack_control(text: str) -> ControlSignal:
    """Control signal from :func:`pack_body`."""
    body = from_json_dict("ControlSignal", json.loads(text))
    assert isinstance(body, ControlSignal)
    return body


def unpack_measurements(text: str | None) -> Measurements | None:
    """Measurements from :func:`pack_body`."""
    if text is None:
        return None
    body = from_json_dict("Measurements", json.loads(text))
    assert isinstance(body, Measurements)
    return body


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """JSON object of everything an actor answered in a step."""
    return {
        "messages": [message_to_json_dict(message) for message in outcome.messages],
        "controls": [to_json_dict(signal) for signal in outcome.controls],
        "records": [
            {"at": r.at.isoformat(), "actor": r.actor, "event": r.event, "detail": r.detail, "values": plain(r.values)}
            for r in outcome.records
        ],
        "wake_at": None if outcome.wake_at is None else outcome.wake_at.isoformat(),
    }


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values JSON can carry: it knows neither numpy's numbers nor NaN."""
    python = {key: value.item() if hasattr(value, "item") else value for key, value in values.items()}
    return {key: str(v) if isinstance(v, float) and v - v != 0.0 else v for key, v in python.items()}
