"""The part of a scenario that names the user's own code: actors and a market rule."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue

_FORM = re.compile(r"^(?P<place>[^:]+):(?P<name>[A-Za-z_]\w*)$")


def _named(value: str) -> str:
    if _FORM.match(value) is None:
        raise ValueError(f"{value!r} is not of the form file.py:name or package.module:name")
    return value


PythonName = Annotated[str, AfterValidator(_named)]
ActorName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=60)]


class ExtensionPart(BaseModel):
    """One object of the user's own code."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    python: PythonName = Field(
        description="Where it is: file.py:name beside the scenario file, or package.module:name."
    )
    settings: dict[str, JsonValue] = Field(default_factory=dict, description="Handed to it as they are.")

    @property
    def place(self) -> str:
        """File or module."""
        return self.python.rpartition(":")[0]

    @property
    def name(self) -> str:
        """Name in the file or module."""
        return self.python.rpartition(":")[2]

    def file(self, folder: Path) -> Path | None:
        """Its file, relative paths starting from ``folder``; ``None`` for a module."""
        return folder / self.place if self.place.endswith(".py") else None


class OwnActorPart(ExtensionPart):
    """An own actor: the named function makes it."""

    in_baseline: bool = Field(default=True, description="Whether it takes part in the run without flexibility, too.")


class Extensions(BaseModel):
    """Own code in a study.  A scenario that names code runs it: know where it comes from."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    actors: dict[ActorName, OwnActorPart] = Field(
        default_factory=dict, description="By address; the address of a standard actor replaces it."
    )
    clearing: ExtensionPart | None = Field(default=None, description="Clearing of the flexibility market.")

    def parts(self) -> dict[str, ExtensionPart]:
        """Every extension by its dotted key."""
        parts: dict[str, ExtensionPart] = {f"extensions.actors.{name}": part for name, part in self.actors.items()}
        if self.clearing is not None:
            parts["extensions.clearing"] = self.clearing
        return parts
