# ruff: noqa: E501
import json
import os
import random
from pathlib import Path

import pytest
from rdflib import Graph

from heila_mosaik.bridges import rdfguard
from heila_mosaik.bridges.smartapi import Refusal, RefusedError, read_message, read_plain, write_message
from heila_mosaik.bridges.smartapi.check import check_message, shapes
from heila_mosaik.bridges.smartapi.documentation import markdown, shacl
from tests.bridges_smartapi.examples import EXAMPLES, offer

TTL, JSONLD, XML = "text/turtle", "application/ld+json", "application/rdf+xml"
PX = "@prefix xsd: <http://www.w3.org/2001/XMLSchema#> . @prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> . "


def escape_e():
    return PX + '<a:a> <a:b> "1\\u0045+999999999"^^xsd:decimal .'


BAD = [
    (TTL, b" " * (256 * 1024 + 1), Refusal.OVERSIZE),
    (TTL, b'<a:a> <a:b> "\xff" .', Refusal.NOT_UTF8),
    (TTL, (PX + '<a:a> <a:b> "1E+999999999"^^xsd:decimal .').encode(), Refusal.NUMBER_BOMB),
    (TTL, escape_e().encode(), Refusal.NUMBER_BOMB),
    (TTL, (PX + '<a:a> <a:b> "' + "1" * 99 + '"^^xsd:integer .').encode(), Refusal.NUMBER_BOMB),
    (TTL, b"<a:a> <a:b> 1e999999999 .", Refusal.NUMBER_BOMB),
    (TTL, ("<a:a> <a:b> " + "[ <a:b> " * 40 + "1" + " ]" * 40 + " .").encode(), Refusal.TOO_DEEP),
    (TTL, ("<a:a> <a:b> " + "( " * 9000 + ") " * 9000 + " .").encode(), Refusal.TOO_DEEP),
    (TTL, "".join(f"@prefix a{i}: <a:{i}> .\n" for i in range(65)).encode(), Refusal.TOO_MANY_PREFIXES),
    (TTL, (PX + '<a:a> <a:b> "<a/>"^^rdf:XMLLiteral .').encode(), Refusal.DATATYPE),
    (TTL, (PX + '<a:a> <a:b> "x"^^xsd:anyURI .').encode(), Refusal.DATATYPE),
    (TTL, (PX + '<a:a> <a:b> "open"^^xsd:boolean .').encode(), Refusal.SYNTAX),
    (TTL, b"<a:a> <a:b> { <a:c> <a:d> 1 } .", Refusal.SYNTAX),
    (TTL, b"nonsense", Refusal.SYNTAX),
    (JSONLD, b'{"@context": "http://127.0.0.1:9/c.jsonld", "@id": "a:a"}', Refusal.REMOTE_CONTEXT),
    (JSONLD, b'{"@context": ["file:///etc/passwd"], "@id": "a:a"}', Refusal.REMOTE_CONTEXT),
    (JSONLD, b'{"@context": {"x": {"@id": "a:x", "@context": "file:///etc/passwd"}}}', Refusal.REMOTE_CONTEXT),
    (JSONLD, b'{"@context": {"@import": "http://a/"}}', Refusal.REMOTE_CONTEXT),
    (JSONLD, b'{"a:b": {"@value": "1E+999999999", "@type": "http://www.w3.org/2001/XMLSchema#decimal"}}',
     Refusal.NUMBER_BOMB),
    (JSONLD, b'{"@context": {"b": {"@id": "a:b", "@type": "http://www.w3.org/2001/XMLSchema#decimal"}},'
     b' "b": "1E+999999999"}', Refusal.NUMBER_BOMB),
    (JSONLD, b'{"@context": {"v": "@value", "t": "@type"}, "a:b": {"v": "1E+999999999",'
     b' "t": "http://www.w3.org/2001/XMLSchema#decimal"}}', Refusal.NUMBER_BOMB),
    (JSONLD, b"[" * 5000 + b"]" * 5000, Refusal.TOO_DEEP),
    (JSONLD, b'{"a:b": NaN}', Refusal.NOT_FINITE),
    (XML, b'<!DOCTYPE r [<!ENTITY a "x">]><rdf:RDF xmlns:rdf="a">&a;</rdf:RDF>', Refusal.ENTITY_EXPANSION),
    (XML, b'<?xml version="1.0" encoding="utf-7"?><a/>', Refusal.NOT_UTF8),
    (XML, b"<a>" * 40 + b"</a>" * 40, Refusal.TOO_DEEP),
    ("text/html", b"", Refusal.SYNTAX),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "payload", "reason"), BAD)
