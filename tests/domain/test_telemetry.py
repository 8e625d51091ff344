"""Measuring: noise as declared, delay, dropout, handed values, determinism."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower.networks as pn
import pytest

from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.telemetry import MeasurementModel, MeasurementPoint, standard_points
from heila_mosaik.errors import ProblemsError
from heila_mosaik.gridmodel import compile_net

NOW = datetime(2026, 1, 15, tzinfo=UTC)


@pytest.fixture(scope="module")
def grid():
    engine = compile_net(pn.create_cigre_network_mv())
    return engine.network, engine.solve(engine.default_input())


def model(network, **changes):
    points = standard_points(network, ("trafo.0", "line.0"), ("north",))
    return MeasurementModel(network, "sau", points, np.random.default_rng(3), **changes)


HANDED = {("north", Quantity.ACTIVE_POWER): 0.7, ("north", Quantity.REACTIVE_POWER): 0.1}


def test_noise_has_the_declared_deviation(grid):
    network, state = grid
    meter = model(network)
    taken = np.array([meter.measure(NOW + timedelta(minutes=k), state, HANDED).values for k in range(2000)])
    message = meter.measure(NOW + timedelta(days=3), state, HANDED)
    truth = {"bus.1": state.vm_pu[1], "north": 0.7}
    for k, point in enumerate(meter.points):
        if point.element in truth and point.quantity in (Quantity.VOLTAGE, Quantity.ACTIVE_POWER):
            assert taken[:, k].mean() == pytest.approx(truth[point.element], rel=1e-3)
            assert taken[:, k].std() == pytest.approx(message.sigmas[k], rel=0.1)


def test_delay_is_whole_cycles_and_age(grid):
    network, state = grid
    meter = model(network, delay_s=120.0, period_s=60.0)
    qualities = []
    for k in range(4):
        message = meter.measure(NOW + timedelta(minutes=k), state, HANDED)
        qualities.append(message.qualities[0])
    assert qualities == [Quality.MISSING, Quality.MISSING, Quality.GOOD, Quality.GOOD]
    assert message.ages_s[0] == 120.0
    short = model(network, delay_s=1.0).measure(NOW, state, HANDED)
    assert short.ages_s[0] == 1.0
    assert short.qualities[0] is Quality.GOOD


def test_dropout_repeats_the_last_value_then_goes_missing(grid):
    network, state = grid
    meter = model(network, dropout=0.5, hold_s=120.0)
    seen = [meter.measure(NOW + timedelta(minutes=k), state, HANDED) for k in range(60)]
    qualities = [quality for message in seen for quality in message.qualities]
    assert {Quality.GOOD, Quality.QUESTIONABLE, Quality.MISSING} <= set(qualities)
    for message in seen:
        for value, quality in zip(message.values, message.qualities, strict=True):
            assert np.isnan(value) == (quality is Quality.MISSING)


def test_same_generator_same_values(grid):
    network, state = grid
    assert model(network).measure(NOW, state, HANDED) == model(network).measure(NOW, state, HANDED)


def test_handed_points_are_listed_and_wrong_ones_named(grid):
    network, _ = grid
    assert model(network).handed == (("north", Quantity.ACTIVE_POWER), ("north", Quantity.REACTIVE_POWER))
    wrong = (
        MeasurementPoint(element="line.77", quantity=Quantity.ACTIVE_POWER),
        MeasurementPoint(element="bus.1", quantity=Quantity.VOLTAGE, relative=-0.1),
    )
    with pytest.raises(ProblemsError) as caught:
        MeasurementModel(network, "sau", wrong, np.random.default_rng(1))
    assert len(caught.value.problems) == 2
