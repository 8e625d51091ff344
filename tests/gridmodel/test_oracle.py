"""The compiled grid against pandapower on random states of many networks."""

import numpy as np
import pandapower as pp
import pandapower.networks as nw
import pytest

from heila_mosaik.gridmodel import compile_net


def zip_net():
    net = nw.case33bw()
    net.load["const_i_p_percent"], net.load["const_z_p_percent"] = 30.0, 20.0
    net.load["const_i_q_percent"], net.load["const_z_q_percent"] = 10.0, 40.0
    return net


def two_slacks():
    net = nw.create_cigre_network_mv(with_der="pv_wind")
    pp.create_ext_grid(net, 8, vm_pu=1.0, va_degree=-150.0)
    return net


def simbench_rural():
    return pytest.importorskip("simbench").get_simbench_net("1-MV-rural--2-sw")


NETS = {
    "case33bw": nw.case33bw,
    "cigre_mv": lambda: nw.create_cigre_network_mv(with_der="pv_wind"),
    "ieee30": nw.case_ieee30,
    "oberrhein": nw.mv_oberrhein,
    "multivoltage": nw.example_multivoltage,
    "kerber": nw.create_kerber_landnetz_freileitung_1,
    "two_slacks": two_slacks,
    "zip": zip_net,
    "simbench": simbench_rural,
}


def change(net, engine, rng):
    """One random tap, one line or transformer switch and one bus-bus switch, in net and engine alike."""
    taps = net.trafo.index[net.trafo.tap_min.notna() & net.trafo.tap_max.notna() & net.trafo.tap_pos.notna()]
    if len(taps):
        trafo = int(rng.choice(taps))
        tap = int(rng.integers(net.trafo.tap_min[trafo], net.trafo.tap_max[trafo] + 1))
        net.trafo.loc[trafo, "tap_pos"] = tap
        engine.set_tap(trafo, tap)
    for kinds in (["l", "t"], ["b"]):
        rows = net.switch.index[net.switch.et.isin(kinds)]
        if len(rows):
            switch = int(rng.choice(rows))
            closed = bool(rng.random() < 0.5)
            net.switch.loc[switch, "closed"] = closed
            engine.set_switch(switch, closed)


@pytest.mark.parametrize("name", NETS)
def test_random_states_agree_with_pandapower(name):
    net = NETS[name]()
    engine, rng = compile_net(net, name), np.random.default_rng(7)
    assert engine.rung != "pandapower", engine.reason
    compared = 0
    for _ in range(6):
        given = engine.default_input()
        for field in ("load_p_mw", "load_q_mvar", "sgen_p_mw", "storage_p_mw"):
            values = getattr(given, field)
            values *= rng.uniform(0.3, 1.1, len(values))
        change(net, engine, rng)
        net.load["p_mw"], net.load["q_mvar"] = given.load_p_mw, given.load_q_mvar
        net.sgen["p_mw"], net.storage["p_mw"] = given.sgen_p_mw, given.storage_p_mw
        state = engine.solve(given)
        try:
            pp.runpp(net)
        except pp.LoadflowNotConverged:
            continue
        assert state.converged
        compared += 1
        for mine, truth, tolerance in (
            (state.vm_pu, net.res_bus.vm_pu, 1e-6),
            (state.line_loading_percent, net.res_line.loading_percent, 1e-3),
            (state.trafo_loading_percent, net.res_trafo.loading_percent, 1e-3),
            (state.trafo3w_loading_percent, net.res_trafo3w.loading_percent, 1e-3),
            (state.ext_p_mw, net.res_ext_grid.p_mw, 1e-5),
        ):
            np.testing.assert_allclose(mine, truth.to_numpy(float), rtol=0, atol=tolerance)
    assert compared >= 3
