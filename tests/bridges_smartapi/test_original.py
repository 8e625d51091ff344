"""Both ways between us and the original Smart API library 1.1.0, from what it really wrote and read.

``tests/cases/smartapi`` was made by ``tools/smartapi_peer.py`` under Python 2.7 with the library from PyPI.
"""

import hashlib
import json
import math
import os
import subprocess
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from heila_mosaik.bridges.smartapi import Refusal, RefusedError, read_message, read_plain, write_message
from heila_mosaik.domain import information as info
from tests.bridges_smartapi.examples import EXAMPLES

CASES = Path(__file__).parents[1] / "cases" / "smartapi"
TOOL = Path(__file__).parents[2] / "tools" / "smartapi_peer.py"
LABELS = {".ttl": 'text/turtle; charset="us-ascii"', ".rdf": "application/rdf+xml", ".jsonld": "application/ld+json"}
PEER = os.environ.get("HEILA_SMARTAPI_PYTHON", "")
KILOWATT = "http://data.nasa.gov/qudt/owl/unit#Kilowatt"


def original(name):
    path = CASES / "original" / name
    return path.read_bytes(), LABELS[path.suffix]


def short(iri):
    return iri.rpartition("#")[2]


SERIES = {
    "series_linkedlist.ttl": (1.5, -2.5, 1.5),
    "series_linkedlist.rdf": (1.5, -2.5, 1.5),
    "series_linkedlist.jsonld": (1.5, -2.5, 1.5),
    "series_orderedlist.ttl": (1.5, -2.5, 1.5),
    "series_orderedlist.rdf": (1.5, -2.5, 1.5),
    "series_orderedlist.jsonld": (1.5, -2.5, 1.5),
    "series_nudelist.ttl": (1.5, -2.5, 1.5),
    "series_python_list.ttl": (1.0, 2.0, 3.0),
    "series_one.ttl": (4.0,),
    "series_empty.ttl": (),
}


@pytest.mark.parametrize("name", SERIES)
def test_every_list_encoding_that_works(name):
    (series,) = read_plain(*original(name)).series
    assert tuple(map(float, series.values)) == SERIES[name]
    assert (short(series.quantity), series.unit, series.step_s) == ("ActivePower", KILOWATT, 900)
    assert series.start.isoformat() == "2018-11-20T10:00:00+00:00"


def test_the_list_that_loses_order_and_duplicates_is_refused():
    with pytest.raises(RefusedError, match="unordered"):
        read_plain(*original("series_itemizedlist.ttl"))


def test_lists_filled_item_by_item_and_several_series():
    (series,) = read_plain(*original("series_items.ttl")).series
    assert (short(series.quantity), short(series.unit), series.step_s) == ("ReactivePower", "VoltAmpereReactive", 3600)
    assert tuple(map(float, series.values)) == (1.0, 2.5)
    power, price = read_plain(*original("series_two.ttl")).series
    assert (short(power.quantity), short(price.unit), price.values) == (
        "ActivePower",
        "EuroPerMegawatthour",
        ("7e+00",),
    )


@pytest.mark.parametrize("suffix", ["ttl", "rdf", "jsonld"])
def test_value_with_limits_in_three_serialisations(suffix):
    (value,) = read_plain(*original(f"value.{suffix}")).values
    assert [float(text) for text in (value.value, value.minimum, value.maximum)] == [20.0, 0.0, 30.0]
    assert (short(value.quantity), value.unit) == ("ActivePower", KILOWATT)
    assert value.owner == "http://multipower.example/microgrid"


@pytest.mark.parametrize(
    ("name", "kind", "found"),
    [
        ("breaker.ttl", "Notification", [("BooleanState", "", "true")]),
        ("offering.ttl", "Notification", [("EnergyPrice", "EuroPerMegawatthour", "55.5")]),
        ("request.ttl", "Request", [("ActivePower", "Kilowatt", "5")]),
        ("response.ttl", "Response", [("ActivePower", "Kilowatt", "6")]),
        ("texts.ttl", "Notification", [("ActivePower", "Kilowatt", "1e-07"), ("ActivePower", "Kilowatt", "3")]),
    ],
)
def test_values_wherever_the_library_lets_them_stand(name, kind, found):
    message = read_plain(*original(name))
    assert message.kind == kind
    assert message.generated_by == "http://multipower.example/mgms"
    assert [(short(value.quantity), short(value.unit), value.value) for value in message.values] == found


def test_times_without_offset_need_somebody_to_say_where_the_clock_stands():
    with pytest.raises(RefusedError) as caught:
        read_plain(*original("naive_time.ttl"))
    assert caught.value.reason is Refusal.NAIVE_TIME
    message = read_plain(*original("naive_time.ttl"), assume_zone=ZoneInfo("Europe/Helsinki"))
    assert message.generated_at.isoformat() == "2018-11-20T10:00:00+00:00"


