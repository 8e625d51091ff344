"""Own means and peak in a whole study: commands reach the plant, come back, and stand in the report."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import compute_kpis
from heila_mosaik.results.report import render
from heila_mosaik.study.build import build_study
from heila_mosaik.study.run import run_scenario

MEANS = {
    "taps": True,
    "capacitors": [{"name": "west", "bus": 8, "step_mvar": 0.6, "steps": 3}],
    "inverters": {"least_mw": 1.0, "control": "set_point"},
    "curtailment": {"least_mw": 1.0},
}
DAY = {
    "own_means": MEANS,
    "volt_var": {"enabled": True, "horizon_h": 3.0},
    "peak": {"enabled": True, "import_eur_per_mw": 0.0, "export_eur_per_mw": 400.0},
    "duration_h": 7,
}


@pytest.fixture(scope="module")
def both(make_scenario, tmp_path_factory):
    """Windy morning with Volt/VAR control, congestion management and peak together."""
    return RunFolder(run_scenario(make_scenario(**DAY), tmp_path_factory.mktemp("own") / "run"))


def values(run, event):
    rows = run.records[run.records["event"] == event]
    return [(at, json.loads(text)) for at, text in zip(rows["at"], rows["values"], strict=True)]


def test_commands_reach_the_plant_one_step_later_and_come_back(both):
    positions = both.series("device_position")
    commands, confirmed = values(both, "switching_commanded"), values(both, "switching_confirmed")
    assert list(positions.columns) == ["trafo.0", "trafo.1", "shunt.0"]
    assert commands
    for at, body in commands:
        step = at.floor("900s")
        assert positions.loc[step, body["element"]] == body["old"]
        after = step + pd.Timedelta("900s")
        if after in positions.index:
            assert positions.loc[after, body["element"]] == body["position"]
    assert len(confirmed) >= len(commands) - 3
    assert both.baseline.series("device_position").nunique().max() == 1


def test_few_switchings_and_less_congestion_together(both):
    figures = compute_kpis(both)
    devices = figures["volt_var"]["devices"]
    assert 0 < sum(row["operations"] for row in devices) <= 14
    assert figures["congested_minutes"] < figures["baseline"]["congested_minutes"]
    assert figures["volt_var"]["losses_mwh"] < figures["volt_var"]["losses_before_mwh"]
    steps = np.abs(both.series("device_position").diff()).sum()
    assert [row["steps"] for row in devices] == steps.tolist()


def test_inverters_follow_set_points_in_the_plant(both):
    q, free = both.series("sgen_q_mvar"), both.baseline.series("sgen_q_mvar")
    moved = [column for column in q.columns if (q[column] - free[column]).abs().max() > 0.05]
    assert moved
    assert len(moved) <= 6  # the large units only
    assert free[moved].abs().max().max() > 0.0  # in the baseline they follow their own characteristic


def test_export_peak_is_asked_for_and_lowered(both):
    requests = [body for body in both.bodies("FlexibilityRequest") if body["id"].startswith("dms/peak_request")]
    assert requests
    assert {need["kind"] for body in requests for need in body["needs"]} == {"peak"}
    peak = compute_kpis(both)["peak"]
    assert peak["days"][0]["export_mw"] < peak["days"][0]["export_before_mw"]
    bought = [purchase["offer"] for bid in both.bodies("Bid") for purchase in bid["purchases"]]
    assert len(bought) == len(set(bought))  # no offer is bought twice, by whichever function


def test_report_shows_both(both):
    page = render(both)
    for said in ("Volt/VAR control", "Exchange at the substation", "figure-volt_var", "figure-peak", "Own means:"):
        assert said in page


def test_runs_repeat(both, make_scenario, tmp_path, data_files):
    again = run_scenario(make_scenario(**{**DAY, "duration_h": 1.25}), tmp_path / "a", baseline=False)
    twice = run_scenario(make_scenario(**{**DAY, "duration_h": 1.25}), tmp_path / "b", baseline=False)
    assert data_files(again) == data_files(twice)


def test_off_by_default(congested):
    assert "device_position" not in congested.tables()
    assert not {"volt_var", "peak"} & set(compute_kpis(congested))
    assert "Volt/VAR control" not in render(congested)


@pytest.mark.parametrize(
    ("grid", "changes", "said"),
    [
        ("rural_mv", {"capacitors": [{"name": "x", "bus": 4711, "step_mvar": 0.1}]}, "bus 4711 is not in the grid"),
        ("cigre_mv", {"taps": True}, "no transformer of the grid has a tap changer"),
        ("rural_mv", {"inverters": {"least_mw": 99.0}}, r"no generating unit of the grid has 99 MW or more"),
    ],
)
def test_what_the_grid_does_not_have_is_named(make_scenario, grid, changes, said):
    with pytest.raises(ProblemsError, match=said):
        build_study(make_scenario(grid=grid, own_means=changes))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"own_means": {"capacitors": [{"name": "x", "bus": 8, "step_mvar": 0.1, "start": 4}]}},
            "more than the 1 steps",
        ),
        ({"own_means": {"capacitors": [{"name": "x", "bus": 8, "step_mvar": 0.1}] * 2}}, "must be unique"),
        ({"own_means": {"inverters": {"characteristic": {"share": [1, 0, 0, -1]}}}}, "push the voltage further away"),
        ({"peak": {"enabled": True, "import_eur_per_mw": 0.0}}, "nothing it lowers has a value"),
    ],
)
def test_contradictions_are_refused(make_scenario, changes, said):
    with pytest.raises(ValueError, match=said):
        make_scenario(**changes)


def test_check_names_file_and_line(tmp_path):
    from heila_mosaik.cli.checking import find_problems

    path = tmp_path / "wrong.yaml"
    path.write_text(
        "name: wrong\ngrid: cigre_mv\nstart: 2016-06-15T08:00:00+00:00\nduration_h: 1\nflexibility: false\n"
        "own_means:\n  taps: true\n  capacitors:\n    - {name: x, bus: 4711, step_mvar: 0.1}\n"
        "  inverters: {least_mw: 99}\n"
    )
    _, problems = find_problems(path, [])
    said = {problem.what: problem.where for problem in problems}
    assert "wrong.yaml:7" in said["no transformer of the grid has a tap changer"]
    assert "wrong.yaml:9" in said["bus 4711 is not in the grid"]
    assert "wrong.yaml:10" in said["no generating unit of the grid has 99 MW or more"]


def test_nothing_to_move_is_named(make_scenario):
    with pytest.raises(ProblemsError, match="nothing to move"):
        build_study(make_scenario(volt_var={"enabled": True}))
