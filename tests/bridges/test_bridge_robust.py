"""Death and nonsense: killed processes, garbage on the wire, and frames read two ways."""

import asyncio
import logging
import math
import signal
import struct
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta

import pytest
from hat.drivers.iec104 import encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.bridges.iec104.c104_client import C104Client
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, Received
from heila_mosaik.bridges.iec104.frames import decode_frame
from heila_mosaik.bridges.iec104.hat_client import HatClient
from heila_mosaik.bridges.iec104.hat_sequence import spread
from heila_mosaik.bridges.lab.faults import Fault
from heila_mosaik.bridges.lab.hat_server import data_message
from heila_mosaik.bridges.lab.relay import BaySettings
from heila_mosaik.bridges.lab.server import INVALID, SPONTANEOUS, Outgoing
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.points import Direction, Point, PointType

POINTS = example_points()


async def until(condition, limit=8.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def quietly(coroutine):
    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(asyncio.wait_for(coroutine, 30.0))
    finally:
        logging.disable(logging.NOTSET)


STUDY = """
import asyncio, sys
from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.iec104.bridge import Iec104Bridge
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, Received
from heila_mosaik.bridges.iec104.{module} import {name}
from heila_mosaik.bridges.point_files import example_points

async def main():
    points = example_points()
    client = {name}(LinkSettings(host="127.0.0.1", port=int(sys.argv[1])), points)
    bridge = Iec104Bridge(points, client, AuditLog(sys.argv[2]), who="study")
    await bridge.start()
    while bridge.status.link is not LinkState.OPEN or len(bridge.readings) < len(points.monitored):
        await asyncio.sleep(0.01)
    bridge.study_alive()
    bridge.arm(("breaker_command", "der_p_setpoint"), 60.0, who="tester")
    bridge.request("der_p_setpoint", -0.02)
    while True:
        bridge.study_alive()
        await asyncio.sleep(0.05)

asyncio.run(main())
"""


@pytest.mark.parametrize(("module", "name"), [("hat_client", "HatClient"), ("c104_client", "C104Client")])
def test_killed_process_is_noticed_by_the_relays_watchdog(tmp_path, module, name):
    async def main():
        async with VirtualLab(POINTS, bay=BaySettings(watchdog_s=1.2)) as lab:
            code = textwrap.dedent(STUDY.format(module=module, name=name))
            study = await asyncio.create_subprocess_exec(
                sys.executable, "-c", code, str(lab.port), str(tmp_path / "audit.jsonl")
            )
            try:
                await until(lambda: lab.bay.setpoint["p"] <= -0.0199 and math.isfinite(lab.bay._life_at), 15.0)
                await asyncio.sleep(1.3)
                assert lab.bay.watchdog_ok
            finally:
                study.send_signal(signal.SIGKILL)
                await study.wait()
            killed_at = time.monotonic()
            await until(lambda: lab.bay.closed is False)
            assert time.monotonic() - killed_at < 1.2 + 0.5
            assert (lab.bay.setpoint["p"], lab.bay.watchdog_ok) == (0.0, False)

    quietly(main())


def test_c104_process_that_dies_is_started_again_and_its_order_is_not_known():
    async def main():
        async with VirtualLab(POINTS) as lab:
            client = C104Client(LinkSettings(host="127.0.0.1", port=lab.port, reconnect_s=0.05), POINTS)
            await client.start()
            await until(lambda: client.state is LinkState.OPEN)
            first = client._process
            first.kill()
            await until(lambda: client.state is not LinkState.OPEN)
            await until(lambda: client.state is LinkState.OPEN)
            second = client._process
            assert second.pid != first.pid
            await client.stop()
            assert second.returncode is not None  # nothing is left behind

    quietly(main())


def test_events_that_come_faster_than_they_are_taken_are_counted_and_the_newest_win():
    """hat-drivers holds the station back instead (k frames); c104 takes everything, so its process has to let go."""

    async def main():
        async with VirtualLab(POINTS, StationSettings(cyclic_s=1e6)) as lab:
            link = LinkSettings(host="127.0.0.1", port=lab.port, queue_size=25, refresh_s=1.0)
            client, seen = C104Client(link, POINTS), 0
            await client.start()
            await until(lambda: client.state is LinkState.OPEN and lab.clients == 1)
            await lab.fault(Fault.BURST, size=3000)
            await until(lambda: client.lost > 0)
            lab.bay.source_pu = 1.05
            while True:
                event = await asyncio.wait_for(client.receive(), 10.0)
                seen += isinstance(event, Received) and event.cause == 3
                if isinstance(event, Received) and event.point.name == "feeder_ul1" and event.wire > 12.0:
                    break
            assert seen < 3000
            await client.stop()

    quietly(main())


GARBAGE = [
    b"",
    b"\x00" * 64,
    b"HTTP/1.1 200 OK\r\n\r\n",
    b"\x68\x04\x0b\x00\x00\x00" + b"\x68\xfd" + b"\xff" * 300,
    b"\x68\x04\x0b\x00\x00\x00" + b"\x68\x0e\x00\x00\x00\x00\xff\x01\x03\x00\x01\x00\x01\x00\x00\x01",
]


@pytest.mark.parametrize("client_class", [HatClient, C104Client])
def test_garbage_on_the_wire_ends_no_client(client_class):
    async def main():
        served = []

        async def answer(reader, writer):
            writer.write(GARBAGE[len(served) % len(GARBAGE)])
            served.append(1)
            await asyncio.sleep(0.02)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        link = LinkSettings(host="127.0.0.1", port=port, reconnect_s=0.02, answer_s=0.3)
        client = client_class(link, POINTS)
        await client.start()
        await until(lambda: len(served) >= 2 * len(GARBAGE) if client_class is HatClient else len(served) >= 2)
        server.close()
        await server.wait_closed()
        async with VirtualLab(POINTS, StationSettings(port=port)):
            await until(lambda: client.state is LinkState.OPEN, 10.0)
            await client.stop()

    quietly(main())


def frame_of(message):
    (asdu,) = encoder.Encoder().encode([message])
    data = bytes(asdu.data) if hasattr(asdu, "data") else bytes(asdu)
    return b"\x68" + bytes([len(data) + 4]) + b"\x00\x00\x00\x00" + data


TYPES = [
    (PointType.SINGLE_POINT, st.sampled_from([0.0, 1.0])),
    (PointType.DOUBLE_POINT, st.sampled_from([0.0, 1.0, 2.0, 3.0])),
    (PointType.STEP_POSITION, st.integers(-64, 63).map(float)),
    (PointType.MEASURED_NORMALISED, st.integers(-32768, 32767).map(lambda n: n / 32768.0)),
    (PointType.MEASURED_SCALED, st.integers(-32768, 32767).map(float)),
    (PointType.MEASURED_FLOAT, st.floats(width=32, allow_nan=False, allow_infinity=False)),
]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(TYPES).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1])),
    st.booleans(),
    st.one_of(st.none(), st.integers(946_684_800_000, 4_102_444_799_999)),
    st.integers(1, 65534),
    st.integers(1, 2**24 - 1),
)
def test_frames_written_by_hat_are_read_alike(typed, invalid, stamp, station, address):
    kind, value = typed
    tag = datetime.fromtimestamp(stamp // 1000, UTC) + timedelta(milliseconds=stamp % 1000) if stamp else None
    point = Point(name="x", direction=Direction.MONITOR, station=station, address=address, type=kind)
    bits = INVALID if invalid else 0
    message = data_message(Outgoing(point=point, wire=value, quality=bits, cause=SPONTANEOUS, tag=tag))
    (event,) = decode_frame(frame_of(message))
    assert (event["station"], event["address"], event["cause"]) == (station, address, 3)
    # hat-drivers takes 32767 for the unit of a normalised value, the standard 32768: one step apart at most.
    assert event["value"] == pytest.approx(value, abs=2.0**-15 if kind is PointType.MEASURED_NORMALISED else 1e-9)
    assert bool(event["quality"] & 0x80) is invalid
    assert event["time"] == (tag.isoformat() if tag else None)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80))
