"""HTTPS client of an actor: one ordered lane with a kept-alive connection to each peer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from heila_mosaik.bridges.envelope import Sealed
from heila_mosaik.bridges.https import CALL_ID, ENCRYPTED, REGISTRATION_PATH, SIGNATURE
from heila_mosaik.bridges.mqtt import Post
from heila_mosaik.bridges.reception import read_receipt
from heila_mosaik.bridges.registration import SIZE_MAX, Directory
from heila_mosaik.bridges.smartapi import CONTENT_TYPE, HTTP_PATH
from heila_mosaik.bridges.smartapi_refusal import RefusedError
from heila_mosaik.bridges.smartapi_wire import Wire
from heila_mosaik.bridges.store_rows import Outgoing

LANE_MAX = 5000
ANSWER_MAX = 64 * 1024
_REGISTER_S = 2.0
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Lane:
    queue: asyncio.Queue[tuple[Outgoing, int]]
    task: asyncio.Task[None] | None = None


@dataclass(slots=True, kw_only=True)
class HttpsClient:
    """A carrier (:class:`heila_mosaik.bridges.courier.Carrier`) over HTTPS.  Use from one event loop.

    Attributes:
        wire: Seals messages and opens receipts.
        post: Told what became of messages.
        peers: Base address of each peer, for example ``https://ams.example:8443``.
        ca: CA of the laboratory; ``None``: no TLS (loopback tests only).
        certificate: Certificate of the actor.
        key: Its key.
        timeout_s: Longest wait for an answer. [s]
        counts: Answers by status, and failures.
    """

    wire: Wire
    post: Post
    peers: Mapping[str, str]
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    timeout_s: float = 10.0
    counts: Counter[str] = field(default_factory=Counter)
    _session: aiohttp.ClientSession | None = None
    _lanes: dict[str, _Lane] = field(default_factory=dict)

    async def start(self) -> None:
        """Open the lanes; connections are made when they are needed."""
        connector = aiohttp.TCPConnector(ssl=self._context(), keepalive_timeout=60.0, limit_per_host=2)
        timeout = aiohttp.ClientTimeout(total=self.timeout_s, sock_connect=min(5.0, self.timeout_s))
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        for peer in self.peers:
            lane = self._lanes[peer] = _Lane(asyncio.Queue(LANE_MAX))
            lane.task = asyncio.create_task(self._work(peer, lane))

    async def stop(self) -> None:
        """Close; what waits in the lanes stays in the outbox."""
        tasks = [lane.task for lane in self._lanes.values() if lane.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def _context(self) -> ssl.SSLContext | bool:
        if self.ca is None:
            return False
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(str(self.certificate), None if self.key is None else str(self.key))
        return context

    def carry(self, outgoing: Outgoing, lifetime_s: int) -> None:
        """Put a message into its receiver's lane; see :class:`heila_mosaik.bridges.courier.Carrier`.

        Raises:
            asyncio.QueueFull: If the lane is full.
        """
        self._lanes[outgoing.message.receiver].queue.put_nowait((outgoing, lifetime_s))

    async def _work(self, peer: str, lane: _Lane) -> None:
        while True:
            outgoing, lifetime_s = await lane.queue.get()
            trouble = await self._deliver(peer, outgoing, lifetime_s)
            if not trouble:
                continue
            # the peer is away: what waits behind would only wait for one timeout after the other
            waiting = [outgoing]
            while not lane.queue.empty():
                waiting.append(lane.queue.get_nowait()[0])
            for each in waiting:
                self.post.troubled(each.message.id, trouble)

    async def _deliver(self, peer: str, outgoing: Outgoing, lifetime_s: int) -> str:
        """Post one message; returns what hinders delivery now, empty if it is settled."""
        assert self._session is not None
        message = outgoing.message
        try:
            sealed = self.wire.seal(message, lifetime_s=lifetime_s)
            url = self.peers[peer] + HTTP_PATH
            async with self._session.post(url, data=sealed.payload, headers=_headers(message.id, sealed)) as answer:
                self.counts[f"status_{answer.status}"] += 1
                body = await answer.content.read(ANSWER_MAX)
                return self._settle(peer, message.id, answer, body)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.counts["failed"] += 1
            return f"{type(error).__name__}: {error}"
        except RefusedError as error:
            self.counts[f"refused_{error.reason}"] += 1
            return str(error)

    def _settle(self, peer: str, identity: str, answer: aiohttp.ClientResponse, body: bytes) -> str:
        if answer.status not in (200, 202, 422):
            return f"{peer} answered {answer.status}: {body[:200].decode('utf-8', 'replace')}"
        opened = self.wire.envelope.open(body, answer.headers.get(SIGNATURE, ""))
        receipt = read_receipt(opened.payload)
        if opened.issuer != peer or receipt.id != identity:
            return f"the receipt is of {opened.issuer} about {receipt.id[:80]}"
        self.post.settled(identity, receipt.state, receipt.reason)
        return ""

    async def register(self, peer: str, directory: Directory, about: Callable[[], bytes]) -> None:
        """Exchange registrations with a peer; tried until it works."""
        assert self._session is not None
        url = self.peers[peer] + REGISTRATION_PATH
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self._session.post(url, data=about()) as told:
                    said = told.status
                async with self._session.get(url) as answer:
                    document = await answer.content.read(SIZE_MAX + 1)
                    if said == 204 and answer.status == 200:
                        try:
                            await asyncio.to_thread(directory.take, document, peer)
                        except RefusedError as error:
                            _log.warning("registration of %s: %s", peer, error)
                        else:
                            self.post.kick(peer)
                            return
            await asyncio.sleep(_REGISTER_S)


def _headers(identity: str, sealed: Sealed) -> dict[str, str]:
    return {
        "Content-Type": CONTENT_TYPE,
        "Accept": "application/json",
        CALL_ID: identity,
        SIGNATURE: sealed.signature,
        ENCRYPTED: str(int(sealed.encrypted)),
    }
