from datetime import UTC, datetime, timedelta
from itertools import count

import numpy as np
import pytest

from heila_mosaik.domain.bidding import (
    BiddingPolicy,
    Variant,
    aggregate,
    aggregator_prices,
    make_offers,
    microgrid_prices,
    room,
    without,
)
from heila_mosaik.domain.information import FlexibilityForecast, PQProfile, PriceForecast, ReserveNotification, Session
from heila_mosaik.domain.market import MarketCalendar, check_offer
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.timegrid import TimeGrid

START = datetime(2024, 1, 15, 22, 0, tzinfo=UTC)
NOW = datetime(2024, 1, 15, 16, 20, tzinfo=UTC)
WINDOW = TimeGrid(start=START, step_s=3600, count=4)


def a_forecast(product=Product.CRP, hours=4, **changes):
    n = hours * 4
    profile = PQProfile(
        start=START,
        step_s=900,
        p_mw=(1.0,) * n,
        q_mvar=(0.1,) * n,
        p_min_mw=(0.2, *(0.0,) * (n - 1)),
        p_max_mw=(1.5,) * n,
        q_min_mvar=(-0.2,) * n,
        q_max_mvar=(0.2,) * n,
    )
    given = {
        "id": "mgms_mg1/flexibility/1",
        "subject": "mg1",
        "issued_at": NOW,
        "product": product,
        "profile": profile,
        "energy_up_mwh": 2.0,
        "energy_down_mwh": 1.0,
    }
    return FlexibilityForecast(**(given | changes))


def a_price_forecast():
    return PriceForecast(
        id="spp/price/1",
        issued_at=NOW,
        start=START,
        step_s=3600,
        spot_eur_per_mwh=(30.0, 40.0, 100.0, 20.0),
        flexibility_up_eur_per_mwh=(60.0,) * 4,
        flexibility_down_eur_per_mwh=(10.0,) * 4,
    )


def offers_of(forecast, policy=None, window=WINDOW):
    policy = policy or BiddingPolicy()
    number = count(1)
    prices = aggregator_prices(a_price_forecast(), window, policy)
    return make_offers(
        forecast,
        prices,
        window=window,
        session=Session.DAY_AHEAD,
        seller="ams",
        submitted_at=NOW,
        policy=policy,
        identity=lambda: f"ams/offer/{next(number)}",
    )


def test_room_is_what_can_be_held_throughout():
    held = room(a_forecast(), WINDOW.at(0), WINDOW.at(1))
    assert (held.p_min_mw, held.p_max_mw) == (pytest.approx(-0.8), pytest.approx(0.5))
    assert (held.q_min_mvar, held.q_max_mvar) == (pytest.approx(-0.3), pytest.approx(0.1))
    assert room(a_forecast(hours=1), WINDOW.at(0), WINDOW.at(2)) is None


def test_opportunity_cost_by_hand():
    prices = aggregator_prices(a_price_forecast(), WINDOW, BiddingPolicy(margin=0.1, wear_eur_per_mwh=20.0))
    np.testing.assert_allclose(prices.up, [1.1 * 90, 1.1 * 80, 1.1 * 60, 1.1 * 100])
    np.testing.assert_allclose(prices.down, [1.1 * 30, 1.1 * 40, 1.1 * 100, 1.1 * 20])


def test_crp_gives_one_directional_offers_bound_by_energy_groups():
    offers = offers_of(a_forecast())
    assert len(offers) == 12
    up, down, reactive = offers[:3]
    assert (up.p_min_mw, up.p_max_mw, up.group_energy_mwh) == (pytest.approx(-0.8), 0.0, 2.0)
    assert (down.p_max_mw, down.group_energy_mwh) == (pytest.approx(0.5), 1.0)
    assert (reactive.p_min_mw, reactive.q_max_mvar, reactive.group) == (0.0, pytest.approx(0.1), "")
    assert len({offer.group for offer in offers}) == 3
    assert len({offer.id for offer in offers}) == 12


