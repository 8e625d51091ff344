"""Registration and key delivery: an actor tells the others who it is, where it is reached and which keys are its own.

A registration is a JWS (RFC 7515) signed with the key of the actor's TLS certificate (ES256); the certificate travels
in its ``x5c`` header.  Who holds nothing but the laboratory's CA certificate can check it: the certificate is issued
by that CA, its common name is the actor's name, and it signed the Ed25519 and X25519 keys.  A later registration
replaces an earlier one, which is how a rotation gets around.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey
from joserfc.jws import JWSRegistry

from heila_mosaik._version import __version__
from heila_mosaik.bridges.envelope import SKEW_S
from heila_mosaik.bridges.keys import KeySet, Trust
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError

SIZE_MAX = 16 * 1024
VALID_S = 7 * 86400
_REGISTRY = JWSRegistry(algorithms=["ES256"])
_REGISTRY.max_header_length = _REGISTRY.max_payload_length = SIZE_MAX
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What an actor says about itself.

    Attributes:
        actor: Its name.
        issued_at: When it said so, wall clock. [s since 1970]
        expires_at: Until when it counts. [s since 1970]
        signing: Public Ed25519 keys, newest first.
        encryption: Public X25519 keys, newest first.
        about: Role, software and addresses, for humans and for routing.
    """

    actor: str
    issued_at: float
    expires_at: float
    signing: tuple[OKPKey, ...]
    encryption: tuple[OKPKey, ...]
    about: Mapping[str, str]


