from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.errors import ProblemsError
from heila_mosaik.study.series import PRICE_COLUMNS, WEATHER_COLUMNS, read_series

START = datetime(2016, 8, 22, tzinfo=UTC)
HEAD = "time,spot_eur_per_mwh\n"


def rows(count=4):
    return [f"{(START + timedelta(hours=k)).isoformat()},{10.0 * k}" for k in range(count)]


def write(path, lines, head=HEAD, name="prices.csv"):
    file = path / name
    file.write_text(head + "\n".join(lines) + "\n")
    return file


def errors(file, required=PRICE_COLUMNS, period=None):
    with pytest.raises(ProblemsError) as caught:
        read_series(file, required, period)
    assert all(p.remedy for p in caught.value.problems)
    return [f"{p.where}: {p.what}" for p in caught.value.problems]


def test_csv_and_parquet_agree_whatever_the_zone(tmp_path):
    table = read_series(write(tmp_path, rows()), PRICE_COLUMNS)
    frame = pd.DataFrame({"time": pd.date_range("2016-08-22T02:00", periods=4, freq="h", tz="Europe/Berlin")})
    frame.assign(spot_eur_per_mwh=[0.0, 10.0, 20.0, 30.0]).to_parquet(tmp_path / "p.parquet")
    other = read_series(tmp_path / "p.parquet", PRICE_COLUMNS)
    assert table.grid == other.grid == TimeGrid(start=START, step_s=3600, count=4)
    np.testing.assert_array_equal(table.values, other.values)


def test_values_are_held_on_a_finer_grid(tmp_path):
    table = read_series(write(tmp_path, rows()), PRICE_COLUMNS)
    fine = TimeGrid(start=START + timedelta(minutes=45), step_s=900, count=3)
    assert table.on(fine)[:, 0].tolist() == [0.0, 10.0, 10.0]
    assert table.column("spot_eur_per_mwh").tolist() == [0.0, 10.0, 20.0, 30.0]
    with pytest.raises(ProblemsError, match="is needed"):
        table.on(TimeGrid(start=START, step_s=900, count=17))


@pytest.mark.parametrize(
    ("line", "bad", "word"),
    [
        (1, "2016-08-22T01:00:00,1.0", "no zone"),
        (1, "22.08.2016 01:00,1.0", "not an ISO 8601 time"),
        (2, "2016-08-22T02:00:00+00:00,", "missing or not finite"),
        (2, "2016-08-22T02:00:00+00:00,nan", "missing or not finite"),
        (2, '2016-08-22T02:00:00+00:00,"3,5"', "not a number"),
        (2, "2016-08-22T02:00:00+00:00,3,5", "3 fields"),
        (3, "2016-08-22T03:30:00+00:00,1.0", "step changes"),
        (3, "2016-08-22T01:00:00+00:00,1.0", "goes back or repeats"),
    ],
)
def test_csv_mistakes_carry_their_line(tmp_path, line, bad, word):
    lines = rows(5)
    lines[line] = bad
    found = errors(write(tmp_path, lines))
    assert any(f"prices.csv:{line + 2}" in text and word in text for text in found), found


def test_all_mistakes_are_told_but_not_a_thousand(tmp_path):
    lines = [f"2016-08-22 {k % 24:02d}:00,x" for k in range(100)]
    found = errors(write(tmp_path, lines))
    assert len(found) == 21
    assert "180 more" in found[-1]


def test_rows_in_reverse_are_a_problem(tmp_path):
    assert "goes back" in errors(write(tmp_path, rows(5)[::-1]))[0]


def test_header_mistakes(tmp_path):
    assert "missing" in errors(write(tmp_path, rows(), head="time,spot_eur\n"))[0]
    assert "semicolons" in errors(write(tmp_path, ["a;b"], head="time;spot_eur_per_mwh\n"))[0]
    assert len(errors(write(tmp_path, rows(), head="zeit,preis\n"), WEATHER_COLUMNS)) == 4
    assert "twice" in errors(write(tmp_path, ["1,2,3"], head="time,spot_eur_per_mwh,spot_eur_per_mwh\n"))[0]


def test_files_that_are_no_tables(tmp_path):
    assert "no such file" in errors(tmp_path / "none.csv")[0]
    assert "unknown kind" in errors(write(tmp_path, rows(), name="p.xlsx"))[0]
    assert "Parquet" in errors(write(tmp_path, rows(), name="p.parquet"))[0]
    assert "fewer than two" in errors(write(tmp_path, rows(1)))[0]
    (tmp_path / "e.csv").write_text("")
    assert errors(tmp_path / "e.csv")


def test_period_must_be_covered(tmp_path):
    want = TimeGrid(start=START, step_s=3600, count=5)
    assert "is needed" in errors(write(tmp_path, rows()), period=want)[0]
