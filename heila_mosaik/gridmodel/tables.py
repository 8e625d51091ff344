"""pandapower tables as the domain's :class:`~heila_mosaik.domain.network.Network` and input arrays."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from heila_mosaik.domain.network import Appliances, Branches, GridInput, Network, Switches
from heila_mosaik.domain.quantities import FloatArray, IntArray

_SWITCH_KINDS = {"b": "bus", "l": "line", "t": "trafo"}
APPLIANCE_TABLES = ("load", "sgen", "storage", "gen", "ext_grid")


def column(table: Any, name: str, default: float) -> FloatArray:
    """Column as floats; ``default`` where the column or a value is missing."""
    if name not in table.columns:
        return np.full(len(table), default)
    values: FloatArray = table[name].to_numpy(dtype=float, na_value=np.nan, copy=True)
    values[np.isnan(values)] = default
    return values


def _names(table: Any, kind: str) -> tuple[str, ...]:
    if "name" not in table.columns:
        return tuple(f"{kind}.{element}" for element in table.index)
    pairs = zip(table["name"], table.index, strict=True)
    return tuple(
        f"{kind}.{element}" if name is None or name != name or name == "" else str(name)  # noqa: PLR0124
        for name, element in pairs
    )


def positions(net: Any) -> dict[int, int]:
    """Position of each pandapower bus."""
    return {int(bus): place for place, bus in enumerate(net.bus.index)}


def bus_positions(net: Any, buses: Any) -> IntArray:
    """Positions of many pandapower buses."""
    where = positions(net)
    return np.asarray([where[int(bus)] for bus in buses], np.int64)


def _appliances(net: Any, kind: str) -> Appliances:
    table = net[kind]
    rated = column(table, "sn_mva", np.nan)
    if kind != "ext_grid":
        size = np.hypot(column(table, "p_mw", 0.0), column(table, "q_mvar", 0.0)) * column(table, "scaling", 1.0)
        rated = np.where(np.isnan(rated), size, rated)
    return Appliances(
        ids=table.index.to_numpy(np.int64).copy(),
        names=_names(table, kind),
        bus=bus_positions(net, table.bus),
        scale=np.nan_to_num(rated),
    )


def _branches(net: Any, kind: str, ends: tuple[str, str]) -> Branches:
    table = net[kind]
    return Branches(
        ids=table.index.to_numpy(np.int64).copy(),
        names=_names(table, kind),
        from_bus=bus_positions(net, table[ends[0]]),
        to_bus=bus_positions(net, table[ends[1]]),
        max_loading_percent=column(table, "max_loading_percent", 100.0),
        in_service=table.in_service.to_numpy(bool),
    )


def _switches(net: Any) -> Switches:
    table = net.switch[net.switch.et.isin(list(_SWITCH_KINDS))]
    kind = tuple(_SWITCH_KINDS[et] for et in table.et)
    places = {"bus": positions(net)} | {
        name: {int(element): place for place, element in enumerate(net[name].index)} for name in ("line", "trafo")
    }
    types = table["type"] if "type" in table.columns else [None] * len(table)
    return Switches(
        ids=table.index.to_numpy(np.int64).copy(),
        names=_names(table, "switch"),
        kind=kind,
        bus=bus_positions(net, table.bus),
        other=np.asarray([places[k][int(e)] for k, e in zip(kind, table.element, strict=True)], np.int64),
        closed=table.closed.to_numpy(bool),
        breaker=np.asarray([text == "CB" for text in types], bool),
    )


def _coordinates(net: Any) -> FloatArray:
    xy = np.full((len(net.bus), 2), np.nan)
    geo = net.bus["geo"] if "geo" in net.bus.columns else [None] * len(net.bus)
    for place, text in enumerate(geo):
        if isinstance(text, str) and text:
            try:
                xy[place] = json.loads(text)["coordinates"][:2]
            except (ValueError, KeyError, TypeError):
                continue  # a bus without readable position is simply not drawn
    return xy


def read_network(net: Any, name: str) -> Network:
    """Tables of a pandapower net as arrays."""
    return Network(
        name=name or str(net.name or "grid"),
        bus_ids=net.bus.index.to_numpy(np.int64).copy(),
        bus_names=_names(net.bus, "bus"),
        vn_kv=column(net.bus, "vn_kv", np.nan),
        v_min_pu=column(net.bus, "min_vm_pu", 0.9),
        v_max_pu=column(net.bus, "max_vm_pu", 1.1),
        xy=_coordinates(net),
        lines=_branches(net, "line", ("from_bus", "to_bus")),
        trafos=_branches(net, "trafo", ("hv_bus", "lv_bus")),
        trafos3w=_branches(net, "trafo3w", ("hv_bus", "lv_bus")),
        switches=_switches(net),
        loads=_appliances(net, "load"),
        sgens=_appliances(net, "sgen"),
        storages=_appliances(net, "storage"),
        gens=_appliances(net, "gen"),
        ext_grids=_appliances(net, "ext_grid"),
    )


def read_input(net: Any) -> GridInput:
    """Powers and set points as they stand in the tables."""
    return GridInput(
        load_p_mw=column(net.load, "p_mw", 0.0),
        load_q_mvar=column(net.load, "q_mvar", 0.0),
        sgen_p_mw=column(net.sgen, "p_mw", 0.0),
        sgen_q_mvar=column(net.sgen, "q_mvar", 0.0),
        storage_p_mw=column(net.storage, "p_mw", 0.0),
        storage_q_mvar=column(net.storage, "q_mvar", 0.0),
        gen_p_mw=column(net.gen, "p_mw", 0.0),
        gen_vm_pu=column(net.gen, "vm_pu", 1.0),
        ext_vm_pu=column(net.ext_grid, "vm_pu", 1.0),
    )


def write_input(net: Any, given: GridInput) -> None:
    """Write powers and set points into the tables."""
    net.load["p_mw"], net.load["q_mvar"] = given.load_p_mw, given.load_q_mvar
    net.sgen["p_mw"], net.sgen["q_mvar"] = given.sgen_p_mw, given.sgen_q_mvar
    net.storage["p_mw"], net.storage["q_mvar"] = given.storage_p_mw, given.storage_q_mvar
    net.gen["p_mw"], net.gen["vm_pu"] = given.gen_p_mw, given.gen_vm_pu
    net.ext_grid["vm_pu"] = given.ext_vm_pu
