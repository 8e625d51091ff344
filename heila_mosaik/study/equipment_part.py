"""Schema of the equipment behind a live actor."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from heila_mosaik.study.schema import Part, Positive


class TlsPart(Part):
    """Certificates of a link, PEM files; relative to the site file."""

    ca: str = Field(description="Certificate of the authority.")
    certificate: str = Field(description="Own certificate.")
    key: str = Field(description="Own private key.")


class EquipmentPart(Part):
    """Equipment behind IEC 60870-5-104 that an actor measures and moves."""

    points: str = Field(description="Point list, CSV or YAML; relative to the site file.")
    host: str = Field(default="127.0.0.1", min_length=1, description="Address of the gateway.")
    port: int = Field(default=2404, ge=1, le=65535, description="TCP port of the gateway.")
    backend: Literal["hat", "c104"] = Field(default="hat", description="Implementation of IEC 60870-5-104.")
    tls: TlsPart | None = Field(default=None, description="Certificates; absent: a plain connection.")
    connect_s: Positive = Field(default=20.0, description="Longest wait for the equipment before the start. [s]")
    every_s: Positive = Field(default=60.0, description="Longest time between two measurements. [s]")
    silence_s: Positive = Field(
        default=3.0, le=3600.0, description="Silence of the actor after which armed points fall back. [s]"
    )
