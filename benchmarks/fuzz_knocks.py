"""What knocks at the door in ``message_fuzz``: sound, altered, forged, poisonous and wrongly made messages."""

from __future__ import annotations

import json
import random
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jws
from joserfc.jwk import OctKey

from heila_mosaik.bridges.envelope import Envelope, ReplayStore, Sealed
from heila_mosaik.bridges.keys import KeySet, OKPKey, Trust
from heila_mosaik.bridges.smartapi import write_message
from heila_mosaik.bridges.smartapi.forms import to_json_ld, to_rdf_xml
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.domain import information as info
from heila_mosaik.domain.quantities import Product, Quality, Quantity

T = datetime(2026, 1, 15, tzinfo=UTC)
WALL = 1_800_000_000.0
TURTLE, JSON_LD, RDF_XML = "text/turtle", "application/ld+json", "application/rdf+xml"
_PX = "@prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> . "


def bodies() -> list[info.InformationObject]:
    """What an MGMS may hear from its aggregator and an aggregator from its MGMS."""
    profile = info.PQProfile(
        start=T, step_s=900, p_mw=(0.5, -0.25), q_mvar=(0.1, 0.0), p_min_mw=(-1.0, -1.0), p_max_mw=(2.0, 2.0),
        q_min_mvar=(-0.5, -0.5), q_max_mvar=(0.5, 0.5),
    )  # fmt: skip
    stop = T + timedelta(hours=1)
    return [
        info.Measurements(
            id="m", source="ied", at=T, elements=("battery", "cb"), quantities=(Quantity.ACTIVE_POWER,
            Quantity.BREAKER),
            values=(0.1, 1.0), sigmas=(0.01, 0.0), qualities=(Quality.GOOD, Quality.GOOD), ages_s=(0.0, 1.0)),
        info.OperationPlan(id="p", subject="a", issued_at=T, profile=profile),
        info.FlexibilityForecast(id="f", subject="a", issued_at=T, product=Product.CRP, profile=profile,
                                 energy_up_mwh=1.0, energy_down_mwh=0.5),
        info.ReserveNotification(id="n", offer="o", buyer="dms", seller="ams", location="a", product=Product.CRP,
                                 start=T, stop=stop, p_min_mw=-0.5, p_max_mw=0.0, price_eur_per_mwh=55.0),
        info.ActivationNotification(id="x", reserve="n", location="a", start=T, stop=stop, p_mw=-0.3, q_mvar=0.1),
        info.VerificationNotification(
            id="v", reserve="n", location="a", start=T, stop=stop, step_s=1800, baseline_method="operation_plan",
            baseline_p_mw=(1.0, 1.0), measured_p_mw=(0.7, 0.71), requested_p_mw=(-0.3, -0.3),
            baseline_q_mvar=(0.0, 0.0), measured_q_mvar=(0.1, 0.1), requested_q_mvar=(0.1, 0.1)),
        info.WeatherForecast(id="w", issued_at=T, start=T, step_s=3600, temperature_c=(-12.5, -13.0),
                             irradiance_w_per_m2=(0.0, 20.0), wind_m_per_s=(3.0, 4.0)),
        info.PriceForecast(id="q", issued_at=T, start=T, step_s=3600, spot_eur_per_mwh=(40.0, 50.0),
                           flexibility_up_eur_per_mwh=(60.0, 60.0), flexibility_down_eur_per_mwh=(20.0, 20.0)),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    """One try at the door.

    Attributes:
        kind: Kind of trouble.
        payload: Bytes.
        signature: Detached JWS.
        content_type: Media type it claims.
        encrypted: Whether it claims to be encrypted.
        genuine: Whether it is what its signer sent, unchanged and for the first time.
    """

    kind: str
    payload: bytes
    signature: str
    content_type: str = TURTLE
    encrypted: bool = False
    genuine: bool = False


class Lab:
    """Keys and doors: the receiver ``mgms_a``, the trusted ``ams``, and ``mallory`` whom nobody trusts."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = WALL
        self.mgms, self.ams, self.other, self.mallory = (
            KeySet.generate(name) for name in ("mgms_a", "ams", "dms", "mallory")
        )
        self.trust = Trust.of([self.mgms, self.ams, self.other])
        self.door = Wire(Envelope(self.mgms, self.trust, replay=ReplayStore(10_000, 9_000), clock=lambda: self.now))
        self.speaker = Wire(Envelope(self.ams, self.trust, clock=lambda: self.now))
        self.count = 0
        self.said: list[Sealed] = []
        self.messages = [
            info.Message(id="ams-0", sender="ams", receiver="mgms_a", sent_at=T, body=body) for body in bodies()
        ]
        self.texts = [
            (form, write(message))
            for message in self.messages
            for form, write in ((TURTLE, write_message), (JSON_LD, to_json_ld), (RDF_XML, to_rdf_xml))
        ]

    def message(self) -> info.Message:
        """The next good message of the aggregator."""
        self.count += 1
        chosen = self.random.choice(self.messages)
        moment = T + timedelta(milliseconds=self.count)
        return replace(chosen, id=f"ams-{self.count}", sent_at=moment)

    def sealed(self, **options: Any) -> Sealed:
        """A good message, signed."""
        return Wire(self.speaker.envelope, **options).seal(self.message())

    def signed(self, payload: bytes, keys: KeySet | None = None, **claims: Any) -> Sealed:
        """Any bytes, signed by the aggregator or another, with any claims."""
        self.count += 1
        own = keys or self.ams
        issued = int(claims.get("at", self.now))
        header = {
            "alg": "Ed25519", "b64": False, "crit": ["b64"], "kid": own.signing[0].kid, "iss": own.actor,
            "aud": claims.get("audience", "mgms_a"), "iat": issued, "exp": issued + 300, "jti": f"fuzz-{self.count}",
        }  # fmt: skip
        # Signed by hand: the library that the envelope uses signs no bytes that are not UTF-8, another peer may.
        head = _encoded(header)
        tail = own.signing[0].private_key.sign(f"{head}.".encode() + payload)
        signature = f"{head}..{urlsafe_b64encode(tail).rstrip(b'=').decode()}"
        return Sealed(payload=payload, signature=signature, jti=str(header["jti"]), encrypted=False)

    def reworded(self, payload: bytes) -> bytes:
        """Bytes with one to three words of the language put in the place of others, so that most stay readable."""
        for _ in range(self.random.randint(1, 3)):
            words = list(_TOKEN.finditer(payload))
            word = self.random.choice(words)
            new = self.random.choice((self.random.choice(_WORDS), self.random.choice(words).group()))
            payload = payload[: word.start()] + new + payload[word.end() :]
        return payload

    def mutated(self, payload: bytes) -> bytes:
        """Bytes with one to four places changed."""
        draw, changed = self.random, bytearray(payload)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(len(changed) + 1)
            length = draw.randint(0, 12)
            piece = draw.choice(
                (
                    draw.choice(_PIECES),
                    bytes(changed[place : place + length]) * 2,
                    bytes([draw.randrange(256)]),
                    draw.choice(self.texts)[1][place : place + draw.randint(0, 60)],
                )
            )
            changed[place : place + length] = piece
        return bytes(changed)


_TOKEN = re.compile(
    rb"-?[0-9]+\.[0-9]+(?:e-?[0-9]+)?|[0-9]{4}-[0-9T:.+-]{15,30}|PT[0-9]+S|\"[^\"\n]{0,40}\""
    rb"|[a-z]+:[A-Za-z_]+|\b[0-9]+\b"
)
_WORDS = (
    b"1e308", b"-1e308", b"1e309", b"0.0e0", b"-0.0e0", b"1e-320", b"5", b"-1", b"99999999999999999999",
    b"true", b"NaN",
    b"2026-01-15T00:00:00", b"0001-01-01T00:00:00+14:00", b"9999-12-31T23:59:59-14:00", b"2026-02-30T00:00:00+00:00",
    b"1900-01-01T00:00:00+00:00", b"PT0S", b"PT1S", b"PT999999999S", b"P1M", b"-PT900S", b'""', b'"CRP"', b'"NaN"',
    b'"missing"', b'"ams"', b'"mgms_a"', b'"p_mw"', b"unit:Kilowatt", b"unit:Percent", b"smartapi:Megawatt",
    b"smartapi:ReactivePower", b"heila:p_min_mw", b"heila:Offer", b"heila:OfferList", b"rdf:value",
    b"rdf:type", b"xsd:string",
    b"xsd:decimal", b"smartapi:list", b"smartapi:Notification", b"smartapi:Write", b"smartapi:minimum", b"900",
    b"0", b"-7",
)  # fmt: skip
_PIECES = (
    b"[", b"]", b"(", b")", b'"', b"'", b"^^", b"@", b"1e9999", b"-", b"NaN", b"INF", b"\xff", b"\xc3", b"\\",
    b"\\u0000",
    b"<", b">", b" . ", b" ; ", b" , ", b"{", b"}", b"^^xsd:decimal", b"^^xsd:double", b"_:x", b"a", b"true",
    b"null", b"",
    b"0.0e0", b"-1e308", b"1e308", b"9" * 30, b"00:00:00", b"+00:00", b"Z", b"unit:Horsepower", b"smartapi:Megawatt",
    b"heila:p_mw", b"heila:index 7", b"rdf:nil", b"rdf:rest", b"<!ENTITY", b"&amp;", b"]]>", b'"@id"', b'"@value"',
)  # fmt: skip


def sound(lab: Lab) -> Knock:
    """A good message, at times encrypted."""
    sealed = lab.sealed(encrypt=lab.random.random() < 0.1)
    lab.said = [*lab.said[-50:], sealed]
    return Knock(
        kind="sound", payload=sealed.payload, signature=sealed.signature, encrypted=sealed.encrypted, genuine=True
    )


def altered(lab: Lab) -> Knock:
    """A good message, changed on its way."""
    sealed = lab.sealed(encrypt=lab.random.random() < 0.1)
    payload, signature = sealed.payload, sealed.signature
    if lab.random.random() < 0.6:
        payload = lab.mutated(payload)
    else:
        place = lab.random.randrange(len(signature))
        signature = signature[:place] + lab.random.choice("Aa_-.0é \n") + signature[place + lab.random.randint(0, 2) :]
    same = (payload, _meaning(signature)) == (sealed.payload, _meaning(sealed.signature))
    return Knock(kind="altered", payload=payload, signature=signature, encrypted=sealed.encrypted, genuine=same)


def _meaning(signature: str) -> tuple[bytes, ...]:
    """Bytes that a compact JWS stands for: the last character of base64url may say the same in several ways."""
    try:
        return tuple(urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in signature.split("."))
    except ValueError:
        return (signature.encode(),)


def _header(signature: str) -> dict[str, Any]:
    head = signature.partition(".")[0]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    return found


def _encoded(header: dict[str, Any]) -> str:
    return urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def forged(lab: Lab) -> Knock:
    """A message that is not what it says: one of the ways to cheat with keys, claims and algorithms."""
    sealed = lab.random.choice(_FORGERS)(lab)
    return Knock(kind="forged", payload=sealed.payload, signature=sealed.signature)


def _unknown_key(lab: Lab) -> Sealed:
    return lab.signed(write_message(lab.message()), lab.mallory)


def _stolen_kid(lab: Lab) -> Sealed:
    key = OKPKey.import_key({**lab.mallory.signing[0].as_dict(private=True), "kid": lab.ams.signing[0].kid})
    return lab.signed(write_message(lab.message()), KeySet(actor="ams", signing=(key,)))


def _for_another(lab: Lab) -> Sealed:
    return lab.signed(write_message(lab.message()), audience="dms")


def _in_the_name_of_another(lab: Lab) -> Sealed:
    if lab.random.random() < 0.5:
        return lab.signed(write_message(lab.message()), lab.other)
    return lab.signed(write_message(lab.message()), KeySet(actor="ams", signing=lab.other.signing))


def _out_of_time(lab: Lab) -> Sealed:
    return lab.signed(write_message(lab.message()), at=lab.now + lab.random.choice((-1e6, -400, 100, 1e6)))


def _other_algorithm(lab: Lab) -> Sealed:
    sealed = lab.sealed()
    header = {**_header(sealed.signature), "alg": lab.random.choice(("none", "HS256", "EdDSA", "None", "RS256", None))}
    tail = lab.random.choice(("", "AA", sealed.signature.rpartition(".")[2]))
    if header["alg"] == "HS256":
        public = OctKey.import_key(json.dumps(lab.ams.signing[0].as_dict(private=False)))
        tail = jws.serialize_compact({"alg": "HS256"}, sealed.payload, public).rpartition(".")[2]
    return replace(sealed, signature=f"{_encoded(header)}..{tail}")


def _other_claims(lab: Lab) -> Sealed:
    sealed = lab.sealed()
    name = lab.random.choice(("iss", "aud", "iat", "exp", "jti", "kid", "crit", "b64"))
    value = lab.random.choice(("mgms_a", "dms", "", None, -1, 10**12, 1.5, True, [], {}, "x" * 300))
    header = {**_header(sealed.signature), name: value}
    if lab.random.random() < 0.3:
        header.pop(name)
    return replace(sealed, signature=f"{_encoded(header)}..{sealed.signature.rpartition('.')[2]}")


def _said_again(lab: Lab) -> Sealed:
    return lab.random.choice(lab.said) if lab.said else _unknown_key(lab)


def _no_signature(lab: Lab) -> Sealed:
    return replace(
        lab.sealed(), signature=lab.random.choice(("", ".", "..", "a..b", "x" * 5000, "e30..AA", "bnVsbA..AA"))
    )


_FORGERS: tuple[Callable[[Lab], Sealed], ...] = (
    _unknown_key, _stolen_kid, _for_another, _in_the_name_of_another, _out_of_time, _other_algorithm, _other_claims,
    _said_again, _no_signature,
)  # fmt: skip


def bomb(lab: Lab) -> Knock:
    """Something that costs more than it says, signed by a trusted peer."""
    form, payload = lab.random.choice(_BOMBS)(lab.random)
    sealed = lab.signed(payload)
    return Knock(kind="bomb", payload=sealed.payload, signature=sealed.signature, content_type=form)


def _deep(draw: random.Random) -> tuple[str, bytes]:
    depth = draw.choice((33, 150, 5000, 60_000))
    opened, closed = draw.choice((("( ", ") "), ("[ <a:b> ", " ] ")))
    if draw.random() < 0.5:
        return TURTLE, f"<a:a> <a:b> {opened * depth}1 {closed * depth} .".encode()[: 250 * 1024]
    return draw.choice(((JSON_LD, b"[" * depth + b"]" * depth), (RDF_XML, b"<a>" * depth + b"</a>" * depth)))


def _number(draw: random.Random) -> tuple[str, bytes]:
    number = draw.choice(
        ("1E+999999999", "1e-999999999", "9" * 5000, "0." + "0" * 5000 + "1", "1e999999", "-1E99999999")
    )
    kind = draw.choice(("decimal", "integer", "double", "float", "duration", "dateTime"))
    if draw.random() < 0.5:
        return TURTLE, f'{_PX}<a:a> <a:b> "{number}"^^xsd:{kind} .'.encode()
    typed = f'{{"a:b": {{"@value": "{number}", "@type": "http://www.w3.org/2001/XMLSchema#{kind}"}}}}'
    return JSON_LD, (typed if draw.random() < 0.5 else f'{{"a:b": {number}}}').encode()


def _context(draw: random.Random) -> tuple[str, bytes]:
    target = draw.choice(
        ("http://127.0.0.1:9/c", "file:///etc/passwd", "/etc/passwd", "https://example.com/x", "c.jsonld")
    )
    inner = draw.choice(
        (f'"{target}"', f'["{target}"]', f'{{"@import": "{target}"}}', f'{{"x": {{"@context": "{target}"}}}}')
    )
    return JSON_LD, f'{{"@context": {inner}, "@id": "a:a", "a:b": 1}}'.encode()


def _entities(draw: random.Random) -> tuple[str, bytes]:
    lines = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "x" * 100}">' for n in range(draw.randint(1, 9)))
    inner = draw.choice(
        (lines, '<!ENTITY x SYSTEM "file:///etc/passwd">', '<!ENTITY % p SYSTEM "http://127.0.0.1:9/d">')
    )
    return (
        RDF_XML,
        f'<!DOCTYPE r [{inner}]><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">&a0;</rdf:RDF>'.encode(),
    )


def _prefixes(draw: random.Random) -> tuple[str, bytes]:
    count = draw.choice((65, 500, 5000))
    if draw.random() < 0.5:
        return TURTLE, "".join(f"@prefix a{n}: <a:{n}> .\n" for n in range(count)).encode()
    return JSON_LD, json.dumps({"@context": {f"a{n}": f"a:{n}" for n in range(count)}, "@id": "a:a"}).encode()


def _bytes(draw: random.Random) -> tuple[str, bytes]:
    form = draw.choice((TURTLE, JSON_LD, RDF_XML, "text/html", "", "multipart/related"))
    size = draw.choice((0, 1, 100, 5000, 256 * 1024 + 1))
    return form, draw.choice(
        (draw.randbytes(size), b" " * size, b"\xff" * size, b"\x00" * size, b"{" * size, b"<" * size)
    )


_BOMBS: tuple[Callable[[random.Random], tuple[str, bytes]], ...] = (
    _deep, _number, _context, _entities, _prefixes, _bytes,
)  # fmt: skip


def peer(lab: Lab) -> Knock:
    """A trusted peer whose software went wrong: a mutated message with a good signature."""
    form, text = lab.random.choice(lab.texts)
    change = lab.mutated if lab.random.random() < 0.4 else lab.reworded
    sealed = lab.signed(change(text))
    return Knock(kind="peer", payload=sealed.payload, signature=sealed.signature, content_type=form)


_SHARES = ((sound, 0.05), (altered, 0.25), (forged, 0.2), (bomb, 0.1), (peer, 0.4))


def knocks(lab: Lab, count: int) -> Iterator[Knock]:
    """Tries at the door, mixed."""
    makers, weights = zip(*_SHARES, strict=True)
    for maker in lab.random.choices(makers, weights, k=count):
        yield maker(lab)
