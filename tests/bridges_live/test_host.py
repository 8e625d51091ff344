"""A live host gives the answers the study gave, and goes on after it was killed as if nothing had happened."""

import asyncio
import pickle
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from heila_mosaik.actors.base import Outbox
from heila_mosaik.bridges.clock import ManualClock, PacedClock
from heila_mosaik.bridges.host import HostSettings, LiveHost
from heila_mosaik.bridges.recovery import _read, recover, take_snapshot
from heila_mosaik.bridges.store import Store, StoreError, StoreInUseError, StoreMismatchError
from heila_mosaik.bridges.store_rows import Handing
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    ControlSignal,
    Measurements,
    Message,
)
from heila_mosaik.domain.quantities import Quality, Quantity

START = datetime(2016, 8, 22, 4, tzinfo=UTC)


def run(coroutine):
    return asyncio.run(coroutine)


class Live:
    """A host driven by a tape."""

    def __init__(self, actor, path, every=200, **more):
        self.sent = []
        self.store = Store(path, actor.name, durable=False)
        self.clock = ManualClock(START)
        self.host = LiveHost(
            actor=actor,
            store=self.store,
            clock=self.clock,
            send=self.sent.extend,
            settings=HostSettings(snapshot_every=every, retry_s=0.01),
            **more,
        )
        self.host.recover()

    async def follow(self, steps):
        for now, inbox, measurements, _ in steps:
            self.clock.at = now
            for message in inbox:
                assert self.host.accept(message)
            await self.host.take(now, self.store.pending(), measurements)

    @property
    def messages(self):
        return [each.message for each in self.sent]


def said(steps):
    return [message for *_, outcome in steps for message in outcome.messages]


@pytest.mark.parametrize("name", ["mgms_molkerei", "ams", "fmp", "cems_windhof", "spp"])
def test_both_hosts_give_the_same_messages_for_the_same_inputs(tapes, fresh, tmp_path, name):
    steps = tapes[name].steps
    live = Live(fresh(name), tmp_path / "a.db")
    run(live.follow(steps))
    assert live.messages == said(steps)
    assert all(row.signal.start > live.clock.at for row in live.store.open_controls())
    live.store.close()


@pytest.mark.parametrize("every", [1_000_000, 30])
@pytest.mark.parametrize("name", ["mgms_molkerei", "ams"])
def test_killed_in_the_middle_it_goes_on_as_if_nothing_had_happened(tapes, fresh, tmp_path, name, every):
    steps = tapes[name].steps
    half = len(steps) // 2
    first = Live(fresh(name), tmp_path / "a.db", every)
    run(first.follow(steps[:half]))
    first.store.close()  # no graceful end: nothing but the committed file is left
    second = Live(fresh(name), tmp_path / "a.db", every)
    assert second.host.state.step == half
    assert second.host.state.replayed == (half % every if every < half else half)
    # the outbox still holds what nobody confirmed; the numbers of new messages go on after it
    assert [row.message for row in second.store.outgoing()] == said(steps[:half])
    run(second.follow(steps[half:]))
    assert second.messages == said(steps[half:])
    second.store.close()


def test_a_step_that_was_not_committed_is_taken_again(tapes, fresh, tmp_path):
    steps = tapes["mgms_molkerei"].steps
    at = next(
        k for k, (_, inbox, *_) in enumerate(steps) if any(isinstance(m.body, ActivationNotification) for m in inbox)
    )
    live = Live(fresh("mgms_molkerei"), tmp_path / "a.db")
    run(live.follow(steps[:at]))
    for message in steps[at][1]:
        live.host.accept(message)
    live.store.close()  # killed after it accepted the call, before the step
    again = Live(fresh("mgms_molkerei"), tmp_path / "a.db")
    assert [row.message for row in again.store.pending()] == steps[at][1]
    assert not again.host.accept(steps[at][1][0]), "the partner repeats it: known"
    run(again.host.take(steps[at][0], again.store.pending()))
    assert again.messages == list(steps[at][3].messages)
    assert again.store.pending() == ()
    again.store.close()


