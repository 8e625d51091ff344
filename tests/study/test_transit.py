"""Objects, JSON, signed bytes; repeated messages: the same study."""

import sys

import pytest

from heila_mosaik.domain.codec import message_to_json_dict
from heila_mosaik.errors import HeilaError, ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import write_kpis
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.transit import make_transit
from tests.bridges_smartapi.examples import EXAMPLES

NAMES = ["AMS", "MGMS"]
SHORT = {"duration_h": 1}


@pytest.mark.parametrize("form", ["json", "wire"])
@pytest.mark.parametrize("message", EXAMPLES, ids=lambda m: type(m.body).__name__)
def test_every_object_comes_out_as_it_went_in(form, message):
    carry = make_transit(form, NAMES)
    assert carry is not None
    assert message_to_json_dict(carry(message)) == message_to_json_dict(message)


def test_the_wire_refuses_what_is_too_large():
    carry = make_transit("wire", NAMES)
    forecast = EXAMPLES[-1]
    long = forecast.body.spot_eur_per_mwh * 20
    body = type(forecast.body)(
        id="q", issued_at=forecast.sent_at, start=forecast.sent_at, step_s=60, spot_eur_per_mwh=long,
        flexibility_up_eur_per_mwh=long, flexibility_down_eur_per_mwh=long,
    )  # fmt: skip
    with pytest.raises(HeilaError, match="oversize"):
        carry(type(forecast)(id="AMS-1", sender="AMS", receiver="MGMS", sent_at=forecast.sent_at, body=body))


def test_missing_libraries_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "heila_mosaik.bridges.envelope", None)
    with pytest.raises(ProblemsError, match="smartapi"):
        make_transit("wire", NAMES)


@pytest.fixture(scope="module")
def data_of(make_scenario, tmp_path_factory, data_files):
    """Data files of the short study, its scenario left out, by the changes made to it."""

    def run(**changes):
        folder = run_scenario(
            make_scenario(**SHORT, **changes), tmp_path_factory.mktemp("forms") / "run", baseline=False
        )
        write_kpis(folder)
        found = data_files(folder)
        del found["scenario.resolved.yaml"]
        return folder, found

    return run


@pytest.fixture(scope="module")
def objects(data_of):
    return data_of()


@pytest.mark.parametrize("form", ["json", "wire"])
def test_all_forms_give_the_same_bytes(data_of, objects, form):
    _, found = data_of(messages=form)
    assert len(RunFolder(objects[0]).messages) > 100
    assert found == objects[1]


def test_repeated_messages_change_nothing_but_the_list_of_messages(data_of, objects):
    folder, found = data_of(network={"duplication": 1.0})
    repeated = RunFolder(folder).messages["status"] == "repeated"
    assert repeated.sum() == len(RunFolder(objects[0]).messages)
    for name in (name for name in found if not name.startswith("messages") and name != "kpis.json"):
        assert found[name] == objects[1][name], name
