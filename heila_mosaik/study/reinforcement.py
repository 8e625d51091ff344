"""Reinforcement of a study: planned by repeating the run without trade, and priced."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.reinforcement import Branches, annuity, cure_voltage, systems_for
from heila_mosaik.errors import HeilaError
from heila_mosaik.gridmodel.reinforce import line_lengths
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import limits
from heila_mosaik.study.schema import Scenario

_ROUNDS = 12
_TOLERANCE_PU = 1e-6
_TABLES = ("bus_vm_pu", "line_loading_percent", "trafo_loading_percent", "system", "ext_p_mw")


class NotCurableError(HeilaError):
    """Parallel systems do not bring a grid inside its limits."""

    def __init__(self, scenario: str, left: str) -> None:
        self.scenario, self.left = scenario, left
        super().__init__(
            f"scenario {scenario}: parallel lines and transformers do not cure {left}; "
            "lower growth, widen limits, or change the tap in the grid folder"
        )


Simulate = Callable[[Scenario, Path], Any]
"""Runs a scenario into a folder and returns its pandapower net."""


def plan_reinforcement(scenario: Scenario, simulate: Simulate) -> Scenario:
    """The scenario with the systems that keep every limit in the run without trade.

    Args:
        scenario: Scenario with ``reinforcement.plan``.
        simulate: Runs a scenario.

    Raises:
        NotCurableError: If a violation stays.
    """
    part = scenario.reinforcement
    lines, trafos = dict(part.lines), dict(part.trafos)
    left = ""
    for _ in range(_ROUNDS):
        now = part.model_copy(update={"plan": False, "lines": lines, "trafos": trafos})
        trial = scenario.model_copy(
            update={
                "reinforcement": now,
                "flexibility": False,
                "results": scenario.results.model_copy(update={"record": _TABLES}),
            }
        ).placed_in(scenario.folder)
        with tempfile.TemporaryDirectory(prefix="heila-plan-") as place:
            net = simulate(trial, Path(place) / "run")
            more_lines, more_trafos, left = _more(RunFolder(Path(place) / "run"), net, part.line_eur_per_km)
        if not left:
            return scenario.model_copy(update={"reinforcement": now}).placed_in(scenario.folder)
        if not more_lines and not more_trafos:
            break
        lines = {key: lines.get(key, 0) + more_lines.get(key, 0) for key in sorted({*lines, *more_lines})}
        trafos = {key: trafos.get(key, 0) + more_trafos.get(key, 0) for key in sorted({*trafos, *more_trafos})}
    raise NotCurableError(scenario.name, left)


def _more(run: RunFolder, net: Any, eur_per_km: float) -> tuple[dict[int, int], dict[int, int], str]:
    """Systems to add after a run, by index, and what is violated; currents first, because they move voltages too."""
    found: list[dict[int, int]] = []
    for table, name in (("lines", "line"), ("trafos", "trafo")):
        loading = run.series(f"{name}_loading_percent")
        allowed = limits(run, table, "max_loading_percent", loading.columns, 100.0)
        worst = loading.max().to_numpy(np.float64) if len(loading) else np.zeros(len(loading.columns))
        found.append({int(loading.columns[row]): count for row, count in systems_for(worst, allowed).items()})
    if found[0] or found[1]:
        named = [f"{name}.{key}" for name, rows in zip(("line", "trafo"), found, strict=True) for key in rows]
        return found[0], found[1], f"the overload of {', '.join(named)}"
    return _for_voltage(run, net, eur_per_km)


def _for_voltage(run: RunFolder, net: Any, eur_per_km: float) -> tuple[dict[int, int], dict[int, int], str]:
    voltages = run.series("bus_vm_pu")
    values = voltages.to_numpy(np.float64)
    low = limits(run, "buses", "v_min_pu", voltages.columns, -np.inf)
    high = limits(run, "buses", "v_max_pu", voltages.columns, np.inf)
    beyond = np.nan_to_num(np.fmax(values - high, low - values), nan=-np.inf)
    if beyond.max(initial=-np.inf) <= _TOLERANCE_PU:
        return {}, {}, ""
    step, bus = np.unravel_index(int(np.argmax(beyond)), beyond.shape)
    branches, ids, sources = _branches(run, net, voltages, eur_per_km)
    row = cure_voltage(branches, values[step], int(bus), sources)
    added = {} if row is None else {int(ids[row]): 1}
    return added, {}, f"the voltage of bus.{voltages.columns[int(bus)]}"


def _branches(
    run: RunFolder, net: Any, voltages: pd.DataFrame, eur_per_km: float
) -> tuple[Branches, list[int], list[int]]:
    place = {int(column): position for position, column in enumerate(voltages.columns)}
    table, trafos = run.grid["lines"], run.grid["trafos"]
    loading = run.series("line_loading_percent")
    alive = loading.max() > 0.0
    branches = Branches(
        from_bus=np.asarray([place[bus] for bus in table["from_bus"]], np.int64),
        to_bus=np.asarray([place[bus] for bus in table["to_bus"]], np.int64),
        cost_eur=line_lengths(net) * eur_per_km,
        closed=[bool(alive.get(str(key), False)) for key in table["id"]],
    )
    return branches, [int(key) for key in table["id"]], [place[bus] for bus in trafos["to_bus"]]


def cost(scenario: Scenario, lengths_km: Mapping[int, float]) -> dict[str, Any]:
    """What was added and what it costs, for ``grid.json``.

    Args:
        scenario: Scenario.
        lengths_km: Length of each line by index. [km]
    """
    part = scenario.reinforcement
    km = sum(lengths_km.get(key, 0.0) * count for key, count in part.lines.items())
    capital = km * part.line_eur_per_km + sum(part.trafos.values()) * part.trafo_eur
    return {
        "lines": {str(key): count for key, count in sorted(part.lines.items())},
        "trafos": {str(key): count for key, count in sorted(part.trafos.items())},
        "cable_km": km,
        "capital_eur": capital,
        "annual_eur": annuity(capital, part.lifetime_years, part.interest_percent / 100.0),
    }


def lengths(net: Any) -> dict[int, float]:
    """Length of each line by index. [km]"""
    found: FloatArray = line_lengths(net)
    return dict(zip((int(key) for key in net.line.index), found.tolist(), strict=True))
