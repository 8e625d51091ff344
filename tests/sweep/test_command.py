"""heila sweep and heila results as a user types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from typer.testing import CliRunner

from heila_mosaik.cli.app import app, main
from heila_mosaik.results.study import QueryError, Study, UnknownColumnError
from heila_mosaik.results.sweepstore import JOURNAL


def call(*arguments: str):
    return CliRunner().invoke(app, list(arguments))


@pytest.fixture
def study(tmp_path, sweep_file):
    out = tmp_path / "study"
    ran = call("sweep", str(sweep_file(3)), "--out", str(out), "--in-process", "--json")
    assert ran.exit_code == 0, ran.output
    answer = json.loads(ran.output)
    assert (answer["runs"], answer["done"], answer["failed"]) == (6, 6, 0)
    return out


def test_a_study_answers_sql_and_python_alike_and_writes_its_page(study):
    query = 'select "growth.load" as g, avg("energy.losses_mwh") as loss from runs group by 1 order by 1'
    ran = call("results", "sql", query, "--study", str(study), "--format", "json")
    frame = Study(study).frame()
    wanted = frame.groupby("growth.load")["energy.losses_mwh"].mean()
    assert [row["loss"] for row in json.loads(ran.output)] == pytest.approx(wanted.tolist())
    assert wanted.is_monotonic_increasing  # more load, more losses
    assert frame["seed"].tolist() == [1, 2] * 3
    page = (study / "report.html").read_text()
    assert "6 <small>of 6" in page
    assert "losses [MWh]" in page
    assert call("results", "columns", "--study", str(study), "--containing", "losses").output.split() == [
        "energy.losses_mwh"
    ]
    assert len(pd.read_parquet(study / "results")) == 6
    narrow = call("results", "sql", query, "--study", str(study)).output
    assert [line.split("│")[0].strip() for line in narrow.splitlines()[2:]] == [f"{load:g}" for load in wanted.index]
    # a table wider than any page is told row by row
    wide = call("results", "sql", "select * from runs", "--study", str(study)).output.splitlines()
    assert [line for line in wide if not line.startswith("  ")] == [f"row {number}" for number in range(1, 7)]
    assert len(wide) == 6 * (1 + len(frame.columns))


def test_queries_see_the_study_alone(study, tmp_path):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(QueryError, match="remedy"):
        Study(study).sql(f"select * from read_csv('{tmp_path}/secret.csv')")
    with pytest.raises(QueryError, match="does not exist"):
        Study(study).sql("select * from rnus")
    with pytest.raises(UnknownColumnError, match="congested_minutes"):
        Study(study).column("congested_minute")


def test_the_plan_can_be_seen_and_the_second_call_makes_nothing(study, sweep_file):
    shown = json.loads(call("sweep", str(sweep_file(4)), "--out", str(study), "--dry-run", "--json").output)
    assert len(shown["runs"]) == 8
    assert shown["done"] == 4  # 0.5 and 1.0 are in both plans
    again = call("sweep", str(sweep_file(3)), "--out", str(study), "--in-process", "--json")
    assert json.loads(again.output)["skipped"] == 6


def test_mistakes_end_with_two_and_no_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["results", "report", str(tmp_path)])
    assert ended.value.code == 2
    assert "heila sweep" in capsys.readouterr().err


def test_job_script_of_a_batch_system(tmp_path):
    path = tmp_path / "slurm.yaml"
    path.write_text('kind: slurm\nworkers: 4\noptions: {queue: night, cores: 1, memory: 4GB, walltime: "01:30:00"}\n')
    script = call("sweep", "none.yaml", "--cluster", str(path), "--show-job").output
    for line in ("#SBATCH -p night", "#SBATCH --mem=4G", "#SBATCH -t 01:30:00", "export OPENBLAS_NUM_THREADS=1"):
        assert line in script
    assert "distributed.cli.dask_worker" in script
    assert "--nthreads 1" in script


def test_ctrl_c_leaves_a_study_that_goes_on(tmp_path, sweep_file):
    """The whole process group gets the signal, as from a terminal."""
    path, out = sweep_file(200), tmp_path / "out"
    command = [sys.executable, "-c", "from heila_mosaik.cli import main; main()", "sweep", str(path)]
    process = subprocess.Popen(
        [*command, "--out", str(out), "--jobs", "1"], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 240
    while not (out / JOURNAL).is_file() or (out / JOURNAL).read_bytes().count(b"\n") < 2:
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    done = len(Study(out).frame())
    assert 2 <= done < 400
    lines = [json.loads(line) for line in (out / JOURNAL).read_text().splitlines()]
    assert {line["status"] for line in lines} == {"done"}
