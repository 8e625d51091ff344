"""MQTT endpoint of an actor: mutual TLS, QoS 1, last will, discovery, receipts from end to end.

A broker's acknowledgement only says that the broker has a message.  A message is settled when its receiver has stored
it and says so in a signed receipt on the response topic (:mod:`heila_mosaik.bridges.mqtt_topics`); until then the
courier repeats it under the same identity.  The receiver acknowledges to the broker after it has stored, so a broker
keeps what an actor that died had not stored.
"""

from __future__ import annotations

import json
import logging
import queue
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from heila_mosaik.bridges import mqtt_topics as topics
from heila_mosaik.bridges.envelope import PAYLOAD_MAX, Sealed
from heila_mosaik.bridges.reception import Receipt, Reception, read_receipt
from heila_mosaik.bridges.registration import Directory
from heila_mosaik.bridges.smartapi import CONTENT_TYPE
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.bridges.store import StoreError
from heila_mosaik.bridges.store_rows import Delivery, Outgoing
from heila_mosaik.errors import HeilaError

IN_FLIGHT_MAX = 20
SESSION_S = 24 * 3600
JSON_TYPE = "application/json"
_STORE_RETRY_S = 0.5
_log = logging.getLogger(__name__)


class BrokerAwayError(HeilaError):
    """There is no connection to the broker."""

    def __init__(self, broker: Broker) -> None:
        super().__init__(f"no connection to the broker {broker.host}:{broker.port}")


class Post(Protocol):
    """Who keeps the outgoing messages, usually a :class:`heila_mosaik.bridges.courier.Courier`."""

    def settled(self, identity: str, state: Delivery, reason: str = "") -> None:
        """The receiver's word on a message."""
        ...

    def troubled(self, identity: str, reason: str) -> None:
        """A message could not be delivered now."""
        ...

    def kick(self, receiver: str = "") -> None:
        """Messages for a receiver may be tried again."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the broker is.

    Attributes:
        host: Name or address.
        port: TCP port.
        ca: CA certificate; ``None``: no TLS (loopback tests only).
        certificate: Certificate of the actor.
        key: Its key.
        version: 5, or 3 for MQTT 3.1.1, where the signature stands in a first line of the payload.
        keepalive_s: A link that is silent for half as long again is given up. [s]
        reconnect_s: First and longest pause before a new connection. [s]
    """

    host: str
    port: int
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    version: int = 5
    keepalive_s: int = 10
    reconnect_s: tuple[int, int] = (1, 30)

    def context(self) -> ssl.SSLContext | None:
        """TLS context that verifies the broker and shows the actor's certificate."""
        if self.ca is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(str(self.certificate), None if self.key is None else str(self.key))
        return context


Sync = Callable[[str, dict[str, Any]], None]


