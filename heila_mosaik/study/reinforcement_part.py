"""Scenario part ``reinforcement``: cables and transformers beside the existing ones, and what they cost."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

_Count = Annotated[int, Field(ge=1, le=10)]
_NotNegative = Annotated[float, Field(ge=0.0)]


class Reinforcement(BaseModel):
    """Parallel cables and transformers of the same type as the existing one.

    The default costs are those of the dena-Verteilnetzstudie (Deutsche Energie-Agentur, 2012) for rural areas as
    used by the open grid planning tool eDisGo (``config_grid_expansion_default.cfg``): 80 000 EUR/km of
    medium-voltage cable with earthwork, 1 000 000 EUR for a 110/20 kV transformer of 40 MVA.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    plan: bool = Field(
        default=False,
        description="true: the run without trade is repeated, with one more system where it was overloaded, until "
        "every limit holds; what was built then stands in the resolved scenario.",
    )
    lines: dict[int, _Count] = Field(default_factory=dict, description="Cables added, by index in net.line.")
    trafos: dict[int, _Count] = Field(default_factory=dict, description="Transformers added, by index in net.trafo.")
    line_eur_per_km: _NotNegative = Field(default=80_000.0, description="Cable laid, with earthwork. [EUR/km]")
    trafo_eur: _NotNegative = Field(default=1_000_000.0, description="One transformer with its bay. [EUR]")
    lifetime_years: Annotated[float, Field(gt=0.0, le=100.0)] = Field(
        default=40.0, description="Period the cost is spread over. [years]"
    )
    interest_percent: Annotated[float, Field(ge=0.0, le=30.0)] = Field(
        default=4.0, description="Interest of the annuity. [%]"
    )
