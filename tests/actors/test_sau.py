"""The substation automation unit forwards with quality and age and marks the implausible."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from heila_mosaik.actors.sau import Sau, SauSettings
from heila_mosaik.domain.information import Measurements, Message
from heila_mosaik.domain.quantities import Quality, Quantity

NOW = datetime(2026, 1, 15, tzinfo=UTC)


def measured(volts=1.0, at=NOW):
    return Measurements(
        id="m", source="meter", at=at, elements=("bus.1", "line.0"),
        quantities=(Quantity.VOLTAGE, Quantity.ACTIVE_POWER),
        values=(volts, 2.0), sigmas=(0.002, 0.02), qualities=(Quality.GOOD, Quality.GOOD), ages_s=(0.0, 1.0),
    )  # fmt: skip


def test_forwards_to_the_control_centre_with_age():
    outcome = Sau(SauSettings(dms="dso")).step(NOW + timedelta(seconds=5), [], measured())
    assert [message.receiver for message in outcome.messages] == ["dso"]
    assert outcome.messages[0].body.ages_s == (5.0, 6.0)


def test_implausible_value_is_invalid_and_reported_once():
    sau = Sau()
    first = sau.step(NOW, [], measured(volts=7.0))
    assert first.messages[0].body.qualities == (Quality.INVALID, Quality.GOOD)
    assert [record.event for record in first.records] == ["value_implausible"]
    assert not sau.step(NOW, [], measured(volts=7.0)).records
    assert [record.event for record in sau.step(NOW, [], measured()).records] == ["value_recovered"]


def test_forwards_what_other_devices_send():
    letter = Message(id="x", sender="meter", receiver="sau", sent_at=NOW, body=measured())
    outcome = Sau().step(NOW, [letter], measured())
    assert len({message.body.id for message in outcome.messages}) == 2