def test_what_must_not_get_in(kind, payload, reason):
    with pytest.raises(RefusedError) as caught:
        rdfguard.parse(payload, kind)
    assert caught.value.reason is reason


SWAPS = [
    (b"unit smartapi:Megawatt ", b"unit unit:Horsepower ", Refusal.UNKNOWN_UNIT),
    (b'00:00:00+00:00"^^xsd:dateTime', b'00:00:00"^^xsd:dateTime', Refusal.NAIVE_TIME),
    (b"rdf:value -1.0e0", b'rdf:value "NaN"^^xsd:double', Refusal.NOT_FINITE),
    (b"rdf:value -1.0e0", b"rdf:value 1.0e0", Refusal.OUT_OF_RANGE),
    (b"rdf:value 0.25e0", b"rdf:value -0.25e0", Refusal.OUT_OF_RANGE),
    (b"heila:Offer ", b"heila:Gift ", Refusal.UNKNOWN_OBJECT),
    (b'heila:product "CRP"', b'heila:product "XXX"', Refusal.SHAPE),
    (b'heila:seller "AMS" ;', b"", Refusal.SHAPE),
]


@pytest.mark.parametrize(("old", "new", "reason"), SWAPS)
def test_wrong_content_is_refused_by_name(old, new, reason):
    payload = write_message(offer())
    assert old in payload
    with pytest.raises(RefusedError) as caught:
        read_message(payload.replace(old, new))
    assert caught.value.reason is reason


@pytest.mark.parametrize("message", EXAMPLES[:-1], ids=lambda m: type(m.body).__name__)
@pytest.mark.parametrize(("kind", "form"), [(JSONLD, "json-ld"), (XML, "xml"), (TTL, "turtle")])
def test_other_serialisations_and_prefixes(message, kind, form):
    graph = Graph(bind_namespaces="none").parse(data=write_message(message), format="turtle")
    stripped = Graph(bind_namespaces="none")
    for triple in graph:
        stripped.add(triple)
    text = stripped.serialize(format=form)
    assert read_message(text.encode(), kind) == message


def test_kilowatts_and_current_qudt_are_understood():
    text = write_message(offer()).decode()
    text = text.replace("unit smartapi:Megawatt ; rdf:value -1.0e0", "unit unit:Kilowatt ; rdf:value -1e3")
    text = text.replace(
        "qudt:unit smartapi:Megawatt ", "<http://qudt.org/schema/qudt/unit> <http://qudt.org/vocab/unit/MegaW> "
    )
    assert read_message(text.encode()) == offer()


NOW = {
    "smartapi:ActivePower": "ActivePower", "smartapi:ReactivePower": "ReactivePower", "smartapi:ElectricEnergy": "Energy",
    "quantity:DimensionlessRatio": "DimensionlessRatio", "quantity:Irradiance": "Irradiance",
    "smartapi:AirTemperature": "Temperature", "smartapi:WindSpeed": "WindSpeed", "smartapi:ElectricVoltage": "Voltage",
    "smartapi:Megawatt ": "MegaW", "smartapi:Megawatthour": "MegaW-HR", "unit:Unitless": "UNITLESS",
    "unit:DegreeCelsius": "DEG_C", "unit:MeterPerSecond": "M-PER-SEC", "unit:WattPerSquareMeter": "W-PER-M2",
}  # fmt: skip


@pytest.mark.parametrize("message", EXAMPLES[:-1], ids=lambda m: type(m.body).__name__)
def test_the_current_qudt_says_the_same(message):
    text = write_message(message).decode()
    for old, new in NOW.items():
        kind = "quantitykind" if new[0].isupper() and old[0] in "sq" and not new.startswith("MegaW") else "unit"
        text = text.replace(f" {old.strip()} ", f" <http://qudt.org/vocab/{kind}/{new}> ")
    text = text.replace("qudt:quantityKind", "<http://qudt.org/schema/qudt/hasQuantityKind>")
    text = text.replace("qudt:unit", "<http://qudt.org/schema/qudt/hasUnit>")
    assert read_message(text.encode()) == message


