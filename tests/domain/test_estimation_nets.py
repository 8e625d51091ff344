"""State estimation against pandapower's WLS on other nets: currents, meshes, open lines, two slacks."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import pytest
from pandapower.estimation import estimate as pp_estimate

from heila_mosaik.domain.estimation import Estimator, Prior
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.gridmodel import compile_net
from tests.domain.test_estimation import P, Q, V, message

CURRENT = Quantity.CURRENT


def feeder():
    return pn.case33bw()


def meshed():
    net = pn.create_cigre_network_mv()
    net.switch.loc[:, "closed"] = True
    return net


def open_line():
    net = pn.create_cigre_network_mv()
    pp.create_switch(net, bus=int(net.line.to_bus.at[8]), element=8, et="l", closed=False)
    return net


def two_slacks():
    net = pn.create_cigre_network_mv()
    pp.create_ext_grid(net, 8, vm_pu=0.95, va_degree=-151.0)
    net.switch.loc[:, "closed"] = True
    return net


def truth_and_points(net, rng):
    engine = compile_net(net)
    given = engine.default_input()
    state = engine.solve(given)
    points = []
    for row, bus in enumerate(engine.network.bus_ids.tolist()):
        if row % 7 == 1:
            points.append((f"bus.{bus}", V, state.vm_pu[row], 0.002))
    for row, line in enumerate(engine.network.lines.ids.tolist()):
        if not state.line_i_from_ka[row] > 1e-6:
            continue
        if row % 4 == 0:
            for kind, value in ((P, state.line_p_from_mw[row]), (Q, state.line_q_from_mvar[row])):
                points.append((f"line.{line}", kind, value, 0.01 * abs(value) + 1e-3))
        elif row % 4 == 2:
            points.append((f"line.{line}", CURRENT, state.line_i_from_ka[row], 0.01 * state.line_i_from_ka[row] + 1e-4))
    points = [(e, k, v + s * rng.standard_normal(), s) for e, k, v, s in points]
    loads = engine.network.loads
    p, q = given.load_p_mw, given.load_q_mvar
    sp, sq = 0.3 * np.abs(p) + 1e-3, 0.3 * np.abs(q) + 1e-3
    prior = Prior(
        names=tuple(f"load.{key}" for key in loads.ids), bus=loads.bus, p_mw=p + sp * rng.standard_normal(len(p)),
        q_mvar=q + sq * rng.standard_normal(len(q)), sigma_p_mw=sp, sigma_q_mvar=sq, ext_vm_pu=given.ext_vm_pu,
        ext_sigma_pu=np.full(len(given.ext_vm_pu), 0.01),
    )  # fmt: skip
    return engine, prior, points


def wls(net, engine, prior, points):
    """The same measurements and pseudo-measurements for pandapower; buses without injection carry exactly nothing."""
    ids = engine.network.bus_ids
    for element, quantity, value, sigma in points:
        table, key = element.split(".")
        kind = {P: "p", Q: "q", V: "v", CURRENT: "i"}[quantity]
        pp.create_measurement(net, kind, table, value, sigma, int(key), side=None if table == "bus" else "from")
    slack = {int(bus): row for row, bus in enumerate(net.ext_grid.bus)}
    for bus, row in slack.items():
        pp.create_measurement(net, "v", "bus", prior.ext_vm_pu[row], prior.ext_sigma_pu[row], bus)
    for kind, mean, sigma in (("p", prior.p_mw, prior.sigma_p_mw), ("q", prior.q_mvar, prior.sigma_q_mvar)):
        total = np.bincount(prior.bus, mean, len(ids))
        spread = np.sqrt(np.bincount(prior.bus, sigma**2, len(ids)))
        for row, bus in enumerate(ids.tolist()):
            if bus not in slack:
                pp.create_measurement(net, kind, "bus", total[row], spread[row] if spread[row] > 0 else 1e-5, bus)
    pp_estimate(net, init="flat", tolerance=1e-10, maximum_iterations=50, zero_injection=None)
    return net.res_bus_est.vm_pu.loc[ids].to_numpy()


@pytest.mark.parametrize("make", [feeder, meshed, open_line, two_slacks])
def test_agrees_with_pandapower(make):
    net = make()
    engine, prior, points = truth_and_points(net, np.random.default_rng(4))
    ours = Estimator(engine, prior.names, prior.bus).estimate(prior, message(points))
    theirs = wls(net, engine, prior, points)
    assert {kind for _, kind, _, _ in points} == {P, Q, V, CURRENT}
    assert not ours.suspects
    live = np.isfinite(ours.state.vm_pu)
    assert np.abs(ours.state.vm_pu - theirs)[live].max() < 1e-6
