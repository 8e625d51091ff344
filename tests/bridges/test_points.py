import importlib.resources
import json
import math
from pathlib import Path

import pytest

from heila_mosaik.bridges.point_files import example_points, load_points, parse_points
from heila_mosaik.bridges.points import Direction, Fallback, PointType
from heila_mosaik.cli import main
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.errors import ProblemsError

CASES = Path(__file__).parents[1] / "cases" / "points"
HEAD = (
    "name,direction,station,address,type,unit,scale,minimum,maximum,"
    "ramp_per_s,fallback,fallback_within_s,feedback,attribute\n"
)
GOOD_MONITOR = "p,monitor,1,10,measured_float,MW,1,,,,,,,feeder.p_mw\n"


def problems_of(text: str, file: str = "list.csv") -> list[str]:
    with pytest.raises(ProblemsError) as caught:
        parse_points(text, file)
    assert all(problem.where.startswith(file) and problem.remedy for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def test_example_covers_the_laboratory():
    points = example_points()
    assert points["breaker_command"].select
    assert points["breaker_command"].fallback is Fallback.OPEN
    assert points.control_of[("der", Quantity.ACTIVE_POWER)].name == "der_p_setpoint"
    assert [point.name for point in points.watchdogs] == ["watchdog"]
    assert {point.type for point in points.monitored} == {
        PointType.MEASURED_FLOAT,
        PointType.DOUBLE_POINT,
        PointType.SINGLE_POINT,
    }
    assert all(point.direction is Direction.CONTROL for point in points.controlled)


def test_phase_voltage_of_the_example_is_one_per_unit_at_nominal():
    value, quality = example_points()["feeder_ul1"].to_study(20.0 / math.sqrt(3.0), Quality.GOOD)
    assert value == pytest.approx(1.0, abs=1e-12)
    assert quality is Quality.GOOD


@pytest.mark.parametrize(("wire", "value"), [(0.0, None), (1.0, 0.0), (2.0, 1.0), (3.0, None)])
def test_double_point_states(wire, value):
    got, quality = example_points()["breaker_status"].to_study(wire, Quality.GOOD)
    if value is None:
        assert math.isnan(got)
        assert quality is Quality.INVALID
    else:
        assert (got, quality) == (value, Quality.GOOD)


def test_round_trip_to_the_wire():
    point = example_points()["der_p_setpoint"]
    assert point.to_wire(-0.25) == pytest.approx(-250.0)
    assert point.to_study(point.to_wire(-0.25), Quality.GOOD)[0] == pytest.approx(-0.25)


@pytest.mark.parametrize("case", [*sorted(path.name for path in CASES.glob("*.csv")), "broken.yaml"])
def test_every_mistake_is_reported_at_once(case):
    path = CASES / case
    expected = path.with_suffix(path.suffix + ".expected").read_text(encoding="utf-8").split("\n")
    with pytest.raises(ProblemsError) as caught:
        load_points(path)
    text = str(caught.value)
    for fragment in filter(None, expected):
        assert fragment in text, f"{fragment!r} not in\n{text}"
    assert len(caught.value.problems) == len([line for line in expected if line])


def test_unit_that_contradicts_scale():
    (problem,) = problems_of(HEAD + "p,monitor,1,10,measured_float,kW,1,,,,,,,feeder.p_mw\n")
    assert "contradicts unit kW" in problem
    assert "0.001" in problem


def test_yaml_equals_csv():
    text = (
        "points:\n- {name: p, direction: monitor, station: 1, address: 10, "
        "type: measured_float, unit: MW, attribute: feeder.p_mw}\n"
    )
    (from_yaml,) = parse_points(text, "list.yaml")
    (from_csv,) = parse_points(HEAD + GOOD_MONITOR, "list.csv")
    assert (from_yaml.address, from_yaml.attribute, from_yaml.scale) == (from_csv.address, from_csv.attribute, 1.0)


def test_missing_file_and_unknown_type(tmp_path):
    with pytest.raises(ProblemsError, match=r"absent\.csv"):
        load_points(tmp_path / "absent.csv")
    assert "unknown file type" in problems_of(HEAD, "list.xlsx")[0]
    assert "no points" in problems_of(HEAD)[0]


def test_semicolons_of_a_spreadsheet_are_taken_and_a_column_twice_is_not():
    text = (HEAD + GOOD_MONITOR).replace(",", ";")
    assert parse_points("# exported\n" + text, "list.csv").points[0].attribute == "feeder.p_mw"
    assert "'0,5' is not a number" in problems_of(text.replace("MW;1;", "MW;0,5;"))[0]
    assert "column 'name' appears twice" in problems_of(HEAD.replace("unit", "name") + GOOD_MONITOR)[0]


def test_command_says_what_may_be_moved_or_everything_that_is_wrong(capsys, tmp_path):
    def call(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["hil", "check", *map(str, arguments)])
        said = capsys.readouterr()
        return caught.value.code or 0, said.out, said.err

    good = importlib.resources.files("heila_mosaik.bridges") / "data" / "com600_ref615.csv"
    code, out, _ = call(good)
    assert code == 0
    for part in ("der.p_mw", "-0.5 … 0.5", "ramp_to_zero within 10 s", "open within 5 s", "in order"):
        assert part in out
    bad = tmp_path / "points.csv"
    bad.write_text(HEAD + "p,monitor,0,10,measured_flot,MW,2,,,,,,,feeder.p\n")
    code, _, err = call(bad)
    assert code == 2
    assert "3 problems" in err
    assert "did you mean 'measured_float'" in err
    code, out, _ = call(bad, "--json")
    assert code == 2
    assert [problem["where"] for problem in json.loads(out)["problems"]] == [
        f"{bad}:2, column {column}" for column in ("type", "station", "attribute")
    ]
    assert call(good, "--json")[0] == 0
    assert call(tmp_path / "none.csv")[0] == 2
