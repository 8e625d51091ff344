"""Stated, seeded generator of weather and day-ahead prices, for grids whose data hold none.

It is a generator of plausible series with published yearly statistics, not a reanalysis of any real day.  What a year
of it gives is tested against these sources:

* Temperature: yearly mean 9.3 °C, January 0.9 °C, July 18.3 °C: DWD, area means of Germany 1991-2020 (press releases of
  the DWD on 2023 and July 2023; monatsprognose.de/werte.php from the DWD's 1 km grids).
* Clear sky: Haurwitz, B. (1945), "Insolation in relation to cloudiness and cloud density", J. Meteorology 2, in the
  form of Reno, Hansen and Stein, SAND2012-2389; solar position: Spencer (1971) declination and equation of time.
* Irradiance: the clear-sky index is beta distributed so that a year sums to about 1090 kWh/m², between the DWD's means
  of Germany 1983-1990 (1014 kWh/m²) and 2011-2020 (1114 kWh/m²; solarserver.de, 12 January 2023).
* Wind: Weibull with shape 2 (Troen and Petersen, European Wind Atlas, 1989), mean 4.5 m/s at 10 m over open country;
  first-order autoregressive with a correlation of 0.92 over an hour, inside the 0.80 to 0.95 of measured sites that the
  HOMER Pro manual (page *Autocorrelation*) names for synthetic series.
* Prices: mean 78.5 EUR/MWh (Bundesnetzagentur, "Der Strommarkt im Jahr 2024", smard.de), peak hours (working days, 8
  to 20 h) 88.2, all others 74.8 EUR/MWh and almost 460 negative hours (FfE, "Deutsche Strompreise an der Börse EPEX
  Spot im Jahr 2024"), German bidding zone.  The parts of the price were fitted to these four figures, negative hours
  under sun; lowest price: the harmonised limit of the day-ahead coupling.

Declared here, without a source: correlation times of clouds, temperature and price noise, and the shape of the peaks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter
from scipy.special import betaincinv, ndtr

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.resources.pv import NOCT_RISE_C, TEMPERATURE_COEFFICIENT
from heila_mosaik.domain.timegrid import TimeGrid

CUT_IN_M_PER_S, RATED_M_PER_S = 3.0, 13.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Climate:
    """Place and statistics of its weather.

    Attributes:
        latitude_degree: Latitude, north positive. [°]
        longitude_degree: Longitude, east positive. [°]
        temperature_mean_c: Yearly mean. [°C]
        temperature_season_c: Amplitude of the yearly cycle. [°C]
        temperature_day_c: Amplitude of the daily cycle under a clear sky. [°C]
        temperature_std_c: Standard deviation around the cycles. [°C]
        clear_sky_a, clear_sky_b: Shape of the beta distribution of the clear-sky index.
        clear_sky_top: Largest clear-sky index. [1]
        wind_mean_m_per_s: Mean wind speed at 10 m. [m/s]
    """

    latitude_degree: float = 51.2
    longitude_degree: float = 10.4
    temperature_mean_c: float = 9.3
    temperature_season_c: float = 8.7
    temperature_day_c: float = 5.0
    temperature_std_c: float = 3.5
    clear_sky_a: float = 1.3
    clear_sky_b: float = 0.9
    clear_sky_top: float = 1.05
    wind_mean_m_per_s: float = 4.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceStatistics:
    """Parts of the day-ahead price.

    Attributes:
        base_eur_per_mwh: Mean price without sun and wind. [EUR/MWh]
        peak_eur_per_mwh: Height of the morning and evening peaks. [EUR/MWh]
        weekend_eur_per_mwh: Discount on Saturday and Sunday. [EUR/MWh]
        winter_eur_per_mwh: Amplitude of the yearly cycle. [EUR/MWh]
        sun_eur_per_mwh: Lowering at 1000 W/m². [EUR/MWh]
        wind_eur_per_mwh: Lowering at rated wind. [EUR/MWh]
        noise_eur_per_mwh: Standard deviation of the rest. [EUR/MWh]
        floor_eur_per_mwh: Lowest price (harmonised limit of the day-ahead coupling). [EUR/MWh]
        utc_offset_h: Local time of the market; no daylight saving. [h]
    """

    base_eur_per_mwh: float = 89.2
    peak_eur_per_mwh: float = 70.0
    weekend_eur_per_mwh: float = 25.0
    winter_eur_per_mwh: float = 10.0
    sun_eur_per_mwh: float = 140.0
    wind_eur_per_mwh: float = 50.0
    noise_eur_per_mwh: float = 16.0
    floor_eur_per_mwh: float = -500.0
    utc_offset_h: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """Weather over a time grid.

    Attributes:
        grid: Time grid.
        temperature_c: Air temperature. [°C] (n,)
        irradiance_w_per_m2: Global horizontal irradiance. [W/m²] (n,)
        wind_m_per_s: Wind speed. [m/s] (n,)
    """

    grid: TimeGrid
    temperature_c: FloatArray
    irradiance_w_per_m2: FloatArray
    wind_m_per_s: FloatArray


def generate_weather(
    grid: TimeGrid,
    rng: np.random.Generator,
    climate: Climate | None = None,
    pv_relative: FloatArray | None = None,
    wind_relative: FloatArray | None = None,
) -> Weather:
    """Weather for a time grid.

    Args:
        grid: Time grid; values hold at the middle of each interval.
        rng: Generator of the weather's own stream.  The draws depend on the grid: another start gives another year.
        climate: Place and statistics; Germany by default.
        pv_relative: Feed-in of a plant of the grid relative to its rating.  The irradiance is then the one that
            gives exactly this feed-in (:func:`irradiance_from_pv`), so that the weather agrees with the grid. [1] (n,)
        wind_relative: Feed-in of a wind turbine of the grid relative to its rating; gives the wind speed. [1] (n,)
    """
    place = climate or Climate()
    day, hour = _calendar(grid)
    clear = clear_sky(grid, place)
    # Two latent processes: fronts that last most of a day and passing clouds.
    slow, fast = (ar1(grid.count, grid.step_s, hours, rng) for hours in (18.0, 0.75))
    latent = np.sqrt(0.8) * slow + np.sqrt(0.2) * fast
    index = place.clear_sky_top * betaincinv(place.clear_sky_a, place.clear_sky_b, ndtr(latent))
    drift = place.temperature_std_c * ar1(grid.count, grid.step_s, 72.0, rng)
    gust = ar1(grid.count, grid.step_s, 12.0, rng)
    season = -place.temperature_season_c * np.cos(2.0 * math.pi * (day - 20.0) / 365.25)
    solar_hour = hour + place.longitude_degree / 15.0
    daily = place.temperature_day_c * (0.3 + 0.7 * index) * np.cos(2.0 * math.pi * (solar_hour - 15.0) / 24.0)
    temperature = place.temperature_mean_c + season + daily + drift
    irradiance = clear * index if pv_relative is None else irradiance_from_pv(pv_relative, temperature)
    if wind_relative is None:
        scale = place.wind_mean_m_per_s / math.gamma(1.5)
        wind = scale * np.sqrt(-np.log1p(-np.minimum(ndtr(gust), 1.0 - 1e-12)))
    else:
        wind = wind_from_turbine(wind_relative)
    return Weather(grid=grid, temperature_c=temperature, irradiance_w_per_m2=irradiance, wind_m_per_s=wind)


def clear_sky(grid: TimeGrid, climate: Climate) -> FloatArray:
    """Global horizontal irradiance of a cloudless sky (Haurwitz). [W/m²] (n,)"""
    day, hour = _calendar(grid)
    angle = 2.0 * math.pi * (day - 1.0) / 365.0
    declination = (
        0.006918
        - 0.399912 * np.cos(angle)
        + 0.070257 * np.sin(angle)
        - 0.006758 * np.cos(2 * angle)
        + 0.000907 * np.sin(2 * angle)
        - 0.002697 * np.cos(3 * angle)
        + 0.00148 * np.sin(3 * angle)
    )
    equation_min = 229.18 * (
        0.000075
        + 0.001868 * np.cos(angle)
        - 0.032077 * np.sin(angle)
        - 0.014615 * np.cos(2 * angle)
        - 0.040849 * np.sin(2 * angle)
    )
    hour_angle = np.deg2rad(15.0 * (hour + climate.longitude_degree / 15.0 + equation_min / 60.0 - 12.0))
    latitude = math.radians(climate.latitude_degree)
    sine = math.sin(latitude) * np.sin(declination) + math.cos(latitude) * np.cos(declination) * np.cos(hour_angle)
    up = np.maximum(sine, 1e-3)
    return np.where(sine > 1e-3, 1098.0 * up * np.exp(-0.057 / up), 0.0)


def irradiance_from_pv(relative: FloatArray, temperature_c: FloatArray) -> FloatArray:
    """Irradiance at which :func:`heila_mosaik.domain.resources.pv.relative_output` gives a feed-in.

    Orientation, soiling and inverter losses of the plant are in it: it is the irradiance this plant *sees*.

    Args:
        relative: Feed-in relative to the rating. [1] (n,)
        temperature_c: Air temperature. [°C] (n,)

    Returns:
        Irradiance. [W/m²] (n,)
    """
    square = TEMPERATURE_COEFFICIENT * NOCT_RISE_C / 800.0 / 1000.0
    linear = (1.0 + TEMPERATURE_COEFFICIENT * (temperature_c - 25.0)) / 1000.0
    wanted = np.maximum(relative, 0.0)
    root = np.sqrt(np.maximum(linear * linear + 4.0 * square * wanted, 0.0))
    return 2.0 * wanted / (linear + root)


def wind_from_turbine(relative: FloatArray) -> FloatArray:
    """Wind speed for a turbine's feed-in relative to its rating, by the cubic power curve. [m/s] (n,)"""
    low, high = CUT_IN_M_PER_S**3, RATED_M_PER_S**3
    return np.cbrt(low + np.clip(relative, 0.0, 1.0) * (high - low))


