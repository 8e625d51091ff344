"""Keys of a laboratory: a signing and an encryption key per actor with rotation, its CA and TLS certificates.

Layout of the folder: ``<actor>/signing.json`` and ``encryption.json`` (private JWK sets, newest first, mode 600),
``trust.json`` (public keys of all actors), ``ca.pem``/``ca.key``, ``<actor>/tls.pem``/``tls.key``.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc.jwk import OKPKey

from heila_mosaik.errors import Problem, ProblemsError


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySet:
    """Private keys of one actor.

    Attributes:
        actor: Its name: issuer of what it signs, audience of what it opens.
        signing: Ed25519 keys, newest first; the first one signs.
        encryption: X25519 keys, newest first; all of them open.
    """

    actor: str
    signing: tuple[OKPKey, ...]
    encryption: tuple[OKPKey, ...] = ()

    @classmethod
    def generate(cls, actor: str) -> KeySet:
        """Fresh keys."""
        return cls(actor=actor, signing=(_new(actor, "Ed25519"),), encryption=(_new(actor, "X25519"),))

    def rotated(self, keep: int = 2) -> KeySet:
        """New keys in front; of the old ones at most ``keep - 1`` stay for messages under way."""
        fresh = KeySet.generate(self.actor)
        return replace(
            self,
            signing=(fresh.signing + self.signing)[:keep],
            encryption=(fresh.encryption + self.encryption)[:keep],
        )


def _new(actor: str, curve: str) -> OKPKey:
    key = OKPKey.generate_key(curve, private=True)  # type: ignore[arg-type]
    kid = f"{actor}#{key.thumbprint()}"
    return OKPKey.import_key({**key.as_dict(private=True), "kid": kid})


@dataclass(frozen=True, slots=True)
class Trust:
    """Public keys an actor believes; a key speaks for exactly one actor.

    Attributes:
        signing: kid → (actor, public key).
        encryption: actor → newest public key.
    """

    signing: Mapping[str, tuple[str, OKPKey]] = field(default_factory=dict)
    encryption: Mapping[str, OKPKey] = field(default_factory=dict)

    @classmethod
    def of(cls, sets: Sequence[KeySet]) -> Trust:
        """Trust in the public halves of key sets."""
        return cls(
            signing={key.kid or "": (one.actor, _public(key)) for one in sets for key in one.signing},
            encryption={one.actor: _public(one.encryption[0]) for one in sets if one.encryption},
        )

    def as_json(self) -> dict[str, object]:
        """Static JWK sets by actor."""
        actors: dict[str, dict[str, list[object]]] = {}
        for actor, key in self.signing.values():
            actors.setdefault(actor, {"signing": [], "encryption": []})["signing"].append(key.as_dict(private=False))
        for actor, key in self.encryption.items():
            actors.setdefault(actor, {"signing": [], "encryption": []})["encryption"].append(key.as_dict(private=False))
        return {"actors": actors}

    @classmethod
    def from_json(cls, document: Mapping[str, Mapping[str, Mapping[str, list[dict[str, str]]]]]) -> Trust:
        """Trust from :meth:`as_json`.

        Raises:
            ValueError: If one key id is claimed by two actors.
        """
        signing: dict[str, tuple[str, OKPKey]] = {}
        encryption: dict[str, OKPKey] = {}
        for actor, keys in document["actors"].items():
            for entry in keys["signing"]:
                if entry["kid"] in signing:
                    raise ValueError(f"key {entry['kid']} belongs to two actors")
                signing[entry["kid"]] = (actor, OKPKey.import_key(entry))  # type: ignore[arg-type]
            if keys["encryption"]:
                encryption[actor] = OKPKey.import_key(keys["encryption"][0])  # type: ignore[arg-type]
        return cls(signing, encryption)


def _public(key: OKPKey) -> OKPKey:
    return OKPKey.import_key(key.as_dict(private=False))


def write_lab(folder: Path, actors: Sequence[str], *, days: int = 365, hosts: Sequence[str] = ("localhost",)) -> None:
    """Make keys, CA and certificates of a laboratory; nothing that exists is overwritten.

    Args:
        folder: Folder to make.
        actors: Names of the actors.
        days: Validity of the certificates. [d]
        hosts: Names and addresses the servers are reached by; 127.0.0.1 is always among them.

    Raises:
        ProblemsError: If a file already exists or a name cannot be a folder.
    """
    problems = [
        Problem(what=f"{name!r} cannot name a folder", where="actors", remedy="letters, digits, '-', '_', '.'")
        for name in actors
        if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or name.startswith(".")
    ]
    if folder.exists() and any(folder.iterdir()):
        problems.append(Problem(what="folder is not empty, keys are never overwritten", where=str(folder),
                                remedy="choose another folder, rotate, or move it away"))  # fmt: skip
    if problems:
        raise ProblemsError(f"keys in {folder}", problems)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    sets = [KeySet.generate(actor) for actor in actors]
    for one in sets:
        save(folder, one)
    _write(folder / "trust.json", json.dumps(Trust.of(sets).as_json(), indent=1, sort_keys=True).encode(), 0o644)
    authority = _Authority.make(days)
    _write(folder / "ca.pem", authority.certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(folder / "ca.key", _private_pem(authority.key), 0o600)
    for actor in actors:
        certificate, key = authority.issue(actor, days, hosts)
        _write(folder / actor / "tls.pem", certificate, 0o644)
        _write(folder / actor / "tls.key", key, 0o600)


def save(folder: Path, keys: KeySet) -> None:
    """Write the private key sets of one actor.

    Raises:
        ProblemsError: If they exist.
    """
    place = folder / keys.actor
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, members in (("signing", keys.signing), ("encryption", keys.encryption)):
        document = {"keys": [key.as_dict(private=True) for key in members]}
        _write(place / f"{name}.json", json.dumps(document, indent=1).encode(), 0o600)


def load(folder: Path, actor: str) -> KeySet:
    """Private key sets of one actor.

    Raises:
        ProblemsError: If a file is missing or holds no key.
    """
    found: dict[str, tuple[OKPKey, ...]] = {}
    for name in ("signing", "encryption"):
        path = folder / actor / f"{name}.json"
        try:
            found[name] = tuple(OKPKey.import_key(entry) for entry in json.loads(path.read_bytes())["keys"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            problem = Problem(what=f"no usable keys ({error})", where=str(path), remedy="make them with 'heila keys'")
            raise ProblemsError(f"keys of {actor}", [problem]) from error
    return KeySet(actor=actor, signing=found["signing"], encryption=found["encryption"])


def load_trust(folder: Path) -> Trust:
    """Public keys of all actors of a laboratory.

    Raises:
        ProblemsError: If the file is missing or broken.
    """
    path = folder / "trust.json"
    try:
        return Trust.from_json(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = Problem(what=f"no usable trust list ({error})", where=str(path), remedy="copy it from the laboratory")
        raise ProblemsError("trust list", [problem]) from error


def rotate(folder: Path, actor: str) -> KeySet:
    """Put new keys in front of an actor's old ones and publish them in ``trust.json`` (both replaced atomically)."""
    fresh = load(folder, actor).rotated()
    actors = sorted(path.parent.name for path in folder.glob("*/signing.json"))
    for name, members in (("signing", fresh.signing), ("encryption", fresh.encryption)):
        document = {"keys": [key.as_dict(private=True) for key in members]}
        _swap(folder / actor / f"{name}.json", json.dumps(document, indent=1).encode(), 0o600)
    trust = Trust.of([load(folder, name) for name in actors])
    _swap(folder / "trust.json", json.dumps(trust.as_json(), indent=1, sort_keys=True).encode(), 0o644)
    return fresh


