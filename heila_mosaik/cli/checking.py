"""What ``heila check`` looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.tables import read_network
from heila_mosaik.study.gridfolder import load_grid_folder
from heila_mosaik.study.loader import load_scenario


def find_problems(path: Path, settings: Sequence[str]) -> tuple[str, tuple[Problem, ...]]:
    """Subject and problems of a scenario file with its grid and series, or of a grid folder."""
    try:
        if path.is_dir():
            load_grid_folder(path)
            return f"grid folder {path}", ()
        loaded = load_scenario(path, settings)
        scenario = loaded.scenario
        folder = load_grid_folder(scenario.grid_folder(), also=scenario.microgrids.also)
    except ProblemsError as error:
        return error.subject, error.problems
    from heila_mosaik.study.contracts import band_problems  # noqa: PLC0415 - needs more than a grid folder does
    from heila_mosaik.study.environment import series_problems  # noqa: PLC0415 - needs more than a grid folder does
    from heila_mosaik.study.events_part import event_problems  # noqa: PLC0415 - likewise
    from heila_mosaik.study.extensions import extension_problems  # noqa: PLC0415 - likewise
    from heila_mosaik.study.frequency import frequency_problems  # noqa: PLC0415 - likewise
    from heila_mosaik.study.own_means import means_problems  # noqa: PLC0415 - likewise

    network = read_network(folder.net, folder.name)
    placed = [
        replace(problem, where=f"{loaded.places.get(problem.where, path)} ({problem.where})")
        for problem in (
            *event_problems(scenario.events, scenario.restoration, network),
            *means_problems(scenario, folder.net, scenario.growth.der),
        )
    ]
    own = [
        replace(problem, where=f"{loaded.places.get(f'{problem.where}.python', path)} ({problem.where})")
        for problem in extension_problems(scenario)
    ]
    found = [*placed, *own, *band_problems(scenario, folder.microgrids), *series_problems(scenario, folder)]
    return f"scenario {path}", (*found, *frequency_problems(scenario))