def turbine_from_wind(wind_m_per_s: FloatArray) -> FloatArray:
    """Feed-in of a turbine relative to its rating, by the cubic power curve. [1] (n,)"""
    low, high = CUT_IN_M_PER_S**3, RATED_M_PER_S**3
    return np.clip((wind_m_per_s**3 - low) / (high - low), 0.0, 1.0)


def generate_prices(
    weather: Weather, rng: np.random.Generator, statistics: PriceStatistics | None = None
) -> FloatArray:
    """Day-ahead spot price, constant within the hours of the market.

    Args:
        weather: Weather; its sun and wind lower the price.
        rng: Generator of the prices' own stream.
        statistics: Parts of the price; the German bidding zone of 2024 by default.

    Returns:
        Price. [EUR/MWh] (n,)
    """
    parts = statistics or PriceStatistics()
    grid = weather.grid
    seconds = grid.start.hour * 3600 + grid.start.minute * 60 + grid.start.second + np.arange(grid.count) * grid.step_s
    hours = (seconds // 3600).astype(np.int64)
    place = hours - (hours[0] if grid.count else 0)
    share = np.bincount(place)
    sun = (np.bincount(place, weather.irradiance_w_per_m2) / share)[place] / 1000.0
    wind = (np.bincount(place, turbine_from_wind(weather.wind_m_per_s)) / share)[place]
    noise = ar1(len(share), 3600, 8.0, rng)[place]
    day = (np.bincount(place, _calendar(grid)[0]) / share)[place]
    local = hours + parts.utc_offset_h + 0.5
    of_day = np.mod(local, 24.0)
    weekday = (grid.start.weekday() + local // 24.0) % 7
    peaks = np.exp(-0.5 * ((of_day - 8.0) / 1.8) ** 2) + 1.2 * np.exp(-0.5 * ((of_day - 19.0) / 2.0) ** 2)
    night = np.exp(-0.5 * (np.minimum(of_day, 24.0 - of_day) / 3.5) ** 2)
    price = (
        parts.base_eur_per_mwh
        + parts.peak_eur_per_mwh * (peaks - 0.5 * night)
        + parts.winter_eur_per_mwh * np.cos(2.0 * math.pi * (day - 20.0) / 365.25)
        - parts.weekend_eur_per_mwh * (weekday >= 5)
        - parts.sun_eur_per_mwh * sun
        - parts.wind_eur_per_mwh * wind
        + parts.noise_eur_per_mwh * noise
    )
    return np.maximum(price, parts.floor_eur_per_mwh)


def forecast_error(count: int, step_s: int, std: float, correlation_h: float, rng: np.random.Generator) -> FloatArray:
    """Error of a forecast, from zero at its issue growing towards ``std``.

    First-order autoregressive: the standard deviation after ``t`` hours is ``std·sqrt(1 - exp(-2t/correlation_h))``.

    Args:
        count: Intervals.
        step_s: Length of an interval. [s]
        std: Standard deviation far ahead, in the unit of the forecast or relative.
        correlation_h: Correlation time. [h]
        rng: Generator of the forecast's own stream.

    Returns:
        Error, in the unit of ``std``. (count,)
    """
    phi = math.exp(-step_s / 3600.0 / correlation_h)
    shocks = math.sqrt(1.0 - phi * phi) * rng.standard_normal(count)
    return std * np.asarray(lfilter([1.0], [1.0, -phi], shocks), dtype=np.float64)


def ar1(count: int, step_s: int, correlation_h: float, rng: np.random.Generator) -> FloatArray:
    """Stationary first-order autoregressive process with mean 0 and variance 1. (count,)"""
    if count == 0:
        return np.empty(0)
    phi = math.exp(-step_s / 3600.0 / correlation_h)
    shocks = rng.standard_normal(count)
    shocks[1:] *= math.sqrt(1.0 - phi * phi)
    return np.asarray(lfilter([1.0], [1.0, -phi], shocks), dtype=np.float64)


def _calendar(grid: TimeGrid) -> tuple[FloatArray, FloatArray]:
    """Day of the year (1 = 1 January, with fraction) and hour of the day (UTC) at the middle of each interval."""
    begin = grid.start
    first = (begin.replace(month=1, day=1, hour=0, minute=0, second=0, microsecond=0) - begin).total_seconds()
    seconds = -first + (np.arange(grid.count) + 0.5) * grid.step_s
    return np.asarray(1.0 + seconds / 86400.0), np.asarray(np.mod(seconds, 86400.0) / 3600.0)
