import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.opportunity import ROUND_TRIP, WEAR_EUR_PER_MWH, break_even


def test_at_a_flat_price_only_wear_and_losses_cost():
    up, down = break_even(np.full(48, 80.0), 3600)
    assert up == pytest.approx(np.full(48, WEAR_EUR_PER_MWH + 80.0 * (1 / ROUND_TRIP - 1)))
    assert down == pytest.approx(np.full(48, WEAR_EUR_PER_MWH + 80.0 * (1 - ROUND_TRIP)))


def test_cheap_hours_are_dear_to_lower_and_cheap_to_raise():
    spot = np.tile([100.0] * 12 + [20.0] * 12, 3)
    up, down = break_even(spot, 3600)
    assert up[40] > up[30]
    assert down[40] < down[30]
    assert down[40] == pytest.approx(WEAR_EUR_PER_MWH)


@given(spot=st.lists(st.floats(-100, 300), min_size=24, max_size=72), place=st.integers(0, 71))
def test_a_seller_never_loses_by_undoing_the_move_at_the_mean(spot, place):
    prices = np.array(spot)
    up, down = break_even(prices, 3600)
    k = place % len(prices)
    first, last = max(0, k - 12), min(len(prices), k + 12)
    mean = prices[first:last].mean()
    # lower 1 MWh now, buy 1/eta back at the mean: what is left after wear is not negative
    assert up[k] + prices[k] - mean / ROUND_TRIP - WEAR_EUR_PER_MWH >= -1e-9
    # raise 1 MWh now, sell eta later at the mean
    assert down[k] - prices[k] + ROUND_TRIP * mean - WEAR_EUR_PER_MWH >= -1e-9


def test_empty():
    up, down = break_even(np.empty(0), 900)
    assert len(up) == len(down) == 0
