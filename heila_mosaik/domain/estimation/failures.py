"""How a state estimation can fail, and what to do about it."""

from __future__ import annotations

from heila_mosaik.errors import HeilaError


class EstimationError(HeilaError):
    """Base of the named failures of a state estimation."""


class NoMeasurementsError(EstimationError):
    """No usable measurement arrived: the estimate would be the forecast and nothing else.

    Attributes:
        received: Number of values received.
        unusable: Number of values that were missing, invalid or too old.
    """

    def __init__(self, *, received: int, unusable: int) -> None:
        self.received = received
        self.unusable = unusable
        super().__init__(received, unusable)

    def __str__(self) -> str:
        return (
            f"state estimation: none of {self.received} measured values is usable "
            f"({self.unusable} missing, invalid or too old)\n"
            "    remedy: check the telemetry link and the clocks; the last estimate stays in force meanwhile"
        )


class DivergedEstimateError(EstimationError):
    """Gauss-Newton did not converge, or the power flow at the estimate has no solution.

    Attributes:
        iterations: Iterations done.
        step_mw: Size of the last step. [MW]
        worst: Measurement that fits worst at the last iterate, ``<element> <quantity>``.
    """

    def __init__(self, *, iterations: int, step_mw: float, worst: str) -> None:
        self.iterations = iterations
        self.step_mw = step_mw
        self.worst = worst
        super().__init__(iterations, step_mw, worst)

    def __str__(self) -> str:
        return (
            f"state estimation: no convergence in {self.iterations} iterations (last step {self.step_mw:.3g} MW)\n"
            f"    remedy: check sign and unit of {self.worst}, switch states and tap positions"
        )


class ContradictoryMeasurementsError(EstimationError):
    """The measurements contradict each other and no small set of bad values explains it.

    Attributes:
        objective: Weighted sum of squares. [1]
        limit: Chi-square limit it had to stay under. [1]
        removed: Measurements already rejected, ``<element> <quantity>``.
        worst: Measurement with the largest remaining normalised residual.
    """

    def __init__(self, *, objective: float, limit: float, removed: tuple[str, ...], worst: str) -> None:
        self.objective = objective
        self.limit = limit
        self.removed = removed
        self.worst = worst
        super().__init__(objective, limit, removed, worst)

    def __str__(self) -> str:
        removed = ", ".join(self.removed) or "nothing"
        return (
            f"state estimation: measurements contradict each other (J = {self.objective:.4g} over {self.limit:.4g} "
            f"after rejecting {removed})\n"
            f"    remedy: check {self.worst}, the topology around it, and whether the stated uncertainties are honest"
        )
