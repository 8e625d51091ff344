"""Speed of the state estimator in one run against pandapower's WLS and power-grid-model's Newton-Raphson estimator.

Two feeders: CIGRE MV (transformers, against pandapower) and case33bw (lines only, against both; power-grid-model gets
the same line parameters, a stiff source and a sensor on every appliance).  Every repetition has fresh noise on the
telemetry; power-grid-model's time holds its update and its calculation, as ours holds the reading of the message.

Run ``python -m benchmarks.estimation [--json] [--repeat 200]``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandapower as pp
import pandapower.networks as pn
import power_grid_model as pgm
from pandapower.estimation import estimate as pandapower_estimate

from heila_mosaik.domain.estimation import Estimator, Prior
from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.telemetry import MeasurementModel, standard_points
from heila_mosaik.gridmodel import compile_net

PANDAPOWER_TARGET, PGM_TARGET = 100.0, 1.2
BLOCK = 20
_NOW = datetime(2026, 1, 15, tzinfo=UTC)
_SIDES = {"trafo": "hv", "line": "from"}
_KINDS = {"p_mw": "p", "q_mvar": "q", "vm_pu": "v"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        grid: Grid.
        measurements: Real measurements.
        ours_ms, theirs_ms: Time of one estimation. [ms]
        peer: Estimator compared with.
        agreement_pu: Largest difference of a voltage. [pu]
        met: Whether the target is met.
    """

    grid: str
    measurements: int
    ours_ms: float
    peer: str
    theirs_ms: float
    agreement_pu: float
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A grid with its prior and telemetry."""

    name: str
    net: Any
    estimator: Estimator
    prior: Prior
    messages: Sequence[Measurements]


def make_case(name: str, net: Any, feeders: tuple[str, ...], repeat: int) -> Case:
    """Telemetry of the substation and the feeders named, an honest but wrong prior."""
    engine = compile_net(net)
    given = engine.default_input()
    rng = np.random.default_rng(1)
    p, q = given.load_p_mw, given.load_q_mvar
    sigma_p, sigma_q = 0.3 * np.abs(p) + 1e-4, 0.3 * np.abs(q) + 1e-4
    prior = Prior(
        names=tuple(f"load.{key}" for key in engine.network.loads.ids),
        bus=engine.network.loads.bus,
        p_mw=p + sigma_p * rng.standard_normal(len(p)),
        q_mvar=q + sigma_q * rng.standard_normal(len(q)),
        sigma_p_mw=sigma_p,
        sigma_q_mvar=sigma_q,
        ext_vm_pu=given.ext_vm_pu.copy(),
        ext_sigma_pu=np.array([0.05]),
    )
    meter = MeasurementModel(engine.network, "sau", standard_points(engine.network, feeders), rng)
    state = engine.solve(given)
    messages = [meter.measure(_NOW, state) for _ in range(repeat)]
    return Case(name=name, net=net, estimator=Estimator(engine, prior.names, prior.bus), prior=prior, messages=messages)


def timed(work: Callable[[Any], Any], items: Sequence[Any]) -> float:
    """Mean time of ``work`` over ``items``. [s]"""
    start = time.perf_counter()
    for item in items:
        work(item)
    return (time.perf_counter() - start) / len(items)


def side_by_side(case: Case, peer: Callable[[Measurements], Any], block: int) -> tuple[float, float]:
    """Median time of an estimation, ours and the peer's, in blocks that take turns. [s], [s]"""

    def ours(message: Measurements) -> Any:
        return case.estimator.estimate(case.prior, message)

    ours(case.messages[0])
    peer(case.messages[0])
    blocks = [case.messages[k : k + BLOCK] for k in range(0, len(case.messages), BLOCK)]
    pairs = [(timed(ours, own), timed(peer, own[:block])) for own in blocks]
    return float(np.median([own for own, _ in pairs])), float(np.median([other for _, other in pairs]))


