import base64
import json
import ssl
import subprocess

import pytest
from joserfc import jws
from joserfc.jwk import OctKey

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.envelope import Envelope, ReplayStore
from heila_mosaik.bridges.smartapi import Refusal, RefusedError
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.errors import ProblemsError
from tests.bridges_smartapi.examples import EXAMPLES, offer

AMS, MGMS, MALLORY = (k.KeySet.generate(name) for name in ("AMS", "MGMS", "MALLORY"))
TRUST = k.Trust.of([AMS, MGMS])
NOW = 1_800_000_000.0


def pair(trust=TRUST, now=NOW, **more):
    return Envelope(AMS, trust, clock=lambda: now), Envelope(MGMS, trust, clock=lambda: now, **more)


def refused(receiver, payload, signature, reason, **more):
    with pytest.raises(RefusedError) as caught:
        receiver.open(payload, signature, **more)
    assert caught.value.reason is reason
    assert receiver.refused[reason] == 1


@pytest.mark.parametrize("encrypt", [False, True])
@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m.body).__name__)
def test_sealed_and_opened(message, encrypt):
    sender, receiver = pair()
    sealed = Wire(sender, encrypt=encrypt).seal(message)
    assert (b"smartapi" in sealed.payload) is not encrypt
    assert Wire(receiver).open(sealed.payload, sealed.signature, encrypted=encrypt) == message


def header_of(signature):
    head = signature.partition(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))


def encode(header):
    return base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()


def test_altered():
    sender, receiver = pair()
    sealed = sender.seal(b"p_mw 1", "MGMS")
    refused(receiver, b"p_mw 2", sealed.signature, Refusal.BAD_SIGNATURE)


@pytest.mark.parametrize("claim", [{"aud": "X"}, {"exp": 2_000_000_000}, {"iss": "MGMS"}, {"jti": "other"}])
def test_altered_claims(claim):
    sender, receiver = pair()
    sealed = sender.seal(b"x y", "MGMS")
    forged = encode({**header_of(sealed.signature), **claim}) + ".." + sealed.signature.rpartition(".")[2]
    refused(receiver, b"x y", forged, Refusal.BAD_SIGNATURE)


def test_unknown_key():
    refused(pair()[1], *sealed_by(MALLORY), Refusal.UNKNOWN_KEY)


def sealed_by(keyset):
    sealed = Envelope(keyset, TRUST, clock=lambda: NOW).seal(b"x y", "MGMS")
    return sealed.payload, sealed.signature


def test_wrong_key_under_a_known_kid():
    stolen = k.OKPKey.import_key({**MALLORY.signing[0].as_dict(private=True), "kid": AMS.signing[0].kid})
    fake = k.KeySet(actor="AMS", signing=(stolen,))
    refused(pair()[1], *sealed_by(fake), Refusal.BAD_SIGNATURE)


def test_speaking_for_another():
    fake = k.KeySet(actor="DMS", signing=AMS.signing)
    refused(pair()[1], *sealed_by(fake), Refusal.WRONG_ISSUER)
    trust = k.Trust.of([AMS, MGMS, MALLORY])
    sealed = Wire(Envelope(MALLORY, trust, clock=lambda: NOW)).seal(offer())
    with pytest.raises(RefusedError) as caught:
        Wire(pair(trust)[1]).open(sealed.payload, sealed.signature, encrypted=False)
    assert caught.value.reason is Refusal.WRONG_ISSUER


@pytest.mark.parametrize("algorithm", ["none", "HS256", "EdDSA"])
def test_other_algorithms(algorithm):
    sender, receiver = pair()
    header = {**header_of(sender.seal(b"x y", "MGMS").signature), "alg": algorithm}
    tail = "AA"
    if algorithm == "HS256":
        public = OctKey.import_key(json.dumps(AMS.signing[0].as_dict(private=False)))
        plain = {name: header[name] for name in ("alg", "kid")}
        tail = jws.serialize_compact(plain, b"x y", public).rpartition(".")[2]
    refused(receiver, b"x y", f"{encode(header)}..{tail}", Refusal.ALGORITHM)


