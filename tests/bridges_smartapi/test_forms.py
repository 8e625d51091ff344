"""Other serialisations, and telling which form a file is in."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings

from heila_mosaik.bridges.smartapi import read_message, write_message
from heila_mosaik.bridges.smartapi.files import JSON, JSON_LD, RDF_XML, TURTLE, form_of, load
from heila_mosaik.bridges.smartapi.forms import to_json_ld, to_rdf_xml
from heila_mosaik.domain.codec import message_to_json_dict
from tests.bridges_smartapi.examples import EXAMPLES
from tests.bridges_smartapi.strategies import messages


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages)
@example(replace(EXAMPLES[0], receiver="0e0000"))  # a name, although it looks like a number that costs too much
def test_json_ld_says_the_same(message):
    assert read_message(to_json_ld(message), JSON_LD) == message


@pytest.mark.parametrize("message", EXAMPLES[:-1], ids=lambda each: type(each.body).__name__)
def test_rdf_xml_says_the_same(message):
    assert read_message(to_rdf_xml(message), RDF_XML) == message


def test_bytes_do_not_depend_on_the_process():
    script = (
        "from tests.bridges_smartapi.examples import EXAMPLES as E;"
        "from heila_mosaik.bridges.smartapi.forms import *; import sys;"
        "sys.stdout.buffer.write(b''.join(f(m) for m in E[:5] for f in (to_json_ld, to_rdf_xml)))"
    )
    outputs = {
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True,
                       env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(outputs) == 1


def test_the_form_of_a_file_is_told_by_name_or_content(tmp_path):
    message = EXAMPLES[5]
    written = {
        TURTLE: write_message(message),
        JSON_LD: to_json_ld(message),
        RDF_XML: to_rdf_xml(message),
        JSON: json.dumps(message_to_json_dict(message)).encode(),
    }
    for form, payload in written.items():
        assert form_of(tmp_path / "message", payload) == form
        assert load(payload, form) == message
    assert form_of(tmp_path / "m.ttl", b"{") == TURTLE
