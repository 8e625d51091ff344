from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from heila_mosaik.actors.spp import ForecastError, Spp, Truth
from heila_mosaik.domain.information import PriceForecast, WeatherForecast
from heila_mosaik.domain.market import MarketCalendar
from heila_mosaik.domain.timegrid import TimeGrid
from tests.actors.market_cycle import PostOffice

GRID = TimeGrid(start=datetime(2024, 1, 14, 22, 0, tzinfo=UTC), step_s=900, count=4 * 24 * 4)
START = GRID.start


def a_truth(grid=GRID):
    hours = np.arange(grid.count) * grid.hours
    return Truth(
        grid=grid,
        temperature_c=-5.0 + 3.0 * np.sin(hours / 24 * 2 * np.pi),
        irradiance_w_per_m2=np.maximum(0.0, 300.0 * np.sin((hours - 8) / 24 * 2 * np.pi)),
        wind_m_per_s=np.full(grid.count, 5.0),
        spot_eur_per_mwh=50.0 + hours,
        flexibility_up_eur_per_mwh=np.full(grid.count, 80.0),
        flexibility_down_eur_per_mwh=np.full(grid.count, 20.0),
    )


def an_office(seed=1, error=None, intraday=True, subscribers=("ams", "dms")):
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed)))
    calendar = MarketCalendar(intraday=intraday)
    return PostOffice(
        Spp(calendar=calendar, truth=a_truth(), subscribers=subscribers, generator=generator, error=error)
    )


def test_issues_at_start_and_at_set_times_to_every_subscriber():
    office = an_office(intraday=False)
    office.run(START, START + timedelta(days=1))
    issued = [each.issued_at for each in office.bodies("dms", WeatherForecast)]
    assert issued == [START, datetime(2024, 1, 15, 14, 5, tzinfo=UTC)]
    assert office.bodies("ams", PriceForecast) == office.bodies("dms", PriceForecast)
    assert len(office.bodies("ams", PriceForecast)[0].spot_eur_per_mwh) == 192
    hourly = an_office()
    hourly.run(START, START + timedelta(days=1))
    assert len(hourly.bodies("dms", WeatherForecast)) == 1 + 24 + 1


def test_without_error_the_forecast_is_the_truth():
    office = an_office(error=ForecastError(temperature_c=0, irradiance_share=0, wind_m_per_s=0, price_share=0))
    office.step(START + timedelta(hours=1), "spp")
    forecast = office.bodies("dms", WeatherForecast)[0]
    assert forecast.start == START + timedelta(hours=1)
    np.testing.assert_array_equal(forecast.temperature_c, a_truth().temperature_c[4:196])


def test_error_grows_with_lead_time_and_has_the_declared_size():
    errors = []
    for seed in range(200):
        office = an_office(seed, subscribers=("dms",))
        office.step(START, "spp")
        errors.append(np.array(office.bodies("dms", WeatherForecast)[0].temperature_c) - a_truth().temperature_c[:192])
    sigma = np.std(errors, axis=0)
    assert sigma[0] == 0.0
    assert sigma[96] == pytest.approx(1.5, rel=0.2)
    assert sigma[24] == pytest.approx(0.75, rel=0.2)


def test_published_spot_price_is_exact_and_later_prices_are_not():
    office = an_office(intraday=False)
    office.run(START, START + timedelta(hours=17))
    truth = a_truth().spot_eur_per_mwh
    first, second = office.bodies("dms", PriceForecast)
    np.testing.assert_array_equal(first.spot_eur_per_mwh[:96], truth[:96])
    assert first.spot_eur_per_mwh[96] != truth[96]
    at = GRID.position(second.start)
    np.testing.assert_array_equal(second.spot_eur_per_mwh[: 192 - at], truth[at:192])
    assert second.spot_eur_per_mwh[192 - at] != truth[192]


def test_same_seed_same_forecasts():
    def told(seed):
        office = an_office(seed)
        office.run(START, START + timedelta(hours=6))
        return office.mail["dms"]

    assert told(3) == told(3)
    assert told(3) != told(4)


def test_end_of_the_series():
    office = an_office()
    office.step(GRID.stop - timedelta(hours=2), "spp")
    assert len(office.bodies("dms", WeatherForecast)[0].temperature_c) == 8
    office = an_office()
    office.step(GRID.stop, "spp")
    assert office.events("forecast_withheld")


def test_truth_is_checked():
    short = TimeGrid(start=START, step_s=900, count=3)
    with pytest.raises(ValueError, match="temperature_c"):
        Truth(**{name: getattr(a_truth(), name) for name in Truth.__slots__ if name != "grid"}, grid=short)