def own_voltage(case: Case) -> Any:
    """Voltages of our estimate for the first message. [pu] (n_bus,)"""
    return case.estimator.estimate(case.prior, case.messages[0]).state.vm_pu


def against_pandapower(case: Case) -> Row:
    """The same measurements and pseudo-measurements for pandapower's WLS."""
    net, prior, first = case.net, case.prior, case.messages[0]
    for element, quantity, value, sigma in zip(
        first.elements, first.quantities, first.values, first.sigmas, strict=True
    ):
        table, key = element.split(".")
        pp.create_measurement(net, _KINDS[quantity], table, value, sigma, int(key), side=_SIDES.get(table))
    slack = int(net.ext_grid.bus.iloc[0])
    for kind, mean, sigma in (("p", prior.p_mw, prior.sigma_p_mw), ("q", prior.q_mvar, prior.sigma_q_mvar)):
        total = np.bincount(prior.bus, mean, len(net.bus))
        spread = np.bincount(prior.bus, sigma**2, len(net.bus)) ** 0.5
        for at in (bus for bus in range(len(net.bus)) if bus != slack):
            pp.create_measurement(net, kind, "bus", total[at], spread[at] if spread[at] > 0 else 1e-5, at)
    pp.create_measurement(net, "v", "bus", prior.ext_vm_pu[0], prior.ext_sigma_pu[0], slack)
    seconds = side_by_side(case, lambda _: pandapower_estimate(net, init="flat", zero_injection=None), 1)
    return _row(case, "pandapower WLS", seconds, net.res_bus_est.vm_pu.to_numpy(), PANDAPOWER_TARGET)


def against_pgm(case: Case) -> Row:
    """The same for power-grid-model, which gets a new set of sensor values at every repetition."""
    model, update = pgm_model(case)

    def estimate(message: Measurements) -> Any:
        model.update(update_data=update(message))
        return model.calculate_state_estimation(
            calculation_method=pgm.CalculationMethod.newton_raphson, error_tolerance=1e-8, max_iterations=50
        )

    seconds = side_by_side(case, estimate, BLOCK)
    theirs = estimate(case.messages[0])["node"]["u_pu"]
    return _row(case, "power-grid-model Newton-Raphson", seconds, theirs, 1.0 / PGM_TARGET)


