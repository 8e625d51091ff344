"""MQTT topics, who may use them, and how a sealed message lies in a packet.

| topic | who writes | who reads | kept |
|---|---|---|---|
| ``heila/v1/<receiver>/in/<sender>`` | sender | receiver | queued for a receiver that is away |
| ``heila/v1/<sender>/receipt/<receiver>`` | receiver | sender | no |
| ``heila/v1/<actor>/status`` | actor, or the broker as its last will | everyone | retained |
| ``heila/v1/<actor>/about`` | actor: its registration | everyone | retained |
| ``heila/v1/<actor>/sync/<coordinator>`` | coordinator of a lock-step run, and back | the other | queued |
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from heila_mosaik.bridges.envelope import Sealed
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError

ROOT = "heila/v1"
_FRAME = re.compile(rb"#jws ([A-Za-z0-9._-]{1,2048}) enc ([01])\n")


def check_name(name: str) -> str:
    """The name of an actor as a topic level.

    Raises:
        ValueError: If it would break out of its level.
    """
    if not name or any(char in name for char in "/+#\x00"):
        raise ValueError(f"actor name {name!r} must not be empty or contain '/', '+' or '#'")
    return name


def inbox_topic(receiver: str, sender: str) -> str:
    """Topic a sender publishes messages to for a receiver."""
    return f"{ROOT}/{check_name(receiver)}/in/{check_name(sender)}"


def receipt_topic(sender: str, receiver: str) -> str:
    """Topic a receiver publishes to about the messages of a sender; the response topic of these messages."""
    return f"{ROOT}/{check_name(sender)}/receipt/{check_name(receiver)}"


def status_topic(actor: str) -> str:
    """Topic of an actor's liveness."""
    return f"{ROOT}/{check_name(actor)}/status"


def about_topic(actor: str) -> str:
    """Topic of an actor's registration."""
    return f"{ROOT}/{check_name(actor)}/about"


def sync_topic(receiver: str, sender: str) -> str:
    """Topic of the conversation with a lock-step coordinator."""
    return f"{ROOT}/{check_name(receiver)}/sync/{check_name(sender)}"


WRITES = ("{root}/+/in/{me}", "{root}/+/receipt/{me}", "{root}/+/sync/{me}", "{root}/{me}/status", "{root}/{me}/about")
READS = ("{root}/{me}/in/+", "{root}/{me}/receipt/+", "{root}/{me}/sync/+", "{root}/+/status", "{root}/+/about")


def broker_acl() -> str:
    """ACL of a mosquitto with ``use_identity_as_username``: an actor writes as itself and reads its own topics."""
    rules = [("write", rule) for rule in WRITES] + [("read", rule) for rule in READS]
    return "".join(f"pattern {verb} {rule.format(root=ROOT, me='%u')}\n" for verb, rule in rules)


def allows(actor: str, topic: str, *, write: bool) -> bool:
    """The same rules for a broker of our own; ``topic`` may be a filter when reading."""
    levels = topic.split("/")
    for rule in WRITES if write else READS:
        wanted = rule.format(root=ROOT, me=actor).split("/")
        if len(wanted) == len(levels) and all(
            w == given or (w == "+" and given != "#" and (not write or given != "+"))
            for w, given in zip(wanted, levels, strict=True)
        ):
            return True
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """A message as it came.

    Attributes:
        payload: Bytes that were signed.
        signature: Detached JWS, empty if there was none.
        encrypted: Whether the payload is a JWE.
        content_type: Media type.
    """

    payload: bytes
    signature: str
    encrypted: bool
    content_type: str


def frame(sealed: Sealed) -> bytes:
    """Payload for a broker without MQTT 5 properties: the signature in a first line that Turtle takes for a comment."""
    return f"#jws {sealed.signature} enc {int(sealed.encrypted)}\n".encode() + sealed.payload


def unframe(payload: bytes, content_type: str) -> Packet:
    """Message from :func:`frame`.

    Raises:
        RefusedError: If the first line is missing.
    """
    found = _FRAME.match(payload)
    if found is None:
        raise RefusedError(Refusal.NO_SIGNATURE, "no '#jws' line before the message", remedy="sign the message")
    return Packet(
        payload=payload[found.end() :],
        signature=found.group(1).decode(),
        encrypted=found.group(2) == b"1",
        content_type=content_type,
    )
