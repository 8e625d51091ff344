"""Market documents against the models that others generated from the ENTSO-E schemas; CIM against rdflib."""

import importlib
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rdflib import Graph, Namespace
from rdflib.namespace import RDF

from heila_mosaik.bridges.schedules import FORMS, Codes, cim_schedules, market_document, to_json, to_xml
from heila_mosaik.bridges.schedules.codes import number, resolution, widened
from heila_mosaik.domain import information as info
from heila_mosaik.domain.quantities import Product
from tests.bridges_smartapi.examples import EXAMPLES, OFFER, E, T
from tests.bridges_smartapi.strategies import build, moments

MODELS = {
    info.Offer: ("reservebiddocument_v7_4", "ReserveBidMarketDocument"),
    info.OfferList: ("moldocument_v7_2", "MeritOrderListMarketDocument"),
    info.ReserveNotification: ("reserveallocationresult_v6_4", "ReserveAllocationResultMarketDocument"),
    info.ActivationNotification: ("activationdocument_v6_2", "ActivationMarketDocument"),
    info.ActivationRefusal: ("activationdocument_v6_2", "ActivationMarketDocument"),
    info.OperationPlan: ("plannedresourceschedule_v6_2", "PlannedResourceScheduleMarketDocument"),
}
FULL = replace(
    OFFER, p_max_mw=2.0, q_min_mvar=-0.5, q_max_mvar=0.25, availability_eur_per_mw_h=4.5, reactive_eur_per_mvarh=3.0,
    group="battery", group_energy_mwh=2.0,
)  # fmt: skip
BODIES = [
    *(each.body for each in EXAMPLES if type(each.body) in FORMS),
    FULL,
    replace(FULL, divisible=False, product=Product.FCR_N),
    info.OfferList(id="l", request="r", session=info.Session.INTRADAY, offers=(FULL, OFFER), relief_per_eur=(2.0, 1.0)),
]


def message(body, sender="ams", receiver="fmp"):
    return info.Message(id="ams-7", sender=sender, receiver=receiver, sent_at=T, body=body)


def order_of(node):
    return [node.tag, (node.text or "").strip(), dict(node.attrib), [order_of(child) for child in node]]


@pytest.mark.parametrize("body", BODIES, ids=lambda body: type(body).__name__)
def test_documents_hold_against_the_models_of_the_schemas(body):
    xsdata = pytest.importorskip("xsdata_pydantic.bindings")
    from xsdata.formats.dataclass.parsers.config import ParserConfig
    from xsdata.formats.dataclass.serializers.config import SerializerConfig

    module, name = MODELS[type(body)]
    model = getattr(importlib.import_module(f"entsoe.xml_models.iec62325_451_7_{module}"), name)
    codes = Codes()
    xml = to_xml(market_document(message(body), codes))
    assert codes.problems == []
    strict = ParserConfig(
        fail_on_unknown_properties=True, fail_on_unknown_attributes=True, fail_on_converter_warnings=True
    )
    parsed = xsdata.XmlParser(config=strict).from_bytes(xml, model)
    # The model writes its elements in the order of the schema: ours must have been in that order already.
    written = xsdata.XmlSerializer(config=SerializerConfig(xml_declaration=False)).render(parsed)
    theirs, ours = order_of(ET.fromstring(written)), order_of(ET.fromstring(xml))
    assert [each[0] for each in flat(ours)] == [each[0] for each in flat(theirs)]
    assert [plain(each) for each in flat(ours)] == [plain(each) for each in flat(theirs)]


def flat(node):
    yield node
    for child in node[3]:
        yield from flat(child)


def plain(node):
    try:
        return node[0], Decimal(node[1]), node[2]
    except ArithmeticError:
        return node[0], node[1], node[2]


def texts(document, name):
    return [element.text for element in ET.fromstring(to_xml(document)).iter() if element.tag.endswith(f"}}{name}")]


