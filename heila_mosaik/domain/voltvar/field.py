"""Generating units in the field: they obey caps and set points of the DSO, and their Q(V) characteristic otherwise.

This is the plant's side; the control centre sees only what telemetry reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import numpy as np

from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.network import GridEngine, GridInput, GridState
from heila_mosaik.domain.quantities import FloatArray, Quantity
from heila_mosaik.domain.voltvar.characteristic import Inverter, respond
from heila_mosaik.domain.voltvar.means import Curtailable


class FieldUnits:
    """Generating units (rows of ``sgen``) under the DSO's control.

    Args:
        ids: pandapower index of every sgen. (n,)
        inverters: Units with reactive power.
        curtailable: Units with a power cap.
    """

    def __init__(self, ids: Sequence[int], inverters: Sequence[Inverter], curtailable: Sequence[Curtailable]) -> None:
        rows = {f"sgen.{int(key)}": row for row, key in enumerate(ids)}
        self._inverters = tuple(inverters)
        self._rows = np.array([rows[unit.element] for unit in inverters], np.int64)
        self._caps = {unit.element: rows[unit.element] for unit in curtailable}
        self._held: dict[str, list[ControlSignal]] = {
            name: [] for name in (*(u.element for u in inverters), *self._caps)
        }
        self._q: FloatArray = np.zeros(len(self._inverters))

    def take(self, signal: ControlSignal) -> bool:
        """Hold a cap (``p_mw``: minus the most it may feed) or a reactive set point; returns whether it is ours."""
        held = self._held.get(signal.target)
        if held is None or (signal.p_mw is None and signal.q_mvar is None):
            return False
        held.append(signal)
        return True

    def _latest(self, element: str, field: str, now: datetime | None) -> float | None:
        for signal in reversed(self._held.get(element, [])):
            value: float | None = getattr(signal, field)
            if value is not None and (now is None or signal.start <= now < signal.stop):
                return value
        return None

    def apply(self, given: GridInput, now: datetime | None) -> GridInput:
        """Input with caps applied; reactive power of the inverters left out until the grid is solved."""
        if now is not None:
            for held in self._held.values():
                held[:] = [signal for signal in held if signal.stop > now]
        p, q = given.sgen_p_mw.copy(), given.sgen_q_mvar.copy()
        for element, row in self._caps.items():
            cap = self._latest(element, "p_mw", now)
            if cap is not None:
                p[row] = min(p[row], max(-cap, 0.0))
        q[self._rows] = 0.0
        return replace(given, sgen_p_mw=p, sgen_q_mvar=q)

    def measured(self, applied: GridInput) -> dict[tuple[str, Quantity], float]:
        """Consumption of every unit, for telemetry. [MW], [MVar]"""
        rows = {unit.element: int(row) for unit, row in zip(self._inverters, self._rows, strict=True)} | self._caps
        found = {(element, Quantity.ACTIVE_POWER): -float(applied.sgen_p_mw[row]) for element, row in rows.items()}
        return found | {
            (element, Quantity.REACTIVE_POWER): -float(applied.sgen_q_mvar[row]) for element, row in rows.items()
        }

    def solve(self, engine: GridEngine, given: GridInput, now: datetime | None) -> tuple[GridState, GridInput]:
        """Solve with all units doing what they must; returns the state and the powers that made it."""
        applied = self.apply(given, now)
        if not self._inverters:
            return engine.solve(applied), applied
        engine.solve(applied)  # sets the voltages of the external grids
        limit = np.array(
            [u.q_limit_mvar(float(p)) for u, p in zip(self._inverters, applied.sgen_p_mw[self._rows], strict=True)]
        )
        wanted = [self._latest(unit.element, "q_mvar", now) for unit in self._inverters]
        setpoint = np.array([np.nan if value is None else value for value in wanted])
        p_bus, q_bus = engine.bus_injection(applied)
        found = respond(
            engine, p_bus.copy(), q_bus.copy(), self._inverters, limit, setpoint_mvar=setpoint, start_mvar=self._q
        )
        self._q = found.q_mvar
        applied.sgen_q_mvar[self._rows] = -found.q_mvar
        return engine.solve(applied), applied
