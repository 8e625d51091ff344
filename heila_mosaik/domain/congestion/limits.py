"""Operating limits of the grid and what breaks them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from heila_mosaik.domain.information import CongestionKind
from heila_mosaik.domain.network import GridState, Network
from heila_mosaik.domain.quantities import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of every bus and branch.

    Attributes:
        v_min_pu, v_max_pu: Voltage band. [pu] (n_bus,)
        line_percent: Loading limit of the lines. [%] (n_line,)
        trafo_percent: Loading limit of the transformers. [%] (n_trafo,)
    """

    v_min_pu: FloatArray
    v_max_pu: FloatArray
    line_percent: FloatArray
    trafo_percent: FloatArray

    @classmethod
    def of(cls, network: Network) -> Limits:
        """Limits as the grid states them; an unknown limit (NaN) does not bind."""
        return cls(
            v_min_pu=np.nan_to_num(network.v_min_pu, nan=0.0),
            v_max_pu=np.nan_to_num(network.v_max_pu, nan=np.inf, posinf=np.inf),
            line_percent=np.nan_to_num(network.lines.max_loading_percent, nan=np.inf, posinf=np.inf),
            trafo_percent=np.nan_to_num(network.trafos.max_loading_percent, nan=np.inf, posinf=np.inf),
        )

    def tightened(self, voltage_pu: FloatArray | float, line: FloatArray | float, trafo: FloatArray | float) -> Limits:
        """Limits with a margin kept: ``voltage_pu`` [pu] inside the band, ``line``, ``trafo`` [%] below."""
        return replace(
            self,
            v_min_pu=self.v_min_pu + voltage_pu,
            v_max_pu=self.v_max_pu - voltage_pu,
            line_percent=self.line_percent - line,
            trafo_percent=self.trafo_percent - trafo,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One broken limit.

    Attributes:
        element: ``bus.7``, ``line.3`` or ``trafo.0``.
        kind: Kind of congestion.
        position: Position of the element in its table.
        value: Value found. [pu] or [%]
        limit: Limit broken. [pu] or [%]
        outage: Element whose outage the state assumes, empty for the grid as it is.
    """

    element: str
    kind: CongestionKind
    position: int
    value: float
    limit: float
    outage: str = ""

    @property
    def excess(self) -> float:
        """By how much the limit is passed. [pu] or [%]"""
        return abs(self.value - self.limit)

    @property
    def severity(self) -> float:
        """Excess made comparable: 1 = 0.01 pu or 1 % loading. [1]"""
        return self.excess * (1.0 if self.kind == CongestionKind.CURRENT else 100.0)

    def __str__(self) -> str:
        unit = "%" if self.kind == CongestionKind.CURRENT else "pu"
        digits = ".2f" if unit == "%" else ".4f"
        after = f" after the outage of {self.outage}" if self.outage else ""
        return f"{self.element} {self.kind} {self.value:{digits}} {unit} (limit {self.limit:{digits}} {unit}){after}"


def violations(
    state: GridState, network: Network, limits: Limits, *, voltage_pu: float = 1e-6, percent: float = 1e-3
) -> tuple[Violation, ...]:
    """Broken limits in the order buses, lines, transformers.

    Args:
        state: Solved state; de-energised elements break no limit.
        network: The grid.
        limits: Limits.
        voltage_pu: Tolerance. [pu]
        percent: Tolerance. [%]
    """
    columns = (
        ("bus", network.bus_ids, CongestionKind.UNDERVOLTAGE, state.vm_pu, limits.v_min_pu, -1.0, voltage_pu),
        ("bus", network.bus_ids, CongestionKind.OVERVOLTAGE, state.vm_pu, limits.v_max_pu, 1.0, voltage_pu),
        (
            "line",
            network.lines.ids,
            CongestionKind.CURRENT,
            state.line_loading_percent,
            limits.line_percent,
            1.0,
            percent,
        ),
        (
            "trafo",
            network.trafos.ids,
            CongestionKind.CURRENT,
            state.trafo_loading_percent,
            limits.trafo_percent,
            1.0,
            percent,
        ),
    )
    found: list[Violation] = []
    for table, ids, kind, values, bounds, sign, tolerance in columns:
        broken = sign * (values - bounds) > tolerance
        if not broken.any():
            continue
        found += [
            Violation(
                element=f"{table}.{ids[position]}",
                kind=kind,
                position=int(position),
                value=float(values[position]),
                limit=float(bounds[position]),
            )
            for position in np.flatnonzero(broken)
        ]
    return tuple(found)