def test_no_frame_breaks_the_reader(tail):
    for event in decode_frame(b"\x68" + bytes([len(tail) & 0xFF]) + tail):
        assert event["event"] in ("value", "confirmed")


def test_not_a_number_on_the_wire_is_invalid():
    body = bytes([13, 1, 3, 0, 1, 0, 1, 0, 0]) + struct.pack("<f", math.nan) + b"\x00"
    (event,) = decode_frame(b"\x68" + bytes([len(body) + 4]) + bytes(4) + body)
    assert event["value"] is None


def test_sequences_with_a_time_tag_in_every_element_are_read_alike():
    """Captured from lib60870 (c104): neighbouring addresses, SQ = 1, each element with its own CP56Time2a."""
    asdu = bytes.fromhex("1e8414000100db070000a1373617180b1a01a1373617180b1a00a1373617180b1a01a1373617180b1a")
    by_hat = list(encoder.Encoder().decode(spread(asdu)))
    by_us = decode_frame(b"\x68" + bytes([len(asdu) + 4]) + bytes(4) + asdu)
    assert [(m.io_address, m.data.value.value, m.time.minutes) for m in by_hat] == [
        (2011, 0, 54), (2012, 1, 54), (2013, 0, 54), (2014, 1, 54)
    ]  # fmt: skip
    assert [(event["address"], event["value"]) for event in by_us] == [
        (2011, 0.0),
        (2012, 1.0),
        (2013, 0.0),
        (2014, 1.0),
    ]
    plain = bytes.fromhex("018414000100db0700" + "00010001")
    assert spread(plain) == plain  # without time tag the standard allows it
