"""Store of one live actor: inbox, journal, outbox, set points and what an operator watches, in one SQLite file.

A message is acknowledged to its sender after :meth:`Store.accept` has committed it, and a step's answer leaves after
:meth:`Store.commit` has: whatever the process dies of, no accepted message is lost and none is taken twice.  The
journal holds the inputs of every step; as actors are deterministic, :mod:`heila_mosaik.bridges.recovery` takes the
steps again after a restart.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heila_mosaik.actors.base import Outcome
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.bridges.store_rows import (
    LAYOUT,
    TABLES,
    Control,
    Delivery,
    Handing,
    Outgoing,
    Received,
    Step,
    outcome_json,
    pack,
    pack_body,
    pack_message,
    plain,
    unpack_control,
    unpack_measurements,
    unpack_message,
)
from heila_mosaik.domain.information import Message
from heila_mosaik.errors import HeilaError

CLAIMS_MAX = 500_000
_BUSY_S = 10.0


class StoreError(HeilaError):
    """The store cannot be written or read.

    Attributes:
        path: File.
        what: What the database said.
    """

    def __init__(self, path: Path, what: str) -> None:
        self.path, self.what = path, what
        super().__init__(path, what)

    def __str__(self) -> str:
        return f"{self.path}: {self.what}\n    remedy: free disk space or mend the file; nothing accepted is lost"


class StoreInUseError(HeilaError):
    """Another process runs this actor."""

    exit_code = 2

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(f"{path}: another process uses this store\n    remedy: stop it; an actor runs once")


class StoreMismatchError(HeilaError):
    """The file belongs to another actor, other settings or another version."""

    exit_code = 2

    def __init__(self, path: Path, what: str, remedy: str) -> None:
        self.path, self.what = path, what
        super().__init__(f"{path}: {what}\n    remedy: {remedy}")


def digest_of(outcome: Outcome) -> str:
    """Hash of everything an actor answered; equal answers have equal hashes."""
    return hashlib.sha256(pack(outcome_json(outcome)).encode()).hexdigest()[:32]


class Store:
    """The store; use from any thread.

    Args:
        path: File; made if absent, continued if present.
        actor: Whose store it is.
        settings: Identity of the actor's settings; a file made with others is refused.
        durable: Force every commit to the disk, so that not even a power failure loses one.

    Raises:
        StoreInUseError: If another process holds it.
        StoreMismatchError: If the file is another actor's.
    """

    def __init__(self, path: Path | str, actor: str, *, settings: str = "", durable: bool = True) -> None:
        self.path, self.actor = Path(path), actor
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.claims_max = CLAIMS_MAX
        self._lock = threading.RLock()
        self._guard = _lock_file(self.path)
        try:
            # private: it holds what partners sent in confidence, and the snapshot that is executed as code
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None, timeout=_BUSY_S)
            self._prepare(settings, durable=durable)
            counted = self._db.execute("SELECT issuer, count(*) FROM replay GROUP BY issuer")
            self._claims: Counter[str] = Counter(dict(counted.fetchall()))
        except sqlite3.Error as error:
            self._guard.close()
            raise StoreError(self.path, str(error)) from error
        except HeilaError:
            self._guard.close()
            raise

    def _prepare(self, settings: str, *, durable: bool) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        fresh = not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone()
        wanted = {"layout": str(LAYOUT), "actor": self.actor, "settings": settings}
        if fresh:
            with self._transaction():
                for statement in TABLES.split(";\n"):
                    if statement.strip():
                        self._db.execute(statement)
                self._db.executemany("INSERT INTO meta VALUES(?, ?)", wanted.items())
            return
        found = dict(self._db.execute("SELECT key, value FROM meta"))
        for key, value in wanted.items():
            if found.get(key) != value:
                raise StoreMismatchError(self.path, f"made with {key} {found.get(key)!r}, not {value!r}",
                                         "give the settings it was made with, or a new folder")  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()
            self._guard.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise StoreError(self.path, str(error)) from error
                raise

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            try:
                return self._db.execute(query, values).fetchall()
            except sqlite3.Error as error:
                raise StoreError(self.path, str(error)) from error

    def accept(self, message: Message, *, via: str, jti: str = "", forget_at: float = 0.0) -> bool:
        """Take a message into the inbox; returns False if it, or its sending, is there already.

        Args:
            message: The message.
            via: How it came.
            jti: Identity of the signed sending.
            forget_at: When that sending has expired, wall clock. [s since 1970]

        Raises:
            StoreError: If it could not be written; the sender must not be told that it arrived.
            RefusedError: If there are too many unexpired messages of this sender.
        """
        with self._transaction() as db:
            if jti and not self._claim(message.sender, jti, forget_at):
                return False
            row = (message.sender, message.id, type(message.body).__name__, pack_message(message), via, time.time_ns())
            added = db.execute(
                "INSERT OR IGNORE INTO inbox(sender, id, kind, message, via, received_ns) VALUES(?, ?, ?, ?, ?, ?)", row
            )
            return added.rowcount == 1

    def _claim(self, issuer: str, jti: str, forget_at: float) -> bool:
        """Remember a sending until it has expired; bounded by issuer, and full means refuse."""
        if self._claims[issuer] >= self.claims_max:
            self._db.execute("DELETE FROM replay WHERE issuer = ? AND forget_at < ?", (issuer, time.time()))
            self._claims[issuer] = self._db.execute(
                "SELECT count(*) FROM replay WHERE issuer = ?", (issuer,)
            ).fetchone()[0]
            if self._claims[issuer] >= self.claims_max:
                raise RefusedError(Refusal.REPLAY_STORE_FULL, f"too many messages of {issuer} under way",
                                   remedy="send slower, or with a shorter lifetime")  # fmt: skip
        row = (issuer, jti, forget_at)
        claimed = self._db.execute("INSERT OR IGNORE INTO replay VALUES(?, ?, ?)", row).rowcount
        self._claims[issuer] += claimed
        return claimed == 1

    def knows(self, sender: str, identity: str) -> bool:
        """Whether a message has been accepted."""
        return bool(self._rows("SELECT 1 FROM inbox WHERE sender = ? AND id = ?", (sender, identity)))

    def pending(self) -> tuple[Received, ...]:
        """Accepted messages that no step has taken, oldest first."""
        rows = self._rows("SELECT seq, message FROM inbox WHERE step IS NULL ORDER BY seq")
        return tuple(Received(seq=seq, message=unpack_message(text)) for seq, text in rows)

    def backlog(self) -> int:
        """How many accepted messages wait for a step."""
        return int(self._rows("SELECT count(*) FROM inbox WHERE step IS NULL")[0][0])

    def last_step(self) -> int:
        """Number of the last step, 0 before the first."""
        return int(self._rows("SELECT coalesce(max(step), 0) FROM steps")[0][0])

    def commit(
        self, step: Step, outcome: Outcome, *, watched: Mapping[str, str], snapshot: tuple[str, bytes] | None = None
    ) -> tuple[list[Outgoing], list[Control]]:
        """Write one step with everything it took and answered, whole or not at all.

        Args:
            step: The step.
            outcome: What the actor answered.
            watched: Values for the operator, JSON by name.
            snapshot: Version and bytes of the actor's state after the step.

        Returns:
            Messages to send and set points to hand over.
        """
        now, number, at_ns = step.now.isoformat(), step.number, time.time_ns()
        given = None if step.measurements is None else pack_body(step.measurements)
        wake = None if outcome.wake_at is None else outcome.wake_at.isoformat()
        with self._transaction() as db:
            db.execute("INSERT INTO steps VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
                       (number, now, given, wake, step.tag, step.digest, step.answer, at_ns))  # fmt: skip
            db.executemany("UPDATE inbox SET step = ?, place = ? WHERE seq = ?",
                           [(number, place, each.seq) for place, each in enumerate(step.inbox)])  # fmt: skip
            sent = [Outgoing(seq=self._put_message(number, message, at_ns), message=message, created_ns=at_ns)
                    for message in outcome.messages]  # fmt: skip
            controls = []
            for signal in outcome.controls:
                cursor = db.execute("INSERT INTO controls(step, target, signal) VALUES(?, ?, ?)",
                                    (number, signal.target, pack_body(signal)))  # fmt: skip
                controls.append(Control(seq=int(cursor.lastrowid or 0), signal=signal, state=Handing.WAITING))
            db.executemany(
                'INSERT INTO records(step, at, actor, event, detail, "values") VALUES(?, ?, ?, ?, ?, ?)',
                [
                    (number, r.at.isoformat(), r.actor, r.event, r.detail, pack(plain(r.values)))
                    for r in outcome.records
                ],
            )
            db.executemany("INSERT OR REPLACE INTO watched VALUES(?, ?, ?)",
                           [(name, value, now) for name, value in watched.items()])  # fmt: skip
            if snapshot is not None:
                self._put_snapshot(number, *snapshot)
        return sent, controls

    def put_snapshot(self, number: int, made_by: str, state: bytes) -> None:
        """Write the actor's state after a step."""
        with self._transaction():
            self._put_snapshot(number, made_by, state)

    def _put_snapshot(self, number: int, made_by: str, state: bytes) -> None:
        self._db.execute("DELETE FROM snapshots")
        self._db.execute("INSERT INTO snapshots VALUES(?, ?, ?)", (number, made_by, state))

    def _put_message(self, number: int, message: Message, at_ns: int) -> int:
        row = (message.id, message.receiver, type(message.body).__name__, pack_message(message), number, at_ns)
        cursor = self._db.execute(
            "INSERT INTO outbox(id, receiver, kind, message, step, created_ns) VALUES(?, ?, ?, ?, ?, ?)", row
        )
        return int(cursor.lastrowid or 0)

    def note(self, at: datetime, event: str, detail: str, values: Mapping[str, Any]) -> None:
        """Add a record of the host itself."""
        with self._transaction() as db:
            db.execute('INSERT INTO records(step, at, actor, event, detail, "values") VALUES(0, ?, ?, ?, ?, ?)',
                       (at.isoformat(), self.actor, event, detail, pack(plain(values))))  # fmt: skip

    def outgoing(self) -> tuple[Outgoing, ...]:
        """Messages whose delivery is not settled, oldest first."""
        rows = self._rows("SELECT seq, message, created_ns, tries FROM outbox WHERE state = 'waiting' ORDER BY seq")
        return tuple(Outgoing(seq=s, message=unpack_message(t), created_ns=c, tries=n) for s, t, c, n in rows)

    def settle(self, settled: Sequence[tuple[int, Delivery, int, int, str]]) -> None:
        """Write what became of messages: (seq, state, tries, wall-clock ns, reason)."""
        rows = [(state.value, tries, at_ns, reason, seq) for seq, state, tries, at_ns, reason in settled]
        with self._transaction() as db:
            db.executemany("UPDATE outbox SET state = ?, tries = ?, settled_ns = ?, reason = ? WHERE seq = ?", rows)

    def open_controls(self) -> tuple[Control, ...]:
        """Set points not handed over for certain, oldest first."""
        rows = self._rows("SELECT seq, signal, state FROM controls WHERE state IN ('waiting', 'handing') ORDER BY seq")
        return tuple(Control(seq=seq, signal=unpack_control(text), state=Handing(state)) for seq, text, state in rows)

    def hand(self, seq: int, state: Handing, reason: str = "") -> None:
        """Write how far a set point has got."""
        with self._transaction() as db:
            db.execute("UPDATE controls SET state = ?, reason = ? WHERE seq = ?", (state.value, reason, seq))

    def snapshot(self) -> tuple[int, str, bytes] | None:
        """Latest snapshot: step, version, bytes."""
        rows = self._rows("SELECT step, made_by, state FROM snapshots")
        return (int(rows[0][0]), str(rows[0][1]), bytes(rows[0][2])) if rows else None

    def first_step(self) -> int:
        """Oldest step in the journal, 0 if it is empty."""
        return int(self._rows("SELECT coalesce(min(step), 0) FROM steps")[0][0])

    def steps(self, after: int) -> Iterator[Step]:
        """Journal after a step, in order."""
        for number, now, given, tag, digest, answer in self._rows(
            "SELECT step, now, measurements, tag, digest, outcome FROM steps WHERE step > ? ORDER BY step", (after,)
        ):
            rows = self._rows("SELECT seq, message FROM inbox WHERE step = ? ORDER BY place", (number,))
            yield Step(
                number=number,
                now=datetime.fromisoformat(now),
                inbox=tuple(Received(seq=seq, message=unpack_message(text)) for seq, text in rows),
                measurements=unpack_measurements(given),
                digest=digest,
                tag=tag,
                answer=answer,
            )

    def now_of(self, step: int) -> datetime | None:
        """Time of a step, ``None`` if the journal does not hold it."""
        rows = self._rows("SELECT now FROM steps WHERE step = ?", (step,))
        return datetime.fromisoformat(rows[0][0]) if rows else None

    def wake_at(self) -> datetime | None:
        """When the actor asked, in its last step, to be called."""
        rows = self._rows("SELECT wake_at FROM steps ORDER BY step DESC LIMIT 1")
        return datetime.fromisoformat(rows[0][0]) if rows and rows[0][0] else None

    def answer(self, tag: str) -> str | None:
        """Outcome of the step a coordinator named so, if it has been taken."""
        rows = self._rows("SELECT outcome FROM steps WHERE tag = ? ORDER BY step DESC LIMIT 1", (tag,))
        return str(rows[0][0]) if rows else None

    def watched(self) -> dict[str, str]:
        """Values for the operator, JSON by name."""
        return dict(self._rows("SELECT name, value FROM watched"))

    def prune(self, now: datetime, keep: timedelta, wall_s: float) -> None:
        """Forget settled history older than ``keep``; the journal stays back to the latest snapshot."""
        before, before_ns = (now - keep).isoformat(), int((wall_s - keep.total_seconds()) * 1e9)
        with self._transaction() as db:
            base = db.execute("SELECT coalesce(max(step), 0) FROM snapshots").fetchone()[0]
            db.execute("DELETE FROM replay WHERE forget_at < ?", (wall_s,))
            db.execute("DELETE FROM steps WHERE step < ? AND now < ?", (base, before))
            db.execute("DELETE FROM inbox WHERE step <= ? AND received_ns < ?", (base, before_ns))
            db.execute("DELETE FROM outbox WHERE state != 'waiting' AND created_ns < ?", (before_ns,))
            db.execute("DELETE FROM controls WHERE state NOT IN ('waiting', 'handing') AND step <= ?", (base,))
            db.execute("DELETE FROM records WHERE at < ?", (before,))
            db.execute("DELETE FROM watched WHERE at < ?", (before,))


def _lock_file(path: Path) -> Any:
    guard = path.with_name(path.name + ".lock").open("w")
    try:
        fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        guard.close()
        raise StoreInUseError(path) from error
    return guard
