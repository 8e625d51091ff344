"""Reinforcement: annuity, systems for a current, and where a voltage is cured."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.reinforcement import Branches, annuity, cure_voltage, path, systems_for


@given(capital=st.floats(1.0, 1e7), years=st.integers(1, 60), interest=st.floats(1e-4, 0.2))
def test_annuity_pays_the_capital_back(capital, years, interest):
    payment = annuity(capital, years, interest)
    value = sum(payment / (1.0 + interest) ** year for year in range(1, years + 1))
    assert value == pytest.approx(capital, rel=1e-9)


def test_annuity_without_interest():
    assert annuity(1000.0, 40.0, 0.0) == 25.0


@pytest.mark.parametrize(
    ("loading", "systems"), [(99.0, 0), (100.0, 0), (101.0, 1), (200.0, 1), (201.0, 2), (np.nan, 0)]
)
def test_an_overloaded_branch_gets_the_systems_its_current_asks_for(loading, systems):
    assert systems_for(np.array([loading]), np.array([100.0])) == ({0: systems} if systems else {})


LINE = Branches(
    from_bus=np.array([0, 1, 2, 3]), to_bus=np.array([1, 2, 3, 0]), cost_eur=np.array([1e5, 1e5, 1e5, 1e5]),
    closed=[True, True, True, False],
)  # fmt: skip


def test_the_path_follows_closed_branches():
    assert path(LINE, 3, [0]) == (2, 1, 0)
    assert path(LINE, 0, [0]) == ()


def test_a_voltage_is_cured_where_it_changes_most_per_euro():
    voltages = np.array([1.0, 1.01, 1.05, 1.06])
    assert cure_voltage(LINE, voltages, 3, [0]) == 1
    dear = Branches(
        from_bus=LINE.from_bus, to_bus=LINE.to_bus, cost_eur=np.array([1e5, 9e5, 1e5, 1e5]), closed=LINE.closed
    )
    assert cure_voltage(dear, voltages, 3, [0]) == 0
    assert cure_voltage(LINE, voltages, 0, [0]) is None
