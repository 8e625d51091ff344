from datetime import timedelta

import pytest

from heila_mosaik.actors.ams import Ams
from heila_mosaik.actors.fmp import Fmp
from heila_mosaik.actors.tso import Tso
from heila_mosaik.domain.information import ActivationNotification, Bid, Measurements, ReserveNotification
from heila_mosaik.domain.market import MarketCalendar
from heila_mosaik.domain.quantities import Product, Quality, Quantity
from tests.actors.market_cycle import PostOffice
from tests.domain.test_bidding import START, a_forecast

CALENDAR = MarketCalendar(intraday=False)


def frequency(at, hertz, quality=Quality.GOOD):
    return Measurements(
        id="m",
        source="pmu",
        at=at,
        elements=("bus.0",),
        quantities=(Quantity.FREQUENCY,),
        values=(hertz,),
        sigmas=(0.001,),
        qualities=(quality,),
        ages_s=(0.0,),
    )


def a_day_ahead(demand=0.5, **options):
    """Two microgrids offer 0.373 MW of FCR-N in each of the first four hours; the TSO buys."""
    tso = Tso(calendar=CALENDAR, demand_mw={Product.FCR_N: demand}, **options)
    office = PostOffice(Ams(calendar=CALENDAR), Fmp(calendar=CALENDAR), tso)
    for name in ("mg1", "mg2"):
        office.post(START - timedelta(hours=7), "mgms_" + name, "ams", a_forecast(Product.FCR_N, id=name, subject=name))
    office.run(START - timedelta(hours=6), START - timedelta(hours=1))
    return office


def test_buys_its_hourly_demand_day_ahead():
    office = a_day_ahead()
    assert len(office.bodies("fmp", Bid)) == 1
    reserves = office.bodies("tso", ReserveNotification)
    assert len(reserves) == 8
    first = [each for each in reserves if each.start == START]
    assert sum(each.p_max_mw for each in first) == pytest.approx(0.5)
    assert all(each.p_min_mw == pytest.approx(-each.p_max_mw) for each in first)
    assert {each.availability_eur_per_mw_h for each in reserves} == {15.0 + 0.15 * 20.0}  # and wear of FCR-N
    assert {each.buyer for each in office.bodies("mgms_mg1", ReserveNotification)} == {"tso"}


def test_missing_capacity_is_reported():
    assert a_day_ahead(demand=2.0).events("reserve_missing")[0].values["missing_mw"] == pytest.approx(
        2.0 - 2 * 0.5 / 1.34
    )


def test_activates_by_frequency_through_the_aggregator():
    office = a_day_ahead(activate=True)
    now = START + timedelta(minutes=1)
    office.step(now, "tso", frequency(now, 49.9))
    calls = office.bodies("mgms_mg1", ActivationNotification) + office.bodies("mgms_mg2", ActivationNotification)
    assert sum(each.p_mw for each in calls) == pytest.approx(-0.5)
    office.step(now, "tso", frequency(now, 49.9))
    office.step(now, "tso", frequency(now, 49.0, Quality.INVALID))
    assert len(office.bodies("ams", ActivationNotification)) == 2
    office.step(now, "tso", frequency(now, 50.0))
    assert [each.p_mw for each in office.bodies("ams", ActivationNotification)[2:]] == [0.0, 0.0]


def test_leaves_activation_to_the_sites_unless_told():
    office = a_day_ahead()
    office.step(START, "tso", frequency(START, 49.9))
    assert office.bodies("ams", ActivationNotification) == []


def test_sellers_below_the_smallest_bid_of_the_terms_do_not_count():
    office = a_day_ahead(smallest_mw={Product.FCR_N: 1.0})
    assert office.bodies("tso", ReserveNotification) == []
    assert office.events("reserve_missing")