def pgm_model(case: Case) -> tuple[Any, Callable[[Measurements], dict[str, Any]]]:
    """power-grid-model of a net of lines and loads with sensors for prior and telemetry, and its update."""
    net, prior, first = case.net, case.prior, case.messages[0]
    init, lines = pgm.initialize_array, net.line[net.line.in_service]
    n_bus, n_load = len(net.bus), len(net.load)
    node = init("input", "node", n_bus)
    node["id"], node["u_rated"] = net.bus.index, net.bus.vn_kv * 1e3
    line = init("input", "line", len(lines))
    line["id"], line["from_node"], line["to_node"] = 1000 + lines.index, lines.from_bus, lines.to_bus
    line["from_status"] = line["to_status"] = 1
    line["r1"], line["x1"] = lines.r_ohm_per_km * lines.length_km, lines.x_ohm_per_km * lines.length_km
    line["c1"], line["tan1"], line["i_n"] = lines.c_nf_per_km * lines.length_km * 1e-9, 0.0, 1e3
    source = init("input", "source", 1)
    source["id"], source["node"], source["status"], source["u_ref"], source["sk"] = 2000, 0, 1, 1.0, 1e18
    load = init("input", "sym_load", n_load)
    load["id"], load["node"], load["status"], load["type"] = 3000 + np.arange(n_load), net.load.bus, 1, 0
    columns = list(zip(first.elements, first.quantities, strict=True))
    at_bus = [k for k, (_, quantity) in enumerate(columns) if quantity == "vm_pu"]
    active = [k for k, (_, quantity) in enumerate(columns) if quantity == "p_mw"]
    reactive = {element: k for k, (element, quantity) in enumerate(columns) if quantity == "q_mvar"}
    volts = init("input", "sym_voltage_sensor", len(at_bus) + 1)
    volts["id"] = 4000 + np.arange(len(volts))
    volts["measured_object"] = [*(int(columns[k][0].split(".")[1]) for k in at_bus), 0]
    rated = np.array([*(net.bus.vn_kv.at[int(columns[k][0].split(".")[1])] for k in at_bus), net.bus.vn_kv.at[0]]) * 1e3
    volts["u_measured"] = np.array([*(first.values[k] for k in at_bus), prior.ext_vm_pu[0]]) * rated
    volts["u_sigma"] = np.array([*(first.sigmas[k] for k in at_bus), prior.ext_sigma_pu[0]]) * rated
    power = init("input", "sym_power_sensor", len(active) + n_load)
    power["id"] = 5000 + np.arange(len(power))
    flows = [1000 + int(columns[k][0].split(".")[1]) for k in active]
    power["measured_object"] = [*flows, *load["id"]]
    kinds = pgm.MeasuredTerminalType
    power["measured_terminal_type"] = [kinds.branch_from] * len(active) + [kinds.load] * n_load
    other = [reactive[columns[k][0]] for k in active]
    power["p_measured"] = np.array([*(first.values[k] for k in active), *prior.p_mw]) * 1e6
    power["q_measured"] = np.array([*(first.values[k] for k in other), *prior.q_mvar]) * 1e6
    power["p_sigma"] = np.array([*(first.sigmas[k] for k in active), *prior.sigma_p_mw]) * 1e6
    power["q_sigma"] = np.array([*(first.sigmas[k] for k in other), *prior.sigma_q_mvar]) * 1e6

    def update(message: Measurements) -> dict[str, Any]:
        values = np.asarray(message.values)
        new_volts = init("update", "sym_voltage_sensor", len(at_bus))
        new_volts["id"], new_volts["u_measured"] = volts["id"][: len(at_bus)], values[at_bus] * rated[:-1]
        new_power = init("update", "sym_power_sensor", len(active))
        new_power["id"] = power["id"][: len(active)]
        new_power["p_measured"], new_power["q_measured"] = values[active] * 1e6, values[other] * 1e6
        return {"sym_voltage_sensor": new_volts, "sym_power_sensor": new_power}

    parts = {"node": node, "line": line, "source": source, "sym_load": load}
    return pgm.PowerGridModel({**parts, "sym_voltage_sensor": volts, "sym_power_sensor": power}), update


def _row(case: Case, peer: str, seconds: tuple[float, float], vm: Any, least_ratio: float) -> Row:
    own_s, peer_s = seconds
    return Row(
        grid=case.name,
        measurements=len(case.messages[0].values),
        ours_ms=1e3 * own_s,
        peer=peer,
        theirs_ms=1e3 * peer_s,
        agreement_pu=float(np.nanmax(np.abs(own_voltage(case) - vm))),
        met=peer_s / own_s >= least_ratio,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the ratios; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description="State estimation against pandapower and power-grid-model.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--repeat", type=int, default=200, help="estimations, in blocks that take turns with the peer")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    cigre = make_case(
        "CIGRE MV", pn.create_cigre_network_mv(), ("trafo.0", "trafo.1", "line.0", "line.10"), options.repeat
    )
    feeder = make_case("case33bw", pn.case33bw(), ("line.0", "line.17", "line.21", "line.24"), options.repeat)
    rows = [against_pandapower(cigre), against_pgm(feeder), against_pandapower(feeder)]
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        for row in rows:
            print(
                f"{row.grid}, {row.measurements} measurements: {row.ours_ms:.3f} ms; "
                f"{row.peer} {row.theirs_ms:.3f} ms, "
                f"ratio {row.theirs_ms / row.ours_ms:.2f}, voltages agree within {row.agreement_pu:.1e} pu "
                f"({'met' if row.met else 'MISSED'})"
            )
    return 0 if all(row.met for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
