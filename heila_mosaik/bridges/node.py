"""A live actor whole: host, store, keys, ways to the others, mirror; from registration to a graceful stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from cryptography import x509

from heila_mosaik.actors.base import Actor
from heila_mosaik.bridges import keys as keyring
from heila_mosaik.bridges.clock import Clock
from heila_mosaik.bridges.controls import ControlSink
from heila_mosaik.bridges.courier import Carrier, Courier, Retry
from heila_mosaik.bridges.envelope import Envelope
from heila_mosaik.bridges.host import HostSettings, LiveHost
from heila_mosaik.bridges.https import HttpsServer, Listen
from heila_mosaik.bridges.https_client import HttpsClient
from heila_mosaik.bridges.mirror import RedisMirror
from heila_mosaik.bridges.mqtt import Broker, MqttEndpoint, Sync
from heila_mosaik.bridges.reception import Reception
from heila_mosaik.bridges.registration import Directory, Registration, make_registration
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.bridges.store import Store
from heila_mosaik.errors import HeilaError

_ROTATION_S = 2.0
_DRAIN_S = 3.0
_NAG_S = 10.0
_GRACE_S = 0.5
_log = logging.getLogger(__name__)


class NotRegisteredError(HeilaError):
    """Partners did not register in time.

    Attributes:
        actor: Who waited.
        missing: Who did not come.
    """

    def __init__(self, actor: str, missing: tuple[str, ...], limit_s: float) -> None:
        self.actor, self.missing = actor, missing
        super().__init__(
            f"{actor}: {', '.join(missing)} did not register within {limit_s:g} s\n"
            "    remedy: start them, look at their log, or raise registration.limit_s"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSettings:
    """Settings of a live actor.

    Attributes:
        keys: Key folder: ``ca.pem`` and the actor's own folder are needed.
        store: File of the store.
        broker: The MQTT broker; ``None``: none.
        listen: HTTPS server; ``None``: none.
        https: Peers reached over HTTPS, by name, with their base address.
        redis: Address of a Redis to mirror to; empty: none.
        registration: Whether keys come with registrations; else ``trust.json`` of the key folder holds them.
        partners: Who has to have registered before the actor begins.
        registration_s: Longest wait for them. [s]
        encrypt: Whether message bodies are encrypted.
        durable: Whether every commit is forced to the disk.
        settings_id: Identity of the actor's settings, which its store remembers.
        about: What its registration tells beside its keys and addresses.
        retry: When unconfirmed messages are repeated.
        host: Settings of the host.
    """

    keys: Path
    store: Path
    broker: Broker | None = None
    listen: Listen | None = None
    https: Mapping[str, str] = field(default_factory=dict)
    redis: str = ""
    registration: bool = True
    partners: tuple[str, ...] = ()
    registration_s: float = 1800.0
    encrypt: bool = False
    durable: bool = True
    settings_id: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    retry: Retry = field(default_factory=Retry)
    host: HostSettings = field(default_factory=HostSettings)


class LiveNode:
    """A live actor.

    Args:
        actor: Fresh actor.
        clock: Its time.
        settings: Settings.
        control: Way for its set points.
        on_sync: Takes the words of a lock-step coordinator.

    Raises:
        StoreMismatchError: If the store is another's.
        ProblemsError: If keys are missing.
    """

    def __init__(
        self,
        actor: Actor,
        clock: Clock,
        settings: NodeSettings,
        *,
        control: ControlSink | None = None,
        on_sync: Sync | None = None,
    ) -> None:
        self.name, self.settings = actor.name, settings
        self.about = dict(settings.about)
        own = keyring.load(settings.keys, actor.name)
        trust = keyring.Trust.of([own]) if settings.registration else keyring.load_trust(settings.keys)
        self.store = Store(settings.store, actor.name, settings=settings.settings_id, durable=settings.durable)
        self.counts: Counter[str] = Counter()
        # the store remembers identities of sendings together with the messages
        self.envelope = Envelope(own, trust, replay=None)
        wire = Wire(self.envelope, encrypt=settings.encrypt)
        self.courier = Courier(store=self.store, clock=clock, retry=settings.retry)
        self.mirror: RedisMirror | None = None
        if settings.redis:
            self.mirror = RedisMirror(url=settings.redis, actor=self.name, whole=self.store.watched)
        self.host = LiveHost(
            actor=actor,
            store=self.store,
            clock=clock,
            send=self.courier.submit,
            control=control,
            watch=None if self.mirror is None else self.mirror.watch,
            settings=settings.host,
        )
        self.courier.returned = self.host.returned
        self.directory: Directory | None = None
        if settings.registration:
            authority = x509.load_pem_x509_certificate((settings.keys / "ca.pem").read_bytes())
            self.directory = Directory(authority=authority, changed=self._registered)
        self.reception = Reception(
            wire=wire, accept=self.host.accept, knows=self.store.knows, clock=clock, counts=self.counts
        )
        self.mqtt: MqttEndpoint | None = None
        self.client: HttpsClient | None = None
        self.server: HttpsServer | None = None
        self._open_ways(wire, on_sync)

    def _open_ways(self, wire: Wire, on_sync: Sync | None) -> None:
        settings, place = self.settings, self.settings.keys / self.name
        about = self._about if settings.registration else None
        if settings.broker is not None:
            self.mqtt = MqttEndpoint(
                self.reception, settings.broker, self.courier, directory=self.directory, about=about, on_sync=on_sync
            )
            self.courier.default = self.mqtt
        if settings.https:
            tls = settings.listen is None or settings.listen.ca is not None
            self.client = HttpsClient(
                wire=wire,
                post=self.courier,
                peers=settings.https,
                ca=settings.keys / "ca.pem" if tls else None,
                certificate=place / "tls.pem",
                key=place / "tls.key",
                counts=self.counts,
            )
            carriers: dict[str, Carrier] = dict.fromkeys(settings.https, self.client)
            self.courier.carriers = carriers
        if settings.listen is not None:
            self.server = HttpsServer(
                self.reception,
                settings.listen,
                busy=self.host.busy,
                health=self.health,
                directory=self.directory,
                about=about,
            )

    def _about(self) -> bytes:
        told = dict(self.about)
        if self.server is not None and self.settings.listen is not None:
            told["https"] = f"https://{self.settings.listen.host}:{self.server.port}"
        return make_registration(self.settings.keys, self.envelope.keys, told)

    def _registered(self, trust: keyring.Trust, who: Registration) -> None:
        own = keyring.Trust.of([self.envelope.keys])
        self.envelope.trust = keyring.Trust({**trust.signing, **own.signing}, {**trust.encryption, **own.encryption})
        self.courier.kick(who.actor)

    def health(self) -> dict[str, Any]:
        """What a health endpoint shows."""
        state = self.host.state
        return {
            "status": state.failure or "ok",
            "actor": self.name,
            "step": state.step,
            "now": None if state.now is None else state.now.isoformat(),
            "wake_at": None if state.wake_at is None else state.wake_at.isoformat(),
            "backlog": self.store.backlog(),
            "outgoing": self.courier.waiting,
            "late_s": round(state.late_s, 6),
            "broker": None if self.mqtt is None else self.mqtt.connected,
            "peers": {} if self.mqtt is None else dict(self.mqtt.peers),
            "mirror": None if self.mirror is None else (self.mirror.away or "ok"),
            "counts": {**self.counts, **{f"out_{key}": value for key, value in self.courier.counts.items()}},
        }

    async def open(self) -> None:
        """Recover, then open all doors; messages are stored from now on.

        Raises:
            StoreMismatchError: If the store does not lead to a state.
        """
        await asyncio.to_thread(self.host.recover)
        if self.server is not None:
            await self.server.start()
        if self.client is not None:
            await self.client.start()
        if self.mirror is not None:
            self.mirror.start()
        if self.mqtt is not None:
            self.mqtt.start()
        self._tasks = [asyncio.create_task(self.courier.run()), asyncio.create_task(self._follow_rotation())]
        if self.client is not None and self.directory is not None:
            for peer in self.settings.https:
                self._tasks.append(asyncio.create_task(self.client.register(peer, self.directory, self._about)))

    async def register(self) -> None:
        """Wait until the partners have registered.

        Raises:
            NotRegisteredError: If they do not in time.
        """
        if self.directory is None:
            return
        partners, limit = self.settings.partners, self.settings.registration_s
        end = time.monotonic() + limit
        while (missing := self.directory.missing(partners)) and not self.host.stopping:
            left = end - time.monotonic()
            if left <= 0:
                raise NotRegisteredError(self.name, missing, limit)
            await asyncio.to_thread(self.directory.wait, partners, min(left, 0.5))
            if missing and int(left) % int(_NAG_S) == 0:
                _log.info("%s waits for the registration of %s", self.name, ", ".join(missing))

    async def run(self) -> None:
        """Run from registration to :meth:`LiveHost.stop`."""
        try:
            await self.open()
            await self.register()
            self.courier.recover()
            await self.host.run()
            await self.drain()
        finally:
            await self.close()

    async def drain(self) -> None:
        """Give messages under way a moment to be confirmed; what is left goes out after the next start."""
        end = time.monotonic() + _DRAIN_S
        while self.courier.waiting and time.monotonic() < end:
            await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Close everything; the store has it all."""
        if self.server is not None:
            await self.server.stop()
        if self.mqtt is not None:
            await asyncio.to_thread(self.mqtt.stop)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.client is not None:
            await self.client.stop()
        if self.mirror is not None:
            await asyncio.to_thread(self.mirror.stop)
        self.store.close()

    _tasks: list[asyncio.Task[None]] = []  # noqa: RUF012 - replaced by open()

    async def _follow_rotation(self) -> None:
        """Take new keys from the key folder as they appear, and tell the others."""
        path = self.settings.keys / self.name / "signing.json"
        seen = path.stat().st_mtime_ns
        while True:
            await asyncio.sleep(_ROTATION_S)
            with contextlib.suppress(OSError, HeilaError):
                now = path.stat().st_mtime_ns
                if now == seen:
                    continue
                seen = now
                await self._rotate()
                _log.info("%s: new keys", self.name)

    async def _rotate(self) -> None:
        """Open with the new keys at once, sign with them after the others have heard of them."""
        await asyncio.sleep(_GRACE_S)  # the files of a rotation are replaced one after the other
        old, new = self.envelope.keys, keyring.load(self.settings.keys, self.name)
        self.envelope.keys = replace(new, signing=(old.signing[0], *new.signing))
        if not self.settings.registration:
            self.envelope.trust = keyring.load_trust(self.settings.keys)
        if self.mqtt is not None:
            self.mqtt.register()
        if self.client is not None and self.directory is not None:
            for peer in self.settings.https:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_NAG_S):
                        await self.client.register(peer, self.directory, self._about)
        await asyncio.sleep(_GRACE_S)
        self.envelope.keys = new
