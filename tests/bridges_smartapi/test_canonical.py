"""The quick reader agrees with the graph on everything, and leaves to it what it does not know."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.bridges.smartapi import write_message
from heila_mosaik.bridges.smartapi.canonical import read_canonical
from heila_mosaik.bridges.smartapi.reader import read_graph
from heila_mosaik.bridges.smartapi_refusal import RefusedError
from tests.bridges_smartapi.examples import EXAMPLES
from tests.bridges_smartapi.strategies import messages

FLAT = [
    message for message in EXAMPLES if type(message.body).__name__ not in ("FlexibilityRequest", "OfferList", "Bid")
]


@pytest.mark.parametrize("message", FLAT, ids=lambda m: type(m.body).__name__)
def test_what_was_written_is_read_without_a_graph(message):
    assert read_canonical(write_message(message)) == message


def same(one, other):
    return one == other or write_message(one) == write_message(other)  # NaN is not equal to itself


def graph_reads(payload):
    try:
        return read_graph(payload)
    except RefusedError:
        return None


@settings(max_examples=150, deadline=None)
@given(messages)
def test_both_ways_agree_on_every_message(message):
    try:
        payload = write_message(message)
    except (RefusedError, ValueError):
        return
    quick = read_canonical(payload)
    if quick is not None:
        found = graph_reads(payload)
        assert found is not None, "what the graph refuses is not read past it"
        assert same(quick, found)


NUMBERS = re.compile(rb"(-?[0-9][0-9.]*e-?[0-9]+|\"PT[0-9]+S\"|T[0-9:]+\+00:00| [0-9]+ )")
BAD = [
    b"NaN",
    b"INF",
    b"1e999",
    b"-5.0e5",
    b"-1.0e0",
    b"99999999999",
    b'"PT0S"',
    b"T25:00:00+00:00",
    b"T00:00:00",
    b" 0 ",
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(FLAT), st.integers(0, 10**6), st.sampled_from(BAD))
def test_bad_values_never_pass_where_the_graph_refuses(message, where, bad):
    payload = write_message(message)
    spots = list(NUMBERS.finditer(payload))
    spot = spots[where % len(spots)]
    changed = payload[: spot.start()] + bad + payload[spot.end() :]
    quick = read_canonical(changed)
    if quick is not None:
        found = graph_reads(changed)
        assert found is not None
        assert same(quick, found)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FLAT), st.integers(0, 10**6), st.binary(max_size=3), st.integers(0, 3))
def test_changed_bytes_are_read_as_the_graph_reads_them(message, where, bytes_, cut):
    payload = write_message(message)
    at = where % len(payload)
    changed = payload[:at] + bytes_ + payload[at + cut :]
    quick = read_canonical(changed)
    if quick is not None:
        found = graph_reads(changed)
        assert found is not None
        assert same(quick, found)


@pytest.mark.parametrize("payload", [b"", b"\xff", b"x" * 300_000, b"@prefix a: <b> .", write_message(FLAT[0])[:-3]])
def test_others_are_left_to_the_graph(payload):
    assert read_canonical(payload) is None
