"""What the protocol library alone takes: the baseline of a measurement, without safety, ledger, audit and processes."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from hat.drivers import iec104, tcp

from heila_mosaik.bridges.points import PointList

_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class BarePlan:
    """What the process is given."""

    points: PointList
    port: int
    count: int
    pause_s: float


def serve_bare(plan: BarePlan, pipe: Connection) -> None:
    """Entry of the process: measures once and tells the times. [ms]"""
    pipe.send(asyncio.run(bare_setpoint(plan)))


async def bare_setpoint(plan: BarePlan) -> list[float]:
    """Set point to the station's confirmation with a bare hat-drivers client. [ms]"""
    point = plan.points["der_p_setpoint"]
    conn = await iec104.connect(tcp.Address("127.0.0.1", plan.port))
    waiting: list[asyncio.Future[float]] = []

    async def listen() -> None:
        while True:
            for message in await conn.receive():
                confirmed = getattr(getattr(message, "cause", None), "name", "") == "ACTIVATION_CONFIRMATION"
                if isinstance(message, iec104.CommandMsg) and confirmed and waiting and not waiting[0].done():
                    waiting[0].set_result(time.monotonic())

    listener = asyncio.create_task(listen())
    found = []
    try:
        for number in range(plan.count):
            waiting[:] = [asyncio.get_running_loop().create_future()]
            message = _message(point.station, point.address, 10.0 * (1 + number % 20))
            begun_s = time.monotonic()
            await conn.send([message])
            found.append(1e3 * (await asyncio.wait_for(waiting[0], _LIMIT_S) - begun_s))
            await asyncio.sleep(plan.pause_s)
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)
        await conn.async_close()
    return found


def _message(station: int, address: int, value: float) -> Any:
    return iec104.CommandMsg(
        is_test=False,
        originator_address=0,
        asdu_address=station,
        io_address=address,
        command=iec104.FloatingCommand(value=iec104.FloatingValue(value), select=False),
        is_negative_confirm=False,
        time=None,
        cause=iec104.CommandReqCause.ACTIVATION,
    )