def renew(folder: Path, actor: str, *, days: int = 365, hosts: Sequence[str] = ("localhost",)) -> None:
    """Issue a new TLS certificate with a new key to an actor; the old one stays valid until it ends.

    Raises:
        ProblemsError: If the folder holds no CA key, as one that was exported to another laboratory.
    """
    try:
        key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    except (OSError, ValueError) as error:
        problem = Problem(what=f"no usable CA ({error})", where=str(folder / "ca.key"),
                          remedy="renew where the laboratory's CA is kept, then export again")  # fmt: skip
        raise ProblemsError("certificate", [problem]) from error
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    load(folder, actor)
    pem, private = _Authority(key, certificate).issue(actor, days, hosts)
    _swap(folder / actor / "tls.key", private, 0o600)
    _swap(folder / actor / "tls.pem", pem, 0o644)


def export(folder: Path, actor: str, out: Path) -> None:
    """Write what one actor needs in another laboratory: its own keys, the CA certificate, the public keys of all.

    Raises:
        ProblemsError: If the actor has no keys here or ``out`` is not empty.
    """
    load(folder, actor)
    if out.exists() and any(out.iterdir()):
        problem = Problem(what="folder is not empty, keys are never overwritten", where=str(out), remedy="name another")
        raise ProblemsError(f"export of {actor}", [problem])
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    (out / actor).mkdir(mode=0o700)
    for name, mode in (("ca.pem", 0o644), ("trust.json", 0o644)):
        _write(out / name, (folder / name).read_bytes(), mode)
    for name in ("signing.json", "encryption.json", "tls.key", "tls.pem"):
        mode = 0o644 if name == "tls.pem" else 0o600
        _write(out / actor / name, (folder / actor / name).read_bytes(), mode)


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """An actor of a key folder.

    Attributes:
        actor: Its name.
        kids: Identities of its signing keys, newest first.
        expires: End of its certificate.
    """

    actor: str
    kids: tuple[str, ...]
    expires: datetime


