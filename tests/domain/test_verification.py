from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.information import ReserveNotification, VerificationNotification
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.verification import (
    Penalty,
    Tolerance,
    balances,
    delivered,
    meter_before,
    settle,
    total_eur,
    x_of_y,
)

START = datetime(2024, 1, 16, 6, 0, tzinfo=UTC)
RESERVE = ReserveNotification(
    id="fmp/reserve/1",
    offer="ams/offer/1",
    buyer="dms",
    seller="ams",
    location="mg1",
    product=Product.CRP,
    start=START,
    stop=START + timedelta(hours=1),
    p_min_mw=-1.0,
    p_max_mw=0.0,
    q_max_mvar=0.5,
    price_eur_per_mwh=100.0,
    availability_eur_per_mw_h=2.0,
    reactive_eur_per_mvarh=4.0,
)


def a_verification(measured, requested=-1.0, measured_q=0.0, requested_q=0.0):
    n = len(measured)
    return VerificationNotification(
        id="mgms_mg1/verification/1",
        reserve=RESERVE.id,
        location="mg1",
        start=START,
        stop=START + timedelta(minutes=15 * n),
        step_s=900,
        baseline_method="operation_plan",
        baseline_p_mw=(2.0,) * n,
        measured_p_mw=tuple(measured),
        requested_p_mw=(requested,) * n,
        baseline_q_mvar=(0.0,) * n,
        measured_q_mvar=(measured_q,) * n,
        requested_q_mvar=(requested_q,) * n,
    )


def test_full_delivery_by_hand():
    statement = settle("s", a_verification([1.0] * 4, measured_q=0.5, requested_q=0.5), RESERVE)
    assert (statement.requested_mwh, statement.delivered_mwh) == (-1.0, -1.0)
    assert (statement.availability_eur, statement.activation_eur, statement.reactive_eur) == (2.0, 100.0, 2.0)
    assert statement.penalty_eur == 0.0
    assert statement.success


def test_missing_delivery_by_hand():
    # Half delivered: 0.5 MWh paid; 0.5 - 0.1 MWh missing beyond tolerance at 1.5 times the price.
    statement = settle("s", a_verification([1.5] * 4), RESERVE, Tolerance(share=0.1), Penalty(factor=1.5))
    assert statement.activation_eur == pytest.approx(50.0)
    assert statement.penalty_eur == pytest.approx(60.0)
    assert not statement.success


def test_wrong_direction_and_missing_readings_count_as_none_and_surplus_is_not_paid():
    result = delivered([2.0] * 3, [3.0, float("nan"), 0.0], [-1.0] * 3)
    np.testing.assert_allclose(result.delivered_mw, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(result.shortfall_mw, [1.0, 1.0, 0.0])


def test_reserve_that_was_not_called_earns_availability_only():
    statement = settle("s", a_verification([2.1] * 4, requested=0.0), RESERVE)
    assert total_eur(statement) == statement.availability_eur == 2.0
    assert statement.success


@given(
    st.lists(st.floats(-3, 5), min_size=1, max_size=4),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.floats(0, 3),
)
def test_sums_balance_and_delivery_never_passes_the_request(measured, requested, share, factor):
    statement = settle(
        "s", a_verification(measured, requested), RESERVE, Tolerance(share=share), Penalty(factor=factor)
    )
    assert abs(statement.delivered_mwh) <= abs(statement.requested_mwh) + 1e-12
    assert statement.delivered_mwh * statement.requested_mwh >= 0.0
    assert statement.penalty_eur >= 0.0
    net = balances([statement, replace(statement, payer="tso")])
    assert sum(net.values()) == pytest.approx(0.0, abs=1e-9)


def test_baselines():
    np.testing.assert_allclose(meter_before(np.array([1.0, np.nan, 3.0]), 2), [2.0, 2.0])
    days = np.array([[1.0, 1.0], [4.0, 2.0], [2.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(x_of_y(days, 2), [3.0, 3.0])
    np.testing.assert_allclose(x_of_y(days, 1, high=False), [0.0, 0.0])
    np.testing.assert_allclose(x_of_y(days, 2, np.array([0.5])), [3.5, 3.5])
    with pytest.raises(ValueError, match="days"):
        x_of_y(days, 5)
    with pytest.raises(ValueError, match="usable"):
        meter_before(np.array([np.nan]), 1)
