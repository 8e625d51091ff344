"""Feeder bay without wire and clock: breaker, protection, DER, local switch and the watchdog.  Time comes in.

Behaviour is that of a feeder terminal in general (IEC 60255-151 definite-time overcurrent, IEEE 1547 cease to
energise on loss of mains); times are settings, not measurements of a REF615.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from heila_mosaik.gridmodel.feeder import compile_feeder

_SQRT3 = math.sqrt(3.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaySettings:
    """Feeder and relay.

    Attributes:
        vn_kv: Nominal voltage. [kV]
        length_km: Line. [km]
        r_ohm_per_km: Resistance. [ohm/km]
        x_ohm_per_km: Reactance. [ohm/km]
        load_p_mw: Load at the end of the line. [MW]
        load_q_mvar: Load at the end of the line. [Mvar]
        travel_s: Breaker travel time, open or close. [s]
        pickup_ka: Overcurrent pick-up. [kA]
        delay_s: Definite time of the overcurrent stage. [s]
        der_ramp_per_s: Ramp of the DER. [MW/s], [Mvar/s]
        watchdog_s: Silence of the client after which breaker and DER go to their safe state. [s]
    """

    vn_kv: float = 20.0
    length_km: float = 8.0
    r_ohm_per_km: float = 0.3
    x_ohm_per_km: float = 0.35
    load_p_mw: float = 1.2
    load_q_mvar: float = 0.3
    travel_s: float = 0.05
    pickup_ka: float = 0.3
    delay_s: float = 0.1
    der_ramp_per_s: float = 2.0
    watchdog_s: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Quantities at the head of the feeder, behind the breaker; consumption positive."""

    vm_pu: float
    i_ka: float
    p_mw: float
    q_mvar: float


_DEAD = Measured(vm_pu=0.0, i_ka=0.0, p_mw=0.0, q_mvar=0.0)


def _towards(value: float, target: float, reach: float) -> float:
    return target if abs(target - value) <= reach else value + math.copysign(reach, target - value)


class Bay:
    """State of the bay.

    Args:
        settings: Feeder and relay.
        now_s: Now, monotonic. [s]
    """

    def __init__(self, settings: BaySettings | None = None, now_s: float = 0.0) -> None:
        self.settings = settings or BaySettings()
        self._engine = compile_feeder(
            vn_kv=self.settings.vn_kv,
            length_km=self.settings.length_km,
            r_ohm_per_km=self.settings.r_ohm_per_km,
            x_ohm_per_km=self.settings.x_ohm_per_km,
        )
        self._given = self._engine.default_input()
        self._now = now_s
        self._target_closed, self._arrives_at = True, -math.inf
        self.closed: bool | None = True
        self.local_switch = self.local_fault = self.tripped = self.stuck = False
        self.load_p_mw = self.settings.load_p_mw
        self.synchronism = self.watchdog_ok = True
        self.source_pu = 1.0
        self.setpoint = {"p": 0.0, "q": 0.0}
        self.der = {"p": 0.0, "q": 0.0}
        self.short_circuit_ka = 0.0
        self.operations = 0
        self._over_since = math.inf
        self._life_at = math.inf
        self.measured = _DEAD
        self._key: tuple[float, ...] = ()
        self._solve()

    @property
    def local(self) -> bool:
        """Whether the relay takes orders at its front panel only."""
        return self.local_switch or self.local_fault

    def advance(self, now_s: float) -> None:
        """Let time pass."""
        elapsed, self._now = max(now_s - self._now, 0.0), now_s
        if self.closed is None and now_s >= self._arrives_at:
            self.closed = self._target_closed
        if now_s - self._life_at > self.settings.watchdog_s:
            self._fall_back()
        energised = self.closed is True
        for axis, value in self.der.items():
            target = self.setpoint[axis] if energised else 0.0
            # Without mains the DER ceases to energise at once; with mains it ramps.
            reach = self.settings.der_ramp_per_s * elapsed if energised else math.inf
            self.der[axis] = _towards(value, target, reach)
        self._solve()
        self._protect()

    def command_breaker(self, closed: bool) -> bool:
        """A switching order from the client; whether it is accepted."""
        if self.local or (closed and (not self.synchronism or self.tripped)):
            return False
        self._switch(closed)
        return True

    def command_setpoint(self, axis: str, value: float) -> bool:
        """A set point for the DER, ``p`` [MW] or ``q`` [Mvar]; whether it is accepted."""
        if self.local or self.closed is not True or not math.isfinite(value):
            return False
        self.setpoint[axis] = value
        return True

    def operate(self, closed: bool) -> None:
        """Somebody at the relay's front panel moves the breaker."""
        self._switch(closed)

    def sign_of_life(self) -> None:
        """The client toggled the watchdog; from the first one on it is supervised."""
        self._life_at, self.watchdog_ok = self._now, True

    @property
    def supervised(self) -> bool:
        """Whether a client has given a sign of life that has not expired."""
        return math.isfinite(self._life_at)

    def reset_trip(self) -> None:
        """A person at the relay acknowledges the trip."""
        self.tripped, self.short_circuit_ka = False, 0.0

    def _fall_back(self) -> None:
        self._life_at, self.watchdog_ok = math.inf, False
        self.setpoint = {"p": 0.0, "q": 0.0}
        self._switch(closed=False)

    def _switch(self, closed: bool) -> None:
        if self.stuck or (self.closed is not None and closed == self.closed):
            return
        self._target_closed, self.closed = closed, None
        self._arrives_at = self._now + self.settings.travel_s
        self.operations += 1

    def _protect(self) -> None:
        over = self.closed is True and self.measured.i_ka > self.settings.pickup_ka
        self._over_since = min(self._over_since, self._now) if over else math.inf
        if self._now - self._over_since >= self.settings.delay_s:
            self.tripped = True
            self._switch(closed=False)

    def _solve(self) -> None:
        key = (
            float(self.closed is True), self.source_pu, self.short_circuit_ka, self.der["p"], self.der["q"],
            self.load_p_mw,
        )  # fmt: skip
        if key == self._key:
            return
        self._key = key
        if self.closed is not True:
            self.measured = _DEAD
            return
        given = self._given
        given.ext_vm_pu[0] = self.source_pu
        given.load_p_mw[0] = self.load_p_mw + self.der["p"]
        given.load_q_mvar[0] = self.settings.load_q_mvar + self.der["q"]
        state = self._engine.solve(given)
        p, q = float(state.ext_p_mw[0]), float(state.ext_q_mvar[0])
        current = math.hypot(p, q) / (_SQRT3 * self.settings.vn_kv * self.source_pu)
        self.measured = Measured(vm_pu=self.source_pu, i_ka=max(current, self.short_circuit_ka), p_mw=p, q_mvar=q)
