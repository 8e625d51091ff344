"""One contract for both backends against the virtual laboratory over loopback."""

import asyncio
import logging
import time
from datetime import UTC, datetime

import pytest

from heila_mosaik.bridges.audit import AuditLog, verify_audit
from heila_mosaik.bridges.iec104.backends import Backend
from heila_mosaik.bridges.iec104.bridge import Iec104Bridge
from heila_mosaik.bridges.iec104.c104_client import C104Client
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, Received
from heila_mosaik.bridges.iec104.hat_client import HatClient
from heila_mosaik.bridges.lab.faults import Fault
from heila_mosaik.bridges.lab.relay import BaySettings
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.ledger import Entry, State
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.safety_types import Phase, Reason, Refusal, SafetySettings
from heila_mosaik.domain.quantities import Quality

POINTS = example_points()
BREAKER, SETPOINT = "breaker_command", "der_p_setpoint"
BACKENDS = {"hat": HatClient, "c104": C104Client}


class Rig:
    """Laboratory, bridge and everything the bridge told."""

    def __init__(self, lab, bridge, notices, client):
        self.lab, self.bridge, self.notices, self.client = lab, bridge, notices, client

    async def until(self, condition, limit=5.0):
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, "\n".join(
                map(str, [n for n in self.notices if not isinstance(n, Received)][-9:])
            )
            await asyncio.sleep(0.005)

    def closed(self):
        return self.lab.bay.closed

    async def open(self):
        def fresh():
            told = len(self.bridge.readings) == len(POINTS.monitored)
            return self.bridge.status.link is LinkState.OPEN and told and self.lab.clients == 1

        await self.until(fresh, 10.0)

    async def arm(self, *names):
        await self.open()
        self.bridge.study_alive()
        self.bridge.arm(names or (BREAKER, SETPOINT), 60.0, who="tester")

    def last(self, name):
        return [order for order in self.bridge.orders if order.name == name][-1]

    def reasons(self):
        return [notice.reason for notice in self.notices if isinstance(notice, Refusal)]

    async def live(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.bridge.study_alive()
            await asyncio.sleep(0.02)


@pytest.fixture(params=[("hat", "hat"), ("c104", "hat"), ("hat", "c104"), ("c104", "c104")], ids="-".join)
def play(request, tmp_path):
    """Plays a script with a client of one backend against a laboratory of another."""
    client_kind, server_kind = request.param

    def run(script, bay=None, **link):
        async def main():
            notices = []
            async with VirtualLab(POINTS, StationSettings(backend=Backend(server_kind)), bay) as lab:
                given = {"answer_s": 0.4, "reconnect_s": 0.05, "refresh_s": 0.3, **link}
                client = BACKENDS[client_kind](LinkSettings(host="127.0.0.1", port=lab.port, **given), POINTS)
                safety = SafetySettings(study_timeout_s=1.5, watchdog_period_s=0.1)
                with AuditLog(tmp_path / "audit.jsonl") as audit:
                    async with Iec104Bridge(
                        POINTS, client, audit, who="study", safety=safety, readback_timeout_s=0.8, notify=notices.append
                    ) as bridge:
                        await script(Rig(lab, bridge, notices, client))

        logging.getLogger("heila_mosaik").setLevel(logging.CRITICAL)
        try:
            asyncio.run(asyncio.wait_for(main(), 30.0))
        finally:
            logging.getLogger("heila_mosaik").setLevel(logging.NOTSET)
        assert verify_audit(tmp_path / "audit.jsonl") == []

    return run


def test_dry_run_reads_values_with_unit_quality_and_time_and_orders_nothing(play):
    async def script(rig):
        await rig.open()
        assert rig.bridge.readings["feeder_p"].value == pytest.approx(rig.lab.bay.measured.p_mw, rel=1e-6)
        assert rig.bridge.readings["feeder_ul1"].attribute == "feeder.l1.vm_pu"
        rig.bridge.study_alive()
        rig.bridge.request(SETPOINT, 0.05)
        assert rig.reasons() == [Reason.NOT_ARMED]
        rig.lab.bay.source_pu = 1.03
        await rig.until(lambda: rig.bridge.readings["feeder_ul1"].value == pytest.approx(1.03, abs=1e-4))
        spontaneous = [n for n in rig.notices if isinstance(n, Received) and n.cause == 3]
        assert spontaneous
        assert all(n.device_time is not None for n in spontaneous)
        assert rig.lab.orders == []

    play(script)


def test_set_point_ramps_and_is_read_back(play):
    async def script(rig):
        await rig.arm(SETPOINT)
        rig.bridge.request(SETPOINT, -0.03, cause="plan 7")
        await rig.until(lambda: rig.last(SETPOINT).state is State.CONFIRMED and rig.lab.bay.setpoint["p"] < -0.0299)
        written = [value for name, value in rig.lab.orders if name == SETPOINT]
        assert written == sorted(written, reverse=True)

    play(script)


def test_breaker_operates_once_and_is_read_back(play):
    async def script(rig):
        await rig.arm(BREAKER)
        rig.bridge.request(BREAKER, 0.0, cause="activation 1")
        await rig.until(lambda: rig.last(BREAKER).state is State.CONFIRMED)
        assert rig.closed() is False
        assert rig.lab.bay.operations == 1
        await rig.until(lambda: rig.bridge.readings["feeder_il1"].value == 0.0)

    play(script)


def test_negative_confirmation_is_refused(play):
    async def script(rig):
        await rig.arm()
        await rig.lab.fault(Fault.NEGATIVE, 0.3)
        rig.bridge.request(SETPOINT, 0.05)
        await rig.until(lambda: rig.last(SETPOINT).state is State.REFUSED)
        assert rig.lab.bay.setpoint["p"] == 0.0

    play(script)


def test_no_confirmation_is_success_by_read_back_and_stuck_breaker_is_unknown_never_retried(play):
    async def script(rig):
        await rig.arm()
        await rig.lab.fault(Fault.NO_CONFIRMATION, 0.7)
        rig.bridge.request(SETPOINT, 0.01)
        await rig.until(lambda: rig.last(SETPOINT).state is State.CONFIRMED)
        await rig.live(0.75)
        await rig.lab.fault(Fault.STUCK_BREAKER, 1.5)
        rig.bridge.request(BREAKER, 0.0)
        await rig.live(1.0)
        assert rig.last(BREAKER).state is State.UNKNOWN
        rig.bridge.request(BREAKER, 0.0)
        await rig.live(0.2)
        assert [order for order in rig.lab.orders if order[0] == BREAKER] == [(BREAKER, 0.0)]
        assert rig.reasons()[-1] in (Reason.ORDER_PENDING, Reason.TOO_FREQUENT)
        rig.bridge.resolve(rig.bridge.status.unknown[0].id, who="tester")

    play(script)


def test_lost_link_falls_back_within_its_time_after_reconnecting(play):
    async def script(rig):
        await rig.arm()
        await rig.lab.fault(Fault.LOST_TCP, 0.3)
        await rig.until(lambda: rig.bridge.status.phases[BREAKER] is Phase.RELEASING)
        assert rig.bridge.status.link is not LinkState.OPEN
        rig.bridge.request(BREAKER, 1.0)
        assert rig.reasons()[-1] is Reason.FALLING_BACK
        await rig.until(lambda: rig.closed() is False)
        await rig.until(lambda: rig.bridge.status.link is LinkState.OPEN)

    play(script)


def test_silent_study_opens_the_breaker_and_takes_the_set_point_back(play):
    async def script(rig):
        await rig.arm()
        rig.bridge.request(SETPOINT, -0.02)
        await rig.until(lambda: rig.lab.bay.setpoint["p"] < -0.019)
        await rig.until(lambda: rig.closed() is False)
        await rig.until(lambda: rig.last(BREAKER).cause == "fallback")
        assert rig.bridge.status.phases[BREAKER] is Phase.DISARMED
        # An open breaker keeps the set point from being written: no use to wait for its fallback.
        await rig.bridge.stop(limit_s=0.1)

    play(script)


def test_emergency_stop_is_latched_and_slow_gateway_does_not_hold_it(play):
    async def script(rig):
        await rig.arm()
        rig.bridge.emergency_stop(who="tester")
        await rig.until(lambda: rig.closed() is False)
        rig.bridge.request(BREAKER, 1.0)
        assert rig.reasons()[-1] is Reason.EMERGENCY_STOPPED
        rig.bridge.reset(who="tester")
        assert rig.bridge.status.phases[BREAKER] is Phase.DISARMED

    play(script)


def test_slow_gateway_and_wrong_quality_and_local_mode(play):
    async def script(rig):
        await rig.arm()
        await rig.lab.fault(Fault.SLOW, 0.4, 0.15)
        rig.bridge.request(SETPOINT, 0.01)
        await rig.live(0.5)
        assert rig.last(SETPOINT).state is State.CONFIRMED
        await rig.lab.fault(Fault.WRONG_QUALITY, 0.4)
        await rig.until(lambda: rig.bridge.readings["breaker_status"].quality is Quality.INVALID, 2.0)
        rig.bridge.study_alive()
        rig.bridge.request(SETPOINT, 0.02)
        assert rig.reasons()[-1] is Reason.EQUIPMENT_STALE
        await rig.live(0.7)
        await rig.lab.fault(Fault.LOCAL, 0.4)
        await rig.until(lambda: rig.bridge.readings["local_mode"].value == 1.0)
        rig.bridge.study_alive()
        rig.bridge.request(BREAKER, 0.0)
        assert rig.reasons()[-1] is Reason.LOCAL_MODE

    play(script, refresh_s=0.2)


def test_burst_arrives_without_loss_while_the_bridge_keeps_up(play):
    async def script(rig):
        await rig.open()
        before = sum(isinstance(n, Received) and n.cause == 3 for n in rig.notices)
        await rig.lab.fault(Fault.BURST, size=3000)
        await rig.until(lambda: sum(isinstance(n, Received) and n.cause == 3 for n in rig.notices) >= before + 3000, 10)
        assert rig.bridge.status.lost == 0

    play(script, refresh_s=30.0)


def test_frozen_values_leave_an_order_unknown_and_a_clock_jump_makes_nothing_stale(play):
    async def script(rig):
        await rig.arm(BREAKER)
        await rig.lab.fault(Fault.CLOCK_JUMP, 0.5, 3600.0)
        rig.lab.bay.source_pu = 1.02
        await rig.until(lambda: rig.bridge.readings["feeder_ul1"].value == pytest.approx(1.02, abs=1e-4))
        await rig.lab.fault(Fault.FROZEN, 1.1)
        rig.bridge.study_alive()
        rig.bridge.request(BREAKER, 0.0)
        assert not rig.reasons()
        await rig.live(1.0)
        assert rig.last(BREAKER).state is State.UNKNOWN
        assert rig.closed() is False  # it was carried out: why UNKNOWN is never sent again

    play(script)


def test_restart_of_the_station_keeps_the_bridge(play):
    async def script(rig):
        await rig.open()
        await rig.lab.fault(Fault.RESTART, 0.2)
        await rig.until(lambda: rig.bridge.status.link is not LinkState.OPEN)
        await rig.open()
        assert not [n for n in rig.notices if isinstance(n, Entry)]

    play(script)


def test_bridge_that_stops_lets_the_relays_watchdog_act(play):
    async def script(rig):
        await rig.arm()
        await rig.live(0.3)
        assert rig.lab.bay.watchdog_ok
        for task in rig.bridge._tasks:  # as when the loop is killed: no fallback order, no sign of life
            task.cancel()
        await rig.until(lambda: rig.closed() is False)
        assert not rig.lab.bay.watchdog_ok
        assert [order for order in rig.lab.orders if order[0] == BREAKER] == []

    play(script, bay=BaySettings(watchdog_s=0.5))


def test_events_of_a_time_without_client_are_kept_and_come_with_their_own_time(play):
    async def script(rig):
        await rig.open()
        await rig.lab.fault(Fault.LOST_TCP, 0.6)
        await rig.until(lambda: rig.lab.clients == 0)
        rig.notices.clear()
        rig.lab.bay.source_pu = 1.04
        await asyncio.sleep(0.1)
        changed_at = datetime.now(UTC)
        await rig.open()

        def kept():
            return [n for n in rig.notices if isinstance(n, Received) and (n.cause, n.point.name) == (3, "feeder_ul1")]

        await rig.until(kept)
        events = kept()
        assert datetime.fromisoformat(events[0].device_time) <= changed_at

    play(script)