def test_full_disk_stops_the_actor_and_nothing_leaves_until_it_can_be_written(tapes, fresh, tmp_path):
    steps = tapes["mgms_molkerei"].steps
    live = Live(fresh("mgms_molkerei"), tmp_path / "a.db")
    run(live.follow(steps[:10]))
    pages = live.store._db.execute("PRAGMA page_count").fetchone()[0]
    live.store._db.execute(f"PRAGMA max_page_count = {pages}")
    live.store._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = list(live.messages)

    async def story():
        with pytest.raises(StoreError, match="full"):
            accept_all(live.host, steps[10:])
        now = steps[10][0]
        task = asyncio.create_task(live.host.take(now, live.store.pending(), big_frame(now)))
        while not live.host.state.failure:
            await asyncio.sleep(0.01)
        assert "full" in live.host.state.failure
        assert live.host.busy()
        assert live.messages == before
        live.store._db.execute("PRAGMA max_page_count = 1000000")
        await task
        assert not live.host.state.failure

    run(story())
    assert live.store.last_step() == 11
    live.store.close()


def accept_all(host, steps):
    for _, inbox, *_ in steps:
        for message in inbox:
            host.accept(message)


def big_frame(now):
    count = 5000
    return Measurements(
        id="frame", source="x", at=now, elements=("other",) * count, quantities=(Quantity.ACTIVE_POWER,) * count,
        values=(0.1,) * count, sigmas=(0.0,) * count, qualities=(Quality.GOOD,) * count, ages_s=(0.0,) * count,
    )  # fmt: skip


def test_stores_of_others_are_refused(tapes, fresh, tmp_path):
    path = tmp_path / "a.db"
    live = Live(fresh("ams"), path)
    run(live.follow(tapes["ams"].steps[:3]))
    with pytest.raises(StoreInUseError, match="another process"):
        Store(path, "ams")
    live.store.close()
    with pytest.raises(StoreMismatchError, match="actor"):
        Store(path, "fmp")
    with pytest.raises(StoreMismatchError, match="settings"):
        Store(path, "ams", settings="other")
    # a journal that comes out differently is no base to go on from
    with Store(path, "ams") as store:
        store._db.execute("UPDATE steps SET digest = 'x' WHERE step = 2")
        with pytest.raises(StoreMismatchError, match=r"step 2 .* differently"):
            recover(fresh("ams"), store)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_snapshot_names_no_code_but_ours(tapes):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    evil = pickle.dumps(Evil())
    with pytest.raises(pickle.UnpicklingError, match=r"builtins\.print"):
        _read(evil)
    # the control room holds a compiled grid: it is brought back from its journal alone
    assert take_snapshot(tapes["dms"].actor) is None
    assert take_snapshot(tapes["spp"].actor) is not None


class Device:
    """Orders what it is told."""

    def __init__(self, name="ied"):
        self.name, self.out = name, Outbox(name)

    def step(self, now, inbox, measurements):
        self.out.begin(now)
        for message in inbox:
            if isinstance(message.body, ControlSignal):
                self.out.control(message.body)
        return self.out.outcome(wake_at=now + timedelta(hours=1))


def order(number, start_min=0, stop_min=10, **what):
    start, stop = START + timedelta(minutes=start_min), START + timedelta(minutes=stop_min)
    body = ControlSignal(id=f"c{number}", target="cb", start=start, stop=stop, **what)
    return Message(id=f"m-{number}", sender="m", receiver="ied", sent_at=START, body=body)


def states(store):
    return [row[0] for row in store._db.execute("SELECT state FROM controls ORDER BY seq")]


def test_set_points_are_handed_over_at_their_time_and_never_after_their_end(tmp_path):
    handed = []
    live = Live(Device(), tmp_path / "a.db", control=handed.append)

    async def story():
        for message in (order(1, 0, p_mw=1.0), order(2, 5, p_mw=2.0), order(3, -20, -10, p_mw=3.0)):
            live.host.accept(message)
        await live.host.take(START, live.store.pending())
        assert [signal.p_mw for signal in handed] == [1.0]
        assert live.host.controls.next_at() == START + timedelta(minutes=5)
        live.host.controls.hand_over(START + timedelta(minutes=5))
        assert [signal.p_mw for signal in handed] == [1.0, 2.0]

    run(story())
    assert states(live.store) == ["done", "done", "expired"]
    live.store.close()


