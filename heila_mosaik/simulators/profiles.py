"""mosaik simulator ``Profiles``: loads, generation and weather that nobody in the study decides on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import mosaik_api_v3

from heila_mosaik.domain.profiles import Follower, ProfileTable


class Profiles(mosaik_api_v3.Simulator):
    """Gives bulk powers for the grid and raw profile values at each step.

    Entity ``Profiles`` has one output per follower (for example ``load_P[MW]``: list over the table's elements) and
    ``exogenous``: mapping from profile name to its value.
    """

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        table: ProfileTable,
        followers: Mapping[str, Follower],
        start: datetime,
        step_s: int,
    ) -> dict[str, Any]:
        """Take the series.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            table: Profiles.
            followers: What follows them, by attribute name.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period. [s]
        """
        self._table, self._followers, self._start, self._step_s = table, dict(followers), start, step_s
        self._resolution = time_resolution
        self._values = table.at(start)
        attrs = [*self._followers, "exogenous"]
        self.meta["models"] = {"Profiles": {"public": True, "params": [], "attrs": attrs}}
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        """Create the one entity ``Profiles``."""
        if num != 1:
            raise ValueError(f"Profiles has exactly one entity {model}, not {num}")
        return [{"eid": "profiles", "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:  # noqa: ARG002
        """Read the row of the step."""
        self._values = self._table.at(self._start + timedelta(seconds=time * self._resolution))
        return time + round(self._step_s / self._resolution)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Powers and profile values of the step."""
        return {eid: {attr: self._output(attr) for attr in attrs} for eid, attrs in outputs.items()}

    def _output(self, attr: str) -> Any:
        if attr == "exogenous":
            return dict(zip(self._table.names, self._values.tolist(), strict=True))
        return self._followers[attr].power(self._values).tolist()
