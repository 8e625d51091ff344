"""The Grid simulator in use, without a world."""

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

from benchmarks.grid_step import make_day, run_ours_by_element, run_ours_by_vector, run_peer
from heila_mosaik.simulators.grid import DivergedError, GridSimulator


def started(**params):
    simulator = GridSimulator()
    simulator.init("Grid", time_resolution=1.0, step_size=60)
    net = nw.create_cigre_network_mv()
    simulator.create(1, "Grid", net=net, **params)
    return simulator, net


def test_scalar_inputs_sum_and_agree_with_pandapower():
    simulator, net = started()
    following = simulator.step(0, {"Load-0": {"P[MW]": {"a": 5.0, "b": 2.0}}}, 60)
    assert following == 60
    assert type(following) is int
    net.load.loc[0, "p_mw"] = 7.0
    pp.runpp(net)
    data = simulator.get_data({"Bus-5": ["Vm[pu]"], "Grid-0": ["Vm[pu]", "line_loading[%]", "converged"]})
    assert data["Bus-5"]["Vm[pu]"] == pytest.approx(net.res_bus.vm_pu[5], abs=1e-6)
    np.testing.assert_allclose(data["Grid-0"]["line_loading[%]"], net.res_line.loading_percent, atol=1e-3)
    assert data["Grid-0"]["converged"] is True


@pytest.mark.parametrize("policy", ["stop", "hold", "skip"])
def test_divergence_follows_the_policy(policy, tmp_path):
    simulator, _net = started(on_divergence=policy, failed_folder=str(tmp_path))
    simulator.step(0, {}, 60)
    before = simulator.get_data({"Grid-0": ["Vm[pu]"]})["Grid-0"]["Vm[pu]"]
    bad = {"Load-0": {"P[MW]": {"a": 1e6}}}
    if policy == "stop":
        with pytest.raises(DivergedError, match=r"load\.0"):
            simulator.step(60, bad, 120)
    else:
        simulator.step(60, bad, 120)
        after = simulator.get_data({"Grid-0": ["Vm[pu]", "diverged_count"]})["Grid-0"]
        assert after["diverged_count"] == 1
        assert np.isnan(after["Vm[pu]"]).all() if policy == "skip" else after["Vm[pu]"] == before
    assert (tmp_path / "step-60" / "net.json").is_file()


def test_in_a_world_both_wirings_agree_with_the_peer():
    pytest.importorskip("mosaik_components.pandapower")
    day = make_day(nw.create_cigre_network_mv(with_der="pv_wind"), steps=3)
    _seconds, truth = run_peer(day, 3)
    for run in (run_ours_by_vector, run_ours_by_element):
        _seconds, volts = run(day, 3)
        assert volts.shape == (3, 15)
        np.testing.assert_allclose(volts, truth, rtol=0, atol=1e-6)