def test_a_breaker_command_that_may_have_been_executed_is_not_repeated(tmp_path):
    class Killed(BaseException):
        pass

    def equipment(signal):
        raise Killed

    live = Live(Device(), tmp_path / "a.db", control=equipment)
    live.host.accept(order(1, closed=False))
    with pytest.raises(Killed):
        run(live.host.take(START, live.store.pending()))
    live.store.close()
    handed = []
    again = Live(Device(), tmp_path / "a.db", control=handed.append)
    again.host.controls.recover(START)
    assert handed == []
    assert states(again.store) == ["unknown"]
    assert again.host.controls.counts[Handing.UNKNOWN] == 1
    again.store.close()


def test_a_set_point_is_handed_over_again_while_it_applies(tmp_path):
    class Killed(BaseException):
        pass

    def equipment(signal):
        raise Killed

    for minute, expected, state in ((5, [1.0], "done"), (10, [], "expired")):
        path = tmp_path / f"{minute}.db"
        live = Live(Device(), path, control=equipment)
        live.host.accept(order(1, p_mw=1.0))
        with pytest.raises(Killed):
            run(live.host.take(START, live.store.pending()))
        live.store.close()
        handed = []
        again = Live(Device(), path, control=handed.append)
        again.host.controls.recover(START + timedelta(minutes=minute))
        assert [signal.p_mw for signal in handed] == expected
        assert states(again.store) == [state]
        again.store.close()


def test_equipment_that_raises_is_recorded_and_the_actor_goes_on(tmp_path):
    def equipment(signal):
        raise RuntimeError("fuse blown")

    live = Live(Device(), tmp_path / "a.db", control=equipment)
    live.host.accept(order(1, p_mw=1.0))
    run(live.host.take(START, live.store.pending()))
    assert live.store._db.execute("SELECT state, reason FROM controls").fetchall() == [
        ("failed", "RuntimeError: fuse blown")
    ]
    live.store.close()


def test_it_runs_on_its_clock_and_stops_gracefully(tmp_path):
    class Ticker(Device):
        def step(self, now, inbox, measurements):
            self.out.begin(now)
            ticks.append(now)
            return self.out.outcome(wake_at=now + timedelta(seconds=30))

    ticks = []
    live = Live(Ticker(), tmp_path / "a.db")
    live.host.clock = PacedClock(simulated=START, wall=datetime.now(UTC), rate=1000.0)

    async def story():
        task = asyncio.create_task(live.host.run())
        while len(ticks) < 6:
            await asyncio.sleep(0.01)
        live.host.measure(big_frame(START))
        await asyncio.sleep(0.05)
        live.host.stop()
        await task

    run(story())
    gaps = [(b - a).total_seconds() for a, b in pairwise(ticks)]
    assert all(gap >= 0 for gap in gaps)
    assert max(gaps[:4]) >= 30.0
    assert live.store.snapshot() is None, "a class of a test module is not ours"
    live.store.close()


def test_an_undelivered_call_comes_back_as_a_refusal(tapes, fresh, tmp_path):
    live = Live(fresh("ams"), tmp_path / "a.db")
    steps = tapes["ams"].steps
    run(live.follow(steps))
    call = next(each for each in live.sent if isinstance(each.message.body, ActivationNotification))
    live.host.returned(call, "the broker was away")
    row = live.store.pending()[-1].message
    assert isinstance(row.body, ActivationRefusal)
    assert "the broker was away" in row.body.reason
    live.sent.clear()
    run(live.host.take(steps[-1][0], live.store.pending()))
    (told,) = live.messages
    assert told.receiver == "dms"
    assert told.body == row.body
    other = replace(call, message=next(m for m in said(steps) if not isinstance(m.body, ActivationNotification)))
    live.host.returned(other, "x")
    assert live.store.pending() == ()
    live.store.close()
