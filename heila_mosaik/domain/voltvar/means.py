"""The DSO's own means: what it may move itself, beside the flexibility it buys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.congestion.cases import Action
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.voltvar.characteristic import Inverter
from heila_mosaik.domain.voltvar.devices import Device


@dataclass(frozen=True, slots=True, kw_only=True)
class Curtailable:
    """A generating unit the DSO may curtail as a last resort.

    Attributes:
        element: ``sgen.<id>``.
        bus: Bus position.
        rated_mw: Rated power. [MW]
        price_eur_per_mwh: Compensation, dearer than any flexibility so that it comes last. [EUR/MWh]
    """

    element: str
    bus: int
    rated_mw: float
    price_eur_per_mwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnMeans:
    """Taps and capacitor banks, inverters, units that may be curtailed."""

    devices: tuple[Device, ...] = ()
    inverters: tuple[Inverter, ...] = ()
    curtailable: tuple[Curtailable, ...] = ()

    def curtailment(self, available_mw: FloatArray) -> tuple[Action, ...]:
        """Curtailment as actions of the congestion management: raised consumption up to the generation available.

        Args:
            available_mw: Generation of each curtailable unit. [MW] (k,)
        """
        return tuple(
            Action(
                name=unit.element,
                bus=unit.bus,
                p_min_mw=0.0,
                p_max_mw=float(max(available, 0.0)),
                price_up=unit.price_eur_per_mwh,
                price_down=unit.price_eur_per_mwh,
            )
            for unit, available in zip(self.curtailable, available_mw, strict=True)
        )

    def reactive(self, limit_mvar: FloatArray, price_q: float = 0.1) -> tuple[Action, ...]:
        """Reactive power of the inverters as actions, nearly free. (m,)"""
        return tuple(
            Action(
                name=unit.element,
                bus=unit.bus,
                p_min_mw=0.0,
                p_max_mw=0.0,
                q_min_mvar=-float(limit),
                q_max_mvar=float(limit),
                price_q=price_q,
            )
            for unit, limit in zip(self.inverters, limit_mvar, strict=True)
        )

    def q_limits(self, generation_mw: FloatArray) -> FloatArray:
        """Reactive power available to the inverters. [MVar] (m,)"""
        return np.array(
            [unit.q_limit_mvar(float(p)) for unit, p in zip(self.inverters, generation_mw, strict=True)], dtype=float
        )
