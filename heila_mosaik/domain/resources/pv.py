"""Photovoltaic plant: power from profile or weather, curtailment, reactive power within the inverter rating."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import numpy as np

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.resources.base import Exogenous, Limits, Resource, Setpoint, clip, demand, positive, share

Number = TypeVar("Number", float, FloatArray)

NOCT_RISE_C = 25.0
"""Rise of cell over air temperature at 800 W/m² (nominal operating cell temperature 45 °C, IEC 61215). [°C]"""
TEMPERATURE_COEFFICIENT = -0.004
"""Change of power per cell temperature over 25 °C, crystalline silicon. [1/°C]"""
Q_RAMP_SHARE = 0.1
"""Below this share of the rating the reactive capability falls linearly to zero (VDE-AR-N 4110, 10.2.2). [1]"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PvSpec:
    """Photovoltaic plant.

    Attributes:
        p_rated_mw: Rated feed-in. [MW]
        s_max_mva: Rating of the inverter. [MVA]
        cos_phi_min: Lowest power factor at rated power; fixes the reactive capability. [1]
        profile: Name of the profile (feed-in relative to the rating); empty: power from irradiance.
        wear_eur_per_mwh: Value of curtailed energy beside the spot price. [EUR/MWh]
    """

    p_rated_mw: float
    s_max_mva: float
    cos_phi_min: float = 0.9
    profile: str = ""
    wear_eur_per_mwh: float = 40.0

    def __post_init__(self) -> None:
        demand(
            "pv",
            [
                positive(self.p_rated_mw, "p_rated_mw"),
                positive(self.s_max_mva, "s_max_mva"),
                share(self.cos_phi_min, "cos_phi_min"),
            ],
        )

    def q_capability(self, p_available_mw: float, p_mw: float) -> float:
        """Largest reactive power either way.

        The plant holds the reactive power of ``cos_phi_min`` at rated power over its whole range (VDE-AR-N 4110),
        so curtailment takes none of it; active power has priority within the inverter rating.

        Args:
            p_available_mw: Power the sun offers (>= 0). [MW]
            p_mw: Power fed or drawn; the sign does not matter. [MW]
        """
        rated = self.p_rated_mw * math.tan(math.acos(self.cos_phi_min))
        ramp = min(1.0, p_available_mw / (Q_RAMP_SHARE * self.p_rated_mw))
        return min(rated * ramp, math.sqrt(max(0.0, self.s_max_mva**2 - p_mw * p_mw)))

    def q_capabilities(self, p_available_mw: FloatArray, p_mw: FloatArray) -> FloatArray:
        """:meth:`q_capability` of a series. [MVar] (n,)"""
        rated = self.p_rated_mw * math.tan(math.acos(self.cos_phi_min))
        ramp = np.minimum(1.0, p_available_mw / (Q_RAMP_SHARE * self.p_rated_mw))
        return np.asarray(np.minimum(rated * ramp, np.sqrt(np.maximum(0.0, self.s_max_mva**2 - p_mw * p_mw))))


def relative_output(irradiance_w_per_m2: Number, temperature_c: Number) -> Number:
    """Direct-current output relative to the rating (PVWatts, Dobos 2014, NREL/TP-6A20-62641, without system loss).

    Args:
        irradiance_w_per_m2: Irradiance in the plane of the array. [W/m²]
        temperature_c: Air temperature. [°C]

    Returns:
        Output per rated output at 1000 W/m² and 25 °C. [1]
    """
    cell_c = temperature_c + irradiance_w_per_m2 * (NOCT_RISE_C / 800.0)
    output = irradiance_w_per_m2 / 1000.0 * (1.0 + TEMPERATURE_COEFFICIENT * (cell_c - 25.0))
    return output if isinstance(output, float) else np.asarray(output, dtype=np.float64)


class Pv(Resource):
    """Feeds all it can at unity power factor without a set point."""

    __slots__ = ("available_mw", "spec")

    def __init__(self, name: str, spec: PvSpec) -> None:
        super().__init__(name)
        self.spec = spec
        self.available_mw = 0.0

    def step(self, now: datetime, dt_s: float, setpoint: Setpoint, exogenous: Exogenous) -> tuple[float, float]:
        """Advance; see :meth:`Resource.step`."""
        del now
        spec, hours = self.spec, dt_s / 3600.0
        relative = exogenous.profile
        if relative is None:
            relative = relative_output(exogenous.irradiance_w_per_m2, exogenous.temperature_c)
        self.available_mw = available = clip(relative * spec.p_rated_mw, 0.0, spec.s_max_mva)
        wanted = setpoint[0]
        p_mw = -available if wanted is None else clip(wanted, -available, 0.0)
        q_wanted = setpoint[1]
        q_mvar = 0.0
        if q_wanted:
            q_room = spec.q_capability(available, p_mw)
            q_mvar = clip(q_wanted, -q_room, q_room)
        book = self.book
        book.electric_mwh += p_mw * hours
        book.harvested_mwh -= p_mw * hours
        book.curtailed_mwh += (available + p_mw) * hours
        self.p_mw, self.q_mvar = p_mw, q_mvar
        return p_mw, q_mvar

    def limits(self, now: datetime) -> Limits:
        """Full feed-in to none, at the sun of the last step."""
        del now
        q_room = self.spec.q_capability(self.available_mw, self.available_mw)
        return -self.available_mw, 0.0, -q_room, q_room

    def state(self) -> Mapping[str, float]:
        """Power the sun offers."""
        return {"p_available_mw": self.available_mw}
