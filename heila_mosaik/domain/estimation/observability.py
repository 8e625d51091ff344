"""What the measurements see: reach, redundancy, and the meter that would help most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.estimation.cholesky import factor, solve
from heila_mosaik.domain.estimation.estimate import Estimate
from heila_mosaik.domain.estimation.estimator import Estimator
from heila_mosaik.domain.estimation.placement import Accuracy, advise
from heila_mosaik.domain.estimation.prior import Prior
from heila_mosaik.domain.estimation.readings import weigh
from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.network import Observable
from heila_mosaik.domain.quantities import FloatArray

_UNSEEN = 0.9
_CRITICAL = 1e-3
_WIDE = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservabilityReport:
    """Observability at one state.

    Attributes:
        variance_share_p, variance_share_q: Posterior over prior variance of each injection; 1 = unseen. (n,)
        unobservable: Injections whose active power is hardly better known than the forecast.
        voltage_sigma_pu: Posterior standard deviation of every bus voltage. [pu] (n_bus,)
        critical: Measurements that no other measurement checks: an error in them cannot be found.
        redundant: Measurements that others check.
        advice: Meters to add, best first: ``(element, share it removes)``, see :func:`~..placement.advise`.
    """

    variance_share_p: FloatArray
    variance_share_q: FloatArray
    unobservable: tuple[str, ...]
    voltage_sigma_pu: FloatArray
    critical: tuple[str, ...]
    redundant: tuple[str, ...]
    advice: tuple[tuple[str, float], ...]


def observability(
    estimator: Estimator,
    prior: Prior,
    measured: Measurements,
    estimate: Estimate,
    *,
    accuracy: Accuracy | None = None,
    advices: int = 3,
) -> ObservabilityReport:
    """Report what the usable values of ``measured`` reach, linearised at an estimate.

    Args:
        estimator: Estimator that made the estimate last.
        prior: Pseudo-measurements.
        measured: Measurement set in use.
        estimate: The estimate.
        accuracy: Accuracy of meters that might be added.
        advices: Number of meters to propose.
    """
    rows = estimator.rows_for(measured)
    _, variances, usable = weigh(measured, rows, estimator.settings.weighting)
    keep = np.flatnonzero(usable)
    _, jacobian = estimator.jacobian(rows, keep)
    c, n = prior.variance, len(prior.names)
    half = jacobian * c
    gain = factor(half @ jacobian.T, variances[keep])
    covariance = np.diag(c) - half.T @ solve(gain, half)
    share = np.diag(covariance) / c

    # a value is critical if, with pseudo-measurements out of the way, its residual is zero whatever it reads
    wide = (half * _WIDE) @ jacobian.T + np.diag(variances[keep])
    redundancy = variances[keep] * np.diag(np.linalg.inv(wide))
    labels = [rows.labels[int(row)] for row in keep]
    engine = estimator.engine
    buses = np.arange(len(engine.network.bus_ids))
    _, d_p, d_q, d_vm = engine.sensitivity_all((Observable.VM_PU,) * len(buses), buses)
    by_state = np.nan_to_num(np.hstack((d_p[:, estimator.bus], d_q[:, estimator.bus], d_vm)))
    variance = np.einsum("ij,jk,ik->i", by_state, covariance, by_state)
    metered = {label.split(" ")[0] for label in labels}
    return ObservabilityReport(
        variance_share_p=share[:n],
        variance_share_q=share[n : 2 * n],
        unobservable=tuple(name for k, name in enumerate(prior.names) if share[k] > _UNSEEN),
        voltage_sigma_pu=np.sqrt(np.maximum(variance, 0.0)),
        critical=tuple(label for label, value in zip(labels, redundancy, strict=True) if value < _CRITICAL),
        redundant=tuple(label for label, value in zip(labels, redundancy, strict=True) if value >= _CRITICAL),
        advice=advise(engine, estimate.state, estimator.bus, covariance, metered, accuracy or Accuracy(), advices),
    )
