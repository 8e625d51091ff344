"""Hosts actors in simulated time: calls them in the order of events and carries their messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from heila_mosaik.actors.base import Actor, Outcome, Record
from heila_mosaik.domain.information import ControlSignal, Measurements, Message
from heila_mosaik.errors import HeilaError
from heila_mosaik.simulators.network import CommunicationNetwork, Delivery, DeliveryStatus

Translate = Callable[[Message], Message]


class MessageStormError(HeilaError):
    """Actors answer each other without end inside one step."""

    def __init__(self, at: datetime, actors: Sequence[str], limit: int) -> None:
        self.at, self.actors, self.limit = at, tuple(actors), limit
        super().__init__(at, actors, limit)

    def __str__(self) -> str:
        return (
            f"at {self.at.isoformat()} more than {self.limit} events in one step; last busy: "
            f"{', '.join(self.actors)}. Give the links between them a delay or mend the actor that always answers."
        )


@dataclass(slots=True)
class Cycle:
    """What happened in one step.

    Attributes:
        controls: Set points for devices, in order of issue.
        deliveries: Messages with their fate, in order.
        records: Log records, in order.
    """

    controls: list[ControlSignal] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)


class Exchange:
    """Actors, their wake-up times and the network between them.

    Args:
        actors: Actors by order of precedence at equal times; names must be unique.
        network: Communication network.
        translate: Applied to each message on its way, for example through JSON or a wire format; a message for which
            it raises a :class:`~heila_mosaik.errors.HeilaError` is refused with that reason.
        limit: Events allowed in one step.
    """

    def __init__(
        self,
        actors: Sequence[Actor],
        network: CommunicationNetwork,
        translate: Translate | None = None,
        limit: int = 100_000,
    ) -> None:
        names = [actor.name for actor in actors]
        duplicates = sorted({name for name in names if names.count(name) > 1})
        if duplicates:
            raise ValueError(f"actor names must be unique; repeated: {', '.join(duplicates)}")
        self._actors = {actor.name: actor for actor in actors}
        self._rank = {name: rank for rank, name in enumerate(names)}
        self._network = network
        self._translate = translate
        self._limit = limit
        self._wake: dict[str, datetime] = {}
        self._started = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the hosted actors."""
        return tuple(self._actors)

    def advance(self, now: datetime, until: datetime, measurements: Mapping[str, Measurements]) -> Cycle:
        """Run all events in ``[now, until)``.

        Args:
            now: Start of the step; measurements are handed over at this time.
            until: End of the step, exclusive.
            measurements: Fresh measurements by actor name.

        Raises:
            MessageStormError: If the actors do not come to rest.
        """
        cycle = Cycle()
        if not self._started:
            self._wake = dict.fromkeys(self._actors, now)
            self._started = True
        for name in measurements:
            self._wake[name] = now
        events = 0
        moment = self._next_moment(now)
        fresh = dict(measurements)
        while moment is not None and moment < until:
            inboxes = self._collect(moment, cycle)
            due = [name for name in self._wake if self._wake[name] <= moment]
            for name in sorted(set(due) | set(inboxes), key=self._rank.__getitem__):
                self._wake.pop(name, None)
                outcome = self._actors[name].step(moment, inboxes.get(name, ()), fresh.pop(name, None))
                self._take(name, outcome, moment, cycle)
                events += 1
                if events > self._limit:
                    raise MessageStormError(moment, sorted(inboxes) or due, self._limit)
            moment = self._next_moment(moment)
        return cycle

    def _next_moment(self, not_before: datetime) -> datetime | None:
        times = list(self._wake.values())
        arrival = self._network.next_at()
        if arrival is not None:
            times.append(arrival)
        return max(min(times), not_before) if times else None

    def _collect(self, moment: datetime, cycle: Cycle) -> dict[str, list[Message]]:
        inboxes: dict[str, list[Message]] = {}
        for delivery in self._network.pop(moment):
            receiver = delivery.message.receiver
            if receiver not in self._actors:
                cycle.deliveries.append(
                    Delivery(message=delivery.message, status=DeliveryStatus.UNKNOWN_RECEIVER, at=delivery.at)
                )
                continue
            cycle.deliveries.append(delivery)
            inboxes.setdefault(receiver, []).append(delivery.message)
        return inboxes

    def _take(self, name: str, outcome: Outcome, moment: datetime, cycle: Cycle) -> None:
        cycle.controls.extend(outcome.controls)
        cycle.records.extend(outcome.records)
        for message in outcome.messages:
            lost = self._send(message, cycle)
            if lost is not None:
                cycle.deliveries.append(lost)
        if outcome.wake_at is not None:
            if outcome.wake_at <= moment:
                raise ValueError(f"actor {name} asked at {moment} to be woken at {outcome.wake_at}, not later")
            self._wake[name] = outcome.wake_at

    def _send(self, message: Message, cycle: Cycle) -> Delivery | None:
        """Hand a message to the network in its form on the wire; one that has none is refused, not fatal."""
        if self._translate is None:
            return self._network.send(message)
        try:
            return self._network.send(self._translate(message))
        except HeilaError as error:
            cycle.records.append(
                Record(at=message.sent_at, actor=message.sender, event="message_refused", detail=str(error),
                       values={"message": message.id, "receiver": message.receiver})
            )  # fmt: skip
            return Delivery(message=message, status=DeliveryStatus.REFUSED, at=message.sent_at)
