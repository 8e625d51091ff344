"""Actors in simulated time: order, delay, loss, determinism."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.domain.information import InformationObject
from heila_mosaik.simulators.exchange import Exchange, MessageStormError
from heila_mosaik.simulators.network import CommunicationNetwork, DeliveryStatus, Link, Outage

NOW = datetime(2016, 6, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@dataclass
class Relay:
    """Passes each message on; ``first`` sends one at the start."""

    name: str
    to: str
    first: bool = False
    seen: list = field(default_factory=list)

    def __post_init__(self):
        self.outbox = Outbox(self.name)

    def step(self, now, inbox, measurements) -> Outcome:
        self.outbox.begin(now)
        self.seen += [(now, message.id) for message in inbox]
        if self.to:
            for message in inbox:
                self.outbox.send(self.to, message.body)
            if self.first and not inbox:
                self.outbox.send(self.to, InformationObject(id="x"))
        return self.outbox.outcome()


def chain(link, seed=1):
    last = Relay("c", "")
    return last, Exchange([Relay("a", "b", first=True), Relay("b", "c"), last], CommunicationNetwork(link, seed=seed))


def test_a_chain_of_messages_fits_inside_one_step_and_adds_up_its_delays():
    last, exchange = chain(Link(delay_ms=50))
    cycle = exchange.advance(NOW, NOW + MINUTE, {})
    assert last.seen == [(NOW + timedelta(milliseconds=100), "b-1")]
    assert [delivery.status for delivery in cycle.deliveries] == [DeliveryStatus.DELIVERED] * 2


def test_a_message_slower_than_the_step_arrives_in_a_later_one():
    last, exchange = chain(Link(delay_ms=40_000))
    exchange.advance(NOW, NOW + MINUTE, {})
    assert last.seen == []
    exchange.advance(NOW + MINUTE, NOW + 2 * MINUTE, {})
    assert last.seen == [(NOW + timedelta(seconds=80), "b-1")]


def test_jitter_is_the_same_for_the_same_seed():
    arrivals = []
    for seed in (1, 1, 2):
        last, exchange = chain(Link(delay_ms=50, jitter_ms=20), seed)
        exchange.advance(NOW, NOW + MINUTE, {})
        arrivals.append(last.seen[0][0])
    assert arrivals[0] == arrivals[1] != arrivals[2]


def test_loss_and_outage_are_reported():
    outage = Link(outages=(Outage(start=NOW, stop=NOW + MINUTE),))
    for link, fate in ((Link(loss=1.0), DeliveryStatus.LOST), (outage, DeliveryStatus.OUTAGE)):
        last, exchange = chain(link)
        cycle = exchange.advance(NOW, NOW + MINUTE, {})
        assert last.seen == []
        assert [delivery.status for delivery in cycle.deliveries] == [fate]


def test_a_message_to_nobody_is_reported():
    exchange = Exchange([Relay("a", "nobody", first=True)], CommunicationNetwork(Link()))
    cycle = exchange.advance(NOW, NOW + MINUTE, {})
    assert [delivery.status for delivery in cycle.deliveries] == [DeliveryStatus.UNKNOWN_RECEIVER]


def test_actors_that_never_rest_are_named():
    actors = [Relay("a", "b", first=True), Relay("b", "a")]
    exchange = Exchange(actors, CommunicationNetwork(Link()), limit=500)
    with pytest.raises(MessageStormError, match="more than 500 events"):
        exchange.advance(NOW, NOW + MINUTE, {})


def test_names_must_be_unique():
    with pytest.raises(ValueError, match="repeated: a"):
        Exchange([Relay("a", ""), Relay("a", "")], CommunicationNetwork(Link()))
