"""Control signals that reach the grid."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

from heila_mosaik.domain.codec import to_json_dict
from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.errors import ProblemsError
from heila_mosaik.simulators.grid import GridSimulator

START = datetime(2016, 6, 1, tzinfo=UTC)


def signal(target, begin_s=0, **values):
    start = START + timedelta(seconds=begin_s)
    return ControlSignal(id=f"dms/control/{target}", target=target, start=start, stop=start + timedelta(1), **values)


@pytest.fixture
def net():
    net = nw.create_cigre_network_mv()
    pp.create_shunt(net, 5, q_mvar=-0.5, step=0, max_step=3)
    bus = pp.create_bus(net, 20.0)
    pp.create_load(net, bus, 1.0, 0.2)
    pp.create_switch(net, 8, bus, "b", type="CB")
    return net


@pytest.fixture
def grid(net):
    simulator = GridSimulator()
    simulator.init("Grid", step_size=60, start=START)
    breaker = int(net.switch.index[-1])
    observed = (f"switch.{breaker}", "trafo.0", "shunt.0", "line.4")
    simulator.create(1, "Grid", net=net, breakers={"farm_pcc": breaker}, observed=observed)
    return simulator


def step(simulator, time, *signals):
    simulator.step(time, {"Grid-0": {"controls": {"host": list(signals)}}}, time + 60)
    return simulator.get_data({"Grid-0": ["Vm[pu]", "positions"]})["Grid-0"]


def test_every_kind_of_command_moves_its_element(grid, net):
    data = step(
        grid,
        0,
        signal("farm_pcc", closed=False),
        signal("trafo.0", position=2),
        signal("shunt.0", position=2),
        signal("line.4", closed=False),
        signal("some_battery", p_mw=1.0),
        to_json_dict(signal("load.3", closed=False)),
    )
    net.switch.loc[net.switch.index[-1], "closed"] = False
    net.trafo.loc[0, "tap_pos"] = 2
    net.shunt.loc[0, "step"] = 2
    net.line.loc[4, "in_service"] = False
    net.load.loc[3, "in_service"] = False
    pp.runpp(net, numba=False)
    np.testing.assert_allclose(data["Vm[pu]"], net.res_bus.vm_pu, rtol=0, atol=1e-7)
    assert list(data["positions"].values()) == [0.0, 2.0, 2.0, 0.0]
    assert np.isnan(data["Vm[pu]"][-1])


def test_commands_wait_for_their_start_and_positions_hold(grid):
    before = step(grid, 0, signal("trafo.0", begin_s=60, position=1))["positions"]["trafo.0"]
    after = [step(grid, time)["positions"]["trafo.0"] for time in (60, 120, 180)]
    assert before != 1.0
    assert after == [1.0, 1.0, 1.0]


def test_wrong_commands_are_named_together_and_nothing_moves(grid):
    with pytest.raises(ProblemsError) as caught:
        step(grid, 0, signal("switch.99", closed=True), signal("trafo.0"), signal("switch.x", closed=True))
    assert len(caught.value.problems) == 3
    assert step(grid, 60)["positions"]["trafo.0"] != 2.0
