"""Forecast of injections: a profile the DSO expects, corrected by what it sees now.

The error of the profile is taken as a first-order autoregression with time constant ``tau``.  Its best prediction from
the present deviation ``d`` is ``d · exp(-lead/tau)``, and the error left has variance
``sigma² · (1 - exp(-2 lead/tau)) + sigma_now² · exp(-2 lead/tau)`` (G. Box, G. Jenkins, *Time Series Analysis*, ch. 5).
Short leads are persistence, long ones the profile.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.timegrid import TimeGrid


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorModel:
    """Declared error of the DSO's injection forecast.

    Attributes:
        relative: Standard deviation of the profile's error, of the expected power. [1]
        floor: ... at least this share of the rated power. [1]
        tau_s: Time constant of the error. [s]
        correlation: Share of the variance that all injections have in common (the weather). [1]
    """

    relative: float = 0.15
    floor: float = 0.03
    tau_s: float = 3 * 3600.0
    correlation: float = 0.3

    def sigma(self, power: FloatArray, scale: FloatArray) -> FloatArray:
        """Standard deviation of the profile's error. [MW] like ``power``"""
        return np.maximum(self.relative * np.abs(power), self.floor * scale) + 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionForecast:
    """Expected consumption of every injection in every interval with its deviation.

    Attributes:
        grid: Intervals.
        p_mw, q_mvar: Expected consumption. [MW], [MVar] (t, n)
        sigma_p_mw, sigma_q_mvar: Standard deviation. [MW], [MVar] (t, n)
        correlation: Common share of the variance. [1]
    """

    grid: TimeGrid
    p_mw: FloatArray
    q_mvar: FloatArray
    sigma_p_mw: FloatArray
    sigma_q_mvar: FloatArray
    correlation: float


def blend(
    profile: InjectionForecast,
    tau_s: float,
    *,
    deviation_p_mw: FloatArray,
    deviation_q_mvar: FloatArray,
    deviation_sigma_mw: FloatArray | None = None,
    lead_s: float = 0.0,
) -> InjectionForecast:
    """Blend the profile with the deviation seen now.

    Args:
        profile: Expectation of the profile alone with the deviation of its error.
        tau_s: Time constant of that error. [s]
        deviation_p_mw: Estimate minus profile now, active. [MW] (n,)
        deviation_q_mvar: Estimate minus profile now, reactive. [MVar] (n,)
        deviation_sigma_mw: Uncertainty of the estimate. [MW] (n,)
        lead_s: From now to the start of the first interval. [s]
    """
    grid = profile.grid
    leads = lead_s + grid.step_s * (np.arange(grid.count) + 0.5)
    decay = np.exp(-np.maximum(leads, 0.0) / tau_s)[:, None]
    now = np.zeros_like(deviation_p_mw) if deviation_sigma_mw is None else deviation_sigma_mw
    return replace(
        profile,
        p_mw=profile.p_mw + decay * deviation_p_mw,
        q_mvar=profile.q_mvar + decay * deviation_q_mvar,
        sigma_p_mw=np.sqrt(profile.sigma_p_mw**2 * (1 - decay**2) + (decay * now) ** 2),
        sigma_q_mvar=np.sqrt(profile.sigma_q_mvar**2 * (1 - decay**2) + (decay * now) ** 2),
    )
