"""Scenario files: every mistake named with its place, merging, stable dump."""

from pathlib import Path

import pytest

from heila_mosaik.errors import ProblemsError
from heila_mosaik.study.loader import dump_scenario, load_scenario, schema_json

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/cases/scenarios"


@pytest.mark.parametrize("path", sorted((CASES / "bad").glob("*.yaml")), ids=lambda path: path.stem)
def test_bad_scenario_is_refused_with_place_and_reason(path):
    with pytest.raises(ProblemsError) as caught:
        load_scenario(path)
    text = str(caught.value)
    for line in path.with_suffix(".expected").read_text().splitlines():
        assert line in text
    assert all(problem.remedy and problem.where and problem.what for problem in caught.value.problems)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("path", sorted((ROOT / "scenarios").glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_scenarios_load(path):
    assert load_scenario(path).scenario.steps > 0


def test_every_shipped_scenario_has_its_section_in_the_documentation():
    page = (ROOT / "docs/scenarios.md").read_text(encoding="utf-8")
    shipped = {path.stem for path in (ROOT / "scenarios").glob("*.yaml")}
    assert {line[3:].strip() for line in page.splitlines() if line.startswith("## ")} == shipped


def test_extends_merges_and_remembers_where_values_come_from():
    loaded = load_scenario(CASES / "good/child.yaml", ["dms.horizon_h=12"])
    assert (loaded.scenario.name, loaded.scenario.dms.cycle_s, loaded.scenario.dms.horizon_h) == ("child", 180, 12)
    assert loaded.scenario.dms.harm_check is False
    assert [file.name for file in loaded.files] == ["base.yaml", "child.yaml"]
    assert loaded.places["grid"].endswith("base.yaml:2")
    assert loaded.places["dms.cycle_s"].endswith("child.yaml:4")
    assert loaded.places["dms.horizon_h"] == "--set dms.horizon_h=12"


def test_paths_of_an_extended_file_stay_what_they_were(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/prices.csv").write_text("time,spot_eur_per_mwh\n")
    text = (CASES / "good/base.yaml").read_text() + "series: {prices: prices.csv}\n"
    (tmp_path / "base/base.yaml").write_text(text)
    (tmp_path / "child.yaml").write_text("extends: base/base.yaml\nname: child\n")
    scenario = load_scenario(tmp_path / "child.yaml").scenario
    assert scenario.path(scenario.series.prices).resolve() == (tmp_path / "base/prices.csv").resolve()


def test_setting_the_length_withdraws_the_other_key():
    scenario = load_scenario(CASES / "good/base.yaml", ["stop=2016-06-15T03:00:00+03:00"]).scenario
    assert scenario.steps == 180


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("dms.cycle_s", "a.b=value"),
        ("dms..x=1", "a.b=value"),
        ("dms.cykle_s=1", "did you mean 'cycle_s'?"),
        ("seed=[1", "not YAML"),
        ("seed.deep=1", "--set seed.deep=1"),
    ],
)
def test_bad_settings_are_named(setting, said):
    with pytest.raises(ProblemsError) as caught:
        load_scenario(CASES / "good/base.yaml", [setting])
    assert said in str(caught.value)


def test_dump_is_stable_and_loads_to_the_same_scenario(tmp_path):
    scenario = load_scenario(CASES / "good/child.yaml").scenario
    text = dump_scenario(scenario)
    (tmp_path / "again.yaml").write_text(text)
    again = load_scenario(tmp_path / "again.yaml").scenario
    assert dump_scenario(again) == text
    assert again.market == scenario.market


def test_missing_file_is_a_problem(tmp_path):
    with pytest.raises(ProblemsError, match=r"none\.yaml"):
        load_scenario(tmp_path / "none.yaml")


def test_binary_file_is_a_problem(tmp_path):
    (tmp_path / "x.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProblemsError) as caught:
        load_scenario(tmp_path / "x.yaml")
    assert "UTF-8" in str(caught.value)


def test_schema_tells_every_key():
    text = schema_json()
    for key in ("extends", "cycle_s", "pay_as_clear", "loading_dead_band_percent"):
        assert key in text


def test_folded_text_is_joined_with_blanks(tmp_path):
    text = (CASES / "good/base.yaml").read_text() + "description: >-\n  first line;\n  second line\n"
    (tmp_path / "x.yaml").write_text(text)
    assert load_scenario(tmp_path / "x.yaml").scenario.description == "first line; second line"
