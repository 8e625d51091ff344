"""What ``heila check`` looks at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.gridfolder import load_grid_folder
from heila_mosaik.study.loader import load_scenario


def find_problems(path: Path, settings: Sequence[str]) -> tuple[str, tuple[Problem, ...]]:
    """Subject and problems of a scenario file with its grid and series, or of a grid folder."""
    try:
        if path.is_dir():
            load_grid_folder(path)
            return f"grid folder {path}", ()
        scenario = load_scenario(path, settings).scenario
        folder = load_grid_folder(scenario.grid_folder())
    except ProblemsError as error:
        return error.subject, error.problems
    from heila_mosaik.study.contracts import band_problems  # noqa: PLC0415 - needs more than a grid folder does
    from heila_mosaik.study.environment import series_problems  # noqa: PLC0415 - needs more than a grid folder does
    from heila_mosaik.study.frequency import frequency_problems  # noqa: PLC0415 - likewise

    found = [*band_problems(scenario, folder.microgrids), *series_problems(scenario, folder)]
    return f"scenario {path}", (*found, *frequency_problems(scenario))
