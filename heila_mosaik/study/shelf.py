"""Grids made ready once and used by many runs of one process.

A run spends most of its start on reading the grid folder, attaching microgrids and compiling.  A shelf keeps the
results by what they depend on; a study takes copies of what it changes.  A shelf can be pickled: a sweep makes one
and ships it to its workers, which then need neither the grid folder nor a compiler.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from heila_mosaik.gridmodel import CompiledGrid, compile_net
from heila_mosaik.gridmodel.reinforce import add_parallel
from heila_mosaik.gridmodel.study_net import NetLimits, StudyNet, prepare_net
from heila_mosaik.study.gridfolder import GridFolder, load_grid_folder
from heila_mosaik.study.microgrids import charged, connections
from heila_mosaik.study.own_means import add_capacitors
from heila_mosaik.study.schema import Scenario

_WITHOUT_EFFECT = frozenset(
    {"name", "description", "start", "stop", "duration_h", "step_s", "seed", "flexibility", "divergence", "messages"}
    | {"network", "telemetry", "dms", "market", "spp", "series", "results", "extensions", "hil"}
)
"""Parts of a scenario that never reach the net; a part that is not named here gets a net of its own."""

_BEFORE, _AFTER = timedelta(days=29), timedelta(days=4)
"""What a study reads of the profiles before its start and after its end, with a day to spare."""

_KEPT = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadyGrid:
    """Grid of a study.

    Attributes:
        net: Net with microgrids.
        shunts: Index of each capacitor bank of the scenario.
        engine: The same, compiled.
    """

    net: StudyNet
    shunts: tuple[int, ...]
    engine: CompiledGrid


class Shelf:
    """Grid folders and compiled grids by what they were made of.

    Files are read once: a shelf lives as long as one sweep or one call, not longer.
    """

    def __init__(self) -> None:
        self._folders: dict[str, GridFolder] = {}
        self._grids: dict[str, ReadyGrid] = {}

    def __len__(self) -> int:
        return len(self._grids)

    def folder(self, scenario: Scenario) -> GridFolder:
        """Grid folder of a scenario.

        Raises:
            ProblemsError: With everything that is wrong in the folder.
        """
        key = _folder_key(scenario)
        if key not in self._folders:
            self._folders[key] = load_grid_folder(scenario.grid_folder(), also=scenario.microgrids.also)
        return self._folders[key]

    def grid(self, scenario: Scenario) -> ReadyGrid:
        """Net and engine of a scenario; the caller owns what it gets.

        Raises:
            ProblemsError: If a microgrid or a capacitor bank does not fit the net.
        """
        folder = self.folder(scenario)
        key = _key(scenario, folder)
        if key not in self._grids:
            if len(self._grids) >= _KEPT:
                del self._grids[next(iter(self._grids))]
            self._grids[key] = _make(scenario, folder)
        found = self._grids[key]
        return ReadyGrid(
            net=replace(found.net, net=copy.deepcopy(found.net.net)), shunts=found.shunts, engine=found.engine.copy()
        )

    def cut(self, scenarios: Iterable[Scenario]) -> Shelf:
        """The same shelf with only the profiles these scenarios read, in memory: small enough to be shipped."""
        windows: dict[str, tuple[datetime, datetime]] = {}
        for scenario in scenarios:
            key = _folder_key(scenario)
            start, stop = windows.get(key, (scenario.start_utc, scenario.stop_utc))
            windows[key] = (min(start, scenario.start_utc), max(stop, scenario.stop_utc))
        other = Shelf()
        other._grids = dict(self._grids)
        for key, (start, stop) in windows.items():
            if key in self._folders:
                other._folders[key] = _cut(self._folders[key], start, stop)
        return other


def _folder_key(scenario: Scenario) -> str:
    also = json.dumps([part.model_dump(mode="json") for part in scenario.microgrids.also], sort_keys=True)
    return f"{scenario.folder.resolve()}|{scenario.grid}|{also}"


def _cut(folder: GridFolder, start: datetime, stop: datetime) -> GridFolder:
    profiles = folder.profiles
    first = max(profiles.grid.start, start - _BEFORE)
    last = min(profiles.grid.stop, stop + _AFTER)
    if first >= last:
        return folder  # the run itself says that the profiles do not cover it
    grid, values = profiles.read(profiles.columns, first, last)
    return replace(folder, profiles=replace(profiles, grid=grid, values=values))


def _key(scenario: Scenario, folder: GridFolder) -> str:
    parts = scenario.model_dump(mode="json", exclude=set(_WITHOUT_EFFECT))
    text = json.dumps([dict(folder.checksums), parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _make(scenario: Scenario, folder: GridFolder) -> ReadyGrid:
    limits = NetLimits(
        v_min_pu=scenario.limits.v_min_pu,
        v_max_pu=scenario.limits.v_max_pu,
        line_loading_percent=scenario.limits.line_loading_percent,
        trafo_loading_percent=scenario.limits.trafo_loading_percent,
    )
    microgrids = charged(folder.microgrids, scenario.microgrids.soc_start_percent)
    raw: Any = copy.deepcopy(folder.net)
    net = prepare_net(
        raw,
        connections(microgrids, islands=bool(scenario.events)),
        der_growth=scenario.growth.der,
        load_growth=scenario.growth.load,
        limits=limits,
        positions=dict.fromkeys(scenario.topology.close, True) | dict.fromkeys(scenario.topology.open, False),
    )
    add_parallel(net.net, {"line": scenario.reinforcement.lines, "trafo": scenario.reinforcement.trafos})
    shunts = add_capacitors(scenario, net.net)
    return ReadyGrid(net=net, shunts=shunts, engine=compile_net(net.net, folder.name))
