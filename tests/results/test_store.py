"""Run folders: parts, immutability, determinism, what a killed run leaves."""

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from heila_mosaik.actors.base import Record
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.manifest import NotARunError
from heila_mosaik.results.store import DiskFullError, RunFolderExistsError, RunStore
from tests.results.fake import write_study


def make(folder, **options):
    return RunStore(folder, scenario_yaml="name: x\n", name="x", seed=1, min_free_mb=0, **options)


def test_what_was_written_is_read(tmp_path):
    values = np.random.default_rng(0).normal(size=(25, 3))
    values[4, 1] = np.nan
    with make(tmp_path / "run", part_rows=10) as store:
        table = store.series("bus_vm_pu", ["7", "3", "9"])
        for k in range(25):
            table.append(1_700_000_000 + 60 * k, values[k])
        store.record(Record(at=datetime(2024, 1, 1, tzinfo=UTC), actor="dms", event="e", detail="d", values={"b": 1}))
    run = RunFolder(tmp_path / "run")
    frame = run.series("bus_vm_pu")
    assert list(frame.columns) == ["7", "3", "9"]
    np.testing.assert_array_equal(frame.to_numpy(), values)
    assert frame.index[1].isoformat() == "2023-11-14T22:14:20+00:00"
    assert len(list((tmp_path / "run/series/bus_vm_pu").iterdir())) == 3
    assert json.loads(run.records["values"][0]) == {"b": 1}
    assert run.status == "complete"
    assert run.damaged() == ()
    assert run.series("never").empty
    assert run.messages.empty


def test_a_run_folder_is_never_overwritten(tmp_path):
    with make(tmp_path / "run"):
        pass
    with pytest.raises(RunFolderExistsError, match="never overwritten"):
        make(tmp_path / "run")


def test_error_and_interruption_mark_the_run_incomplete(tmp_path):
    for name, error in (("failed", ValueError("boom")), ("stopped", KeyboardInterrupt())):
        with pytest.raises(type(error)), make(tmp_path / name) as store:  # noqa: PT012
            store.series("system", ["a"]).append(0, [1.0])
            raise error
        run = RunFolder(tmp_path / name)
        assert run.status == "incomplete"
        assert run.series("system")["a"].tolist() == [1.0]
    assert "boom" in RunFolder(tmp_path / "failed").manifest.reason
    assert RunFolder(tmp_path / "stopped").manifest.reason == "interrupted"


def test_a_killed_run_keeps_all_but_its_last_part(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from heila_mosaik.results.store import RunStore
store = RunStore(Path({str(tmp_path / "run")!r}), scenario_yaml="", name="x", seed=1, part_rows=10, min_free_mb=0)
table = store.series("system", ["a"])
for k in range(37):
    table.append(k, [k])
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = subprocess.run([sys.executable, "-c", code], check=False)
    assert process.returncode == -signal.SIGKILL
    run = RunFolder(tmp_path / "run")
    assert run.status == "incomplete"
    assert run.series("system")["a"].tolist() == list(range(30))


def test_same_study_same_bytes_in_another_process(tmp_path):
    write_study(tmp_path / "first")
    code = "import sys, pathlib; from tests.results.fake import write_study; write_study(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "second")], check=True, env=environment)
    names = sorted(p.relative_to(tmp_path / "first") for p in (tmp_path / "first").rglob("*") if p.is_file())
    assert len(names) > 15
    for name in names:
        if name.name != "manifest.json":
            assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name


def test_no_free_disk_is_said_clearly(tmp_path):
    with pytest.raises(DiskFullError, match="MB free"):
        RunStore(tmp_path / "run", scenario_yaml="", name="x", seed=1, min_free_mb=1e12)
    assert not (tmp_path / "run").exists()


def test_disk_that_fills_up_keeps_what_was_written(tmp_path):
    with pytest.raises(DiskFullError), make(tmp_path / "run", part_rows=2) as store:  # noqa: PT012
        table = store.series("system", ["a"])
        for k in range(4):
            table.append(k, [k])
        store._min_free_mb = 1e12
        for k in range(4, 8):
            table.append(k, [k])
    run = RunFolder(tmp_path / "run")
    assert run.series("system")["a"].tolist() == [0, 1, 2, 3]
    assert run.status == "incomplete"
    assert "MB free" in run.manifest.reason


def test_a_changed_data_file_is_noticed(tmp_path):
    write_study(tmp_path / "run", baseline=False)
    part = tmp_path / "run/messages/part-00000.parquet"
    part.write_bytes(part.read_bytes() + b"x")
    assert RunFolder(tmp_path / "run").damaged() == ("messages/part-00000.parquet",)


def test_failed_steps_are_kept(tmp_path):
    with make(tmp_path / "run") as store:
        place = store.failure("step-0042", {"net.json": "{}", "input.npz": b"\0"})
    assert sorted(p.name for p in place.iterdir()) == ["input.npz", "net.json"]


def test_columns_must_differ(tmp_path):
    with make(tmp_path / "run") as store, pytest.raises(ValueError, match="differ"):
        store.series("system", ["a", "a"])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(NotARunError, match=r"manifest\.json"):
        RunFolder(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(NotARunError, match="cannot be read"):
        RunFolder(tmp_path)
