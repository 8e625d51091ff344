"""Plans: what a sweep file stands for, identities of runs, and what is said about mistakes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from heila_mosaik.errors import ProblemsError
from heila_mosaik.study.loader import load_scenario, resolved
from heila_mosaik.study.sweep.keys import code_version, run_key
from heila_mosaik.study.sweep.plan import make_plan
from tests.sweep.conftest import BASE


def write(tmp_path, text: str):
    (tmp_path / "base.yaml").write_text(BASE, encoding="utf-8")
    path = tmp_path / "sweep.yaml"
    path.write_text("name: t\nscenario: base.yaml\n" + text, encoding="utf-8")
    return path


def test_points_seeds_and_settings_reach_the_scenario(tmp_path):
    path = write(
        tmp_path, "set: {step_s: 600}\nvary: [{method: grid, keys: {growth.der: [1.0, 2.0]}}]\nseeds: [3, 4]\n"
    )
    plan = make_plan(path)
    found = [(run.scenario.growth.der, run.scenario.seed, run.scenario.step_s) for run in plan.runs]
    assert found == [(1.0, 3, 600), (1.0, 4, 600), (2.0, 3, 600), (2.0, 4, 600)]
    assert plan.varied == ("growth.der",)
    assert len({run.key for run in plan.runs}) == 4


def test_repetitions_differ_and_stay_when_points_are_added(tmp_path):
    few = make_plan(write(tmp_path, "vary: [{method: grid, keys: {growth.der: [1.0]}}]\nrepetitions: 3\n"))
    more = make_plan(write(tmp_path, "vary: [{method: grid, keys: {growth.der: [1.0, 2.0]}}]\nrepetitions: 3\n"))
    assert len({run.seed for run in more.runs}) == 6
    assert [run.key for run in few.runs] == [run.key for run in more.runs][:3]


def test_points_that_resolve_to_the_same_scenario_share_their_run(tmp_path):
    plan = make_plan(write(tmp_path, "vary: [{method: list, points: [{growth.der: 1.0}, {growth.load: 1.0}, {}]}]\n"))
    assert len(plan.runs) == 3
    assert plan.doubles == 2


def test_full_replaces_keys_of_the_file(tmp_path):
    path = write(tmp_path, "seeds: [1]\nfull: {seeds: [1, 2, 3]}\n")
    assert (len(make_plan(path).runs), len(make_plan(path, full=True).runs)) == (1, 3)
    assert len(make_plan(path, ["seeds=[5, 6]"]).runs) == 2
    assert make_plan(path, ["set.growth.der=1.5"]).runs[0].scenario.growth.der == 1.5


def test_key_depends_on_scenario_code_data_and_baseline_alone(tmp_path):
    path = write(tmp_path, "")
    base = resolved(load_scenario(tmp_path / "base.yaml").scenario)
    other_words = resolved(load_scenario(tmp_path / "base.yaml", ["stop=2016-06-15T11:00:00+02:00"]).scenario)
    key = run_key(base, {"net.json": "a"}, baseline=False, code="c")
    assert run_key(other_words, {"net.json": "a"}, baseline=False, code="c") == key
    others = [
        run_key({**base, "seed": 9}, {"net.json": "a"}, baseline=False, code="c"),
        run_key(base, {"net.json": "b"}, baseline=False, code="c"),
        run_key(base, {"net.json": "a"}, baseline=True, code="c"),
        run_key(base, {"net.json": "a"}, baseline=False, code="d"),
    ]
    assert len({key, *others}) == 5
    assert make_plan(path).runs[0].key == make_plan(path).runs[0].key


def test_keys_are_the_same_in_another_process(tmp_path):
    path = write(tmp_path, "vary: [{method: lhs, samples: 3, keys: {growth.der: {low: 1, high: 2}}}]\nrepetitions: 2\n")
    program = (
        "import sys; from pathlib import Path; from heila_mosaik.study.sweep.plan import make_plan\n"
        "print(*[run.key for run in make_plan(Path(sys.argv[1])).runs])"
    )
    out = subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True,
        env={**__import__("os").environ, "PYTHONHASHSEED": "77"},
    ).stdout  # fmt: skip
    assert out.split() == [run.key for run in make_plan(path).runs]


def test_code_version_names_the_package_and_its_contents():
    version, _, digest = code_version().partition("+")
    assert version
    assert len(digest) == 16


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("vary: [{method: grid, keys: {growth.dre: [1]}}]\n", "did you mean 'der'"),
        ("vary: [{method: grid, keys: {growth.der: [-1, 1, -2]}}]\n", "growth.der=-2"),
        ("vray: []\n", "unknown key 'vray'"),
        ("vary: [{method: gird, keys: {a: [1]}}]\n", "sweep.yaml:3"),
        ("seeds: [1]\nrepetitions: 2\n", "not both"),
        ("set: {growth.der: 1}\nvary: [{method: grid, keys: {growth.der: [1]}}]\n", "given more than once: growth.der"),
        ("vary: [{method: lhs, keys: {growth.der: {low: 1, high: 2}}}]\n", "lhs needs samples"),
    ],
)
def test_mistakes_are_told_with_their_place(tmp_path, text, said):
    with pytest.raises(ProblemsError) as caught:
        make_plan(write(tmp_path, text))
    assert said in str(caught.value)


def test_missing_files_are_told(tmp_path):
    with pytest.raises(ProblemsError, match="cannot be read"):
        make_plan(tmp_path / "none.yaml")
    (tmp_path / "s.yaml").write_text("name: t\nscenario: gone.yaml\n", encoding="utf-8")
    with pytest.raises(ProblemsError, match=r"gone\.yaml"):
        make_plan(tmp_path / "s.yaml")
