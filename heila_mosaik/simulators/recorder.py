"""mosaik simulator ``Recorder``: hands every table, message and record of a run to a sink as it happens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Protocol

from heila_mosaik.actors.base import Record
from heila_mosaik.simulators.base import Attribute, Model, SingleEntity
from heila_mosaik.simulators.network import ARRIVED, Delivery


class Sink(Protocol):
    """Where a recorder writes (``results.store.RunStore`` is one)."""

    def message(self, message: Any, *, delivered_at: datetime | None, status: str = ...) -> None:
        """Store a message with its fate."""

    def record(self, record: Record) -> None:
        """Store a log record."""


Append = Callable[[int, Any], None]


MODELS = (
    Model(
        name="Recorder",
        attributes=(
            Attribute(name="deliveries", unit="", meaning="Messages with their fate (Delivery)", direction="in"),
            Attribute(name="records", unit="", meaning="Records of the actors", direction="in"),
            Attribute(name="done", unit="", meaning="Number of steps recorded"),
            Attribute(
                name="<table>",
                unit="",
                meaning="One a series table: numbers in the order of its columns",
                direction="in",
            ),
        ),
    ),
)


class Recorder(SingleEntity):
    """Writes its inputs and counts the steps it has recorded."""

    model = "Recorder"
    eid = "recorder"

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        sink: Sink,
        tables: Mapping[str, Append],
        start: datetime,
        step_s: int,
        tick: Callable[[datetime], None] | None = None,
    ) -> dict[str, Any]:
        """Take the sink.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            sink: Takes messages and records.
            tables: ``append(time_s, values)`` of each series table, by name.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Recording period. [s]
            tick: Called with the simulated time after each step, for progress.
        """
        self.keep_time(start, step_s, time_resolution)
        self._sink, self._tables, self._tick, self._done = sink, dict(tables), tick, 0
        return self.offer([*MODELS[0].fixed, *self._tables])

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:  # noqa: ARG002
        """Write what came in."""
        given = inputs.get("recorder", {})
        now = self.now(time)
        epoch_s = round(now.timestamp())
        for name, append in self._tables.items():
            for values in given.get(name, {}).values():
                append(epoch_s, values)
        self._deliveries([item for items in given.get("deliveries", {}).values() for item in items])
        for record in [item for items in given.get("records", {}).values() for item in items]:
            self._sink.record(record)
        if self._tick is not None:
            self._tick(now)
        self._done += 1
        return self.following(time)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Number of steps recorded."""
        return {eid: dict.fromkeys(attrs, self._done) for eid, attrs in outputs.items()}

    def _deliveries(self, deliveries: Sequence[Delivery]) -> None:
        for delivery in deliveries:
            arrived = delivery.status in ARRIVED
            self._sink.message(
                delivery.message, delivered_at=delivery.at if arrived else None, status=delivery.status.value
            )
