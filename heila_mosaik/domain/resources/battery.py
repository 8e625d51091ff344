"""Battery with state of charge, conversion losses and self-discharge."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from heila_mosaik.domain.resources.base import (
    Exogenous,
    Limits,
    Resource,
    Setpoint,
    clip,
    demand,
    percent,
    positive,
    share,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatterySpec:
    """Battery storage behind an inverter.

    Attributes:
        p_max_mw: Largest charging and discharging power. [MW]
        s_max_mva: Rating of the inverter. [MVA]
        energy_mwh: Capacity. [MWh]
        soc_min_percent: Lowest state of charge in operation. [%]
        soc_max_percent: Highest state of charge in operation. [%]
        soc_start_percent: State of charge at the start. [%]
        efficiency_charge: Stored per drawn energy. [1]
        efficiency_discharge: Fed per withdrawn energy. [1]
        self_discharge_percent_per_h: Loss of content. [%/h]
        wear_eur_per_mwh: Cost of wear per energy moved at the terminals. [EUR/MWh]
    """

    p_max_mw: float
    s_max_mva: float
    energy_mwh: float
    soc_min_percent: float = 10.0
    soc_max_percent: float = 90.0
    soc_start_percent: float = 50.0
    efficiency_charge: float = 0.95
    efficiency_discharge: float = 0.95
    self_discharge_percent_per_h: float = 0.005
    wear_eur_per_mwh: float = 20.0

    def __post_init__(self) -> None:
        low, start, high = self.soc_min_percent, self.soc_start_percent, self.soc_max_percent
        demand(
            "battery",
            [
                positive(self.p_max_mw, "p_max_mw"),
                positive(self.energy_mwh, "energy_mwh"),
                (
                    self.s_max_mva >= self.p_max_mw,
                    "s_max_mva",
                    f"{self.s_max_mva} MVA is below p_max_mw = {self.p_max_mw} MW",
                    "raise s_max_mva or lower p_max_mw",
                ),
                percent(low, "soc_min_percent"),
                percent(high, "soc_max_percent"),
                (
                    low < high,
                    "soc_min_percent",
                    f"{low} % is not below soc_max_percent = {high} %",
                    "swap or widen them",
                ),
                (
                    low <= start <= high,
                    "soc_start_percent",
                    f"{start} % lies outside soc_min_percent..soc_max_percent = {low}..{high} %",
                    "start inside the band",
                ),
                share(self.efficiency_charge, "efficiency_charge"),
                share(self.efficiency_discharge, "efficiency_discharge"),
                percent(self.self_discharge_percent_per_h, "self_discharge_percent_per_h"),
            ],
        )

    def decay(self, hours: float) -> float:
        """Share of the content left after ``hours``. [1]"""
        return float((1.0 - self.self_discharge_percent_per_h / 100.0) ** hours)


class Battery(Resource):
    """Idle without a set point; active power has priority over reactive power."""

    __slots__ = ("_decay", "e_mwh", "spec")

    def __init__(self, name: str, spec: BatterySpec) -> None:
        super().__init__(name)
        self.spec = spec
        self.e_mwh = spec.energy_mwh * spec.soc_start_percent / 100.0
        self._decay = spec.decay(self._dt_h)

    def _power_limits(self) -> tuple[float, float]:
        """Power by converter and content for one step. [MW]"""
        spec, left, hours = self.spec, self.e_mwh * self._decay, self._dt_h
        low = spec.energy_mwh * spec.soc_min_percent / 100.0
        high = spec.energy_mwh * spec.soc_max_percent / 100.0
        discharge = max(0.0, left - low) * spec.efficiency_discharge / hours
        charge = max(0.0, high - left) / spec.efficiency_charge / hours
        return -min(spec.p_max_mw, discharge), min(spec.p_max_mw, charge)

    def step(self, now: datetime, dt_s: float, setpoint: Setpoint, exogenous: Exogenous) -> tuple[float, float]:
        """Advance; see :meth:`Resource.step`."""
        del now, exogenous
        spec, hours = self.spec, dt_s / 3600.0
        if hours != self._dt_h:
            self._dt_h, self._decay = hours, spec.decay(hours)
        p_low, p_high = self._power_limits()
        p_mw = clip(setpoint[0] or 0.0, p_low, p_high)
        q_room = math.sqrt(max(0.0, spec.s_max_mva**2 - p_mw * p_mw))
        q_mvar = clip(setpoint[1] or 0.0, -q_room, q_room)
        inside = p_mw * spec.efficiency_charge if p_mw > 0 else p_mw / spec.efficiency_discharge
        before = self.e_mwh
        self.e_mwh = before * self._decay + inside * hours
        book = self.book
        book.electric_mwh += p_mw * hours
        book.losses_mwh += (p_mw - inside) * hours + before * (1.0 - self._decay)
        book.stored_mwh += self.e_mwh - before
        self.p_mw, self.q_mvar = p_mw, q_mvar
        return p_mw, q_mvar

    def settle(self, p_mw: float, dt_s: float) -> None:
        """Book what it gave or took as the grid-forming source of an island over a step that is over.

        Args:
            p_mw: Power the island asked for, consumption positive. [MW]
            dt_s: Length of the step. [s]
        """
        hours = dt_s / 3600.0
        inside = p_mw * self.spec.efficiency_charge if p_mw > 0 else p_mw / self.spec.efficiency_discharge
        self.e_mwh += inside * hours
        self.book.electric_mwh += p_mw * hours
        self.book.losses_mwh += (p_mw - inside) * hours
        self.book.stored_mwh += inside * hours
        self.p_mw = p_mw

    def limits(self, now: datetime) -> Limits:
        """Limits for one more step; reactive power at the present active power."""
        del now
        p_low, p_high = self._power_limits()
        q_room = math.sqrt(max(0.0, self.spec.s_max_mva**2 - self.p_mw * self.p_mw))
        return p_low, p_high, -q_room, q_room

    def state(self) -> Mapping[str, float]:
        """State of charge and content."""
        return {"soc_percent": 100.0 * self.e_mwh / self.spec.energy_mwh, "e_mwh": self.e_mwh}
