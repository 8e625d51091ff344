"""Frequency of the synchronous area over a study: the user's series or the seeded generator."""

from __future__ import annotations

from heila_mosaik.domain.frequency import generate_frequency
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.streams import stream
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.series import read_series

FREQUENCY_COLUMNS = ("frequency_hz",)
PLAUSIBLE_HZ = (45.0, 55.0)


def make_frequency(scenario: Scenario) -> FloatArray | None:
    """Frequency at every step; ``None`` where nobody buys frequency reserves. [Hz] (steps,)

    Raises:
        ProblemsError: If the user's series does not fit.
    """
    if not scenario.reserves.enabled:
        return None
    grid = TimeGrid(start=scenario.start_utc, step_s=scenario.step_s, count=scenario.steps)
    if scenario.series.frequency is None:
        return generate_frequency(grid.count, grid.step_s, stream(scenario.seed, "frequency"))
    path = scenario.path(scenario.series.frequency)
    table = read_series(path, FREQUENCY_COLUMNS, grid)
    values = table.on(grid)[:, table.columns.index("frequency_hz")]
    low, high = PLAUSIBLE_HZ
    if values.min() < low or values.max() > high:
        what = f"frequency_hz lies in {values.min():g} .. {values.max():g} Hz"
        remedy = f"give the frequency in hertz, {low:g} to {high:g}, not its deviation"
        raise ProblemsError(f"series {path}", [Problem(what=what, where=str(path), remedy=remedy)])
    return values


def frequency_problems(scenario: Scenario) -> list[Problem]:
    """What is wrong with the user's frequency series."""
    try:
        make_frequency(scenario)
    except ProblemsError as error:
        return list(error.problems)
    return []
