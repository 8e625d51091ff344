"""Load that follows its profile and takes no set point."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from heila_mosaik.domain.resources.base import Exogenous, Limits, Resource, Setpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """Fixed load.

    Attributes:
        p_mw: Active power at profile value 1. [MW]
        q_mvar: Reactive power at profile value 1. [MVar]
        profile: Name of the profile; empty: constant.
    """

    p_mw: float
    q_mvar: float = 0.0
    profile: str = ""


class Load(Resource):
    """Draws ``profile * rating``."""

    __slots__ = ("spec",)

    def __init__(self, name: str, spec: LoadSpec) -> None:
        super().__init__(name)
        self.spec = spec

    def step(self, now: datetime, dt_s: float, setpoint: Setpoint, exogenous: Exogenous) -> tuple[float, float]:
        """Advance; the set point is ignored."""
        del now, setpoint
        factor = 1.0 if exogenous.profile is None else exogenous.profile
        self.p_mw, self.q_mvar = self.spec.p_mw * factor, self.spec.q_mvar * factor
        energy = self.p_mw * dt_s / 3600.0
        self.book.electric_mwh += energy
        self.book.useful_mwh += energy
        return self.p_mw, self.q_mvar

    def off(self, now: datetime, dt_s: float, exogenous: Exogenous) -> float:
        """Advance without voltage; see :meth:`Resource.off`."""
        del now
        factor = 1.0 if exogenous.profile is None else exogenous.profile
        self.p_mw = self.q_mvar = 0.0
        self.book.unserved_mwh += self.spec.p_mw * factor * dt_s / 3600.0
        return self.spec.p_mw * factor

    def limits(self, now: datetime) -> Limits:
        """No room: the present power."""
        del now
        return self.p_mw, self.p_mw, self.q_mvar, self.q_mvar
