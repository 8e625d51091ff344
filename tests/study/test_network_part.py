"""The scenario's communication network: published defaults, overrides by link, outages, refusals."""

from datetime import timedelta

import pytest
from pydantic import ValidationError

from heila_mosaik.study.network_part import Network
from heila_mosaik.study.schema import Scenario

START = "2016-08-22T10:00:00+02:00"
STOP = "2016-08-22T11:00:00+02:00"


def test_published_transfer_times_are_the_default():
    table = Network().table()
    pairs = [("mgms_x", "ams"), ("ams", "mgms_x"), ("ied_x", "mgms_x"), ("mgms_x", "cems_x"), ("dms", "fmp")]
    assert [table.of(*pair).delay_ms for pair in pairs] == [52.0, 36.0, 483.0, 584.0, 45.0]
    assert table.of("dms", "fmp").jitter_ms == pytest.approx(9.0)
    assert [table.of(*pair).broker for pair in pairs] == [True, True, False, False, True]


def test_one_delay_holds_for_all_links_and_single_links_override_it():
    network = Network.model_validate(
        {
            "delay_mean_ms": 250,
            "loss": 0.1,
            "links": [
                {"sender": "mgms_*", "receiver": "ams", "loss": 0.5},
                {"sender": "mgms_x", "delay_mean_ms": 20, "attempts": 3, "retry_s": 1},
            ],
        }
    )
    link = network.table().of("mgms_x", "ams")
    assert (link.delay_ms, link.jitter_ms, link.loss, link.attempts, link.retry_ms) == (20.0, 4.0, 0.5, 3, 1000.0)
    assert network.table().of("dms", "ams").delay_ms == 250.0
    published = Network.model_validate({"links": [{"sender": "mgms_*", "loss": 0.5}]}).table().of("mgms_x", "ams")
    assert (published.delay_ms, published.loss) == (52.0, 0.5)


def test_outage_of_the_broker_leaves_the_field_alone():
    network = Network.model_validate({"outages": [{"start": START, "stop": STOP, "broker": True, "messages": "held"}]})
    (outage,) = network.table().of("ams", "mgms_x").outages
    assert (outage.stop - outage.start, outage.held) == (timedelta(hours=1), True)
    assert not network.table().of("ied_x", "mgms_x").outages


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"outages": [{"start": STOP, "stop": START}]}, "is not after start"),
        ({"outages": [{"start": START, "stop": STOP, "broker": True, "sender": "ams"}]}, "either broker"),
        ({"outages": [{"start": "2016-08-22T10:00:00", "stop": STOP}]}, "timezone"),
        ({"links": [{"sender": "ams", "los": 0.1}]}, "Extra inputs"),
        ({"links": [{"loss": 1.1}]}, "less than or equal to 1"),
        ({"attempts": 0}, "greater than or equal to 1"),
    ],
)
def test_what_makes_no_sense_is_refused(given, words):
    with pytest.raises(ValidationError, match=words):
        Network.model_validate(given)


def test_a_resolved_scenario_means_the_same_network(make_scenario):
    links = [{"sender": "ams", "loss": 0.2}]
    scenario = make_scenario(network={"links": links})
    again = Scenario.model_validate(scenario.model_dump(mode="json"))
    assert again.network == scenario.network
    assert again.network.table().of("ams", "mgms_x") == scenario.network.table().of("ams", "mgms_x")
