"""Live actors over HTTPS with mutual TLS, in the roles of the CRP paper."""

import asyncio
import json
import ssl
from dataclasses import replace

import aiohttp
import pytest
from openapi_spec_validator import validate
from rdflib import Graph, URIRef

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.broker import free_port
from heila_mosaik.bridges.envelope import Envelope
from heila_mosaik.bridges.https import Listen
from heila_mosaik.bridges.openapi import description
from heila_mosaik.bridges.smartapi import HTTP_PATH, write_message
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.bridges.store import StoreError
from tests.bridges_live.lab import Lab, call, fates, reserve, until
from tests.bridges_smartapi.examples import EXAMPLES


class HttpsLab(Lab):
    def __enter__(self):
        return self

    def pair(self, **more):
        ports = dict.fromkeys(("ams", "mgms"))
        for name in ports:
            ports[name] = free_port()
        return [
            self.run(
                name,
                listen=self.listen(name, ports[name]),
                https={other: f"https://127.0.0.1:{ports[other]}"},
                partners=(other,),
                **more,
            )
            for name, other in (("ams", "mgms"), ("mgms", "ams"))
        ]

    def listen(self, name, port=0):
        place = self.keys / name
        return Listen(port=port, ca=self.keys / "ca.pem", certificate=place / "tls.pem", key=place / "tls.key")

    def context(self, name):
        context = ssl.create_default_context(cafile=str(self.keys / "ca.pem"))
        if name:
            context.load_cert_chain(self.keys / name / "tls.pem", self.keys / name / "tls.key")
        return context


@pytest.fixture
def lab(tmp_path):
    with HttpsLab(tmp_path, ("ams", "mgms", "dms")) as lab:
        yield lab


@pytest.mark.parametrize("encrypt", [False, True])
def test_both_ends_are_client_and_server(lab, encrypt):
    ams, mgms = lab.pair(encrypt=encrypt)
    bodies = [message.body for message in EXAMPLES]
    mgms.say("ams", *bodies)
    ams.say("mgms", reserve(1), call(1))
    until(lambda: len(ams.got) == len(bodies))
    assert [message.body for message in ams.actor.got] == bodies, "one lane keeps the order"
    until(lambda: mgms.got == ["r1", "a1"])
    until(lambda: fates(mgms.node) == ["delivered"] * len(bodies))
    until(lambda: fates(ams.node) == ["delivered"] * 2)


def test_a_peer_that_is_away_gets_everything_in_order_when_it_is_back(lab):
    ams, mgms = lab.pair()
    until(lambda: ams.node.directory.known.get("mgms"))
    port, peers = mgms.node.server.port, mgms.node.settings.https
    mgms.stop()
    ams.say("mgms", *(reserve(number) for number in range(5)))
    until(lambda: ams.node.counts["failed"] > 0)
    again = lab.run("mgms", listen=lab.listen("mgms", port), https=peers, partners=("ams",))
    until(lambda: again.got == [f"r{number}" for number in range(5)])
    until(lambda: fates(ams.node) == ["delivered"] * 5)


def test_back_pressure_and_a_full_disk_ask_the_sender_to_wait(lab):
    ams, mgms = lab.pair()
    until(lambda: ams.node.directory.known.get("mgms"))
    mgms.node.server._busy = lambda: True
    ams.say("mgms", reserve(1))
    until(lambda: ams.node.counts["status_503"] > 0)
    honest, tries = mgms.node.reception.accept, []

    def full(message, **more):
        if len(tries) < 3:
            tries.append(message)
            raise StoreError(mgms.node.store.path, "database or disk is full")
        return honest(message, **more)

    mgms.node.reception.accept = full
    mgms.node.server._busy = lambda: False
    until(lambda: ams.node.counts["status_507"] >= 3)
    until(lambda: mgms.got == ["r1"])
    until(lambda: fates(ams.node) == ["delivered"])


def ask(lab, name, requests):
    """Raw requests with the certificate of ``name``."""

    async def story():
        connector = aiohttp.TCPConnector(ssl=lab.context(name))
        async with aiohttp.ClientSession(connector=connector) as session:
            return [await _one(session, *request) for request in requests]

    return asyncio.run(story())


