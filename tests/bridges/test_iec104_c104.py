"""The c104 client's process under load: its frames are seen late, and no breaker is operated twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

import pytest

from heila_mosaik.bridges.lab.relay import BaySettings
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.point_files import example_points

pytest.importorskip("c104")
ORDERS = 60
# The process as the client starts it, but with threads that keep its interpreter lock busy.
_BUSY = """
import threading
from heila_mosaik.bridges.iec104 import c104_process

def burn():
    while True:
        sum(range(2000))

for _ in range(2):
    threading.Thread(target=burn, daemon=True).start()
c104_process.main()
"""


async def _orders(points, port):
    names = ("station", "address", "type", "select")
    settings = {"host": "127.0.0.1", "port": port, "t0_s": 10, "t1_s": 15, "t2_s": 10, "t3_s": 20, "k": 12, "w": 8}
    settings |= {"answer_s": 2.0, "reconnect_s": 0.1, "refresh_s": 60.0, "queue_size": 10_000}
    first = {
        "settings": settings,
        "points": [{name: getattr(point, name) for name in names} for point in points],
        "active": True,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", _BUSY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )

    async def until(wanted):
        while True:
            event = json.loads(await asyncio.wait_for(process.stdout.readline(), 60.0))
            if wanted(event):
                return event

    command, answers = points["breaker_command"], []
    try:
        process.stdin.write(json.dumps(first).encode() + b"\n")
        await until(lambda event: event["event"] == "state" and event["state"] == "open")
        for number in range(ORDERS):
            order = {"id": number, "station": command.station, "address": command.address, "until": None}
            order |= {"value": command.to_wire(number % 2), "urgent": False}
            process.stdin.write(json.dumps(order).encode() + b"\n")
            answers.append(await until(lambda event, n=number: event["event"] == "answer" and event["id"] == n))
    finally:
        process.kill()
        await process.wait()
    return answers


def test_a_busy_process_operates_a_breaker_once_for_an_order():
    async def run():
        points = example_points()
        async with VirtualLab(points, StationSettings(), bay=BaySettings(travel_s=0.0)) as lab:
            answers = await _orders(points, lab.port)
            return answers, [value for name, value in lab.orders if name == "breaker_command"]

    answers, operated = asyncio.run(run())
    taken = [number % 2 for number, answer in enumerate(answers) if answer["positive"] is not False]
    assert sum(answer["positive"] is True for answer in answers) > ORDERS / 2
    # What is said not to have been sent was not; what may have been (UNKNOWN) was at most once.
    left = iter(taken)
    assert all(any(value == wanted for wanted in left) for value in operated)
    assert len(operated) >= sum(answer["positive"] is True for answer in answers)
