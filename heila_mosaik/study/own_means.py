"""From the scenario to the DSO's own means and the functions of its DMS."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from heila_mosaik.actors.dms_functions import FunctionSettings
from heila_mosaik.actors.dms_peak_market import PeakSettings
from heila_mosaik.actors.dms_voltvar_settings import VoltVarSettings
from heila_mosaik.domain.network import Network
from heila_mosaik.domain.powerflowopt import LevelSettings
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.voltvar import Characteristic, Device, Inverter, Weights
from heila_mosaik.domain.voltvar.means import Curtailable, OwnMeans
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.capacitors import CapacitorBank, attach_capacitors, tap_range
from heila_mosaik.study.schema import Scenario


def add_capacitors(scenario: Scenario, net: Any) -> tuple[int, ...]:
    """Attach the scenario's capacitor banks to the net; returns their indices.

    Raises:
        ProblemsError: With everything the own means ask for that the grid does not have.
    """
    problems = means_problems(scenario, net)
    if problems:
        raise ProblemsError("own means of the DSO", problems)
    banks = [
        CapacitorBank(name=bank.name, bus=bank.bus, step_mvar=bank.step_mvar, steps=bank.steps, start=bank.start)
        for bank in scenario.own_means.capacitors
    ]
    return attach_capacitors(net, banks) if banks else ()


def means_problems(scenario: Scenario, net: Any, growth: float = 1.0) -> list[Problem]:
    """Everything the own means ask for that the grid does not have.

    Args:
        scenario: Scenario.
        net: pandapower net without the banks.
        growth: Factor on the generating units that is not in the net yet. [1]
    """
    part = scenario.own_means
    problems = [
        Problem(
            what=f"bus {bank.bus} is not in the grid",
            where=f"own_means.capacitors.{row}.bus",
            remedy=f"use one of the {len(net.bus)} bus indices, for example {int(net.bus.index[-1])}",
        )
        for row, bank in enumerate(part.capacitors)
        if bank.bus not in net.bus.index
    ]
    tapped = [trafo for trafo in net.trafo.index if tap_range(net, int(trafo)) is not None]
    if part.taps and not tapped:
        what, remedy = "no transformer of the grid has a tap changer", "leave own_means.taps out or use another grid"
        problems.append(Problem(what=what, where="own_means.taps", remedy=remedy))
    sizes = _sizes(net) * growth
    for asked, key in ((part.inverters, "inverters"), (part.curtailment, "curtailment")):
        if asked is None:
            continue
        large = sizes >= asked.least_mw
        if not large.any():
            what = f"no generating unit of the grid has {asked.least_mw:g} MW or more"
            remedy = f"lower it; the largest has {sizes.max(initial=0.0):.3g} MW"
            problems.append(Problem(what=what, where=f"own_means.{key}.least_mw", remedy=remedy))
        problems += [
            Problem(what="its scaling is not 1", where=f"sgen.{unit} of the grid", remedy="put the scaling into p_mw")
            for unit in net.sgen.index[large & (net.sgen.scaling.to_numpy(float) != 1.0)]
        ]
    if scenario.volt_var.enabled and not ((tapped and part.taps) or part.capacitors or part.inverters):
        what, remedy = "Volt/VAR control has nothing to move", "set own_means.taps, capacitors or inverters"
        problems.append(Problem(what=what, where="volt_var.enabled", remedy=remedy))
    return problems


def _sizes(net: Any) -> FloatArray:
    """Rated power of the generating units. [MW] (n,)"""
    power = net.sgen.p_mw.abs().to_numpy(float)
    if "sn_mva" not in net.sgen.columns:
        return power
    rated = net.sgen.sn_mva.to_numpy(float, na_value=np.nan)
    return np.where(np.isnan(rated), power, rated)


def own_means(scenario: Scenario, net: Any, network: Network, shunts: tuple[int, ...], own: frozenset[str]) -> OwnMeans:
    """Own means of a study.

    Args:
        scenario: Scenario.
        net: pandapower net with the banks attached.
        network: Tables of the grid.
        shunts: Index of each bank.
        own: Elements that are not a microgrid's.
    """
    part = scenario.own_means
    banks = tuple(
        Device(elements=(f"shunt.{index}",), low=0, high=bank.steps, wear_eur=bank.wear_eur, dwell_s=part.dwell_s)
        for index, bank in zip(shunts, part.capacitors, strict=True)
    )
    return OwnMeans(
        devices=(*_taps(scenario, net), *banks),
        inverters=_inverters(scenario, network, own),
        curtailable=_curtailable(scenario, network, own),
    )


def _taps(scenario: Scenario, net: Any) -> tuple[Device, ...]:
    part = scenario.own_means
    if not part.taps:
        return ()
    ranges = {int(trafo): span for trafo in net.trafo.index if (span := tap_range(net, int(trafo))) is not None}
    look = {"wear_eur": part.tap_wear_eur, "dwell_s": part.dwell_s}
    if part.ganged:
        low, high = max(span[0] for span in ranges.values()), min(span[1] for span in ranges.values())
        return (Device(elements=tuple(f"trafo.{trafo}" for trafo in ranges), low=low, high=high, **look),)
    return tuple(Device(elements=(f"trafo.{trafo}",), low=a, high=b, **look) for trafo, (a, b) in ranges.items())


def _units(network: Network, least_mw: float, own: frozenset[str]) -> list[tuple[str, int, float]]:
    """Element, bus and rated power of generating units from a size on."""
    table = network.sgens
    rows = zip(table.ids.tolist(), table.bus.tolist(), table.scale.tolist(), strict=True)
    return [(f"sgen.{key}", bus, size) for key, bus, size in rows if size >= least_mw and f"sgen.{key}" in own]


def _inverters(scenario: Scenario, network: Network, own: frozenset[str]) -> tuple[Inverter, ...]:
    part = scenario.own_means.inverters
    if part is None:
        return ()
    rule = Characteristic(vm_pu=part.characteristic.vm_pu, share=part.characteristic.share)
    return tuple(
        Inverter(
            element=element,
            bus=bus,
            s_max_mva=size / part.cos_phi_min,
            q_max_mvar=size * math.tan(math.acos(part.cos_phi_min)),
            characteristic=rule,
        )
        for element, bus, size in _units(network, part.least_mw, own)
    )


def _curtailable(scenario: Scenario, network: Network, own: frozenset[str]) -> tuple[Curtailable, ...]:
    part = scenario.own_means.curtailment
    if part is None:
        return ()
    return tuple(
        Curtailable(element=element, bus=bus, rated_mw=size, price_eur_per_mwh=part.price_eur_per_mwh)
        for element, bus, size in _units(network, part.least_mw, own)
    )


def functions_of(scenario: Scenario, means: OwnMeans) -> FunctionSettings:
    """What the scenario switches on in the DMS."""
    step_s = float(scenario.step_s)
    volt_var, peak = scenario.volt_var, scenario.peak
    inverters = scenario.own_means.inverters
    volt_var_settings = VoltVarSettings(
        plan=volt_var.mode == "optimise",
        cycle_s=max(volt_var.cycle_s, scenario.dms.cycle_s),
        horizon_h=volt_var.horizon_h,
        step_s=volt_var.step_s,
        max_steps=volt_var.max_steps,
        weights=Weights(
            loss_eur_per_mwh=volt_var.loss_eur_per_mwh,
            target_vm_pu=volt_var.target_vm_pu,
            profile_eur_per_pu2_h=volt_var.profile_eur_per_pu2_h,
            margin_pu=scenario.dms.voltage_dead_band_pu,
        ),
        acknowledge_s=max(300.0, 4.0 * step_s),
        setpoints=inverters is not None and inverters.control == "set_point",
        validity_s=2.0 * max(volt_var.cycle_s, scenario.dms.cycle_s) + step_s,
        lead_s=step_s,
    )
    peak_settings = PeakSettings(
        prices=LevelSettings(
            import_eur_per_mw=peak.import_eur_per_mw,
            export_eur_per_mw=peak.export_eur_per_mw,
            variation_eur_per_mw=peak.variation_eur_per_mw,
            rebound=peak.rebound,
            rebound_h=peak.rebound_h,
        ),
        band=peak.band,
        cycle_s=max(900, scenario.dms.cycle_s),
    )
    return FunctionSettings(
        means=means,
        volt_var=volt_var_settings if volt_var.enabled else None,
        peak=peak_settings if peak.enabled else None,
        congestion=scenario.dms.congestion,
    )