async def _one(session, verb, url, body=None, headers=None):
    async with session.request(verb, url, data=body, headers=headers) as answer:
        return answer.status, answer.headers, await answer.read()


def test_what_a_stranger_or_a_forger_gets(lab):
    _, mgms = lab.pair(registration=False)
    until(lambda: mgms.node.server.port and mgms.node.host._loop)
    url = f"https://127.0.0.1:{mgms.node.server.port}"
    trust = k.load_trust(lab.keys)
    wire = Wire(Envelope(k.load(lab.keys, "ams"), trust))
    message = replace(EXAMPLES[9], sender="ams", receiver="mgms")
    sealed = wire.seal(message)
    headers = {"X-SmartAPI-CallId": message.id, "X-Heila-Signature": sealed.signature, "Content-Type": "text/turtle"}
    with pytest.raises(aiohttp.ClientError):
        ask(lab, None, [("GET", url + "/health")])
    post = ("POST", url + HTTP_PATH)
    # dms shows its own certificate and repeats what ams signed
    ((status, _, body),) = ask(lab, "dms", [(*post, sealed.payload, headers)])
    assert (status, json.loads(body)["title"]) == (403, "wrong_issuer")
    answers = ask(
        lab,
        "ams",
        [
            (*post, sealed.payload, {**headers, "X-Heila-Signature": ""}),
            (*post, sealed.payload + b" ", headers),
            (*post, b"x" * 500_000, headers),
            (*post, sealed.payload, headers),
            (*post, sealed.payload, headers),
            (*post, *refused(wire)),
            ("GET", url + "/nothing"),
        ],
    )
    assert [answer[0] for answer in answers] == [401, 401, 413, 202, 200, 422, 404]
    assert mgms.node.counts["refused_wrong_issuer"] == 1
    until(lambda: len(mgms.got) == 1)
    # the answer is Turtle the original library reads, signed by the receiver for the sender
    _, told, body = answers[3]
    graph = Graph().parse(data=body, format="turtle")
    assert URIRef("http://smart-api.io/ontology/1.0/smartapi#Response") in set(graph.objects())
    assert wire.envelope.open(body, told["X-Heila-Signature"]).issuer == "mgms"
    assert b"unknown" in answers[5][2]


def refused(wire):
    """A message with a good signature over bad content."""
    message = replace(EXAMPLES[9], id="AMS-bad", sender="ams", receiver="mgms")
    payload = write_message(message).replace(b"smartapi:Megawatt", b"smartapi:Furlong")
    sealed = wire.envelope.seal(payload, "mgms", jti="AMS-bad")
    return payload, {
        "X-SmartAPI-CallId": "AMS-bad", "X-Heila-Signature": sealed.signature, "Content-Type": "text/turtle",
    }  # fmt: skip


def test_health_and_description(lab):
    _, mgms = lab.pair()
    until(lambda: mgms.node.host.state.step)
    url = f"https://127.0.0.1:{mgms.node.server.port}"
    (health, openapi) = ask(lab, "ams", [("GET", url + "/health"), ("GET", url + "/openapi.json")])
    shown = json.loads(health[2])
    assert (health[0], shown["status"], shown["actor"]) == (200, "ok", "mgms")
    assert set(description("x")["components"]["schemas"]["Health"]["required"]) <= set(shown)
    assert json.loads(openapi[2]) == description("mgms")
    validate(description("mgms"))
    mgms.node.server._health = lambda: {**mgms.node.health(), "status": "disk is full"}
    ((status, _, body),) = ask(lab, "ams", [("GET", url + "/health")])
    assert (status, json.loads(body)["status"]) == (503, "disk is full")


def test_keep_alive(lab):
    ams, mgms = lab.pair()
    until(lambda: ams.node.directory.known.get("mgms"))
    ams.say("mgms", *(reserve(number) for number in range(20)))
    until(lambda: len(mgms.got) == 20)
    connections = ams.node.client._session.connector
    assert sum(len(each) for each in connections._conns.values()) <= 2
