"""AC check of switching states: losses and the worst violation over one or several loading cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.congestion import Limits
from heila_mosaik.domain.network import GridEngine, GridState
from heila_mosaik.domain.quantities import FloatArray

_DIVERGED = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Loading cases a switching state has to carry, for example now and the hours until the repair.

    Attributes:
        p_mw: Net consumption of each bus. [MW] (k, n_bus)
        q_mvar: The same, reactive. [MVar] (k, n_bus)
    """

    p_mw: FloatArray
    q_mvar: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a switching state does.

    Attributes:
        losses_mw: Mean losses over the cases. [MW]
        excess: Worst excess over a limit: 1 is 1 % loading or 0.01 pu voltage; 0: all limits kept. [1]
        margin: Smallest distance to a limit in the same measure; negative with an excess. [1]
    """

    losses_mw: float
    excess: float
    margin: float

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept in every case."""
        return self.excess <= _TOLERANCE


_TOLERANCE = 1e-3
_RELAX_PU, _RELAX_PERCENT = 0.005, 5.0


class Switchboard:
    """Sets devices of an engine and checks what follows.

    Args:
        engine: Grid; its switches are moved, so hand over a copy.
        limits: Limits.
        cases: Loading cases.
    """

    def __init__(self, engine: GridEngine, limits: Limits, cases: Cases) -> None:
        self.engine, self.limits, self.cases = engine, limits, cases
        self.evaluations = 0
        self._now: dict[str, bool] = {}

    def set(self, positions: Mapping[str, bool]) -> None:
        """Move devices that are not there yet."""
        switches: dict[int, bool] = {}
        for device, closed in positions.items():
            if self._now.get(device) is closed:
                continue
            table, _, number = device.partition(".")
            if table == "switch":
                switches[int(number)] = closed
            else:
                self.engine.set_in_service(table, int(number), closed)
            self._now[device] = closed
        if switches:
            self.engine.set_switches(switches)

    def check(
        self,
        positions: Mapping[str, bool],
        p_mw: FloatArray | None = None,
        q_mvar: FloatArray | None = None,
    ) -> Outcome:
        """Losses and margin of a switching state; powers other than the cases' may be given. (k, n_bus)"""
        self.set(positions)
        p = self.cases.p_mw if p_mw is None else p_mw
        q = self.cases.q_mvar if q_mvar is None else q_mvar
        losses, margin = 0.0, np.inf
        for row in range(len(p)):
            self.evaluations += 1
            state = self.engine.solve_bus(p[row], q[row])
            if not state.converged:
                return Outcome(losses_mw=np.inf, excess=_DIVERGED, margin=-_DIVERGED)
            losses += state.losses_mw
            margin = min(margin, self._margin(state))
        return Outcome(losses_mw=losses / len(p), excess=max(0.0, -margin), margin=margin)

    def relax(self, positions: Mapping[str, bool]) -> None:
        """Excuse what a switching state breaks already: no element may get worse than it is there, by a small margin.

        Without it one bad voltage at the far end of the grid would forbid every supply elsewhere.
        """
        self.set(positions)
        limits = self.limits
        for p, q in zip(self.cases.p_mw, self.cases.q_mvar, strict=True):
            state = self.engine.solve_bus(p, q)
            if not state.converged:
                continue
            limits = Limits(
                v_min_pu=np.fmin(limits.v_min_pu, state.vm_pu - _RELAX_PU),
                v_max_pu=np.fmax(limits.v_max_pu, state.vm_pu + _RELAX_PU),
                line_percent=np.fmax(limits.line_percent, state.line_loading_percent + _RELAX_PERCENT),
                trafo_percent=np.fmax(limits.trafo_percent, state.trafo_loading_percent + _RELAX_PERCENT),
            )
        self.limits = limits

    def _margin(self, state: GridState) -> float:
        limits = self.limits
        with np.errstate(invalid="ignore"):
            distances = (
                100.0 * np.minimum(state.vm_pu - limits.v_min_pu, limits.v_max_pu - state.vm_pu),
                limits.line_percent - state.line_loading_percent,
                limits.trafo_percent - state.trafo_loading_percent,
            )
        # de-energised elements hold NaN and break nothing
        return float(min(np.nanmin(part, initial=np.inf) for part in distances))
