from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.resources.pv import relative_output
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.domain.weather import (
    Climate,
    clear_sky,
    forecast_error,
    generate_prices,
    generate_weather,
    irradiance_from_pv,
    turbine_from_wind,
    wind_from_turbine,
)

YEAR = TimeGrid(start=datetime(2016, 1, 1, tzinfo=UTC), step_s=900, count=366 * 96)


def years(count=6):
    for seed in range(count):
        weather = generate_weather(YEAR, np.random.default_rng(seed))
        yield weather, generate_prices(weather, np.random.default_rng(seed + 100))


def test_yearly_statistics_are_those_cited():
    weathers, prices = zip(*years(), strict=True)

    def month(w, first, last):
        return w.temperature_c[first * 96 : last * 96].mean()

    assert np.mean([w.temperature_c.mean() for w in weathers]) == pytest.approx(9.3, abs=0.5)
    assert np.mean([month(w, 0, 31) for w in weathers]) == pytest.approx(0.9, abs=1.5)
    assert np.mean([month(w, 182, 213) for w in weathers]) == pytest.approx(18.3, abs=1.5)
    assert np.mean([w.irradiance_w_per_m2.sum() / 4e3 for w in weathers]) == pytest.approx(1086, rel=0.06)
    assert np.mean([w.wind_m_per_s.mean() for w in weathers]) == pytest.approx(4.5, abs=0.2)
    assert np.mean([p.mean() for p in prices]) == pytest.approx(78.5, abs=4.0)
    assert np.mean([(p < 0).sum() / 4 for p in prices]) == pytest.approx(460, rel=0.25)
    hour = (np.arange(YEAR.count) // 4 + 1) % 24
    weekday = (YEAR.start.weekday() + (np.arange(YEAR.count) // 4 + 1) // 24) % 7
    peak = (weekday < 5) & (hour >= 8) & (hour < 20)
    assert np.mean([p[peak].mean() for p in prices]) == pytest.approx(88.2, abs=4.0)
    assert np.mean([p[~peak].mean() for p in prices]) == pytest.approx(74.8, abs=4.0)
    r1 = [np.corrcoef(w.wind_m_per_s[4:], w.wind_m_per_s[:-4])[0, 1] for w in weathers]
    assert 0.80 < np.mean(r1) < 0.95


def test_negative_prices_come_with_sun_and_weekends_are_cheaper():
    weather, price = next(years(1))
    hour = (np.arange(YEAR.count) // 4) % 24
    assert np.isin(hour[price < 0], range(8, 17)).mean() > 0.9
    weekday = (YEAR.start.weekday() + np.arange(YEAR.count) // 96) % 7
    assert price[weekday >= 5].mean() < price[weekday < 5].mean() - 5
    assert (np.ptp(price.reshape(-1, 4), axis=1) == 0).all()
    assert weather.irradiance_w_per_m2.min() == 0.0


def test_clear_sky_noon_and_solstices():
    def noon(day):
        one = TimeGrid(start=datetime(2016, 1, 1, tzinfo=UTC) + timedelta(days=day), step_s=900, count=96)
        return clear_sky(one, Climate(longitude_degree=0.0))

    summer, winter = noon(172), noon(355)
    # Sun at 62.2 and 15.4 degrees over 51.2 N: Haurwitz gives 911 and 235 W/m².
    assert summer.max() == pytest.approx(911, rel=0.01)
    assert winter.max() == pytest.approx(235, rel=0.03)
    assert abs(int(summer.argmax()) - 48) <= 1
    assert (summer > 0).sum() / 4 == pytest.approx(16.4, abs=0.5)


@given(st.floats(0.0, 0.95), st.floats(-20.0, 35.0))
def test_irradiance_reproduces_the_pv_profile(relative, temperature):
    back = relative_output(irradiance_from_pv(np.array([relative]), np.array([temperature])), np.array([temperature]))
    assert back[0] == pytest.approx(relative, abs=1e-9)


def test_given_profiles_decide_the_weather():
    day = TimeGrid(start=datetime(2016, 8, 22, tzinfo=UTC), step_s=900, count=96)
    sun = np.clip(np.sin(np.linspace(-1.5, 4.5, 96)), 0.0, 0.6)
    wind = np.linspace(0.0, 1.0, 96)
    weather = generate_weather(day, np.random.default_rng(1), pv_relative=sun, wind_relative=wind)
    np.testing.assert_allclose(relative_output(weather.irradiance_w_per_m2, weather.temperature_c), sun, atol=1e-9)
    np.testing.assert_allclose(turbine_from_wind(weather.wind_m_per_s), wind, atol=1e-9)
    np.testing.assert_allclose(wind_from_turbine(np.array([0.0, 1.0])), [3.0, 13.0])


def test_same_seed_same_bytes():
    first, second = (generate_weather(YEAR, np.random.default_rng(5)) for _ in range(2))
    assert first.temperature_c.tobytes() == second.temperature_c.tobytes()
    prices = [generate_prices(w, np.random.default_rng(6)).tobytes() for w in (first, second)]
    assert prices[0] == prices[1]


def test_forecast_error_grows_as_declared():
    rng = np.random.default_rng(3)
    errors = np.array([forecast_error(48, 3600, 2.0, 12.0, rng) for _ in range(4000)])
    declared = 2.0 * np.sqrt(1.0 - np.exp(-2.0 * np.arange(1, 49) / 12.0))
    np.testing.assert_allclose(errors.std(axis=0), declared, rtol=0.06)
    assert abs(errors.mean()) < 0.1


def test_empty_grid():
    empty = TimeGrid(start=YEAR.start, step_s=900, count=0)
    weather = generate_weather(empty, np.random.default_rng(1))
    assert generate_prices(weather, np.random.default_rng(1)).size == 0
