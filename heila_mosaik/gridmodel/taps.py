"""Tap positions and the admittances that go with them; pandapower computes each position once."""

from __future__ import annotations

from typing import Any

import numpy as np

from heila_mosaik.domain.quantities import ComplexArray
from heila_mosaik.gridmodel.compile import tap_admittances

_TABLES = ("trafo", "trafo3w")


class Taps:
    """Positions of all transformers with the admittances seen so far.

    A two-winding transformer's admittances depend on its own tap alone, so that any combination is put together from
    positions seen before; three-winding transformers are kept by combination.

    Args:
        net: pandapower net; positions are written to it and read from it once.
    """

    def __init__(self, net: Any) -> None:
        self._net = net
        self._now: dict[str, dict[int, float | None]] = {table: self._read(table) for table in _TABLES}
        self._rows: dict[tuple[Any, ...], ComplexArray] = {}

    def _read(self, table: str) -> dict[int, float | None]:
        rows = self._net[table]
        if "tap_pos" not in rows.columns:
            return dict.fromkeys(map(int, rows.index))
        values = rows["tap_pos"].to_numpy(float, na_value=np.nan).tolist()
        return {int(key): None if np.isnan(value) else value for key, value in zip(rows.index, values, strict=True)}

    def copy(self, net: Any) -> Taps:
        """Independent copy that writes to ``net``."""
        other = object.__new__(Taps)
        other._net, other._rows = net, dict(self._rows)
        other._now = {table: dict(positions) for table, positions in self._now.items()}
        return other

    def position(self, table: str, element: int) -> float:
        """Present position; NaN without a tap changer."""
        found = self._now[table][element]
        return float("nan") if found is None else found

    def move(self, table: str, element: int, position: float) -> bool:
        """Set a position; returns whether it has changed."""
        if self._now[table][element] == position:
            return False
        self._now[table][element] = float(position)
        self._net[table].at[element, "tap_pos"] = position
        return True

    def forget(self) -> None:
        """Drop all admittances: the net has changed otherwise."""
        self._rows.clear()

    def rows(self, compiled: int, table: str) -> ComplexArray:
        """Admittances of all branches of a table at the present positions. (k, 4)

        Args:
            compiled: Number of the compiled grid they are for.
            table: ``trafo`` or ``trafo3w``.
        """
        taps = self._now[table].values()
        if table == "trafo":
            keys: list[tuple[Any, ...]] = [(compiled, k, tap) for k, tap in enumerate(taps)]
        else:
            keys = [(compiled, table, *taps)]
        if any(key not in self._rows for key in keys):
            rows = tap_admittances(self._net, table)
            self._rows |= dict(zip(keys, rows if table == "trafo" else [rows], strict=True))
        found = [self._rows[key] for key in keys]
        return np.array(found) if table == "trafo" else found[0]
