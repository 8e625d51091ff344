import asyncio
import socket
import time

import pytest
from hat.drivers import iec104, tcp

from heila_mosaik.bridges import safety_gate
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, Received, StateChanged
from heila_mosaik.bridges.iec104.events import EventQueue
from heila_mosaik.bridges.iec104.hat_client import HatClient
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.safety_types import Kind, Write
from heila_mosaik.domain.quantities import Quality

POINTS = example_points()
GOOD = iec104.IndicationQuality(False, False, False, False)
RES = iec104.CommandResCause


def cleared(name, value, kind=Kind.REQUEST):
    """What only the gate makes outside tests."""
    write = Write(at_s=0.0, name=name, value=value, kind=kind, cause="test")
    return safety_gate.Cleared(safety_gate._KEY, point=POINTS[name], write=write, identity=1)


class Station:
    """Smallest station that answers as the standard wants."""

    def __init__(self):
        self.commands = []
        self.answer = "positive"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    async def listen(self):
        return await iec104.listen(self.connected, tcp.Address("127.0.0.1", self.port))

    def connected(self, conn):
        self.conn = conn
        conn.async_group.spawn(self.serve, conn)

    async def serve(self, conn):
        while True:
            for message in await conn.receive():
                await conn.send(self.reply(message))

    def reply(self, message):
        if isinstance(message, iec104.InterrogationMsg):
            value = iec104.DoubleData(iec104.DoubleValue.ON, GOOD)
            status = iec104.DataMsg(False, 0, 1, 2001, value, None, iec104.DataResCause.INTERROGATED_STATION)
            end = message._replace(cause=RES.ACTIVATION_TERMINATION)
            return [message._replace(cause=RES.ACTIVATION_CONFIRMATION), status, end]
        if isinstance(message, iec104.ClockSyncMsg):
            return [message._replace(cause=iec104.ClockSyncResCause.ACTIVATION_CONFIRMATION)]
        self.commands.append(message.command)
        if self.answer == "none":
            return []
        confirmed = message._replace(cause=RES.ACTIVATION_CONFIRMATION)
        return [confirmed._replace(is_negative_confirm=self.answer == "negative")]


async def until_open(client):
    events = []
    while client.state is not LinkState.OPEN or len(client._events):
        events.append(await asyncio.wait_for(client.receive(), 5.0))
    return events


def play(script):
    async def run():
        station = Station()
        server = await station.listen()
        settings = LinkSettings(host="127.0.0.1", port=station.port, answer_s=0.3, reconnect_s=0.05)
        client = HatClient(settings, POINTS)
        await client.start()
        try:
            await script(station, client, await until_open(client))
        finally:
            await client.stop()
            await server.async_close()

    asyncio.run(asyncio.wait_for(run(), 10.0))


def test_start_up_order_and_interrogated_value():
    async def script(station, client, events):
        states = [event.state for event in events if isinstance(event, StateChanged)]
        assert states == [LinkState.CONNECTING, LinkState.INTERROGATING, LinkState.SYNCHRONISING, LinkState.OPEN]
        (value,) = [event for event in events if isinstance(event, Received)]
        assert (value.point.name, value.wire, value.quality, value.cause) == ("breaker_status", 2.0, Quality.GOOD, 20)

    play(script)


def test_select_before_operate_and_direct():
    async def script(station, client, events):
        assert (await client.order(cleared("breaker_command", 0.0))).positive
        assert [command.select for command in station.commands] == [True, False]
        assert station.commands[1].value is iec104.DoubleValue.OFF
        assert (await client.order(cleared("der_p_setpoint", -0.25))).positive
        assert station.commands[2].value.value == pytest.approx(-250.0)

    play(script)


def test_negative_and_missing_answers_are_told_apart_and_never_retried():
    async def script(station, client, events):
        station.answer = "negative"
        assert (await client.order(cleared("der_p_setpoint", 0.1))).positive is False
        station.answer = "none"
        assert (await client.order(cleared("der_p_setpoint", 0.1))).positive is None
        assert len(station.commands) == 2

    play(script)


def test_reconnects_and_refuses_orders_meanwhile():
    async def script(station, client, events):
        await station.conn.async_close()
        while client.state is LinkState.OPEN:
            await client.receive()
        assert (await client.order(cleared("der_p_setpoint", 0.1))).positive is False
        await until_open(client)
        assert (await client.order(cleared("der_p_setpoint", 0.1))).positive

    play(script)


def test_an_order_needs_a_clearance_and_leaves_once():
    async def script(station, client, events):
        one = cleared("der_p_setpoint", 0.1)
        assert (await client.order(one)).positive
        with pytest.raises(RuntimeError, match="already sent"):
            await client.order(one)
        late, healthy = cleared("breaker_command", 1.0), station.reply

        def stopped_meanwhile(message):
            late.revoke("emergency stop")
            return healthy(message)

        station.reply = stopped_meanwhile
        answer = await client.order(late)
        assert answer.positive is False
        assert "emergency" in answer.detail
        assert [command.select for command in station.commands[1:]] == [True]  # selected, never operated
        old = cleared("der_p_setpoint", 0.1)
        old.until_s = time.monotonic() - 0.01
        assert "not sent" in (await client.order(old)).detail
        assert len(station.commands) == 2

    write = Write(at_s=0.0, name="watchdog", value=0.0, kind=Kind.REQUEST, cause="")
    with pytest.raises(TypeError, match="gate only"):
        safety_gate.Cleared(object(), point=POINTS["watchdog"], write=write, identity=1)
    play(script)


def test_a_message_nobody_understands_and_any_exception_leave_the_link_alive(monkeypatch):
    async def script(station, client, events):
        broken = iec104.DataMsg(False, 0, 1, 2001, None, None, iec104.DataResCause.SPONTANEOUS)
        client._take_safely(broken)
        assert client.state is LinkState.OPEN
        healthy = client._start_up

        async def fail():
            raise ValueError("bug")

        client._start_up = fail
        await station.conn.async_close()
        while client.state is not LinkState.CLOSED or "bug" not in detail(events):
            events.append(await client.receive())
        client._start_up = healthy
        await until_open(client)

    def detail(events):
        return " ".join(event.detail for event in events if isinstance(event, StateChanged))

    play(script)


def test_full_queue_drops_the_oldest_values_counts_them_and_keeps_states():
    async def run():
        queue = EventQueue(3)
        queue.put(StateChanged(state=LinkState.OPEN))
        for value in range(5):
            queue.put(
                Received(point=POINTS["feeder_p"], wire=float(value), quality=Quality.GOOD, cause=3, device_time=None)
            )
        got = [await queue.get() for _ in range(3)]
        assert isinstance(got[0], StateChanged)
        assert [event.wire for event in got[1:]] == [3.0, 4.0]
        assert queue.lost == 3

    asyncio.run(run())
