"""Variants: what --with and --without mean, and that a pair differs in that alone."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from heila_mosaik.cli.app import app
from heila_mosaik.errors import ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.study.loader import ScenarioSource
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.variants import make_variants, switches

SCENARIO = """\
name: pair
grid: rural_mv
start: 2016-08-22T09:00:00+00:00
duration_h: 3
step_s: 900
growth: {der: 1.3}
dms: {cycle_s: 900}
market: {zone: Europe/Berlin}
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "pair.yaml"
    path.write_text(SCENARIO, encoding="utf-8")
    return ScenarioSource(path)


def test_every_switch_has_its_full_name():
    known = switches()
    assert known["flexibility"] == "flexibility"
    assert known["intraday"] == "market.intraday.enabled"
    assert known["harm_check"] == known["dms.harm_check"] == "dms.harm_check"


def test_wishes_become_variants_and_those_without_effect_are_left_out(source):
    found = make_variants(source, ["flexibility", "dms.cycle_s=1800,growth.der=1.1"], ["flexibility", "intraday"])
    assert [variant.name for variant in found] == [
        "as_written",
        "with_dms.cycle_s=1800_growth.der=1.1",
        "without_flexibility",
        "without_intraday",
    ]
    assert (found[1].scenario.dms.cycle_s, found[1].scenario.growth.der) == (1800, 1.1)
    assert not found[2].scenario.flexibility
    assert not found[3].scenario.market.intraday.enabled


def test_wishes_that_cannot_be_met_are_told_together(source):
    with pytest.raises(ProblemsError) as caught:
        make_variants(source, ["growth.der=-1"], ["flexibilty"])
    assert len(caught.value.problems) == 2
    assert "did you mean 'flexibility'" in str(caught.value)


def test_a_pair_has_the_same_world_and_the_bytes_of_single_runs(tmp_path, source, data_files):
    scenario = source.path
    ran = CliRunner().invoke(
        app, ["run", str(scenario), "--without", "flexibility", "--out", str(tmp_path / "v"), "-q"]
    )
    assert ran.exit_code == 0, ran.output
    assert "without_flexibility" in ran.output
    answer = json.loads((tmp_path / "v" / "variants.json").read_text())
    assert list(answer["runs"]) == ["as_written", "without_flexibility"]
    pair = [RunFolder(folder) for folder in answer["runs"].values()]
    loads = [run.series("load_p_mw") for run in pair]
    own = [c for c in loads[0].columns if np.array_equal(loads[0][c], loads[1][c])]
    assert len(own) >= 90  # everything but what the microgrids adjust
    minutes = [figures["congested_minutes"] for figures in answer["kpis"].values()]
    assert minutes[0] < minutes[1]
    alone = run_scenario(source.make({"flexibility": False}), tmp_path / "alone", baseline=False)
    ours = data_files(tmp_path / "v" / "without_flexibility")
    assert all(ours[name] == content for name, content in data_files(alone).items())
