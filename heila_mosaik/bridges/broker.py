"""A broker for a laboratory: Debian's mosquitto with generated TLS and ACL configuration, or an embedded one.

The aggregator's side runs it (CRP paper, section III-C).  The embedded broker (amqtt, MQTT 3.1.1) is the fallback where
mosquitto is not installed: it knows no properties, no expiry and forgets its queues when it ends; receipts from end to
end make up for that.
"""

from __future__ import annotations

import contextlib
import getpass
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heila_mosaik.bridges.envelope import PAYLOAD_MAX
from heila_mosaik.bridges.mqtt import IN_FLIGHT_MAX, Broker
from heila_mosaik.bridges.mqtt_topics import broker_acl
from heila_mosaik.errors import HeilaError, Problem, ProblemsError

NAME = "broker"
"""Name of the broker among the actors of a key folder."""

START_S = 15.0
STOP_S = 10.0


class BrokerFailedError(HeilaError):
    """The broker did not start.

    Attributes:
        log: File with what it said.
    """

    def __init__(self, command: Sequence[str], log: Path) -> None:
        self.log = log
        tail = log.read_text(errors="replace")[-800:] if log.exists() else ""
        super().__init__(f"{command[0]} did not start; {log} ends with:\n{tail}")


def find_mosquitto() -> str | None:
    """Path of mosquitto, which Debian puts where users do not look."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def mosquitto_config(keys: Path, work: Path, host: str, port: int, *, tls: bool = True) -> str:
    """Configuration of a mosquitto with mutual TLS; an actor's user name is the common name of its certificate.

    Without TLS everybody may do everything: for measurements on loopback only.
    """
    own = keys.resolve() / NAME
    door = [
        f"cafile {keys.resolve()}/ca.pem",
        f"certfile {own}/tls.pem",
        f"keyfile {own}/tls.key",
        "require_certificate true",
        "use_identity_as_username true",
        "allow_anonymous false",
        f"acl_file {work.resolve()}/acl",
    ]
    lines = [
        f"listener {port} {host}",
        *(door if tls else ["allow_anonymous true"]),
        "persistence true",
        f"persistence_location {work.resolve()}/",
        "autosave_interval 10",
        "persistent_client_expiration 7d",
        "max_queued_messages 20000",
        f"max_inflight_messages {IN_FLIGHT_MAX}",
        f"max_packet_size {PAYLOAD_MAX + 8192}",
        "set_tcp_nodelay true",
        "log_dest stdout",
        "log_type error",
        "log_type warning",
        "log_type notice",
        # started by root it would change to a user who cannot read the keys
        f"user {getpass.getuser()}",
    ]
    return "\n".join(lines) + "\n"


def write_config(keys: Path, work: Path, host: str, port: int, *, tls: bool = True) -> Path:
    """Write ``mosquitto.conf`` and ``acl`` into a folder; returns the former.

    Raises:
        ProblemsError: If the key folder holds no certificate for the broker.
    """
    if not (keys / NAME / "tls.key").exists():
        problem = Problem(
            what=f"no certificate for {NAME!r}", where=str(keys), remedy="make keys with 'heila keys make'"
        )
        raise ProblemsError("broker", [problem])
    work.mkdir(parents=True, exist_ok=True, mode=0o700)
    acl, config = work / "acl", work / "mosquitto.conf"
    acl.write_text(broker_acl(), encoding="utf-8")
    acl.chmod(0o600)
    config.write_text(mosquitto_config(keys, work, host, port, tls=tls), encoding="utf-8")
    return config


@dataclass(slots=True, kw_only=True)
class BrokerProcess:
    """A broker that runs as a process of its own.

    Attributes:
        keys: Key folder of the laboratory.
        work: Folder for configuration, queues and log.
        host: Address it listens on.
        port: Port it listens on; 0 takes a free one.
        kind: ``mosquitto``, ``embedded``, or ``auto``: the former where it is installed.
        tls: Without it everybody may do everything: for measurements on loopback with mosquitto only.
    """

    keys: Path
    work: Path
    host: str = "127.0.0.1"
    port: int = 0
    kind: str = "auto"
    tls: bool = True
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def __post_init__(self) -> None:
        if self.kind == "auto":
            self.kind = "mosquitto" if find_mosquitto() else "embedded"
        if not self.port:
            self.port = free_port(self.host)

    @property
    def version(self) -> int:
        """MQTT version: 5, or 3 for 3.1.1."""
        return 5 if self.kind == "mosquitto" else 3

    def link(self, actor: str, **more: Any) -> Broker:
        """How an actor whose keys lie in the same folder reaches it."""
        place = self.keys / actor
        return Broker(host=self.host, port=self.port, ca=self.keys / "ca.pem", certificate=place / "tls.pem",
                      key=place / "tls.key", version=self.version, **more)  # fmt: skip

    def command(self) -> list[str]:
        """Command line of the process; writes the configuration.

        Raises:
            ProblemsError: If mosquitto is asked for and not installed, or the broker has no certificate.
        """
        config = write_config(self.keys, self.work, self.host, self.port, tls=self.tls)
        if self.kind == "embedded":
            return [sys.executable, "-m", "heila_mosaik.bridges.broker_embedded", "--keys", str(self.keys),
                    "--host", self.host, "--port", str(self.port)]  # fmt: skip
        program = find_mosquitto()
        if program is None:
            problem = Problem(what="mosquitto is not installed", where="broker", remedy="apt-get install mosquitto")
            raise ProblemsError("broker", [problem])
        return [program, "-c", str(config)]

    def start(self) -> Self:
        """Start it and wait until it listens.

        Raises:
            BrokerFailedError: If it does not within a while.
        """
        command, log = self.command(), self.work / "broker.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)  # noqa: S603 - our own command
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex((self.host, self.port)) == 0:
                    return self
            time.sleep(0.02)
        self.kill()
        raise BrokerFailedError(command, log)

    def stop(self) -> None:
        """End it gracefully; mosquitto keeps its queues."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
        self.kill()

    def kill(self) -> None:
        """End it at once, as a power failure would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
