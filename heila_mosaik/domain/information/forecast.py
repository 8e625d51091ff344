"""Forecasts: flexibility of a microgrid or resource, weather, prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from heila_mosaik.domain.information.base import InformationObject, PQProfile, Series, require_lengths
from heila_mosaik.domain.quantities import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexibilityForecast(InformationObject):
    """*Flexibility* of table 2: PQ profile of a microgrid or resource with limits for adjustments.

    Attributes:
        subject: Microgrid or resource.
        issued_at: When the forecast was made.
        product: Product it is meant for.
        profile: Powers with limits.
        energy_up_mwh: Energy by which consumption can be lowered in all over the horizon (>= 0). [MWh]
        energy_down_mwh: Energy by which consumption can be raised in all over the horizon (>= 0). [MWh]
        price_up_eur_per_mwh: Price asked for lowering consumption, when the MGMS prices. [EUR/MWh] (n,) or empty
        price_down_eur_per_mwh: Price asked for raising consumption, when the MGMS prices. [EUR/MWh] (n,) or empty
    """

    subject: str
    issued_at: datetime
    product: Product
    profile: PQProfile
    energy_up_mwh: float
    energy_down_mwh: float
    price_up_eur_per_mwh: Series = ()
    price_down_eur_per_mwh: Series = ()

    def __post_init__(self) -> None:
        InformationObject.__post_init__(self)
        for name in ("price_up_eur_per_mwh", "price_down_eur_per_mwh"):
            if getattr(self, name):
                require_lengths("FlexibilityForecast", **{"profile": self.profile.p_mw, name: getattr(self, name)})


@dataclass(frozen=True, slots=True, kw_only=True)
class WeatherForecast(InformationObject):
    """Weather expected at the study's place.

    Attributes:
        issued_at: When the forecast was made.
        start: Start of the first interval.
        step_s: Length of an interval. [s]
        temperature_c: Air temperature. [°C] (n,)
        irradiance_w_per_m2: Global horizontal irradiance. [W/m²] (n,)
        wind_m_per_s: Wind speed. [m/s] (n,)
    """

    issued_at: datetime
    start: datetime
    step_s: int
    temperature_c: Series
    irradiance_w_per_m2: Series
    wind_m_per_s: Series

    def __post_init__(self) -> None:
        InformationObject.__post_init__(self)
        require_lengths(
            "WeatherForecast", temperature_c=self.temperature_c, irradiance_w_per_m2=self.irradiance_w_per_m2,
            wind_m_per_s=self.wind_m_per_s,
        )  # fmt: skip
        if self.step_s < 1:
            raise ValueError(f"WeatherForecast: step of {self.step_s} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceForecast(InformationObject):
    """*Flexibility Market Price Forecast* of table 2, with the spot price beside it.

    Attributes:
        issued_at: When the forecast was made.
        start: Start of the first interval.
        step_s: Length of an interval. [s]
        spot_eur_per_mwh: Day-ahead energy price. [EUR/MWh] (n,)
        flexibility_up_eur_per_mwh: Expected price for lowering consumption. [EUR/MWh] (n,)
        flexibility_down_eur_per_mwh: Expected price for raising consumption. [EUR/MWh] (n,)
    """

    issued_at: datetime
    start: datetime
    step_s: int
    spot_eur_per_mwh: Series
    flexibility_up_eur_per_mwh: Series
    flexibility_down_eur_per_mwh: Series

    def __post_init__(self) -> None:
        InformationObject.__post_init__(self)
        require_lengths(
            "PriceForecast", spot_eur_per_mwh=self.spot_eur_per_mwh,
            flexibility_up_eur_per_mwh=self.flexibility_up_eur_per_mwh,
            flexibility_down_eur_per_mwh=self.flexibility_down_eur_per_mwh,
        )  # fmt: skip
        if self.step_s < 1:
            raise ValueError(f"PriceForecast: step of {self.step_s} s")