def holders(folder: Path) -> list[Holder]:
    """Actors whose private keys a folder holds.

    Raises:
        ProblemsError: If it holds none.
    """
    found = []
    for path in sorted(folder.glob("*/signing.json")):
        keys = load(folder, path.parent.name)
        certificate = x509.load_pem_x509_certificate((path.parent / "tls.pem").read_bytes())
        kids = tuple(key.kid or "" for key in keys.signing)
        found.append(Holder(actor=keys.actor, kids=kids, expires=certificate.not_valid_after_utc))
    if not found:
        problem = Problem(what="holds no keys", where=str(folder), remedy="make them with 'heila keys make'")
        raise ProblemsError(f"keys in {folder}", [problem])
    return found


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        problem = Problem(what="exists and is not overwritten", where=str(path), remedy="rotate, or move it away")
        raise ProblemsError("keys", [problem]) from error
    with os.fdopen(handle, "wb") as file:
        file.write(content)


def _swap(path: Path, content: bytes, mode: int) -> None:
    beside = path.with_suffix(".new")
    beside.unlink(missing_ok=True)
    _write(beside, content, mode)
    beside.replace(path)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


@dataclass(frozen=True, slots=True)
class _Authority:
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def make(cls, days: int) -> _Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "HEILA laboratory CA")])
        usage = x509.KeyUsage(digital_signature=True, content_commitment=False, key_encipherment=False,
                              data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
                              encipher_only=False, decipher_only=False)  # fmt: skip
        builder = _builder(name, name, key.public_key(), days)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        builder = builder.add_extension(usage, critical=True)
        subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return cls(key, builder.add_extension(subject_key, critical=False).sign(key, hashes.SHA256()))

    def issue(self, actor: str, days: int, hosts: Sequence[str]) -> tuple[bytes, bytes]:
        """Certificate (its common name is the actor's name, which the broker's ACL uses) and key, both PEM."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, actor)])
        builder = _builder(name, self.certificate.subject, key.public_key(), days)
        alternatives = [_general(host) for host in dict.fromkeys((*hosts, "127.0.0.1"))]
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(issuer, critical=False).add_extension(usage, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM), _private_pem(key)


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=days))
    )
