"""mosaik simulator ``ActorHost``: hosts any number of actors with the network between them.

One host for all companies is the default: their messages then pass in simulated microseconds inside one step and
mosaik sees a single simulator.  Measurements come in and set points go out as attributes of the entity ``Host``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from heila_mosaik.domain.information import Measurements
from heila_mosaik.simulators.base import Attribute, Model, SingleEntity
from heila_mosaik.simulators.exchange import Cycle, Exchange

MODELS = (
    Model(
        name="Host",
        attributes=(
            Attribute(
                name="measurements",
                unit="",
                meaning="Mapping from actor name to its fresh Measurements; several sources are merged",
                direction="in",
            ),
            Attribute(name="controls", unit="", meaning="ControlSignals issued in the step"),
            Attribute(name="own_controls", unit="", meaning="Those of them for breakers that do not stand elsewhere"),
            Attribute(name="deliveries", unit="", meaning="Messages of the step with their fate (Delivery)"),
            Attribute(name="records", unit="", meaning="Records of the step"),
            Attribute(name="<probe>", unit="", meaning="One further output a probe, read from an actor after the step"),
        ),
    ),
)


class ActorHost(SingleEntity):
    """Steps an :class:`~heila_mosaik.simulators.exchange.Exchange` on mosaik's clock."""

    model = "Host"
    eid = "host"

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})
        self.offer(MODELS[0].fixed)
        self._cycle = Cycle()

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        exchange: Exchange,
        start: datetime,
        step_s: int,
        probes: Mapping[str, Callable[[], Sequence[float]]] | None = None,
        elsewhere: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Take the exchange to host.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            exchange: Actors with their network.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period of the host. [s]
            probes: Further outputs, read from actors after each step, by attribute name.
            elsewhere: Breakers that stand in a laboratory and not in the grid.
        """
        self._probes = dict(probes or {})
        self.keep_time(start, step_s, time_resolution)
        self._exchange, self._elsewhere = exchange, frozenset(elsewhere)
        return self.offer([*MODELS[0].fixed, *self._probes])

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:  # noqa: ARG002
        """Hand over measurements and run the actors until the next step."""
        fresh: dict[str, Measurements] = {}
        for given in inputs.get("host", {}).get("measurements", {}).values():
            fresh.update(given or {})
        now = self.now(time)
        self._cycle = self._exchange.advance(now, now + timedelta(seconds=self._step_s), fresh)
        return self.following(time)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Controls, deliveries and records of the last step."""
        return {eid: {attr: self._output(attr) for attr in attrs} for eid, attrs in outputs.items()}

    def _output(self, attr: str) -> Any:
        if attr == "own_controls":
            return [signal for signal in self._cycle.controls if signal.target not in self._elsewhere]
        probe = self._probes.get(attr)
        return getattr(self._cycle, attr) if probe is None else list(probe())
