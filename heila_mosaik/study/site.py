"""Schema of a site file: which actors of a scenario run as processes of their own, and how they reach each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, PrivateAttr, ValidationError, model_validator

from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.equipment_part import EquipmentPart
from heila_mosaik.study.fields import describe, keys_at
from heila_mosaik.study.schema import Part, Positive
from heila_mosaik.study.yamlfile import Document, parse_yaml

Port = Annotated[int, Field(ge=1, le=65535)]
COORDINATOR = "study"


class BrokerPart(Part):
    """The MQTT broker."""

    host: str = Field(default="127.0.0.1", description="Name or address.")
    port: Port = Field(default=8883, description="TCP port, TLS.")
    version: Literal[5, 3] = Field(default=5, description="MQTT 5, or 3 for the embedded broker (3.1.1).")
    keepalive_s: int = Field(default=10, ge=1, le=3600, description="A link silent for half as long again is lost. [s]")
    reconnect_max_s: int = Field(default=30, ge=1, le=3600, description="Longest pause before a new connection. [s]")


class HttpsPart(Part):
    """An actor's HTTPS server."""

    host: str = Field(default="127.0.0.1", description="Address it listens on.")
    port: Port = Field(description="TCP port, TLS.")
    reach: str = Field(default="", description="Name the others reach it by, if it is not host.")


class ActorPart(Part):
    """One actor that runs as a process of its own."""

    https: HttpsPart | None = Field(default=None, description="Its HTTPS server; without one it is reached by MQTT.")
    equipment: EquipmentPart | None = Field(
        default=None, description="Equipment behind IEC 60870-5-104; needs a clock of its own."
    )
    over_https: tuple[str, ...] = Field(default=(), description="Actors it sends to over HTTPS; all others over MQTT.")


class ClockPart(Part):
    """Time of the actors when no study sets it."""

    rate: Positive = Field(default=1.0, description="Simulated seconds in a second. [1]")
    simulated: AwareDatetime | None = Field(default=None, description="Simulated time at wall; absent: the wall clock.")
    wall: AwareDatetime | None = Field(default=None, description="Wall-clock time at which simulated was or will be.")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if (self.simulated is None) != (self.wall is None):
            raise ValueError("give both simulated and wall, or neither")
        if self.simulated is None and self.rate != 1.0:
            raise ValueError("a rate other than 1 needs simulated and wall")
        return self


class RegistrationPart(Part):
    """Registration and key delivery."""

    keys: Literal["registration", "trust_file"] = Field(
        default="registration", description="Partners' keys come with their registration, or from keys/trust.json."
    )
    limit_s: Positive = Field(default=1800.0, description="Longest wait for the partners. [s]")


class RetryPart(Part):
    """Repetition of messages without a receipt."""

    first_s: Positive = Field(default=5.0, description="Wait before the second try. [s]")
    longest_s: Positive = Field(default=60.0, description="Longest wait. [s]")


class Site(Part):
    """A site file."""

    scenario: str = Field(description="Scenario file whose actors run here; relative to this file.")
    settings: tuple[str, ...] = Field(default=(), description="Changed keys of the scenario, KEY=VALUE.")
    keys: str = Field(default="keys", description="Key folder, made by 'heila keys make'; relative to this file.")
    state: str = Field(default="state", description="Folder of the stores; relative to this file.")
    broker: BrokerPart | None = Field(default_factory=BrokerPart, description="MQTT broker; null: HTTPS only.")
    redis: str = Field(default="", description="Redis to mirror values to, redis://host:port/db; empty: none.")
    clock: ClockPart | Literal["study"] = Field(
        default_factory=ClockPart, description="Time; 'study': a mixed run sets it."
    )
    registration: RegistrationPart = Field(default_factory=RegistrationPart)
    retry: RetryPart = Field(default_factory=RetryPart)
    encrypt: bool = Field(default=False, description="Whether message bodies are encrypted for their receiver.")
    durable: bool = Field(default=True, description="Force every commit to the disk.")
    actors: dict[str, ActorPart] = Field(min_length=1, description="Actors that run as processes, by name.")

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        for name, part in self.actors.items():
            for other in part.over_https:
                if other not in self.actors or self.actors[other].https is None:
                    raise ValueError(f"actors.{name}.over_https: {other} has no https section in this file")
            if part.equipment is not None and self.clock == "study":
                raise ValueError(f"actors.{name}.equipment: with clock 'study' use heila hil run")
        if self.broker is None and self.clock == "study":
            raise ValueError("clock 'study' needs a broker: the study speaks MQTT")
        return self

    @property
    def folder(self) -> Path:
        """Folder that relative paths start from."""
        return self._folder

    def placed_in(self, folder: Path) -> Site:
        """The same site with relative paths starting from ``folder``."""
        moved = self.model_copy()
        moved._folder = folder  # noqa: SLF001 - our own copy
        return moved

    def path(self, written: str) -> Path:
        """Path of a file named in the site file."""
        return self._folder / written

    def address(self, actor: str) -> str:
        """Base address of an actor's HTTPS server."""
        part = self.actors[actor].https
        assert part is not None
        return f"https://{part.reach or part.host}:{part.port}"

    def find(self, wanted: str) -> str:
        """Name of an actor from its name or its role (``mgms``), if only one has it.

        Raises:
            ProblemsError: If none or several fit.
        """
        if wanted in self.actors:
            return wanted
        fitting = [name for name in self.actors if name.split("_")[0] == wanted]
        if len(fitting) == 1:
            return fitting[0]
        what = f"{len(fitting)} actors have the role {wanted!r}" if fitting else f"no actor is called {wanted!r}"
        problem = Problem(what=what, where="actors", remedy=f"name one of {', '.join(fitting or self.actors)}")
        raise ProblemsError("site", [problem])


def load_site(path: Path) -> Site:
    """Read a site file.

    Raises:
        ProblemsError: With everything that is wrong with it.
    """
    subject = f"site {path}"
    try:
        document = parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        problem = Problem(what=f"cannot be read ({error})", where=str(path), remedy="name an existing site file")
        raise ProblemsError(subject, [problem]) from error
    if document.problems:
        raise ProblemsError(subject, document.problems)
    try:
        return Site.model_validate(document.data or {}).placed_in(path.parent)
    except ValidationError as error:
        raise ProblemsError(subject, _problems(error, document, path)) from error


def _problems(error: ValidationError, document: Document, path: Path) -> list[Problem]:
    found = []
    for each in error.errors():
        keys = tuple(each["loc"])
        place = next(
            (document.places[keys[:n]] for n in range(len(keys), 0, -1) if keys[:n] in document.places), str(path)
        )
        name = ".".join(str(key) for key in keys)
        unknown = each["type"] == "extra_forbidden"
        what = "unknown key" if unknown else each["msg"].removeprefix("Value error, ")
        known = ", ".join(keys_at(Site, keys[:-1]))
        remedy = f"known keys here: {known}" if unknown else describe(Site, keys) or "see docs/live.md"
        found.append(Problem(what=f"{name}: {what}" if name else what, where=place, remedy=remedy))
    return found
