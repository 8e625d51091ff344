"""Grids with tap changer, capacitor banks and inverters, as pandapower nets and compiled."""

from __future__ import annotations

from itertools import product

import numpy as np
import pandapower as pp
import pandapower.networks as pn

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.voltvar import Device, Inverter, Weights, place
from heila_mosaik.domain.voltvar.objective import weigh
from heila_mosaik.gridmodel import compile_net

BANKS = ((17, 0.15, 4), (24, 0.15, 4), (32, 0.2, 5))
"""Bus, step [MVar] and steps of the banks on the 33-bus grid."""


def feeder(seed: int = 0, banks=BANKS):
    """case33bw (pandapower variant) behind a transformer with a tap changer, with capacitor banks and PV.

    Returns:
        pandapower net, compiled grid, consumption per bus [MW], [MVar], devices, limits.
    """
    rng = np.random.default_rng(seed)
    net = pn.case33bw()
    net.ext_grid.drop(net.ext_grid.index, inplace=True)
    hv = pp.create_bus(net, vn_kv=110.0, min_vm_pu=0.9, max_vm_pu=1.1)
    pp.create_ext_grid(net, hv, vm_pu=1.0 + 0.02 * rng.standard_normal())
    pp.create_transformer_from_parameters(
        net, hv, 0, sn_mva=8.0, vn_hv_kv=110.0, vn_lv_kv=12.66, vkr_percent=0.5, vk_percent=10.0, pfe_kw=8.0,
        i0_percent=0.1, tap_side="hv", tap_neutral=0, tap_min=-9, tap_max=9, tap_step_percent=1.5, tap_pos=0,
        tap_changer_type="Ratio",
    )  # fmt: skip
    net.bus["min_vm_pu"], net.bus["max_vm_pu"] = 0.95, 1.05
    net.line["max_loading_percent"] = 1e3
    for bus, step, steps in banks:
        pp.create_shunt(net, bus, q_mvar=-step, p_mw=0.0, step=0, max_step=steps)
    net.load[["p_mw", "q_mvar"]] *= rng.uniform(0.3, 1.1)
    net.load["p_mw"] *= rng.uniform(0.8, 1.2, len(net.load))
    for bus in (14, 21, 30):
        pp.create_sgen(net, bus, p_mw=float(rng.uniform(0.0, 0.8)), q_mvar=0.0, sn_mva=1.0)
    engine = compile_net(net)
    p, q = (values.copy() for values in engine.bus_injection(engine.default_input()))
    engine.solve(engine.default_input())
    devices = (
        Device(elements=("trafo.0",), low=-9, high=9, wear_eur=0.2),
        *(Device(elements=(f"shunt.{k}",), low=0, high=steps, wear_eur=0.1) for k, (_, _, steps) in enumerate(banks)),
    )
    return net, engine, p, q, devices, Limits.of(engine.network)


def inverters(engine, characteristic=None):
    """The PV plants as inverters."""
    table = engine.network.sgens
    return tuple(
        Inverter(element=f"sgen.{key}", bus=int(bus), s_max_mva=1.0, q_max_mvar=0.5, characteristic=characteristic)
        for key, bus in zip(table.ids, table.bus, strict=True)
    )


def brute_force(engine, p, q, devices, limits, weights: Weights):
    """Cost of every combination of positions; the slow device is the outer loop."""
    costs = {}
    for at in product(*(range(device.low, device.high + 1) for device in devices)):
        place(engine, devices, at)
        costs[at] = weigh(engine.solve_bus(p, q), limits, weights).cost_eur_per_h
    return costs
