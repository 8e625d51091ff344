"""Faults in a scenario that do not fit: every mistake with its place and remedy, exit code 2."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ruamel.yaml import YAML

from heila_mosaik.cli.checking import find_problems
from heila_mosaik.gridmodel.diagnosis import load_net
from heila_mosaik.gridmodel.tables import read_network
from heila_mosaik.study.events_part import event_problems
from tests.conftest import CONGESTED

FAULT = {"line": 44, "at": "2016-08-22T05:00:00+00:00", "repaired_at": "2016-08-22T06:00:00+00:00"}


@pytest.fixture
def problems(tmp_path):
    """Texts of the problems of the congested morning with these changes."""

    def check(**changes):
        path = tmp_path / "scenario.yaml"
        YAML(typ="safe", pure=True).dump(CONGESTED | changes, path)
        return [f"{problem.where}: {problem.what} ({problem.remedy})" for problem in find_problems(path, ())[1]]

    return check


def test_a_fault_that_fits_is_in_order(problems):
    assert problems(events=[FAULT]) == []


def test_elements_that_do_not_exist_are_named_with_file_and_line_all_at_once(problems):
    found = problems(events=[FAULT | {"line": 999}], restoration={"fixed": ["switch.777"], "priority": {"load.555": 1}})
    assert len(found) == 3
    assert "scenario.yaml:" in found[0]
    assert "fault on line 999, which does not exist (use an index of net.line (0 to 100))" in found[0]
    assert any("load.555" in text for text in found)
    assert any("switch.777" in text for text in found)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ([FAULT | {"repaired_at": FAULT["at"]}], "is not after at"),
        ([FAULT | {"at": "2016-08-21T05:00:00+00:00"}], "lies outside the study"),
        ([FAULT, FAULT | {"at": "2016-08-22T05:30:00+00:00"}], "at the same time; merge them"),
        ([FAULT | {"at": "2016-08-22T05:00:00"}], "zone"),
        ([FAULT | {"lines": 4}], "lines"),
    ],
)
def test_times_and_keys_that_contradict_are_named(problems, changes, said):
    (found,) = problems(events=changes)
    assert said in found


def test_a_line_without_breaker_towards_the_grid_above_is_refused(make_scenario):
    scenario = make_scenario(events=[FAULT])
    network = read_network(load_net(scenario.grid_folder() / "net.json"), "rural_mv")
    bare = replace(network, switches=replace(network.switches, breaker=network.switches.breaker & False))
    assert event_problems(scenario.events, scenario.restoration, network) == []
    (problem,) = event_problems(scenario.events, scenario.restoration, bare)
    assert "no circuit breaker lies between line 44 and the grid above" in problem.what
