"""Actors inside mosaik."""

from datetime import UTC, datetime, timedelta

import pytest

from heila_mosaik.actors.base import Outbox
from heila_mosaik.domain.information import ControlSignal, Measurements
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.simulators.actor import ActorHost
from heila_mosaik.simulators.exchange import Exchange
from heila_mosaik.simulators.network import CommunicationNetwork, Link

START = datetime(2016, 6, 1, tzinfo=UTC)


class Follower:
    """Orders what it measures."""

    def __init__(self, name):
        self.name, self.out, self.last = name, Outbox(name), 0.0

    def step(self, now, inbox, measurements):
        del inbox
        self.out.begin(now)
        if measurements is not None:
            self.last = measurements.values[0]
            self.out.control(
                ControlSignal(
                    id=f"{self.name}/{now.minute}",
                    target="bat",
                    start=now,
                    stop=now + timedelta(minutes=1),
                    p_mw=self.last,
                )
            )
            self.out.record("measured", "", value=self.last)
        return self.out.outcome()


def measured(name, value, at):
    return Measurements(
        id=f"{name}/{value}",
        source=name,
        at=at,
        elements=("bat",),
        quantities=(Quantity.ACTIVE_POWER,),
        values=(value,),
        sigmas=(0.0,),
        qualities=(Quality.GOOD,),
        ages_s=(0.0,),
    )


def make():
    actors = [Follower("a"), Follower("b")]
    sim = ActorHost()
    sim.init(
        "H-0",
        exchange=Exchange(actors, CommunicationNetwork(Link())),
        start=START,
        step_s=60,
        probes={"seen": lambda: (actors[0].last, actors[1].last)},
    )
    sim.create(1, "Host")
    return sim


def test_measurements_of_several_sources_go_to_their_actors_and_orders_come_out():
    sim = make()
    given = {"meters": {"a": measured("a", 0.1, START)}, "telemetry": {"b": measured("b", 0.2, START)}}
    assert sim.step(60, {"host": {"measurements": given}}, 60) == 120
    data = sim.get_data({"host": ["controls", "records", "deliveries", "seen"]})["host"]
    assert [(signal.p_mw, signal.start) for signal in data["controls"]] == [
        (0.1, START + timedelta(minutes=1)),
        (0.2, START + timedelta(minutes=1)),
    ]
    assert [record.actor for record in data["records"]] == ["a", "b"]
    assert data["seen"] == [0.1, 0.2]
    assert data["deliveries"] == []


def test_a_step_without_news_gives_nothing_and_a_source_may_be_empty():
    sim = make()
    sim.step(0, {"host": {"measurements": {"telemetry": None}}}, 0)
    sim.step(60, {}, 60)
    assert sim.get_data({"host": ["controls", "records"]})["host"] == {"controls": [], "records": []}


def test_probes_of_one_host_stay_its_own():
    make()
    assert "seen" not in ActorHost().meta["models"]["Host"]["attrs"]
    with pytest.raises(ValueError, match="exactly one"):
        make().create(2, "Host")
