from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.information import ReserveNotification, VerificationNotification
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.reserves import (
    ReserveOffer,
    Reservoir,
    clear_reserve,
    droop_fcr_d,
    droop_fcr_n,
    fcr_d_required,
    fcr_d_up_capacity,
    fcr_n_capacity,
    occupied,
    settle_fcr,
    settle_reserve,
)

AT = datetime(2024, 1, 15, tzinfo=UTC)


def test_droop_of_fcr_n():
    frequency = np.array([49.8, 49.9, 49.945, 49.99, 50.0, 50.01, 50.1, 50.3])
    np.testing.assert_allclose(droop_fcr_n(frequency, 2.0), [-2, -2, -1, 0, 0, 0, 2, 2], atol=1e-9)
    with pytest.raises(ValueError, match="dead band"):
        droop_fcr_n(frequency, 1.0, 0.02)


def test_droop_of_fcr_d():
    frequency = np.array([49.4, 49.5, 49.7, 49.9, 50.0, 50.1, 50.3, 50.5])
    np.testing.assert_allclose(droop_fcr_d(frequency, 10.0, 4.0), [-10, -10, -5, 0, 0, 0, 2, 4], atol=1e-9)
    np.testing.assert_allclose(fcr_d_required(np.array([0.0, 5.0, 30.0, 60.0]), 8.0), [0, 4, 8, 8])


@given(st.floats(49.0, 51.0), st.floats(49.0, 51.0))
def test_droop_is_monotonic(first, second):
    low, high = sorted((first, second))
    for droop in (droop_fcr_n(np.array([low, high]), 1.0), droop_fcr_d(np.array([low, high]), 1.0, 1.0)):
        assert droop[0] <= droop[1] + 1e-12


def test_limited_reservoirs():
    battery = Reservoir(lowering_mw=1.34, raising_mw=1.34, lowering_mwh=0.6, raising_mwh=2.0)
    assert fcr_n_capacity(battery) == pytest.approx(0.6)
    assert fcr_d_up_capacity(battery) == pytest.approx(1.34)
    assert fcr_d_up_capacity(Reservoir(lowering_mw=9, raising_mw=0.1, lowering_mwh=9, raising_mwh=0)) == 0.5


def test_marginal_price_clearing():
    offers = [ReserveOffer(id=str(k), submitted_at=AT, capacity_mw=1.0, price_eur_per_mw_h=10.0 + k) for k in range(4)]
    result = clear_reserve(offers[::-1], 2.5)
    assert result.accepted_mw == (("0", 1.0), ("1", 1.0), ("2", 0.5))
    assert result.price_eur_per_mw_h == 12.0
    short = clear_reserve(offers, 9.0, limit_eur_per_mw_h=11.0)
    assert (short.missing_mw, short.price_eur_per_mw_h) == (7.0, 11.0)
    assert clear_reserve(offers, 1.0, min_bid_mw=2.0).accepted_mw == ()


def test_settlement_of_fcr():
    adjustment = np.array([-1.0, 1.0, 0.0, 0.0])
    result = settle_fcr(2.0, np.array([1.0, 1.0, 1.0, 0.0]), 10.0, adjustment, 900.0, 60.0, 40.0)
    assert result.capacity_eur == pytest.approx(15.0)
    assert result.energy_eur == pytest.approx(0.25 * 60 - 0.25 * 40)


def a_reserve(product=Product.FCR_N, capacity=0.5):
    return ReserveNotification(
        id="r", offer="o", buyer="tso", seller="ams", location="mg", product=product, start=AT,
        stop=AT + timedelta(hours=1), p_min_mw=-capacity, p_max_mw=capacity if product is Product.FCR_N else 0.0,
        price_eur_per_mwh=40.0, availability_eur_per_mw_h=20.0,
    )  # fmt: skip


def a_verification(requested, measured):
    count = len(requested)
    zero = (0.0,) * count
    return VerificationNotification(
        id="v", reserve="r", location="mg", start=AT, stop=AT + timedelta(minutes=count), step_s=60,
        baseline_method="operation_plan", baseline_p_mw=(0.2,) * count, measured_p_mw=tuple(0.2 + m for m in measured),
        requested_p_mw=tuple(requested), baseline_q_mvar=zero, measured_q_mvar=zero, requested_q_mvar=zero,
    )  # fmt: skip


def test_a_followed_reserve_earns_its_capacity_and_the_energy_of_fcr_n():
    asked = (-0.3,) * 30 + (0.1,) * 30
    statement = settle_reserve("s", a_verification(asked, asked), a_reserve())
    assert statement.success
    assert statement.availability_eur == pytest.approx(20.0 * 0.5)
    # 0.15 MWh up are paid, 0.05 MWh down are charged
    assert statement.activation_eur == pytest.approx(40.0 * (0.15 - 0.05))
    assert (statement.payer, statement.payee, statement.penalty_eur) == ("tso", "ams", 0.0)
    assert settle_reserve("s", a_verification(asked, asked), a_reserve(Product.FCR_D)).activation_eur == 0.0


def test_capacity_that_was_not_there_is_not_paid():
    asked = (-0.4,) * 60
    statement = settle_reserve("s", a_verification(asked, (-0.4,) * 30 + (-0.1,) * 30), a_reserve())
    assert not statement.success
    assert statement.availability_eur == pytest.approx(20.0 * 0.5 * (30 + 30 * 0.25) / 60)


def test_reserves_occupy_more_than_they_sell():
    assert occupied(a_reserve()) == pytest.approx((0.67, 0.67))
    assert occupied(a_reserve(Product.FCR_D)) == pytest.approx((0.5, 0.1))
