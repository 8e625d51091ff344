import asyncio
import socket

import pytest
from hat.drivers import iec104, tcp

from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState, Received, StateChanged
from heila_mosaik.bridges.iec104.hat_client import HatClient
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.domain.quantities import Quality

POINTS = example_points()
GOOD = iec104.IndicationQuality(False, False, False, False)
RES = iec104.CommandResCause


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
    while client.state is not LinkState.OPEN or not client._events.empty():
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
        assert (await client.order(POINTS["breaker_command"], 0.0)).positive
        assert [command.select for command in station.commands] == [True, False]
        assert station.commands[1].value is iec104.DoubleValue.OFF
        assert (await client.order(POINTS["der_p_setpoint"], -0.25)).positive
        assert station.commands[2].value.value == pytest.approx(-250.0)

    play(script)


def test_negative_and_missing_answers_are_told_apart_and_never_retried():
    async def script(station, client, events):
        station.answer = "negative"
        assert (await client.order(POINTS["der_p_setpoint"], 0.1)).positive is False
        station.answer = "none"
        assert (await client.order(POINTS["der_p_setpoint"], 0.1)).positive is None
        assert len(station.commands) == 2

    play(script)


def test_reconnects_and_refuses_orders_meanwhile():
    async def script(station, client, events):
        await station.conn.async_close()
        while client.state is LinkState.OPEN:
            await client.receive()
        assert (await client.order(POINTS["der_p_setpoint"], 0.1)).positive is False
        await until_open(client)
        assert (await client.order(POINTS["der_p_setpoint"], 0.1)).positive

    play(script)
