"""A message counts once, an overtaken one not at all."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.actors.ams import Ams
from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.fmp import Fmp
from heila_mosaik.actors.inbox import Inbox
from heila_mosaik.actors.mgms_book import Book
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    ControlSignal,
    InformationObject,
    Message,
    Purchase,
    ReserveNotification,
    Session,
    WeatherForecast,
)
from heila_mosaik.domain.market import MarketCalendar, MarketEvent
from tests.actors.test_ams import RESERVE, an_activation
from tests.domain.market_examples import DELIVERY, NOW, a_bid, an_offer

T = datetime(2016, 6, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def message(number, sent_min=0, body=None, sender="a"):
    moment = T + timedelta(minutes=sent_min)
    return Message(
        id=f"{sender}-{number}", sender=sender, receiver="b", sent_at=moment, body=body or InformationObject(id="x")
    )


def inbox(**options):
    out = Outbox("b")
    out.begin(T)
    return Inbox(out, **options), out


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 8), max_size=40), st.integers(1, 5))
def test_each_message_passes_once_in_order_of_arrival(numbers, size):
    box, _ = inbox()
    batches = [numbers[k : k + size] for k in range(0, len(numbers), size)]
    passed = [each.id for batch in batches for each in box.fresh(T, [message(number) for number in batch])]
    assert passed == [f"a-{number}" for number in dict.fromkeys(numbers)]
    assert box.repeated == len(numbers) - len(passed)


def signal(target, number):
    return ControlSignal(id=f"s{number}", target=target, start=T, stop=T + HOUR, p_mw=float(number))


@given(st.permutations(range(6)))
def test_the_newest_set_point_of_each_target_wins_whatever_the_order(order):
    box, out = inbox()
    passed = [
        each.body.p_mw
        for number in order
        for each in box.fresh(T, [message(number, number, signal("battery", number))])
    ]
    assert passed == sorted(passed)
    assert passed[-1] == 5.0
    assert box.overtaken == len(order) - len(passed) == len(out.outcome().records)
    assert box.fresh(T, [message(9, 0, signal("other", 0)), message(9, 0, signal("battery", 0), sender="c")])


def test_an_older_forecast_does_not_replace_a_newer_one():
    box, _ = inbox()

    def weather(number, issued_min):
        return WeatherForecast(
            id=f"w{number}", issued_at=T + timedelta(minutes=issued_min), start=T, step_s=3600, temperature_c=(1.0,),
            irradiance_w_per_m2=(0.0,), wind_m_per_s=(2.0,),
        )  # fmt: skip

    assert len(box.fresh(T, [message(1, 0, weather(1, 10)), message(2, 1, weather(2, 5))])) == 1
    assert len(box.fresh(T, [message(3, 2, weather(3, 10))])) == 1


def test_a_restarted_sender_that_counts_from_one_again_is_heard():
    box, _ = inbox()
    assert box.fresh(T, [message(1)])
    assert box.fresh(T + HOUR, [message(1, 60)])
    assert not box.fresh(T + HOUR, [message(1)])


def test_memory_is_bounded():
    box, _ = inbox(capacity=10)
    for number in range(100):
        box.fresh(T, [message(number, number, signal(f"r{number}", number))])
    assert len(box._seen) == 10
    box.fresh(T + timedelta(days=3), [message(1000)])
    assert (len(box._seen), len(box._newest)) == (1, 0)


def step(actor, now, *bodies, sender, count=[0]):  # noqa: B006
    count[0] += 1
    sent = [
        Message(id=f"{sender}-{count[0]}-{k}", sender=sender, receiver=actor.name, sent_at=now, body=body)
        for k, body in enumerate(bodies)
    ]
    actor.step(now, sent, None)
    return actor.step(now, sent, None)  # every message arrives a second time


def test_a_repeated_bid_buys_once():
    calendar = MarketCalendar()
    fmp = Fmp(calendar=calendar)
    step(fmp, NOW, an_offer(), sender="ams")
    half = Purchase(offer=an_offer().id, p_min_mw=-0.5, p_max_mw=0.0)
    step(fmp, NOW + HOUR, a_bid(purchases=(half,)), sender="dms")
    outcome = fmp.step(calendar.next_event(NOW, MarketEvent.CLEAR, Session.DAY_AHEAD), (), None)
    reserves = [each.body for each in outcome.messages if isinstance(each.body, ReserveNotification)]
    assert len({reserve.id for reserve in reserves}) == 1


def test_a_repeated_activation_is_neither_passed_twice_nor_refused():
    ams = Ams(calendar=MarketCalendar())
    step(ams, DELIVERY - HOUR, RESERVE, sender="fmp")
    sent = Message(id="dms-1", sender="dms", receiver="ams", sent_at=DELIVERY, body=an_activation())
    found = [body.body for _ in range(3) for body in ams.step(DELIVERY, (sent,), None).messages]
    assert [type(body) for body in found] == [ActivationNotification]
    assert not any(isinstance(body, ActivationRefusal) for body in found)


def test_a_reserve_told_twice_keeps_its_calls():
    book = Book()
    book.add(RESERVE)
    book.call(an_activation(), DELIVERY, -0.5, 0.0)
    book.add(RESERVE)
    assert book.asked(DELIVERY) == (-0.5, 0.0)


@pytest.mark.parametrize("first", [0, 1])
def test_activations_reach_the_microgrid_in_the_order_they_were_decided(first):
    ams = Ams(calendar=MarketCalendar())
    ams.step(DELIVERY - HOUR, [Message(id="fmp-1", sender="fmp", receiver="ams", sent_at=DELIVERY, body=RESERVE)], None)
    calls = [
        Message(id=f"dms-{k}", sender="dms", receiver="ams", sent_at=DELIVERY + timedelta(seconds=k),
                body=an_activation(f"dms/activation/{k}", p_mw=-0.1 * (k + 1)))
        for k in range(2)
    ]  # fmt: skip
    later = DELIVERY + timedelta(seconds=5)
    passed = [
        each.body.p_mw
        for call in (calls[first], calls[1 - first])
        for each in ams.step(later, [call], None).messages
        if isinstance(each.body, ActivationNotification)
    ]
    assert passed[-1] == -0.2
