"""Lag of the steps of a study with equipment in the loop, as ``heila hil run`` keeps it."""

from __future__ import annotations

from pathlib import Path

from heila_mosaik.bridges.iec104.backends import Backend
from heila_mosaik.bridges.iec104.client import LinkSettings
from heila_mosaik.bridges.lab_child import virtual_lab
from heila_mosaik.bridges.point_files import load_points
from heila_mosaik.domain.realtime import Overrun
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.hil import HilRecord
from heila_mosaik.study.hil import HilOptions, check_hil, run_hil
from heila_mosaik.study.hil_bench_figures import Leg
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.schema import Scenario

PERIOD_S = 1.0
"""Wall-clock time of a step. [s]"""
SCENARIO = Path("scenarios") / "multipower_hil.yaml"
"""The congestion day with the laboratory in it."""


def find_scenario() -> Path:
    """The scenario, from the present folder or the project's.

    Raises:
        ProblemsError: If it is in neither.
    """
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (root / SCENARIO).is_file():
            return root / SCENARIO
    remedy = "run it in the project's folder, give --study FILE, or leave the study out with --steps 0"
    raise ProblemsError("bench hil", [Problem(what="the study is not here", where=str(SCENARIO), remedy=remedy)])


def check_study(scenario: Path) -> tuple[Scenario, Path]:
    """Scenario and its point list.

    Raises:
        ProblemsError: If the scenario names no point list, or is wrong otherwise.
    """
    loaded = load_scenario(scenario, []).scenario
    if loaded.hil is None or loaded.hil.points is None:
        problem = Problem(what="names no point list", where="hil.points", remedy="give it, as multipower_hil.yaml does")
        raise ProblemsError(f"scenario {scenario}", [problem])
    return loaded, loaded.path(loaded.hil.points)


def measure_lag(folder: Path, scenario: Path, steps: int, backend: Backend = Backend.HAT) -> Leg:
    """Run the first steps of a study against the virtual laboratory, armed, one a second.

    Args:
        folder: Run folder to make.
        scenario: Scenario with a part ``hil``.
        steps: Number of steps.
        backend: Implementation of IEC 60870-5-104.
    """
    loaded, points = check_study(scenario)
    shortened = load_scenario(scenario, [f"duration_h={steps * loaded.step_s / 3600:.9g}"]).scenario
    armed = tuple(point.name for point in load_points(points).controlled)
    with virtual_lab(points) as port:
        options = HilOptions(
            points=points,
            link=LinkSettings(host="127.0.0.1", port=port),
            backend=backend,
            speed=loaded.step_s / PERIOD_S,
            overrun=Overrun.CATCH_UP,
            arm=armed,
            arm_s=3600.0,
            who="bench",
            connect_s=60.0,
            baseline=False,
        )
        record = HilRecord(RunFolder(run_hil(check_hil(shortened, options), folder, options)))
    lags = tuple(1e3 * float(lag) for lag in record.steps["lag_s"])
    return Leg(name=f"step lag, {loaded.name} at one step a second", ms=lags, target=((99, 10.0),))
