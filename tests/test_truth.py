"""The recorded state is the truth: pandapower's own power flow on the recorded injections gives it again."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pytest

TABLES = ("load", "sgen", "storage")


@pytest.fixture(scope="module", params=["flexibility", "baseline"])
def run(request, congested):
    return congested if request.param == "flexibility" else congested.baseline


def test_replay_through_pandapower_gives_the_recorded_state(run):
    net = pp.from_json(str(run.path / "net.json"))
    given = {(t, q): run.series(f"{t}_{q}") for t in TABLES for q in ("p_mw", "q_mvar")}
    volts, lines, trafos = (run.series(n) for n in ("bus_vm_pu", "line_loading_percent", "trafo_loading_percent"))
    source, system = run.series("ext_p_mw"), run.series("system")
    assert len(volts) == 32
    for row in (0, 5, 11, 18, 26, 31):
        for (table, quantity), frame in given.items():
            assert [int(name) for name in frame.columns] == list(net[table].index)
            net[table][quantity] = frame.iloc[row].to_numpy()
        pp.runpp(net)
        for recorded, computed, tolerance in (
            (volts, net.res_bus.vm_pu, 1e-6),
            (lines, net.res_line.loading_percent, 1e-3),
            (trafos, net.res_trafo.loading_percent, 1e-3),
            (source, net.res_ext_grid.p_mw, 1e-4),
        ):
            assert [int(name) for name in recorded.columns] == list(computed.index)
            np.testing.assert_allclose(recorded.iloc[row], computed, rtol=0, atol=tolerance)
        lost = net.res_line.pl_mw.sum() + net.res_trafo.pl_mw.sum()
        assert system.losses_mw.iloc[row] == pytest.approx(lost, abs=1e-5)
        assert system.converged.iloc[row] == 1.0


def test_resources_sit_where_the_grid_description_says(run):
    powers, pcc = run.series("resource_p_mw"), run.series("pcc_p_mw")
    placed = 0
    for microgrid in run.grid["microgrids"]:
        total = 0.0
        for resource in microgrid["resources"]:
            sign = -1.0 if resource["table"] == "sgen" else 1.0
            column = run.series(f"{resource['table']}_p_mw")[str(resource["element"])]
            np.testing.assert_allclose(sign * column, powers[resource["name"]], rtol=0, atol=1e-12)
            total = total + powers[resource["name"]]
            placed += 1
        np.testing.assert_allclose(pcc[microgrid["name"]], total, rtol=0, atol=1e-9)
    assert placed == powers.shape[1] > 10


def test_the_grid_is_balanced(run):
    """What the external grid feeds in is what all appliances draw and the grid loses."""
    drawn = run.series("load_p_mw").sum(axis=1) + run.series("storage_p_mw").sum(axis=1)
    made = run.series("sgen_p_mw").sum(axis=1)
    fed = run.series("ext_p_mw").sum(axis=1)
    np.testing.assert_allclose(fed + made - drawn, run.series("system").losses_mw, rtol=0, atol=1e-5)
