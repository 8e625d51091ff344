"""Certificates, two paths, timers and windows: each seen from the other end of a real connection."""

import asyncio
import contextlib
import dataclasses
import logging
import socket
import time

import pytest

from heila_mosaik.bridges import safety_gate
from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.iec104.backends import Backend, BackendMissingError, make_client, require
from heila_mosaik.bridges.iec104.bridge import Iec104Bridge
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, PathChanged, Received, StateChanged
from heila_mosaik.bridges.iec104.tls import TlsSettings
from heila_mosaik.bridges.keys import write_lab
from heila_mosaik.bridges.lab.faults import Fault
from heila_mosaik.bridges.lab.server import ServerSettings
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.safety_types import Kind, Phase, SafetySettings, Write
from heila_mosaik.errors import ProblemsError

POINTS = example_points()
BREAKER = "breaker_command"


def cleared(name, value, kind=Kind.REQUEST):
    write = Write(at_s=0.0, name=name, value=value, kind=kind, cause="test")
    return safety_gate.Cleared(safety_gate._KEY, point=POINTS[name], write=write, identity=1)


def quietly(coroutine, limit=40.0):
    logging.disable(logging.CRITICAL)
    try:
        asyncio.run(asyncio.wait_for(coroutine, limit))
    finally:
        logging.disable(logging.NOTSET)


async def until(condition, limit=10.0):
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


async def collect(client, seen, seconds):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while True:
                seen.append(await client.receive())


def link(port, **given):
    return LinkSettings(host="127.0.0.1", port=port, **{"answer_s": 0.5, "reconnect_s": 0.05, **given})


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folders = {}
    for name in ("ours", "theirs"):
        folders[name] = tmp_path_factory.mktemp(name) / "keys"
        write_lab(folders[name], ["lab", "study"])
    return folders


def tls(folder, actor, ca=None):
    home = folder / actor
    return TlsSettings(ca=(ca or folder) / "ca.pem", certificate=home / "tls.pem", key=home / "tls.key")


def lab_over_tls(folder, backend):
    server = ServerSettings(tls=tls(folder, "lab"))
    return VirtualLab(POINTS, StationSettings(backend=Backend(backend), server=server))


@pytest.mark.parametrize("backend", ["hat", "c104"])
def test_tls_with_certificates_on_both_sides(keys, backend):
    async def main():
        async with lab_over_tls(keys["ours"], backend) as lab:
            client = make_client("hat", link(lab.port, tls=tls(keys["ours"], "study")), POINTS)
            await client.start()
            await until(lambda: client.state is LinkState.OPEN)
            assert (await client.order(cleared("der_p_setpoint", -0.2))).positive
            assert lab.bay.setpoint["p"] == pytest.approx(-0.2)
            assert client._conn._conn.ssl_object.version() in ("TLSv1.2", "TLSv1.3")
            await client.stop()

    quietly(main())


@pytest.mark.parametrize("backend", ["hat", "c104"])
def test_foreign_certificates_and_plain_connections_never_open(keys, backend):
    async def states(settings):
        client, seen = make_client("hat", settings, POINTS), []
        await client.start()
        await collect(client, seen, 0.8)
        await client.stop()
        return seen

    async def main():
        async with lab_over_tls(keys["ours"], backend) as lab:
            ours, theirs = keys["ours"], keys["theirs"]
            for settings in (
                link(lab.port, tls=tls(theirs, "study", ca=ours)),  # our authority did not sign the client
                link(lab.port, tls=tls(ours, "study", ca=theirs)),  # their authority did not sign the server
                link(lab.port, t1_s=0.5, t2_s=0.2),
            ):
                seen = await states(settings)
                assert all(isinstance(event, StateChanged) for event in seen)
                assert LinkState.OPEN not in [event.state for event in seen]
                assert [event.detail for event in seen if event.detail]
            assert lab.orders == []

    quietly(main())


def test_settings_are_checked_all_at_once(keys, tmp_path):
    bad = link(70000, t1_s=5.0, t2_s=5.0, w=9, k=12, t3_s=0.0, second=("127.0.0.1", 70000))
    with pytest.raises(ProblemsError) as caught:
        make_client("hat", bad, POINTS)
    said = str(caught.value)
    for part in ("70000", "t2 (5 s)", "two thirds", "t3_s is 0", "both paths are the same"):
        assert part in said
    missing = TlsSettings(ca=tmp_path / "no.pem", certificate=tmp_path / "no.pem", key=tmp_path / "no.key")
    with pytest.raises(ProblemsError, match="no file"):
        make_client("hat", link(2404, tls=missing), POINTS)
    swapped = dataclasses.replace(tls(keys["ours"], "study"), key=keys["ours"] / "lab" / "tls.key")
    with pytest.raises(ProblemsError, match="cannot be used together"):
        make_client("hat", link(2404, tls=swapped), POINTS)
    with pytest.raises(ProblemsError, match="breaker_status is stale after 10 s, interrogated every 12 s"):
        make_client("hat", link(2404, refresh_s=12.0), POINTS)
    with pytest.raises(ProblemsError) as caught:
        make_client("c104", link(2404, t3_s=0.5, tls=tls(keys["ours"], "study")), POINTS)
    assert "use the backend hat for TLS" in str(caught.value)
    assert "whole seconds" in str(caught.value)


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(BackendMissingError, match=r"heila-mosaik\[iec104\]"):
        require(Backend.C104)