def test_crp2_is_one_bidirectional_offer():
    offers = offers_of(a_forecast(Product.CRP2))
    assert len(offers) == 4
    assert offers[0].p_min_mw < 0.0 < offers[0].p_max_mw
    assert offers[0].group_energy_mwh == 1.0


def test_srp_never_offers_more_than_the_reservoir_holds():
    offers = offers_of(a_forecast(Product.SRP, energy_up_mwh=0.3, energy_down_mwh=0.0))
    assert {offer.p_min_mw for offer in offers if offer.p_min_mw} == {-0.3}
    assert not [offer for offer in offers if offer.p_max_mw > 0.0]


def test_fcr_keeps_the_limited_reservoir_rules():
    (first, *_) = offers_of(a_forecast(Product.FCR_N))
    assert first.p_max_mw == pytest.approx(0.5 / 1.34)
    assert first.p_min_mw == -first.p_max_mw
    (first, *_) = offers_of(a_forecast(Product.FCR_D, energy_up_mwh=0.1))
    assert (first.p_min_mw, first.p_max_mw) == (pytest.approx(-0.3), 0.0)


def test_blocks_span_periods_all_or_nothing_and_pass_admission():
    calendar = MarketCalendar()
    offers = offers_of(a_forecast(), BiddingPolicy(block_periods=3))
    assert {(offer.stop - offer.start).total_seconds() for offer in offers} == {10800.0, 3600.0}
    assert not any(offer.divisible for offer in offers)
    for offer in (*offers, *offers_of(a_forecast())):
        assert check_offer(offer, calendar, NOW) is None


def test_microgrid_prices_pass_through_plus_fee():
    policy = BiddingPolicy(variant=Variant.MGMS_PRICES, fee_eur_per_mwh=4.0)
    assert microgrid_prices(a_forecast(), WINDOW, policy) is None
    priced = a_forecast(price_up_eur_per_mwh=tuple(map(float, range(16))), price_down_eur_per_mwh=(7.0,) * 16)
    prices = microgrid_prices(priced, WINDOW, policy)
    np.testing.assert_allclose(prices.up, [7.0, 11.0, 15.0, 19.0])
    np.testing.assert_allclose(prices.down, 11.0)


def test_aggregate_adds_microgrids_and_skips_what_is_not_covered():
    lowering, raising = aggregate([a_forecast(), a_forecast(hours=2, subject="mg2")], WINDOW)
    np.testing.assert_allclose(lowering, [-1.6, -2.0, -1.0, -1.0])
    np.testing.assert_allclose(raising, [1.0, 1.0, 0.5, 0.5])


def test_what_was_sold_after_a_forecast_is_not_offered_again():
    series = (0.5,) * 8
    forecast = FlexibilityForecast(
        id="f",
        subject="a",
        issued_at=START,
        product=Product.CRP,
        profile=PQProfile(
            start=START,
            step_s=900,
            p_mw=(0.0,) * 8,
            q_mvar=(0.0,) * 8,
            p_min_mw=(-0.5,) * 8,
            p_max_mw=series,
            q_min_mvar=(-0.5,) * 8,
            q_max_mvar=series,
        ),
        energy_up_mwh=1.0,
        energy_down_mwh=1.0,
    )
    reserve = ReserveNotification(
        id="r",
        offer="o",
        buyer="dms",
        seller="ams",
        location="a",
        product=Product.CRP,
        start=START + timedelta(hours=1),
        stop=START + timedelta(hours=2),
        p_min_mw=0.0,
        p_max_mw=0.4,
        q_max_mvar=0.6,
        price_eur_per_mwh=1.0,
        group="g",
        group_energy_mwh=0.3,
    )
    left = without(forecast, [reserve])
    assert left.profile.p_max_mw == pytest.approx((0.5,) * 4 + (0.1,) * 4)
    assert left.profile.q_max_mvar == pytest.approx((0.5,) * 4 + (0.0,) * 4)
    assert left.profile.p_min_mw == forecast.profile.p_min_mw
    assert (left.energy_up_mwh, left.energy_down_mwh) == pytest.approx((1.0, 0.7))
    assert without(forecast, []) is forecast
