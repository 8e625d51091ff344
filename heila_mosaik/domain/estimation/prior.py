"""What the estimator believes before it looks at a measurement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from heila_mosaik.domain.network import Network
from heila_mosaik.domain.quantities import FloatArray, IntArray
from heila_mosaik.errors import Problem, ProblemsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Pseudo-measurements: expected consumption of every injection with its standard deviation.

    Buses without an injection carry exactly zero power.  Feeding is negative consumption.

    Attributes:
        names: Name of each injection, ``load.4``, ``sgen.2`` or a microgrid. (n,)
        bus: Position of its bus. (n,)
        p_mw, q_mvar: Expected consumption. [MW], [MVar] (n,)
        sigma_p_mw, sigma_q_mvar: Standard deviation. [MW], [MVar] (n,)
        ext_vm_pu: Expected voltage of each external grid. [pu] (n_ext,)
        ext_sigma_pu: Its standard deviation. [pu] (n_ext,)
    """

    names: tuple[str, ...]
    bus: IntArray
    p_mw: FloatArray
    q_mvar: FloatArray
    sigma_p_mw: FloatArray
    sigma_q_mvar: FloatArray
    ext_vm_pu: FloatArray
    ext_sigma_pu: FloatArray

    @property
    def mean(self) -> FloatArray:
        """State vector ``[P, Q, |V| of the external grids]``. (2n + n_ext,)"""
        return np.concatenate((self.p_mw, self.q_mvar, self.ext_vm_pu))

    @property
    def variance(self) -> FloatArray:
        """Variance of :attr:`mean`. (2n + n_ext,)"""
        return np.concatenate((self.sigma_p_mw, self.sigma_q_mvar, self.ext_sigma_pu)) ** 2


def check_prior(prior: Prior, network: Network) -> None:
    """Check shapes, finiteness, signs of deviations and bus positions.

    Raises:
        ProblemsError: With every problem found.
    """
    n, n_bus = len(prior.names), len(network.bus_ids)
    if _in_order(prior, n, n_bus, len(network.ext_grids.ids)):
        return
    problems: list[Problem] = []
    remedy = "give one finite number per injection"
    for field in ("bus", "p_mw", "q_mvar", "sigma_p_mw", "sigma_q_mvar"):
        column = np.asarray(getattr(prior, field))
        if column.shape != (n,):
            problems.append(Problem(what=f"{field} has shape {column.shape}", where="prior", remedy=remedy))
            continue
        problems += [
            Problem(what=f"{field} is not finite", where=prior.names[position], remedy=remedy)
            for position in np.flatnonzero(~np.isfinite(column))
        ]
        if field.startswith("sigma"):
            problems += [
                Problem(
                    what=f"{field} = {column[position]:g} is not positive",
                    where=prior.names[position],
                    remedy="state an uncertainty; leave out an injection that is exactly zero",
                )
                for position in np.flatnonzero(column <= 0)
            ]
    outside = [prior.names[k] for k in np.flatnonzero((prior.bus < 0) | (prior.bus >= n_bus))] if not problems else []
    problems += [
        Problem(what="is at a bus the grid does not have", where=name, remedy=f"positions go from 0 to {n_bus - 1}")
        for name in outside
    ]
    n_ext = len(network.ext_grids.ids)
    if prior.ext_vm_pu.shape != (n_ext,) or prior.ext_sigma_pu.shape != (n_ext,) or not (prior.ext_sigma_pu > 0).all():
        what = f"needs a voltage and a positive deviation for each of {n_ext} external grids"
        problems.append(Problem(what=what, where="prior", remedy="for example 1.0 pu and 0.05 pu"))
    if problems:
        raise ProblemsError("pseudo-measurements", problems)


def _in_order(prior: Prior, n: int, n_bus: int, n_ext: int) -> bool:
    """Whether nothing is wrong: the quick look that nearly always suffices."""
    if any(len(column) != n for column in (prior.bus, prior.p_mw, prior.q_mvar, prior.sigma_p_mw, prior.sigma_q_mvar)):
        return False
    if prior.ext_vm_pu.shape != (n_ext,) or prior.ext_sigma_pu.shape != (n_ext,):
        return False
    variance = prior.variance
    deviations_good = min(prior.sigma_p_mw.min(initial=1.0), prior.sigma_q_mvar.min(initial=1.0)) > 0.0
    inside = n == 0 or bool(prior.bus.min() >= 0 and prior.bus.max() < n_bus)
    # a NaN or an infinity does not survive the sums
    total = float(prior.mean.sum() + variance.sum())
    return inside and bool(deviations_good) and bool(prior.ext_sigma_pu.min(initial=1.0) > 0.0) and total - total == 0.0
