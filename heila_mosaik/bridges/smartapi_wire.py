"""One actor's door to the wire: message to sealed bytes and back, every refusal counted."""

from __future__ import annotations

from dataclasses import dataclass

from heila_mosaik.bridges.envelope import Envelope, Opened, Sealed
from heila_mosaik.bridges.smartapi import CONTENT_TYPE, read_message, write_message
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.domain.information import Message


@dataclass(slots=True)
class Wire:
    """Seals and opens messages of one actor.

    Attributes:
        envelope: Its envelope.
        encrypt: Whether bodies are encrypted.
    """

    envelope: Envelope
    encrypt: bool = False

    def seal(self, message: Message, *, lifetime_s: int = 300) -> Sealed:
        """Sealed bytes; a retry of the same message keeps its identity, so its effect stays single.

        Raises:
            RefusedError: If the message is too large or the receiver has no encryption key.
        """
        payload = write_message(message)
        receiver = message.receiver
        return self.envelope.seal(payload, receiver, encrypt=self.encrypt, lifetime_s=lifetime_s, jti=message.id)

    def open(self, payload: bytes, signature: str, *, encrypted: bool, content_type: str = CONTENT_TYPE) -> Message:
        """Message behind sealed bytes.

        Raises:
            RefusedError: If anything is wrong; also if the body speaks for another than the signer or is for another
                than the audience (else a peer could sign again what it did not write).
        """
        return self.open_sealed(payload, signature, encrypted=encrypted, content_type=content_type)[0]

    def open_sealed(
        self, payload: bytes, signature: str, *, encrypted: bool, content_type: str = CONTENT_TYPE
    ) -> tuple[Message, Opened]:
        """The same, with the identity and expiry of the sending, which a store remembers together with the message."""
        opened = self.envelope.open(payload, signature, encrypted=encrypted)
        try:
            message = read_message(opened.payload, content_type)
            self._same(message, opened)
        except RefusedError as error:
            self.envelope.refused[error.reason] += 1
            raise
        return message, opened

    def _same(self, message: Message, opened: Opened) -> None:
        if message.sender != opened.issuer:
            raise RefusedError(Refusal.WRONG_ISSUER, f"{opened.issuer} signed a message of {message.sender[:80]}",
                               remedy="an actor speaks for itself only")  # fmt: skip
        if message.receiver != self.envelope.keys.actor:
            raise RefusedError(Refusal.WRONG_AUDIENCE, f"the message is for {message.receiver[:80]}",
                               remedy="send it there")  # fmt: skip
