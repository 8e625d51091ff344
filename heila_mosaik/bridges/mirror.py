"""Mirror of a live actor's values in Redis, so that the microgrid operator watches them with any Redis client.

Keys: hash ``heila:<actor>:<group>`` (``control``, ``activation``, ``reserve``, ``plan``, ``measurement``, …) with one
JSON value a name; each change is published on the channel of the same name; stream ``heila:<actor>:messages`` holds the
latest messages in and out.  The store in the actor's file stays the truth: Redis may be away, and is brought up to date
when it is back.
"""

from __future__ import annotations

import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from heila_mosaik.actors.base import Outcome
from heila_mosaik.bridges.store_rows import pack_message
from heila_mosaik.bridges.watch import GROUPS
from heila_mosaik.domain.information import Message

STREAM_MAX = 1000
WAITING_MAX = 2000
RETRY_S = 1.0
REFRESH_S = 6 * 3600.0
_log = logging.getLogger(__name__)
_Change = tuple[dict[str, str], list[dict[str, str]]]


@dataclass(slots=True, kw_only=True)
class RedisMirror:
    """Writes changes from a thread of its own; the actor never waits for Redis.

    Attributes:
        url: Address, ``redis://host:port/db``, ``rediss://`` for TLS.
        actor: Whose values.
        whole: All values in force, for a Redis that was away.
        retry_s: Pause before a new try. [s]
        away: Why Redis cannot be reached, empty while it can.
        written: Changes written.
    """

    url: str
    actor: str
    whole: Callable[[], dict[str, str]]
    retry_s: float = RETRY_S
    away: str = ""
    written: int = 0
    _changes: queue.Queue[_Change] = field(default_factory=lambda: queue.Queue(WAITING_MAX))
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _behind: bool = True
    _refresh_at: float = 0.0

    def start(self) -> None:
        """Begin to write."""
        self._thread = threading.Thread(target=self._work, name=f"redis {self.actor}", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float = 3.0) -> None:
        """Write what waits and end."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def watch(self, values: dict[str, str], inbox: Sequence[Message], outcome: Outcome) -> None:
        """Take the changes of a step; see :class:`heila_mosaik.bridges.host.LiveHost`."""
        entries = [_entry("in", message) for message in inbox] + [_entry("out", m) for m in outcome.messages]
        try:
            self._changes.put_nowait((values, entries))
        except queue.Full:
            self._behind = True  # the whole state is written when Redis answers again

    def _work(self) -> None:
        client: Any = None
        while not (self._stop.is_set() and self._changes.empty()):
            try:
                if client is None:
                    client = redis.Redis.from_url(self.url, socket_timeout=5.0, socket_connect_timeout=5.0)
                    client.ping()
                    self._behind = True
                self._write(client)
            except (redis.RedisError, OSError, ValueError) as error:
                client = None
                if not self.away:
                    _log.warning("%s: no mirror at %s: %s", self.actor, self.url.rpartition("@")[2], error)
                self.away = str(error)
                if self._stop.wait(self.retry_s):
                    return

    def _write(self, client: Any) -> None:
        if self.away:
            _log.warning("%s: mirror is back", self.actor)
            self.away = ""
        if self._behind or time.monotonic() >= self._refresh_at:
            self._behind, self._refresh_at = False, time.monotonic() + REFRESH_S
            # what the store has forgotten goes from here too
            client.delete(*(f"heila:{self.actor}:{group}" for group in GROUPS))
            self._put(client, self.whole(), [])
        try:
            values, entries = self._changes.get(timeout=0.1)
        except queue.Empty:
            return
        try:
            self._put(client, values, entries)
        except (redis.RedisError, OSError):
            self._behind = True
            raise
        self.written += 1

    def _put(self, client: Any, values: dict[str, str], entries: list[dict[str, str]]) -> None:
        pipe = client.pipeline(transaction=False)
        for name, value in values.items():
            group, _, rest = name.partition("/")
            key = f"heila:{self.actor}:{group}"
            pipe.hset(key, rest, value)
            pipe.publish(key, json.dumps({"name": rest, "value": json.loads(value)}))
        for entry in entries:
            pipe.xadd(f"heila:{self.actor}:messages", entry, maxlen=STREAM_MAX, approximate=True)
        pipe.execute()


def _entry(way: str, message: Message) -> dict[str, str]:
    return {
        "way": way,
        "id": message.id,
        "kind": type(message.body).__name__,
        "sender": message.sender,
        "receiver": message.receiver,
        "sent_at": message.sent_at.isoformat(),
        "message": pack_message(message),
    }
