"""State estimation: pseudo-measurements and telemetry to the likeliest state of the grid."""

from heila_mosaik.domain.estimation.estimate import Estimate, EstimatorSettings, Suspect
from heila_mosaik.domain.estimation.estimator import Estimator
from heila_mosaik.domain.estimation.failures import (
    ContradictoryMeasurementsError,
    DivergedEstimateError,
    EstimationError,
    NoMeasurementsError,
)
from heila_mosaik.domain.estimation.observability import ObservabilityReport, observability
from heila_mosaik.domain.estimation.prior import Prior, check_prior
from heila_mosaik.domain.estimation.readings import Weighting

__all__ = [
    "ContradictoryMeasurementsError",
    "DivergedEstimateError",
    "Estimate",
    "EstimationError",
    "Estimator",
    "EstimatorSettings",
    "NoMeasurementsError",
    "ObservabilityReport",
    "Prior",
    "Suspect",
    "Weighting",
    "check_prior",
    "observability",
]
