"""The Smart API response to a delivered notification, as the original library's client reads it."""

from __future__ import annotations

from datetime import datetime

from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.turtle import moment, numeric_identity, reference, text


def response_turtle(actor: str, identity: str, reason: str, at: datetime) -> bytes:
    """Turtle of a ``smartapi:Response``.

    Args:
        actor: Who answers.
        identity: Message it answers.
        reason: Why it was refused, empty if it was taken.
        at: Time of the answer.
    """
    prefixes = "".join(f"@prefix {name}: <{v.PREFIXES[name]}> .\n" for name in ("smartapi", "xsd", "heila"))
    sender, answer = reference(v.ACTOR, actor), reference(v.MESSAGE, f"{identity}/response")
    error = f" ;\n  smartapi:error [ a smartapi:Error ; smartapi:errorMessage {text(reason)} ]" if reason else ""
    lines = (
        f"{answer} a smartapi:Response ;\n  smartapi:generatedBy {sender} ;\n  smartapi:generatedAt {moment(at)} ;\n"
        f"  smartapi:id {numeric_identity(identity)} ;\n  heila:answers {text(identity)}{error} .\n"
        f"{sender} a smartapi:Entity .\n"
    )
    return (prefixes + lines).encode("ascii")
