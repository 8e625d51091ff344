"""Profiles: values of a step, between the points of the table, for grid and resources."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from heila_mosaik.domain.profiles import Follower, ProfileTable
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.simulators.profiles import Profiles

START = datetime(2016, 6, 1, tzinfo=UTC)


def make(start=START):
    table = ProfileTable(
        grid=TimeGrid(start=START, step_s=900, count=3),
        names=("H0", "PV1"),
        values=np.array([[0.2, 0.0], [0.4, 1.0], [0.6, 0.5]]),
    )
    follower = Follower(rating=np.array([10.0, 2.0, 3.0]), column=np.array([0, 1, -1]))
    sim = Profiles()
    sim.init("P-0", table=table, followers={"load_P[MW]": follower}, start=start, step_s=60)
    sim.create(1, "Profiles")
    return sim


@pytest.mark.parametrize(("time", "load"), [(0, [2.0, 0.0, 3.0]), (450, [3.0, 1.0, 3.0]), (900, [4.0, 2.0, 3.0])])
def test_values_lie_on_the_line_between_the_points(time, load):
    sim = make()
    assert sim.step(time, {}, time) == time + 60
    found = sim.get_data({"profiles": ["load_P[MW]", "exogenous"]})["profiles"]
    assert found["load_P[MW]"] == pytest.approx(load)
    assert found["exogenous"]["H0"] == pytest.approx(load[0] / 10.0)


def test_a_start_inside_the_table_and_steps_beyond_it():
    sim = make(START + timedelta(minutes=15))
    sim.step(0, {}, 0)
    assert sim.get_data({"profiles": ["exogenous"]})["profiles"]["exogenous"] == {"H0": 0.4, "PV1": 1.0}
    with pytest.raises(ValueError, match="profiles cover"):
        sim.step(86400, {}, 86400)
