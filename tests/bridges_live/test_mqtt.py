"""Live actors over a real broker with mutual TLS."""

import queue
import time
from dataclasses import replace
from datetime import timedelta

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges import mqtt_topics as topics
from heila_mosaik.bridges.broker import find_mosquitto
from heila_mosaik.bridges.envelope import Envelope
from heila_mosaik.bridges.node import NotRegisteredError
from heila_mosaik.bridges.smartapi import CONTENT_TYPE
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.bridges.store_rows import Delivery
from heila_mosaik.domain.information import Message
from tests.bridges_live.lab import Lab, call, fates, reserve, until
from tests.bridges_smartapi.examples import EXAMPLES

KINDS = [
    pytest.param("mosquitto", marks=pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")),
    "embedded",
]


@pytest.fixture(params=KINDS)
def lab(request, tmp_path):
    with Lab(tmp_path, ("ams", "mgms", "dms"), kind=request.param) as lab:
        yield lab


@pytest.fixture
def mosquitto(tmp_path):
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed (apt-get install mosquitto)")
    with Lab(tmp_path, ("ams", "mgms", "dms"), kind="mosquitto") as lab:
        yield lab


@pytest.mark.parametrize("encrypt", [False, True])
def test_every_object_arrives_once_and_is_confirmed(lab, encrypt):
    partners = {"encrypt": encrypt}
    ams, mgms = lab.run("ams", partners=("mgms",), **partners), lab.run("mgms", partners=("ams",), **partners)
    bodies = [message.body for message in EXAMPLES]
    ams.say("mgms", *bodies)
    until(lambda: len(mgms.got) == len(bodies))
    assert [message.body for message in mgms.actor.got] == bodies
    # activation and reserve of the examples ended years ago on this clock's scale or not: all others are confirmed
    until(lambda: ams.node.courier.waiting == 0)
    until(lambda: fates(ams.node) == ["delivered"] * len(bodies))
    until(lambda: ams.node.mqtt.peers.get("mgms"))
    mgms.stop()
    until(lambda: ams.node.mqtt.peers["mgms"] is False)


def test_the_broker_is_killed_in_the_middle_of_a_sequence(lab):
    ams, mgms = lab.run("ams", partners=("mgms",)), lab.run("mgms", partners=("ams",))
    ams.say("mgms", reserve(0))
    until(lambda: mgms.got == ["r0"] and fates(ams.node) == ["delivered"])
    lab.broker.kill()
    ams.say("mgms", *(reserve(number) for number in range(1, 8)))
    until(lambda: ams.node.courier.waiting == 7)
    time.sleep(0.3)
    assert mgms.got == ["r0"]
    lab.broker.start()
    until(lambda: len(mgms.got) == 8, 30)
    assert sorted(mgms.got) == [f"r{number}" for number in range(8)]
    until(lambda: fates(ams.node) == ["delivered"] * 8)


def test_a_call_that_cannot_be_delivered_in_time_ends_on_both_sides_and_is_never_executed(mosquitto):
    lab = mosquitto
    ams, mgms = lab.run("ams", partners=("mgms",)), lab.run("mgms", partners=("ams",))
    ams.say("mgms", reserve(0))
    until(lambda: mgms.got == ["r0"] and fates(ams.node) == ["delivered"])
    lab.broker.kill()
    now = ams.node.host.now()
    ams.say("mgms", call(1, start=now, stop_s=2.0), reserve(1))
    until(lambda: "expired" in fates(ams.node))
    # the actor that sent it learns why, as a refusal
    until(lambda: ams.got == ["a1/undelivered"])
    assert "no connection to the broker" in ams.actor.got[0].body.reason
    assert "not confirmed before" in fates(ams.node, column="reason")[1]
    lab.broker.start()
    until(lambda: mgms.got == ["r0", "r1"], 30)
    time.sleep(0.3)
    assert mgms.got == ["r0", "r1"]


def test_what_lost_its_use_on_the_way_does_not_get_in(mosquitto):
    ams, mgms = mosquitto.run("ams", partners=("mgms",)), mosquitto.run("mgms", partners=("ams",))
    until(lambda: ams.node.directory.known.get("mgms") and mgms.node.directory.known.get("ams"))
    now = ams.node.host.now()

    def arrive(identity, body):
        """As a queue hands it over that held it too long."""
        message = Message(id=identity, sender="ams", receiver="mgms", sent_at=now, body=body)
        sealed = ams.node.reception.wire.seal(message)
        packet = topics.Packet(
            payload=sealed.payload, signature=sealed.signature, encrypted=sealed.encrypted, content_type=CONTENT_TYPE
        )
        return mgms.node.reception.receive(packet, peer="ams", identity=identity, via="mqtt")

    late = arrive("x1", call(1, start=now - timedelta(minutes=2), stop_s=60.0))
    assert late.state is Delivery.REFUSED
    assert late.reason.startswith("too_late: it was of use until 2016-08-22T03:59:")
    assert arrive("x2", call(2, start=now, stop_s=1.0)).state is Delivery.DELIVERED
    until(lambda: mgms.node.host.now() > now + timedelta(seconds=1))
    again = arrive("x2", call(2, start=now, stop_s=1.0))
    assert (again.state, again.duplicate) == (Delivery.DELIVERED, True), "it was in time when it came first"
    until(lambda: mgms.got == ["a2"])
    assert mgms.node.counts["refused_too_late"] == 1


def test_the_receiver_dies_after_it_stored_and_before_it_confirmed(mosquitto):
    lab = mosquitto
    ams, mgms = lab.run("ams", partners=("mgms",)), lab.run("mgms", partners=("ams",))
    until(lambda: ams.node.directory.known.get("mgms"))
    mgms.node.mqtt._answer = lambda peer, receipt: None  # dies before the receipt leaves
    ams.say("mgms", reserve(1))
    until(lambda: mgms.got == ["r1"])
    mgms.stop()
    assert fates(ams.node) == ["waiting"]
    again = lab.run("mgms", partners=("ams",))
    assert again.node.store.last_step() > 0
    until(lambda: fates(ams.node) == ["delivered"])
    assert again.got == ["r1"], "its journal says it once; the repetition has no second effect"
    assert again.node.counts["duplicate"] >= 1


def test_the_sender_dies_with_a_full_outbox(mosquitto):
    lab = mosquitto
    mgms = lab.run("mgms", partners=("ams",))
    ams = lab.run("ams", partners=("mgms",))
    until(lambda: mgms.node.mqtt.connected and ams.node.directory.known.get("mgms"))
    mgms.stop()
    ams.node.courier.default = None  # nothing leaves any more
    ams.say("mgms", reserve(1), reserve(2))
    until(lambda: ams.node.courier.waiting == 2)
    ams.stop()
    lab.run("ams")
    again = lab.run("mgms", partners=("ams",))
    until(lambda: again.got == ["r1", "r2"])


def test_rotation_while_messages_flow(mosquitto):
    lab = mosquitto
    ams, mgms = lab.run("ams", partners=("mgms",), encrypt=True), lab.run("mgms", partners=("ams",), encrypt=True)
    ams.say("mgms", reserve(0))
    until(lambda: mgms.got == ["r0"])
    before = ams.node.envelope.keys.signing[0].kid
    k.rotate(lab.keys, "ams")
    k.rotate(lab.keys, "mgms")
    number = 1
    while len(ams.node.envelope.keys.signing) != 2 or ams.node.envelope.keys.signing[0].kid == before:
        ams.say("mgms", reserve(number))
        number += 1
        time.sleep(0.05)
        assert number < 500
    ams.say("mgms", reserve(number))
    until(lambda: len(mgms.got) == number + 1, 30)
    assert mgms.got == [f"r{each}" for each in range(number + 1)]


def test_who_does_not_register_is_named(lab):
    running = lab.run("ams", partners=("mgms", "dms"), registration_s=0.5)
    running.thread.join(10)
    assert isinstance(running.error, NotRegisteredError)
    assert running.error.missing == ("mgms", "dms")
    assert "registration.limit_s" in str(running.error)


class Raw:
    """A bare MQTT client with a certificate of the laboratory."""

    def __init__(self, lab, actor, client_id=None):
        link = lab.broker.link(actor)
        version = paho.MQTTv5 if link.version == 5 else paho.MQTTv311
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id=client_id or f"heila-{actor}", protocol=version
        )
        self.client.tls_set_context(link.context())
        self.got, self.reasons, self.up = queue.Queue(), queue.Queue(), queue.Queue()
        self.client.on_message = lambda c, d, packet: self.got.put(packet)
        self.client.on_publish = lambda c, d, mid, reason, p: self.reasons.put(reason)
        self.client.on_connect = lambda c, d, f, reason, p: self.up.put(reason)
        self.client.connect(link.host, link.port)
        self.client.loop_start()

    def __enter__(self):
        self.up.get(timeout=10)
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()