def make_registration(folder: Path, keys: KeySet, about: Mapping[str, str], *, now: float | None = None) -> bytes:
    """Registration document of an actor, signed with the key of its TLS certificate.

    Args:
        folder: Key folder of the laboratory.
        keys: Its key sets; only their public halves are told.
        about: What else to tell: ``role``, ``https``.
        now: Wall clock. [s since 1970]
    """
    certificate = x509.load_pem_x509_certificate((folder / keys.actor / "tls.pem").read_bytes())
    private = serialization.load_pem_private_key((folder / keys.actor / "tls.key").read_bytes(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    issued = time.time() if now is None else now
    claims = {
        "actor": keys.actor,
        "issued_at": issued,
        "expires_at": issued + VALID_S,
        "signing": [key.as_dict(private=False) for key in keys.signing],
        "encryption": [key.as_dict(private=False) for key in keys.encryption],
        "about": {"software": f"heila-mosaik {__version__}", **about},
    }
    chain = [b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
    header = {"alg": "ES256", "x5c": chain, "typ": "heila-registration"}
    body = json.dumps(claims, sort_keys=True).encode()
    return jws.serialize_compact(header, body, ECKey.import_key(private), registry=_REGISTRY).encode()


def read_registration(document: bytes, authority: x509.Certificate, *, now: float | None = None) -> Registration:
    """Check a registration document.

    Args:
        document: As it came.
        authority: CA of the laboratory.
        now: Wall clock. [s since 1970]

    Raises:
        RefusedError: If anything about it is wrong.
    """
    if len(document) > SIZE_MAX:
        raise RefusedError(Refusal.OVERSIZE, f"registration of {len(document)} bytes", remedy=f"at most {SIZE_MAX}")
    clock = time.time() if now is None else now
    try:
        certificate = _certificate(document)
        _check_chain(certificate, authority, clock)
        opened = jws.deserialize_compact(document, _key_of(certificate), registry=_REGISTRY)
        claims = json.loads(opened.payload)
        told = _registration(claims)
    except RefusedError:
        raise
    except (JoseError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RefusedError(Refusal.BAD_SIGNATURE, f"registration does not hold ({type(error).__name__}: {error})"[:300],
                           remedy="sign it with the key of the certificate") from error  # fmt: skip
    name = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [attribute.value for attribute in name] != [told.actor]:
        whose = ", ".join(str(attribute.value) for attribute in name)
        raise RefusedError(Refusal.WRONG_ISSUER, f"certificate of {whose} registers {told.actor[:80]}",
                           remedy="register as self")  # fmt: skip
    if told.issued_at > clock + SKEW_S:
        raise RefusedError(Refusal.NOT_YET_VALID, "registration from the future", remedy="set the clock")
    if told.expires_at <= clock:
        raise RefusedError(Refusal.EXPIRED, "registration has expired", remedy="start the actor again")
    return told


def _certificate(document: bytes) -> x509.Certificate:
    head = document.partition(b".")[0]
    header = json.loads(urlsafe_b64decode(head + b"=" * (-len(head) % 4)))
    chain = header["x5c"]
    if header.get("alg") != "ES256" or not isinstance(chain, list) or len(chain) != 1:
        raise ValueError("ES256 with one certificate is wanted")
    return x509.load_der_x509_certificate(b64decode(chain[0], validate=True))


def _key_of(certificate: x509.Certificate) -> ECKey:
    key = certificate.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError("certificate without an EC key")
    return ECKey.import_key(key)


def _check_chain(certificate: x509.Certificate, authority: x509.Certificate, now: float) -> None:
    builder = PolicyBuilder().store(Store([authority])).time(datetime.fromtimestamp(now, UTC).replace(tzinfo=None))
    try:
        builder.build_client_verifier().verify(certificate, [])
    except VerificationError as error:
        raise RefusedError(Refusal.UNKNOWN_KEY, f"certificate is not of this laboratory ({error})"[:300],
                           remedy="have it issued by the laboratory's CA") from error  # fmt: skip


def _registration(claims: Mapping[str, Any]) -> Registration:
    actor = claims["actor"]
    issued, expires = float(claims["issued_at"]), float(claims["expires_at"])
    about = {str(key): str(value) for key, value in claims["about"].items()}
    signing, encryption = (_public(actor, claims[use], curve) for use, curve in _CURVES.items())
    if not isinstance(actor, str) or not signing:
        raise ValueError("actor and signing keys are wanted")
    return Registration(actor=actor, issued_at=issued, expires_at=expires, signing=signing, encryption=encryption,
                        about=about)  # fmt: skip


_CURVES = {"signing": "Ed25519", "encryption": "X25519"}


def _public(actor: str, entries: Sequence[dict[str, Any]], curve: str) -> tuple[OKPKey, ...]:
    found = []
    for entry in entries[:4]:
        key = OKPKey.import_key({name: entry[name] for name in ("kty", "crv", "x", "kid")})
        if entry["crv"] != curve or entry["kid"] != f"{actor}#{key.thumbprint()}":
            raise ValueError("key with another curve, or a kid that is not <actor>#<thumbprint>")
        found.append(key)
    return tuple(found)


@dataclass(slots=True, kw_only=True)
class Directory:
    """Registrations an actor has seen, and the trust that follows from them; use from any thread.

    Attributes:
        authority: CA of the laboratory.
        changed: Told of the new trust and of who registered.
        known: Latest registration of each actor.
    """

    authority: x509.Certificate
    changed: Callable[[Trust, Registration], None] | None = None
    known: dict[str, Registration] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _news: threading.Condition = field(default_factory=threading.Condition)

    def take(self, document: bytes, claimed: str) -> Registration:
        """Take a registration; one that is older than the one known changes nothing.

        Args:
            document: As it came.
            claimed: Who the transport says it is of.

        Raises:
            RefusedError: If it does not hold or is of somebody else.
        """
        told = read_registration(document, self.authority)
        if told.actor != claimed:
            raise RefusedError(Refusal.WRONG_ISSUER, f"registration of {told.actor} from {claimed[:80]}",
                               remedy="register as self")  # fmt: skip
        with self._lock:
            before = self.known.get(told.actor)
            if before is not None and told.issued_at < before.issued_at:
                # a broker that was restored serves what it had retained; an attacker gets no further with it
                return before
            self.known[told.actor] = told
            trust = self.trust()
        if self.changed is not None:
            self.changed(trust, told)
        with self._news:
            self._news.notify_all()
        if before is None:
            _log.info("%s registered (%s)", told.actor, ", ".join(f"{k} {v}" for k, v in told.about.items()))
        return told

    def trust(self) -> Trust:
        """Public keys of everyone who registered."""
        signing = {key.kid or "": (one.actor, key) for one in self.known.values() for key in one.signing}
        encryption = {one.actor: one.encryption[0] for one in self.known.values() if one.encryption}
        return Trust(signing, encryption)

    def missing(self, wanted: Sequence[str]) -> tuple[str, ...]:
        """Who of these has not registered."""
        return tuple(name for name in wanted if name not in self.known)

    def wait(self, wanted: Sequence[str], timeout_s: float) -> tuple[str, ...]:
        """Wait until all of these have registered; returns who has not."""
        with self._news:
            self._news.wait_for(lambda: not self.missing(wanted), timeout_s)
        return self.missing(wanted)
