"""The gate: the only maker of clearances, and a client sends nothing without one.

A client's ``order`` takes a :class:`Cleared`.  Only :class:`Gate` can make one, after the safety machine allowed the
write, the ledger knew no order in the way, and the audit held the line.  A clearance is good for one order, and is
revoked when what it rested on has ended before the order left (between select and operate, for example).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.ledger import CommandLedger, Entry
from heila_mosaik.bridges.points import Point, PointList
from heila_mosaik.bridges.safety import SafetyMachine
from heila_mosaik.bridges.safety_types import (
    Answered,
    Event,
    Kind,
    Observed,
    Phase,
    Reaction,
    Reason,
    Refusal,
    SafetySettings,
    Write,
)
from heila_mosaik.domain.quantities import Quality

Notice: TypeAlias = Refusal | Entry
_KEY = object()
_UNASKED = (Kind.FALLBACK, Kind.EMERGENCY)


def utc_now() -> datetime:
    """Wall clock, aware."""
    return datetime.now(UTC)


def _ignore(notice: Notice) -> None:
    """Nobody listens."""


class Cleared:
    """Permission to send one order once; made by :class:`Gate` alone.

    Attributes:
        point: Control point.
        value: Value, study unit.
        kind: Why it is sent.
        identity: Number in the ledger, ``None`` for a sign of life.
        at_s: When it was cleared, monotonic. [s]
        until_s: When it must have left, monotonic. [s]
    """

    __slots__ = ("_revoked", "_spent", "at_s", "identity", "kind", "point", "until_s", "value")

    def __init__(
        self, key: object, *, point: Point, write: Write, identity: int | None, lasts_s: float = math.inf
    ) -> None:
        if key is not _KEY:
            raise TypeError("orders are cleared by the gate only")
        self.point, self.value, self.kind = point, write.value, write.kind
        self.at_s, self.identity, self.until_s = write.at_s, identity, write.at_s + lasts_s
        self._spent = False
        self._revoked = ""

    @property
    def revoked(self) -> str:
        """Why the order may not leave any more; empty while it may."""
        return self._revoked

    def barred(self, now_s: float) -> str:
        """Why the order may not leave now; a client asks immediately before it sends.

        A process that was suspended between clearing and sending would otherwise send a value of the past.
        """
        if not self._revoked and now_s > self.until_s:
            self._revoked = f"{now_s - self.at_s:.3g} s old"
        return self._revoked

    def revoke(self, why: str) -> None:
        """Take the permission back."""
        self._revoked = self._revoked or why

    def spend(self) -> None:
        """Use it up.

        Raises:
            RuntimeError: At the second use; no order is sent twice.
        """
        if self._spent:
            raise RuntimeError(f"order to {self.point.name} was already sent")
        self._spent = True


class Gate:
    """Safety machine, ledger and audit as one; no clock, no wire.

    Args:
        points: Point list.
        audit: Where every order and refusal is written before it counts.
        who: Operator or actor responsible.
        wall: Wall clock for the audit.
        safety: Times of the safety machine.
        ledger: Command ledger.
        notify: Told of every refusal and every change of an order.
    """

    def __init__(
        self,
        points: PointList,
        audit: AuditLog,
        *,
        who: str,
        wall: Callable[[], datetime] = utc_now,
        safety: SafetySettings | None = None,
        ledger: CommandLedger | None = None,
        notify: Callable[[Notice], None] | None = None,
    ) -> None:
        self.ledger = ledger or CommandLedger()
        self.machine = SafetyMachine(points, safety)
        self.audit_failure = ""
        self._points = points
        self._audit = audit
        self._who = who
        self._wall = wall
        self._max_age_s = (safety or SafetySettings()).value_max_age_s
        self._notify = notify or _ignore
        self._flying: dict[str, Cleared] = {}

    def handle(self, event: Event) -> tuple[Cleared, ...]:
        """Take one event in; returns what is cleared for the wire."""
        if isinstance(event, Observed) and event.quality is Quality.GOOD:
            for entry in self.ledger.observed(event.at_s, event.name, event.value):
                self._entry(entry)
        reaction = self.machine.handle(event)
        for entry in self.ledger.expire(event.at_s):
            self._entry(entry)
        self._revoke(event.at_s)
        return self._pass(reaction)

    def record(self, what: str, why: str, result: str) -> None:
        """Write an operator's act to the audit."""
        self._write_audit(what, why, result, {})

    def answered(self, at_s: float, cleared: Cleared, positive: bool | None, detail: str) -> tuple[Cleared, ...]:
        """The client is done with an order."""
        if cleared.identity is None:
            return ()
        name = cleared.point.name
        entry = self.ledger.answered(at_s, cleared.identity, positive, detail)
        self._entry(entry)
        if self._flying.get(name) is not cleared:
            return ()
        del self._flying[name]
        return self.handle(Answered(at_s=at_s, name=name, positive=positive))

    def resolve(self, at_s: float, identity: int, who: str) -> None:
        """An operator settles an UNKNOWN order.

        Raises:
            ValueError: If the order is not UNKNOWN.
        """
        self._entry(self.ledger.resolve(at_s, identity, who))

    @property
    def flying(self) -> int:
        """Orders handed to the wire and not answered."""
        return len(self._flying)

    def _pass(self, reaction: Reaction) -> tuple[Cleared, ...]:
        for refusal in reaction.refusals:
            self._refused(refusal)
        cleared = [self._clear(write) for write in reaction.writes]
        return tuple(one for one in cleared if one is not None)

    def _clear(self, write: Write) -> Cleared | None:
        point = self._points[write.name]
        if write.kind is Kind.WATCHDOG:
            # Without an audit nobody watches: silence lets the relay's own watchdog act.
            lasts_s = self._max_age_s
            return (
                None if self.audit_failure else Cleared(_KEY, point=point, write=write, identity=None, lasts_s=lasts_s)
            )
        reason = self._in_the_way(point, write)
        if reason is None and not self._audited(write) and write.kind not in _UNASKED:
            reason = (Reason.AUDIT_FAILED, self.audit_failure)
        if reason is not None:
            self._refused(
                Refusal(
                    at_s=write.at_s,
                    name=write.name,
                    value=write.value,
                    reason=reason[0],
                    detail=reason[1],
                    cause=write.cause,
                )
            )
            self.machine.handle(Answered(at_s=write.at_s, name=write.name, positive=None))
            return None
        entry, *superseded = self.ledger.sent(write.at_s, point, write.value, write.cause)
        for earlier in superseded:
            self._entry(earlier)
        cleared = Cleared(_KEY, point=point, write=write, identity=entry.id, lasts_s=self._lasts_s(write))
        if write.name in self._flying:
            self._flying[write.name].revoke("a newer order followed")
        self._flying[write.name] = cleared
        self.machine.hold(write.name)
        self._notify(entry)
        return cleared

    def _lasts_s(self, write: Write) -> float:
        """How long an order stays true: a fallback for its declared time, the emergency stop for ever. [s]"""
        if write.kind is Kind.EMERGENCY:
            return math.inf
        return self._points[write.name].fallback_within_s if write.kind is Kind.FALLBACK else self._max_age_s

    def _in_the_way(self, point: Point, write: Write) -> tuple[Reason, str] | None:
        if write.kind is Kind.EMERGENCY:
            return None  # An operator's hand on the key is no retry by itself.
        fallback = write.kind is Kind.FALLBACK
        entry = self.ledger.blocked_safe(point, write.value) if fallback else self.ledger.blocked(point)
        if entry is None:
            return None
        return Reason.ORDER_PENDING, f"order {entry.id} ({entry.value:g}) is {entry.state.value}"

    def _audited(self, write: Write) -> bool:
        values: dict[str, float | str] = {"value": write.value, "kind": write.kind.value}
        return self._write_audit(f"{write.name} order", write.cause, "sending", values)

    def _revoke(self, at_s: float) -> None:
        for name, cleared in self._flying.items():
            if cleared.kind in _UNASKED:
                continue
            if self.machine.emergency_stopped or self.machine.phase(name) is not Phase.ARMED:
                cleared.revoke("the point is not armed any more")
            else:
                cleared.barred(at_s)

    def _refused(self, refusal: Refusal) -> None:
        result = f"refused: {refusal.reason.value}: {refusal.detail}"
        self._write_audit(f"{refusal.name} order", refusal.cause, result, {"value": refusal.value})
        self._notify(refusal)

    def _entry(self, entry: Entry) -> None:
        values: dict[str, float | str] = {"value": entry.value, "order": float(entry.id)}
        self._write_audit(f"{entry.name} order", entry.cause, f"{entry.state.value}: {entry.detail}", values)
        self._notify(entry)

    def _write_audit(self, what: str, why: str, result: str, values: dict[str, float | str]) -> bool:
        try:
            self._audit.append(at=self._wall(), who=self._who, what=what, why=why, result=result, values=values)
        except (OSError, ValueError) as error:
            self.audit_failure = f"audit cannot be written: {error}"
            return False
        self.audit_failure = ""
        return True


__all__ = ["Cleared", "Gate", "Notice", "utc_now"]
