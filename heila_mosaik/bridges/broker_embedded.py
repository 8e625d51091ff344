"""The embedded broker: amqtt with mutual TLS and the same topic rules as mosquitto gets.

``python -m heila_mosaik.bridges.broker_embedded --keys LAB --port 8883``
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action, ListenerConfig
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from heila_mosaik.bridges.mqtt_topics import allows

_PREFIX = "heila-"
_HERE = "heila_mosaik.bridges.broker_embedded"


def actor_of(client_id: str | None) -> str:
    """Actor behind a client identity that :class:`CertificateAuth` has let in; empty if it is none of ours."""
    return client_id.removeprefix(_PREFIX) if client_id and client_id.startswith(_PREFIX) else ""


def _common_name(session: Session) -> str:
    shown: dict[str, Any] = (session.ssl_object.getpeercert() if session.ssl_object else None) or {}
    names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else ""


class CertificateAuth(BaseAuthPlugin):
    """Lets in who shows a certificate of the laboratory and goes by its name."""

    async def authenticate(self, *, session: Session) -> bool:
        """Whether client identity and last will agree with the certificate."""
        name = _common_name(session)
        if not name or session.client_id != _PREFIX + name:
            return False
        will: str | None = session.will_topic if session.will_flag else None
        return will is None or allows(name, will, write=True)

    @dataclass
    class Config:
        """No settings."""


class TopicRules(BaseTopicPlugin):
    """An actor writes as itself and reads its own topics."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether an action is allowed."""
        if session is None or topic is None:
            return False
        return allows(actor_of(session.client_id), topic, write=action is Action.PUBLISH)

    @dataclass
    class Config:
        """No settings."""


def make_broker(keys: Path, host: str, port: int) -> Broker:
    """Broker that listens with the certificate of ``broker``."""
    own = keys / "broker"
    listener = {"type": "tcp", "bind": f"{host}:{port}", "ssl": True, "cafile": str(keys / "ca.pem"),
                "certfile": str(own / "tls.pem"), "keyfile": str(own / "tls.key")}  # fmt: skip
    plugins: dict[str, Any] = {f"{_HERE}.CertificateAuth": {}, f"{_HERE}.TopicRules": {}}
    return _MutualTls({"listeners": {"default": listener}, "plugins": plugins})


class _MutualTls(Broker):
    """amqtt asks for a certificate and goes on without one; here there is no connection without."""

    @staticmethod
    def _create_ssl_context(listener: ListenerConfig) -> ssl.SSLContext:
        context: ssl.SSLContext = Broker._create_ssl_context(listener)  # noqa: SLF001 - the only place to ask for it
        context.verify_mode = ssl.CERT_REQUIRED
        return context


async def serve(keys: Path, host: str, port: int) -> None:
    """Run until terminated."""
    broker = make_broker(keys, host, port)
    await broker.start()
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
    await broker.shutdown()


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog=_HERE, description="Embedded MQTT 3.1.1 broker of a laboratory.")
    parser.add_argument("--keys", type=Path, required=True, help="key folder of the laboratory")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8883)
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    asyncio.run(serve(given.keys, given.host, given.port))


if __name__ == "__main__":
    main()
