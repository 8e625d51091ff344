"""A planned reinforcement keeps every limit, is priced, and stands in the resolved scenario."""

from __future__ import annotations

import pandapower as pp
import pytest
from ruamel.yaml import YAML

from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import compute_kpis
from heila_mosaik.study.run import run_scenario


def test_a_planned_reinforcement_removes_the_congestion(tmp_path, make_scenario):
    windy = {"start": "2016-08-22T10:00:00+00:00", "duration_h": 2, "growth": {"der": 1.3}, "flexibility": False}
    before = compute_kpis(RunFolder(run_scenario(make_scenario(**windy), tmp_path / "before")))
    scenario = make_scenario(**windy, reinforcement={"plan": True})
    run = RunFolder(run_scenario(scenario, tmp_path / "after"))
    figures = compute_kpis(run)
    assert before["congested_minutes"] > 0
    assert figures["congested_minutes"] == 0
    part = YAML(typ="safe").load(run.scenario_yaml)["reinforcement"]
    assert not part["plan"]
    assert part["lines"]
    # Price and systems against the nets themselves.
    old, new = (pp.from_json(str(tmp_path / name / "net.json")) for name in ("before", "after"))
    added = new.line.parallel - old.line.parallel
    assert added[added > 0].to_dict() == {int(key): count for key, count in part["lines"].items()}
    assert figures["reinforcement"]["capital_eur"] == pytest.approx(
        80_000.0 * float((added * old.line.length_km).sum())
    )
    assert figures["reinforcement"]["annual_eur"] == pytest.approx(
        figures["reinforcement"]["capital_eur"] * 0.0505, rel=1e-2
    )


def test_elements_that_do_not_exist_are_told(tmp_path, make_scenario):
    with pytest.raises(ProblemsError) as caught:
        run_scenario(make_scenario(reinforcement={"lines": {9999: 1}, "trafos": {77: 1}}), tmp_path / "run")
    assert len(caught.value.problems) == 2
    assert "line 9999 does not exist" in str(caught.value)
