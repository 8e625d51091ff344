"""HTTPS server of an actor: Smart API messages in, receipts out, over mutual TLS.

The CRP paper's roles follow from who posts: an MGMS is client of the AMS for forecasts and verifications, and server
for reserves and activations.  A message is a POST to the Smart API path with its Turtle as the body, its identity in
``X-SmartAPI-CallId`` and its detached JWS in ``X-Heila-Signature``; posting it again has no second effect.  The answer
comes after the message has been stored, signed like the message was.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from heila_mosaik.bridges.envelope import PAYLOAD_MAX
from heila_mosaik.bridges.mqtt_topics import Packet
from heila_mosaik.bridges.openapi import description
from heila_mosaik.bridges.reception import Receipt, Reception
from heila_mosaik.bridges.registration import SIZE_MAX, Directory
from heila_mosaik.bridges.smartapi import CONTENT_TYPE, HTTP_PATH
from heila_mosaik.bridges.smartapi.response import response_turtle
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.bridges.store import StoreError
from heila_mosaik.bridges.store_rows import Delivery

REGISTRATION_PATH = "/heila/v1/registration"
CALL_ID, SIGNATURE, ENCRYPTED = "X-SmartAPI-CallId", "X-Heila-Signature", "X-Heila-Encrypted"
WAITING_MAX = 64
RETRY_AFTER_S = 1
_PROBLEM = "application/problem+json"
_STATUS = {
    Refusal.OVERSIZE: 413,
    Refusal.NO_SIGNATURE: 401,
    Refusal.BAD_SIGNATURE: 401,
    Refusal.ALGORITHM: 401,
    Refusal.UNKNOWN_KEY: 401,
    Refusal.WRONG_ISSUER: 403,
    Refusal.WRONG_AUDIENCE: 403,
}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Where the server listens and what it shows.

    Attributes:
        host: Address.
        port: Port; 0 takes a free one.
        ca: CA whose clients are let in; ``None``: no TLS (loopback tests only).
        certificate: Certificate of the actor.
        key: Its key.
    """

    host: str = "127.0.0.1"
    port: int = 0
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext | None:
        """TLS context that lets in only who shows a certificate of the laboratory."""
        if self.ca is None or self.certificate is None:
            return None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(str(self.certificate), None if self.key is None else str(self.key))
        return context


class HttpsServer:
    """Server of one actor.

    Args:
        reception: Opens, checks and stores what comes in; its envelope signs receipts.
        listen: Where.
        busy: Whether senders should wait.
        health: What ``/health`` shows; ``status`` is ``ok`` or says why not.
        directory: Takes registrations; ``None``: keys are known beforehand.
        about: The actor's own registration.
    """

    def __init__(
        self,
        reception: Reception,
        listen: Listen,
        *,
        busy: Callable[[], bool],
        health: Callable[[], Mapping[str, Any]],
        directory: Directory | None = None,
        about: Callable[[], bytes] | None = None,
    ) -> None:
        self.actor = reception.envelope.keys.actor
        self.port = listen.port
        self._reception, self._listen, self._busy, self._health = reception, listen, busy, health
        self._directory, self._about = directory, about
        # one thread keeps the order of messages; parsing holds the interpreter anyway
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"https {self.actor}")
        self._waiting = 0
        self._runner: web.AppRunner | None = None

    def application(self) -> web.Application:
        """The application without a socket."""
        application = web.Application(client_max_size=PAYLOAD_MAX, middlewares=[_problems])
        application.add_routes(
            [
                web.post(HTTP_PATH, self._post_message),
                web.get("/health", self._get_health),
                web.get("/openapi.json", self._get_description),
                web.get(REGISTRATION_PATH, self._get_registration),
                web.post(REGISTRATION_PATH, self._post_registration),
            ]
        )
        return application

    async def start(self) -> None:
        """Listen."""
        self._runner = web.AppRunner(self.application(), access_log=None, keepalive_timeout=75.0, shutdown_timeout=2.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._listen.host, self._listen.port, ssl_context=self._listen.context())
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Finish the requests under way and close."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._thread.shutdown(wait=False)

    async def _post_message(self, request: web.Request) -> web.Response:
        if self._waiting >= WAITING_MAX or self._busy():
            return _later(503, f"{self.actor} has too much to do")
        identity = request.headers.get(CALL_ID, "")[:128]
        packet = Packet(
            payload=await request.read(),
            signature=request.headers.get(SIGNATURE, ""),
            encrypted=request.headers.get(ENCRYPTED) == "1",
            content_type=request.content_type,
        )
        self._waiting += 1
        try:
            receipt = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._receive, packet, _peer(request), identity
            )
        except StoreError as error:
            return _later(507, str(error))
        finally:
            self._waiting -= 1
        if receipt.state is Delivery.WAITING:
            return _later(503, receipt.reason)
        return self._answer(receipt, request)

    def _receive(self, packet: Packet, peer: str, identity: str) -> Receipt:
        return self._reception.receive(packet, peer=peer, identity=identity, via="https")

    def _answer(self, receipt: Receipt, request: web.Request) -> web.Response:
        status = 422 if receipt.state is Delivery.REFUSED else (200 if receipt.duplicate else 202)
        plain = "application/json" in request.headers.get("Accept", "")
        body = (
            receipt.to_json() if plain else response_turtle(self.actor, receipt.id, receipt.reason, datetime.now(UTC))
        )
        sealed = self._reception.envelope.seal(body, receipt.sender)
        headers = {CALL_ID: receipt.id, SIGNATURE: sealed.signature}
        kind = "application/json" if plain else CONTENT_TYPE
        return web.Response(status=status, body=body, content_type=kind, headers=headers)

    async def _get_health(self, request: web.Request) -> web.Response:  # noqa: ARG002 - given by aiohttp
        shown = dict(self._health())
        return web.json_response(shown, status=200 if shown.get("status") == "ok" else 503)

    async def _get_description(self, request: web.Request) -> web.Response:  # noqa: ARG002 - given by aiohttp
        return web.json_response(description(self.actor))

    async def _get_registration(self, request: web.Request) -> web.Response:  # noqa: ARG002 - given by aiohttp
        if self._about is None:
            raise web.HTTPNotFound(text="keys are known beforehand here")
        return web.Response(body=self._about(), content_type="application/jose")

    async def _post_registration(self, request: web.Request) -> web.Response:
        if self._directory is None:
            raise web.HTTPNotFound(text="keys are known beforehand here")
        document = await request.content.read(SIZE_MAX + 1)
        await asyncio.to_thread(self._directory.take, document, _peer(request))
        return web.Response(status=204)


def _peer(request: web.Request) -> str:
    """Name in the client's certificate; empty without TLS."""
    certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
    names = [value for part in (certificate or {}).get("subject", ()) for key, value in part if key == "commonName"]
    return str(names[0]) if names else ""


def _later(status: int, detail: str) -> web.Response:
    body = {"title": "try again later", "status": status, "detail": detail}
    return web.json_response(body, status=status, content_type=_PROBLEM, headers={"Retry-After": str(RETRY_AFTER_S)})


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals as problem details (RFC 9457)."""
    try:
        return await handler(request)
    except RefusedError as error:
        status = _STATUS.get(error.reason, 400)
        body = {
            "title": str(error.reason),
            "status": status,
            "detail": error.problem.what,
            "remedy": error.problem.remedy,
        }
        return web.json_response(body, status=status, content_type=_PROBLEM)
    except web.HTTPException as error:
        body = {"title": error.reason, "status": error.status, "detail": error.text or ""}
        return web.json_response(body, status=error.status, content_type=_PROBLEM)
