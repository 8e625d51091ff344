"""Changes of a compiled grid between two solves: switches, taps, capacitor banks, service states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from heila_mosaik.domain.network import Network
from heila_mosaik.domain.powerflow.arrays import Grid, Work
from heila_mosaik.domain.powerflow.topology import assemble
from heila_mosaik.domain.quantities import IntArray
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.compile import Compiled
from heila_mosaik.gridmodel.switching import SWITCHED, BranchEnds
from heila_mosaik.gridmodel.taps import Taps

KEYED = ("trafo3w", "gen", "ext_grid")
"""Tables whose service states a compiled grid is made for."""

APPLIANCES = ("load", "sgen", "storage")


class Changeable:
    """What :class:`~heila_mosaik.gridmodel.engine.CompiledGrid` can change without being made anew."""

    network: Network
    _net: Any
    _known: dict[str, frozenset[int]]
    _compiled: Compiled
    _grid: Grid
    _work: Work
    _ends: BranchEnds
    _solved: bool
    _cache: dict[tuple[Any, ...], Compiled]
    _taps: Taps
    _state: int

    def _adopt(self) -> None:
        raise NotImplementedError

    def _refresh_factors(self) -> None:
        raise NotImplementedError

    def _element(self, table: str, element: int) -> int:
        if table not in self._known:
            rows = self._net[table].index.tolist() if table in self._net else []
            self._known[table] = frozenset(int(row) for row in rows)
        known = self._known[table]
        if element not in known:
            raise ProblemsError(
                f"grid {self.network.name}",
                [
                    Problem(
                        what="there is no such element in the net",
                        where=f"{table}.{element}",
                        remedy=f"use one of the {len(known)} indices of net.{table}",
                    )
                ],
            )
        return int(element)

    def set_tap(self, trafo: int, tap_pos: float, table: str = "trafo") -> None:
        """Set the tap of transformer ``trafo`` (pandapower id)."""
        element = self._element(table, trafo)
        if not self._taps.move(table, element, tap_pos):
            return
        rows = self._taps.rows(self._state, table)
        start = self._compiled.first[table]
        self._work.br_y[start : start + len(rows)] = rows
        self._rebuild()

    def tap(self, trafo: int, table: str = "trafo") -> float:
        """Present tap of transformer ``trafo`` (pandapower id)."""
        return self._taps.position(table, self._element(table, trafo))

    def set_shunt_step(self, shunt: int, step: int) -> None:
        """Set the step of capacitor bank or reactor ``shunt`` (pandapower id)."""
        element = self._element("shunt", shunt)
        change = int(step) - int(self._net.shunt.at[element, "step"])
        if change:
            self._net.shunt.at[element, "step"] = int(step)
            changes = np.zeros(len(self._net.shunt), np.int64)
            changes[self._net.shunt.index.get_loc(element)] = change
            self._step_shunts(changes)
            self._rebuild()

    def shunt_step(self, shunt: int) -> int:
        """Present step of capacitor bank or reactor ``shunt`` (pandapower id)."""
        return int(self._net.shunt.at[self._element("shunt", shunt), "step"])

    def _step_shunts(self, changes: IntArray) -> None:
        """Add whole steps of the shunts to the admittances in use."""
        found = self._compiled
        for k in np.flatnonzero(changes):
            change = changes[k] * found.shunt_units[k]
            self._work.shunt[self._grid.bus_node[found.shunt_bus[k]]] += change
            self._work.bus_shunt[found.shunt_bus[k]] += change

    def set_switch(self, switch: int, closed: bool) -> None:
        """Open or close switch (pandapower id); a bus-bus switch recompiles from a cache."""
        self.set_switches({switch: closed})

    def set_switches(self, positions: Mapping[int, bool]) -> None:
        """Set several switches (pandapower ids) at once, so that bus-bus switches recompile together."""
        fused = moved = False
        for switch, closed in positions.items():
            element = self._element("switch", switch)
            if self.closed(element) == closed:
                continue
            if element in self._ends:
                self._ends.set_switch(element, closed, self._work.br_closed)
                moved = True
            else:
                self._net.switch.at[element, "closed"] = closed
                fused = True
        if fused:
            self._adopt_again()
        elif moved:
            self._rebuild()

    def closed(self, switch: int) -> bool:
        """Present position of a switch (pandapower id)."""
        element = self._element("switch", switch)
        return self._ends.closed(element) if element in self._ends else bool(self._net.switch.at[element, "closed"])

    def in_service(self, table: str, element: int) -> bool:
        """Whether an element is in service."""
        return bool(self._net[table].at[self._element(table, element), "in_service"])

    def set_in_service(self, table: str, element: int, in_service: bool) -> None:
        """Take an element in or out of service."""
        index = self._element(table, element)
        if bool(self._net[table].at[index, "in_service"]) == in_service:
            return
        self._net[table].at[index, "in_service"] = in_service
        if table in APPLIANCES:
            self._refresh_factors()
            self._solved = False
        elif table in SWITCHED and bool(self._net.bus.in_service.all()):
            self._ends.set_in_service(table, index, in_service, self._work.br_closed)
            self._rebuild()
        elif table in KEYED and bool(self._net.bus.in_service.all()):
            self._adopt_again()
        else:
            self._cache.clear()
            self._taps.forget()
            self._adopt_again()

    def _adopt_again(self) -> None:
        self._ends.update(self._net)
        self._adopt()

    def _rebuild(self) -> None:
        assemble(self._grid, self._work)
        self._solved = False
