"""Heat pump with thermal storage that serves a temperature-driven heat demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.resources.base import Exogenous, Limits, Resource, Setpoint, clip, demand, percent, positive

Number = TypeVar("Number", float, FloatArray)

HEATING_LIMIT_C = 17.0
"""Air temperature above which no heat is wanted. [°C]"""
DESIGN_C = -10.0
"""Air temperature at which the heat demand of the specification holds. [°C]"""
RATING_LIFT_C = 28.0
"""Temperature lift at the rating point A7/W35 (EN 14511). [°C]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatPumpSpec:
    """Air-source heat pump, modulating, with a thermal store.

    Attributes:
        p_max_mw: Largest electrical power. [MW]
        cop: Coefficient of performance at A7/W35 (EN 14511). [1]
        heat_demand_mw_at_minus10: Heat demand at -10 °C air. [MW thermal]
        storage_mwh_thermal: Usable content of the store. [MWh thermal]
        storage_start_percent: Content at the start, also the level it keeps by itself. [%]
        loss_percent_per_h: Standing loss of the store's content. [%/h]
        wear_eur_per_mwh: Cost of moving its consumption. [EUR/MWh]
    """

    p_max_mw: float
    cop: float = 3.5
    heat_demand_mw_at_minus10: float = 0.0
    storage_mwh_thermal: float = 1.0
    storage_start_percent: float = 50.0
    loss_percent_per_h: float = 0.5
    wear_eur_per_mwh: float = 5.0

    def __post_init__(self) -> None:
        demand(
            "heat_pump",
            [
                positive(self.p_max_mw, "p_max_mw"),
                (self.cop >= 1.0, "cop", f"must be at least 1, got {self.cop}", "give the value at A7/W35, 2.5 to 5"),
                (
                    self.heat_demand_mw_at_minus10 >= 0.0,
                    "heat_demand_mw_at_minus10",
                    f"must not be negative, got {self.heat_demand_mw_at_minus10}",
                    "give the heat demand at -10 °C in MW thermal",
                ),
                positive(self.storage_mwh_thermal, "storage_mwh_thermal"),
                percent(self.storage_start_percent, "storage_start_percent"),
                percent(self.loss_percent_per_h, "loss_percent_per_h"),
            ],
        )

    def decay(self, hours: float) -> float:
        """Share of the store's content left after ``hours``. [1]"""
        return float((1.0 - self.loss_percent_per_h / 100.0) ** hours)


def cop_at(temperature_c: Number, cop_rated: float) -> Number:
    """Coefficient of performance of an air-source heat pump on floor heating.

    Shape: Ruhnau, Hirth and Praktiknjo 2019 (doi 10.1038/s41597-019-0199-y), COP = 6.08 - 0.09 dT + 0.0005 dT² with
    a sink at 30 - 0.5 T, scaled through the rated value at A7/W35.

    Args:
        temperature_c: Air temperature. [°C]
        cop_rated: Value at A7/W35. [1]
    """
    lift = np.maximum(15.0, 30.0 - 1.5 * temperature_c)
    rated = 6.08 - 0.09 * RATING_LIFT_C + 0.0005 * RATING_LIFT_C**2
    return np.maximum(1.0, cop_rated * (6.08 - 0.09 * lift + 0.0005 * lift * lift) / rated)


def heat_demand(temperature_c: Number, at_minus10_mw: float) -> Number:
    """Heat demand, linear from the heating limit down. [MW thermal]"""
    return at_minus10_mw * np.maximum(0.0, (HEATING_LIMIT_C - temperature_c) / (HEATING_LIMIT_C - DESIGN_C))


class HeatPump(Resource):
    """Keeps its store at the start level without a set point; an empty or full store overrides a set point."""

    __slots__ = ("_cop", "_decay", "_demand", "_temperature", "e_mwh", "spec")

    def __init__(self, name: str, spec: HeatPumpSpec) -> None:
        super().__init__(name)
        self.spec = spec
        self.e_mwh = spec.storage_mwh_thermal * spec.storage_start_percent / 100.0
        self._decay = spec.decay(self._dt_h)
        self._set_weather(10.0)

    def _set_weather(self, temperature_c: float) -> None:
        self._temperature = temperature_c
        self._cop = float(cop_at(temperature_c, self.spec.cop))
        self._demand = float(heat_demand(temperature_c, self.spec.heat_demand_mw_at_minus10))

    def _power_limits(self) -> tuple[float, float]:
        """Power that leaves the store neither empty nor overfull after one step. [MW]"""
        spec, left, hours = self.spec, self.e_mwh * self._decay, self._dt_h
        low = (self._demand * hours - left) / (self._cop * hours)
        high = (spec.storage_mwh_thermal - left + self._demand * hours) / (self._cop * hours)
        return clip(low, 0.0, spec.p_max_mw), clip(high, 0.0, spec.p_max_mw)

    def step(self, now: datetime, dt_s: float, setpoint: Setpoint, exogenous: Exogenous) -> tuple[float, float]:
        """Advance; see :meth:`Resource.step`."""
        del now
        spec, hours = self.spec, dt_s / 3600.0
        if hours != self._dt_h:
            self._dt_h, self._decay = hours, spec.decay(hours)
        if exogenous.temperature_c != self._temperature:
            self._set_weather(exogenous.temperature_c)
        before, left = self.e_mwh, self.e_mwh * self._decay
        wanted = setpoint[0]
        if wanted is None:
            target = spec.storage_mwh_thermal * spec.storage_start_percent / 100.0
            # One hour to come back to the level: smooth, and independent of the step length.
            wanted = (self._demand + (before - left) / hours + (target - before)) / self._cop
        low, high = self._power_limits()
        return self._run(clip(wanted, low, high), hours), 0.0

    def off(self, now: datetime, dt_s: float, exogenous: Exogenous) -> float:
        """Advance without voltage: heat comes from the store as long as it lasts."""
        del now
        hours = dt_s / 3600.0
        if hours != self._dt_h:
            self._dt_h, self._decay = hours, self.spec.decay(hours)
        if exogenous.temperature_c != self._temperature:
            self._set_weather(exogenous.temperature_c)
        self._run(0.0, hours)
        return 0.0

    def _run(self, p_mw: float, hours: float) -> float:
        """Heat with ``p_mw`` for one step; returns it. [MW]"""
        spec, before, left = self.spec, self.e_mwh, self.e_mwh * self._decay
        heat = p_mw * self._cop * hours
        need = self._demand * hours
        served = min(need, left + heat)
        self.e_mwh = min(spec.storage_mwh_thermal, left + heat - served)
        book = self.book
        book.electric_mwh += p_mw * hours
        book.harvested_mwh += heat - p_mw * hours
        book.useful_mwh += served
        book.unserved_mwh += need - served
        book.losses_mwh += (before - left) + (left + heat - served - self.e_mwh)
        book.stored_mwh += self.e_mwh - before
        self.p_mw = p_mw
        return p_mw

    def limits(self, now: datetime) -> Limits:
        """Limits for one more step at the last weather."""
        del now
        low, high = self._power_limits()
        return low, high, 0.0, 0.0

    def state(self) -> Mapping[str, float]:
        """Content of the store."""
        return {"soc_percent": 100.0 * self.e_mwh / self.spec.storage_mwh_thermal, "e_mwh": self.e_mwh}
