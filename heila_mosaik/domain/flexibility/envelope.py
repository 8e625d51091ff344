"""The PQ envelope: a plan with the range and the energy of possible adjustments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from heila_mosaik.domain.information import PQProfile
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class ExogenousForecast:
    """What is expected of the surroundings.

    Attributes:
        grid: Time grid of all series.
        temperature_c: Air temperature. [°C] (n,)
        irradiance_w_per_m2: Irradiance. [W/m²] (n,)
        profiles: Relative value of profiles by resource name; a resource that has none here follows the weather (PV)
            or its rating (load). [1] (n,) each
    """

    grid: TimeGrid
    temperature_c: FloatArray
    irradiance_w_per_m2: FloatArray
    profiles: Mapping[str, FloatArray] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexibilitySettings:
    """How carefully flexibility is promised.

    Attributes:
        hold_h: Time for which the whole power range can be held. [h]
        firm_share: Share of the forecast PV feed-in that is promised as curtailable. [1]
        ev_quantile: Standard deviations below the expected EV charging power that are promised. [1]
        reactive: Whether reactive power is offered.
    """

    hold_h: float = 1.0
    firm_share: float = 0.8
    ev_quantile: float = 1.28
    reactive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Plan of a resource or microgrid with the range and energy of possible adjustments.

    Attributes:
        name: Resource or microgrid.
        grid: Time grid.
        p_mw, q_mvar: Plan. [MW], [MVar] (n,)
        p_min_mw, p_max_mw: Range around the plan. [MW] (n,)
        q_min_mvar, q_max_mvar: Reactive range. [MVar] (n,)
        energy_up_mwh: Energy by which consumption can be lowered in all; infinite if only the range limits it. [MWh]
        energy_down_mwh: Energy by which consumption can be raised in all; infinite likewise. [MWh]
        cost_eur_per_mwh: Cost of moved energy (wear, lost feed-in). [EUR/MWh]
    """

    name: str
    grid: TimeGrid
    p_mw: FloatArray
    q_mvar: FloatArray
    p_min_mw: FloatArray
    p_max_mw: FloatArray
    q_min_mvar: FloatArray
    q_max_mvar: FloatArray
    energy_up_mwh: float
    energy_down_mwh: float
    cost_eur_per_mwh: float = 0.0

    @property
    def up_mw(self) -> FloatArray:
        """By how much consumption can be lowered (>= 0). [MW] (n,)"""
        return self.p_mw - self.p_min_mw

    @property
    def down_mw(self) -> FloatArray:
        """By how much consumption can be raised (>= 0). [MW] (n,)"""
        return self.p_max_mw - self.p_mw

    def finite_energy(self) -> tuple[float, float]:
        """Energies up and down, an infinite one replaced by the whole range over the horizon. [MWh]"""
        hours = self.grid.hours
        return (
            min(self.energy_up_mwh, float(self.up_mw.sum()) * hours),
            min(self.energy_down_mwh, float(self.down_mw.sum()) * hours),
        )

    def profile(self) -> PQProfile:
        """As PQ profile with limits."""
        return PQProfile(
            start=self.grid.start,
            step_s=self.grid.step_s,
            p_mw=tuple(self.p_mw.tolist()),
            q_mvar=tuple(self.q_mvar.tolist()),
            p_min_mw=tuple(self.p_min_mw.tolist()),
            p_max_mw=tuple(self.p_max_mw.tolist()),
            q_min_mvar=tuple(self.q_min_mvar.tolist()),
            q_max_mvar=tuple(self.q_max_mvar.tolist()),
        )
