"""Information objects that the actors exchange.

Sources: HEILA architecture paper, table 2 (twelve objects) and the CRP paper, section III-B (flexibility forecast
as *PQ profile with limits for possible adjustments*, reserve notification, activation, verification).  Where the
papers are silent, fields follow USEF/UFTP and IEC 62325-451-7; ``docs/messages.md`` holds the mapping.

All objects are immutable values made of plain Python types.  Powers are consumption-positive; an *adjustment*
is the wanted change against the operation plan (baseline): up-regulation is negative.
"""

from __future__ import annotations

from heila_mosaik.domain.information.base import (
    InformationObject,
    Message,
    PQProfile,
    Series,
)
from heila_mosaik.domain.information.forecast import (
    FlexibilityForecast,
    PriceForecast,
    WeatherForecast,
)
from heila_mosaik.domain.information.market import (
    Bid,
    CongestionKind,
    FlexibilityRequest,
    Need,
    Offer,
    OfferList,
    Purchase,
    ReserveNotification,
    Session,
    SettlementStatement,
)
from heila_mosaik.domain.information.technical import (
    ActivationNotification,
    ActivationRefusal,
    ControlSignal,
    Measurements,
    OperationPlan,
    VerificationNotification,
)

__all__ = [
    "ActivationNotification",
    "ActivationRefusal",
    "Bid",
    "CongestionKind",
    "ControlSignal",
    "FlexibilityForecast",
    "FlexibilityRequest",
    "InformationObject",
    "Measurements",
    "Message",
    "Need",
    "Offer",
    "OfferList",
    "OperationPlan",
    "PQProfile",
    "PriceForecast",
    "Purchase",
    "ReserveNotification",
    "Series",
    "Session",
    "SettlementStatement",
    "VerificationNotification",
    "WeatherForecast",
]
