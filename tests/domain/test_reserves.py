from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.reserves import (
    ReserveOffer,
    Reservoir,
    clear_reserve,
    droop_fcr_d,
    droop_fcr_n,
    fcr_d_required,
    fcr_d_up_capacity,
    fcr_n_capacity,
    settle_fcr,
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
