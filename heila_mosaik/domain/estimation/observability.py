"""What the measurements see: reach, redundancy, and the meter that would help most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from heila_mosaik.domain.estimation.estimator import Estimator
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
        advice: Meters to add, best first: ``(what, share of the summed voltage variance it removes)``.
    """

    variance_share_p: FloatArray
    variance_share_q: FloatArray
    unobservable: tuple[str, ...]
    voltage_sigma_pu: FloatArray
    critical: tuple[str, ...]
    redundant: tuple[str, ...]
    advice: tuple[tuple[str, float], ...]


def observability(
    estimator: Estimator, prior: Prior, measured: Measurements, *, meter_sigma_pu: float = 0.005, advices: int = 3
) -> ObservabilityReport:
    """Report what the usable values of ``measured`` reach, linearised at the estimator's last solution.

    Args:
        estimator: Estimator that has made at least one estimate.
        prior: Pseudo-measurements.
        measured: Measurement set in use.
        meter_sigma_pu: Accuracy of a voltage meter that might be added. [pu]
        advices: Number of meters to propose.
    """
    rows = estimator.rows_for(measured)
    _, variances, usable = weigh(measured, rows, estimator.settings.weighting)
    keep = np.flatnonzero(usable)
    _, jacobian = estimator.jacobian(rows, keep)
    c, n = prior.variance, len(prior.names)
    half = jacobian * c
    gain = cho_factor(half @ jacobian.T + np.diag(variances[keep]))
    posterior = c - np.einsum("ij,ij->j", half, cho_solve(gain, half))
    share = posterior / c

    # a value is critical if, with pseudo-measurements out of the way, its residual is zero whatever it reads
    wide = (half * _WIDE) @ jacobian.T + np.diag(variances[keep])
    redundancy = variances[keep] * np.diag(np.linalg.inv(wide))
    labels = [rows.labels[int(row)] for row in keep]

    network = estimator.engine.network
    buses = np.arange(len(network.bus_ids))
    voltage = (Observable.VM_PU,) * len(buses)
    _, d_p, d_q = estimator.engine.sensitivity(voltage, buses)
    d_ext = estimator.engine.sensitivity_ext_vm(voltage, buses)
    by_state = np.nan_to_num(np.hstack((d_p[:, estimator.bus], d_q[:, estimator.bus], d_ext)))
    reach = (by_state * c) @ jacobian.T
    covariance = (by_state * c) @ by_state.T - reach @ cho_solve(gain, reach.T)
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    advice = _advice(covariance, [f"bus.{key} vm_pu" for key in network.bus_ids.tolist()], meter_sigma_pu**2, advices)
    return ObservabilityReport(
        variance_share_p=share[:n],
        variance_share_q=share[n : 2 * n],
        unobservable=tuple(name for k, name in enumerate(prior.names) if share[k] > _UNSEEN),
        voltage_sigma_pu=sigma,
        critical=tuple(label for label, value in zip(labels, redundancy, strict=True) if value < _CRITICAL),
        redundant=tuple(label for label, value in zip(labels, redundancy, strict=True) if value >= _CRITICAL),
        advice=advice,
    )


def _advice(
    covariance: FloatArray, labels: list[str], meter_variance: float, count: int
) -> tuple[tuple[str, float], ...]:
    """Greedy A-optimal placement: the meter that lowers the summed voltage variance most, then the next."""
    total = float(np.trace(covariance))
    found: list[tuple[str, float]] = []
    for _ in range(min(count, len(labels))):
        if total <= 0:
            break
        gains = (covariance**2).sum(axis=0) / (np.diag(covariance) + meter_variance)
        best = int(np.argmax(gains))
        found.append((labels[best], float(gains[best] / total)))
        column = covariance[:, best]
        covariance = covariance - np.outer(column, column) / (column[best] + meter_variance)
    return tuple(found)
