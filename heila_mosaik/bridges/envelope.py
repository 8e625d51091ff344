"""Envelope around the bytes of a message: who says it, to whom, until when, and that it is said once.

The signature is a detached JWS (RFC 7515, unencoded payload RFC 7797, Ed25519) over the exact bytes; it travels
beside them in an HTTP header or an MQTT 5 user property.  The claims lie in its protected header.  Encryption, when
asked for, wraps the bytes first (JWE ECDH-ES + A256GCM, no compression), so the signature covers the ciphertext and a
forgery is refused before anything is decrypted.  ``iat`` and ``exp`` are wall clock; simulated time is inside.
"""

from __future__ import annotations

import heapq
import json
import re
import secrets
import time
from base64 import urlsafe_b64decode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from joserfc import jwe, jws
from joserfc.errors import JoseError
from joserfc.jws import JWSRegistry

from heila_mosaik.bridges.keys import KeySet, Trust
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError

LIFETIME_S = 300
SKEW_S = 30
LIFETIME_MAX_S = 3600
SIGNATURE_MAX = 2048
PAYLOAD_MAX = 384 * 1024  # ciphertext is base64: 4/3 of the largest message
CLAIMS = ("iss", "aud", "iat", "exp", "jti")
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.\.[A-Za-z0-9_-]+")


def _registry() -> JWSRegistry:
    from joserfc.registry import HeaderParameter  # noqa: PLC0415 - only needed once

    extra = {name: HeaderParameter(name, "int" if name in ("iat", "exp") else "str", required=True) for name in CLAIMS}
    registry = JWSRegistry(extra, algorithms=["Ed25519"])
    registry.max_payload_length = PAYLOAD_MAX
    registry.max_header_length = SIGNATURE_MAX
    return registry


