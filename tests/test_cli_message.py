"""``heila message``: what a user sees."""

import json
from pathlib import Path

import pytest

from heila_mosaik.bridges.smartapi import write_message
from heila_mosaik.domain.codec import message_to_json_dict
from tests.bridges_smartapi.examples import EXAMPLES, offer
from tests.results.fake import write_study
from tests.test_cli import call

ORIGINAL = Path(__file__).parent / "cases" / "smartapi" / "original"


@pytest.fixture
def offer_file(tmp_path):
    path = tmp_path / "offer.ttl"
    path.write_bytes(write_message(offer()))
    return path


def test_check_says_what_good_files_hold(capsys, offer_file):
    code, out, _ = call(capsys, "message", "check", offer_file, ORIGINAL / "value.ttl")
    assert code == 0
    assert "Offer AMS/offer/1 from AMS to MGMS" in out
    assert "Smart API Notification of http://multipower.example/mgms with 1 values" in out


def test_check_explains_every_mistake_with_its_place(capsys, offer_file):
    text = offer_file.read_text()
    text = text.replace('heila:seller "AMS" ;', "").replace('"CRP"', '"XXX"')
    text = text.replace(
        "qudt:unit smartapi:Megawatt ; rdf:value -1.0e0", "qudt:unit unit:Horsepower ; rdf:value -1.0e0"
    )
    offer_file.write_text(text)
    code, out, err = call(capsys, "message", "check", offer_file)
    assert (code, out) == (2, "")
    for words in (
        "seller: heila:seller must be exactly one",
        "product",
        "valueObject[p_min_mw]: unit:",
        "Horsepower",
        "remedy:",
    ):
        assert words in err
    code, out, _ = call(capsys, "message", "check", offer_file, "--json")
    assert code == 2
    assert len(json.loads(out)[0]["problems"]) == 4


def test_check_of_no_file_and_of_garbage(capsys, tmp_path):
    code, _, err = call(capsys, "message", "check", tmp_path / "none.ttl")
    assert (code, "cannot be read" in err) == (2, True)
    bad = tmp_path / "bad.jsonld"
    bad.write_text('{"@context": "http://example.com/context"}')
    code, _, err = call(capsys, "message", "check", bad)
    assert (code, "none is fetched" in err) == (2, True)


def test_show_gives_units_and_reads_the_original_library(capsys, offer_file):
    code, out, _ = call(capsys, "message", "show", offer_file)
    assert code == 0
    assert any("price_eur_per_mwh" in line and "EUR/MWh" in line and "55.0" in line for line in out.splitlines())
    code, out, _ = call(capsys, "message", "show", ORIGINAL / "series_two.ttl", "--json")
    assert [series["step_s"] for series in json.loads(out)["series"]] == [900, 900]
    code, _, err = call(capsys, "message", "show", ORIGINAL / "naive_time.ttl")
    assert (code, "no offset" in err) == (2, True)
    assert call(capsys, "message", "show", ORIGINAL / "naive_time.ttl", "--assume-zone", "Europe/Helsinki")[0] == 0
    code, _, err = call(capsys, "message", "show", ORIGINAL / "naive_time.ttl", "--assume-zone", "Mars")
    assert (code, "no time zone" in err) == (2, True)


@pytest.mark.parametrize("form", ["turtle", "json-ld", "rdf-xml", "json"])
def test_exported_forms_can_be_read_again(capsys, offer_file, tmp_path, form):
    target = tmp_path / f"out.{ {'turtle': 'ttl', 'json-ld': 'jsonld', 'rdf-xml': 'rdf', 'json': 'json'}[form] }"
    assert call(capsys, "message", "export", offer_file, "--to", form, "--out", target)[0] == 0
    code, out, _ = call(capsys, "message", "show", target, "--json")
    assert code == 0
    assert json.loads(out) == message_to_json_dict(offer())


def test_export_of_a_run_with_codes(capsys, tmp_path):
    run = write_study(tmp_path / "run")
    folder = tmp_path / "documents"
    code, out, err = call(capsys, "message", "export", run, "--to", "iec62325", "--kind", "Offer", "--out", folder,
                          "--code", "ams=6430001", "--scheme", "A10")  # fmt: skip
    assert code == 0, err
    written = sorted(folder.glob("*.xml"))
    assert written
    assert f"{len(written)} files" in out
    assert 'codingScheme="A10">6430001<' in written[0].read_text()


def test_export_says_what_has_no_form(capsys, offer_file, tmp_path):
    bid = tmp_path / "bid.ttl"
    bid.write_bytes(write_message(next(each for each in EXAMPLES if type(each.body).__name__ == "Bid")))
    code, _, err = call(capsys, "message", "export", bid, "--to", "iec62325")
    assert (code, "Bid has no form iec62325" in err, "Offer" in err) == (2, True, True)
    code, _, err = call(capsys, "message", "export", offer_file, "--to", "cim")
    assert (code, "OperationPlan" in err) == (2, True)
    code, _, err = call(capsys, "message", "export", offer_file, "--to", "iec62325", "--code", "ams=" + "x" * 17)
    assert code == 0
    code, _, err = call(capsys, "message", "export", offer_file, "--to", "iec62325", "--code", "AMS=" + "x" * 17)
    assert (code, "--code" in err) == (2, True)
    code, _, err = call(capsys, "message", "export", offer_file, "--to", "turtle", "--kind", "Bid")
    assert (code, "none of 1 messages" in err) == (2, True)
