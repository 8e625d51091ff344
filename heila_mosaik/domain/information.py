"""Information objects that the actors exchange.

Sources: HEILA architecture paper, table 2 (twelve objects) and the CRP paper, section III-B (flexibility forecast
as *PQ profile with limits for possible adjustments*, reserve notification, activation, verification).  Where the
papers are silent, fields follow USEF/UFTP and IEC 62325-451-7; ``docs/messages.md`` holds the mapping.

All objects are immutable values made of plain Python types.  Powers are consumption-positive; an *adjustment*
is the wanted change against the operation plan (baseline): up-regulation is negative.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from heila_mosaik.domain.quantities import Product, Quality, Quantity
from heila_mosaik.domain.timegrid import TimeGrid, require_aware

Series: TypeAlias = tuple[float, ...]


class CongestionKind(StrEnum):
    """What limit a congestion breaks."""

    UNDERVOLTAGE = "undervoltage"
    OVERVOLTAGE = "overvoltage"
    CURRENT = "current"


class Session(StrEnum):
    """Market session an offer, request or bid belongs to."""

    DAY_AHEAD = "day_ahead"
    INTRADAY = "intraday"


@dataclass(frozen=True, slots=True, kw_only=True)
class InformationObject:
    """Base: every object has an identity that is unique within a study.

    Raises:
        ValueError: If a time has no zone or ``start`` is not before ``stop``.
    """

    id: str

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, datetime):
                object.__setattr__(self, field.name, require_aware(value, f"{type(self).__name__}.{field.name}"))
        start, stop = getattr(self, "start", None), getattr(self, "stop", None)
        if isinstance(start, datetime) and isinstance(stop, datetime) and start >= stop:
            raise ValueError(f"{type(self).__name__} {self.id}: start {start} is not before stop {stop}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PQProfile:
    """Active and reactive power over time with the limits within which it may be adjusted.

    Attributes:
        start: Start of the first interval, aware UTC.
        step_s: Length of an interval. [s]
        p_mw: Planned active power, consumption positive. [MW] (n,)
        q_mvar: Planned reactive power. [MVar] (n,)
        p_min_mw: Lowest active power that can be held. [MW] (n,)
        p_max_mw: Highest active power that can be held. [MW] (n,)
        q_min_mvar: Lowest reactive power. [MVar] (n,)
        q_max_mvar: Highest reactive power. [MVar] (n,)
    """

    start: datetime
    step_s: int
    p_mw: Series
    q_mvar: Series
    p_min_mw: Series
    p_max_mw: Series
    q_min_mvar: Series
    q_max_mvar: Series

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", require_aware(self.start, "PQProfile.start"))
        lengths = {len(getattr(self, field.name)) for field in fields(self)[2:]}
        if len(lengths) != 1:
            raise ValueError(f"PQProfile: series of different lengths {sorted(lengths)}")

    @property
    def grid(self) -> TimeGrid:
        """Time grid of the profile."""
        return TimeGrid(start=self.start, step_s=self.step_s, count=len(self.p_mw))

    @property
    def stop(self) -> datetime:
        """End of the last interval."""
        return self.start + timedelta(seconds=self.step_s * len(self.p_mw))


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
        target: Resource or breaker name.
        start: When it begins to apply.
        stop: When it ends; the resource then returns to its operation plan.
        p_mw: Active power set point, absolute, consumption positive. [MW]
        q_mvar: Reactive power set point, absolute. [MVar]
        closed: Breaker position wanted.
        cause: Identity of the activation or plan that caused it.
    """

    target: str
    start: datetime
    stop: datetime
    p_mw: float | None = None
    q_mvar: float | None = None
    closed: bool | None = None
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
class FlexibilityForecast(InformationObject):
    """*Flexibility* of table 2: PQ profile of a microgrid or resource with limits for adjustments.

    Attributes:
        subject: Microgrid or resource.
        issued_at: When the forecast was made.
        product: Product it is meant for.
        profile: Powers with limits.
        energy_up_mwh: Energy by which consumption can be lowered in all over the horizon (>= 0). [MWh]
        energy_down_mwh: Energy by which consumption can be raised in all over the horizon (>= 0). [MWh]
        price_up_eur_per_mwh: Price asked for lowering consumption, when the MGMS prices. [EUR/MWh] (n,) or empty
        price_down_eur_per_mwh: Price asked for raising consumption, when the MGMS prices. [EUR/MWh] (n,) or empty
    """

    subject: str
    issued_at: datetime
    product: Product
    profile: PQProfile
    energy_up_mwh: float
    energy_down_mwh: float
    price_up_eur_per_mwh: Series = ()
    price_down_eur_per_mwh: Series = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer(InformationObject):
    """Flexibility for sale: adjustment range at one location over one period.

    Attributes:
        seller: Aggregator.
        location: Microgrid (point of common coupling) that will deliver.
        product: Product offered.
        session: Market session.
        start: Start of delivery.
        stop: End of delivery.
        submitted_at: Time of submission (breaks ties).
        p_min_mw: Largest lowering of consumption (<= 0). [MW]
        p_max_mw: Largest raising of consumption (>= 0). [MW]
        q_min_mvar: Largest lowering of reactive consumption (<= 0). [MVar]
        q_max_mvar: Largest raising of reactive consumption (>= 0). [MVar]
        price_eur_per_mwh: Price of activated energy. [EUR/MWh]
        availability_eur_per_mw_h: Price of holding the range ready. [EUR/(MW·h)]
        reactive_eur_per_mvarh: Price of activated reactive energy. [EUR/MVarh]
        divisible: Whether a part may be bought; block offers are all or nothing over the whole period.
        min_share: Smallest share that may be bought of a divisible offer. [1]
        group: Offers of one group share ``group_energy_mwh`` (a storage behind several offers); empty: none.
        group_energy_mwh: Energy all offers of the group can deliver together. [MWh]
    """

    seller: str
    location: str
    product: Product
    session: Session
    start: datetime
    stop: datetime
    submitted_at: datetime
    p_min_mw: float
    p_max_mw: float
    q_min_mvar: float = 0.0
    q_max_mvar: float = 0.0
    price_eur_per_mwh: float
    availability_eur_per_mw_h: float = 0.0
    reactive_eur_per_mvarh: float = 0.0
    divisible: bool = True
    min_share: float = 0.0
    group: str = ""
    group_energy_mwh: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One congestion the DSO foresees, with the effect of each location on it.

    Attributes:
        element: Congested element, ``bus.7``, ``line.3`` or ``trafo.0``.
        kind: Limit that is broken.
        start: Start of the congestion.
        stop: End of the congestion.
        excess: By how much the limit is passed: [pu] for voltage, [%] loading for current; always > 0.
        locations: Locations from which flexibility is wanted. (m,)
        effect_p: Relief of ``excess`` per MW by which consumption is *raised* at each location. [pu/MW or %/MW] (m,)
        effect_q: Relief of ``excess`` per MVar by which reactive consumption is raised. [pu/MVar or %/MVar] (m,)
        probability: Chance that the congestion happens. [1]
    """

    element: str
    kind: CongestionKind
    start: datetime
    stop: datetime
    excess: float
    locations: tuple[str, ...]
    effect_p: Series
    effect_q: Series
    probability: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexibilityRequest(InformationObject):
    """DSO asks the market for the offers that help against its needs (UFTP FlexRequest)."""

    buyer: str
    session: Session
    start: datetime
    stop: datetime
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferList(InformationObject):
    """Offers ranked for a request, best first.

    Attributes:
        request: Identity of the request.
        offers: Ranked offers. (n,)
        relief_per_eur: Relief of the request's needs per euro, weighted by excess. (n,)
    """

    request: str
    session: Session
    offers: tuple[Offer, ...]
    relief_per_eur: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """Part of one offer a bid asks for (adjustment range inside the offer's)."""

    offer: str
    p_min_mw: float
    p_max_mw: float
    q_min_mvar: float = 0.0
    q_max_mvar: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bid(InformationObject):
    """DSO's purchase of offers (UFTP FlexOrder).

    Attributes:
        buyer: Who buys.
        request: Identity of the request.
        session: Market session.
        submitted_at: Time of submission.
        purchases: What is asked for of each offer.
        limit_eur_per_mwh: Highest price accepted for activated energy. [EUR/MWh]
    """

    buyer: str
    request: str
    session: Session
    submitted_at: datetime
    purchases: tuple[Purchase, ...]
    limit_eur_per_mwh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveNotification(InformationObject):
    """Flexibility reserved after clearing; sent to seller and buyer, then on to the microgrid.

    Attributes:
        offer: Identity of the offer it comes from.
        buyer: Who may call it.
        seller: Aggregator.
        location: Microgrid that delivers.
        product: Product.
        start: Start of delivery.
        stop: End of delivery.
        p_min_mw: Largest lowering of consumption that may be called. [MW]
        p_max_mw: Largest raising of consumption that may be called. [MW]
        q_min_mvar: Largest lowering of reactive consumption. [MVar]
        q_max_mvar: Largest raising of reactive consumption. [MVar]
        price_eur_per_mwh: Cleared price of activated energy. [EUR/MWh]
        availability_eur_per_mw_h: Cleared price of availability. [EUR/(MW·h)]
        reactive_eur_per_mvarh: Cleared price of reactive energy. [EUR/MVarh]
        group: Energy group of the offer; empty: none.
        group_energy_mwh: Energy all reserves of the group can deliver together. [MWh]
    """

    offer: str
    buyer: str
    seller: str
    location: str
    product: Product
    start: datetime
    stop: datetime
    p_min_mw: float
    p_max_mw: float
    q_min_mvar: float = 0.0
    q_max_mvar: float = 0.0
    price_eur_per_mwh: float
    availability_eur_per_mw_h: float = 0.0
    reactive_eur_per_mvarh: float = 0.0
    group: str = ""
    group_energy_mwh: float | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class SettlementStatement(InformationObject):
    """What one reserve earns for one settlement period.

    Attributes:
        reserve: Identity of the reserve.
        verification: Identity of the verification it rests on.
        payer: Who pays.
        payee: Who is paid.
        start: Start of the period.
        stop: End of the period.
        requested_mwh: Energy asked for (signed adjustment). [MWh]
        delivered_mwh: Energy delivered in the wanted direction (signed). [MWh]
        availability_eur: Payment for availability. [EUR]
        activation_eur: Payment for delivered energy. [EUR]
        reactive_eur: Payment for reactive energy. [EUR]
        penalty_eur: Deduction for what was missing (>= 0). [EUR]
        success: Whether delivery lay within the declared tolerance.
    """

    reserve: str
    verification: str
    payer: str
    payee: str
    start: datetime
    stop: datetime
    requested_mwh: float
    delivered_mwh: float
    availability_eur: float
    activation_eur: float
    reactive_eur: float
    penalty_eur: float
    success: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WeatherForecast(InformationObject):
    """Weather expected at the study's place.

    Attributes:
        issued_at: When the forecast was made.
        start: Start of the first interval.
        step_s: Length of an interval. [s]
        temperature_c: Air temperature. [°C] (n,)
        irradiance_w_per_m2: Global horizontal irradiance. [W/m²] (n,)
        wind_m_per_s: Wind speed. [m/s] (n,)
    """

    issued_at: datetime
    start: datetime
    step_s: int
    temperature_c: Series
    irradiance_w_per_m2: Series
    wind_m_per_s: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceForecast(InformationObject):
    """*Flexibility Market Price Forecast* of table 2, with the spot price beside it.

    Attributes:
        issued_at: When the forecast was made.
        start: Start of the first interval.
        step_s: Length of an interval. [s]
        spot_eur_per_mwh: Day-ahead energy price. [EUR/MWh] (n,)
        flexibility_up_eur_per_mwh: Expected price for lowering consumption. [EUR/MWh] (n,)
        flexibility_down_eur_per_mwh: Expected price for raising consumption. [EUR/MWh] (n,)
    """

    issued_at: datetime
    start: datetime
    step_s: int
    spot_eur_per_mwh: Series
    flexibility_up_eur_per_mwh: Series
    flexibility_down_eur_per_mwh: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An information object on its way from one actor to another.

    Attributes:
        id: Unique within a study, ``<sender>-<count>``.
        sender: Actor that sends.
        receiver: Actor that receives.
        sent_at: Simulated time of sending, aware UTC.
        body: The information object.
    """

    id: str
    sender: str
    receiver: str
    sent_at: datetime
    body: InformationObject
