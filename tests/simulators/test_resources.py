"""The resources inside mosaik."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import mosaik
import mosaik_api_v3
import pytest

from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.errors import ProblemsError
from heila_mosaik.simulators.resources import OUTPUTS, Simulator, specification

START = datetime(2016, 6, 1, tzinfo=UTC)
SPECS = {
    "bat": {"kind": "battery", "p_max_mw": 0.5, "s_max_mva": 0.6, "energy_mwh": 1.0},
    "sun": {"kind": "pv", "p_rated_mw": 0.4, "s_max_mva": 0.4, "profile": "PV1"},
    "cars": {"kind": "ev", "chargers": 5, "sessions_per_day": 20},
}


def make():
    sim = Simulator()
    sim.init("R-0", 1.0, start=START.isoformat(), step_size=60, seed=4)
    sim.create(1, "Resources", resources=SPECS)
    return sim


def signal(p_mw, start_min, stop_min):
    return ControlSignal(
        id="c",
        target="bat",
        start=START + timedelta(minutes=start_min),
        stop=START + timedelta(minutes=stop_min),
        p_mw=p_mw,
    )


def test_latest_valid_set_point_applies_and_ends():
    sim, powers = make(), []
    plan = {
        "id": "p",
        "target": "bat",
        "start": START.isoformat(),
        "stop": signal(0, 0, 15).stop.isoformat(),
        "p_mw": 0.1,
    }
    for k in range(20):
        controls = {0: [plan], 5: [signal(-0.3, 5, 10)]}.get(k, [])
        sim.step(60 * k, {"Resources-0": {"controls": {"a": controls}, "profiles": {"b": [None, 0.5, None]}}}, 60)
        data = sim.get_data({"bat": ["P[MW]"], "Resources-0": list(OUTPUTS)})
        powers.append(data["bat"]["P[MW]"])
        assert data["Resources-0"]["P[MW]"][1] == pytest.approx(-0.2)
    assert powers == pytest.approx([0.1] * 5 + [-0.3] * 5 + [0.1] * 5 + [0.0] * 5)


def test_measurements_name_the_resources():
    sim = make()
    sim.step(0, {}, 60)
    seen = sim.get_data({"Resources-0": ["measurements"]})["Resources-0"]["measurements"][0]
    assert seen.value("bat", Quantity.STATE_OF_CHARGE) == pytest.approx(50.0, abs=0.01)
    assert seen.value("sun", Quantity.STATE_OF_CHARGE) is None


class Source(mosaik_api_v3.Simulator):
    def __init__(self):
        super().__init__(
            {
                "api_version": "3.0",
                "type": "time-based",
                "models": {"S": {"public": True, "params": [], "attrs": ["sun", "P[MW]"]}},
            }
        )
        self.seen = []

    def init(self, sid, time_resolution=1.0):
        return self.meta

    def create(self, num, model):
        return [{"eid": "s", "type": model}]

    def step(self, time, inputs, max_advance):
        self.seen.append(inputs.get("s", {}).get("P[MW]"))
        return time + 60

    def get_data(self, outputs):
        return {"s": {"sun": 700.0}}


def test_runs_in_a_world():
    world = mosaik.World(
        {"R": {"python": "heila_mosaik.simulators.resources:Simulator"}, "S": {"python": f"{__name__}:Source"}},
        cache=False,
    )
    with world:
        bulk = world.start("R", start=START.isoformat()).Resources(resources=SPECS)
        source = world.start("S").S()
        world.connect(source, bulk, ("sun", "irradiance[W/m2]"))
        world.connect(bulk.children[1], source, "P[MW]", time_shifted=True, initial_data={"P[MW]": 0.0})
        world.run(until=300, print_progress=False)


def test_unknown_kind_and_field():
    with pytest.raises(ProblemsError, match="use one of battery"):
        specification("x", {"kind": "batery"})
    with pytest.raises(ProblemsError, match="BatterySpec"):
        specification("x", {"kind": "battery", "pmax": 1})


def test_exogenous_mapping_goes_by_profile_name():
    sim = make()
    sim.step(0, {"Resources-0": {"exogenous": {"p": {"PV1": 0.25, "temperature_c": 3.0}}}}, 60)
    assert sim.get_data({"sun": ["P[MW]"]})["sun"]["P[MW]"] == pytest.approx(-0.1)


def test_meta_is_not_shared():
    assert make().meta["models"] is not make().meta["models"]
