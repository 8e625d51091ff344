from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.realtime import Overrun, Schedule, TooSlowError, least_period_s, worst_lag_s

BUSY = st.lists(st.floats(0.0, 5.0), min_size=1, max_size=40)


def _drive(schedule: Schedule, busy: list[float]):
    """Play a study on a clock of our own: wait for the deadline, be busy, go on."""
    now, timings = 0.0, []
    schedule.open(now)
    for step, takes in enumerate(busy):
        now = max(now, schedule.due_s(step))
        schedule.begin(step, now)
        now += takes
        timings.append(schedule.end(now))
    return timings


@given(BUSY, st.floats(0.1, 3.0))
def test_late_steps_move_no_deadline(busy, period):
    schedule = Schedule(period, overrun=Overrun.CATCH_UP)
    timings = _drive(schedule, busy)
    assert [schedule.due_s(step) for step in range(5)] == [step * period for step in range(5)]
    # Lindley's recursion of a queue with one server and regular arrivals says how late each step begins.
    lag = 0.0
    for timing, takes in zip(timings, busy, strict=True):
        assert timing.lag_s == pytest.approx(lag, abs=1e-9)
        lag = max(0.0, lag + takes - period)
    assert max(t.lag_s for t in timings) == pytest.approx(worst_lag_s(busy[:-1], period), abs=1e-9)


@given(BUSY, st.floats(0.1, 3.0))
def test_slipping_never_begins_more_than_a_period_late_after_the_slip_and_adds_up(busy, period):
    schedule = Schedule(period, overrun=Overrun.SLIP)
    timings = _drive(schedule, busy)
    assert schedule.slipped_s == pytest.approx(sum(t.slipped_s for t in timings))
    for timing in timings:
        assert (timing.slipped_s > 0) == (timing.lag_s > period)


@given(BUSY, st.floats(0.1, 3.0))
def test_stopping_stops_exactly_when_a_step_is_more_than_a_period_late(busy, period):
    late = worst_lag_s(busy[:-1], period) > period
    schedule = Schedule(period, overrun=Overrun.STOP)
    if late:
        with pytest.raises(TooSlowError) as caught:
            _drive(schedule, busy)
        assert caught.value.lag_s > period
        assert "--overrun" in str(caught.value)
    else:
        _drive(schedule, busy)


@given(BUSY)
def test_the_least_period_is_enough_and_no_smaller_one_is(busy):
    period = least_period_s(busy)
    assert worst_lag_s(busy, period) <= period + 1e-9
    if period > 0.01:
        assert worst_lag_s(busy, 0.99 * period) > 0.99 * period


def test_a_missed_deadline_is_counted_without_stopping():
    timings = _drive(Schedule(1.0), [1.5, 0.1, 0.1])
    assert [t.missed for t in timings] == [True, False, False]
    assert [t.lag_s for t in timings] == [0.0, 0.5, 0.0]


def test_deadlines_do_not_creep():
    schedule = Schedule(0.1, start_s=1e6)
    assert schedule.due_s(10_000_000) == 1e6 + 1e6


def test_no_period_no_schedule():
    with pytest.raises(ValueError, match="period_s"):
        Schedule(0.0)
