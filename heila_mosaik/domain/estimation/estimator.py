"""Weighted least squares state estimation in the space of injections.

State: P and Q of every injection and the voltage of every external grid.  Pseudo-measurements are the prior
``x0`` with covariance ``C`` (diagonal); the m real measurements ``z`` with covariance ``R`` enter by Gauss-Newton,

    x ← x0 + C Hᵀ (H C Hᵀ + R)⁻¹ (z - h(x) + H (x - x0)),

with ``h`` and ``H`` from the compiled power flow and its adjoint rows.  Only m×m systems are solved, buses without
injection carry exactly zero power, and the problem always has a solution: what the measurements do not reach keeps
its prior (see :mod:`heila_mosaik.domain.estimation.observability`).  It is the same minimum as WLS with the
pseudo-measurements as measurements (A. Abur, A. Gómez Expósito, *Power System State Estimation*, 2004, ch. 2);
bad data by chi-square and largest normalised residual (ibid., ch. 5).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import chdtri

from heila_mosaik.domain.estimation.cholesky import factor, solve
from heila_mosaik.domain.estimation.estimate import Estimate, EstimatorSettings, Suspect
from heila_mosaik.domain.estimation.failures import (
    ContradictoryMeasurementsError,
    DivergedEstimateError,
    NoMeasurementsError,
)
from heila_mosaik.domain.estimation.prior import Prior, check_prior
from heila_mosaik.domain.estimation.readings import Rows, attach, weigh
from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.network import GridEngine, GridState
from heila_mosaik.domain.quantities import FloatArray, IntArray


@dataclass(slots=True)
class _Problem:
    """Arrays of one estimation; rows are the usable measurements."""

    values: FloatArray
    variances: FloatArray
    rows: IntArray
    x0: FloatArray
    c: FloatArray


@dataclass(slots=True)
class _Solution:
    """Minimum found, with what judges it: inverse gain (m, m) and variance learnt of each state (2n + n_ext,)."""

    x: FloatArray
    state: GridState
    h: FloatArray
    weight: FloatArray
    learnt: FloatArray
    iterations: int


class Estimator:
    """Estimates the state of one grid, again and again, starting from the last estimate.

    Args:
        engine: Compiled grid; the estimator owns it (its last solution and external voltages change).
        names: Names of the injections. (n,)
        bus: Bus position of each injection. (n,)
        settings: Settings.
    """

    def __init__(
        self, engine: GridEngine, names: tuple[str, ...], bus: IntArray, settings: EstimatorSettings | None = None
    ) -> None:
        self.engine = engine
        self.names = names
        self.bus = np.asarray(bus, dtype=np.int64)
        self.settings = settings or EstimatorSettings()
        self._n_bus = len(engine.network.bus_ids)
        self._ext_vm = engine.default_input().ext_vm_pu
        self._last: FloatArray | None = None
        self._rows: Rows | None = None
        self._rows_key: tuple[tuple[str, ...], tuple[object, ...]] | None = None
        self._limits: dict[int, float] = {}

    def rows_for(self, measured: Measurements) -> Rows:
        """Rows of a measurement set, cached until the set changes."""
        key = (measured.elements, measured.quantities)
        if self._rows is None or key != self._rows_key:
            self._rows = attach(measured, self.engine.network, self.names, self.bus)
            self._rows_key = key
        return self._rows

    def estimate(self, prior: Prior, measured: Measurements, late_s: float = 0.0) -> Estimate:
        """Estimate the state from pseudo-measurements and real measurements, ``late_s`` seconds after they were sent.

        Raises:
            NoMeasurementsError: Nothing usable arrived.
            DivergedEstimateError: Gauss-Newton did not converge.
            ContradictoryMeasurementsError: Rejecting bad data did not make the rest consistent.
            ProblemsError: The measurements or the prior are wrong in form.
        """
        check_prior(prior, self.engine.network)
        rows = self.rows_for(measured)
        values, variances, usable = weigh(measured, rows, self.settings.weighting, late_s)
        keep = np.flatnonzero(usable)
        if not len(keep):
            raise NoMeasurementsError(received=len(values), unusable=len(values))
        problem = _Problem(values[keep], variances[keep], keep, prior.mean, prior.variance)
        suspects: list[Suspect] = []
        iterations = 0
        while True:
            solution = self._gauss_newton(rows, problem)
            iterations += solution.iterations
            objective = _objective(problem, solution)
            limit = self._chi_square(len(problem.rows))
            # one bad meter can hide in a J that is still under its limit, so both tests are looked at
            found = self._worst(rows, problem, solution)
            if found is None or self._consistent(objective, limit, found[0]):
                break
            worst, position = found
            if not self._repair(problem, worst, position, suspects):
                removed = tuple(suspect.label for suspect in suspects)
                raise ContradictoryMeasurementsError(
                    objective=objective, limit=limit, removed=removed, worst=worst.label
                )
        self._last = solution.x
        return self._result(rows, problem, solution, iterations, objective, limit, tuple(suspects))

    def _consistent(self, objective: float, limit: float, worst: Suspect) -> bool:
        """Whether the values can stand.

        A sum somewhat over its limit without one value to blame is chance (the test is made every minute) or a
        forecast that is worse than declared, not a contradiction.
        """
        return worst.normalised_residual <= self.settings.residual_limit and objective <= 2.0 * limit

    def jacobian(self, rows: Rows, keep: IntArray) -> tuple[FloatArray, FloatArray]:
        """Values and derivatives of rows ``keep`` at the engine's last solution; direct rows have value 0.

        Returns:
            values ``(m,)``, derivatives by the state ``(m, 2n + n_ext)``.
        """
        n = len(self.names)
        h_all = np.zeros(len(rows.labels))
        jacobian = np.zeros((len(rows.labels), 2 * n + len(self._ext_vm)))
        if len(rows.on_grid):
            value, d_p, d_q, d_vm = self.engine.sensitivity_all(rows.observables, rows.positions)
            h_all[rows.on_grid] = value
            jacobian[rows.on_grid, :n] = d_p[:, self.bus]
            jacobian[rows.on_grid, n : 2 * n] = d_q[:, self.bus]
            jacobian[rows.on_grid, 2 * n :] = d_vm
        for row, columns in rows.direct:
            jacobian[row, columns] = 1.0
        return h_all[keep], jacobian[keep]

    def bus_power(self, p_mw: FloatArray, q_mvar: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Consumption per bus of the injections. [MW], [MVar] (n_bus,)"""
        p_bus: FloatArray = np.bincount(self.bus, weights=p_mw, minlength=self._n_bus).astype(np.float64, copy=False)
        q_bus: FloatArray = np.bincount(self.bus, weights=q_mvar, minlength=self._n_bus).astype(np.float64, copy=False)
        return p_bus, q_bus

    def solve(self, x: FloatArray) -> GridState:
        """Power flow at state ``x``."""
        n = len(self.names)
        ext_vm = x[2 * n :]
        if not np.array_equal(ext_vm, self._ext_vm):
            self._ext_vm = ext_vm.copy()
            self.engine.set_ext_vm(self._ext_vm)
        return self.engine.solve_bus(*self.bus_power(x[:n], x[n : 2 * n]))

    def _gauss_newton(self, rows: Rows, problem: _Problem) -> _Solution:
        n, settings = len(self.names), self.settings
        x = problem.x0.copy() if self._last is None or len(self._last) != len(problem.x0) else self._last.copy()
        worst, step_mw, size = rows.labels[int(problem.rows[0])], float("inf"), float("inf")
        state = self.solve(x)
        if not state.converged:
            x = problem.x0.copy()
            state = self.solve(x)
        for iteration in range(1, settings.max_iterations + 1):
            if not state.converged:
                raise DivergedEstimateError(iterations=iteration, step_mw=step_mw, worst=worst)
            h, jacobian = self.jacobian(rows, problem.rows)
            h = h + _direct_values(rows, problem.rows, x)
            gain = factor((jacobian * problem.c) @ jacobian.T, problem.variances)
            innovation = problem.values - h + jacobian @ (x - problem.x0)
            moved = problem.x0 + problem.c * (jacobian.T @ solve(gain, innovation))
            step = np.abs(moved - x)
            step_mw = float(step[: 2 * n].max(initial=0.0))
            before, size = (
                size,
                max(step_mw / settings.tolerance_mw, float(step[2 * n :].max(initial=0.0)) / settings.tolerance_pu),
            )
            worst = rows.labels[int(problem.rows[int(np.argmax((problem.values - h) ** 2 / problem.variances))])]
            if size < 1.0:
                return _solution(problem, x, state, h, jacobian, gain, iteration)
            if iteration > 1 and size**2 < before and (state := self.solve(moved)).converged:
                # at this rate the next step would be below the tolerance: residuals follow from this linearisation
                return _solution(problem, moved, state, h + jacobian @ (moved - x), jacobian, gain, iteration)
            x, state = self._damped(x, moved)
        raise DivergedEstimateError(iterations=settings.max_iterations, step_mw=step_mw, worst=worst)

    def _damped(self, x: FloatArray, moved: FloatArray) -> tuple[FloatArray, GridState]:
        """Take the step, halved as long as the power flow has no solution there."""
        share = 1.0
        for _ in range(6):
            candidate = x + share * (moved - x)
            state = self.solve(candidate)
            if state.converged:
                break
            share *= 0.5
        return candidate, state

    def _worst(self, rows: Rows, problem: _Problem, solution: _Solution) -> tuple[Suspect, int] | None:
        """Largest normalised residual over meters and pseudo-measurements, with its row or state position."""
        n = len(self.names)
        residual = problem.values - solution.h
        # residual covariance R S⁻¹ R; a value nobody else checks has none and cannot be judged
        omega = problem.variances**2 * np.diag(solution.weight)
        judged = omega > 1e-6 * problem.variances
        meters = np.where(judged, np.abs(residual) / np.sqrt(np.where(judged, omega, 1.0)), 0.0)
        shift = problem.x0 - solution.x
        spread = solution.learnt
        judged = spread > 1e-6 * problem.c
        pseudo = np.where(judged, np.abs(shift) / np.sqrt(np.where(judged, spread, 1.0)), 0.0)
        meter, injection = int(np.argmax(meters)), int(np.argmax(pseudo))
        if meters[meter] == 0.0 and pseudo[injection] == 0.0:
            return None
        if meters[meter] >= pseudo[injection]:
            found = Suspect(
                label=rows.labels[int(problem.rows[meter])],
                value=float(problem.values[meter]),
                estimate=float(solution.h[meter]),
                normalised_residual=float(meters[meter]),
                pseudo=False,
            )
            return found, meter
        found = Suspect(
            label=_state_label(self.names, injection, n),
            value=float(problem.x0[injection]),
            estimate=float(solution.x[injection]),
            normalised_residual=float(pseudo[injection]),
            pseudo=True,
        )
        return found, injection

    def _repair(self, problem: _Problem, worst: Suspect, position: int, suspects: list[Suspect]) -> bool:
        """Reject a meter or widen a pseudo-measurement; ``False`` when no more may be repaired."""
        rejected = sum(not suspect.pseudo for suspect in suspects)
        if worst.normalised_residual <= self.settings.residual_limit:
            return False
        suspects.append(worst)
        if worst.pseudo:
            if len(suspects) - rejected > self.settings.max_widened:
                return False
            problem.c = problem.c.copy()
            problem.c[position] *= max(worst.normalised_residual, 2.0) ** 2
            return True
        if rejected >= self.settings.max_rejected or len(problem.rows) < 2:
            return False
        keep = np.arange(len(problem.rows)) != position
        problem.values, problem.variances, problem.rows = (
            problem.values[keep],
            problem.variances[keep],
            problem.rows[keep],
        )
        return True

    def _result(
        self,
        rows: Rows,
        problem: _Problem,
        solution: _Solution,
        iterations: int,
        objective: float,
        limit: float,
        suspects: tuple[Suspect, ...],
    ) -> Estimate:
        n, x = len(self.names), solution.x
        sigma = np.sqrt(np.maximum(problem.c - solution.learnt, 0.0))
        p_bus, q_bus = self.bus_power(x[:n], x[n : 2 * n])
        return Estimate(
            state=replace(solution.state),
            p_mw=x[:n].copy(),
            q_mvar=x[n : 2 * n].copy(),
            sigma_p_mw=sigma[:n],
            sigma_q_mvar=sigma[n : 2 * n],
            ext_vm_pu=x[2 * n :].copy(),
            p_bus_mw=p_bus,
            q_bus_mvar=q_bus,
            iterations=iterations,
            used=tuple(rows.labels[int(row)] for row in problem.rows),
            residuals=problem.values - solution.h,
            objective=objective,
            limit=limit,
            suspects=suspects,
        )

    def _chi_square(self, count: int) -> float:
        if count not in self._limits:
            self._limits[count] = float(chdtri(count, 1.0 - self.settings.confidence))
        return self._limits[count]


def _solution(
    problem: _Problem,
    x: FloatArray,
    state: GridState,
    h: FloatArray,
    jacobian: FloatArray,
    gain: FloatArray,
    iterations: int,
) -> _Solution:
    weight = solve(gain, np.eye(len(h)))
    learnt = problem.c**2 * np.einsum("ij,ij->j", jacobian, weight @ jacobian)
    return _Solution(x, state, h, weight, learnt, iterations)


def _direct_values(rows: Rows, keep: IntArray, x: FloatArray) -> FloatArray:
    values = np.zeros(len(rows.labels))
    for row, columns in rows.direct:
        values[row] = x[columns].sum()
    return values[keep]


def _objective(problem: _Problem, solution: _Solution) -> float:
    residual, shift = problem.values - solution.h, problem.x0 - solution.x
    return float((residual**2 / problem.variances).sum() + (shift**2 / problem.c).sum())


def _state_label(names: tuple[str, ...], position: int, n: int) -> str:
    if position < n:
        return f"{names[position]} p_mw"
    if position < 2 * n:
        return f"{names[position - n]} q_mvar"
    return f"ext_grid.{position - 2 * n} vm_pu"
