"""Voltage bands that customers have by contract at their point of common coupling."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.microgrid_file import MicrogridPart
from heila_mosaik.study.schema import Scenario


def voltage_bands(
    scenario: Scenario, microgrids: Sequence[MicrogridPart]
) -> dict[str, tuple[float | None, float | None]]:
    """Lowest and highest contracted voltage of each microgrid that has a contract. [pu]

    The scenario's ``microgrids.voltage_bands`` go before the ``pcc`` of ``microgrids.yaml``.

    Raises:
        ProblemsError: If the scenario names a microgrid that the grid folder does not have.
    """
    problems = band_problems(scenario, microgrids)
    if problems:
        raise ProblemsError("voltage bands", problems)
    bands: dict[str, tuple[float | None, float | None]] = {}
    for part in microgrids:
        given = scenario.microgrids.voltage_bands.get(part.name)
        low, high = (part.pcc.v_min_pu, part.pcc.v_max_pu) if given is None else (given.v_min_pu, given.v_max_pu)
        if low is not None or high is not None:
            bands[part.name] = (low, high)
    return bands


def band_problems(scenario: Scenario, microgrids: Sequence[MicrogridPart]) -> list[Problem]:
    """Contracts of microgrids that do not exist."""
    names = [part.name for part in microgrids]
    problems = []
    for name in scenario.microgrids.voltage_bands:
        if name not in names:
            near = get_close_matches(name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the grid folder has {', '.join(names)}"
            problems.append(
                Problem(what=f"there is no microgrid {name!r}", where="microgrids.voltage_bands", remedy=hint)
            )
    return problems
