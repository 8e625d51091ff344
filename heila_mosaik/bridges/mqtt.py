"""MQTT 5 endpoint of an actor: QoS 1, mutual TLS, Nagle off, bounded offline queue, single effect by message id.

Topics: ``heila/v1/<receiver>/in/<sender>`` carries messages, so a broker's ACL can tie the last level to the
certificate's common name; ``heila/v1/<actor>/status`` is retained ``online``/``offline`` (last will).
The signature travels in the user property ``jws``, ``enc: 1`` marks an encrypted payload.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from heila_mosaik.bridges.envelope import Sealed
from heila_mosaik.bridges.smartapi import CONTENT_TYPE
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.domain.information import Message

ROOT = "heila/v1"
IN_FLIGHT_MAX = 20
QUEUE_MAX = 10_000
SEEN_MAX = 100_000
SESSION_S = 3600
_log = logging.getLogger(__name__)


def inbox_topic(receiver: str, sender: str) -> str:
    """Topic a sender publishes to for a receiver.

    Raises:
        ValueError: If a name would break out of its topic level.
    """
    for name in (receiver, sender):
        if not name or any(char in name for char in "/+#\x00"):
            raise ValueError(f"actor name {name!r} must not be empty or contain '/', '+' or '#'")
    return f"{ROOT}/{receiver}/in/{sender}"


def status_topic(actor: str) -> str:
    """Topic of an actor's liveness."""
    return f"{ROOT}/{actor}/status"


def broker_acl() -> str:
    """ACL of a mosquitto with ``use_identity_as_username``: an actor writes as itself and reads its own inbox."""
    rules = ("write {0}/+/in/%u", "read {0}/%u/in/+", "write {0}/%u/status", "read {0}/+/status")
    return "".join(f"pattern {rule.format(ROOT)}\n" for rule in rules)


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is.

    Attributes:
        host: Name or address.
        port: TCP port.
        ca: CA certificate; ``None``: no TLS (loopback tests only).
        certificate: Certificate of the actor.
        key: Its key.
    """

    host: str
    port: int
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext | None:
        """TLS context that verifies the broker and shows the actor's certificate."""
        if self.ca is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(str(self.certificate), None if self.key is None else str(self.key))
        return context


