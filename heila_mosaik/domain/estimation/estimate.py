"""Settings, results and findings of the state estimator."""

from __future__ import annotations

from dataclasses import dataclass, field

from heila_mosaik.domain.estimation.readings import Weighting
from heila_mosaik.domain.network import GridState
from heila_mosaik.domain.quantities import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorSettings:
    """Settings of the estimator.

    Attributes:
        weighting: How trust falls with age and quality.
        tolerance_mw: Gauss-Newton stops when no power moves by more. [MW]
        tolerance_pu: ... and no external voltage moves by more. [pu]
        max_iterations: Iterations before the failure is named.
        confidence: Confidence of the chi-square test. [1]
        residual_limit: Largest normalised residual of a good value. [1]
        max_rejected: Measurements that may be rejected in one estimation.
        max_widened: Pseudo-measurements that may be found wrong and widened in one estimation.
    """

    weighting: Weighting = field(default_factory=Weighting)
    tolerance_mw: float = 1e-6
    tolerance_pu: float = 1e-9
    max_iterations: int = 20
    confidence: float = 0.999
    residual_limit: float = 4.0
    max_rejected: int = 3
    max_widened: int = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A value found inconsistent with the others.

    Attributes:
        label: ``<element> <quantity>``.
        value: Measured or, for a pseudo-measurement, expected value.
        estimate: Estimate at the time of the finding.
        normalised_residual: Residual over its standard deviation. [1]
        pseudo: Whether it is a pseudo-measurement (then its deviation was widened), not a meter (rejected).
    """

    label: str
    value: float
    estimate: float
    normalised_residual: float
    pseudo: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Result of one estimation.

    Attributes:
        state: Power flow at the estimate.
        p_mw, q_mvar: Consumption of each injection. (n,)
        sigma_p_mw, sigma_q_mvar: Posterior standard deviation. (n,)
        ext_vm_pu: Voltage of each external grid. (n_ext,)
        p_bus_mw, q_bus_mvar: Consumption per bus. (n_bus,)
        iterations: Gauss-Newton iterations, all repetitions after rejections included.
        used: Labels of the measurements used.
        residuals: Measured minus estimated of those. (m,)
        objective: Weighted sum of squares J. [1]
        limit: Chi-square limit for J. [1]
        suspects: Bad data found, in the order found.
    """

    state: GridState
    p_mw: FloatArray
    q_mvar: FloatArray
    sigma_p_mw: FloatArray
    sigma_q_mvar: FloatArray
    ext_vm_pu: FloatArray
    p_bus_mw: FloatArray
    q_bus_mvar: FloatArray
    iterations: int
    used: tuple[str, ...]
    residuals: FloatArray
    objective: float
    limit: float
    suspects: tuple[Suspect, ...]
