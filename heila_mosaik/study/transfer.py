"""Transfer times as in table 3 of the MultiPower paper: from the sender's database to the receiver's.

Two processes, MGMS and AMS, each with its store.  A message counts from the commit in the sender's outbox to the commit
in the receiver's inbox; between them lie serialisation, signature, TLS, the broker or the HTTP server, verification and
parsing.  Both processes run on one machine and read the same clock.
"""

from __future__ import annotations

import asyncio
import multiprocessing as mp
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from heila_mosaik.actors.base import Outbox, Outcome
from heila_mosaik.bridges import keys as keyring
from heila_mosaik.bridges.broker import NAME as BROKER
from heila_mosaik.bridges.broker import BrokerProcess, free_port
from heila_mosaik.bridges.clock import PacedClock
from heila_mosaik.bridges.https import Listen
from heila_mosaik.bridges.mqtt import Broker
from heila_mosaik.bridges.node import LiveNode, NodeSettings
from heila_mosaik.domain.information import (
    ActivationNotification,
    FlexibilityForecast,
    InformationObject,
    Measurements,
    Message,
    PQProfile,
)
from heila_mosaik.domain.quantities import Product
from heila_mosaik.errors import HeilaError

START = datetime(2016, 8, 22, tzinfo=UTC)
_LIMIT_S = 120.0
_WARM = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the table.

    Attributes:
        name: Message and route.
        published_ms: Mean of ten in the paper's table 3; ``None``: not in it. [ms]
        kind: ``flexibility``, ``forecast`` (36 h in quarter hours) or ``activation``.
        over: ``http`` or ``mqtt``.
        tls: Whether the connection is encrypted, both ends showing a certificate.
        encrypt: Whether the body is encrypted, too.
    """

    name: str
    published_ms: float | None
    kind: str
    over: str
    tls: bool = True
    encrypt: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Figures of one line.

    Attributes:
        case: The line.
        bytes: Size of the message. [B]
        ms: Transfer times, one message at a time. [ms]
        rate: Messages a second, sent as fast as they are confirmed. [1/s]
        lost: Messages of the burst that did not arrive.
    """

    case: Case
    bytes: int
    ms: tuple[float, ...]
    rate: float
    lost: int

    def quantile(self, share: float) -> float:
        """Quantile of the transfer time. [ms]"""
        return float(np.quantile(self.ms, share))

    @property
    def mean_of_ten(self) -> float:
        """Mean of the first ten, as in the paper. [ms]"""
        return float(np.mean(self.ms[:10]))


_LINES = (
    ("Flexibility, MGMS to AMS, HTTP", 47.0, "flexibility", "http"),
    ("Flexibility, MGMS to AMS, MQTT", 52.0, "flexibility", "mqtt"),
    ("Activation, AMS to MGMS, MQTT", 36.0, "activation", "mqtt"),
    ("Flexibility of 36 h, MGMS to AMS, MQTT", None, "forecast", "mqtt"),
)
CASES = tuple(
    Case(name=name, published_ms=published, kind=kind, over=over, tls=tls, encrypt=encrypt)
    for name, published, kind, over in _LINES
    for tls, encrypt in ((False, False), (True, False), (True, True))
)
"""All lines, each signed only, with TLS, and with TLS and encrypted bodies."""


class _Sender:
    """Sends what it is told in its next step."""

    def __init__(self, name: str) -> None:
        self.name, self._out = name, Outbox(name)
        self.next: tuple[str, Sequence[InformationObject]] = ("", ())

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:  # noqa: ARG002
        """Send."""
        self._out.begin(now)
        receiver, bodies = self.next
        for body in bodies:
            self._out.send(receiver, body)
        self.next = ("", ())
        return self._out.outcome()


class _Receiver:
    """Takes everything."""

    def __init__(self, name: str) -> None:
        self.name, self._out = name, Outbox(name)

    def step(self, now: datetime, inbox: Sequence[Message], measurements: Measurements | None) -> Outcome:  # noqa: ARG002
        """Take."""
        self._out.begin(now)
        return self._out.outcome()


