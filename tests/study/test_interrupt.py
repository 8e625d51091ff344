"""Ctrl-C between two steps."""

import signal
import threading
from datetime import UTC, datetime

import pytest

from heila_mosaik.study.interrupt import interruptible

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def test_without_ctrl_c_nothing_changes():
    before, seen = signal.getsignal(signal.SIGINT), []
    with interruptible(seen.append) as tick:
        tick(NOW)
    assert seen == [NOW]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_stops_at_the_next_tick():
    before, seen = signal.getsignal(signal.SIGINT), []

    def run():
        with interruptible(seen.append) as tick:
            signal.raise_signal(signal.SIGINT)
            tick(NOW)
            seen.append("never")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert seen == [NOW]
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_that_the_run_swallowed_is_not_lost():
    with pytest.raises(KeyboardInterrupt), interruptible(None):
        signal.raise_signal(signal.SIGINT)


def test_second_ctrl_c_does_not_wait():
    def body():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("the second signal must raise at once")

    with pytest.raises(KeyboardInterrupt), interruptible(None):
        body()


def test_a_waiting_run_is_stopped_without_a_step():
    ticks = []

    def wait(stop):
        stop(None)
        signal.raise_signal(signal.SIGINT)
        stop(None)
        pytest.fail("the run must have been left")

    with pytest.raises(KeyboardInterrupt), interruptible(ticks.append) as stop:
        wait(stop)
    assert ticks == []


def test_outside_the_main_thread_the_tick_is_left_alone():
    found = []

    def work():
        with interruptible(found.append) as tick:
            tick("now")
            tick(None)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == ["now"]
