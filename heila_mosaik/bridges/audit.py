"""Append-only command audit: one JSON object a line, chained by SHA-256, so that a change or a gap shows.

Every line carries ``seq``, ``at`` (UTC), ``who``, ``what``, ``why``, ``result``, free ``values``, the hash of the line
before (``prev``) and its own ``hash`` over everything else.  A line torn by a crash is kept, and the next line says so.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from heila_mosaik.domain.timegrid import require_aware
from heila_mosaik.errors import Problem

GENESIS = "0" * 64
"""Hash before the first line."""


def _digest(line: Mapping[str, Any]) -> str:
    body = {key: value for key, value in line.items() if key != "hash"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(value: object) -> object:
    """JSON has no NaN: what was refused for being none is written as text."""
    if isinstance(value, float) and value - value != 0.0:
        return str(value)
    return value


class AuditLog:
    """Writer of one audit file; one writer a file.

    Args:
        path: File, created if absent, continued if present.
        durable: Force every line to the disk before :meth:`append` returns.
    """

    def __init__(self, path: Path | str, *, durable: bool = False) -> None:
        self._path = Path(path)
        self._durable = durable
        self._path.parent.mkdir(parents=True, exist_ok=True)
        last, torn = _tail(self._path)
        self._seq = int(last["seq"]) if last else 0
        self._prev = str(last["hash"]) if last else GENESIS
        self._file = self._path.open("ab")
        if torn:
            self._file.write(b"\n")

    def append(
        self,
        *,
        at: datetime,
        who: str,
        what: str,
        why: str,
        result: str,
        values: Mapping[str, float | int | str | bool | None] | None = None,
    ) -> int:
        """Add a line.

        Args:
            at: Wall-clock time, aware.
            who: Operator or actor.
            what: Point and action.
            why: Cause: activation, plan, fallback, key.
            result: Sent, refused with reason, confirmed, unknown.
            values: Figures.

        Returns:
            Sequence number of the line.
        """
        line: dict[str, Any] = {
            "seq": self._seq + 1,
            "at": require_aware(at, "at").isoformat(timespec="microseconds"),
            "who": who,
            "what": what,
            "why": why,
            "result": result,
            "values": {key: _plain(value) for key, value in (values or {}).items()},
            "prev": self._prev,
        }
        line["hash"] = _digest(line)
        text = json.dumps(line, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        self._file.write(text.encode() + b"\n")
        self._file.flush()
        if self._durable:
            os.fsync(self._file.fileno())
        self._seq, self._prev = line["seq"], line["hash"]
        return self._seq

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _parse(raw: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(raw)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "seq" in line and "hash" in line else None


def _tail(path: Path) -> tuple[dict[str, Any] | None, bool]:
    """Last whole line, and whether a torn one follows."""
    if not path.exists():
        return None, False
    data = path.read_bytes()
    torn = bool(data) and not data.endswith(b"\n")
    for raw in reversed(data.splitlines()):
        line = _parse(raw)
        if line is not None:
            return line, torn
    return None, torn


def verify_audit(path: Path | str) -> list[Problem]:
    """Check the chain of an audit file; an empty list means it is whole.

    A line that is torn (no JSON) is reported: its command was sent at most, never confirmed, in this file.
    """
    problems: list[Problem] = []
    prev, seq = GENESIS, 0
    remedy = "compare with the gateway's event log; keep the file as it is"
    for number, raw in enumerate(Path(path).read_bytes().splitlines(), 1):
        where = f"{path}:{number}"
        line = _parse(raw)
        if line is None:
            problems.append(Problem(what="line is torn or is not an audit line", where=where, remedy=remedy))
            continue
        if line["hash"] != _digest(line):
            problems.append(Problem(what="line was changed after it was written", where=where, remedy=remedy))
        if line.get("prev") != prev or line["seq"] != seq + 1:
            what = f"chain is broken: line {seq + 1} expected, found {line['seq']}"
            problems.append(Problem(what=what, where=where, remedy=remedy))
        prev, seq = line["hash"], line["seq"]
    return problems
