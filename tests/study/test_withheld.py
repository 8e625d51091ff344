"""An activation that would harm another actor: found, not released, and really harmful without the check."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from heila_mosaik.cli.checking import find_problems
from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.harm import contracts, withheld
from heila_mosaik.results.report import write_report
from heila_mosaik.study.contracts import voltage_bands
from heila_mosaik.study.gridfolder import load_grid_folder
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.run import run_scenario

SCENARIO = Path(__file__).resolve().parents[2] / "scenarios/withheld_activation.yaml"


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    scenario = load_scenario(SCENARIO, ()).scenario
    return RunFolder(run_scenario(scenario, tmp_path_factory.mktemp("checked") / "run", baseline=False))


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory):
    scenario = load_scenario(SCENARIO, ["dms.harm_check=false"]).scenario
    return RunFolder(run_scenario(scenario, tmp_path_factory.mktemp("unchecked") / "run", baseline=False))


def outside(run):
    return {row["name"]: row["minutes"] for row in contracts(run)}


def test_without_the_check_the_harm_happens_in_the_truth(checked, unchecked):
    harmed, spared = outside(unchecked), outside(checked)
    assert min(harmed.values()) >= 10.0
    assert sum(spared.values()) <= 0.1 * sum(harmed.values())
    assert max(row["highest"] for row in contracts(unchecked)) > 1.052
    assert not [row for row in withheld(unchecked) if row["by"] == "dms"]


def test_every_withheld_activation_names_place_time_and_reason(checked):
    rows = [row for row in withheld(checked) if row["by"] == "dms"]
    assert {row["what"] for row in rows} >= {"withheld"}
    for row in rows:
        assert row["location"] in {"windhof", "molkerei", "siedlung", "gewerbepark"}
        assert row["element"].startswith("bus.")
        assert "by contract" in row["why"]
        assert row["q_mvar"] < 0


def test_a_withheld_activation_never_reaches_the_microgrid(checked):
    """After the refusal no set point of that reserve but zero leaves the DMS until the reserve has rested."""
    calls = [body for body in checked.bodies("ActivationNotification") if body["q_mvar"] or body["p_mw"]]
    refusals = [body for body in checked.bodies("ActivationRefusal") if body["refused_by"] == "dms"]
    assert refusals
    for refusal in refusals:
        later = [
            call
            for call in calls
            if call["reserve"] == refusal["reserve"]
            and refusal["start"][:16] < call["start"][:16] < _plus(refusal["start"], 14)
        ]
        assert not later


def _plus(text, minutes):
    hour, minute = int(text[11:13]), int(text[14:16]) + minutes
    return f"{text[:11]}{hour + minute // 60:02d}:{minute % 60:02d}"


def test_the_report_lists_them(checked):
    page = write_report(checked.path).read_text(encoding="utf-8")
    first = withheld(checked)[0]
    assert first["why"].split(";")[0] in page
    assert "Contracted voltage bands" in page


def test_contract_of_a_stranger_is_refused_with_a_hint(tmp_path):
    bad = tmp_path / "bad.yaml"
    text = SCENARIO.read_text(encoding="utf-8").replace("    windhof:", "    windhoff:")
    bad.write_text(text.replace("grid: rural_mv", f"grid: {SCENARIO.parents[1]}/grids/rural_mv"), encoding="utf-8")
    _, problems = find_problems(bad, ())
    assert any("windhoff" in problem.what and "did you mean 'windhof'?" in problem.remedy for problem in problems)
    scenario = load_scenario(bad, ()).scenario
    with pytest.raises(ProblemsError, match="windhoff"):
        voltage_bands(scenario, load_grid_folder(scenario.grid_folder()).microgrids)


def test_grid_description_holds_the_contract(checked):
    grid = json.loads((checked.path / "grid.json").read_text(encoding="utf-8"))
    bands = {part["name"]: (part["v_min_pu"], part["v_max_pu"]) for part in grid["microgrids"]}
    assert bands == {
        "windhof": (0.95, 1.05), "molkerei": (0.95, 1.05), "siedlung": (None, None), "gewerbepark": (None, None)
    }  # fmt: skip
