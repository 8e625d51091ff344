"""The wire seen from outside: captured on loopback, decoded by Wireshark's IEC 104 dissector."""

import asyncio
import contextlib
import logging
import shutil
import signal
import subprocess
import time
from collections import Counter, defaultdict

import pytest

from heila_mosaik.bridges import safety_gate
from heila_mosaik.bridges.iec104.backends import Backend, make_client
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, Received
from heila_mosaik.bridges.lab.faults import Fault
from heila_mosaik.bridges.lab.server import ServerSettings
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.safety_types import Kind, Write

POINTS = example_points()
FIELDS = (
    "tcp.stream", "tcp.srcport", "iec60870_104.type", "iec60870_104.tx", "iec60870_104.rx", "iec60870_asdu.typeid",
    "iec60870_asdu.causetx", "iec60870_asdu.nega", "_ws.malformed", "_ws.expert.severity", "_ws.expert.message",
)  # fmt: skip
ERROR = 8388608  # severity of Wireshark's expert information
FORMAT_I, FORMAT_S, FORMAT_U = 0, 1, 3


@pytest.fixture(scope="module")
def _may_capture():
    if shutil.which("tshark") is None:
        pytest.skip("tshark is not installed (Debian: apt install tshark)")
    tried = subprocess.run(
        ["tshark", "-i", "lo", "-a", "duration:1", "-c", "1", "-f", "tcp port 1"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if "Capturing on" not in tried.stderr or tried.returncode != 0:
        pytest.skip(f"no right to capture on loopback: {tried.stderr.strip().splitlines()[-1:]}")


@contextlib.asynccontextmanager
async def capture(ports, file):
    wanted = " or ".join(f"tcp port {port}" for port in ports)
    shark = await asyncio.create_subprocess_exec(
        "tshark", "-i", "lo", "-f", wanted, "-w", str(file), stderr=asyncio.subprocess.PIPE
    )
    said = b""
    while b"Capture started" not in said and b"File:" not in said:
        line = await asyncio.wait_for(shark.stderr.readline(), 30.0)
        assert line, said
        said += line
    try:
        yield
    finally:
        await asyncio.sleep(0.5)
        shark.send_signal(signal.SIGINT)
        await shark.wait()


def decode(file, ports):
    arguments = ["tshark", "-r", str(file), "-T", "fields", "-E", "separator=|", "-Y", "iec60870_104"]
    for port in ports:
        arguments += ["-d", f"tcp.port=={port},iec60870_104"]
    for field in FIELDS:
        arguments += ["-e", field]
    answer = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    rows = [line.split("|") for line in answer.stdout.splitlines()]
    return [dict(zip(FIELDS, (cell.split(",") if cell else [] for cell in row), strict=True)) for row in rows]


def check_sequence_numbers(rows):
    """Numbers as IEC 60870-5-104 clause 5.1 wants them; returns the frames by format."""
    sent, formats = defaultdict(int), Counter()
    for row in rows:
        stream, source = row["tcp.stream"][0], row["tcp.srcport"][0]
        numbers, acknowledged = iter(row["iec60870_104.tx"]), iter(row["iec60870_104.rx"])
        for kind in (int(cell, 0) for cell in row["iec60870_104.type"]):
            formats[kind] += 1
            if kind == FORMAT_I:
                assert int(next(numbers)) == sent[stream, source]
                sent[stream, source] += 1
            if kind in (FORMAT_I, FORMAT_S):
                peer = sum(count for (at, port), count in sent.items() if at == stream and port != source)
                assert int(next(acknowledged)) <= peer
    return formats


def cleared(name, value):
    write = Write(at_s=0.0, name=name, value=value, kind=Kind.REQUEST, cause="test")
    return safety_gate.Cleared(safety_gate._KEY, point=POINTS[name], write=write, identity=1)


async def until(condition, limit=15.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def session(client, lab):
    """Everything the protocol is used for: start-up, values, bursts, orders of all kinds, refusals, test frames."""
    seen = Counter()

    async def read():
        while True:
            event = await client.receive()
            if isinstance(event, Received):
                seen[event.cause] += 1

    reader = asyncio.create_task(read())
    await client.start()
    await until(lambda: client.state is LinkState.OPEN and lab.clients == 1)
    for name, value in (("der_p_setpoint", -0.2), ("der_q_setpoint", 0.1), ("watchdog", 1.0)):
        assert (await client.order(cleared(name, value))).positive
    assert (await client.order(cleared("breaker_command", 0.0))).positive
    await lab.fault(Fault.NEGATIVE, 0.5)
    assert (await client.order(cleared("der_p_setpoint", -0.3))).positive is False
    await lab.fault(Fault.BURST, size=400)
    await until(lambda: seen[3] >= 400)
    await asyncio.sleep(1.3)  # idle: test frames
    await lab.fault(Fault.RESTART, 0.1)
    await until(lambda: client.state is not LinkState.OPEN)
    await until(lambda: client.state is LinkState.OPEN)
    await client.stop()
    reader.cancel()


@pytest.mark.usefixtures("_may_capture")
@pytest.mark.parametrize(
    ("client_kind", "server_kind"), [("hat", "hat"), ("c104", "hat"), ("hat", "c104"), ("c104", "c104")]
)
def test_no_malformed_frame_and_no_sequence_error(tmp_path, client_kind, server_kind):
    file = tmp_path / "wire.pcapng"

    async def main():
        server = ServerSettings(t3_s=1.0, t1_s=15.0)
        async with VirtualLab(POINTS, StationSettings(backend=Backend(server_kind), server=server)) as lab:
            given = LinkSettings(host="127.0.0.1", port=lab.port, t3_s=1.0, refresh_s=9.0, reconnect_s=0.1)
            async with capture(lab.ports, file):
                await session(make_client(client_kind, given, POINTS), lab)
            return lab.ports

    logging.disable(logging.CRITICAL)
    try:
        ports = asyncio.run(asyncio.wait_for(main(), 90.0))
    finally:
        logging.disable(logging.NOTSET)
    rows = decode(file, ports)
    for row in rows:
        assert row["_ws.malformed"] == []
        assert all(int(severity) < ERROR for severity in row["_ws.expert.severity"]), row["_ws.expert.message"]
    formats = check_sequence_numbers(rows)
    assert all(formats[kind] > 2 for kind in (FORMAT_I, FORMAT_S, FORMAT_U))
    types = Counter(kind for row in rows for kind in row["iec60870_asdu.typeid"])
    # Set points, single and double command, interrogation, clock; float and double point with time tag.
    assert {"50", "45", "46", "100", "103", "36", "31"} <= set(types)
    assert types["36"] >= 400
    assert any("1" in row["iec60870_asdu.nega"] or "True" in row["iec60870_asdu.nega"] for row in rows)
    if server_kind == "hat":
        assert types["70"] >= 1  # end of initialisation after the restart
