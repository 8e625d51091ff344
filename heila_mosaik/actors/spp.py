"""Service provider for predictions: weather and price forecasts for everyone who subscribes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.domain.information import Measurements, Message, PriceForecast, Session, WeatherForecast
from heila_mosaik.domain.market import MarketCalendar, MarketEvent
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What will come true, on one time grid.

    Attributes:
        grid: Time grid.
        temperature_c: Air temperature. [°C] (n,)
        irradiance_w_per_m2: Global horizontal irradiance. [W/m²] (n,)
        wind_m_per_s: Wind speed. [m/s] (n,)
        spot_eur_per_mwh: Day-ahead price. [EUR/MWh] (n,)
        flexibility_up_eur_per_mwh: Price of lowering consumption. [EUR/MWh] (n,)
        flexibility_down_eur_per_mwh: Price of raising consumption. [EUR/MWh] (n,)

    Raises:
        ValueError: If a series has another length than the grid or holds NaN.
    """

    grid: TimeGrid
    temperature_c: FloatArray
    irradiance_w_per_m2: FloatArray
    wind_m_per_s: FloatArray
    spot_eur_per_mwh: FloatArray
    flexibility_up_eur_per_mwh: FloatArray
    flexibility_down_eur_per_mwh: FloatArray

    def __post_init__(self) -> None:
        for name in _SERIES:
            series: FloatArray = getattr(self, name)
            if series.shape != (self.grid.count,):
                raise ValueError(f"Truth.{name}: {series.shape} values for a grid of {self.grid.count} intervals")
            if not np.isfinite(series).all():
                raise ValueError(f"Truth.{name}: holds values that are not finite numbers")


_SERIES = (
    "temperature_c",
    "irradiance_w_per_m2",
    "wind_m_per_s",
    "spot_eur_per_mwh",
    "flexibility_up_eur_per_mwh",
    "flexibility_down_eur_per_mwh",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastError:
    """Declared forecast error: standard deviation reached 24 h ahead, growing with the square root of lead time.

    Errors of neighbouring intervals are correlated (first-order autoregression).  The published spot price of the
    running and, once auctioned, the next local day is known exactly.

    Attributes:
        temperature_c: [°C]
        irradiance_share: Relative to the true irradiance. [1]
        wind_m_per_s: [m/s]
        price_share: Relative to the true price. [1]
        correlation_h: Time after which correlation has fallen to 1/e. [h]
    """

    temperature_c: float = 1.5
    irradiance_share: float = 0.2
    wind_m_per_s: float = 1.0
    price_share: float = 0.15
    correlation_h: float = 4.0


class Spp:
    """Service provider for predictions.

    Args:
        name: Address.
        calendar: Market calendar; forecasts are issued at its forecast times.
        truth: Series that will come true.
        subscribers: Addresses that get the forecasts, in order.
        generator: Source of forecast errors, spawned for this actor's name.
        error: Declared forecast error.
        horizon_h: Length of a forecast. [h]
    """

    def __init__(
        self,
        name: str = "spp",
        *,
        calendar: MarketCalendar,
        truth: Truth,
        subscribers: Sequence[str],
        generator: np.random.Generator,
        error: ForecastError | None = None,
        horizon_h: int = 48,
    ) -> None:
        self.name = name
        self.calendar = calendar
        self.truth = truth
        self.subscribers = tuple(subscribers)
        self.error = error or ForecastError()
        self.horizon_h = horizon_h
        self._generator = generator
        self._out = Outbox(name)
        self._last: datetime | None = None

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None = None) -> Outcome:  # noqa: ARG002
        """Issue forecasts when due, and once at the very start so that nobody begins blind."""
        self._out.begin(now)
        if self._last is None or self.calendar.due(self._last, now, MarketEvent.FORECAST):
            self._issue(now)
        self._last = now
        return self._out.outcome(wake_at=self.calendar.next_event(now, MarketEvent.FORECAST))

    def _issue(self, now: datetime) -> None:
        grid = self.truth.grid
        first = max(0, grid.position(now))
        last = min(grid.count, first + round(self.horizon_h * 3600 / grid.step_s))
        if first >= last:
            self._out.record("forecast_withheld", "the series of truth ended; lengthen the profiles")
            return
        span, hours = slice(first, last), grid.hours * np.arange(last - first, dtype=np.float64)
        start, step_s = grid.at(first), grid.step_s
        e, truth = self.error, self.truth
        noise = self._noise(hours)
        irradiance = truth.irradiance_w_per_m2[span] * (1.0 + e.irradiance_share * noise[1])
        # The spot price is settled for as long as the auction has spoken.
        unknown = hours * 3600.0 >= (self._spot_known_until(now) - start).total_seconds()
        prices = 1.0 + e.price_share * noise[3:]
        weather = WeatherForecast(
            id=self._out.identity("weather"),
            issued_at=now,
            start=start,
            step_s=step_s,
            temperature_c=_series(truth.temperature_c[span] + e.temperature_c * noise[0]),
            irradiance_w_per_m2=_series(np.maximum(0.0, irradiance)),
            wind_m_per_s=_series(np.maximum(0.0, truth.wind_m_per_s[span] + e.wind_m_per_s * noise[2])),
        )
        price = PriceForecast(
            id=self._out.identity("price"),
            issued_at=now,
            start=start,
            step_s=step_s,
            spot_eur_per_mwh=_series(truth.spot_eur_per_mwh[span] * np.where(unknown, prices[0], 1.0)),
            flexibility_up_eur_per_mwh=_series(truth.flexibility_up_eur_per_mwh[span] * prices[1]),
            flexibility_down_eur_per_mwh=_series(truth.flexibility_down_eur_per_mwh[span] * prices[2]),
        )
        for subscriber in self.subscribers:
            self._out.send(subscriber, weather)
            self._out.send(subscriber, price)

    def _noise(self, hours: FloatArray) -> FloatArray:
        """Correlated errors of unit size at 24 h lead, six series. (6, n)"""
        draws = self._generator.standard_normal((len(_SERIES), len(hours)))
        decay = float(np.exp(-self.truth.grid.hours / self.error.correlation_h))
        fresh = float(np.sqrt(1.0 - decay**2))
        noise = np.empty_like(draws)
        noise[:, 0] = draws[:, 0]
        for k in range(1, len(hours)):
            noise[:, k] = decay * noise[:, k - 1] + fresh * draws[:, k]
        return noise * np.sqrt(np.minimum(hours / 24.0, 2.0))

    def _spot_known_until(self, now: datetime) -> datetime:
        """End of the last local day whose spot prices are public (tomorrow's are from ``forecast_at`` on)."""
        upcoming = self.calendar.delivery_window(Session.DAY_AHEAD, now)
        published = self.calendar.next_event(now, MarketEvent.FORECAST, Session.DAY_AHEAD) >= upcoming.start
        return upcoming.stop if published else upcoming.start


def _series(values: FloatArray) -> tuple[float, ...]:
    return tuple(values.tolist())