def test_an_actor_uses_its_own_topics_only(lab):
    mgms = lab.run("mgms")
    until(lambda: mgms.node.mqtt.connected)
    with Raw(lab, "dms") as fake:
        fake.client.subscribe(topics.inbox_topic("mgms", "ams"), 1)
        fake.client.subscribe("heila/v1/#", 1)
        fake.client.publish(topics.inbox_topic("mgms", "ams"), b"x", qos=1)
        fake.client.publish(topics.status_topic("ams"), b"online", qos=1, retain=True)
        time.sleep(0.5)
        assert not mgms.node.mqtt.peers.get("ams")
        foreign = [packet.topic for packet in list(fake.got.queue) if "/in/" in packet.topic]
        assert foreign == []
        assert not any(name.startswith("refused_no") for name in mgms.node.counts)


def test_nobody_speaks_for_another_even_with_the_right_signature(mosquitto):
    lab = mosquitto
    mgms = lab.run("mgms", registration=False)
    until(lambda: mgms.node.mqtt.connected)
    trust = k.load_trust(lab.keys)
    message = replace(EXAMPLES[9], sender="ams", receiver="mgms")
    stolen = Wire(Envelope(k.load(lab.keys, "ams"), trust)).seal(message)
    from heila_mosaik.bridges.mqtt import _properties

    with Raw(lab, "dms") as fake:
        topic = topics.inbox_topic("mgms", "dms")
        fake.client.publish(topic, stolen.payload, qos=1, properties=_properties(stolen, "text/turtle", ""))
        until(lambda: mgms.node.counts["refused_wrong_issuer"] == 1)
        fake.client.publish(topic, b"junk", qos=1)
        until(lambda: mgms.node.counts["refused_no_signature"] == 1)
    assert mgms.got == []


def test_topic_rules():
    assert topics.allows("ams", "heila/v1/mgms/in/ams", write=True)
    assert not topics.allows("dms", "heila/v1/mgms/in/ams", write=True)
    assert not topics.allows("ams", "heila/v1/mgms/in/+", write=True)
    assert topics.allows("ams", "heila/v1/ams/in/+", write=False)
    assert topics.allows("ams", "heila/v1/ams/in/mgms", write=False)
    for stolen in ("heila/v1/mgms/in/+", "heila/v1/+/in/+", "heila/v1/ams/in/#", "#", "heila/v1/mgms/in/ams"):
        assert not topics.allows("ams", stolen, write=False)
    for bad in ("a/b", "#", "+", "", "a\x00"):
        with pytest.raises(ValueError, match="actor name"):
            topics.inbox_topic("ams", bad)
    with pytest.raises(ValueError, match="actor name"):
        topics.receipt_topic("a/b", "ams")
