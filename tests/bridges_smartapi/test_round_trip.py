from hypothesis import HealthCheck, given, settings

from heila_mosaik.bridges.smartapi import read_message, write_message
from tests.bridges_smartapi.strategies import messages

quick = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@quick
@given(messages)
def test_every_object_survives_the_wire(message):
    payload = write_message(message)
    assert payload.isascii()
    assert write_message(message) == payload
    assert read_message(payload) == message


@quick
@given(messages)
def test_kilowatts_lose_no_digit(message):
    assert read_message(write_message(message, kilowatts=True), "text/turtle; charset=us-ascii") == message
