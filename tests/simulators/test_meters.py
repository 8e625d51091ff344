"""Meters: sign, sums, noise."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import numpy as np
import pytest

from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.simulators.meters import Controller, Meters, Terminals

START = datetime(2016, 6, 1, tzinfo=UTC)
NAMES = ("bat", "sun", "house")
COLUMNS = {
    "P[MW]": [0.5, -0.3, 0.2],
    "Q[MVar]": [0.1, -0.05, 0.02],
    "soc[%]": [60.0, math.nan, math.nan],
    "P_min[MW]": [-1.0, -0.3, 0.2],
    "P_max[MW]": [1.0, 0.0, 0.2],
}


def make(noise=0.0, seed=1, order=(0, 1)):
    controllers = (
        Controller(name="cems_a", microgrid="a", positions=(0, 1), breakers=("a_pcc",)),
        Controller(name="ied_house", microgrid="b", positions=(2,)),
    )
    sim = Meters()
    sim.init(
        "M-0",
        resources=NAMES,
        controllers=[controllers[k] for k in order],
        terminals=Terminals(
            table=("storage", "sgen", "load"), row=(0, 1, 2), sizes={"load": 3, "sgen": 2, "storage": 1}
        ),
        start=START,
        step_s=60,
        noise=noise,
        seed=seed,
    )
    sim.create(1, "Meters")
    return sim


def read(sim, *attributes, time=0):
    sim.step(time, {"meters": {name: {"r": values} for name, values in COLUMNS.items()}}, time + 60)
    return sim.get_data({"meters": list(attributes)})["meters"]


def test_generation_flips_its_sign_only_on_the_way_to_the_grid():
    found = read(make(), "load_P[MW]", "sgen_P[MW]", "storage_P[MW]", "sgen_Q[MVar]")
    assert found == {
        "load_P[MW]": [0.0, 0.0, 0.2],
        "sgen_P[MW]": [0.0, 0.3],
        "storage_P[MW]": [0.5],
        "sgen_Q[MVar]": [0.0, 0.05],
    }


def test_points_of_common_coupling_sum_their_resources():
    found = read(make(), "pcc_P[MW]", "pcc_Q[MVar]", "pcc")
    assert found["pcc_P[MW]"] == pytest.approx([0.2, 0.2])
    assert found["pcc_Q[MVar]"] == pytest.approx([0.05, 0.02])
    assert found["pcc"]["a", Quantity.ACTIVE_POWER] == pytest.approx(0.2)


def test_controllers_see_their_own_resources_only():
    seen = read(make(), "measurements")["measurements"]
    assert set(seen["cems_a"].elements) == {"bat", "sun", "a_pcc"}
    assert seen["ied_house"].value("house", Quantity.ACTIVE_POWER) == 0.2
    assert seen["cems_a"].value("bat", Quantity.STATE_OF_CHARGE) == 60.0
    assert seen["cems_a"].value("a_pcc", Quantity.BREAKER) == 1.0
    assert seen["cems_a"].value("sun", Quantity.STATE_OF_CHARGE) is None
    assert seen["cems_a"].qualities.count(Quality.MISSING) == 1
    assert seen["cems_a"].at == START


def test_noise_has_the_declared_size_and_a_stream_per_controller():
    def readings(order):
        sim = make(noise=0.01, order=order)
        return [
            read(sim, "measurements", time=60 * k)["measurements"]["cems_a"].value("bat", Quantity.ACTIVE_POWER)
            for k in range(400)
        ]

    values = readings((0, 1))
    assert values == readings((1, 0))
    assert np.std(values) == pytest.approx(0.005, rel=0.15)
    assert np.mean(values) == pytest.approx(0.5, abs=0.001)


def test_there_is_one_entity():
    with pytest.raises(ValueError, match="exactly one"):
        make().create(2, "Meters")
