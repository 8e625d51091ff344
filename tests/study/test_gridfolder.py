from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from heila_mosaik.errors import ProblemsError
from heila_mosaik.study.gridfolder import load_grid_folder

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT / "tests" / "cases" / "gridfolders"
GOOD = """microgrids:
- name: m
  bus: 1
  control: centralised
  pcc: {breaker: b}
  resources:
  - {name: r, type: load, managed_by: ied, p_mw: 0.1, profile: H}
"""


@pytest.fixture
def folder(tmp_path):
    net = pp.create_empty_network()
    for _ in range(2):
        pp.create_bus(net, 20.0)
    pp.create_ext_grid(net, 0)
    pp.create_line_from_parameters(net, 0, 1, 1.0, 0.1, 0.1, 0.0, 0.3)
    pp.create_load(net, 1, 0.5)
    net.load["profile"] = "H"
    pp.create_sgen(net, 1, 0.2)
    net.sgen["profile"] = "PV3"
    pp.to_json(net, str(tmp_path / "net.json"))
    write_profiles(tmp_path)
    (tmp_path / "microgrids.yaml").write_text(GOOD)
    return tmp_path


def profiles(rows=96, tz="UTC"):
    times = pd.date_range("2016-08-22", periods=rows, freq="15min", tz=tz)
    values = np.arange(rows, dtype="float32")
    return pd.DataFrame({"time": times, "H_pload": values, "H_qload": values / 2, "PV3": values / 96})


def write_profiles(path, frame=None):
    (profiles() if frame is None else frame).to_parquet(path / "profiles.parquet", index=False, row_group_size=10)


def problems(path, **options):
    with pytest.raises(ProblemsError) as caught:
        load_grid_folder(path, **options)
    return caught.value.problems


def one(path, word):
    found = [p for p in problems(path) if word in f"{p.where} {p.what}"]
    assert found, [str(p) for p in problems(path)]
    assert all(p.remedy for p in found)
    return found[0]


@pytest.mark.parametrize("name", ["rural_mv", "cigre_mv"])
def test_shipped_grids_are_whole_and_their_power_flow_converges(name):
    grid = load_grid_folder(ROOT / "grids" / name, frozen=True)
    assert len(grid.microgrids) >= 3
    assert grid.profiles.grid.count == 35136
    assert grid.profiles.grid.start == datetime(2015, 12, 31, 23, tzinfo=UTC)
    kinds = {kind for part in grid.microgrids for kind in [r.type for r in part.resources]}
    assert {"battery", "pv", "ev", "heat_pump", "load"} <= kinds
    pp.runpp(grid.net, numba=False)
    assert all(table.profiles.count("") == 0 for table in grid.tables.elements.values())
    assert sum(f.stat().st_size for f in grid.path.iterdir()) < 8e6


def test_profiles_match_simbench():
    sb = pytest.importorskip("simbench")
    day = datetime(2016, 8, 22, tzinfo=UTC)
    grid = load_grid_folder(ROOT / "grids" / "rural_mv")
    times, values = grid.profiles.read(["PV3", "WP7"], day, day + timedelta(hours=1))
    frame = sb.get_all_simbench_profiles(2)["renewables"].set_index("time")
    expected = frame.loc[["22.08.2016 02:00", "22.08.2016 02:15", "22.08.2016 02:30", "22.08.2016 02:45"]]
    np.testing.assert_allclose(values, expected[["PV3", "WP7"]], atol=1e-6)
    assert times.start == day


def test_window_reads_only_its_rows(folder):
    start = datetime(2016, 8, 22, 2, 10, tzinfo=UTC)
    grid, values = load_grid_folder(folder).profiles.read(["H_qload", "H_pload"], start, start + timedelta(hours=3))
    assert (grid.start.minute, grid.count) == (0, 13)
    np.testing.assert_array_equal(values[:, 1], np.arange(8, 21))
    np.testing.assert_array_equal(values[:, 0], np.arange(8, 21) / 2)


def test_window_outside_tells_coverage(folder):
    table = load_grid_folder(folder).profiles
    with pytest.raises(ProblemsError, match="is needed"):
        table.read(["PV3"], table.grid.start - timedelta(hours=1), table.grid.stop)
    with pytest.raises(ProblemsError, match="'PV33' does not exist"):
        table.read(["PV33"], table.grid.start, table.grid.stop)


def test_csv_profiles_give_the_same(folder):
    before = load_grid_folder(folder).profiles
    window = (before.columns, before.grid.start, before.grid.at(5))
    expected = before.read(*window)[1]
    (folder / "profiles.parquet").unlink()
    profiles().to_csv(folder / "profiles.csv", index=False)
    after = load_grid_folder(folder).profiles
    np.testing.assert_allclose(expected, after.read(*window)[1], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda f: f.drop(index=7), "step changes"),
        (lambda f: f.assign(PV3=f.PV3.where(f.index != 42)), "row 42"),
        (lambda f: f.assign(time=f.time.dt.tz_localize(None)), "no zone"),
        (lambda f: f.iloc[::-1], "goes back"),
        (lambda f: f.drop(columns="H_qload"), "H_qload"),
        (lambda f: f.drop(columns="time"), "'time' is missing"),
        (lambda f: f.assign(PV3="high"), "PV3"),
    ],
)
def test_bad_profiles(folder, change, word):
    write_profiles(folder, change(profiles()))
    one(folder, word)


@pytest.mark.parametrize("case", ["battery_limits", "unknown_keys"])
def test_bad_microgrids_are_told_at_once_with_line(folder, case):
    shutil.copy(CASES / case / "microgrids.yaml", folder)
    found = problems(folder)
    for line in (CASES / case / "expected.txt").read_text().splitlines():
        place, word = line.split("|")
        assert any(f"{place} " in f"{p.where} " and word in f"{p.what} {p.where}" for p in found), (
            line,
            [str(p) for p in found],
        )


def test_everything_wrong_at_once(folder):
    write_profiles(folder, profiles().drop(columns="PV3"))
    (folder / "microgrids.yaml").write_text(GOOD.replace("bus: 1", "bus: 77"))
    text = "\n".join(map(str, problems(folder)))
    assert "sgen 0" in text
    assert "bus 77 does not exist" in text


def test_missing_files_and_folder(tmp_path):
    assert len(problems(tmp_path)) == 3
    assert "no such folder" in problems(tmp_path / "nowhere")[0].what


def test_checksum_warns_or_stops(folder):
    (folder / "checksums.sha256").write_text("0" * 64 + "  net.json\n" + "1" * 64 + "  lost.txt\n")
    assert [w.what for w in load_grid_folder(folder).warnings] == [
        "'net.json' differs from its checksum",
        "'lost.txt' is missing",
    ]
    assert problems(folder, frozen=True)[0].where.endswith("checksums.sha256:1")