@pytest.mark.parametrize(
    "signature", ["", "..", "a..b", "a.b.c", "e30..AA", "x" * 5000, "é..a", "bnVsbA..AA", "W10..AA"]
)
def test_garbage(signature):
    receiver = pair()[1]
    with pytest.raises(RefusedError):
        receiver.open(b"x y", signature)
    assert sum(receiver.refused.values()) == 1


def test_replayed():
    sender, receiver = pair()
    sealed = sender.seal(b"x y", "MGMS")
    receiver.open(sealed.payload, sealed.signature)
    refused(receiver, sealed.payload, sealed.signature, Refusal.REPLAYED)


@pytest.mark.parametrize(("later", "reason"), [(331, Refusal.EXPIRED), (-31, Refusal.NOT_YET_VALID)])
def test_time(later, reason):
    sealed = pair()[0].seal(b"x y", "MGMS")
    refused(pair(now=NOW + later)[1], sealed.payload, sealed.signature, reason)


def test_wrong_audience():
    sealed = pair()[0].seal(b"x y", "DMS")
    refused(pair()[1], sealed.payload, sealed.signature, Refusal.WRONG_AUDIENCE)


def test_replay_store_is_bounded_and_fails_closed():
    sender, receiver = pair(replay=ReplayStore(capacity=3))
    for _ in range(3):
        sealed = sender.seal(b"x y", "MGMS")
        receiver.open(sealed.payload, sealed.signature)
    sealed = sender.seal(b"x y", "MGMS")
    refused(receiver, sealed.payload, sealed.signature, Refusal.REPLAY_STORE_FULL)
    receiver.clock = lambda: NOW + 331
    late = Envelope(AMS, TRUST, clock=lambda: NOW + 331).seal(b"x y", "MGMS")
    assert receiver.open(late.payload, late.signature).issuer == "AMS"
    assert len(receiver.replay) == 1


def test_ciphertext_altered_or_for_another():
    sender, receiver = pair()
    other = k.Trust.of([AMS, k.KeySet(actor="MGMS", signing=MGMS.signing, encryption=MALLORY.encryption)])
    sealed = Envelope(AMS, other, clock=lambda: NOW).seal(b"x y", "MGMS", encrypt=True)
    refused(receiver, sealed.payload, sealed.signature, Refusal.DECRYPTION, encrypted=True)
    with pytest.raises(RefusedError):
        sender.seal(b"x", "NOBODY", encrypt=True)


def test_rotation(tmp_path):
    folder = tmp_path / "lab"
    k.write_lab(folder, ["AMS", "MGMS"])
    before = Envelope(k.load(folder, "AMS"), k.load_trust(folder))
    fresh = k.rotate(folder, "AMS")
    receiver = Envelope(k.load(folder, "MGMS"), k.load_trust(folder))
    for sender in (before, Envelope(fresh, receiver.trust)):
        sealed = sender.seal(b"x y", "MGMS", encrypt=True)
        assert receiver.open(sealed.payload, sealed.signature, encrypted=True).payload == b"x y"
    k.rotate(folder, "AMS")
    receiver.trust = k.load_trust(folder)
    sealed = before.seal(b"x y", "MGMS")
    refused(receiver, sealed.payload, sealed.signature, Refusal.UNKNOWN_KEY)


def test_lab_refuses_to_overwrite_and_hides_private_keys(tmp_path):
    folder = tmp_path / "lab"
    k.write_lab(folder, ["AMS", "MGMS"])
    before = (folder / "AMS/signing.json").read_bytes()
    with pytest.raises(ProblemsError, match="never overwritten"):
        k.write_lab(folder, ["AMS"])
    with pytest.raises(ProblemsError, match="not overwritten"):
        k.save(folder, AMS)
    with pytest.raises(ProblemsError, match="folder"):
        k.write_lab(tmp_path / "other", ["../x"])
    assert (folder / "AMS/signing.json").read_bytes() == before
    assert '"d"' not in (folder / "trust.json").read_text()
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*/*.key")} == {0o600}
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.load_cert_chain(folder / "AMS/tls.pem", folder / "AMS/tls.key")
    shown = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-CAfile", folder / "ca.pem", folder / "AMS/tls.pem"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert shown.returncode == 0, shown.stderr
    with pytest.raises(ProblemsError, match="no usable keys"):
        k.load(folder, "NOBODY")
