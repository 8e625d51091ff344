"""Nothing but the CA's certificate is known beforehand, and it is enough."""

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.registration import SIZE_MAX, VALID_S, Directory, make_registration, read_registration
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError


@pytest.fixture(scope="module")
def labs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labs")
    for name in ("ours", "theirs"):
        k.write_lab(folder / name, ["ams", "mgms"])
    return folder / "ours", folder / "theirs"


def authority(folder):
    return x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())


def refused(document, folder, reason, **more):
    with pytest.raises(RefusedError) as caught:
        read_registration(document, authority(folder), **more)
    assert caught.value.reason is reason


def test_keys_are_delivered(labs):
    ours, _ = labs
    own = k.load(ours, "ams").rotated()
    told = read_registration(make_registration(ours, own, {"role": "AMS"}), authority(ours))
    assert [key.kid for key in told.signing] == [key.kid for key in own.signing]
    assert told.about["role"] == "AMS"
    assert not any(key.is_private for key in (*told.signing, *told.encryption))


def test_what_does_not_hold(labs):
    ours, theirs = labs
    own = k.load(ours, "ams")
    good = make_registration(ours, own, {})
    refused(make_registration(theirs, k.load(theirs, "ams"), {}), ours, Refusal.UNKNOWN_KEY)
    refused(make_registration(ours, own, {}, now=1_000_000_000.0), ours, Refusal.EXPIRED)
    refused(make_registration(ours, own, {}, now=4_000_000_000.0), ours, Refusal.NOT_YET_VALID)
    refused(good, ours, Refusal.UNKNOWN_KEY, now=4_000_000_000.0)  # the certificate has ended
    refused(good[:-6] + b"AAAAAA", ours, Refusal.BAD_SIGNATURE)
    head, body, tail = good.split(b".")
    claims = json.loads(urlsafe_b64decode(body + b"==="))
    forged = urlsafe_b64encode(json.dumps({**claims, "expires_at": 1e12}).encode()).rstrip(b"=")
    refused(b".".join((head, forged, tail)), ours, Refusal.BAD_SIGNATURE)
    for junk in (b"", b".", b"a.b.c", b"e30.e30.e30", b"\xff" * 50, b'"' * 100):
        refused(junk, ours, Refusal.BAD_SIGNATURE)
    refused(b"x" * (SIZE_MAX + 1), ours, Refusal.OVERSIZE)


def test_nobody_registers_for_another(labs):
    ours, _ = labs
    # mgms signs, with its own certificate, keys it says are of ams
    foreign = replace(k.load(ours, "mgms"), signing=k.load(ours, "ams").signing)
    refused(make_registration(ours, foreign, {}), ours, Refusal.BAD_SIGNATURE)  # a kid begins with its owner's name
    with pytest.raises(RefusedError) as caught:
        Directory(authority=authority(ours)).take(make_registration(ours, k.load(ours, "mgms"), {}), "ams")
    assert caught.value.reason is Refusal.WRONG_ISSUER
    # the header shows the certificate of ams, the signature is of mgms
    head, body, tail = make_registration(ours, k.load(ours, "mgms"), {}).split(b".")
    header = json.loads(urlsafe_b64decode(head + b"==="))
    certificate = x509.load_pem_x509_certificate((ours / "ams/tls.pem").read_bytes())
    header["x5c"] = [b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()]
    shown = urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=")
    refused(b".".join((shown, body, tail)), ours, Refusal.BAD_SIGNATURE)


def test_the_latest_counts_and_an_older_one_changes_nothing(labs):
    import time

    ours, _ = labs
    now, seen = time.time(), []
    directory = Directory(authority=authority(ours), changed=lambda trust, who: seen.append((trust, who)))
    first = k.load(ours, "ams")
    second = first.rotated(keep=1)
    directory.take(make_registration(ours, second, {}, now=now), "ams")
    old = directory.take(make_registration(ours, first, {}, now=now - 60), "ams")
    assert [key.kid for key in old.signing] == [key.kid for key in second.signing]
    assert list(directory.trust().signing) == [second.signing[0].kid]
    assert len(seen) == 1
    assert directory.missing(("ams", "mgms")) == ("mgms",)
    assert directory.wait(("ams",), 0.0) == ()
    assert directory.known["ams"].expires_at == pytest.approx(now + VALID_S)
