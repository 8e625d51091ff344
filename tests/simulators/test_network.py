"""Links: transfer times, loss, repetition, order, outages; everything repeats with the seed."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.information import InformationObject, Message
from heila_mosaik.simulators.links import Distribution, Link, LinkTable, Outage, Pair
from heila_mosaik.simulators.network import CommunicationNetwork, DeliveryStatus

NOW = datetime(2016, 6, 1, tzinfo=UTC)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def message(number, seconds=None, sender="a", receiver="b"):
    moment = at(number if seconds is None else seconds)
    return Message(
        id=f"{sender}-{number}", sender=sender, receiver=receiver, sent_at=moment, body=InformationObject(id="x")
    )


def carry(links, messages, seed=1):
    """All deliveries, the refused ones first."""
    network = CommunicationNetwork(links, seed=seed)
    failed = [fate for each in messages if (fate := network.send(each)) is not None]
    return failed + network.pop(at(1e6))


@pytest.mark.parametrize("distribution", Distribution)
def test_transfer_times_have_the_declared_moments(distribution):
    link = Link(delay_ms=50, jitter_ms=20, distribution=distribution)
    random = np.random.default_rng(3)
    drawn = np.array([link.delay(random) for _ in range(40_000)])
    assert drawn.mean() == pytest.approx(50, rel=0.01)
    assert drawn.std() == pytest.approx(0 if distribution is Distribution.CONSTANT else 20, rel=0.03)
    assert drawn.min() > 0


def test_loss_and_attempts_follow_the_binomial():
    messages = [message(number) for number in range(4000)]
    lost = Counter(each.status for each in carry(Link(loss=0.3), messages))[DeliveryStatus.LOST]
    assert lost == pytest.approx(1200, abs=4 * (4000 * 0.3 * 0.7) ** 0.5)
    again = carry(Link(loss=0.3, attempts=3, retry_ms=2000), messages)
    lost = Counter(each.status for each in again)[DeliveryStatus.LOST]
    assert lost == pytest.approx(4000 * 0.3**3, abs=4 * (4000 * 0.027 * 0.973) ** 0.5)
    waits = {(each.at - each.message.sent_at).total_seconds() for each in again if each.status == "delivered"}
    assert max(waits) >= 4.0


def test_every_message_is_repeated_when_told_so():
    found = carry(Link(delay_ms=10, duplication=1.0), [message(1), message(2)])
    assert Counter((each.message.id, each.status.value) for each in found) == {
        (f"a-{number}", status): 1 for number in (1, 2) for status in ("delivered", "repeated")
    }


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0, 60), min_size=1, max_size=40).map(sorted), st.integers(0, 10))
def test_a_link_keeps_the_order_of_its_messages_unless_it_holds_some_back(moments, seed):
    messages = [message(number, seconds) for number, seconds in enumerate(moments)]
    in_order = carry(Link(delay_ms=2000, jitter_ms=1500), messages, seed)
    assert [each.message.id for each in in_order] == [each.id for each in messages]
    found = carry(Link(delay_ms=10, reordering=0.5, hold_ms=1e6), messages, seed)
    assert sorted(each.message.id for each in found) == sorted(each.id for each in messages)
    for part in (found[k:] for k in range(len(found))):  # those not held keep their order
        assert part
    passed = [each.message.id for each in found if (each.at - each.message.sent_at).total_seconds() < 500]
    assert passed == [each.id for each in messages if each.id in passed]


def test_held_back_messages_are_overtaken():
    messages = [message(number, number * 0.01) for number in range(200)]
    arrived = [each.message.id for each in carry(Link(delay_ms=5, reordering=0.3), messages)]
    assert arrived != [each.id for each in messages]


@pytest.mark.parametrize("held", [False, True])
def test_an_outage_loses_or_holds_what_is_sent_meanwhile(held):
    outage = Outage(start=at(10), stop=at(20), held=held)
    found = carry(Link(delay_ms=100, outages=(outage,)), [message(5), message(12), message(19), message(20)])
    fate = {each.message.id: (each.status.value, (each.at - NOW).total_seconds()) for each in found}
    assert fate["a-5"] == ("delivered", 5.1)
    assert fate["a-20"] == ("delivered", 20.1)
    assert fate["a-12"] == (("delivered", 20.1) if held else ("outage", 12.0))


def test_attempts_outlast_an_outage():
    outage = Outage(start=at(10), stop=at(20))
    found = carry(Link(attempts=4, retry_ms=5000, outages=(outage,)), [message(12)])
    assert [(each.status.value, each.at) for each in found] == [("delivered", at(22))]


def test_rules_apply_by_pattern_and_the_broker_takes_its_links_down():
    table = LinkTable(
        default=Link(delay_ms=45),
        rules=[
            (Pair(sender="ied_*"), {"broker": False}),
            (Pair(sender="mgms_*", receiver="ams"), {"delay_ms": 52.0, "loss": 0.1}),
            (Pair(sender="mgms_x"), {"loss": 0.2}),
        ],
        outages=[(None, Outage(start=at(0), stop=at(1))), (Pair(receiver="dms"), Outage(start=at(5), stop=at(6)))],
    )
    assert (table.of("mgms_x", "ams").delay_ms, table.of("mgms_x", "ams").loss) == (52.0, 0.2)
    assert table.of("mgms_y", "ams").loss == 0.1
    assert table.of("fmp", "ams").outage(at(0)) is not None
    assert table.of("ied_1", "mgms_x").outage(at(0)) is None
    assert [table.of("ied_1", "dms").outage(at(second)) is not None for second in (0, 5, 6)] == [False, True, False]


def test_the_same_seed_gives_the_same_fates_and_pairs_do_not_disturb_each_other():
    link = Link(delay_ms=50, jitter_ms=20, loss=0.2, duplication=0.2, reordering=0.2, attempts=2)
    messages = [message(number) for number in range(50)]
    alone = carry(link, messages, 7)
    assert alone == carry(link, messages, 7) != carry(link, messages, 8)
    mixed = [other for each in messages for other in (each, message(int(each.id[2:]), sender="c"))]
    assert [each for each in carry(link, mixed, 7) if each.message.sender == "a"] == alone


@pytest.mark.parametrize("wrong", [{"loss": 1.5}, {"delay_ms": -1}, {"attempts": 0}, {"reordering": -0.1}])
def test_impossible_links_are_refused(wrong):
    with pytest.raises(ValueError, match="link needs"):
        Link(**wrong)