@pytest.mark.parametrize(("client_kind", "server_kind"), [("hat", "hat"), ("c104", "hat"), ("hat", "c104")])
def test_second_path_takes_over_without_a_fallback_and_both_lost_is_lost(tmp_path, client_kind, server_kind):
    async def main():
        notices = []
        settings = StationSettings(second_port=0, backend=Backend(server_kind))
        async with VirtualLab(POINTS, settings) as lab:
            given = link(lab.port, second=("127.0.0.1", lab.ports[1]), switch_s=3.0, answer_s=1.0)
            client = make_client(client_kind, given, POINTS)
            safety = SafetySettings(study_timeout_s=30.0)
            with AuditLog(tmp_path / "audit.jsonl") as audit:
                async with Iec104Bridge(
                    POINTS, client, audit, who="study", safety=safety, notify=notices.append
                ) as bridge:

                    def paths(*wanted):
                        return lambda: bridge.status.paths == tuple(wanted)

                    await until(paths(LinkState.OPEN, LinkState.STANDBY))
                    await until(lambda: bridge.status.link is LinkState.OPEN and "breaker_status" in bridge.readings)
                    await until(lambda: lab.clients == 1)  # the standby is connected, not started
                    bridge.study_alive()
                    bridge.arm((BREAKER,), 60.0, who="tester")
                    await lab.fault(Fault.LOST_PATH, 0.3, 1.0)
                    await until(lambda: client.active == 1 and bridge.status.link is LinkState.OPEN)
                    assert bridge.status.phases[BREAKER] is Phase.ARMED
                    states = [n.state for n in notices if isinstance(n, StateChanged)]
                    assert states[-2:] == [LinkState.SWITCHING, LinkState.OPEN]
                    lab.bay.source_pu = 1.02
                    await until(lambda: bridge.readings["feeder_ul1"].value == pytest.approx(1.02, abs=1e-3))
                    await until(paths(LinkState.STANDBY, LinkState.OPEN))  # path 1 is back and stands by

                    def standby():
                        return [n.path for n in notices if isinstance(n, PathChanged) and n.state is LinkState.STANDBY]

                    await until(lambda: standby()[-1:] == [0])  # the notice may come after the status
                    bridge.request(BREAKER, 0.0, cause="on the second path")
                    await until(lambda: lab.bay.closed is False)
                    await lab.fault(Fault.LOST_TCP, 5.0)
                    await until(lambda: bridge.status.phases[BREAKER] is not Phase.ARMED)
                    assert not bridge.status.link.watched

    quietly(main(), 60.0)


# The far end by hand: frames as IEC 60870-5-104 describes them, no library.

STARTDT, STARTDT_CON = bytes.fromhex("680407000000"), bytes.fromhex("68040b000000")
TESTFR, TESTFR_CON = bytes.fromhex("680443000000"), bytes.fromhex("680483000000")
VALUE = bytes.fromhex("0d01030001" + "00fd0300" + "0000a041" + "00")  # M_ME_NC_1, 1021, 20.0


