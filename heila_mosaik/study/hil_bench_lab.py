"""The virtual laboratory of a measurement: moved from outside, with the time at which it moved."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from heila_mosaik.bridges.lab.faults import Fault
from heila_mosaik.bridges.lab.relay import BaySettings
from heila_mosaik.bridges.lab.station import StationSettings, VirtualLab
from heila_mosaik.bridges.points import PointList


@dataclass(frozen=True, slots=True, kw_only=True)
class LabPlan:
    """What the laboratory's process is given.

    Attributes:
        points: Point list.
        travel_s: Travel time of the breaker. [s]
    """

    points: PointList
    travel_s: float = 0.0


def serve_lab(plan: LabPlan, pipe: Connection) -> None:
    """Entry of the process: ``("voltage", pu)``, ``("burst", n)``, ``("dropped",)`` until the pipe closes."""
    asyncio.run(_serve(plan, pipe))


async def _serve(plan: LabPlan, pipe: Connection) -> None:
    loop, words = asyncio.get_running_loop(), asyncio.Queue[tuple[Any, ...] | None]()
    threading.Thread(target=_listen, args=(pipe, loop, words), daemon=True).start()
    bay = BaySettings(travel_s=plan.travel_s, watchdog_s=3600.0)
    async with VirtualLab(plan.points, StationSettings(cyclic_s=3600.0), bay=bay) as lab:
        pipe.send(lab.port)
        while (word := await words.get()) is not None:
            match word:
                case ("voltage", pu):
                    # The feeder has the voltage from here on; gateway and wire come after.
                    at_ns = time.monotonic_ns()
                    lab.bay.source_pu = pu
                    lab.wake()
                    pipe.send(at_ns)
                case ("dropped",):
                    pipe.send(lab.dropped)
                case ("burst", count):
                    await lab.fault(Fault.BURST, 0.0, float(count))


def _listen(pipe: Connection, loop: asyncio.AbstractEventLoop, words: asyncio.Queue[Any]) -> None:
    word: Any = ()
    while word is not None:
        try:
            word = pipe.recv()
        except (EOFError, OSError):
            word = None
        loop.call_soon_threadsafe(words.put_nowait, word)
