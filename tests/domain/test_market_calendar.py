from datetime import UTC, datetime, time, timedelta

import pytest

from heila_mosaik.domain.information import Session
from heila_mosaik.domain.market import MarketCalendar, MarketEvent
from heila_mosaik.errors import ProblemsError

WINTER = datetime(2024, 1, 15, 12, 0, tzinfo=UTC)


def test_day_ahead_events_follow_local_time_through_daylight_saving():
    calendar = MarketCalendar()
    assert calendar.next_event(WINTER, MarketEvent.GATE, Session.DAY_AHEAD) == datetime(2024, 1, 15, 16, 30, tzinfo=UTC)
    summer = datetime(2024, 7, 15, 12, 0, tzinfo=UTC)
    assert calendar.next_event(summer, MarketEvent.GATE, Session.DAY_AHEAD) == datetime(2024, 7, 15, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(("day", "hours"), [((2024, 1, 15), 24), ((2024, 3, 30), 23), ((2024, 10, 26), 25)])
def test_day_ahead_window_is_the_next_local_day(day, hours):
    window = MarketCalendar().delivery_window(Session.DAY_AHEAD, datetime(*day, 15, 0, tzinfo=UTC))
    assert window.count == hours
    assert window.start == datetime(*day, 22 if day[1] != 10 else 21, 0, tzinfo=UTC)


def test_next_event_is_strictly_later_and_takes_the_earliest_session():
    calendar = MarketCalendar()
    gate = calendar.next_event(WINTER, MarketEvent.GATE, Session.DAY_AHEAD)
    assert calendar.next_event(gate, MarketEvent.GATE, Session.DAY_AHEAD) == gate + timedelta(days=1)
    assert calendar.next_event(WINTER, MarketEvent.CLEAR) == WINTER + timedelta(minutes=32)


def test_due_returns_both_sessions_at_one_moment_once():
    calendar = MarketCalendar()
    moment = datetime(2024, 1, 15, 16, 20, tzinfo=UTC)
    assert calendar.due(None, moment, MarketEvent.OFFERS) == (
        (moment, Session.DAY_AHEAD),
        (moment, Session.INTRADAY),
    )
    assert calendar.due(moment, moment + timedelta(minutes=59), MarketEvent.OFFERS) == ()
    assert len(calendar.due(moment, moment + timedelta(days=1), MarketEvent.OFFERS)) == 25


def test_intraday_products_begin_at_least_the_lead_after_clearing_and_inside_their_gate():
    calendar = MarketCalendar()
    window = calendar.delivery_window(Session.INTRADAY, WINTER + timedelta(minutes=20))
    assert window.start == WINTER + timedelta(hours=2)
    assert window.stop == WINTER + timedelta(hours=5)
    assert calendar.gate(Session.INTRADAY, window.start) == WINTER + timedelta(hours=1)
    quarter = MarketCalendar(delivery_s=900, intraday_horizon_s=900).delivery_window(Session.INTRADAY, WINTER)
    assert quarter.start == WINTER + timedelta(minutes=105)


def test_gate_of_day_ahead_products_is_the_day_before():
    calendar = MarketCalendar()
    for hour in (22, 40):
        start = datetime(2024, 1, 15, tzinfo=UTC) + timedelta(hours=hour)
        assert calendar.gate(Session.DAY_AHEAD, start) == datetime(2024, 1, 15, 16, 30, tzinfo=UTC)


def test_contradictions_are_reported_together():
    with pytest.raises(ProblemsError) as caught:
        MarketCalendar(
            zone="Mars/Olympus", offers_at=time(19, 0), intraday_bid_minute=10, delivery_s=7000, intraday_lead_s=-1
        )
    text = str(caught.value)
    for part in ("market.zone", "market.day_ahead_gate", "market.intraday_bid_minute", "delivery_s", "intraday_lead_s"):
        assert part in text


def test_intraday_can_be_switched_off():
    calendar = MarketCalendar(intraday=False)
    assert calendar.sessions == (Session.DAY_AHEAD,)
    with pytest.raises(ValueError, match="intraday"):
        calendar.next_event(WINTER, MarketEvent.CLEAR, Session.INTRADAY)
