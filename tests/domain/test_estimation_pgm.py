"""State estimation against power-grid-model's Newton-Raphson estimator on a small feeder."""

from __future__ import annotations

import numpy as np
import pandapower as pp
import power_grid_model as pgm

from heila_mosaik.domain.estimation import Estimator, Prior
from heila_mosaik.gridmodel import compile_net
from tests.domain.test_estimation import P, Q, V, message

N, KV = 6, 20.0
R, X = 0.4, 0.35


def build():
    net = pp.create_empty_network()
    for _ in range(N):
        pp.create_bus(net, KV)
    pp.create_ext_grid(net, 0, vm_pu=1.02)
    for k in range(N - 1):
        pp.create_line_from_parameters(net, k, k + 1, 2.0, R, X, 0.0, 0.4)
    rng = np.random.default_rng(11)
    p, q = rng.uniform(0.3, 1.2, N - 1), rng.uniform(0.05, 0.4, N - 1)
    for k in range(N - 1):
        pp.create_load(net, k + 1, p[k], q[k])
    return compile_net(net), p, q, rng


def pgm_estimate(prior, flow, v0, v3):
    init = pgm.initialize_array
    node = init("input", "node", N)
    node["id"], node["u_rated"] = np.arange(N), KV * 1e3
    line = init("input", "line", N - 1)
    line["id"], line["from_node"], line["to_node"] = 10 + np.arange(N - 1), np.arange(N - 1), np.arange(1, N)
    line["from_status"], line["to_status"] = 1, 1
    line["r1"], line["x1"], line["c1"], line["tan1"], line["i_n"] = R * 2, X * 2, 0.0, 0.0, 400.0
    source = init("input", "source", 1)
    source["id"], source["node"], source["status"], source["u_ref"] = 20, 0, 1, 1.0
    source["sk"] = 1e18
    load = init("input", "sym_load", N - 1)
    load["id"], load["node"], load["status"], load["type"] = 30 + np.arange(N - 1), np.arange(1, N), 1, 0
    volts = init("input", "sym_voltage_sensor", 2)
    volts["id"], volts["measured_object"] = [50, 51], [0, 3]
    volts["u_measured"] = np.array([v0[0], v3[0]]) * KV * 1e3
    volts["u_sigma"] = np.array([v0[1], v3[1]]) * KV * 1e3
    power = init("input", "sym_power_sensor", N)
    power["id"] = 60 + np.arange(N)
    power["measured_object"] = [*load["id"], 10]
    power["measured_terminal_type"] = [pgm.MeasuredTerminalType.load] * (N - 1) + [pgm.MeasuredTerminalType.branch_from]
    power["p_measured"] = np.array([*prior.p_mw, flow[0]]) * 1e6
    power["q_measured"] = np.array([*prior.q_mvar, flow[1]]) * 1e6
    power["p_sigma"] = np.array([*prior.sigma_p_mw, flow[2]]) * 1e6
    power["q_sigma"] = np.array([*prior.sigma_q_mvar, flow[2]]) * 1e6
    model = pgm.PowerGridModel(
        {"node": node, "line": line, "source": source, "sym_load": load, "sym_voltage_sensor": volts,
         "sym_power_sensor": power}
    )  # fmt: skip
    result = model.calculate_state_estimation(
        calculation_method=pgm.CalculationMethod.newton_raphson, error_tolerance=1e-10, max_iterations=50
    )
    return result["node"]["u_pu"]


def test_agrees_with_power_grid_model():
    engine, p, q, rng = build()
    given = engine.default_input()
    state = engine.solve(given)
    sp, sq = 0.3 * p, 0.3 * q
    prior = Prior(
        names=tuple(f"load.{k}" for k in range(N - 1)), bus=engine.network.loads.bus,
        p_mw=p + sp * rng.standard_normal(N - 1), q_mvar=q + sq * rng.standard_normal(N - 1), sigma_p_mw=sp,
        sigma_q_mvar=sq, ext_vm_pu=np.array([1.0]), ext_sigma_pu=np.array([0.5]),
    )  # fmt: skip
    v0, v3 = (state.vm_pu[0] + 0.001, 0.002), (state.vm_pu[3] - 0.001, 0.002)
    flow = (state.line_p_from_mw[0] * 1.01, state.line_q_from_mvar[0] * 0.99, 0.04)
    points = [
        ("bus.0", V, *v0), ("bus.3", V, *v3), ("line.0", P, flow[0], flow[2]), ("line.0", Q, flow[1], flow[2])
    ]  # fmt: skip
    ours = Estimator(engine, prior.names, prior.bus).estimate(prior, message(points))
    theirs = pgm_estimate(prior, flow, v0, v3)
    assert np.abs(ours.state.vm_pu - theirs).max() < 5e-6