def body(kind: str, number: int) -> InformationObject:
    """Message of a case."""
    if kind == "activation":
        stop = START + timedelta(hours=1)
        return ActivationNotification(id=f"a{number}", reserve=f"r{number}", location="mg", start=START, stop=stop,
                                      p_mw=-0.1, q_mvar=0.05)  # fmt: skip
    count = 144 if kind == "forecast" else 1
    wave = tuple(float(round(0.2 + 0.1 * np.sin(k / 9.0) + number * 1e-6, 6)) for k in range(count))
    low, high = tuple(p - 0.3 for p in wave), tuple(p + 0.2 for p in wave)
    profile = PQProfile(start=START, step_s=900, p_mw=wave, q_mvar=wave, p_min_mw=low, p_max_mw=high, q_min_mvar=low,
                        q_max_mvar=high)  # fmt: skip
    return FlexibilityForecast(id=f"f{number}", subject=f"mg{number}", issued_at=START, product=Product.CRP,
                               profile=profile, energy_up_mwh=0.5, energy_down_mwh=0.25)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What a process of the measurement is given."""

    settings: NodeSettings
    sender: str
    receiver: str
    kind: str
    single: int
    burst: int


def _receive(plan: _Plan, ready: Any, ended: Any) -> None:
    async def story() -> None:
        node = LiveNode(_Receiver(plan.receiver), PacedClock(simulated=START, wall=datetime.now(UTC)), plan.settings)
        task = asyncio.create_task(node.run())
        await _open(node)
        ready.set()
        while not ended.is_set() and not task.done():
            await asyncio.sleep(0.05)
        node.host.stop()
        await task

    asyncio.run(story())


async def _open(node: LiveNode) -> None:
    """Until the ways are open and the other side is known."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        connected = node.mqtt is None or node.mqtt.connected
        known = node.directory is None or not node.directory.missing(node.settings.partners)
        if connected and known and (node.server is None or node.server.port):
            return
        await asyncio.sleep(0.02)
    raise TransferError(f"{node.name}: no connection within {_LIMIT_S:g} s")


class TransferError(HeilaError):
    """The measurement did not come to its end."""


def _send(plan: _Plan, figures: Any) -> None:
    async def story() -> None:
        actor = _Sender(plan.sender)
        node = LiveNode(actor, PacedClock(simulated=START, wall=datetime.now(UTC)), plan.settings)
        await node.open()
        await node.register()
        await _open(node)
        for number in range(_WARM + plan.single):
            await _confirmed(node, actor, plan, number, 1)
            await asyncio.sleep(0.002)
        began = time.perf_counter()
        first = _WARM + plan.single
        while first < _WARM + plan.single + plan.burst:
            # an open window of a few hundred: as fast as they are confirmed
            await _confirmed(node, actor, plan, first, 50, leave=200)
            first += 50
        await _confirmed(node, actor, plan, first, 0)
        figures.put((time.perf_counter() - began, node.courier.waiting))
        await node.close()

    asyncio.run(story())


async def _confirmed(node: LiveNode, actor: _Sender, plan: _Plan, first: int, count: int, leave: int = 0) -> None:
    """Send messages and wait until at most ``leave`` are unconfirmed."""
    actor.next = (plan.receiver, [body(plan.kind, first + k) for k in range(count)])
    if count:
        await node.host.take(node.host.now(), ())
    end = time.monotonic() + _LIMIT_S
    while node.courier.waiting > leave and time.monotonic() < end:
        await asyncio.sleep(0.0005)