def test_ranges_become_directions_and_prices_keep_their_units():
    document = market_document(message(FULL), Codes(codes={"mg-1": "643000000000000001"}))
    assert texts(document, "flowDirection.direction") == ["A01", "A02", "A01", "A02"]
    assert texts(document, "quantity.quantity") == ["1", "2", "0.5", "0.25"]
    assert texts(document, "quantity_Measurement_Unit.name") == ["MAW", "MAW", "MAR", "MAR"]
    assert texts(document, "energy_Price.amount") == ["55", "55", "3", "3"]
    assert texts(document, "energyPrice_Measurement_Unit.name") == ["MWH", "MWH", "MAH", "MAH"]
    assert texts(document, "minimum_Quantity.quantity") == ["0.25", "0.5", "0.125", "0.0625"]
    assert set(texts(document, "registeredResource.mRID")) == {"643000000000000001"}
    assert texts(document, "resolution") == ["PT60M"] * 4


def test_plans_keep_consumption_and_production_apart():
    plan = next(body for body in BODIES if isinstance(body, info.OperationPlan))
    document = market_document(message(plan, "mgms_a", "ams"), Codes())
    assert texts(document, "businessType") == ["A01", "A04", "A01", "A04"]
    assert texts(document, "quantity") == ["0", "0.25", "0.5", "0", "0", "0", "0.1", "0"]
    assert texts(document, "resolution") == ["PT15M"] * 4


def test_refusals_carry_their_reason():
    refusal = next(body for body in BODIES if isinstance(body, info.ActivationRefusal))
    document = market_document(message(refusal, "mgms_a", "ams"), Codes())
    assert texts(document, "type") == ["A41"]
    assert texts(document, "text")[0] == 'line "3" 104 % > 100 %'
    assert set(texts(document, "marketObjectStatus.status")) == {"A11"}


def test_names_too_long_for_a_form_are_problems_all_at_once():
    codes = Codes(domain="x" * 19)
    market_document(message(replace(OFFER, seller="s" * 17, location="l" * 19), "a" * 20), codes)
    found = {problem.where: problem.remedy for problem in codes.problems}
    assert "registeredResource.mRID" in found
    assert "domain.mRID" in found
    assert "--code" in found["sender_MarketParticipant.mRID"]


def test_json_holds_the_same_tree():
    document = market_document(message(FULL), Codes())
    tree = json.loads(to_json(document))["ReserveBid_MarketDocument"]
    assert tree["sender_MarketParticipant.mRID"] == {"codingScheme": "NFI", "value": "ams"}
    assert [series["Period"][0]["Point"][0]["quantity.quantity"] for series in tree["Bid_TimeSeries"]] == [
        "1", "2", "0.5", "0.25",
    ]  # fmt: skip
    assert to_json(document) == to_json(market_document(message(FULL), Codes()))


@given(st.floats(-1e9, 1e9, allow_nan=False))
def test_numbers_keep_every_digit(value):
    assert float(number(value)) == value
    assert "e" not in number(value).lower()


@given(moments, st.integers(1, 10**6))
def test_intervals_are_widened_to_minutes_and_filled(start, seconds):
    stop = start + timedelta(seconds=seconds)
    first, last = widened(start, stop)
    assert first <= start < stop <= last
    assert (first - start, last - stop) >= (timedelta(minutes=-1), timedelta(0))
    assert resolution(start, stop) == f"PT{round((last - first).total_seconds() / 60)}M"


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.one_of(build(info.OperationPlan), build(info.FlexibilityForecast)))
def test_cim_schedules_give_the_profile_back(body):
    graph = Graph().parse(data=cim_schedules(body), format="xml")
    cim = Namespace("http://iec.ch/TC57/CIM100#")
    schedules = {
        str(graph.value(node, cim["IdentifiedObject.name"])).rpartition(" ")[2]: node
        for node in graph.subjects(RDF.type, cim.RegularIntervalSchedule)
    }
    assert set(schedules) == {"planned", "lowest", "highest"}
    for name, p, q in (("planned", "p_mw", "q_mvar"), ("lowest", "p_min_mw", "q_min_mvar")):
        points = sorted(
            (
                int(graph.value(point, cim["RegularTimePoint.sequenceNumber"])),
                float(graph.value(point, cim["RegularTimePoint.value1"])),
                float(graph.value(point, cim["RegularTimePoint.value2"])),
            )
            for point in graph.subjects(cim["RegularTimePoint.IntervalSchedule"], schedules[name])
        )
        profile = body.profile
        assert [point[1:] for point in points] == list(zip(getattr(profile, p), getattr(profile, q), strict=True))
    assert cim_schedules(body) == cim_schedules(body)
    assert E > T
