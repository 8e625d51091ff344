"""Information objects as Smart API RDF: ``write_message`` and ``read_message`` are each other's inverse."""

from __future__ import annotations

from heila_mosaik.bridges.smartapi.plain import PlainNotification, read_plain
from heila_mosaik.bridges.smartapi.reader import read_message
from heila_mosaik.bridges.smartapi.turtle import Writer
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.domain.information import Message

CONTENT_TYPE = "text/turtle"
HTTP_PATH = "/smartapi/v1.0e1.0/access/"


def write_message(message: Message, *, kilowatts: bool = False) -> bytes:
    """Turtle of a message, the same bytes for the same message.

    Args:
        message: The message.
        kilowatts: Write active power in kW instead of MW.

    Raises:
        RefusedError: If it is larger than a receiver accepts.
    """
    return Writer(kilowatts=kilowatts).message(message)


__all__ = ["CONTENT_TYPE", "HTTP_PATH", "PlainNotification", "Refusal", "RefusedError", "read_message", "read_plain",
           "write_message"]  # fmt: skip
