"""Hosts actors on a paced clock beside live ones: what comes over the wire is taken when it comes."""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from heila_mosaik.actors.base import Actor
from heila_mosaik.bridges.clock import PacedClock
from heila_mosaik.bridges.coordinator import Coordinator, outcome_of
from heila_mosaik.domain.information import Measurements, Message
from heila_mosaik.simulators.exchange import Cycle, Exchange
from heila_mosaik.simulators.network import CommunicationNetwork, Delivery, DeliveryStatus


class PacedExchange(Exchange):
    """An exchange whose steps last as long as the clock says.

    Local actors talk to each other through the simulated network, to live ones over the wire.  What live actors say to
    each other they tell the coordinator, so that the run's log is whole.

    Args:
        actors: Actors hosted here.
        network: Simulated network between them.
        coordinator: Way to the live actors.
        announce: Called once with the start of the run, before the first step; returns the common clock.
    """

    def __init__(
        self,
        actors: Sequence[Actor],
        network: CommunicationNetwork,
        coordinator: Coordinator,
        announce: Callable[[datetime], PacedClock],
    ) -> None:
        super().__init__(actors, network)
        self._coordinator, self._announce = coordinator, announce
        self._clock: PacedClock | None = None
        self._sent: dict[tuple[str, str], Message] = {}
        self._at: datetime | None = None
        self.late_s = 0.0

    def advance(self, now: datetime, until: datetime, measurements: Mapping[str, Measurements]) -> Cycle:
        """Run all events in ``[now, until)`` at their time; see :class:`Exchange`."""
        if self._clock is None:
            self._clock = self._announce(now)
        clock, cycle = self._clock, Cycle()
        if not self._started:
            self._wake = dict.fromkeys(self._actors, now)
            self._started = True
        for name in measurements:
            self._wake[name] = now
        fresh, self._at = dict(measurements), now
        self.late_s = max(self.late_s, (clock.now() - now).total_seconds() / clock.rate)
        while True:
            moment = self._next_moment(now)
            target = until if moment is None or moment >= until else moment
            arrived = self._await(clock, target)
            self._read_log(cycle)
            if arrived is not None:
                at = min(max(clock.now(), self._at), until - timedelta(microseconds=1))
                cycle.deliveries.append(Delivery(message=arrived, status=DeliveryStatus.DELIVERED, at=at))
                self._run({arrived.receiver: [arrived]}, at, fresh, cycle)
            elif target >= until:
                return cycle
            else:
                at = max(target, self._at)
                self._run(self._collect(at, cycle), at, fresh, cycle)
            self._at = at

    def _await(self, clock: PacedClock, target: datetime) -> Message | None:
        """The next message off the wire, or ``None`` when the time has come."""
        try:
            return self._coordinator.arrivals.get(timeout=max(0.0, clock.wait_s(target)) or 1e-6)
        except queue.Empty:
            return None

    def _run(
        self, inboxes: dict[str, list[Message]], at: datetime, fresh: dict[str, Measurements], cycle: Cycle
    ) -> None:
        due = {name for name, wake in self._wake.items() if wake <= at}
        for name in sorted(due | set(inboxes), key=self._rank.__getitem__):
            self._wake.pop(name, None)
            outcome = self._actors[name].step(at, inboxes.get(name, ()), fresh.pop(name, None))
            self._take(name, outcome, at, cycle)

    def _send(self, message: Message, cycle: Cycle) -> Delivery | None:
        if message.receiver in self._actors:
            return super()._send(message, cycle)
        self._sent[message.sender, message.id] = message
        self._coordinator.send(message)
        return None

    def _read_log(self, cycle: Cycle) -> None:
        """What live actors did: their records, and the messages they took."""
        while True:
            try:
                name, told = self._coordinator.log.get_nowait()
            except queue.Empty:
                return
            self._take_log(name, told, cycle)

    def _take_log(self, name: str, told: Mapping[str, Any], cycle: Cycle) -> None:
        outcome, at = outcome_of(told["log"]), datetime.fromisoformat(told["now"])
        cycle.records.extend(outcome.records)
        for sender, identity in told["taken"]:
            message = self._sent.pop((sender, identity), None)
            if message is not None:
                cycle.deliveries.append(Delivery(message=message, status=DeliveryStatus.DELIVERED, at=at))
        for message in outcome.messages:
            if message.receiver not in self._actors and name != message.receiver:
                self._sent[message.sender, message.id] = message
