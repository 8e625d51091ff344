"""mosaik simulator ``Profiles``: loads, generation and weather that nobody in the study decides on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from heila_mosaik.domain.profiles import Follower, ProfileTable
from heila_mosaik.simulators.base import Attribute, Model, SingleEntity

MODELS = (
    Model(
        name="Profiles",
        attributes=(
            Attribute(name="exogenous", unit="", meaning="Mapping from profile name to its value"),
            Attribute(
                name="pace",
                unit="",
                meaning="Not read: whoever is connected to it, a Pacer, makes the whole study wait for the wall clock",
                direction="in",
            ),
            Attribute(
                name="<follower>",
                unit="MW, MVar",
                meaning="One a follower, for example load_P[MW]: list over the elements of the table",
            ),
        ),
    ),
)


class Profiles(SingleEntity):
    """Gives bulk powers for the grid and raw profile values at each step."""

    model = "Profiles"
    eid = "profiles"

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
        self.keep_time(start, step_s, time_resolution)
        self._table, self._followers = table, dict(followers)
        self._values = table.at(start)
        return self.offer([*self._followers, *MODELS[0].fixed])

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:  # noqa: ARG002
        """Read the row of the step."""
        self._values = self._table.at(self.now(time))
        return self.following(time)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Powers and profile values of the step."""
        return {eid: {attr: self._output(attr) for attr in attrs} for eid, attrs in outputs.items()}

    def _output(self, attr: str) -> Any:
        if attr == "exogenous":
            return dict(zip(self._table.names, self._values.tolist(), strict=True))
        return self._followers[attr].power(self._values).tolist()
