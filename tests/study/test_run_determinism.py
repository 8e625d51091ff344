"""Same scenario and seed, same bytes: across processes, hash seeds and message modes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from heila_mosaik.study.run import run_scenario

SCRIPT = """
import sys
from pathlib import Path
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.schema import Scenario
run_scenario(Scenario.model_validate_json(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
"""
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def written(make_scenario, tmp_path_factory, data_files):
    """Data files of two processes with different hash seeds, run at the same time."""
    place = tmp_path_factory.mktemp("bytes")
    (place / "scenario.json").write_text(make_scenario(duration_h=3).model_dump_json())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(place / "scenario.json"), str(place / name)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name, seed in (("one", "1"), ("two", "4711"))
    ]
    for process in processes:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    return [data_files(place / name) for name in ("one", "two")]


def test_two_processes_write_the_same_bytes(written):
    one, two = written
    assert one.keys() == two.keys()
    assert [name for name in one if one[name] != two[name]] == []
    assert {"grid.json", "net.json", "baseline/grid.json", "messages/part-00000.parquet"} <= one.keys()
    assert sum(name.endswith(".parquet") for name in one) > 30


def test_json_messages_change_nothing(written, make_scenario, tmp_path, data_files):
    found = data_files(run_scenario(make_scenario(duration_h=3, messages="json"), tmp_path / "run"))
    differ = [name for name in written[0] if found.get(name) != written[0][name]]
    assert differ in (["baseline/scenario.resolved.yaml", "scenario.resolved.yaml"], [])
    assert found.keys() == written[0].keys()


def test_another_seed_gives_another_day(written, make_scenario, tmp_path, data_files):
    found = data_files(run_scenario(make_scenario(duration_h=3, seed=2), tmp_path / "run", baseline=False))
    for name in ("series/bus_vm_pu/part-00000.parquet", "messages/part-00000.parquet"):
        assert found[name] != written[0][name]
