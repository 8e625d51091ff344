"""The part of a scenario that lets a transmission system operator buy frequency reserves."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Share = Annotated[float, Field(ge=0.0, le=1.0)]
NotNegative = Annotated[float, Field(ge=0.0)]


class Reserves(BaseModel):
    """Reserve market of the TSO: hourly products of the next day, price order, one marginal price an hour.

    Gates are those of ``market.day_ahead``: flexibility, offers, the TSO's request, bids, notification.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    enabled: bool = Field(default=False, description="Whether a TSO buys frequency reserves.")
    fcr_n_mw: NotNegative = Field(default=0.5, description="FCR-N wanted in every hour. [MW]")
    fcr_d_mw: NotNegative = Field(default=1.0, description="FCR-D upwards wanted in every hour. [MW]")
    limit_eur_per_mw_h: NotNegative = Field(default=100.0, description="Highest availability price. [EUR/(MW·h)]")
    offer_eur_per_mw_h: NotNegative = Field(default=15.0, description="Price the aggregator asks. [EUR/(MW·h)]")
    fcr_n_share: Share = Field(default=0.35, description="Share of the batteries offered as FCR-N. [1]")
    fcr_d_share: Share = Field(default=0.25, description="Share of the batteries offered as FCR-D. [1]")

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.fcr_n_share + self.fcr_d_share > 1.0:
            raise ValueError(
                f"fcr_n_share {self.fcr_n_share:g} and fcr_d_share {self.fcr_d_share:g} are more than the batteries; "
                "let them sum to 1 at most"
            )
        return self
