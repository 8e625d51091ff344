"""Judges the orders of a session by rules written down a second time, without the safety machine.

The judge is lenient about time by a margin only: an order counts as a violation when at *no* moment within the margin
before it was seen at the tap it would have been allowed.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from heila_mosaik.bridges.campaign.record import SAFETY, STALE_S, Act, Order, Record, Told
from heila_mosaik.bridges.points import Fallback, Point, Role

_EPS = 1e-5  # single precision on the wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """Something that must not happen and did."""

    rule: str
    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class _Watch:
    """A time in which a point was armed and watched; ``why`` it ended: disarmed, lost or stopped."""

    start: float
    end: float
    why: str


class Judge:
    """Account of one session.

    Args:
        record: Session.
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._alive = [act.at_s for act in record.acts if act.what == "alive"]
        self._last: dict[str, Order] = {}
        self._used: dict[str, set[int]] = {}

    def violations(self) -> list[Violation]:
        """Everything that must not have happened."""
        found: list[Violation] = []
        for order in self._record.orders:
            found.extend(
                Violation(rule=rule, at_s=order.at_s, what=f"{order.name} {order.value:g}: {what}")
                for rule, what in self._judge(order)
            )
            if not order.select:
                self._last[order.name] = order
        return found

    def _judge(self, order: Order) -> Iterator[tuple[str, str]]:
        if not order.name:
            yield "unknown address", "an order to an address nobody listed"
            return
        point = self._record.points[order.name]
        if point.role is Role.WATCHDOG:
            if not any(self._armed(each.name, order) for each in self._record.points.controlled):
                yield "disarmed", "a sign of life while nothing is armed"
            return
        yield from self._limits(point, order)
        yield from self._interlocks(point, order)
        asked, falls = self._asked(point, order), self._falls_back(point, order)
        if asked is not None and falls is not None:
            yield asked if self._armed(order.name, order) else falls
        elif point.type.is_switch_command or (falls is None and order.value == 0.0):
            return  # the emergency stop, and a set point whose breaker opens, go to zero without ramp
        elif not self._at_ramp(point, order):
            yield "ramp", f"after {self._last[order.name].value:g} too fast"

    def _limits(self, point: Point, order: Order) -> Iterator[tuple[str, str]]:
        if not math.isfinite(order.value):
            yield "limits", "not a number"
        elif point.type.is_switch_command and order.value not in (0.0, 1.0):
            yield "limits", "no state of a breaker"
        elif not point.minimum - _EPS <= order.value <= point.maximum + _EPS:
            yield "limits", f"outside {point.minimum:g}…{point.maximum:g}"

    # Armed and watched, from what the operator did and what the study lived through.

    @cached_property
    def _watches(self) -> dict[str, list[_Watch]]:
        """When orders may pass, a silence of the study at the limit taken for short enough."""
        return {point.name: list(self._watches_of(point.name)) for point in self._record.points.controlled}

    @cached_property
    def _ends(self) -> dict[str, list[tuple[float, str]]]:
        """When and why fallbacks may begin, a silence of the study at the limit taken for too long."""
        gaps = [
            start + SAFETY.study_timeout_s
            for start, end in itertools.pairwise([*self._alive, math.inf])
            if end - start > SAFETY.study_timeout_s - self._lenience(start)
        ]
        return {
            name: [
                *((watch.end, watch.why) for watch in watches),
                *((gap, "lost") for gap in gaps for w in watches if w.start <= gap <= w.end + self._lenience(gap)),
            ]
            for name, watches in self._watches.items()
        }

    def _lenience(self, at_s: float) -> float:
        return min(self._record.margin(at_s), 0.9 * SAFETY.study_timeout_s)

    def _watches_of(self, name: str) -> Iterator[_Watch]:
        current: tuple[float, float] | None = None
        stopped = False
        for act in self._happenings:
            if current is not None:
                silent, expiry = self._silent_after(act.at_s), current[1]
                if min(silent, expiry) <= act.at_s:
                    yield _Watch(current[0], min(silent, expiry), "lost" if silent <= expiry else "disarmed")
                    current = None
            if act.what == "arm" and act.name == name and not stopped and 0.0 < act.extra <= SAFETY.arm_max_s:
                current = (current[0] if current else act.at_s, act.at_s + act.extra)
            elif act.what in ("stop", "reset"):
                stopped = act.what == "stop"
            why = {"disarm": "disarmed", "stop": "stopped", "down": "lost"}.get(act.what, "")
            if current is not None and why and act.name in ("", name):
                yield _Watch(current[0], act.at_s, why)
                current = None
        if current is not None:
            silent = self._silent_after(math.inf)
            yield _Watch(current[0], min(silent, current[1]), "lost" if silent <= current[1] else "disarmed")

    @cached_property
    def _happenings(self) -> list[Act]:
        downs = [Act(at_s, "down") for at_s in self._record.downs]
        return sorted([*self._record.acts, *downs], key=lambda act: act.at_s)

    def _silent_after(self, at_s: float) -> float:
        """When the study's silence before ``at_s`` lasted too long; after it if it did not."""
        place = bisect.bisect_left(self._alive, at_s)
        last = self._alive[place - 1] if place else -math.inf
        return last + SAFETY.study_timeout_s + self._lenience(last)

    def _armed(self, name: str, order: Order) -> bool:
        since = order.at_s - self._record.margin(order.at_s)
        return any(watch.start <= order.at_s and watch.end >= since for watch in self._watches[name])

    # Why an order may be on the wire: the study asked for it, or the point falls back.

    def _asked(self, point: Point, order: Order) -> tuple[str, str] | None:
        """``None`` when the study asked for it and could; else what forbids it."""
        if not self._armed(point.name, order):
            return "disarmed", "not armed, or nobody watched over it"
        valid = [act for act in self._requests.get(point.name, []) if act.at_s <= order.at_s]
        if point.type.is_switch_command:
            return self._switching(order, valid)
        watch = max(watch.start for watch in self._watches[point.name] if watch.start <= order.at_s)
        margin = self._record.margin(order.at_s)
        targets = [act.value for act in valid if act.at_s >= watch - margin]
        starts = self._starts(point, order)
        if any(min(a, b) - _EPS <= order.value <= max(a, b) + _EPS for a in starts for b in targets):
            return None
        return "never asked for", f"targets {[round(target, 3) for target in targets[-5:]]}"

    @staticmethod
    def _is_valid(point: Point, act: Act) -> bool:
        inside = (
            act.value in (0.0, 1.0) if point.type.is_switch_command else point.minimum <= act.value <= point.maximum
        )
        return math.isfinite(act.value) and inside and 0.0 <= act.extra <= SAFETY.value_max_age_s

    def _switching(self, order: Order, valid: list[Act]) -> tuple[str, str] | None:
        """Each request moves a breaker once at most."""
        since = order.at_s - SAFETY.value_max_age_s - self._record.margin(order.at_s)
        used = self._used.setdefault(order.name, set())
        for number, act in enumerate(valid):
            if act.value == order.value and act.at_s >= since and number not in used:
                if not order.select:
                    used.add(number)
                return None
        return "stale or repeated", "no fresh request that has not been carried out already"

    def _starts(self, point: Point, order: Order) -> list[float]:
        """Where the way to a target may begin: the last order, or what was read back."""
        since = order.at_s - STALE_S - self._record.margin(order.at_s)
        told = [one.value for one in self._history(point.feedback, since, order.at_s) if one.good]
        return [*told, *([self._last[point.name].value] if point.name in self._last else [])]

    def _falls_back(self, point: Point, order: Order) -> tuple[str, str] | None:
        """``None`` when the order is the point's way to its fallback, in its time."""
        reasons = self._reasons(point, order)
        if point.type.is_switch_command:
            may = point.fallback is Fallback.OPEN and order.value == 0.0 and reasons & {"lost", "stopped"}
            return None if may else ("disarmed", "no request and no fallback explains it")
        starts = self._starts(point, order)
        towards = any(abs(order.value) <= abs(start) + _EPS and order.value * start >= -_EPS for start in starts)
        return None if reasons and towards else ("disarmed", "no request and no fallback explains it")

    def _reasons(self, point: Point, order: Order) -> set[str]:
        """Why the watching over a point ended, within the time its fallback may take."""
        margin = self._record.margin(order.at_s)
        since, until = order.at_s - point.fallback_within_s - margin, order.at_s + margin
        return {why for end, why in self._ends[point.name] if since <= end <= until}

    def _at_ramp(self, point: Point, order: Order) -> bool:
        last = self._last.get(point.name)
        if last is None or not any(w.start <= last.at_s and w.end >= order.at_s for w in self._watches[point.name]):
            return True
        margin = self._record.margin(order.at_s)
        # What the station refused was never taken: the ramp starts again from what is read back.
        told = self._history(point.feedback, last.at_s - margin, order.at_s)
        starts = [last.value, *(one.value for one in told if one.good)]
        reach = point.ramp_per_s * (min(order.at_s - last.at_s, SAFETY.ramp_credit_s) + margin) + _EPS
        return any(abs(order.value - start) <= reach for start in starts)

    # Interlocks, from what the study had been told.

    def _history(self, name: str, since: float, until: float) -> list[Told]:
        """Values of a point that counted at some moment of a time."""
        many, times = self._told_of.get(name, ([], []))
        first = max(bisect.bisect_right(times, since) - 1, 0)
        return many[first : bisect.bisect_right(times, until)]

    @cached_property
    def _told_of(self) -> dict[str, tuple[list[Told], list[float]]]:
        groups: dict[str, tuple[list[Told], list[float]]] = {}
        for one in self._record.told:
            values, times = groups.setdefault(one.name, ([], []))
            values.append(one)
            times.append(one.at_s)
        return groups

    @cached_property
    def _requests(self) -> dict[str, list[Act]]:
        """Requests that could be carried out, by point."""
        groups: dict[str, list[Act]] = {}
        for act in self._record.acts:
            if (
                act.what == "request"
                and act.name in self._watches
                and self._is_valid(self._record.points[act.name], act)
            ):
                groups.setdefault(act.name, []).append(act)
        return groups

    def _could_be(self, name: str, value: float, order: Order) -> bool:
        """Whether the study could take a point for fresh, good and of this value."""
        margin = self._record.margin(order.at_s)
        counted = self._history(name, order.at_s - margin, order.at_s)
        fresh = [one for one in counted if one.at_s >= order.at_s - STALE_S - margin]
        return any(one.good and one.value == value for one in fresh)

    def _interlocks(self, point: Point, order: Order) -> Iterator[tuple[str, str]]:
        margin = self._record.margin(order.at_s)
        local = self._history(point.local, order.at_s - margin, order.at_s)
        fresh = order.at_s - STALE_S + margin  # an old value hinders no opening
        if local and all(one.good and one.value == 1.0 and one.at_s > fresh for one in local):
            yield "interlock", "the equipment is in local mode"
        stopping = order.value == 0.0 and "stopped" in self._reasons(point, order)
        known = self._history(point.breaker, fresh, order.at_s) if point.breaker else []
        closed = self._could_be(point.breaker, 1.0, order) or (stopping and not all(one.good for one in known))
        if point.type.is_setpoint and not closed and (known or not stopping):
            yield "interlock", "the breaker is not known to be closed"
        if point.type.is_switch_command and order.value == 1.0 and not self._could_be(point.permission, 1.0, order):
            yield "interlock", "closing without synchronism permission"
