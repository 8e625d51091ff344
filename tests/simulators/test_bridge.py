from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.samplehold import Sample
from heila_mosaik.simulators import resources
from heila_mosaik.simulators.bridge import Binding, Bound, Iec104Bridge

START = datetime(2016, 8, 22, tzinfo=UTC)
P, Q, SOC, CB = Quantity.ACTIVE_POWER, Quantity.REACTIVE_POWER, Quantity.STATE_OF_CHARGE, Quantity.BREAKER
SPECS = {
    "der": {"kind": "battery", "p_max_mw": 0.5, "s_max_mva": 0.6, "energy_mwh": 1.0},
    "rest": {"kind": "load", "p_mw": 0.2},
    "far": {"kind": "battery", "p_max_mw": 0.5, "s_max_mva": 0.6, "energy_mwh": 1.0},
}
BINDING = Binding(
    resources={"der": Bound(element="der"), "rest": Bound(element="lab", less=("der",))}, breakers=("cb",)
)


def _good(value: float) -> Sample:
    return Sample(value=value, quality=Quality.GOOD, age_s=0.5)


class Lab:
    """Equipment that measures what the test says and keeps what it was ordered."""

    def __init__(self):
        self.slots = {("der", P): _good(0.3), ("der", Q): _good(-0.1), ("lab", P): _good(0.37), ("cb", CB): _good(1.0)}
        self.orders = []

    def order(self, now, signals):
        self.orders += [(now, one.target) for one in signals]

    def sample(self, now):
        return dict(self.slots)


@pytest.fixture
def lab():
    return Lab()


@pytest.fixture
def bridge(lab):
    simulator = Iec104Bridge()
    simulator.init("bridge", start=START, step_size=60, equipment=lab, binding=BINDING)
    simulator.create(1, "Resources", resources=SPECS)
    return simulator


def _step(bridge, time=0, controls=()):
    bridge.step(time, {"Resources-0": {"controls": {"host": list(controls)}}}, 60)
    names = [*resources.OUTPUTS, "names", "quality", "age[s]", "switching"]
    found = bridge.get_data({"Resources-0": names})["Resources-0"]
    return {name: dict(zip(found["names"], found[name], strict=True)) for name in names[:-1]} | {
        "out": found["switching"]
    }


def _signal(target, **values):
    return ControlSignal(id="s", target=target, start=START, stop=START + timedelta(hours=1), **values)


def test_it_has_every_attribute_of_the_resources_it_replaces():
    plain, bridge = resources.Simulator().meta["models"], Iec104Bridge().meta["models"]
    for model, entry in plain.items():
        assert set(entry["attrs"]) <= set(bridge[model]["attrs"])
        assert entry["params"] == bridge[model]["params"]


def test_measured_powers_stand_in_the_place_of_simulated_ones(bridge):
    found = _step(bridge)
    assert found["P[MW]"]["der"] == 0.3
    assert found["Q[MVar]"]["der"] == -0.1
    assert found["P[MW]"]["far"] == 0.0
    assert found["age[s]"] == {"der": 0.5, "rest": 0.5, "far": 0.0}


def test_the_plain_load_is_what_the_measured_units_leave(bridge):
    assert _step(bridge)["P[MW]"]["rest"] == pytest.approx(0.07)


def test_the_model_follows_the_measured_power(bridge):
    before = _step(bridge)["soc[%]"]["der"]
    after = [_step(bridge, 60 * k)["soc[%]"]["der"] for k in range(1, 61)][-1]
    assert after - before == pytest.approx(100 * 0.3 * 0.95, abs=0.05)  # an hour of 0.3 MW into 1 MWh at 95 %


def test_a_measured_state_of_charge_wins_over_the_model(bridge, lab):
    lab.slots["der", SOC] = _good(77.0)
    assert _step(bridge)["soc[%]"]["der"] == 77.0


def test_bad_quality_is_passed_on_and_the_value_held(bridge, lab):
    lab.slots["lab", P] = Sample(value=0.37, quality=Quality.INVALID, age_s=30.0)
    found = _step(bridge)
    assert (found["quality"]["der"], found["quality"]["rest"]) == (Quality.GOOD, Quality.INVALID)
    assert found["P[MW]"]["rest"] == pytest.approx(0.07)
    assert found["age[s]"]["rest"] == 30.0


def test_a_value_that_never_came_leaves_the_resource_to_its_model(bridge, lab):
    lab.slots["der", P] = Sample(value=math.nan, quality=Quality.MISSING, age_s=math.inf)
    found = _step(bridge)
    assert found["P[MW]"]["der"] == 0.0
    assert found["quality"]["der"] is Quality.MISSING


def test_orders_go_to_the_equipment_and_only_there(bridge, lab):
    found = _step(bridge, 0, [_signal("der", p_mw=0.5), _signal("far", p_mw=0.25), _signal("cb", closed=False)])
    assert [target for _, target in lab.orders] == ["der", "cb"]
    assert found["P[MW]"]["der"] == 0.3
    assert found["P[MW]"]["far"] == 0.25
    assert found["out"] == []


def test_the_grid_hears_of_a_breaker_when_it_has_moved(bridge, lab):
    assert _step(bridge)["out"] == []
    lab.slots["cb", CB] = _good(0.0)
    (told,) = _step(bridge, 60)["out"]
    assert (told.target, told.closed, told.start) == ("cb", False, START + timedelta(minutes=1))
    assert _step(bridge, 120)["out"] == []
    lab.slots["cb", CB] = Sample(value=math.nan, quality=Quality.INVALID, age_s=math.inf)
    assert _step(bridge, 180)["out"] == []


def test_a_binding_to_nothing_is_refused(lab):
    simulator = Iec104Bridge()
    simulator.init("b", start=START, equipment=lab, binding=Binding(resources={"nobody": Bound(element="nobody")}))
    with pytest.raises(ValueError, match="nobody"):
        simulator.create(1, "Resources", resources=SPECS)