_REGISTRY = _registry()
_JWE = jwe.JWERegistry(algorithms=["ECDH-ES", "A256GCM"])
_JWE.max_ciphertext_length = PAYLOAD_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """What goes on the wire.

    Attributes:
        payload: Message bytes, or their JWE.
        signature: Detached JWS, ASCII.
        jti: Identity of this sending.
        encrypted: Whether the payload is a JWE.
        lifetime_s: How long it counts. [s]
    """

    payload: bytes
    signature: str
    jti: str
    encrypted: bool
    lifetime_s: int = LIFETIME_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A verified message.

    Attributes:
        payload: Message bytes, decrypted.
        issuer: Actor that signed.
        jti: Identity of the sending.
        expires_at: Wall clock after which it no longer counts. [s since 1970]
    """

    payload: bytes
    issuer: str
    jti: str
    expires_at: int


class ReplayStore:
    """Remembers message identities until they expire; bounded, and full means refuse.

    Args:
        capacity: Most identities remembered over all issuers.
        per_issuer: Most identities of one issuer, so that one peer cannot shut out the others.
    """

    def __init__(self, capacity: int = 100_000, per_issuer: int = 50_000) -> None:
        self._capacity, self._per_issuer = capacity, per_issuer
        self._known: set[tuple[str, str]] = set()
        self._queue: list[tuple[float, str, str]] = []
        self._of: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    def claim(self, issuer: str, jti: str, forget_at: float, now: float) -> None:
        """Remember an identity.

        Raises:
            RefusedError: If it is known already or there is no room.
        """
        while self._queue and self._queue[0][0] <= now:
            _, old_issuer, old_jti = heapq.heappop(self._queue)
            self._known.discard((old_issuer, old_jti))
            self._of[old_issuer] -= 1
        if (issuer, jti) in self._known:
            raise RefusedError(Refusal.REPLAYED, f"{jti} of {issuer} was received before", remedy="send it once")
        if len(self._known) >= self._capacity or self._of[issuer] >= self._per_issuer:
            raise RefusedError(Refusal.REPLAY_STORE_FULL, f"too many messages of {issuer} under way",
                               remedy="send slower, or with a shorter lifetime")  # fmt: skip
        self._known.add((issuer, jti))
        self._of[issuer] += 1
        heapq.heappush(self._queue, (forget_at, issuer, jti))


@dataclass(slots=True)
class Envelope:
    """Seals and opens for one actor.

    Attributes:
        keys: Its private keys.
        trust: Public keys of the others; replace it after a rotation.
        replay: Identities seen; ``None`` when a store remembers them together with the messages.
        clock: Wall clock. [s since 1970]
        refused: Count by reason.
    """

    keys: KeySet
    trust: Trust
    replay: ReplayStore | None = field(default_factory=ReplayStore)
    clock: Callable[[], float] = time.time
    refused: Counter[str] = field(default_factory=Counter)

    def seal(
        self, payload: bytes, audience: str, *, encrypt: bool = False, lifetime_s: int = LIFETIME_S, jti: str = ""
    ) -> Sealed:
        """Sign, after encryption if wanted.

        Args:
            payload: Message bytes.
            audience: Actor it is for.
            encrypt: Whether only the audience may read it.
            lifetime_s: Until when it counts. [s]
            jti: Identity; a random one when empty.  A retry keeps the identity of the first try.
        """
        if encrypt:
            payload = self._encrypt(payload, audience)
        now, lifetime_s = int(self.clock()), min(lifetime_s, LIFETIME_MAX_S)
        key = self.keys.signing[0]
        header: dict[str, object] = {
            "alg": "Ed25519", "b64": False, "crit": ["b64"], "kid": key.kid, "iss": self.keys.actor, "aud": audience,
            "iat": now, "exp": now + lifetime_s, "jti": jti or secrets.token_urlsafe(16),
        }  # fmt: skip
        compact = jws.serialize_compact(header, payload, key, registry=_REGISTRY)
        head, _, rest = compact.partition(".")
        signature = f"{head}..{rest.rpartition('.')[2]}"
        return Sealed(payload=payload, signature=signature, jti=str(header["jti"]), encrypted=encrypt,
                      lifetime_s=lifetime_s)  # fmt: skip

    def _encrypt(self, payload: bytes, audience: str) -> bytes:
        key = self.trust.encryption.get(audience)
        if key is None:
            raise RefusedError(Refusal.UNKNOWN_KEY, f"no encryption key of {audience}", remedy="update trust.json")
        header = {"alg": "ECDH-ES", "enc": "A256GCM", "kid": key.kid}
        return jwe.encrypt_compact(header, payload, key, registry=_JWE).encode()

    def open(self, payload: bytes, signature: str, *, encrypted: bool = False) -> Opened:
        """Verify and, if asked for, decrypt.

        Args:
            payload: Bytes as received.
            signature: Detached JWS as received.
            encrypted: Whether the payload is a JWE.

        Raises:
            RefusedError: With the reason; it is counted in :attr:`refused`.
        """
        try:
            return self._open(payload, signature, encrypted=encrypted)
        except RefusedError as error:
            self.refused[error.reason] += 1
            raise

    def _open(self, payload: bytes, signature: str, *, encrypted: bool) -> Opened:
        if len(payload) > PAYLOAD_MAX or len(signature) > SIGNATURE_MAX:
            raise RefusedError(Refusal.OVERSIZE, f"{len(payload)} bytes", remedy=f"at most {PAYLOAD_MAX}")
        header = _header(signature)
        kid, issuer = str(header.get("kid")), str(header.get("iss"))
        if header.get("alg") != "Ed25519" or header.get("b64") is not False or header.get("crit") != ["b64"]:
            raise RefusedError(Refusal.ALGORITHM, f"alg {header.get('alg')!r}", remedy="Ed25519 with b64 false")
        speaker = self.trust.signing.get(kid)
        if speaker is None:
            raise RefusedError(Refusal.UNKNOWN_KEY, f"key {kid[:80]!r} is not known", remedy="update trust.json")
        actor, key = speaker
        self._verify(payload, signature, key)
        if actor != issuer:
            raise RefusedError(Refusal.WRONG_ISSUER, f"key of {actor} signed for {issuer[:80]}", remedy="sign as self")
        expires_at, jti = self._check_claims(header)
        if encrypted:
            payload = self._decrypt(payload)
        if self.replay is not None:
            self.replay.claim(issuer, jti, expires_at + SKEW_S, self.clock())
        return Opened(payload=payload, issuer=issuer, jti=jti, expires_at=expires_at)

    def _verify(self, payload: bytes, signature: str, key: object) -> None:
        try:
            jws.deserialize_compact(signature, key, registry=_REGISTRY, payload=payload)  # type: ignore[arg-type]
        except (JoseError, ValueError, TypeError, KeyError) as error:
            raise RefusedError(Refusal.BAD_SIGNATURE, f"signature does not hold ({type(error).__name__})",
                               remedy="sign the exact bytes that are sent") from error  # fmt: skip

    def _check_claims(self, header: dict[str, object]) -> tuple[int, str]:
        audience, issued, expires, jti = (header.get(name) for name in ("aud", "iat", "exp", "jti"))
        if type(issued) is not int or type(expires) is not int or not isinstance(jti, str) or not 1 <= len(jti) <= 128:
            raise RefusedError(Refusal.CLAIMS, "claims iat, exp, jti are missing or malformed", remedy="send all five")
        if audience != self.keys.actor:
            raise RefusedError(Refusal.WRONG_AUDIENCE, f"meant for {str(audience)[:80]}", remedy="send it there")
        now = self.clock()
        if not issued < expires <= issued + LIFETIME_MAX_S:
            raise RefusedError(Refusal.CLAIMS, f"lifetime of {expires - issued} s", remedy=f"1 … {LIFETIME_MAX_S} s")
        if issued > now + SKEW_S:
            raise RefusedError(Refusal.NOT_YET_VALID, f"issued {issued - now:.0f} s ahead", remedy="set the clock")
        if expires + SKEW_S <= now:
            raise RefusedError(Refusal.EXPIRED, f"expired {now - expires:.0f} s ago", remedy="send it again")
        return expires, jti

    def _decrypt(self, payload: bytes) -> bytes:
        for key in self.keys.encryption:
            try:
                opened = jwe.decrypt_compact(payload, key, registry=_JWE)
            except (JoseError, ValueError, TypeError, KeyError):
                continue
            return opened.plaintext or b""
        raise RefusedError(Refusal.DECRYPTION, "none of our keys opens it", remedy="encrypt to the key in trust.json")


def _header(signature: str) -> dict[str, object]:
    if not signature:
        raise RefusedError(Refusal.NO_SIGNATURE, "no signature", remedy="sign the message")
    if not _COMPACT.fullmatch(signature):
        raise RefusedError(Refusal.BAD_SIGNATURE, "not a detached JWS", remedy="send header..signature")
    head = signature.partition(".")[0]
    try:
        header = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError) as error:
        raise RefusedError(Refusal.BAD_SIGNATURE, "unreadable JWS header", remedy="send a valid one") from error
    if not isinstance(header, dict) or "zip" in header:
        raise RefusedError(Refusal.BAD_SIGNATURE, "unreadable JWS header", remedy="send a valid one")
    return header
