import numpy as np
import pytest

from heila_mosaik.domain import kpi
from heila_mosaik.domain.information import CongestionKind
from heila_mosaik.domain.verification import settle
from tests.domain.test_verification import RESERVE, a_verification

NAN = float("nan")


def test_congestion_minutes_skip_nan_and_the_limit_itself():
    vm = np.array([[0.94, 1.0], [0.95, NAN], [0.94, 1.06]])
    low, high = kpi.voltage_congestion(vm, np.array([0.95, 0.95]), np.array([1.05, 1.05]), 300.0)
    np.testing.assert_allclose(low.element_minutes, [10.0, 0.0])
    np.testing.assert_allclose(high.element_minutes, [0.0, 5.0])
    assert (low.any_minutes, high.any_minutes, high.kind) == (10.0, 5.0, CongestionKind.OVERVOLTAGE)
    over = kpi.current_congestion(np.array([[100.0, 120.0], [101.0, 130.0]]), np.array([100.0, 100.0]), 60.0)
    np.testing.assert_allclose(over.element_minutes, [1.0, 2.0])
    assert over.any_minutes == 2.0


def test_worst_values_with_their_place():
    table = np.array([[1.0, NAN], [3.0, 3.0]])
    assert kpi.worst(table) == kpi.Extreme(value=3.0, step=1, element=0)
    assert kpi.worst(table, largest=False) == kpi.Extreme(value=1.0, step=0, element=0)
    assert kpi.worst(np.full((2, 2), NAN)).step == -1


def test_energies():
    assert kpi.energy_mwh(np.array([4.0, NAN]), 900.0) == 1.0
    assert kpi.losses_mwh(np.array([0.4]), 900.0) == pytest.approx(0.1)
    assert kpi.curtailment_mwh(np.array([2.0, 1.0]), np.array([1.0, 1.5]), 3600.0) == 1.0


def test_estimation_error():
    figures = kpi.error_figures(np.array([1.0, 2.0, NAN]), np.array([0.0, 2.0, 1.0]))
    assert (figures.rms, figures.maximum, figures.bias, figures.count) == (pytest.approx(0.5**0.5), 1.0, 0.5, 2)
    assert kpi.error_figures(np.array([NAN]), np.array([1.0])).count == 0


def test_market_figures_count_everything_once():
    statement = settle("s", a_verification([1.0] * 4), RESERVE)
    figures = kpi.flexibility([RESERVE, RESERVE], [statement])
    assert (figures.reserved_up_mwh, figures.delivered_mwh, figures.success_share) == (1.0, 1.0, 1.0)
    paid = kpi.payments_eur([statement, statement])
    assert paid == {"ams": 102.0, "dms": -102.0}


def test_liquidity():
    assert kpi.liquidity({"a": 1.0, "b": 1.0}, 0.5) == kpi.Liquidity(offered_to_needed=4.0, hhi=5000.0)
    empty = kpi.liquidity({}, 0.0)
    assert empty.offered_to_needed == float("inf")
    assert np.isnan(empty.hhi)


def test_duration_curve():
    np.testing.assert_allclose(kpi.duration_curve(np.array([1.0, NAN, 3.0])), [3.0, 1.0])
