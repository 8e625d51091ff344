"""TLS of IEC 60870-5-104 with certificates on both sides (IEC 62351-3: mutual authentication, TLS 1.2 at least)."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heila_mosaik.errors import Problem

PORT = 19998
"""TCP port registered for IEC 60870-5-104 over TLS."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Files of one side, all PEM.

    Attributes:
        ca: Certificate of the authority that signs both sides.
        certificate: Own certificate.
        key: Own private key, not encrypted.
        server_name: Name a client expects in the server's certificate, by default the host it connects to.
    """

    ca: Path
    certificate: Path
    key: Path
    server_name: str = ""


def tls_problems(tls: TlsSettings, where: str) -> Iterator[Problem]:
    """What is wrong with the files."""
    for name in ("ca", "certificate", "key"):
        path = getattr(tls, name)
        if not path.is_file():
            remedy = "give the path of a PEM file"
            yield Problem(what=f"there is no file {path}", where=f"{where}, tls {name}", remedy=remedy)
            return
    try:
        client_context(tls)
    except (OSError, ValueError) as error:
        what = f"certificate, key and authority cannot be used together: {error}"
        remedy = "the key must belong to the certificate and must not be encrypted; all files are PEM"
        yield Problem(what=what, where=f"{where}, tls", remedy=remedy)


def client_context(tls: TlsSettings) -> ssl.SSLContext:
    """Context that shows a certificate and demands one that names the server."""
    return _context(tls, ssl.PROTOCOL_TLS_CLIENT)


def server_context(tls: TlsSettings) -> ssl.SSLContext:
    """Context that demands a certificate of the client."""
    context = _context(tls, ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _context(tls: TlsSettings, protocol: ssl._SSLMethod) -> ssl.SSLContext:  # typeshed's only name
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=str(tls.ca))
    context.load_cert_chain(certfile=str(tls.certificate), keyfile=str(tls.key))
    return context
