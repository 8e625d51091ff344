"""The process in which the bridge to equipment lives, apart from the study.

Safety, ledger and audit keep running while the study computes, stalls or dies: its Python lock is not theirs.  When the
pipe to the study breaks, nothing says any more that it is alive, and every armed point falls back as declared.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.iec104.backends import Backend, make_client
from heila_mosaik.bridges.iec104.bridge import BridgeStatus, Iec104Bridge
from heila_mosaik.bridges.iec104.client import EventsLost, LinkEvent, LinkSettings, Received
from heila_mosaik.bridges.points import PointList
from heila_mosaik.bridges.safety_gate import Notice, utc_now
from heila_mosaik.bridges.safety_types import Phase, SafetySettings

_LOG = logging.getLogger(__name__)
_STATUS_S = 0.2
_NOTICE_S = 0.003
_QUEUE = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EquipmentConfig:
    """What the process needs.

    Attributes:
        points: Point list.
        link: Connection.
        audit: File of the audit.
        who: Operator or actor responsible for the orders.
        backend: Implementation of the protocol.
        safety: Times of the safety machine.
        readback_timeout_s: Time for the read-back of an order. [s]
    """

    points: PointList
    link: LinkSettings
    audit: Path
    who: str
    backend: Backend = Backend.HAT
    safety: SafetySettings = field(default_factory=SafetySettings)
    readback_timeout_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The process has let go of the equipment."""

    detail: str = ""


Told = Reading | Notice | LinkEvent | BridgeStatus | Stopped
"""What the process tells the study."""


class _Sender:
    """Sends from a thread of its own: a study that does not read must not hold up the bridge."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._queue: queue.Queue[Told | None] = queue.Queue(_QUEUE)
        self._thread = threading.Thread(target=self._run, name="to-study", daemon=True)
        self.lost = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, told: Told) -> bool:
        """Hand something over; ``False`` and counted when the queue is full."""
        try:
            self._queue.put_nowait(told)
        except queue.Full:
            self.lost += not isinstance(told, BridgeStatus | EventsLost)
            return False
        return True

    def close(self) -> None:
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            batch = [self._queue.get()]
            with contextlib.suppress(queue.Empty):
                while len(batch) < 500:
                    batch.append(self._queue.get_nowait())
            try:
                self._pipe.send([told for told in batch if told is not None])
            except OSError:
                return  # the study is gone; the reader notices as well
            if batch[-1] is None:
                return


def serve(pipe: Connection, config: EquipmentConfig) -> None:
    """Entry of the process; ends when told to, or some time after the study has gone."""
    # The key that stops the study reaches the whole process group; equipment is let go in order, by the study's word.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config.audit.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(level=logging.WARNING, filename=config.audit.with_suffix(".log"))
    asyncio.run(_serve(pipe, config))


async def _serve(pipe: Connection, config: EquipmentConfig) -> None:
    loop = asyncio.get_running_loop()
    words: asyncio.Queue[tuple[Any, ...] | None] = asyncio.Queue()
    threading.Thread(target=_listen, args=(pipe, loop, words), name="from-study", daemon=True).start()
    sender = _Sender(pipe)
    sender.start()
    teller = _Teller(sender)
    client = make_client(config.backend, config.link, config.points)
    with AuditLog(config.audit) as audit:
        bridge = Iec104Bridge(
            config.points,
            client,
            audit,
            who=config.who,
            safety=config.safety,
            readback_timeout_s=config.readback_timeout_s,
            notify=teller,
        )
        teller.bridge = bridge
        async with bridge:
            status = asyncio.create_task(_tell_status(bridge, sender, audit))
            try:
                if not await _obey(words, bridge, sender):
                    _LOG.warning("the study is gone; points fall back as declared")
                    result = "points fall back as declared"
                    audit.append(at=utc_now(), who="bridge", what="study", why="gone without a word", result=result)
                    await _outlive_study(bridge, config)
            finally:
                status.cancel()
        teller.flush()
        sender.put(Stopped(detail=f"{sender.lost} values not passed on" if sender.lost else ""))
    sender.close()


def _listen(pipe: Connection, loop: asyncio.AbstractEventLoop, words: asyncio.Queue[tuple[Any, ...] | None]) -> None:
    """Hand the study's words to the loop; the end of the pipe is ``None``."""
    word: tuple[Any, ...] | None = ()
    while word is not None:
        try:
            word = pipe.recv()
        except (EOFError, OSError):
            word = None
        try:
            loop.call_soon_threadsafe(words.put_nowait, word)
        except RuntimeError:
            return  # the loop has ended


