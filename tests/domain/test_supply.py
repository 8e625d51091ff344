"""Interruption indices of IEEE 1366 on cases worked by hand."""

import numpy as np
import pytest

from heila_mosaik.domain.supply import not_supplied_mwh, reliability


def test_momentary_and_sustained_interruptions_are_told_apart():
    supplied = np.ones((120, 3), bool)
    supplied[10:15, 0] = False  # 5 min: momentary
    supplied[10:16, 1] = False  # 6 min: sustained
    supplied[50:80, 1] = False  # 30 min: a second one
    found = reliability(supplied, np.array([100.0, 50.0, 850.0]), 60.0)
    assert found.saifi == pytest.approx(100 / 1000)
    assert found.saidi_min == pytest.approx(50 * 36 / 1000)
    assert found.caidi_min == pytest.approx(18.0)
    assert found.maifi == pytest.approx(0.1)
    assert found.customer_minutes == pytest.approx(100 * 5 + 50 * 36)
    assert found.worst_customers == 150


def test_nobody_out_and_everybody_out():
    customers = np.array([2.0, 3.0])
    quiet = reliability(np.ones((4, 2), bool), customers, 900.0)
    assert (quiet.saifi, quiet.saidi_min, quiet.worst_customers) == (0.0, 0.0, 0.0)
    assert np.isnan(quiet.caidi_min)
    dark = reliability(np.zeros((4, 2), bool), customers, 900.0)
    assert (dark.saifi, dark.saidi_min, dark.worst_customers) == (1.0, 60.0, 5.0)


def test_energy_counts_only_unserved_demand():
    demand = np.array([[1.0, -0.5], [2.0, 3.0]])
    supplied = np.array([[False, False], [True, False]])
    assert not_supplied_mwh(demand, supplied, 900.0) == pytest.approx((1.0 + 3.0) / 4)
