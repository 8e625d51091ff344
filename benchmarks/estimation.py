"""Speed of the state estimator against pandapower's WLS on CIGRE MV, in one run.

Run: ``python benchmarks/estimation.py``
"""

from __future__ import annotations

import time
import warnings
from datetime import UTC, datetime

import numpy as np
import pandapower as pp
import pandapower.networks as pn
from pandapower.estimation import estimate as pandapower_estimate

from heila_mosaik.domain.estimation import Estimator, Prior
from heila_mosaik.domain.telemetry import MeasurementModel, standard_points
from heila_mosaik.gridmodel import compile_net


def main() -> None:
    warnings.simplefilter("ignore")
    net = pn.create_cigre_network_mv()
    engine = compile_net(net)
    given = engine.default_input()
    rng = np.random.default_rng(1)
    p, q, bus = given.load_p_mw, given.load_q_mvar, engine.network.loads.bus
    sigma_p, sigma_q = 0.3 * p + 1e-4, 0.3 * q + 1e-4
    prior = Prior(
        names=tuple(f"load.{key}" for key in engine.network.loads.ids),
        bus=bus,
        p_mw=p + sigma_p * rng.standard_normal(len(p)),
        q_mvar=q + sigma_q * rng.standard_normal(len(q)),
        sigma_p_mw=sigma_p,
        sigma_q_mvar=sigma_q,
        ext_vm_pu=np.array([1.03]),
        ext_sigma_pu=np.array([0.05]),
    )
    state = engine.solve(given)
    points = standard_points(engine.network, ("trafo.0", "trafo.1", "line.0", "line.10"))
    meter = MeasurementModel(engine.network, "sau", points, rng)
    now = datetime(2026, 1, 15, tzinfo=UTC)
    messages = [meter.measure(now, state) for _ in range(200)]
    estimator = Estimator(engine, prior.names, prior.bus)
    estimator.estimate(prior, messages[0])
    start = time.perf_counter()
    for message in messages:
        estimator.estimate(prior, message)
    ours = (time.perf_counter() - start) / len(messages)

    sides = {"trafo": "hv", "line": "from"}
    kinds = {"p_mw": "p", "q_mvar": "q", "vm_pu": "v"}
    first = messages[0]
    columns = zip(first.elements, first.quantities, first.values, first.sigmas, strict=True)
    for element, quantity, value, sigma in columns:
        table, key = element.split(".")
        pp.create_measurement(net, kinds[quantity], table, value, sigma, int(key), side=sides.get(table))
    for kind, mean, spread in (("p", prior.p_mw, sigma_p), ("q", prior.q_mvar, sigma_q)):
        total, variance = np.bincount(bus, mean, len(net.bus)), np.bincount(bus, spread**2, len(net.bus))
        for at in range(len(net.bus)):
            loaded = variance[at] > 0
            if at:
                pp.create_measurement(net, kind, "bus", total[at], variance[at] ** 0.5 if loaded else 1e-5, at)
    pp.create_measurement(net, "v", "bus", 1.03, 0.05, 0)
    pandapower_estimate(net, init="flat", zero_injection=None)
    start = time.perf_counter()
    for _ in range(10):
        pandapower_estimate(net, init="flat", zero_injection=None)
    theirs = (time.perf_counter() - start) / 10
    print(f"estimation, CIGRE MV, {len(points)} measurements: {1e3 * ours:.3f} ms")
    print(f"pandapower WLS: {1e3 * theirs:.1f} ms, ratio {theirs / ours:.0f}")


if __name__ == "__main__":
    main()
