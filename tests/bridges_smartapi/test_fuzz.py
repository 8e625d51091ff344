"""A small run of the campaign ``benchmarks/message_fuzz.py``, and that it would notice."""

import pytest

from benchmarks import message_fuzz as fuzz
from heila_mosaik.bridges.smartapi_wire import Wire


@pytest.fixture(scope="module")
def result():
    return fuzz.run(1500, seed=3)


def test_nothing_gets_in_that_must_not_and_nothing_breaks(result):
    assert result.forgeries == []
    assert result.crashes == []
    assert result.unsound == []
    assert result.let_in["sound"] == result.knocks["sound"] > 50
    assert result.held


def test_every_try_is_let_in_or_refused_with_a_reason(result):
    assert result.knocks.total() == result.let_in.total() + result.refused.total() == 1500
    assert {
        "bad_signature",
        "unknown_key",
        "algorithm",
        "wrong_issuer",
        "wrong_audience",
        "replayed",
        "expired",
    } <= set(result.refused)
    assert {"syntax", "number_bomb", "too_deep", "entity_expansion", "remote_context", "not_utf8"} <= set(
        result.refused
    )


def test_memory_of_identities_turns_over(result):
    assert result.remembered <= 10_000


def test_a_door_that_looks_at_nothing_would_be_noticed(monkeypatch):
    def careless(self, payload, signature, **_):
        return fuzz.info.Message(id="x", sender="ams", receiver="mgms_a", sent_at=fuzz.T, body=fuzz.bodies()[0])

    monkeypatch.setattr(Wire, "open", careless)
    found = fuzz.run(60, seed=1, actors=False)
    assert found.forgeries
    assert found.unsound
    assert not found.held
