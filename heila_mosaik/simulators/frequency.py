"""mosaik simulator ``Frequency``: the frequency of the synchronous area, the same at every site."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.simulators.base import Attribute, Model, SingleEntity

ELEMENT = "grid"
SIGMA_HZ = 0.001
MODELS = (
    Model(
        name="Frequency",
        attributes=(
            Attribute(name="f[Hz]", unit="Hz", meaning="Frequency"),
            Attribute(name="row", unit="Hz", meaning="List with the same value, for the recorder"),
            Attribute(name="measurements", unit="", meaning="Mapping from receiver to Measurements"),
        ),
    ),
)


class Frequency(SingleEntity):
    """Gives a frequency series."""

    model = "Frequency"
    eid = "frequency"

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        values_hz: Sequence[float],
        receivers: Sequence[str],
        start: datetime,
        step_s: int,
    ) -> dict[str, Any]:
        """Take the series.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            values_hz: Frequency at every step. [Hz] (steps,)
            receivers: Actors that measure it on their own.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period. [s]
        """
        self.keep_time(start, step_s, time_resolution)
        self._values, self._receivers = tuple(float(value) for value in values_hz), tuple(receivers)
        self._time = 0
        return self.offer(MODELS[0].fixed)

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:  # noqa: ARG002
        """Go to the next value."""
        self._time = time
        return self.following(time)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Frequency of the last step."""
        return {eid: {attr: self._output(attr) for attr in attrs} for eid, attrs in outputs.items()}

    def _output(self, attr: str) -> Any:
        position = round(self._time * self._resolution / self._step_s)
        value = self._values[min(position, len(self._values) - 1)]
        if attr == "measurements":
            return dict.fromkeys(self._receivers, self._reading(value, position))
        return [value] if attr == "row" else value

    def _reading(self, value: float, position: int) -> Measurements:
        return Measurements(
            id=f"frequency/reading/{position}",
            source="frequency",
            at=self.now(self._time),
            elements=(ELEMENT,),
            quantities=(Quantity.FREQUENCY,),
            values=(value,),
            sigmas=(SIGMA_HZ,),
            qualities=(Quality.GOOD,),
            ages_s=(0.0,),
        )
