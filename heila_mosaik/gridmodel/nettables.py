"""What a net holds, as plain values, for checks and wiring outside this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from heila_mosaik.domain.quantities import BoolArray, FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementTable:
    """Loads or static generators of a net.

    Attributes:
        ids: pandapower index. (n,)
        names: Name. (n,)
        bus: pandapower index of the bus. (n,)
        profiles: Name of the profile, empty where none is set. (n,)
        p_mw: Active power in the table's own sign. [MW] (n,)
        q_mvar: Reactive power in the table's own sign. [MVar] (n,)
        types: Type text of the table. (n,)
    """

    ids: IntArray
    names: tuple[str, ...]
    bus: IntArray
    profiles: tuple[str, ...]
    p_mw: FloatArray
    q_mvar: FloatArray
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetTables:
    """Buses, loads and static generators of a net.

    Attributes:
        bus_ids: pandapower index. (n_bus,)
        bus_names: Name. (n_bus,)
        bus_in_service: Whether the bus is in service. (n_bus,)
        elements: Tables ``load`` and ``sgen``.
    """

    bus_ids: IntArray
    bus_names: tuple[str, ...]
    bus_in_service: BoolArray
    elements: Mapping[str, ElementTable]


def net_tables(net: Any) -> NetTables:
    """Plain tables of a pandapower net."""
    return NetTables(
        bus_ids=net.bus.index.to_numpy(dtype=np.int64),
        bus_names=_texts(net.bus, "name"),
        bus_in_service=net.bus["in_service"].to_numpy(dtype=np.bool_),
        elements=MappingProxyType({table: _element_table(net[table]) for table in ("load", "sgen")}),
    )


def _element_table(frame: Any) -> ElementTable:
    return ElementTable(
        ids=frame.index.to_numpy(dtype=np.int64),
        names=_texts(frame, "name"),
        bus=frame["bus"].to_numpy(dtype=np.int64),
        profiles=_texts(frame, "profile"),
        p_mw=frame["p_mw"].to_numpy(dtype=np.float64),
        q_mvar=frame["q_mvar"].to_numpy(dtype=np.float64),
        types=_texts(frame, "type"),
    )


def _texts(frame: Any, column: str) -> tuple[str, ...]:
    """Column as text; missing values and a missing column read as empty."""
    if column not in frame.columns:
        return ("",) * len(frame)
    return tuple(value.strip() if isinstance(value, str) else "" for value in frame[column])