def measure(case: Case, folder: Path, *, single: int = 200, burst: int = 2000, durable: bool = True) -> Measured:
    """Measure one line in a fresh laboratory.

    Args:
        case: The line.
        folder: Folder to make.
        single: Messages sent one at a time.
        burst: Messages sent as fast as they are confirmed.
        durable: Whether every commit is forced to the disk.

    Raises:
        TransferError: If a process fails.
    """
    sender, receiver = ("ams", "mgms") if case.kind == "activation" else ("mgms", "ams")
    keys = folder / "keys"
    keyring.write_lab(keys, [sender, receiver, BROKER])
    broker = None
    if case.over == "mqtt":
        broker = BrokerProcess(keys=keys, work=folder / "broker", kind="mosquitto", tls=case.tls).start()
    try:
        plans = _plans(case, folder, sender, receiver, broker, (single, burst, durable))
        seconds, waiting = _run(plans)
    finally:
        if broker is not None:
            broker.stop()
    times = _times(folder / f"{sender}.db", folder / f"{receiver}.db", _WARM, single)
    arrived = _count(folder / f"{receiver}.db") - _WARM - single
    size = len(_payload(case.kind, sender, receiver))
    return Measured(case=case, bytes=size, ms=times, rate=arrived / seconds, lost=burst - arrived + waiting)


def _payload(kind: str, sender: str, receiver: str) -> bytes:
    from heila_mosaik.bridges.smartapi import write_message  # noqa: PLC0415 - rdflib is slow to import

    message = Message(id=f"{sender}-1", sender=sender, receiver=receiver, sent_at=START, body=body(kind, 1))
    return write_message(message)


def _plans(
    case: Case, folder: Path, sender: str, receiver: str, broker: BrokerProcess | None, amount: tuple[int, int, bool]
) -> list[_Plan]:
    single, burst, durable = amount
    ports = {name: free_port() for name in (sender, receiver)}
    scheme = "https" if case.tls else "http"
    plans = []
    for name, other in ((sender, receiver), (receiver, sender)):
        settings = NodeSettings(
            keys=folder / "keys",
            store=folder / f"{name}.db",
            encrypt=case.encrypt,
            durable=durable,
            registration=False,
            partners=(other,),
        )
        place = folder / "keys" / name
        if broker is not None:
            link = broker.link(name)
            plain = Broker(host=link.host, port=link.port, version=5)
            settings = replace(settings, broker=link if case.tls else plain)
        else:
            listen = Listen(port=ports[name])
            if case.tls:
                listen = replace(
                    listen, ca=folder / "keys/ca.pem", certificate=place / "tls.pem", key=place / "tls.key"
                )
            settings = replace(settings, listen=listen, https={other: f"{scheme}://127.0.0.1:{ports[other]}"})
        plans.append(_Plan(settings=settings, sender=sender, receiver=receiver, kind=case.kind, single=single,
                           burst=burst))  # fmt: skip
    return plans


def _run(plans: Sequence[_Plan]) -> tuple[float, int]:
    context = mp.get_context("spawn")
    ready, ended, figures = context.Event(), context.Event(), context.Queue()
    receiver = context.Process(target=_receive, args=(plans[1], ready, ended))
    sender = context.Process(target=_send, args=(plans[0], figures))
    receiver.start()
    try:
        if not ready.wait(_LIMIT_S):
            raise TransferError("the receiver did not start")
        sender.start()
        while sender.is_alive() and figures.empty():
            sender.join(0.05)
        if figures.empty():
            raise TransferError(f"the sender ended with {sender.exitcode}")
        found: tuple[float, int] = figures.get()
        sender.join(_LIMIT_S)
    finally:
        ended.set()
        for process in (receiver, sender):
            if process.pid is not None:
                process.join(20.0)
                if process.is_alive():
                    process.kill()
    return found


def _rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute(query).fetchall()


def _times(sender: Path, receiver: Path, skip: int, count: int) -> tuple[float, ...]:
    sent = dict(_rows(sender, f"SELECT id, created_ns FROM outbox ORDER BY seq LIMIT {count} OFFSET {skip}"))  # noqa: S608
    got = dict(_rows(receiver, "SELECT id, received_ns FROM inbox"))
    return tuple((got[identity] - at_ns) / 1e6 for identity, at_ns in sent.items() if identity in got)


def _count(path: Path) -> int:
    return int(_rows(path, "SELECT count(*) FROM inbox")[0][0])
