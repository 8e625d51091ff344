"""Part ``hil`` of a scenario: equipment in the loop, used by ``heila hil run`` and by nothing else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0.0)]


class Hil(BaseModel):
    """Equipment in the loop; the command line overrides each key."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    points: str | None = Field(default=None, description="Point list, CSV or YAML beside the scenario file.")
    host: str = Field(default="127.0.0.1", min_length=1, description="Address of the gateway.")
    port: int = Field(default=2404, ge=1, le=65535, description="TCP port of the gateway.")
    backend: Literal["hat", "c104"] = Field(default="hat", description="Implementation of IEC 60870-5-104.")
    speed: Positive = Field(default=1.0, le=100_000.0, description="Simulated time per wall-clock time. [1]")
    overrun: Literal["stop", "catch_up", "slip"] = Field(
        default="stop", description="What happens when the study is more than a step late; always counted."
    )
    connect_s: Positive = Field(default=20.0, description="Longest wait for the equipment before the start. [s]")
    study_timeout_s: Positive = Field(
        default=3.0, le=3600.0, description="Silence of the study after which armed points fall back. [s]"
    )
