"""mosaik simulator ``Telemetry``: what the control centre's instruments see of the grid."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.telemetry import MeasurementModel
from heila_mosaik.simulators.base import Attribute, Model, SingleEntity, meta

MODELS = (
    Model(
        name="Telemetry",
        attributes=(
            Attribute(name="state", unit="", meaning="True state of the grid (GridState)", direction="in"),
            Attribute(name="positions", unit="", meaning="Position of switches and taps by element", direction="in"),
            Attribute(name="pcc", unit="", meaning="True power of each microgrid by quantity", direction="in"),
            Attribute(name="measurements", unit="", meaning="Measurements by receiving actor"),
        ),
    ),
)


class Telemetry(SingleEntity):
    """Measures the grid with noise, delay and dropout as its :class:`MeasurementModel` declares."""

    model = "Telemetry"
    eid = "telemetry"

    def __init__(self) -> None:
        super().__init__(meta("time-based", MODELS))

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        model: MeasurementModel,
        receiver: str,
        start: datetime,
        step_s: int,
    ) -> Any:
        """Take the instruments.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            model: The instruments.
            receiver: Actor that gets the measurements.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period. [s]
        """
        self.keep_time(start, step_s, time_resolution)
        self._model, self._receiver = model, receiver
        self._measured: Measurements | None = None
        return self.meta

    def step(self, time: int, inputs: Any, max_advance: int) -> int:  # noqa: ARG002
        """Measure."""
        given = inputs["telemetry"]
        handed = {key: value for source in given.get("pcc", {}).values() for key, value in source.items()}
        now = self.now(time)
        at = {key: value for source in given.get("positions", {}).values() for key, value in source.items()}
        self._measured = self._model.measure(now, next(iter(given["state"].values())), handed, at)
        return self.following(time)

    def get_data(self, outputs: dict[str, list[str]]) -> Any:
        """Measurements of the last step."""
        return {eid: {attr: {self._receiver: self._measured} for attr in attrs} for eid, attrs in outputs.items()}
