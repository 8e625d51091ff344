"""The bridge alone, over a link that misbehaves in process."""

import asyncio
import logging
import re
import time
from pathlib import Path

import heila_mosaik
from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.iec104.bridge import Iec104Bridge
from heila_mosaik.bridges.iec104.client import Answer, EventsLost, LinkState, Received, StateChanged
from heila_mosaik.bridges.iec104.events import EventQueue
from heila_mosaik.bridges.ledger import State
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.safety_types import Phase, SafetySettings, Tick
from heila_mosaik.domain.quantities import Quality

POINTS = example_points()
BREAKER = "breaker_command"


class FakeLink:
    def __init__(self):
        self.state, self.lost, self.sent = LinkState.OPEN, 0, []
        self.events, self.answer = EventQueue(100), Answer(positive=True, detail="")
        self.events.put(StateChanged(state=LinkState.OPEN))
        for name, wire in (("breaker_status", 2.0), ("local_mode", 0.0), ("synchronism_ok", 1.0)):
            value = Received(point=POINTS[name], wire=wire, quality=Quality.GOOD, cause=20, device_time=None)
            self.events.put(value)

    @property
    def paths(self):
        return (self.state,)

    def activate(self, active):
        pass

    async def start(self):
        pass

    async def stop(self):
        self.state = LinkState.CLOSED

    async def receive(self):
        return await self.events.get()

    async def order(self, cleared):
        self.sent.append((cleared.point.name, cleared.value))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def play(tmp_path, script, **options):
    async def main():
        link = FakeLink()
        with AuditLog(tmp_path / "audit.jsonl") as audit:
            safety = SafetySettings(study_timeout_s=5.0)
            bridge = Iec104Bridge(POINTS, link, audit, who="t", safety=safety, readback_timeout_s=0.2, **options)
            async with bridge:
                while len(bridge.readings) < 3:
                    await asyncio.sleep(0.005)
                bridge.study_alive()
                bridge.arm((BREAKER,), 60.0, who="t")
                await script(link, bridge)

    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(asyncio.wait_for(main(), 15.0))
    finally:
        logging.disable(logging.NOTSET)
    return (tmp_path / "audit.jsonl").read_text()


async def until(condition):
    end = time.monotonic() + 5.0
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def test_a_link_that_raises_makes_the_order_unknown_and_it_is_sent_once(tmp_path):
    async def script(link, bridge):
        link.answer = RuntimeError("bug in the link")
        bridge.request(BREAKER, 0.0)
        await until(lambda: bridge.orders[-1].state is State.UNKNOWN)
        assert [order for order in link.sent if order[0] == BREAKER] == [(BREAKER, 0.0)]

    assert "unknown" in play(tmp_path, script)


def test_failing_supervision_lets_points_fall_back_and_goes_on(tmp_path):
    async def script(link, bridge):
        healthy, failures = bridge._gate.handle, []

        def broken(event):
            if isinstance(event, Tick) and not failures:
                failures.append(event)
                raise ZeroDivisionError
            return healthy(event)

        bridge._gate.handle = broken
        await until(lambda: failures)
        await until(lambda: (BREAKER, 0.0) in link.sent)
        assert bridge.status.phases[BREAKER] is Phase.DISARMED

    play(tmp_path, script)


def test_a_listener_that_raises_and_a_full_disk_stop_nothing(tmp_path):
    def bad(notice):
        raise KeyError(notice)

    async def script(link, bridge):
        audit = bridge._gate._audit
        healthy = audit.append

        def full(**line):
            raise OSError("no space left on device")

        audit.append = full
        bridge.request(BREAKER, 0.0)
        await asyncio.sleep(0.05)
        assert link.sent == [] or all(name == "watchdog" for name, _ in link.sent)
        assert "no space" in bridge.status.audit_failure
        bridge.emergency_stop(who="t")
        await until(lambda: (BREAKER, 0.0) in link.sent)
        audit.append = healthy

    play(tmp_path, script, notify=bad)


def test_lost_events_are_told_and_written_down(tmp_path):
    told = []

    async def script(link, bridge):
        link.lost = 7
        await until(lambda: EventsLost(count=7, total=7) in told)
        link.lost = 10
        await until(lambda: EventsLost(count=3, total=10) in told)
        assert bridge.status.lost == 10

    assert "7 lost" in play(tmp_path, script, notify=told.append)


def test_only_modules_of_a_process_of_their_own_import_c104_and_nothing_imports_them():
    root = Path(heila_mosaik.__file__).parent
    texts = {path: path.read_text() for path in root.rglob("*.py")}
    own = re.compile(r"^\s*(import|from) c104\b", re.MULTILINE)
    homes = {path.name for path, text in texts.items() if own.search(text)}
    assert homes == {"c104_process.py", "c104_server_process.py"}
    process = re.compile(r"^\s*(import|from) .*c104_(server_)?process", re.MULTILINE)
    assert not [path for path, text in texts.items() if process.search(text)]