PEER = """@prefix ns1: <http://smart-api.io/ontology/1.0/smartapi#> . @prefix ns2: <http://data.nasa.gov/qudt/owl/qudt#> .
@prefix rdf: <http://www.w3.org/1999/02/22-rdf-syntax-ns#> . @prefix xsd: <http://www.w3.org/2001/XMLSchema#> .
<http://peer/m> a ns1:Notification ; ns1:generatedBy <http://peer/me> ;
 ns1:generatedAt "2018-11-20T12:00:00+02:00"^^xsd:dateTime ; ns1:activity [ a ns1:Activity ; ns1:method ns1:Write ;
 ns1:entity [ a ns1:Entity ; ns1:valueObject [ a ns1:ValueObject ; ns2:quantityKind ns1:ActivePower ;
   ns2:unit <http://data.nasa.gov/qudt/owl/unit#Kilowatt> ; rdf:value 2e+01 ; ns1:minimum 0e0 ; ns1:maximum 3e1 ] ] ;
 ns1:timeSeries [ a ns1:TimeSeries ; ns1:timeStep "PT15M"^^xsd:duration ; ns2:quantityKind ns1:ActivePower ;
   ns1:temporalContext [ ns1:start "2018-11-20T12:00:00+02:00"^^xsd:dateTime ] ; ns1:list LIST ] ] ."""
LISTS = [
    "(1.5e0 2.5e0)",
    "[ rdf:first [ ns1:size 2 ; ns1:indexedArray [ ns1:entry [ ns1:index 1 ; rdf:value 2.5e0 ] , "
    "[ ns1:index 0 ; rdf:value 1.5e0 ] ] ] ]",
    "[ <http://purl.org/dc/terms/abstract> [ ns1:size 2 ; ns1:indexedArray [ ns1:entry [ ns1:index 1 ; rdf:value 2.5e0 ] , "
    "[ ns1:index 0 ; rdf:value 1.5e0 ] ] ] ]",
    '[ rdf:first [ ns1:rawArray [ rdf:value "[1.5, 2.5]" ] ] ]',
]


@pytest.mark.parametrize("encoding", LISTS)
def test_peer_of_the_original_library(encoding):
    plain = read_plain(PEER.replace("LIST", encoding).encode(), "text/turtle; charset=us-ascii")
    assert [float(x) for x in plain.series[0].values] == [1.5, 2.5]
    assert plain.series[0].step_s == 900
    assert plain.series[0].start.isoformat() == "2018-11-20T10:00:00+00:00"
    assert (float(plain.values[0].value), float(plain.values[0].maximum)) == (20.0, 30.0)


def test_unordered_array_is_refused():
    bad = PEER.replace("LIST", "[ rdf:first [ ns1:array [ rdf:value 1.5e0 , 2.5e0 ] ] ]")
    with pytest.raises(RefusedError, match="unordered"):
        read_plain(bad.encode())


def test_mutated_messages_never_crash():
    count = int(os.environ.get("HEILA_FUZZ", "1000"))
    draw = random.Random(7)
    payloads = [write_message(message) for message in EXAMPLES[:-1]]
    pieces = [b"[", b"]", b'"', b"^^", b"1e9999", b"\xff", b"\\", b"<", b" . ", b"-", b"NaN", b"{", b"^^xsd:decimal"]
    read = 0
    for _ in range(count):
        payload = bytearray(draw.choice(payloads))
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(payload))
            cut = payload[at : at + draw.randint(0, 20)]
            payload[at : at + draw.randint(0, 6)] = draw.choice(
                [draw.choice(pieces), bytes(cut) * 2, bytes([draw.randrange(256)])]
            )
        try:
            read_message(bytes(payload))
            read += 1
        except RefusedError:
            pass
    assert read < count


def test_documents_follow_the_table():
    root = Path(__file__).parents[2]
    assert (root / "docs/messages.md").read_text() == markdown()
    assert shapes() == shacl()


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m.body).__name__)
def test_good_file_has_no_problem(tmp_path, message):
    file = tmp_path / "message.ttl"
    file.write_bytes(write_message(message))
    assert check_message(file) == []


def test_check_explains_everything(tmp_path):
    file = tmp_path / "bad.ttl"
    text = write_message(offer()).replace(b'heila:seller "AMS" ;', b"").replace(b'"CRP"', b'"XXX"')
    file.write_bytes(text)
    shown = "\n".join(map(str, check_message(file)))
    assert "seller" in shown
    assert "product" in shown
    assert check_message(tmp_path / "none.ttl")[0].what.startswith("cannot be read")
    file.write_bytes(json.dumps({}).encode())
    assert check_message(file)
