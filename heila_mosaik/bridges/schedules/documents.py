"""Offers, merit order list, reserves, activations and plans as documents of IEC 62325-451-7.

Element names and their order are those of the ENTSO-E schemas ReserveBid 7.4, MeritOrderList 7.2,
ReserveAllocationResult 6.4, Activation 6.2 and PlannedResourceSchedule 6.2.  A document has unsigned quantities with a
direction: lowering consumption is *up* (A01), raising it is *down* (A02).  Active and reactive ranges are series of
their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

from heila_mosaik.bridges.schedules import codes as c
from heila_mosaik.bridges.schedules.codes import Codes
from heila_mosaik.bridges.schedules.document import Element, present
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    InformationObject,
    Message,
    Offer,
    OfferList,
    OperationPlan,
    ReserveNotification,
)

_NAMESPACE = "urn:iec62325.351:tc57wg16:451-7:"


def market_document(message: Message, codes: Codes) -> Element:
    """Document of a message.

    Args:
        message: Message whose body has a form, see :data:`FORMS`.
        codes: Codes of the parties; takes up what does not fit.
    """
    return FORMS[type(message.body)][1](message, codes)


def _root(name: str, namespace: str, content: Sequence[Element]) -> Element:
    return Element(name, content, namespace=f"{_NAMESPACE}{namespace}")


def _head(message: Message, codes: Codes, kind: str, process: str) -> tuple[Element, ...]:
    sender, receiver = message.sender, message.receiver
    return (
        codes.identity("mRID", message.id),
        Element("revisionNumber", "1"),
        Element("type", kind),
        Element("process.processType", process),
        codes.party("sender_MarketParticipant.mRID", sender),
        Element("sender_MarketParticipant.marketRole.type", c.role_of(sender)),
        codes.party("receiver_MarketParticipant.mRID", receiver),
        Element("receiver_MarketParticipant.marketRole.type", c.role_of(receiver)),
        Element("createdDateTime", c.instant(message.sent_at)),
    )


class _Range:
    """One direction of an adjustment range: its suffix, direction, unit, size and the unit of its energy price."""

    __slots__ = ("direction", "energy_unit", "reactive", "size", "suffix", "unit")

    def __init__(self, suffix: str, direction: str, size: float) -> None:
        self.suffix, self.direction, self.size = suffix, direction, size
        self.reactive = suffix.startswith("q")
        self.unit = c.MEGAVAR if self.reactive else c.MEGAWATT
        self.energy_unit = c.MEGAVAR_HOUR if self.reactive else c.MEGAWATT_HOUR


def _ranges(body: Offer | ReserveNotification) -> Iterator[_Range]:
    """Directions in which a range has any size."""
    for suffix, direction, size in (
        ("p-up", c.UP, -body.p_min_mw),
        ("p-down", c.DOWN, body.p_max_mw),
        ("q-up", c.UP, -body.q_min_mvar),
        ("q-down", c.DOWN, body.q_max_mvar),
    ):
        if size > 0:
            yield _Range(suffix, direction, size)


def _price(body: Offer | ReserveNotification, part: _Range) -> float:
    return body.reactive_eur_per_mvarh if part.reactive else body.price_eur_per_mwh


def _offer(message: Message, codes: Codes) -> Element:
    body = message.body
    assert isinstance(body, Offer)
    return _root(
        "ReserveBid_MarketDocument",
        "reservebiddocument:7:4",
        (
            *_head(message, codes, "A37", c.process_of(body.product)),
            c.interval("reserveBid_Period.timeInterval", body.start, body.stop),
            codes.area("domain.mRID"),
            codes.party("subject_MarketParticipant.mRID", body.seller),
            Element("subject_MarketParticipant.marketRole.type", c.role_of(body.seller)),
            *(_bid_series(body, part, codes) for part in _ranges(body)),
        ),
    )


def _bid_series(body: Offer, part: _Range, codes: Codes) -> Element:
    availability = body.availability_eur_per_mw_h if not part.reactive else 0.0
    point = present(
        Element("position", "1"),
        Element("quantity.quantity", c.number(part.size)),
        Element("minimum_Quantity.quantity", c.number(part.size * body.min_share)) if body.divisible else None,
        Element("price.amount", c.number(availability)) if availability else None,
        Element("energy_Price.amount", c.number(_price(body, part))),
    )
    return Element(
        "Bid_TimeSeries",
        present(
            codes.identity("mRID", f"{body.id}/{part.suffix}"),
            Element("auction.mRID", body.session.value),
            Element("businessType", c.OFFER),
            codes.area("acquiring_Domain.mRID"),
            codes.area("connecting_Domain.mRID"),
            codes.party("provider_MarketParticipant.mRID", body.seller),
            Element("quantity_Measurement_Unit.name", part.unit),
            Element("currency_Unit.name", "EUR"),
            Element("price_Measurement_Unit.name", c.MEGAWATT) if availability else None,
            Element("divisible", c.YES if body.divisible else c.NO),
            codes.identity("linkedBidsIdentification", body.group) if body.group else None,
            Element("status", (Element("value", c.AVAILABLE),)),
            codes.resource("registeredResource.mRID", body.location),
            Element("flowDirection.direction", part.direction),
            Element("energyPrice_Measurement_Unit.name", part.energy_unit),
            Element("marketAgreement.type", c.CONTRACT[body.session]),
            Element("marketAgreement.createdDateTime", c.instant(body.submitted_at)),
            _period("Period", body.start, body.stop, point),
        ),
    )


def _period(name: str, start: datetime, stop: datetime, point: Sequence[Element]) -> Element:
    return Element(
        name,
        (
            c.interval("timeInterval", start, stop),
            Element("resolution", c.resolution(start, stop)),
            Element("Point", tuple(point)),
        ),
    )


def _offer_list(message: Message, codes: Codes) -> Element:
    body = message.body
    assert isinstance(body, OfferList)
    starts = [offer.start for offer in body.offers] or [message.sent_at]
    stops = [offer.stop for offer in body.offers] or [message.sent_at]
    ranked = [(place, offer, part) for place, offer in enumerate(body.offers, 1) for part in _ranges(offer)]
    return _root(
        "MeritOrderList_MarketDocument",
        "moldocument:7:2",
        (
            *_head(message, codes, "A43", c.REDISPATCH),
            c.interval("period.timeInterval", min(starts), max(stops)),
            codes.area("domain.mRID"),
            *(_ranked(place, offer, part, codes) for place, offer, part in ranked),
        ),
    )


def _ranked(place: int, offer: Offer, part: _Range, codes: Codes) -> Element:
    point = (
        Element("position", "1"),
        Element("quantity.quantity", c.number(part.size)),
        Element("energy_Price.amount", c.number(_price(offer, part))),
    )
    return Element(
        "TimeSeries",
        present(
            codes.identity("marketAgreement.mRID", f"{offer.id}/{part.suffix}"),
            Element("marketAgreement.createdDateTime", c.instant(offer.submitted_at)),
            Element("priority", str(place)),
            codes.party("resourceProvider_MarketParticipant.mRID", offer.seller),
            codes.resource("registeredResource.mRID", offer.location),
            codes.area("acquiring_Domain.mRID"),
            codes.area("connecting_Domain.mRID"),
            Element("auction.mRID", offer.session.value),
            Element("businessType", c.OFFER),
            c.interval("bid_Period.timeInterval", offer.start, offer.stop),
            Element("quantity_Measurement_Unit.name", part.unit),
            Element("currency_Unit.name", "EUR"),
            Element("energyPrice_Measurement_Unit.name", part.energy_unit),
            Element("direction", part.direction),
            Element("minimumActivation_Quantity.quantity", c.number(part.size * offer.min_share))
            if offer.divisible
            else None,
            Element("marketObjectStatus.status", c.AVAILABLE),
            _period("Period", offer.start, offer.stop, point),
        ),
    )


def _reserve(message: Message, codes: Codes) -> Element:
    body = message.body
    assert isinstance(body, ReserveNotification)
    return _root(
        "ReserveAllocationResult_MarketDocument",
        "reserveallocationresultdocument:6:4",
        (
            *_head(message, codes, "A38", c.process_of(body.product)),
            c.interval("reserveBid_Period.timeInterval", body.start, body.stop),
            codes.area("domain.mRID"),
            *(_allocated(body, part, codes) for part in _ranges(body)),
        ),
    )


def _allocated(body: ReserveNotification, part: _Range, codes: Codes) -> Element:
    availability = body.availability_eur_per_mw_h if not part.reactive else 0.0
    point = present(
        Element("position", "1"),
        Element("quantity", c.number(part.size)),
        Element("price.amount", c.number(availability)) if availability else None,
        Element("energy_Price.amount", c.number(_price(body, part))),
    )
    return Element(
        "TimeSeries",
        present(
            codes.identity("mRID", f"{body.id}/{part.suffix}"),
            codes.identity("bid_Original_MarketDocument.bid_BidTimeSeries.mRID", f"{body.offer}/{part.suffix}"),
            codes.party("bid_Original_MarketDocument.tendering_MarketParticipant.mRID", body.seller),
            Element("businessType", c.BUSINESS[body.product]),
            codes.area("acquiring_Domain.mRID"),
            codes.area("connecting_Domain.mRID"),
            Element("quantity_Measurement_Unit.name", part.unit),
            Element("currency_Unit.name", "EUR"),
            Element("price_Measurement_Unit.name", c.MEGAWATT) if availability else None,
            Element("energy_Measurement_Unit.name", part.energy_unit),
            codes.resource("registeredResource.mRID", body.location),
            Element("flowDirection.direction", part.direction),
            _period("Period", body.start, body.stop, point),
        ),
    )


def _activation(message: Message, codes: Codes) -> Element:
    body = message.body
    assert isinstance(body, ActivationNotification | ActivationRefusal)
    refused = isinstance(body, ActivationRefusal)
    # An order names who must deliver, an answer comes from there.
    provider = message.sender if refused else message.receiver
    wanted = [("p", body.p_mw, c.MEGAWATT), ("q", body.q_mvar, c.MEGAVAR)]
    called = [each for each in wanted if each[1] != 0.0] or wanted[:1]
    place = None if isinstance(body, ActivationRefusal) else codes.resource("registeredResource.mRID", body.location)
    series = []
    for letter, value, unit in called:
        direction = c.UP if value < 0 else c.DOWN
        point = (Element("position", "1"), Element("quantity", c.number(abs(value))))
        series.append(
            Element(
                "TimeSeries",
                present(
                    codes.identity("mRID", f"{body.reserve}/{letter}-{'up' if direction == c.UP else 'down'}"),
                    codes.party("resourceProvider_MarketParticipant.mRID", provider),
                    Element("businessType", "A85"),
                    codes.area("acquiring_Domain.mRID"),
                    codes.area("connecting_Domain.mRID"),
                    Element("measurement_Unit.name", unit),
                    Element("flowDirection.direction", direction),
                    Element("marketObjectStatus.status", c.UNAVAILABLE if refused else c.ORDERED),
                    place,
                    _period("Period", body.start, body.stop, point),
                    _reason(body),
                ),
            )
        )
    return _root(
        "Activation_MarketDocument",
        "activationdocument:6:2",
        (
            *_head(message, codes, "A41" if refused else "A40", c.REDISPATCH),
            c.interval("activation_Time_Period.timeInterval", body.start, body.stop),
            codes.area("domain.mRID"),
            codes.identity("order_MarketDocument.mRID", body.reserve if refused else body.id),
            Element("order_MarketDocument.revisionNumber", "1"),
            *series,
        ),
    )


def _reason(body: ActivationNotification | ActivationRefusal) -> Element:
    if isinstance(body, ActivationNotification):
        return Element("Reason", (Element("code", c.INTERNAL_CONGESTION),))
    text = body.reason[: c.TEXT_MAX]
    return Element("Reason", present(Element("code", c.PROVIDER_UNAVAILABLE), Element("text", text) if text else None))


def _plan(message: Message, codes: Codes) -> Element:
    body = message.body
    assert isinstance(body, OperationPlan)
    profile = body.profile
    series = [
        (kind, direction, values, product, unit)
        for kind, values, product, unit in (
            ("p", profile.p_mw, c.ACTIVE_POWER, c.MEGAWATT),
            ("q", profile.q_mvar, c.REACTIVE_POWER, c.MEGAVAR),
        )
        for direction in (c.PRODUCTION, c.CONSUMPTION)
    ]
    return _root(
        "PlannedResourceSchedule_MarketDocument",
        "plannedresourcescheduledocument:6:2",
        (
            *_head(message, codes, "A14", c.SCHEDULE_DAY),
            c.interval("schedule_Period.timeInterval", profile.start, profile.stop),
            codes.area("domain.mRID"),
            *(
                Element(
                    "PlannedResource_TimeSeries",
                    (
                        codes.identity("mRID", f"{body.id}/{kind}-{'out' if direction == c.PRODUCTION else 'in'}"),
                        Element("businessType", direction),
                        Element("product", product),
                        codes.area("connecting_Domain.mRID"),
                        codes.resource("registeredResource.mRID", body.subject),
                        codes.party("resourceProvider_MarketParticipant.mRID", message.sender),
                        Element("measurement_Unit.name", unit),
                        Element("objectAggregation", "A06"),
                        Element("curveType", "A01"),
                        _planned(profile.start, profile.stop, values, direction == c.PRODUCTION),
                    ),
                )
                for kind, direction, values, product, unit in series
            ),
        ),
    )


def _planned(start: datetime, stop: datetime, values: Sequence[float], produced: bool) -> Element:
    """Points of one direction: consumption is positive here, so what is produced is the negative part."""
    sizes = [max(0.0, -value if produced else value) for value in values]
    points = (
        Element("Point", (Element("position", str(place)), Element("quantity", c.number(size))))
        for place, size in enumerate(sizes, 1)
    )
    head = (c.interval("timeInterval", start, stop), Element("resolution", c.resolution(start, stop, len(sizes))))
    return Element("Series_Period", (*head, *points))


FORMS: dict[type[InformationObject], tuple[str, Callable[[Message, Codes], Element]]] = {
    Offer: ("ReserveBid_MarketDocument 7.4", _offer),
    OfferList: ("MeritOrderList_MarketDocument 7.2", _offer_list),
    ReserveNotification: ("ReserveAllocationResult_MarketDocument 6.4", _reserve),
    ActivationNotification: ("Activation_MarketDocument 6.2, order", _activation),
    ActivationRefusal: ("Activation_MarketDocument 6.2, response", _activation),
    OperationPlan: ("PlannedResourceSchedule_MarketDocument 6.2", _plan),
}
"""Form of every object that has one, and what makes it."""