class MqttEndpoint:
    """Sends and receives one actor's messages.

    Args:
        wire: Seals and opens.
        broker: The broker.
        deliver: Called once per message, from the network thread; must only enqueue.
    """

    def __init__(self, wire: Wire, broker: Broker, deliver: Callable[[Message], None]) -> None:
        self.actor = wire.envelope.keys.actor
        self.counts: Counter[str] = Counter()
        self.peers: dict[str, bool] = {}
        self._wire, self._broker, self._deliver = wire, broker, deliver
        self._waiting: deque[tuple[str, Sealed]] = deque()
        self._pending: dict[int, tuple[str, Sealed]] = {}
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._lock = threading.RLock()
        self._ready = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._client = self._make_client()

    def _make_client(self) -> paho.Client:
        client = paho.Client(CallbackAPIVersion.VERSION2, client_id=f"heila-{self.actor}", protocol=paho.MQTTv5,
                             manual_ack=True)  # fmt: skip
        context = self._broker.context()
        if context is not None:
            client.tls_set_context(context)
        client.max_inflight_messages_set(IN_FLIGHT_MAX)
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        client.will_set(status_topic(self.actor), b"offline", qos=1, retain=True)
        client.on_socket_open = _no_delay
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message, client.on_publish = self._on_message, self._on_publish
        return client

    def start(self) -> None:
        """Connect in the background; reconnects with growing pauses until :meth:`stop`."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_S
        properties.ReceiveMaximum = IN_FLIGHT_MAX
        self._client.connect_async(self._broker.host, self._broker.port, keepalive=10, clean_start=False,
                                   properties=properties)  # fmt: skip
        self._client.loop_start()

    def stop(self) -> None:
        """Say ``offline`` and leave."""
        if self._client.is_connected():
            self._client.publish(status_topic(self.actor), b"offline", qos=1, retain=True).wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()
        self._ready.clear()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether the endpoint is connected and subscribed within the time."""
        return self._ready.wait(timeout_s)

    def flush(self, timeout_s: float) -> bool:
        """Whether everything sent was acknowledged by the broker within the time."""
        return self._idle.wait(timeout_s)

    def send(self, message: Message, *, lifetime_s: int = 300) -> Sealed:
        """Seal and send; kept while the broker is away.

        Raises:
            RefusedError: If the message cannot be sealed or the queue is full.
        """
        topic = inbox_topic(message.receiver, self.actor)
        sealed = self._wire.seal(message, lifetime_s=lifetime_s)
        with self._lock:
            if len(self._waiting) + len(self._pending) >= QUEUE_MAX:
                raise RefusedError(Refusal.OVERSIZE, f"{QUEUE_MAX} messages wait for the broker", where=topic,
                                   remedy="restore the connection, or send less")  # fmt: skip
            self._idle.clear()
            self._waiting.append((topic, sealed))
        self._pump()
        return sealed

    def _pump(self) -> None:
        with self._lock:
            while self._waiting and self._ready.is_set() and len(self._pending) < IN_FLIGHT_MAX:
                topic, sealed = self._waiting.popleft()
                info = self._client.publish(topic, sealed.payload, qos=1, properties=_properties(sealed))
                if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
                    self._waiting.appendleft((topic, sealed))
                    return
                # paho itself repeats what it accepted after a reconnect
                self._pending[info.mid] = (topic, sealed)
            if not self._waiting and not self._pending:
                self._idle.set()

    def _on_connect(self, client: paho.Client, _data: object, _flags: object, reason: object, _: object) -> None:
        if getattr(reason, "is_failure", True):
            self.counts["connection_refused"] += 1
            _log.error("%s: broker refused the connection: %s", self.actor, reason)
            return
        self.counts["connected"] += 1
        client.subscribe([(f"{ROOT}/{self.actor}/in/+", SubscribeOptions(qos=1)),
                          (f"{ROOT}/+/status", SubscribeOptions(qos=1))])  # fmt: skip
        client.publish(status_topic(self.actor), b"online", qos=1, retain=True)

    def _on_subscribe(self, _client: paho.Client, _data: object, _mid: int, reasons: Any, _: object) -> None:
        if any(getattr(reason, "is_failure", True) for reason in reasons):
            _log.error("%s: the broker's ACL refused a subscription", self.actor)
            return
        self._ready.set()
        self._pump()

    def _on_disconnect(self, _client: paho.Client, _data: object, _flags: object, reason: object, _: object) -> None:
        self._ready.clear()
        self.counts["disconnected"] += 1
        _log.warning("%s: disconnected: %s", self.actor, reason)

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, reason: object, _: object) -> None:
        with self._lock:
            sent = self._pending.pop(mid, None)
        if sent is not None:
            failed = bool(getattr(reason, "is_failure", False))
            self.counts["refused_by_broker" if failed else "acknowledged"] += 1
            if failed:
                _log.error("%s: broker refused %s: %s", self.actor, sent[0], reason)
        self._pump()

    def _on_message(self, client: paho.Client, _data: object, packet: paho.MQTTMessage) -> None:
        try:
            if packet.topic.endswith("/status"):
                self.peers[packet.topic.split("/")[-2]] = packet.payload == b"online"
            else:
                self._receive(packet)
        except RefusedError as error:
            self.counts[f"refused_{error.reason}"] += 1
            _log.warning("%s: %s", self.actor, error)
        except Exception:  # the network thread must outlive whatever the consumer does
            self.counts["delivery_failed"] += 1
            _log.exception("%s: delivery failed", self.actor)
        client.ack(packet.mid, packet.qos)

    def _receive(self, packet: paho.MQTTMessage) -> None:
        listed = getattr(packet.properties, "UserProperty", []) if packet.properties else []
        properties = dict(listed)
        content_type = str(getattr(packet.properties, "ContentType", CONTENT_TYPE))
        encrypted = properties.get("enc") == "1"
        try:
            message = self._wire.open(bytes(packet.payload), properties.get("jws", ""), encrypted=encrypted,
                                      content_type=content_type)  # fmt: skip
        except RefusedError as error:
            if error.reason is Refusal.REPLAYED and packet.dup:
                self.counts["duplicate"] += 1
                return
            raise
        sender = packet.topic.rpartition("/")[2]
        if sender != message.sender:
            raise RefusedError(Refusal.WRONG_ISSUER, f"{message.sender} on the topic of {sender}", where=packet.topic,
                               remedy="publish on the own topic")  # fmt: skip
        if not self._first(message.sender, message.id):
            self.counts["duplicate"] += 1
            return
        self.counts["delivered"] += 1
        self._deliver(message)

    def _first(self, sender: str, identity: str) -> bool:
        if (sender, identity) in self._seen:
            return False
        self._seen[sender, identity] = None
        if len(self._seen) > SEEN_MAX:
            self._seen.popitem(last=False)
        return True


def _properties(sealed: Sealed) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = CONTENT_TYPE
    properties.MessageExpiryInterval = sealed.lifetime_s
    properties.CorrelationData = sealed.jti.encode()[:128]
    properties.UserProperty = [("jws", sealed.signature), ("enc", "1" if sealed.encrypted else "0")]
    return properties


def _no_delay(_client: paho.Client, _data: object, sock: object) -> None:
    # paho leaves Nagle's algorithm on: request and answer then wait for delayed acknowledgements (40 ms)
    raw = sock if hasattr(sock, "setsockopt") else getattr(sock, "socket", None)
    if raw is not None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
