"""Telemetry inside mosaik."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower.networks as pn
import pytest

from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.domain.telemetry import MeasurementModel, standard_points
from heila_mosaik.gridmodel import compile_net
from heila_mosaik.simulators.telemetry import Telemetry

START = datetime(2016, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def engine():
    return compile_net(pn.create_cigre_network_mv())


def make(engine, step_s=60, **changes):
    points = standard_points(engine.network, ("trafo.0", "line.0"), ("farm",))
    model = MeasurementModel(engine.network, "sau", points, np.random.default_rng(3), period_s=step_s, **changes)
    sim = Telemetry()
    sim.init("T-0", model=model, receiver="sau", start=START, step_s=step_s)
    sim.create(1, "Telemetry")
    return sim


def read(sim, state, time, farm):
    given = {"telemetry": {"state": {"grid": state}, "pcc": {"meters": {("farm", Quantity.ACTIVE_POWER): farm}}}}
    sim.step(time, given, time)
    return sim.get_data({"telemetry": ["measurements"]})["telemetry"]["measurements"]["sau"]


def test_the_control_centre_sees_grid_and_points_of_common_coupling_with_noise(engine):
    state, sim = engine.solve(engine.default_input()), make(engine)
    seen = [read(sim, state, 60 * k, 0.4) for k in range(200)]
    flows = [one.value("line.0", Quantity.ACTIVE_POWER) for one in seen]
    assert np.mean(flows) == pytest.approx(state.line_p_from_mw[0], rel=0.003)
    assert np.std(flows) == pytest.approx(0.01 * abs(state.line_p_from_mw[0]), rel=0.2)
    farm = [one.value("farm", Quantity.ACTIVE_POWER) for one in seen]
    assert np.mean(farm) == pytest.approx(0.4, rel=0.003)
    assert seen[1].at == START + timedelta(minutes=1)


def test_a_delay_shorter_than_the_step_brings_this_step_and_a_longer_one_an_earlier(engine):
    state = engine.solve(engine.default_input())
    for delay, wanted in ((90.0, [1.0, 2.0, 3.0]), (1000.0, [None, 1.0, 2.0])):
        sim = make(engine, step_s=900, delay_s=delay)
        got = [read(sim, state, 900 * k, float(k + 1)).value("farm", Quantity.ACTIVE_POWER) for k in range(len(wanted))]
        assert [None if value is None else round(value) for value in got] == wanted
