"""What must not get lost: cut and slow links, a full disk, a peer that dies; every message ends with a stated fate."""

import asyncio
import time
from datetime import timedelta

import pytest

from heila_mosaik.bridges.broker import find_mosquitto
from heila_mosaik.bridges.clock import ManualClock
from heila_mosaik.bridges.host import LiveHost
from heila_mosaik.bridges.store import Store, StoreError
from heila_mosaik.domain.information import ActivationNotification, ActivationRefusal, ControlSignal
from tests.bridges_live.lab import START, Lab, Link, call, fates, reserve, until

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


@pytest.fixture
def lab(tmp_path):
    with Lab(tmp_path, ("ams", "mgms"), kind="mosquitto") as lab:
        lab.link = Link(lab.broker.port)
        yield lab
        lab.link.close()


def pair(lab):
    """AMS at the broker, MGMS behind a link."""
    ams, mgms = lab.run("ams", partners=("mgms",)), lab.run("mgms", partners=("ams",), through=lab.link.port)
    ams.say("mgms", reserve(0))
    until(lambda: mgms.got == ["r0"] and fates(ams.node) == ["delivered"])
    return ams, mgms


def test_a_link_that_is_cut_without_a_sign_is_noticed_and_everything_arrives_once(lab):
    ams, mgms = pair(lab)
    lab.link.cut = True
    ams.say("mgms", *(reserve(number) for number in range(1, 6)))
    mgms.say("ams", *(reserve(number) for number in range(10, 13)))
    # longer than both ends' keep-alive of 2 s allows
    until(lambda: ams.node.mqtt.peers.get("mgms") is False)
    until(lambda: not mgms.node.mqtt.connected)
    assert mgms.got == ["r0"]
    lab.link.cut = False
    until(lambda: len(mgms.got) == 6, 30)
    until(lambda: len(ams.got) == 3, 30)
    assert sorted(mgms.got) == [f"r{number}" for number in range(6)]
    until(lambda: fates(ams.node) == ["delivered"] * 6, 30)
    until(lambda: fates(mgms.node) == ["delivered"] * 3, 30)


def test_a_call_that_the_cut_outlasts_is_not_executed_and_both_sides_know(lab):
    ams, mgms = pair(lab)
    lab.link.cut = True
    now = ams.node.host.now()
    ams.say("mgms", call(1, start=now, stop_s=3.0))
    until(lambda: ams.got == ["a1/undelivered"])
    until(lambda: fates(ams.node) == ["delivered", "expired"])
    assert "not confirmed before" in fates(ams.node, column="reason")[1]
    lab.link.cut = False
    until(lambda: ams.node.mqtt.peers.get("mgms"), 30)
    ams.say("mgms", reserve(2))
    until(lambda: "r2" in mgms.got, 30)
    # what lay in the pipes may still come, but only after its end, when an MGMS refuses it (next test)
    end = now + timedelta(seconds=3)
    taken = [step.now for step in mgms.node.store.steps(0) for each in step.inbox if each.message.body.id == "a1"]
    assert all(at >= end for at in taken)
    assert len(taken) <= 1


def test_a_call_that_comes_after_its_end_is_refused_with_the_reason_and_not_executed(tapes, fresh, tmp_path):
    steps = tapes["mgms_molkerei"].steps
    at, message = next((k, m) for k, (_, inbox, *_) in enumerate(steps) for m in inbox
                       if isinstance(m.body, ActivationNotification))  # fmt: skip
    sent = []
    with Store(tmp_path / "a.db", "mgms_molkerei", durable=False) as store:
        clock = ManualClock(START)
        host = LiveHost(actor=fresh("mgms_molkerei"), store=store, clock=clock, send=sent.extend)

        async def story():
            for now, inbox, measurements, _ in steps[:at]:
                for each in inbox:
                    host.accept(each)
                await host.take(now, store.pending(), measurements)
            sent.clear()
            host.accept(message)
            await host.take(message.body.stop, store.pending())

        asyncio.run(story())
    bodies = [each.message.body for each in sent]
    assert not any(isinstance(body, ControlSignal) and body.cause == message.body.reserve for body in bodies)
    (refusal,) = [body for body in bodies if isinstance(body, ActivationRefusal)]
    assert "expired" in refusal.reason


def test_a_slow_link_only_takes_longer(lab):
    ams, mgms = pair(lab)
    lab.link.delay_s = 0.15
    ams.say("mgms", *(reserve(number) for number in range(1, 31)))
    until(lambda: len(mgms.got) == 31, 60)
    assert mgms.got == [f"r{number}" for number in range(31)]
    until(lambda: fates(ams.node) == ["delivered"] * 31, 60)
    assert sorted({message.id for message in mgms.actor.got}) == sorted(message.id for message in mgms.actor.got)


def test_a_full_disk_at_the_receiver_holds_messages_back(lab):
    ams, mgms = pair(lab)
    honest, full = mgms.node.reception.accept, [True]

    def accept(message, **more):
        if full[0]:
            raise StoreError(mgms.node.store.path, "database or disk is full")
        return honest(message, **more)

    mgms.node.reception.accept = accept
    ams.say("mgms", *(reserve(number) for number in range(1, 4)))
    time.sleep(0.5)
    assert mgms.got == ["r0"]
    assert "delivered" not in fates(ams.node)[1:], "nothing is confirmed that was not stored"
    full[0] = False
    until(lambda: mgms.got == ["r0", "r1", "r2", "r3"], 30)
    until(lambda: fates(ams.node) == ["delivered"] * 4, 30)


def test_a_later_call_is_not_overtaken_by_the_repetition_of_an_earlier_one(lab):
    ams, mgms = pair(lab)
    lab.broker.kill()
    now = ams.node.host.now()
    ams.say("mgms", call(1, start=now, reserve="r0"))
    until(lambda: ams.node.courier.waiting == 1)
    ams.say("mgms", call(2, start=now, reserve="r0"))
    until(lambda: fates(ams.node)[1:] == ["expired", "waiting"])
    assert "replaced by a later message" in fates(ams.node, column="reason")[1]
    lab.broker.start()
    until(lambda: "a2" in mgms.got, 30)
    time.sleep(0.5)
    assert "a1" not in mgms.got
