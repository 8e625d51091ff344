"""The microgrid operator watches with a plain Redis client of its own."""

import asyncio
import json
import shutil
import subprocess
from datetime import timedelta

import pytest
import redis

from heila_mosaik.bridges.broker import free_port
from heila_mosaik.bridges.clock import ManualClock
from heila_mosaik.bridges.host import LiveHost
from heila_mosaik.bridges.mirror import RedisMirror
from heila_mosaik.bridges.store import Store
from heila_mosaik.domain.information import ActivationNotification, ControlSignal
from tests.bridges_live.lab import START, until

REDIS = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed (apt-get install redis-server)")


class Server:
    def __init__(self):
        self.port, self.process = free_port(), None
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def up(self):
        self.process = subprocess.Popen(
            [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"],
            stdout=subprocess.DEVNULL,
        )
        self.client = redis.Redis.from_url(self.url, decode_responses=True)
        until(self._answers)

    def _answers(self):
        try:
            return self.client.ping()
        except redis.ConnectionError:
            return False

    def down(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def server():
    server = Server()
    server.up()
    yield server
    server.down()


@pytest.fixture
def mirrored(server, fresh, tmp_path):
    store = Store(tmp_path / "a.db", "mgms_molkerei", durable=False)
    mirror = RedisMirror(url=server.url, actor="mgms_molkerei", whole=store.watched, retry_s=0.05)
    host = LiveHost(actor=fresh("mgms_molkerei"), store=store, clock=ManualClock(START), send=lambda sent: None,
                    watch=mirror.watch)  # fmt: skip
    mirror.start()
    yield host, mirror
    mirror.stop()
    store.close()


async def follow(host, steps):
    for now, inbox, measurements, _ in steps:
        for message in inbox:
            host.accept(message)
        await host.take(now, host.store.pending(), measurements)


def said(steps, kind):
    given = [message.body for _, inbox, *_ in steps for message in inbox]
    told = [message.body for *_, outcome in steps for message in outcome.messages]
    return [body for body in [*given, *told] if isinstance(body, kind)]


def test_control_values_are_watched_with_any_client(server, mirrored, tapes):
    host, mirror = mirrored
    steps = tapes["mgms_molkerei"].steps
    listener = server.client.pubsub()
    listener.subscribe("heila:mgms_molkerei:control")
    asyncio.run(follow(host, steps))
    signals, calls = said(steps, ControlSignal), said(steps, ActivationNotification)
    assert signals
    assert calls
    until(lambda: mirror.written == len(steps))
    shown = server.client.hgetall("heila:mgms_molkerei:control")
    for target in {signal.target for signal in signals}:
        last = [signal for signal in signals if signal.target == target][-1]
        assert json.loads(shown[target])["p_mw"] == last.p_mw
        assert json.loads(shown[target])["cause"] == last.cause
    active = server.client.hgetall("heila:mgms_molkerei:activation")
    assert {json.loads(value)["reserve"] for value in active.values()} == {call.reserve for call in calls}
    published = []
    while (heard := listener.get_message(timeout=0.2)) is not None:
        published.append(heard)
    assert len([each for each in published if each["type"] == "message"]) >= len({s.target for s in signals})
    kinds = {entry["kind"] for _, entry in server.client.xrange("heila:mgms_molkerei:messages")}
    assert {"ActivationNotification", "ControlSignal", "VerificationNotification"} <= kinds


def test_redis_may_be_away(server, mirrored, tapes):
    host, mirror = mirrored
    steps = tapes["mgms_molkerei"].steps
    asyncio.run(follow(host, steps[:50]))
    until(lambda: mirror.written > 0)
    server.down()
    asyncio.run(follow(host, steps[50:]))
    until(lambda: mirror.away)
    assert host.state.step == len(steps)
    server.up()  # empty: it kept nothing
    until(lambda: not mirror.away)

    def whole():
        return {
            f"{group}/{name}": value
            for group in ("control", "activation", "reserve", "plan", "measurement", "verification")
            for name, value in server.client.hgetall(f"heila:mgms_molkerei:{group}").items()
        }

    expected = {name: value for name, value in host.store.watched().items() if not name.startswith("refusal/")}
    until(lambda: whole() == expected)


def test_what_the_store_forgets_goes_from_the_mirror(server, mirrored, tapes):
    host, mirror = mirrored
    steps = tapes["mgms_molkerei"].steps
    asyncio.run(follow(host, steps[:60]))
    until(lambda: server.client.hgetall("heila:mgms_molkerei:plan"))
    host.store.prune(steps[59][0] + timedelta(days=40), timedelta(days=30), 0.0)
    assert host.store.watched() == {}
    mirror._behind = True
    until(lambda: not server.client.hgetall("heila:mgms_molkerei:plan"))
    assert server.client.xlen("heila:mgms_molkerei:messages") > 0
