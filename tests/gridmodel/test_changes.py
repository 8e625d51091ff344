"""Switches, taps and capacitor banks moved one by one against pandapower's solution of the changed net."""

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

from heila_mosaik.errors import ProblemsError
from heila_mosaik.gridmodel import compile_net


def agree(engine, net):
    state = engine.solve(engine.default_input())
    pp.runpp(net, numba=False)
    np.testing.assert_allclose(state.vm_pu, net.res_bus.vm_pu, rtol=0, atol=1e-7)
    np.testing.assert_allclose(np.nan_to_num(state.q_bus_mvar), net.res_bus.q_mvar, rtol=0, atol=1e-5)
    np.testing.assert_allclose(
        np.nan_to_num(state.line_loading_percent), net.res_line.loading_percent.fillna(0.0), rtol=0, atol=1e-3
    )


@pytest.fixture
def net():
    net = nw.create_cigre_network_mv()
    net.load["scaling"] = 0.3
    pp.create_shunt(net, 5, q_mvar=-0.4, p_mw=0.01, step=1, max_step=4)
    pp.create_shunt(net, 8, q_mvar=-0.3, vn_kv=19.0, step=0, max_step=3)
    pp.create_shunt(net, 8, q_mvar=0.2, step=1, max_step=2)
    # line 3 starts out of service and comes back: its ends were compiled as disconnected
    net.line.loc[3, "in_service"] = False
    return net


def test_random_sequence_of_changes_follows_pandapower(net):
    engine, rng = compile_net(net), np.random.default_rng(4)
    net.trafo["tap_pos"] = net.trafo.tap_pos.astype(float)
    for _ in range(20):
        shunt, step = int(rng.integers(3)), int(rng.integers(0, 4))
        engine.set_shunt_step(shunt, step)
        net.shunt.loc[shunt, "step"] = step
        switches = {int(s): bool(rng.random() < 0.7) for s in rng.choice(net.switch.index, 2, replace=False)}
        engine.set_switches(switches)
        for switch, closed in switches.items():
            net.switch.loc[switch, "closed"] = closed
        line, on = int(rng.integers(3, 6)), bool(rng.random() < 0.7)
        engine.set_in_service("line", line, on)
        net.line.loc[line, "in_service"] = on
        agree(engine, net)
        assert engine.shunt_step(shunt) == step
        assert {switch: engine.closed(switch) for switch in switches} == switches
        assert engine.in_service("line", line) == on


def test_overload_beside_a_dead_bus_is_divergence_and_no_crash():
    net = nw.create_cigre_network_mv()
    engine = compile_net(net)
    engine.set_in_service("line", 3, False)
    engine.set_in_service("line", 5, False)
    engine.set_switch(6, False)
    given = engine.default_input()
    given.load_p_mw[:] *= 20.0
    assert not engine.solve(given).converged


def test_a_copy_keeps_its_own_switches_and_steps(net):
    engine = compile_net(net)
    before = engine.solve(engine.default_input()).vm_pu
    other = engine.copy()
    other.set_shunt_step(0, 4)
    other.set_switches({1: not other.closed(1)})
    assert not np.allclose(other.solve(other.default_input()).vm_pu, before, equal_nan=True)
    np.testing.assert_array_equal(engine.solve(engine.default_input()).vm_pu, before)


def test_bus_bus_breaker_keeps_steps_and_line_switches(net):
    grid = pp.pandapowerNet(net)
    bus = pp.create_bus(grid, 20.0)
    pp.create_load(grid, bus, 0.4, 0.1)
    breaker = int(pp.create_switch(grid, 7, bus, "b"))
    engine = compile_net(grid)
    engine.set_shunt_step(1, 2)
    engine.set_switches({breaker: False, 3: True})
    grid.shunt.loc[1, "step"] = 2
    grid.switch.loc[breaker, "closed"], grid.switch.loc[3, "closed"] = False, True
    agree(engine, grid)
    engine.set_switch(breaker, True)
    grid.switch.loc[breaker, "closed"] = True
    agree(engine, grid)


@pytest.mark.parametrize("call", ["set_shunt_step", "set_switch"])
def test_unknown_elements_are_named(net, call):
    with pytest.raises(ProblemsError, match=r"(shunt|switch)\.77"):
        getattr(compile_net(net), call)(77, 1)
