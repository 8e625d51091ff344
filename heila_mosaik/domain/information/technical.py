"""Objects of the technical process: measurements, plans, activation, control, verification."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from heila_mosaik.domain.information.base import InformationObject, PQProfile, Series, require_lengths
from heila_mosaik.domain.quantities import Quality, Quantity


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements(InformationObject):
    """Values measured at one moment (columns of equal length; reuse the column tuples that do not change).

    Attributes:
        source: Device or system that measured.
        at: Moment of measurement, aware UTC.
        elements: What was measured, ``<table>.<id>`` of the grid (``bus.7``, ``line.3``, ``trafo.0``, ``load.4``)
            or the name of a resource or breaker.
        quantities: Quantity of each value; line and transformer flows are taken at the ``from``/``hv`` end.
        values: Measured values in the unit of the quantity; NaN only with quality ``missing``.
        sigmas: Standard uncertainty of each value, in its unit.
        qualities: Validity of each value.
        ages_s: Age of each value at ``at``. [s]
    """

    source: str
    at: datetime
    elements: tuple[str, ...]
    quantities: tuple[Quantity, ...]
    values: Series
    sigmas: Series
    qualities: tuple[Quality, ...]
    ages_s: Series

    def __post_init__(self) -> None:
        InformationObject.__post_init__(self)
        require_lengths(
            "Measurements", elements=self.elements, quantities=self.quantities, values=self.values, sigmas=self.sigmas,
            qualities=self.qualities, ages_s=self.ages_s,
        )  # fmt: skip

    def value(self, element: str, quantity: Quantity) -> float | None:
        """Value of one point, or ``None`` if it is absent or not usable."""
        for position, name in enumerate(self.elements):
            if name == element and self.quantities[position] == quantity:
                usable = self.qualities[position] in (Quality.GOOD, Quality.QUESTIONABLE)
                return self.values[position] if usable else None
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlSignal(InformationObject):
    """Set point or switching command for one resource or breaker; ``None`` leaves a quantity alone.

    Attributes:
        target: Resource or breaker name, or an element of the grid: ``switch.3``, ``line.7``, ``trafo.0``, ``shunt.1``.
        start: When it begins to apply.
        stop: When it ends; the resource then returns to its operation plan.
        p_mw: Active power set point, absolute, consumption positive. [MW]
        q_mvar: Reactive power set point, absolute. [MVar]
        closed: Breaker position wanted; for lines and loads whether they shall be in service.
        position: Tap of a transformer or step of a capacitor bank wanted.
        grid_forming: Whether a storage shall hold voltage and frequency of its island.
        cause: Identity of the activation or plan that caused it.
    """

    target: str
    start: datetime
    stop: datetime
    p_mw: float | None = None
    q_mvar: float | None = None
    closed: bool | None = None
    position: float | None = None
    grid_forming: bool | None = None
    cause: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationPlan(InformationObject):
    """Planned power of a microgrid or resource: the declared baseline for verification.

    Attributes:
        subject: Microgrid or resource the plan is for.
        issued_at: When the plan was made.
        profile: Planned powers with remaining adjustment limits.
    """

    subject: str
    issued_at: datetime
    profile: PQProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationNotification(InformationObject):
    """Real-time set point of reserved flexibility.  A later activation of the same reserve replaces an earlier one.

    Attributes:
        reserve: Identity of the reserve.
        location: Microgrid that delivers.
        start: When delivery begins.
        stop: When delivery ends unless replaced.
        p_mw: Adjustment against the baseline, consumption positive. [MW]
        q_mvar: Adjustment of reactive power against the baseline. [MVar]
    """

    reserve: str
    location: str
    start: datetime
    stop: datetime
    p_mw: float
    q_mvar: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRefusal(InformationObject):
    """An activation that was found and not released, or was released and could not be followed, with the reason.

    Attributes:
        reserve: Identity of the reserve.
        refused_by: Actor that refused.
        p_mw: Adjustment that was refused. [MW]
        q_mvar: Reactive adjustment that was refused. [MVar]
        start: Start of the refused delivery.
        stop: End of the refused delivery.
        reason: Why, in words with the figures (element, limit, value).
    """

    reserve: str
    refused_by: str
    p_mw: float
    q_mvar: float
    start: datetime
    stop: datetime
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationNotification(InformationObject):
    """Measured against requested power of one reserve over one settlement period.

    Attributes:
        reserve: Identity of the reserve.
        location: Microgrid that delivered.
        start: Start of the first interval.
        stop: End of the last interval.
        step_s: Time between measurements. [s]
        baseline_method: Declared method, for example ``operation_plan``.
        baseline_p_mw: Baseline. [MW] (n,)
        measured_p_mw: Measured power at the point of common coupling. [MW] (n,)
        requested_p_mw: Adjustment asked for. [MW] (n,)
        measured_q_mvar: Measured reactive power. [MVar] (n,)
        baseline_q_mvar: Reactive baseline. [MVar] (n,)
        requested_q_mvar: Reactive adjustment asked for. [MVar] (n,)
    """

    reserve: str
    location: str
    start: datetime
    stop: datetime
    step_s: int
    baseline_method: str
    baseline_p_mw: Series
    measured_p_mw: Series
    requested_p_mw: Series
    baseline_q_mvar: Series
    measured_q_mvar: Series
    requested_q_mvar: Series

    def __post_init__(self) -> None:
        InformationObject.__post_init__(self)
        require_lengths("VerificationNotification", **{name: getattr(self, name) for name in _VERIFIED})
        if self.step_s < 1 or not self.measured_p_mw:
            raise ValueError(f"VerificationNotification: {len(self.measured_p_mw)} intervals of {self.step_s} s")


_VERIFIED = ("baseline_p_mw", "measured_p_mw", "requested_p_mw", "baseline_q_mvar", "measured_q_mvar",
             "requested_q_mvar")  # fmt: skip
