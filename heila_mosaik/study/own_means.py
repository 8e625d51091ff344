"""From the scenario to the DSO's own means and the functions of its DMS."""

from __future__ import annotations

import math
from typing import Any

from heila_mosaik.actors.dms_functions import FunctionSettings
from heila_mosaik.actors.dms_peak_market import PeakSettings
from heila_mosaik.actors.dms_voltvar import VoltVarSettings
from heila_mosaik.domain.network import Network
from heila_mosaik.domain.powerflowopt import LevelSettings
from heila_mosaik.domain.voltvar import Characteristic, Device, Inverter, Weights
from heila_mosaik.domain.voltvar.means import Curtailable, OwnMeans
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.capacitors import CapacitorBank, attach_capacitors, tap_range
from heila_mosaik.study.schema import Scenario


def add_capacitors(scenario: Scenario, net: Any) -> tuple[int, ...]:
    """Attach the scenario's capacitor banks to the net; returns their indices.

    Raises:
        ProblemsError: If a bank's bus does not exist.
    """
    banks = [
        CapacitorBank(name=bank.name, bus=bank.bus, step_mvar=bank.step_mvar, steps=bank.steps, start=bank.start)
        for bank in scenario.own_means.capacitors
    ]
    return attach_capacitors(net, banks) if banks else ()


def own_means(scenario: Scenario, net: Any, network: Network, shunts: tuple[int, ...], own: frozenset[str]) -> OwnMeans:
    """Own means of a study.

    Args:
        scenario: Scenario.
        net: pandapower net with the banks attached.
        network: Tables of the grid.
        shunts: Index of each bank.
        own: Elements that are not a microgrid's.

    Raises:
        ProblemsError: With everything asked for that the grid does not have.
    """
    part, problems = scenario.own_means, list[Problem]()
    devices = list(_taps(scenario, net, problems))
    devices += [
        Device(elements=(f"shunt.{index}",), low=0, high=bank.steps, wear_eur=bank.wear_eur, dwell_s=part.dwell_s)
        for index, bank in zip(shunts, part.capacitors, strict=True)
    ]
    inverters, curtailable = _inverters(scenario, network, own), _curtailable(scenario, network, own)
    for asked, found, key in ((part.inverters, inverters, "inverters"), (part.curtailment, curtailable, "curtailment")):
        if asked is not None and not found:
            what = f"no generating unit of the grid has {asked.least_mw:g} MW or more"
            problems.append(
                Problem(what=what, where=f"own_means.{key}.least_mw", remedy="lower it, or leave the key out")
            )
    for element in (*(unit.element for unit in inverters), *(unit.element for unit in curtailable)):
        if float(net.sgen.at[int(element.partition(".")[2]), "scaling"]) != 1.0:
            where = f"{element} of the grid"
            problems.append(Problem(what="its scaling is not 1", where=where, remedy="put the scaling into p_mw"))
    if scenario.volt_var.enabled and not (devices or inverters):
        what = "Volt/VAR control has nothing to move"
        problems.append(
            Problem(what=what, where="volt_var.enabled", remedy="set own_means.taps, capacitors or inverters")
        )
    if problems:
        raise ProblemsError("own means of the DSO", problems)
    return OwnMeans(devices=tuple(devices), inverters=inverters, curtailable=curtailable)


def _taps(scenario: Scenario, net: Any, problems: list[Problem]) -> tuple[Device, ...]:
    part = scenario.own_means
    if not part.taps:
        return ()
    ranges = {int(trafo): span for trafo in net.trafo.index if (span := tap_range(net, int(trafo))) is not None}
    if not ranges:
        what, remedy = "no transformer of the grid has a tap changer", "leave own_means.taps out or use another grid"
        problems.append(Problem(what=what, where="own_means.taps", remedy=remedy))
        return ()
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
