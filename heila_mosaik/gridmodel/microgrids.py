"""Attach a microgrid to a net: a bus behind a circuit breaker, with one element per resource."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandapower as pp

from heila_mosaik.errors import Problem, ProblemsError

TABLE_OF_KIND = {"battery": "storage", "pv": "sgen"}
"""pandapower table of a resource kind; every other kind is a load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MicrogridConnection:
    """Where a microgrid meets the grid.

    Attributes:
        name: Name of the microgrid.
        bus: pandapower index of the bus it hangs on.
        resources: (name, table ``load|sgen|storage``, rated power [MVA]) of each resource.
        former: Storage that can hold an island; it gets an external grid, out of service until it does. Empty: none.
    """

    name: str
    bus: int
    resources: tuple[tuple[str, str, float], ...]
    former: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedMicrogrid:
    """What was added to the net.

    Attributes:
        bus: Index of the new bus.
        switch: Index of the breaker at the point of common coupling.
        elements: (table, index) of each resource.
        former: Index of the external grid that stands for the grid-forming storage, -1 without.
    """

    bus: int
    switch: int
    elements: dict[str, tuple[str, int]]
    former: int = -1


def attach_microgrid(net: Any, spec: MicrogridConnection) -> AttachedMicrogrid:
    """Add a microgrid to ``net`` in place.

    Raises:
        ProblemsError: All that is wrong with the specification.
    """
    problems = []
    if spec.bus not in net.bus.index:
        problems.append(
            Problem(
                what=f"bus {spec.bus} does not exist in the grid",
                where=f"microgrid {spec.name}, field bus",
                remedy=f"use an index of net.bus ({net.bus.index.min()} to {net.bus.index.max()})",
            )
        )
    for name, table, _sn_mva in spec.resources:
        if table not in ("load", "sgen", "storage"):
            problems.append(
                Problem(
                    what=f"unknown table {table!r}",
                    where=f"microgrid {spec.name}, resource {name}",
                    remedy="use load, sgen or storage",
                )
            )
    if problems:
        raise ProblemsError(f"microgrid {spec.name}", problems)
    bus = int(pp.create_bus(net, vn_kv=float(net.bus.at[spec.bus, "vn_kv"]), name=spec.name))
    for limit in ("min_vm_pu", "max_vm_pu", "geo"):
        if limit in net.bus.columns:
            net.bus.at[bus, limit] = net.bus.at[spec.bus, limit]
    switch = pp.create_switch(net, bus=spec.bus, element=bus, et="b", closed=True, type="CB", name=f"{spec.name} PCC")
    elements: dict[str, tuple[str, int]] = {}
    for name, table, sn_mva in spec.resources:
        if table == "storage":
            index = pp.create_storage(net, bus, p_mw=0.0, max_e_mwh=float("nan"), sn_mva=sn_mva, name=name)
        else:
            create = pp.create_load if table == "load" else pp.create_sgen
            index = create(net, bus, p_mw=0.0, q_mvar=0.0, sn_mva=sn_mva, name=name)
        elements[name] = (table, int(index))
    former = -1
    if spec.former:
        former = int(pp.create_ext_grid(net, bus, vm_pu=1.0, name=spec.former, in_service=False))
    return AttachedMicrogrid(bus=bus, switch=int(switch), elements=elements, former=former)
