"""A laboratory on loopback: keys, a broker, and live actors that do nothing but keep what they get."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from heila_mosaik.actors.base import Outbox
from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.broker import BrokerProcess
from heila_mosaik.bridges.clock import PacedClock
from heila_mosaik.bridges.courier import Retry
from heila_mosaik.bridges.node import LiveNode, NodeSettings
from heila_mosaik.domain.information import ActivationNotification, Message, ReserveNotification
from heila_mosaik.domain.quantities import Product

START = datetime(2016, 8, 22, 4, tzinfo=UTC)
QUICK = Retry(first_s=0.3, longest_s=1.0)


_ORDERS = count()


class Keeper:
    """An actor that keeps what it gets and passes on what ``test`` gives it."""

    def __init__(self, name):
        self.name, self.out, self.got = name, Outbox(name), []

    def step(self, now, inbox, measurements):
        self.out.begin(now)
        for message in inbox:
            if message.sender == "test":
                self.out.send(message.receiver, message.body)
            else:
                self.got.append(message)
        return self.out.outcome(wake_at=now + timedelta(milliseconds=50))


def call(number, *, stop_s=3600.0, start=START, reserve=""):
    return ActivationNotification(
        id=f"a{number}", reserve=reserve or f"r{number}", location="x", start=start,
        stop=start + timedelta(seconds=stop_s), p_mw=-0.1, q_mvar=0.0,
    )  # fmt: skip


def reserve(number):
    return ReserveNotification(
        id=f"r{number}", offer="o", buyer="dms", seller="ams", location="x", product=Product.CRP, start=START,
        stop=START + timedelta(hours=1), p_min_mw=-0.2, p_max_mw=0.0, price_eur_per_mwh=50.0,
    )  # fmt: skip


class Running:
    """A live node in a thread of its own, as if it were a process."""

    def __init__(self, node):
        self.node, self.actor, self.error = node, node.host.actor, None
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self.node.run())
        except BaseException as error:
            self.error = error

    def say(self, receiver, *bodies):
        for body in bodies:
            order = Message(id=f"order-{next(_ORDERS)}", sender="test", receiver=receiver, sent_at=START, body=body)
            self.node.host.accept(order)

    @property
    def got(self):
        return [message.body.id for message in self.node.host.actor.got]

    def stop(self):
        self.node.host.stop()
        self.thread.join(15)
        assert not self.thread.is_alive()
        if self.error is not None:
            raise self.error


class Lab:
    """Keys, broker and nodes of one test."""

    def __init__(self, folder: Path, actors=("ams", "mgms"), kind="auto"):
        self.folder = folder
        self.keys = folder / "lab"
        k.write_lab(self.keys, [*actors, "broker"])
        self.broker = BrokerProcess(keys=self.keys, work=folder / "broker", kind=kind)
        self.running = []
        self.clock = PacedClock(simulated=START, wall=datetime.now(UTC))

    def node(self, name, *, through=None, actor=None, clock=None, **more):
        more.setdefault("broker", None)
        if more["broker"] is None and "listen" not in more and "https" not in more:
            link = self.broker.link(name, keepalive_s=2, reconnect_s=(1, 1))
            if through is not None:
                from dataclasses import replace

                link = replace(link, port=through)
            more["broker"] = link
        more.setdefault("retry", QUICK)
        settings = NodeSettings(keys=self.keys, store=self.folder / f"{name}.db", durable=False, **more)
        return LiveNode(actor or Keeper(name), clock or self.clock, settings)

    def run(self, name, **more):
        running = Running(self.node(name, **more))
        self.running.append(running)
        return running

    def __enter__(self):
        self.broker.start()
        return self

    def __exit__(self, *_):
        for running in self.running:
            if running.thread.is_alive():
                running.node.host.stop()
        for running in self.running:
            running.thread.join(15)
        self.broker.stop()


def until(condition, timeout_s=15.0):
    """Wait for a condition; the time is a limit, not an expectation."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def fates(node, database="outbox", column="state"):
    return [row[0] for row in node.store._rows(f"SELECT {column} FROM {database} ORDER BY seq")]


class Link:
    """A TCP link that can be cut without a sign, as a pulled cable is, or made slow."""

    def __init__(self, port):
        self.target, self.cut, self.delay_s = port, False, 0.0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.server.accept()
            except OSError:
                return
            if self.cut:
                self.pairs.append((near, near))
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                while self.cut:
                    time.sleep(0.02)
                if self.delay_s:
                    time.sleep(self.delay_s)
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            end.close()

    def close(self):
        self.cut = False
        self.server.close()
        for pair in self.pairs:
            for end in pair:
                end.close()
