"""Reactive power of inverters as a function of their voltage, Q(V), and the power flow that goes with it.

The characteristic is a polyline as grid codes prescribe it (VDE-AR-N 4110:2018, 10.2.2.4; IEEE 1547-2018, 5.3.3
*voltage-reactive power mode*): a dead band about the reference and a limited slope outside.  Voltage and reactive power
depend on each other; the response is the root of ``q - f(v(q)) = 0``, found by Newton's method with the slope of the
polyline and the adjoint sensitivities of the grid (a semismooth Newton method: L. Qi, J. Sun, "A nonsmooth version of
Newton's method", Math. Programming 58, 1993).  A step that does not bring voltage and reactive power closer is halved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.network import GridEngine, GridState, Observable
from heila_mosaik.domain.quantities import FloatArray, IntArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Characteristic:
    """Polyline of Q over V.

    Attributes:
        vm_pu: Corner voltages, rising. [pu] (n,)
        share: Reactive consumption there as share of the inverter's limit, never falling. [1] (n,)

    Raises:
        ValueError: If the corners do not rise, the shares fall or leave -1 to 1.
    """

    vm_pu: tuple[float, ...]
    share: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.vm_pu) != len(self.share) or len(self.vm_pu) < 2:
            raise ValueError("a Q(V) characteristic has at least two corners, each with voltage and share")
        if any(b <= a for a, b in zip(self.vm_pu, self.vm_pu[1:], strict=False)):
            raise ValueError(f"corner voltages {self.vm_pu} of a Q(V) characteristic must rise")
        if any(b < a for a, b in zip(self.share, self.share[1:], strict=False)):
            raise ValueError(
                f"shares {self.share} of a Q(V) characteristic fall: that would push the voltage further away"
            )
        if not all(-1.0 <= value <= 1.0 for value in self.share):
            raise ValueError(f"shares {self.share} of a Q(V) characteristic leave -1 to 1")

    def at(self, vm_pu: float) -> tuple[float, float]:
        """Share and slope at a voltage; outside the corners the share is held. [1], [1/pu]"""
        corners, share = self.vm_pu, self.share
        if not vm_pu > corners[0]:
            return share[0], 0.0
        for k in range(len(corners) - 1):
            if vm_pu <= corners[k + 1]:
                slope = (share[k + 1] - share[k]) / (corners[k + 1] - corners[k])
                return share[k] + slope * (vm_pu - corners[k]), slope
        return share[-1], 0.0


_SHORTEST = 1e-3
"""Share of a Newton step below which halving it is given up."""

QV_DEFAULT = Characteristic(vm_pu=(0.95, 0.98, 1.02, 1.05), share=(-1.0, 0.0, 0.0, 1.0))
"""Dead band of 2 % about nominal voltage, full reactive power at 5 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inverter:
    """A generating unit whose reactive power serves the grid.

    Attributes:
        element: ``sgen.<id>``.
        bus: Bus position.
        s_max_mva: Apparent power. [MVA]
        q_max_mvar: Largest reactive power in either direction. [MVar]
        characteristic: Q(V) it follows without a set point; ``None``: unity power factor.
    """

    element: str
    bus: int
    s_max_mva: float
    q_max_mvar: float
    characteristic: Characteristic | None = None

    def q_limit_mvar(self, p_mw: float) -> float:
        """Reactive power available beside an active power. [MVar]"""
        left = self.s_max_mva**2 - p_mw**2
        return min(self.q_max_mvar, left**0.5) if left > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Power flow with inverters that follow their characteristics.

    Attributes:
        state: Power flow.
        q_mvar: Reactive consumption of each inverter. [MVar] (m,)
        rounds: Power flows used.
        settled: Whether voltage and reactive power agree.
    """

    state: GridState
    q_mvar: FloatArray
    rounds: int
    settled: bool


def respond(
    engine: GridEngine,
    p_mw: FloatArray,
    q_mvar: FloatArray,
    inverters: tuple[Inverter, ...],
    limit_mvar: FloatArray,
    *,
    setpoint_mvar: FloatArray | None = None,
    start_mvar: FloatArray | None = None,
    tolerance_mvar: float = 1e-6,
    max_rounds: int = 80,
) -> Response:
    """Power flow with the reactive power of the inverters as their characteristics want it.

    Args:
        engine: Compiled grid; its last solution changes.
        p_mw: Active consumption per bus. [MW] (n_bus,)
        q_mvar: Reactive consumption without that of the inverters. [MVar] (n_bus,)
        inverters: Inverters. (m,)
        limit_mvar: Reactive power available to each. [MVar] (m,)
        setpoint_mvar: Set points; NaN where the characteristic rules. [MVar] (m,)
        start_mvar: First guess. [MVar] (m,)
        tolerance_mvar: Disagreement that counts as none. [MVar]
        max_rounds: Power flows at most.
    """
    n = len(p_mw)
    bus = np.array([inverter.bus for inverter in inverters], np.int64)
    fixed = np.full(len(inverters), np.nan) if setpoint_mvar is None else np.array(setpoint_mvar, float)
    for k, inverter in enumerate(inverters):
        if inverter.characteristic is None and np.isnan(fixed[k]):
            fixed[k] = 0.0
    free = np.flatnonzero(np.isnan(fixed))
    q = np.clip(np.where(np.isnan(fixed), 0.0 if start_mvar is None else start_mvar, fixed), -limit_mvar, limit_mvar)

    def solved(at: FloatArray) -> GridState:
        return engine.solve_bus(p_mw, q_mvar + np.bincount(bus, at, n))

    state = solved(q)
    rounds = 1
    coupling: FloatArray | None = None
    while state.converged and len(free):
        wanted, slope = _wanted(inverters, free, bus, limit_mvar, state.vm_pu)
        miss = wanted - q[free]
        if np.abs(miss).max() <= tolerance_mvar:
            break
        if rounds >= max_rounds:
            return Response(state=state, q_mvar=q, rounds=rounds, settled=False)
        if coupling is None:
            _, _, by_q = engine.sensitivity((Observable.VM_PU,) * len(free), bus[free])
            coupling = np.nan_to_num(by_q[:, bus[free]])
        # q + d = f(v) + f'(v) S d, so d = (I - diag(f') S)^-1 (f(v) - q)
        step = np.linalg.solve(np.eye(len(free)) - slope[:, None] * coupling, miss)
        size, share = float(np.linalg.norm(miss)), 1.0
        while True:
            trial = q.copy()
            trial[free] = np.clip(q[free] + share * step, -limit_mvar[free], limit_mvar[free])
            state = solved(trial)
            rounds += 1
            after = _wanted(inverters, free, bus, limit_mvar, state.vm_pu)[0] - trial[free]
            if np.linalg.norm(after) < size or share < _SHORTEST or rounds >= max_rounds:
                break
            share *= 0.5
        q = trial
    return Response(state=state, q_mvar=q, rounds=rounds, settled=state.converged)


def _wanted(
    inverters: tuple[Inverter, ...], free: IntArray, bus: IntArray, limit_mvar: FloatArray, vm_pu: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Reactive power the characteristics want at the present voltages, and its slope. [MVar], [MVar/pu]"""
    wanted, slope = np.empty(len(free)), np.empty(len(free))
    for row, k in enumerate(free):
        rule = inverters[k].characteristic
        assert rule is not None
        voltage = float(vm_pu[bus[k]])
        share, rise = rule.at(voltage) if voltage == voltage else (0.0, 0.0)  # noqa: PLR0124  # NaN: no voltage
        wanted[row], slope[row] = share * inverters[k].q_max_mvar, rise * inverters[k].q_max_mvar
    inside = np.abs(wanted) < limit_mvar[free]
    return np.clip(wanted, -limit_mvar[free], limit_mvar[free]), slope * inside
