# ruff: noqa: E501
import queue
import shutil
import socket
import subprocess
import time

import pytest

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.envelope import Envelope
from heila_mosaik.bridges.mqtt import Broker, MqttEndpoint, broker_acl, inbox_topic
from heila_mosaik.bridges.smartapi_wire import Wire
from tests.bridges_smartapi.examples import EXAMPLES

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed (apt-get install mosquitto)")


class Lab:
    def __init__(self, folder):
        self.folder = folder / "lab"
        k.write_lab(self.folder, ["AMS", "MGMS", "broker"])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        (self.folder / "acl").write_text(broker_acl())
        (self.folder / "acl").chmod(0o600)
        self.conf = self.folder / "mosquitto.conf"
        self.conf.write_text(
            f"listener {self.port} 127.0.0.1\ncafile {self.folder}/ca.pem\ncertfile {self.folder}/broker/tls.pem\n"
            f"keyfile {self.folder}/broker/tls.key\nrequire_certificate true\nuse_identity_as_username true\n"
            f"acl_file {self.folder}/acl\nallow_anonymous false\npersistence true\npersistence_location {self.folder}/\n"
            "set_tcp_nodelay true\nuser root\n"
        )
        self.process = None

    def up(self):
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", self.conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError("mosquitto did not start")

    def down(self):
        self.process.terminate()
        self.process.wait(5)

    def endpoint(self, actor, certificate=None):
        got = queue.Queue()
        place = self.folder / (certificate or actor)
        broker = Broker(host="127.0.0.1", port=self.port, ca=self.folder / "ca.pem", certificate=place / "tls.pem",
                        key=place / "tls.key")  # fmt: skip
        wire = Wire(Envelope(k.load(self.folder, actor), k.load_trust(self.folder)))
        return MqttEndpoint(wire, broker, got.put), got


@pytest.fixture
def lab(tmp_path):
    lab = Lab(tmp_path)
    lab.up()
    yield lab
    lab.down()


def test_every_object_once_over_mutual_tls(lab):
    (ams, _), (mgms, got) = lab.endpoint("AMS"), lab.endpoint("MGMS")
    ams.start(), mgms.start()
    try:
        assert mgms.wait_ready(5)
        assert ams.wait_ready(5)
        for message in EXAMPLES:
            ams.send(message)
        assert [got.get(timeout=5) for _ in EXAMPLES] == EXAMPLES
        assert ams.flush(5)
        for _ in range(20):
            if mgms.peers.get("AMS"):
                break
            time.sleep(0.05)
        assert mgms.peers["AMS"]
        # the application repeats a message: it has no second effect
        ams.send(EXAMPLES[9])
        assert ams.flush(5)
        time.sleep(0.2)
        assert got.empty()
        assert mgms.counts["delivered"] == len(EXAMPLES)
    finally:
        ams.stop(), mgms.stop()


def test_nothing_is_lost_while_the_broker_is_down(lab):
    (ams, _), (mgms, got) = lab.endpoint("AMS"), lab.endpoint("MGMS")
    ams.start(), mgms.start()
    try:
        assert mgms.wait_ready(5)
        assert ams.wait_ready(5)
        lab.down()
        for message in EXAMPLES[:10]:
            ams.send(message)
        assert not ams.flush(0.2)
        lab.up()
        found = [got.get(timeout=15) for _ in range(10)]
        assert sorted(m.id for m in found) == sorted(m.id for m in EXAMPLES[:10])
        assert ams.flush(10)
        assert got.empty()
    finally:
        ams.stop(), mgms.stop()


def test_an_actor_cannot_speak_on_another_topic(lab):
    (mgms, got) = lab.endpoint("MGMS")
    (fake, _) = lab.endpoint("AMS", certificate="broker")
    mgms.start(), fake.start()
    try:
        assert mgms.wait_ready(5)
        deadline = time.monotonic() + 2
        while not fake.counts["connected"] and time.monotonic() < deadline:
            time.sleep(0.02)
        fake._ready.set()
        fake.send(EXAMPLES[0])
        time.sleep(0.5)
        assert got.empty()
        assert fake.counts["refused_by_broker"] >= 1
    finally:
        mgms.stop(), fake.stop()


def test_names_stay_in_their_topic_level():
    for bad in ("a/b", "#", "+", ""):
        with pytest.raises(ValueError, match="actor name"):
            inbox_topic("AMS", bad)