@pytest.mark.parametrize("suffix", ["ttl", "rdf", "jsonld"])
def test_one_of_our_objects_said_with_the_library(suffix):
    message = read_message(*original(f"activation.{suffix}"))
    assert (message.id, message.sender, message.receiver) == ("ams-7", "ams", "mgms_molkerei")
    body = message.body
    assert isinstance(body, info.ActivationNotification)
    assert (body.reserve, body.location, body.p_mw, body.q_mvar) == ("fmp/reserve/1", "molkerei", -0.3, 0.0)
    assert body.stop.isoformat() == "2018-11-20T11:00:00+00:00"


def test_a_range_may_be_said_by_minimum_and_maximum():
    text = write_message(next(each for each in EXAMPLES if isinstance(each.body, info.Offer))).decode()
    start = text.index("smartapi:valueObject [ a smartapi:ValueObject ; heila:field heila:p_min_mw")
    stop = text.index("smartapi:valueObject [ a smartapi:ValueObject ; heila:field heila:price_eur_per_mwh")
    ranged = (
        "smartapi:valueObject [ a smartapi:ValueObject ; qudt:quantityKind smartapi:ActivePower ; "
        "qudt:unit unit:Kilowatt ; smartapi:minimum -1e3 ; smartapi:maximum 0e0 ] ;\n"
    )
    assert read_message((text[:start] + ranged + text[stop:]).encode()).body.p_min_mw == -1.0


# What its parser made of our messages


def test_the_captured_readings_are_of_the_bytes_we_write_today():
    digests = dict(reversed(line.split("  ")) for line in (CASES / "ours.sha256").read_text().splitlines())
    written = {f"{type(each.body).__name__}.ttl": hashlib.sha256(write_message(each)).hexdigest() for each in EXAMPLES}
    assert written == digests, "the writer changed: run tools/smartapi_peer.py again and look at the difference"


READ = json.loads((CASES / "read_by_original.json").read_text())


def same(ours, theirs):
    """Equal, with the twelve digits to which the library's rdflib keeps a double under Python 2."""
    if isinstance(ours, float) and not isinstance(theirs, bool):
        return math.isclose(ours, theirs, rel_tol=1e-11)
    return ours == theirs


def matched(ours, theirs):
    """Whether two lists of rows hold the same rows, in whatever order."""
    left = list(theirs)
    for row in ours:
        hit = next((each for each in left if all(map(same, row, each))), None)
        if hit is None:
            return False
        left.remove(hit)
    return not left


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda each: type(each.body).__name__)
def test_its_parser_reads_ours_with_quantities_units_values_and_times_intact(message):
    read = READ[type(message.body).__name__]
    assert read["at"] == message.sent_at.isoformat()
    assert read["by"] == "urn:heila:actor:AMS"
    start, stop = getattr(message.body, "start", None), getattr(message.body, "stop", None)
    assert read["period"] == [[start.isoformat(), stop.isoformat()] if start and stop else None]
    plain = read_plain(write_message(message))
    values = [
        (each.quantity, each.unit, each.value == "true" if each.value in ("true", "false") else float(each.value))
        for each in plain.values
        if each.owner in read["entities"]
    ]
    nested = ("Bid", "FlexibilityRequest", "OfferList")  # it keeps values of parts with the parts
    theirs = read["values"]
    assert matched([row for row in values if type(message.body).__name__ not in nested or list(row) in theirs], theirs)
    assert len(plain.series) == len(read["series"])
    for ours in plain.series:
        rows = [row for row in read["series"] if row[:2] == [ours.quantity, ours.unit]]
        numbers = [float(value) for value in ours.values]
        (hit, *_) = [row for row in rows if len(row[4]) == len(numbers) and all(map(same, numbers, row[4]))]
        assert hit[2] == f"PT{ours.step_s}S"
        assert hit[3][0] == ours.start.isoformat()


@pytest.mark.parametrize("message", EXAMPLES[:-1], ids=lambda each: type(each.body).__name__)
def test_what_it_parsed_and_wrote_again_is_the_same_message(message):
    path = CASES / "echo" / f"{type(message.body).__name__}.ttl"
    assert read_message(path.read_bytes(), LABELS[".ttl"]) == message


@pytest.mark.skipif(not PEER, reason="HEILA_SMARTAPI_PYTHON names no Python 2.7 with the original library")
def test_the_library_itself_reads_ours_today(tmp_path):
    for message in EXAMPLES[:-1]:
        (tmp_path / f"{type(message.body).__name__}.ttl").write_bytes(write_message(message))
    out = tmp_path / "echo"
    out.mkdir()
    files = sorted(tmp_path.glob("*.ttl"))
    subprocess.run([PEER, str(TOOL), "echo", str(out), *map(str, files)], check=True, capture_output=True)
    for message in EXAMPLES[:-1]:
        assert read_message((out / f"{type(message.body).__name__}.ttl").read_bytes()) == message
