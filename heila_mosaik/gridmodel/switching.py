"""Switch positions, service states and capacitor bank steps as the kernels see them, changed one element at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from heila_mosaik.domain.quantities import BoolArray, ComplexArray, FloatArray, IntArray

_KINDS = {"l": ("line", "from_bus"), "t": ("trafo", "hv_bus")}
SWITCHED = ("line", "trafo")


class BranchEnds:
    """Connected ends of all branches: 1 connected, 0 behind an open switch, -1 on a branch out of service. (nb, 2)

    Args:
        net: pandapower net.
        status: Branch status as compiled; only branches without a service state of their own keep it. (nb,)
        first: First branch of each table.
    """

    def __init__(self, net: Any, status: FloatArray, first: dict[str, int]) -> None:
        self._first = first
        self._off: BoolArray = status <= 0
        self._open: IntArray = np.zeros((len(status), 2), np.int64)
        self._at: dict[int, tuple[int, int]] = {}
        self._closed: dict[int, bool] = {}
        self._unwritten: set[int] = set()
        self._place: dict[tuple[str, int], int] = {}
        for kind, (table, hv) in _KINDS.items():
            if table not in first:
                continue
            rows = net[table]
            self._place |= {(table, int(element)): first[table] + k for k, element in enumerate(rows.index)}
            self._off[first[table] : first[table] + len(rows)] = ~rows.in_service.to_numpy(bool)
            starts = dict(zip(rows.index.tolist(), rows[hv].tolist(), strict=True))
            switches = net.switch[net.switch.et == kind]
            for switch, bus, element, closed in zip(
                switches.index, switches.bus, switches.element, switches.closed, strict=True
            ):
                end = (self._place[table, int(element)], 0 if starts[element] == bus else 1)
                self._at[int(switch)] = end
                self._closed[int(switch)] = bool(closed)
                self._open[end] += not closed

    def __contains__(self, switch: int) -> bool:
        """Whether the switch sits at a branch end (and not between two buses)."""
        return switch in self._at

    def copy(self) -> BranchEnds:
        """Independent copy."""
        other = object.__new__(BranchEnds)
        other._first, other._at, other._place = self._first, self._at, self._place
        other._off, other._open = self._off.copy(), self._open.copy()
        other._closed, other._unwritten = dict(self._closed), set(self._unwritten)
        return other

    def set_switch(self, switch: int, closed: bool, into: IntArray) -> None:
        """Take a switch that has moved, and write its end."""
        end = self._at[switch]
        self._closed[switch] = closed
        self._unwritten.add(switch)
        self._open[end] += -1 if closed else 1
        self._write(end[0], into)

    def closed(self, switch: int) -> bool:
        """Position of a switch."""
        return self._closed[switch]

    def update(self, net: Any) -> None:
        """Write moved switches into the net; done only when the net is read, because a cell costs more than a solve."""
        for switch in self._unwritten:
            net.switch.at[switch, "closed"] = self._closed[switch]
        self._unwritten.clear()

    def set_in_service(self, table: str, element: int, in_service: bool, into: IntArray) -> None:
        """Take a service state that has changed, and write both ends."""
        row = self._place[table, element]
        self._off[row] = not in_service
        self._write(row, into)

    def write(self, into: IntArray) -> None:
        """Write all ends."""
        into[:] = np.where(self._off[:, None], -1, np.where(self._open > 0, 0, 1))

    def _write(self, row: int, into: IntArray) -> None:
        if self._off[row]:
            into[row] = -1
        else:
            into[row, 0], into[row, 1] = self._open[row, 0] == 0, self._open[row, 1] == 0


def shunt_units(net: Any, bus_kv: FloatArray) -> ComplexArray:
    """Admittance of one step of each shunt, consumption positive, zero out of service. [MVA at 1 pu] (n,)

    Args:
        net: pandapower net.
        bus_kv: Base voltage of each shunt's bus. [kV] (n,)
    """
    table = net.shunt
    rated = table.vn_kv.to_numpy(float, na_value=np.nan)
    ratio = (bus_kv / np.where(np.isnan(rated), bus_kv, rated)) ** 2
    on = table.in_service.to_numpy(bool) & net.bus.in_service.loc[table.bus].to_numpy(bool)
    units: ComplexArray = (table.p_mw.to_numpy(float) - 1j * table.q_mvar.to_numpy(float)) * ratio * on
    return units


def shunt_steps(net: Any) -> IntArray:
    """Present step of each shunt. (n,)"""
    steps: IntArray = net.shunt.step.to_numpy(np.int64).copy()
    return steps
