"""A meshed grid run N-1 secure: what single outages would have done, judged on the recorded state."""

from __future__ import annotations

import pytest

from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import compute_kpis
from heila_mosaik.results.report import headline
from heila_mosaik.study.build import build_study
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.run import run_scenario


def test_flexibility_makes_the_meshed_grid_secure(tmp_path):
    # from the day-ahead market to the end of the windy noon; coarse steps see a rise of the wind when it is there
    settings = ["step_s=300", "duration_h=22", "dms.cycle_s=300", "start=2016-05-28T16:00:00+02:00"]
    scenario = load_scenario("scenarios/congestion_meshed.yaml", settings).scenario
    figures = compute_kpis(RunFolder(run_scenario(scenario, tmp_path / "run")))
    before, after = figures["baseline"]["security"], figures["security"]
    assert figures["baseline"]["congested_minutes"] == 0  # N-0 the rings carry the day
    assert before["outages"] == 15
    assert before["insecure_minutes"] >= 120
    assert after["insecure_minutes"] <= 0.25 * before["insecure_minutes"]
    assert any("single outages" in sentence for sentence in headline(figures))


def test_unknown_switch_is_named():
    scenario = load_scenario("scenarios/congestion_meshed.yaml", ["topology.close=[1, 77]"]).scenario
    with pytest.raises(ProblemsError, match=r"topology, switch\.77"):
        build_study(scenario)


def test_a_switch_cannot_be_opened_and_closed():
    with pytest.raises(ProblemsError, match="stands under close and under open"):
        load_scenario("scenarios/congestion_meshed.yaml", ["topology.open=[1]"])
