"""What an operator watches of a live actor: the values that are in force, by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from heila_mosaik.actors.base import Outcome
from heila_mosaik.bridges.store_rows import pack
from heila_mosaik.domain.codec import to_json_dict
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    ControlSignal,
    InformationObject,
    Measurements,
    Message,
    OperationPlan,
    ReserveNotification,
    VerificationNotification,
)

GROUPS = ("control", "activation", "refusal", "reserve", "plan", "measurement", "verification")
"""First part of the names of :func:`watched`."""

_FOREVER = timedelta(days=3650)


def watched(inbox: Sequence[Message], outcome: Outcome, measurements: Measurements | None) -> dict[str, str]:
    """Values a step changed, JSON by ``<group>/<name>``.

    Groups: ``control`` (set points and commands given, by resource or breaker), ``activation`` and ``refusal`` (by
    reserve), ``reserve``, ``plan`` (by subject), ``measurement`` (by element and quantity), ``verification``.
    """
    bodies: list[InformationObject] = [message.body for message in inbox]
    if measurements is not None:
        bodies.insert(0, measurements)
    bodies += [message.body for message in outcome.messages]
    bodies += outcome.controls
    return {name: pack(value) for body in bodies for name, value in _values(body)}


def _values(body: InformationObject) -> Iterator[tuple[str, dict[str, Any]]]:
    match body:
        case Measurements():
            at = body.at.isoformat()
            for element, quantity, value, quality in zip(
                body.elements, body.quantities, body.values, body.qualities, strict=True
            ):
                number = value if value - value == 0.0 else None
                yield (
                    f"measurement/{element}/{quantity.value}",
                    {"value": number, "quality": quality.value, "at": at},
                )
        case ControlSignal():
            yield f"control/{body.target}", to_json_dict(body)
        case ActivationNotification():
            yield f"activation/{body.reserve}", to_json_dict(body)
        case ActivationRefusal():
            yield f"refusal/{body.reserve}", to_json_dict(body)
        case ReserveNotification():
            yield f"reserve/{body.id}", to_json_dict(body)
        case OperationPlan():
            yield f"plan/{body.subject}", to_json_dict(body)
        case VerificationNotification():
            yield f"verification/{body.reserve}", to_json_dict(body)


def useful_until(body: InformationObject, sent_at: datetime) -> datetime:
    """When a message stops being of use to its receiver, simulated time."""
    if isinstance(body, VerificationNotification):
        return sent_at + _FOREVER  # what happened stays true, and money hangs on it
    stop = getattr(body, "stop", None)
    if isinstance(stop, datetime) and isinstance(body, ActivationNotification | ControlSignal | ReserveNotification):
        return stop
    profile = getattr(body, "profile", None)
    if profile is not None:
        until: datetime = profile.stop
        return until
    return sent_at + _FOREVER