class MqttEndpoint:
    """A carrier (:class:`heila_mosaik.bridges.courier.Carrier`) over one broker, and the inbox that goes with it.

    Args:
        reception: Opens, checks and stores what comes in; its envelope signs.
        broker: The broker.
        post: Told what became of messages.
        directory: Takes registrations; ``None``: keys are known beforehand.
        about: The actor's own registration, published retained.
        on_sync: Takes what a lock-step coordinator, or one that is coordinated, sends: sender and content.
    """

    def __init__(
        self,
        reception: Reception,
        broker: Broker,
        post: Post,
        *,
        directory: Directory | None = None,
        about: Callable[[], bytes] | None = None,
        on_sync: Sync | None = None,
    ) -> None:
        self.actor = reception.envelope.keys.actor
        self.counts: Counter[str] = reception.counts
        self.peers: dict[str, bool] = {}
        self._reception, self._broker, self._post = reception, broker, post
        self._directory, self._about, self._on_sync = directory, about, on_sync
        self._ready = threading.Event()
        self._flying: dict[int, str] = {}
        self._packets: queue.Queue[tuple[int, paho.MQTTMessage] | None] = queue.Queue()
        self._generation = 0
        self._stopping = threading.Event()
        self._worker = threading.Thread(target=self._work, name=f"mqtt {self.actor}", daemon=True)
        self._client = self._make_client()

    def _make_client(self) -> paho.Client:
        five = self._broker.version == 5
        identity = f"heila-{topics.check_name(self.actor)}"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=identity,
            clean_session=None if five else False,
            protocol=paho.MQTTv5 if five else paho.MQTTv311,
            manual_ack=True,
        )
        context = self._broker.context()
        if context is not None:
            client.tls_set_context(context)
        client.max_inflight_messages_set(IN_FLIGHT_MAX)
        first, longest = self._broker.reconnect_s
        client.reconnect_delay_set(min_delay=first, max_delay=longest)
        client.will_set(topics.status_topic(self.actor), b"offline", qos=1, retain=True)
        client.on_socket_open = _no_delay
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message, client.on_publish = self._on_message, self._on_publish
        return client

    def start(self) -> None:
        """Connect in the background; reconnects with growing pauses until :meth:`stop`."""
        self._worker.start()
        host, port, keepalive = self._broker.host, self._broker.port, self._broker.keepalive_s
        if self._broker.version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_S
            properties.ReceiveMaximum = IN_FLIGHT_MAX
            properties.MaximumPacketSize = PAYLOAD_MAX + 8192
            self._client.connect_async(host, port, keepalive=keepalive, clean_start=False, properties=properties)
        else:
            self._client.connect_async(host, port, keepalive=keepalive)
        self._client.loop_start()

    def stop(self) -> None:
        """Say ``offline`` and leave."""
        self._stopping.set()
        self._packets.put(None)
        if self._client.is_connected():
            self._client.publish(topics.status_topic(self.actor), b"offline", qos=1, retain=True).wait_for_publish(2.0)
        self._client.disconnect()
        self._client.loop_stop()
        self._ready.clear()
        if self._worker.is_alive():
            self._worker.join(2.0)

    @property
    def connected(self) -> bool:
        """Whether the endpoint is connected and subscribed."""
        return self._ready.is_set()

    def wait_ready(self, timeout_s: float) -> bool:
        """Whether the endpoint is connected and subscribed within the time."""
        return self._ready.wait(timeout_s)

    def register(self) -> None:
        """Publish the actor's registration (again)."""
        if self._about is not None:
            self._client.publish(topics.about_topic(self.actor), self._about(), qos=1, retain=True)

    def carry(self, outgoing: Outgoing, lifetime_s: int) -> None:
        """Seal and publish; see :class:`heila_mosaik.bridges.courier.Carrier`.

        Raises:
            BrokerAwayError: If there is no connection now.
            RefusedError: If the message cannot be sealed.
        """
        if not self._ready.is_set():
            raise BrokerAwayError(self._broker)
        message = outgoing.message
        sealed = self._reception.wire.seal(message, lifetime_s=lifetime_s)
        topic = topics.inbox_topic(message.receiver, self.actor)
        self._publish(topic, sealed, CONTENT_TYPE, 1, topics.receipt_topic(self.actor, message.receiver))

    def sync(self, receiver: str, content: dict[str, Any]) -> None:
        """Send a word of the lock-step conversation."""
        payload = json.dumps(content, separators=(",", ":")).encode()
        sealed = self._reception.envelope.seal(payload, receiver)
        self._publish(topics.sync_topic(receiver, self.actor), sealed, JSON_TYPE, 1)

    def _publish(self, topic: str, sealed: Sealed, content_type: str, qos: int, response: str = "") -> None:
        if self._broker.version == 5:
            properties = _properties(sealed, content_type, response)
            info = self._client.publish(topic, sealed.payload, qos=qos, properties=properties)
        else:
            info = self._client.publish(topic, topics.frame(sealed), qos=qos)
        if info.rc not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN):
            raise BrokerAwayError(self._broker)
        if qos and response:
            self._flying[info.mid] = sealed.jti

    def _on_connect(self, client: paho.Client, _data: object, _flags: object, reason: object, _: object) -> None:
        if getattr(reason, "is_failure", True):
            self.counts["connection_refused"] += 1
            _log.error("%s: broker refused the connection: %s", self.actor, reason)
            return
        self.counts["connected"] += 1
        self._generation += 1
        me, root = self.actor, topics.ROOT
        filters = [f"{root}/{me}/in/+", f"{root}/{me}/receipt/+", f"{root}/{me}/sync/+", f"{root}/+/status"]
        if self._directory is not None:
            filters.append(f"{root}/+/about")
        if self._broker.version == 5:
            client.subscribe([(each, SubscribeOptions(qos=1)) for each in filters])
        else:
            client.subscribe([(each, 1) for each in filters])
        client.publish(topics.status_topic(self.actor), b"online", qos=1, retain=True)
        self.register()

    def _on_subscribe(self, _client: paho.Client, _data: object, _mid: int, reasons: Any, _: object) -> None:
        if any(getattr(reason, "is_failure", True) for reason in reasons):
            self.counts["subscription_refused"] += 1
            _log.error("%s: the broker's ACL refused a subscription", self.actor)
            return
        self._ready.set()
        self._post.kick()

    def _on_disconnect(self, _client: paho.Client, _data: object, _flags: object, reason: object, _: object) -> None:
        self._ready.clear()
        self._flying.clear()
        self.counts["disconnected"] += 1
        if not self._stopping.is_set():
            _log.warning("%s: disconnected: %s", self.actor, reason)

    def _on_publish(self, _client: paho.Client, _data: object, mid: int, reason: object, _: object) -> None:
        identity = self._flying.pop(mid, None)
        if identity is not None and getattr(reason, "is_failure", False):
            self.counts["refused_by_broker"] += 1
            self._post.settled(identity, Delivery.REFUSED, f"the broker refused it: {reason}")

    def _on_message(self, _client: paho.Client, _data: object, packet: paho.MQTTMessage) -> None:
        # the network thread only hands over, so that pings go on while a message is stored
        self._packets.put((self._generation, packet))

    def _work(self) -> None:
        while (given := self._packets.get()) is not None:
            generation, packet = given
            if self._handle(packet) and generation == self._generation:
                self._client.ack(packet.mid, packet.qos)

    def _handle(self, packet: paho.MQTTMessage) -> bool:
        """Take a packet; returns whether it may be acknowledged."""
        levels = packet.topic.split("/")
        try:
            match levels[3:]:
                case ["status"]:
                    self._take_status(levels[2], packet.payload == b"online")
                case ["about"] if self._directory is not None:
                    self._take_registration(levels[2], bytes(packet.payload))
                case ["in", peer]:
                    return self._take_message(peer, packet)
                case ["receipt", peer]:
                    self._take_receipt(peer, self._unpack(packet))
                case ["sync", peer]:
                    self._take_sync(peer, self._unpack(packet))
        except RefusedError as error:
            self.counts[f"refused_{error.reason}"] += 1
            _log.warning("%s: %s: %s", self.actor, packet.topic, error)
        except Exception:  # the worker must outlive whatever the consumer does
            self.counts["delivery_failed"] += 1
            _log.exception("%s: %s", self.actor, packet.topic)
        return True

    def _take_status(self, peer: str, online: bool) -> None:
        before, self.peers[peer] = self.peers.get(peer), online
        if online and before is False:
            self._post.kick(peer)

    def _take_registration(self, peer: str, document: bytes) -> None:
        assert self._directory is not None
        if document and peer != self.actor:
            self._directory.take(document, peer)

    def _take_message(self, peer: str, packet: paho.MQTTMessage) -> bool:
        try:
            unpacked = self._unpack(packet)
        except RefusedError as error:
            self.counts[f"refused_{error.reason}"] += 1
            _log.warning("%s: %s: %s", self.actor, packet.topic, error)
            return True
        identity = bytes(getattr(packet.properties, "CorrelationData", b"") or b"").decode("ascii", "replace")
        complained = False
        while not self._stopping.is_set():
            try:
                receipt = self._reception.receive(unpacked, peer=peer, identity=identity, via="mqtt")
            except RefusedError:
                return True  # counted and logged at the door; a forger gets no answer
            except StoreError as error:
                # not acknowledged: the broker keeps it, and this end takes no further one
                if not complained:
                    _log.error("%s: not stored: %s", self.actor, error)
                complained = True
                self._stopping.wait(_STORE_RETRY_S)
                continue
            self._answer(peer, receipt)
            return True
        return False

    def _answer(self, peer: str, receipt: Receipt) -> None:
        sealed = self._reception.envelope.seal(receipt.to_json(), peer)
        # quality of service 0: if it is lost the message is repeated, and answered again
        self._publish(topics.receipt_topic(peer, self.actor), sealed, JSON_TYPE, 0)

    def _take_receipt(self, peer: str, unpacked: topics.Packet) -> None:
        receipt = read_receipt(self._open(peer, unpacked))
        if receipt.state is Delivery.WAITING:
            self._post.troubled(receipt.id, receipt.reason)
            return
        self._post.settled(receipt.id, receipt.state, receipt.reason)

    def _take_sync(self, peer: str, unpacked: topics.Packet) -> None:
        content = json.loads(self._open(peer, unpacked))
        if self._on_sync is not None and isinstance(content, dict):
            self._on_sync(peer, content)

    def _open(self, peer: str, unpacked: topics.Packet) -> bytes:
        opened = self._reception.envelope.open(unpacked.payload, unpacked.signature, encrypted=unpacked.encrypted)
        if opened.issuer != peer:
            raise RefusedError(Refusal.WRONG_ISSUER, f"{opened.issuer} on the topic of {peer}", remedy="speak as self")
        return opened.payload

    def _unpack(self, packet: paho.MQTTMessage) -> topics.Packet:
        payload = bytes(packet.payload)
        if self._broker.version != 5:
            return topics.unframe(payload, CONTENT_TYPE)
        users = dict(getattr(packet.properties, "UserProperty", None) or [])
        return topics.Packet(
            payload=payload,
            signature=users.get("jws", ""),
            encrypted=users.get("enc") == "1",
            content_type=str(getattr(packet.properties, "ContentType", CONTENT_TYPE)),
        )


def _properties(sealed: Sealed, content_type: str, response: str) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.ContentType = content_type
    properties.MessageExpiryInterval = sealed.lifetime_s
    if response:
        properties.ResponseTopic = response
        properties.CorrelationData = sealed.jti.encode()[:128]
    properties.UserProperty = [("jws", sealed.signature), ("enc", "1" if sealed.encrypted else "0")]
    return properties


def _no_delay(_client: paho.Client, _data: object, sock: object) -> None:
    # paho leaves Nagle's algorithm on: request and answer then wait for delayed acknowledgements (40 ms)
    raw = sock if hasattr(sock, "setsockopt") else getattr(sock, "socket", None)
    if raw is not None:
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
