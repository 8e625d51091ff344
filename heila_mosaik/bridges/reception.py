"""The one door for messages from outside, whichever way they come: open, check, store for good, give a receipt."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from heila_mosaik.bridges.clock import Clock
from heila_mosaik.bridges.envelope import SKEW_S, Envelope
from heila_mosaik.bridges.mqtt_topics import Packet
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.bridges.store_rows import Delivery
from heila_mosaik.bridges.watch import useful_until
from heila_mosaik.domain.information import Message

_SIZE_MAX = 4096
_REASON_MAX = 400
_ANONYMOUS = frozenset(
    {
        Refusal.NO_SIGNATURE,
        Refusal.BAD_SIGNATURE,
        Refusal.ALGORITHM,
        Refusal.UNKNOWN_KEY,
        Refusal.WRONG_ISSUER,
        Refusal.WRONG_AUDIENCE,
        Refusal.OVERSIZE,
    }
)
"""Refused before the signature held, or although: the sender may be nobody, and is told nothing."""

_PASSING = frozenset({Refusal.REPLAY_STORE_FULL, Refusal.EXPIRED, Refusal.NOT_YET_VALID})
"""Refusals that may pass: the sender tries again."""

_log = logging.getLogger(__name__)


class Accept(Protocol):
    """Stores a message for good; returns False if it was there already."""

    def __call__(self, message: Message, *, via: str, jti: str, forget_at: float) -> bool:
        """Store."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The receiver's word on one message.

    Attributes:
        id: Identity of the message, empty if it could not be read.
        state: Delivered, refused, or waiting: try again later.
        reason: Why it was refused.
        duplicate: Whether it had been delivered before.
        sender: Who signed it.
    """

    id: str
    state: Delivery
    reason: str = ""
    duplicate: bool = False
    sender: str = ""

    def to_json(self) -> bytes:
        """For the wire."""
        told: dict[str, Any] = {"id": self.id, "state": self.state.value}
        if self.reason:
            told["reason"] = self.reason
        if self.duplicate:
            told["duplicate"] = True
        return json.dumps(told, ensure_ascii=True).encode()


def read_receipt(payload: bytes) -> Receipt:
    """Receipt from :meth:`Receipt.to_json`.

    Raises:
        RefusedError: If it is none.
    """
    try:
        told: dict[str, Any] = json.loads(payload[:_SIZE_MAX])
        state, identity, reason = Delivery(told["state"]), told["id"], told.get("reason", "")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RefusedError(Refusal.SHAPE, "not a receipt", remedy="send id and state") from error
    if state is Delivery.EXPIRED or not isinstance(identity, str):
        raise RefusedError(Refusal.SHAPE, "not a receipt", remedy="send id and state")
    return Receipt(id=identity, state=state, reason=str(reason)[:_REASON_MAX])


def _same_as(peer: str, sender: str, via: str) -> None:
    if peer and sender != peer:
        raise RefusedError(Refusal.WRONG_ISSUER, f"{sender} through the door of {peer}", where=via,
                           remedy="speak for yourself only")  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Reception:
    """Opens, checks and stores what comes in.

    Attributes:
        wire: Opens.
        accept: Stores, usually :meth:`heila_mosaik.bridges.host.LiveHost.accept`.
        knows: Whether the message of a sender and an identity is stored already.
        clock: Simulated time; a message that has lost its use by it does not get in.
        counts: Delivered, duplicates, and refusals by reason.
    """

    wire: Wire
    accept: Accept
    knows: Callable[[str, str], bool]
    clock: Clock
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def envelope(self) -> Envelope:
        """The actor's envelope."""
        return self.wire.envelope

    def receive(self, packet: Packet, *, peer: str, identity: str, via: str) -> Receipt:
        """Take one message.

        Args:
            packet: As it came.
            peer: Who the transport says it is (topic level or certificate); the signature must agree.
            identity: Identity of the message the transport names, for a receipt about what cannot be read.
            via: Name of the transport.

        Raises:
            RefusedError: If nobody known signed it: it is counted, logged and gets no receipt.
            StoreError: If it could not be stored: it must not be acknowledged.
        """
        try:
            message, opened = self.wire.open_sealed(
                packet.payload, packet.signature, encrypted=packet.encrypted, content_type=packet.content_type
            )
            _same_as(peer, message.sender, via)
            self._in_time(message)
            fresh = self.accept(message, via=via, jti=opened.jti, forget_at=opened.expires_at + SKEW_S)
        except RefusedError as error:
            return self._refused(error, peer, identity)
        self.counts["delivered" if fresh else "duplicate"] += 1
        return Receipt(id=message.id, state=Delivery.DELIVERED, duplicate=not fresh, sender=message.sender)

    def _in_time(self, message: Message) -> None:
        """Refuse what has lost its use on the way, by the rule after which its sender gives it up.

        A broker or a client's queue may hold a message for longer than it was meant to.
        """
        until = useful_until(message.body, message.sent_at)
        if self.clock.now() >= until and not self.knows(message.sender, message.id):
            raise RefusedError(Refusal.TOO_LATE, f"it was of use until {until.isoformat()}",
                               remedy="send it earlier, or set the clock")  # fmt: skip

    def _refused(self, error: RefusedError, peer: str, identity: str) -> Receipt:
        self.counts[f"refused_{error.reason}"] += 1
        _log.warning("%s: from %s: %s", self.envelope.keys.actor, peer or "?", error)
        if error.reason in _ANONYMOUS or not identity:
            raise error
        reason = f"{error.reason}: {error.problem.what}"[:_REASON_MAX]
        state = Delivery.WAITING if error.reason in _PASSING else Delivery.REFUSED
        return Receipt(id=identity, state=state, reason=reason, sender=peer)