class _Teller:
    """Passes on what the bridge says: readings at once, the rest a moment later and with the state then.

    The thread that sends competes for the interpreter with the loop; an order leaves before anybody is told of it.
    """

    def __init__(self, sender: _Sender) -> None:
        self._sender = sender
        self._notices: list[Notice | LinkEvent] = []
        self.bridge: Iec104Bridge

    def __call__(self, notice: Notice | LinkEvent) -> None:
        if isinstance(notice, Received):
            self._sender.put(self.bridge.readings[notice.point.name])
            return
        if not self._notices:
            asyncio.get_running_loop().call_later(_NOTICE_S, self.flush)
        self._notices.append(notice)

    def flush(self) -> None:
        """Tell what has gathered."""
        notices, self._notices = self._notices, []
        for notice in notices:
            self._sender.put(notice)
        self._sender.put(self.bridge.status)


async def _tell_status(bridge: Iec104Bridge, sender: _Sender, audit: AuditLog) -> None:
    told = 0
    while True:
        lost = sender.lost
        # What the study does not see it must at least know of; said again while there is no room even for this.
        event = EventsLost(count=lost - told, total=lost, where="between bridge and study")
        if event.count and sender.put(event):
            told = lost
            with contextlib.suppress(OSError):
                audit.append(at=utc_now(), who="bridge", what="events", why=event.where, result=f"{event.count} lost")
        sender.put(bridge.status)
        await asyncio.sleep(_STATUS_S)


def _orders(bridge: Iec104Bridge) -> dict[str, Callable[..., None]]:
    def request(name: str, value: float, cause: str, valued_at_s: float) -> None:
        # One monotonic clock serves the whole machine, so the way through the pipe counts as age.
        bridge.request(name, value, cause=cause, age_s=max(0.0, time.monotonic() - valued_at_s))

    return {
        "alive": bridge.study_alive,
        "request": request,
        "arm": lambda names, duration_s, who: bridge.arm(names, duration_s, who=who),
        "disarm": lambda names, who: bridge.disarm(names, who=who),
        "stop_equipment": lambda who: bridge.emergency_stop(who=who),
        "reset": lambda who: bridge.reset(who=who),
        "resolve": lambda order, who: bridge.resolve(order, who=who),
    }


async def _obey(words: asyncio.Queue[tuple[Any, ...] | None], bridge: Iec104Bridge, sender: _Sender) -> bool:
    """Carry out the study's words; whether it has said ``end``, and not just gone."""
    known = _orders(bridge)
    while (word := await words.get()) is not None:
        if word[0] == "end":
            return True
        try:
            known[word[0]](*word[1:])
        except (KeyError, TypeError, ValueError):
            _LOG.exception("word of the study left out: %r", word)
        if word[0] not in ("alive", "request"):
            sender.put(bridge.status)
    return False


async def _outlive_study(bridge: Iec104Bridge, config: EquipmentConfig) -> None:
    """Watch over the fallbacks of a study that has gone without a word."""
    longest = max((point.fallback_within_s for point in config.points.controlled), default=0.0)
    end = time.monotonic() + config.safety.study_timeout_s + min(longest, 60.0)
    while time.monotonic() < end:
        await asyncio.sleep(_STATUS_S)
        if all(phase is Phase.DISARMED for phase in bridge.status.phases.values()):
            return
