"""What the DSO knows ahead of time: its own forecast of every injection and the plans of the microgrids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from heila_mosaik.domain.estimation.prior import Prior
from heila_mosaik.domain.forecast.injections import ErrorModel, InjectionForecast, blend
from heila_mosaik.domain.information import OperationPlan
from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.domain.timegrid import TimeGrid

_REMEMBERED = 8
"""Moments whose expectation is kept: now and those that set points decided now take effect."""


class InjectionProfile(Protocol):
    """The DSO's own day-ahead forecast of the injections, with its error in it."""

    def __call__(self, grid: TimeGrid) -> tuple[FloatArray, FloatArray]:
        """Expected consumption in every interval. [MW] (t, n), [MVar] (t, n)"""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Injections:
    """Injections the DSO reckons with, microgrids left out.

    Attributes:
        names: ``load.4``, ``sgen.2``. (n,)
        bus: Bus position of each. (n,)
        scale_mva: Rated power. [MVA] (n,)
        profile: Forecast of them.
    """

    names: tuple[str, ...]
    bus: IntArray
    scale_mva: FloatArray
    profile: InjectionProfile


@dataclass(slots=True, kw_only=True)
class Knowledge:
    """Injections and microgrids together: columns are the injections, then the microgrids.

    Attributes:
        injections: The DSO's own.
        locations: Bus position of each microgrid.
        location_scale_mva: Rated power of each microgrid. [MVA]
        error: Error model of the injection forecast.
        plan_error: Error model of the microgrids' plans.
        ext_vm_pu: Expected voltage of each external grid. [pu] (n_ext,)
        ext_sigma_pu: Its standard deviation. [pu]
        chunk_s: Profiles are read in chunks of this length. [s]
        disconnected: Injections that are switched off, by name; they are expected to draw and feed nothing.
    """

    injections: Injections
    locations: Mapping[str, int]
    location_scale_mva: Mapping[str, float]
    ext_vm_pu: FloatArray
    error: ErrorModel = field(default_factory=ErrorModel)
    plan_error: ErrorModel = field(default_factory=lambda: ErrorModel(relative=0.1, floor=0.05, correlation=0.0))
    ext_sigma_pu: float = 0.03
    step_s: int = 900
    chunk_s: int = 6 * 3600
    disconnected: set[str] = field(default_factory=set)
    _plans: dict[str, OperationPlan] = field(default_factory=dict)
    _chunk: tuple[TimeGrid, FloatArray, FloatArray] | None = None
    _expected: dict[tuple[object, ...], tuple[FloatArray, FloatArray]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of every column. (n,)"""
        return (*self.injections.names, *self.locations)

    @property
    def bus(self) -> IntArray:
        """Bus position of every column. (n,)"""
        return np.concatenate((self.injections.bus, np.array(list(self.locations.values()), dtype=np.int64)))

    @property
    def scale_mva(self) -> FloatArray:
        """Rated power of every column. [MVA] (n,)"""
        return np.concatenate((self.injections.scale_mva, [self.location_scale_mva[name] for name in self.locations]))

    def learn(self, plan: OperationPlan) -> bool:
        """Take a microgrid's plan; the latest replaces earlier ones.  Returns whether it is one of ours."""
        known = self._plans.get(plan.subject)
        if plan.subject in self.locations and (known is None or plan.issued_at >= known.issued_at):
            self._plans[plan.subject] = plan
            self._expected.clear()
        return plan.subject in self.locations

    def planned(self, location: str, moment: datetime) -> tuple[float, float]:
        """Planned power of a microgrid; zero where no plan covers ``moment``. [MW], [MVar]"""
        plan = self._plans.get(location)
        if plan is None or moment not in plan.profile.grid:
            return 0.0, 0.0
        position = plan.profile.grid.position(moment)
        return plan.profile.p_mw[position], plan.profile.q_mvar[position]

    def expected(self, moment: datetime) -> tuple[FloatArray, FloatArray]:
        """Forecast and plans of every column at one moment. [MW] (n,), [MVar] (n,)

        The forecast's values hold at the starts of its intervals; between them it is read linearly, as a control
        centre reads a quarter-hourly schedule.
        """
        key = (moment, *sorted(self.disconnected))
        found = self._expected.get(key)
        if found is None:
            grid, p, q = self._covering(moment)
            row = grid.position(moment)
            share = (moment - grid.at(row)).total_seconds() / grid.step_s
            plans = np.array([self.planned(name, moment) for name in self.locations]).reshape(-1, 2)
            own_p, own_q = (1.0 - share) * p[row] + share * p[row + 1], (1.0 - share) * q[row] + share * q[row + 1]
            found = np.concatenate((own_p, plans[:, 0])), np.concatenate((own_q, plans[:, 1]))
            off = self._off()
            for powers in found:
                powers[off] = 0.0
            if len(self._expected) >= _REMEMBERED:
                self._expected.clear()
            self._expected[key] = found
        return found[0].copy(), found[1].copy()

    def _covering(self, moment: datetime) -> tuple[TimeGrid, FloatArray, FloatArray]:
        """Chunk of the forecast that holds ``moment``, with one row more than it has intervals."""
        if self._chunk is None or moment not in self._chunk[0]:
            midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            passed = int((moment - midnight).total_seconds() // self.step_s) * self.step_s
            count = max(self.chunk_s // self.step_s, 1)
            grid = TimeGrid(start=midnight + timedelta(seconds=passed), step_s=self.step_s, count=count)
            self._chunk = (grid, *self.injections.profile(replace(grid, count=count + 1)))
        return self._chunk

    def prior(self, now: datetime, adjustments: Mapping[str, tuple[float, float]]) -> Prior:
        """Pseudo-measurements for the estimator at ``now``, activations in force included."""
        p, q = self.expected(now)
        own = len(self.injections.names)
        extra = np.array([adjustments.get(name, (0.0, 0.0)) for name in self.locations]).reshape(-1, 2)
        p[own:] += extra[:, 0]
        q[own:] += extra[:, 1]
        # whether an activation is followed, or has just ended, is not known before it is measured
        unsure = np.zeros((2, len(p)))
        unsure[:, own:] = np.abs(extra.T)
        return Prior(
            names=self.names,
            bus=self.bus,
            p_mw=p,
            q_mvar=q,
            sigma_p_mw=self._sigma(p) + unsure[0],
            sigma_q_mvar=self._sigma(q) + unsure[1],
            ext_vm_pu=self.ext_vm_pu,
            ext_sigma_pu=np.full(len(self.ext_vm_pu), self.ext_sigma_pu),
        )

    def forecast(
        self, grid: TimeGrid, now: datetime, deviation_p_mw: FloatArray | None, deviation_q_mvar: FloatArray | None
    ) -> InjectionForecast:
        """Injections ahead: profile and plans, corrected by the deviation seen now.

        Args:
            grid: Intervals.
            now: Present time.
            deviation_p_mw: Estimated baseline minus expectation now. [MW] (n,); ``None``: no estimate
            deviation_q_mvar: The same of reactive power. [MVar] (n,)
        """
        p_own, q_own = self.injections.profile(grid)
        times = [grid.at(row) for row in range(grid.count)]
        plans = np.array([[self.planned(name, moment) for name in self.locations] for moment in times])
        plans = plans.reshape(grid.count, len(self.locations), 2)
        p, q = np.hstack((p_own, plans[:, :, 0])), np.hstack((q_own, plans[:, :, 1]))
        off = self._off()
        p[:, off], q[:, off] = 0.0, 0.0
        profile = InjectionForecast(
            grid=grid,
            p_mw=p,
            q_mvar=q,
            sigma_p_mw=self._sigma(p),
            sigma_q_mvar=self._sigma(q),
            correlation=self.error.correlation,
        )
        if deviation_p_mw is None or deviation_q_mvar is None:
            return profile
        return blend(
            profile,
            self.error.tau_s,
            deviation_p_mw=deviation_p_mw,
            deviation_q_mvar=deviation_q_mvar,
            lead_s=(grid.start - now).total_seconds(),
        )

    def _off(self) -> list[int]:
        """Columns of what is switched off."""
        if not self.disconnected:
            return []
        return [column for column, name in enumerate(self.injections.names) if name in self.disconnected]

    def _sigma(self, power: FloatArray) -> FloatArray:
        own = len(self.injections.names)
        scale = self.scale_mva
        return np.concatenate(
            (
                self.error.sigma(power[..., :own], scale[:own]),
                self.plan_error.sigma(power[..., own:], scale[own:]),
            ),
            axis=-1,
        )
