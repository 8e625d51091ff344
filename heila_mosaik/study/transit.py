"""The form in which messages travel inside a study: objects, JSON, or signed Smart API bytes.

All three give the same results; ``wire`` shows that the messages of a whole study survive what they meet between
laboratories, signature included.  Its keys are made for the run and leave no trace in the data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from heila_mosaik.domain.codec import from_json_dict, to_json_dict
from heila_mosaik.domain.information import Message
from heila_mosaik.errors import Problem, ProblemsError

Form = Literal["object", "json", "wire"]
Transit = Callable[[Message], Message]


def make_transit(form: Form, actors: Sequence[str]) -> Transit | None:
    """What every message goes through on its way; ``None`` for objects.

    Args:
        form: Form of the messages.
        actors: Names of all actors, each of which gets keys in the form ``wire``.

    Raises:
        ProblemsError: If the libraries of the form ``wire`` are not installed.
    """
    if form == "json":
        return through_json
    if form == "object":
        return None
    try:
        return _through_wire(actors)
    except ModuleNotFoundError as error:
        problem = Problem(
            what=f"'wire' needs {error.name}, which is not installed",
            where="messages",
            remedy="pip install 'heila-mosaik[smartapi]', or choose object or json",
        )
        raise ProblemsError("form of the messages", [problem]) from error


def through_json(message: Message) -> Message:
    """The message as JSON and back."""
    body = from_json_dict(type(message.body).__name__, to_json_dict(message.body))
    return Message(id=message.id, sender=message.sender, receiver=message.receiver, sent_at=message.sent_at, body=body)


def _through_wire(actors: Sequence[str]) -> Transit:
    """Seal each message for its receiver and open it there, every check included."""
    from heila_mosaik.bridges.envelope import Envelope  # noqa: PLC0415 - an extra, and only this form needs it
    from heila_mosaik.bridges.keys import KeySet, Trust  # noqa: PLC0415
    from heila_mosaik.bridges.smartapi_wire import Wire  # noqa: PLC0415

    clock = [0.0]
    keys = [KeySet.generate(name) for name in actors]
    trust = Trust.of(keys)
    # In a study validity counts in simulated time: what is remembered against replay stays small however fast it runs.
    wires = {own.actor: Wire(Envelope(own, trust, clock=lambda: clock[0])) for own in keys}

    def carry(message: Message) -> Message:
        clock[0] = max(clock[0], message.sent_at.timestamp())
        sealed = wires[message.sender].seal(message)
        receiver = wires.get(message.receiver)
        if receiver is None:
            return message
        return receiver.open(sealed.payload, sealed.signature, encrypted=sealed.encrypted)

    return carry
