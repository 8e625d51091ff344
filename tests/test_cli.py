"""Command line: answers, exit codes, start-up time."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from heila_mosaik.cli import main
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.store import RunStore
from tests.results.fake import write_study

ROOT = Path(__file__).parents[1]
CASES = ROOT / "tests/cases/scenarios"


def call(capsys, *arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return caught.value.code, said.out, said.err


def test_help_is_quick_and_loads_no_grid_library():
    code = "import sys; from heila_mosaik.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "print([m for m in ('pandapower', 'pandas', 'numpy', 'mosaik') if m in sys.modules])"
    begun = time.perf_counter()
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip().endswith("[]")
    assert time.perf_counter() - begun < 5.0
    for command in ("check", "run", "report", "compare", "new", "schema"):
        assert command in answer.stdout


def test_version(capsys):
    code, out, _ = call(capsys, "--version")
    assert code == 0
    assert out.startswith("heila-mosaik ")


def test_check_tells_all_problems(capsys):
    code, out, _ = call(capsys, "check", CASES / "bad/many.yaml")
    assert code == 2
    assert "4 problems" in out
    code, out, _ = call(capsys, "check", CASES / "bad/many.yaml", "--json")
    assert code == 2
    assert len(json.loads(out)["problems"]) == 4


def test_check_accepts_scenario_and_grid(capsys):
    assert call(capsys, "check", CASES / "good/child.yaml")[0] == 0
    assert call(capsys, "check", ROOT / "grids/cigre_mv")[0] == 0


def test_run_with_bad_scenario_leaves_no_folder(capsys, tmp_path):
    code, _, err = call(capsys, "run", CASES / "bad/unknown_key.yaml", "--out", tmp_path / "run")
    assert code == 2
    assert "did you mean 'step_s'?" in err
    assert not (tmp_path / "run").exists()


def test_run_refuses_an_existing_folder(capsys, tmp_path):
    code, _, err = call(capsys, "run", CASES / "good/base.yaml", "--out", tmp_path)
    assert code == 2
    assert "never overwritten" in err


def _fake_run(monkeypatch, run_scenario):
    module = type(sys)("heila_mosaik.study.run")
    module.run_scenario = run_scenario
    monkeypatch.setitem(sys.modules, "heila_mosaik.study.run", module)


def test_run_ends_with_figures_and_report(capsys, tmp_path, monkeypatch):
    _fake_run(monkeypatch, lambda scenario, out, baseline, progress: write_study(out))
    code, out, _ = call(capsys, "run", CASES / "good/base.yaml", "--out", tmp_path / "run", "--json")
    assert code == 0
    answer = json.loads(out)
    assert Path(answer["report"]).is_file()
    assert answer["kpis"]["flexibility"]["activations"] == 3


def test_interrupted_run_leaves_a_readable_folder(capsys, tmp_path, monkeypatch):
    def interrupted(scenario, out, baseline, progress):
        with RunStore(out, scenario_yaml="", name="x", seed=1, min_free_mb=0) as store:
            store.series("system", ["a"]).append(0, [1.0])
            raise KeyboardInterrupt

    _fake_run(monkeypatch, interrupted)
    code, _, err = call(capsys, "run", CASES / "good/base.yaml", "--out", tmp_path / "run", "--quiet")
    assert code == 130
    assert "marked incomplete" in err
    assert call(capsys, "report", tmp_path / "run")[0] == 0


def test_fault_of_ours_says_so(capsys, tmp_path, monkeypatch):
    def broken(scenario, out, baseline, progress):
        raise RuntimeError("odd")

    _fake_run(monkeypatch, broken)
    arguments = ("run", CASES / "good/base.yaml", "--out", tmp_path / "run", "--quiet")
    code, _, err = call(capsys, *arguments)
    assert code == 1
    assert "--debug" in err
    with pytest.raises(RuntimeError, match="odd"):
        main(["--debug", *map(str, arguments)])


def test_compare(capsys, tmp_path):
    first, second = write_study(tmp_path / "a"), write_study(tmp_path / "b", baseline=False)
    code, out, _ = call(capsys, "compare", first, second, "--json")
    assert code == 0
    assert json.loads(out)["settings"] == []
    assert call(capsys, "compare", first, second)[0] == 0
    assert call(capsys, "compare", first, tmp_path)[0] == 2


def test_new_scenario_and_grid_pass_the_check(capsys, tmp_path):
    assert call(capsys, "new", "scenario", tmp_path / "mine.yaml", "--grid", "cigre_mv")[0] == 0
    assert call(capsys, "new", "grid", tmp_path / "grids/mine")[0] == 0
    assert call(capsys, "check", tmp_path / "mine.yaml")[0] == 0
    assert call(capsys, "check", tmp_path / "grids/mine")[0] == 0
    assert call(capsys, "new", "grid", tmp_path / "grids/mine")[0] == 2
    assert call(capsys, "new", "grid", tmp_path / "other", "--from", "cigre_mw")[0] == 2


def test_schema_is_json(capsys):
    code, out, _ = call(capsys, "schema")
    assert code == 0
    assert json.loads(out)["properties"]["extends"]


def test_wrong_usage_is_two(capsys):
    assert call(capsys, "run")[0] == 2


def write_series(path, start, hours, column="spot_eur_per_mwh"):
    times = [start + timedelta(hours=k) for k in range(hours)]
    path.write_text(
        f"time,{column}\n" + "".join(f"{moment.isoformat()},{40 + k % 24}\n" for k, moment in enumerate(times))
    )


def test_check_reads_the_users_series(capsys, tmp_path):
    text = (CASES / "good/base.yaml").read_text() + "series: {prices: prices.csv}\n"
    (tmp_path / "mine.yaml").write_text(text)
    start = datetime(2016, 6, 14, tzinfo=UTC)
    write_series(tmp_path / "prices.csv", start, 24 * 8)
    assert call(capsys, "check", tmp_path / "mine.yaml")[0] == 0
    write_series(tmp_path / "prices.csv", start, 24)
    code, out, _ = call(capsys, "check", tmp_path / "mine.yaml")
    assert code == 2
    assert "is needed" in out
    write_series(tmp_path / "prices.csv", start, 24 * 8, "spot_eur_mwh")
    code, out, _ = call(capsys, "check", tmp_path / "mine.yaml")
    assert code == 2
    assert "rename 'spot_eur_mwh' to it" in out


def test_check_tells_that_profiles_do_not_cover_the_study(capsys):
    code, out, _ = call(capsys, "check", CASES / "good/base.yaml", "--set", "start=2031-06-15T00:00:00Z")
    assert code == 2
    assert "profiles" in out
    assert "is needed" in out


@pytest.mark.slow
def test_ctrl_c_in_a_real_run_leaves_a_readable_folder(tmp_path):
    """The process gets the signal that a terminal sends; neither mosaik's log nor a traceback is shown."""
    folder = tmp_path / "run"
    command = [
        sys.executable,
        "-c",
        "from heila_mosaik.cli import main; main()",
        "run",
        "scenarios/small_baseline.yaml",
    ]
    command += ["--out", str(folder), "--set", "duration_h=240", "--set", "results.series_part_rows=5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 180.0
        while not list(folder.glob("series/system/part-*")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert "marked incomplete" in err
    assert not [word for word in ("Traceback", "mosaik.", "INFO", "Warning", "Task was") if word in err]
    run = RunFolder(folder)
    assert (run.status, run.manifest.reason) == ("incomplete", "interrupted")
    assert 5 <= len(run.series("system")) < 240 * 60
    assert not run.damaged()