class FarEnd:
    """Confirms start-up, acknowledges and answers what it is told to."""

    def __init__(self, acknowledge=True):
        self.frames, self.closed_at, self.acknowledge, self.sent, self.got = [], None, acknowledge, 0, 0

    async def __aenter__(self):
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self.server.close()

    async def serve(self, reader, writer):
        self.writer, self.closed_at, self.sent, self.got, self.frames = writer, None, 0, 0, []
        try:
            while True:
                head = await reader.readexactly(2)
                frame = head + await reader.readexactly(head[1])
                self.frames.append((time.monotonic(), frame))
                self.take(frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed_at = time.monotonic()
            writer.close()

    def take(self, frame):
        if frame == STARTDT:
            self.writer.write(STARTDT_CON)
        elif frame == TESTFR:
            self.writer.write(TESTFR_CON)
        elif not frame[2] & 1:
            self.got += 1
            if not self.acknowledge:
                return
            kind, station = frame[6], frame[10:12]
            if kind in (100, 103):
                for cause in (7, 10) if kind == 100 else (7,):
                    self.send(frame[6:8] + bytes([cause]) + frame[9:10] + station + frame[12:])

    def send(self, asdu):
        counters = (self.sent << 1).to_bytes(2, "little") + (self.got << 1).to_bytes(2, "little")
        self.sent += 1
        self.writer.write(b"\x68" + bytes([len(asdu) + 4]) + counters + asdu)

    def times(self, chosen):
        return [at for at, frame in self.frames if chosen(frame)]


def supervisory(frame):
    return frame[2] & 3 == 1


def information(frame):
    return not frame[2] & 1


TIMES = {"hat": {"t1_s": 0.8, "t2_s": 0.4, "t3_s": 0.5}, "c104": {"t1_s": 2.0, "t2_s": 1.0, "t3_s": 1.0}}


@pytest.mark.parametrize("backend", ["hat", "c104"])
def test_t2_w_and_t3_as_configured(backend):
    times = TIMES[backend]

    async def main():
        async with FarEnd() as far:
            client = make_client(backend, link(far.port, refresh_s=9.0, k=6, w=4, **times), POINTS)
            await client.start()
            await until(lambda: client.state is LinkState.OPEN)
            await asyncio.sleep(times["t2_s"] + 0.7)  # start-up is acknowledged
            begun = time.monotonic()
            far.send(VALUE)
            await until(lambda: [at for at in far.times(supervisory) if at > begun])
            first = min(at for at in far.times(supervisory) if at > begun)
            assert times["t2_s"] - 0.05 <= first - begun <= times["t2_s"] + 1.2
            begun = time.monotonic()
            for _ in range(4):
                far.send(VALUE)
            await until(lambda: [at for at in far.times(supervisory) if at > begun])
            at_once = min(at for at in far.times(supervisory) if at > begun)
            assert at_once - begun < times["t2_s"]
            await until(lambda: far.times(lambda frame: frame == TESTFR), times["t3_s"] + 5.0)
            await client.stop()

    quietly(main())


@pytest.mark.parametrize("backend", ["hat", "c104"])
def test_k_and_t1_as_configured(backend):
    times = TIMES[backend]

    async def main():
        async with FarEnd() as far:
            given = link(far.port, refresh_s=9.0, k=3, w=2, **{**times, "t3_s": 30.0})
            client = make_client(backend, given, POINTS)
            await client.start()
            await until(lambda: client.state is LinkState.OPEN)
            await asyncio.sleep(0.3)
            far.acknowledge = False
            before = len(far.times(information))
            names = ["der_p_setpoint", "der_q_setpoint", BREAKER, "watchdog"] * 2
            begun = time.monotonic()
            orders = [asyncio.create_task(client.order(cleared(name, 1.0))) for name in names]
            answers = await asyncio.gather(*orders)
            assert len(far.times(information)) - before <= 3
            assert not any(answer.positive for answer in answers)
            await until(lambda: far.closed_at is not None)
            assert far.closed_at - begun >= times["t1_s"] - 0.1
            await client.stop()

    quietly(main())


def test_t0_as_configured():
    async def main():
        # A listener whose backlog is full swallows the SYN: connecting hangs.
        with socket.socket() as deaf, socket.socket() as filler:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            filler.connect(deaf.getsockname())
            client, seen = make_client("hat", link(deaf.getsockname()[1], t0_s=0.4), POINTS), []
            begun = time.monotonic()
            await client.start()
            while LinkState.CLOSED not in [event.state for event in seen]:
                seen.append(await asyncio.wait_for(client.receive(), 5.0))
            assert time.monotonic() - begun >= 0.4
            await client.stop()

    quietly(main())


@pytest.mark.parametrize("backend", ["hat", "c104"])
def test_a_peer_that_hangs_is_noticed_at_the_next_interrogation_long_before_t1(backend):
    async def main():
        async with FarEnd() as far:
            client = make_client(backend, link(far.port, refresh_s=0.3, answer_s=0.4), POINTS)
            await client.start()
            await until(lambda: client.state is LinkState.OPEN)
            far.acknowledge = False
            await until(lambda: client.state is not LinkState.OPEN, 5.0)
            await client.stop()

    quietly(main())


def test_values_of_a_standby_path_are_not_mixed_in():
    async def main():
        async with VirtualLab(POINTS, StationSettings(second_port=0)) as lab:
            client = make_client("hat", link(lab.port, second=("127.0.0.1", lab.ports[1])), POINTS)
            await client.start()
            await until(lambda: client.paths == (LinkState.OPEN, LinkState.STANDBY))
            lab.bay.source_pu = 0.98
            seen = []
            await collect(client, seen, 0.5)
            changed = [e for e in seen if isinstance(e, Received) and e.point.name == "feeder_ul1" and e.cause == 3]
            assert len(changed) == 1
            await client.stop()

    quietly(main())
