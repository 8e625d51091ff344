"""Studies over a network that is not perfect."""

import pytest

from benchmarks.communication import NETWORKS, SCENARIO, Outcome, table
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import compute_kpis
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.network_part import Network
from heila_mosaik.study.run import run_scenario

BAD = {
    "loss": 0.2,
    "attempts": 2,
    "retry_s": 1,
    "duplication": 0.3,
    "reordering": 0.3,
    "hold_ms": 2000,
    "outages": [{"start": "2016-08-22T04:05:00Z", "stop": "2016-08-22T04:15:00Z", "broker": True}],
}


@pytest.fixture(scope="module")
def bad(make_scenario, tmp_path_factory):
    place = tmp_path_factory.mktemp("bad") / "run"
    return RunFolder(run_scenario(make_scenario(duration_h=1, network=BAD), place, baseline=False))


def test_a_study_survives_a_bad_network_and_records_every_fate(bad):
    messages = bad.messages
    assert set(messages["status"]) == {"delivered", "repeated", "lost", "outage"}
    arrived = messages["status"].isin(["delivered", "repeated"])
    assert messages[arrived]["delivered_at"].notna().all()
    assert messages[~arrived]["delivered_at"].isna().all()
    down = messages[(messages["sent_at"] >= "2016-08-22T04:05Z") & (messages["sent_at"] < "2016-08-22T04:14Z")]
    field = down["sender"].str.match("ied_|cems_|sau") | down["receiver"].str.match("ied_|cems_")
    assert (down[~field]["status"] == "outage").all()
    assert "outage" not in set(down[field]["status"])


def test_key_figures_tell_messages_from_their_copies(bad):
    figures = compute_kpis(bad)["messages"]
    status = bad.messages["status"]
    assert figures["repeated"] == (status == "repeated").sum() > 0
    assert figures["total"] + figures["repeated"] == len(status)
    assert figures["lost"] == status.isin(["lost", "outage"]).sum() > 0
    assert 40 < figures["median_transfer_ms"] < 2000


@pytest.mark.parametrize("case", NETWORKS)
def test_every_case_of_the_study_is_a_network(case):
    assert Network.model_validate(NETWORKS[case]).table().of("ams", "mgms_x").attempts >= 1


def test_the_scenario_is_sound_and_its_outage_lies_in_it():
    scenario = load_scenario(SCENARIO).scenario
    (outage,) = scenario.network.outages
    assert scenario.start_utc < outage.start < outage.stop < scenario.stop_utc
    assert scenario.network.table().of("mgms_x", "ied_y").loss == 0.001


def test_table_gives_mean_and_range_over_the_seeds():
    def outcome(seed, minutes, activations):
        return Outcome(
            case="x",
            seed=seed,
            congested_min=minutes,
            overload_percent_h=1.0,
            worst_loading_percent=101.0,
            activations=activations,
            success_share=0.5,
            lost=1,
            messages=100,
            median_transfer_ms=50.0,
        )

    row = table([outcome(1, 10.0, 4), outcome(2, 20.0, 6)]).splitlines()[-1]
    assert row == "| x | 15 (10–20) | 1.00 | 101.0 | 5 | 50 % | 1.0 % |"
    assert table([outcome(1, 10.0, 0)]).splitlines()[-1].endswith("| 0 | – | – |")
