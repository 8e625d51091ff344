"""Objects of the market process: request, offers, purchase, reserve, settlement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from heila_mosaik.domain.information.base import InformationObject, Series, require_lengths
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.timegrid import require_aware


class CongestionKind(StrEnum):
    """What limit a congestion breaks; ``peak``: no limit, the exchange with the overlying grid shall be lower."""

    UNDERVOLTAGE = "undervoltage"
    OVERVOLTAGE = "overvoltage"
    CURRENT = "current"
    PEAK = "peak"


class Session(StrEnum):
    """Market session an offer, request or bid belongs to."""

    DAY_AHEAD = "day_ahead"
    INTRADAY = "intraday"


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
        element: Congested element, ``bus.7``, ``line.3`` or ``trafo.0``; ``ext_grid`` for the exchange.
        kind: Limit that is broken.
        start: Start of the congestion.
        stop: End of the congestion.
        excess: By how much the limit is passed: [pu] for voltage, [%] loading for current, [MW] over the level aimed
            at for the exchange; always > 0.
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

    def __post_init__(self) -> None:
        require_lengths("Need", locations=self.locations, effect_p=self.effect_p, effect_q=self.effect_q)
        for name in ("start", "stop"):
            object.__setattr__(self, name, require_aware(getattr(self, name), f"Need.{name}"))
        if self.start >= self.stop:
            raise ValueError(f"Need {self.element}: start {self.start} is not before stop {self.stop}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlexibilityRequest(InformationObject):
    """DSO asks the market for the offers that help against its needs (UFTP FlexRequest).

    Attributes:
        buyer: Who asks.
        session: Market session.
        start: Start of the delivery periods asked for.
        stop: End of them.
        needs: What it needs; a request without needs asks for frequency reserves. (n,)
    """

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
        session: Market session.
        offers: Ranked offers. (n,)
        relief_per_eur: Relief of the request's needs per euro, weighted by excess. (n,)
    """

    request: str
    session: Session
    offers: tuple[Offer, ...]
    relief_per_eur: Series

    def __post_init__(self) -> None:
        InformationObject.__post_init__(self)
        require_lengths("OfferList", offers=self.offers, relief_per_eur=self.relief_per_eur)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """Part of one offer a bid asks for (adjustment range inside the offer's).

    Attributes:
        offer: Identity of the offer.
        p_min_mw: Largest lowering of consumption asked for (<= 0). [MW]
        p_max_mw: Largest raising of consumption asked for (>= 0). [MW]
        q_min_mvar: Largest lowering of reactive consumption (<= 0). [MVar]
        q_max_mvar: Largest raising of reactive consumption (>= 0). [MVar]
    """

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
