"""Switch positions a scenario starts from, where they differ from the frozen net."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, model_validator


class Topology(BaseModel):
    """Switches of the net (pandapower index) that the study opens or closes before it begins."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    close: tuple[NonNegativeInt, ...] = Field(default=(), description="Switches to close, for example ties of a ring.")
    open: tuple[NonNegativeInt, ...] = Field(default=(), description="Switches to open.")

    @model_validator(mode="after")
    def _apart(self) -> Self:
        both = sorted(set(self.close) & set(self.open))
        if both:
            raise ValueError(f"switch {', '.join(map(str, both))} stands under close and under open")
        return self
