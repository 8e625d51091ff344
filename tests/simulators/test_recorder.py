"""Recorder: everything that comes in goes to the sink, with simulated time."""

from datetime import UTC, datetime, timedelta

from heila_mosaik.actors.base import Record
from heila_mosaik.domain.information import InformationObject, Message
from heila_mosaik.simulators.network import Delivery, DeliveryStatus
from heila_mosaik.simulators.recorder import Recorder

START = datetime(2016, 6, 1, tzinfo=UTC)


class Sink:
    def __init__(self):
        self.messages, self.records, self.rows = [], [], []

    def message(self, message, *, delivered_at, status="delivered"):
        self.messages.append((message.id, delivered_at, status))

    def record(self, record):
        self.records.append(record)


def delivery(name, status):
    body = InformationObject(id=name)
    message = Message(id=name, sender="a", receiver="b", sent_at=START, body=body)
    return Delivery(message=message, status=status, at=START + timedelta(milliseconds=40))


def test_tables_messages_and_records_reach_the_sink_in_order():
    sink, ticks = Sink(), []
    sim = Recorder()
    sim.init(
        "R-0",
        sink=sink,
        tables={"volts": lambda at, values: sink.rows.append((at, values))},
        start=START,
        step_s=60,
        tick=ticks.append,
    )
    sim.create(1, "Recorder")
    record = Record(at=START, actor="a", event="seen", detail="", values={})
    given = {
        "volts": {"grid": [1.0, 0.99]},
        "deliveries": {
            "host": [delivery("one", DeliveryStatus.DELIVERED), delivery("two", DeliveryStatus.LOST)],
        },
        "records": {"host": [record]},
    }
    assert sim.step(120, {"recorder": given}, 120) == 180
    assert sink.rows == [(round(START.timestamp()) + 120, [1.0, 0.99])]
    assert sink.messages == [("one", START + timedelta(milliseconds=40), "delivered"), ("two", None, "lost")]
    assert sink.records == [record]
    assert ticks == [START + timedelta(minutes=2)]
    assert sim.get_data({}) == {}
