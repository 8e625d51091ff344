"""Profiles: values between the points, windows, followers."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from heila_mosaik.domain.profiles import Follower, ProfileTable
from heila_mosaik.domain.timegrid import TimeGrid

START = datetime(2016, 1, 1, tzinfo=UTC)
TABLE = ProfileTable(
    grid=TimeGrid(start=START, step_s=900, count=4),
    names=("a", "b"),
    values=np.array([[0.0, 1.0], [1.0, 1.0], [0.5, 3.0], [0.0, 0.0]]),
)


def test_linear_between_points_and_held_at_the_end():
    assert TABLE.at(START).tolist() == [0, 1]
    assert TABLE.at(START + timedelta(minutes=22, seconds=30)).tolist() == [0.75, 2]
    assert TABLE.at(START + timedelta(minutes=59)).tolist() == [0, 0]


@pytest.mark.parametrize("minutes", [-1, 60])
def test_outside_the_table_is_an_error_that_names_the_range(minutes):
    with pytest.raises(ValueError, match="profiles cover"):
        TABLE.at(START + timedelta(minutes=minutes))


def test_window_means():
    assert TABLE.window(START, 1800, 2).tolist() == [[0.5, 1], [0.25, 1.5]]
    assert TABLE.window(START, 300, 2).tolist() == [[0, 1], [0, 1]]


def test_followers_scale_their_rating():
    follower = Follower(rating=np.array([2.0, 4.0, 5.0]), column=np.array([1, 0, -1]))
    assert follower.power(np.array([0.5, 3.0])).tolist() == [6, 2, 5]
    assert follower.power(TABLE.values).shape == (4, 3)
