"""N-1 security of the DMS: which outages its purchases and set points must survive."""

from __future__ import annotations

from dataclasses import replace

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.domain.congestion import Contingency, Limits, outages, violations
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.quantities import FloatArray


class Security:
    """Outages of single lines that leave every bus supplied.

    Args:
        engine: Compiled grid of the DMS.
        limits: Limits of normal operation.
        settings: Settings of the DMS; without ``n_1_percent`` no outage counts (N-0).
    """

    def __init__(self, engine: GridEngine, limits: Limits, settings: DmsSettings) -> None:
        self._engine, self._limits, self._settings = engine, limits, settings
        self._cases: tuple[Contingency, ...] | None = None
        self._radial: tuple[str, ...] = ()

    def forget(self) -> None:
        """The grid has been switched: the outages are worked out again when they are next needed."""
        self._cases = None

    def cases(self, out: Outbox) -> tuple[Contingency, ...]:
        """The outages looked at, in the order of the lines."""
        percent = self._settings.n_1_percent
        if percent is None:
            return ()
        if self._cases is None:
            lines = [f"line.{line}" for line in self._engine.network.lines.ids.tolist()]
            self._cases, radial = outages(self._engine, self._limits, lines, emergency_percent=percent)
            if radial and radial != self._radial:
                out.record(
                    "security_limited",
                    f"the outage of {len(radial)} lines leaves buses without supply, which no redispatch prevents: "
                    f"{', '.join(radial[:8])}{' ...' if len(radial) > 8 else ''}",
                    radial=len(radial),
                    secured=len(self._cases),
                )
            self._radial = radial
        return self._cases

    def kept(self, out: Outbox) -> tuple[Contingency, ...]:
        """The same with the distance to the limits that set points keep."""
        own = self._settings
        percent = own.loading_margin_percent
        return tuple(
            replace(case, limits=case.limits.tightened(own.voltage_margin_pu, percent, percent))
            for case in self.cases(out)
        )

    def broken(self, p_mw: FloatArray, q_mvar: FloatArray, out: Outbox) -> bool:
        """Whether an outage would break a limit at this consumption per bus. [MW], [MVar] (n_bus,)"""
        return any(
            violations(case.engine.solve_bus(p_mw, q_mvar), case.engine.network, case.limits) for case in self.kept(out)
        )
