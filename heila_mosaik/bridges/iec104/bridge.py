"""Equipment behind IEC 60870-5-104: link, safety gate, ledger and audit joined; the only way to order anything."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, Self

from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.iec104.client import (
    EventsLost,
    Iec104Client,
    LinkEvent,
    LinkState,
    PathChanged,
    Received,
    StateChanged,
)
from heila_mosaik.bridges.ledger import CommandLedger, Entry
from heila_mosaik.bridges.points import PointList
from heila_mosaik.bridges.safety_gate import Cleared, Gate, Notice, utc_now
from heila_mosaik.bridges.safety_types import (
    Arm,
    Disarm,
    EmergencyStop,
    Event,
    LinkChanged,
    Observed,
    Phase,
    Requested,
    Reset,
    SafetySettings,
    StudyAlive,
    Tick,
)

_LOG = logging.getLogger(__name__)
_TICK_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatus:
    """What an operator sees.

    Attributes:
        link: State of the link.
        paths: State of each path to the station.
        received: Values received.
        lost: Events lost because the bridge was too slow.
        phases: Phase of each control point.
        setpoints: Value last written to each control point, study unit.
        emergency_stopped: Whether the emergency stop is latched.
        unknown: Orders an operator has to look at.
        late_s: Largest lateness of a tick since the start. [s]
        audit_failure: Why the audit cannot be written, empty while it can.
    """

    link: LinkState
    paths: tuple[LinkState, ...]
    received: int
    lost: int
    phases: Mapping[str, Phase]
    setpoints: Mapping[str, float | None]
    emergency_stopped: bool
    unknown: tuple[Entry, ...]
    late_s: float
    audit_failure: str


class Iec104Bridge:
    """An :class:`~heila_mosaik.bridges.endpoint.Endpoint`.  Use from one event loop.

    Every point is disarmed (dry run, reads only) until :meth:`arm`.

    Args:
        points: Point list.
        client: Link; the bridge owns it from now on.
        audit: Audit, open; stays the caller's to close.
        who: Operator or actor responsible for the orders.
        safety: Times of the safety machine.
        readback_timeout_s: Time for the read-back of an order. [s]
        tick_s: Period of supervision and ramps. [s]
        notify: Told of refusals, changes of orders and link events, in the loop; must not block.
        wall: Wall clock, for the audit and the time of arrival.
    """

    def __init__(
        self,
        points: PointList,
        client: Iec104Client,
        audit: AuditLog,
        *,
        who: str,
        safety: SafetySettings | None = None,
        readback_timeout_s: float = 5.0,
        tick_s: float = _TICK_S,
        notify: Callable[[Notice | LinkEvent], None] | None = None,
        wall: Callable[[], datetime] = utc_now,
    ) -> None:
        self._points = points
        self._client = client
        self._notify = notify
        ledger = CommandLedger(readback_timeout_s)
        self._gate = Gate(points, audit, who=who, wall=wall, safety=safety, ledger=ledger, notify=self._tell)
        self._wall = wall
        self._tick_s = tick_s
        self._readings: dict[str, Reading] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._orders: set[asyncio.Task[None]] = set()
        self._late_s = 0.0
        self._up = False
        # What the safety machine has been told, not what the client knows already: who sees "open" can arm.
        self._link_state = LinkState.CLOSED
        self._received = self._lost_told = 0

    @property
    def readings(self) -> Mapping[str, Reading]:
        """Last value of each monitor point that has arrived, by point name."""
        return MappingProxyType(self._readings)

    @property
    def orders(self) -> tuple[Entry, ...]:
        """Orders sent, oldest first."""
        return tuple(self._gate.ledger.entries)

    @property
    def status(self) -> BridgeStatus:
        """State for an operator."""
        machine, names = self._gate.machine, [point.name for point in self._points.controlled]
        return BridgeStatus(
            link=self._link_state,
            paths=self._client.paths,
            received=self._received,
            lost=self._client.lost,
            phases={name: machine.phase(name) for name in names},
            setpoints={name: machine.setpoint(name) for name in names},
            emergency_stopped=machine.emergency_stopped,
            unknown=self._gate.ledger.unknown,
            late_s=self._late_s,
            audit_failure=self._gate.audit_failure,
        )

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Begin to connect and to supervise."""
        await self._client.start()
        self._tasks = [asyncio.create_task(self._guard(job)) for job in (self._receive, self._supervise)]

    async def stop(self, limit_s: float = 60.0) -> None:
        """Disarm, let fallbacks and read-backs finish within their declared time, close.

        Args:
            limit_s: Longest time to wait for them; what is left is written to the audit. [s]
        """
        if not self._tasks:
            return
        self._handle(Disarm(at_s=time.monotonic()))
        limit = max((point.fallback_within_s for point in self._points.controlled), default=0.0)
        end = time.monotonic() + min(limit, limit_s)
        while self._client.state is LinkState.OPEN and self._is_releasing() and time.monotonic() < end:
            await asyncio.sleep(self._tick_s)
        for task in (*self._tasks, *self._orders):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._orders, return_exceptions=True)
        self._tasks = []
        await self._client.stop()
        releasing = [name for name, phase in self.status.phases.items() if phase is Phase.RELEASING]
        left = (
            f"{self._gate.ledger.pending} orders not read back, fallback not complete: {', '.join(releasing) or 'none'}"
        )
        self._gate.record("bridge", "stop", f"closed with {left}")

    def study_alive(self) -> None:
        """The study has completed a step."""
        self._handle(StudyAlive(at_s=time.monotonic()))

    def request(self, name: str, value: float, *, cause: str = "", age_s: float = 0.0) -> None:
        """Ask for a value at a control point.

        Args:
            name: Control point.
            value: Value, study unit; 1 closes and 0 opens a breaker.
            cause: Activation or plan behind it.
            age_s: How long ago the study computed it. [s]
        """
        now = time.monotonic()
        self._handle(Requested(at_s=now, name=name, value=value, valued_at_s=now - age_s, cause=cause))

    def arm(self, names: tuple[str, ...], duration_s: float, *, who: str) -> None:
        """Let orders to these points pass for a time."""
        self._gate.record("arm " + ", ".join(names), f"by {who}", f"asked for {duration_s:g} s")
        self._handle(Arm(at_s=time.monotonic(), names=names, duration_s=duration_s))

    def disarm(self, names: tuple[str, ...] = (), *, who: str) -> None:
        """Stop taking orders for these points, by default all; they go to their fallback."""
        self._gate.record("disarm " + (", ".join(names) or "all"), f"by {who}", "done")
        self._handle(Disarm(at_s=time.monotonic(), names=names))

    def emergency_stop(self, *, who: str) -> None:
        """Everything armed goes to its safe state at once; latched."""
        # The orders leave first: writing the operator's line must not delay them.
        self._handle(EmergencyStop(at_s=time.monotonic()))
        self._gate.record("emergency stop", f"by {who}", "latched")

    def reset(self, *, who: str) -> None:
        """Release the emergency stop; points stay disarmed."""
        self._gate.record("emergency stop", f"by {who}", "released")
        self._handle(Reset(at_s=time.monotonic()))

    def resolve(self, order: int, *, who: str) -> None:
        """Settle an UNKNOWN order after looking at the equipment.

        Raises:
            ValueError: If the order is not UNKNOWN.
        """
        self._gate.resolve(time.monotonic(), order, who)

    def _is_releasing(self) -> bool:
        phases = (self._gate.machine.phase(point.name) for point in self._points.controlled)
        return (
            self._gate.flying > 0 or self._gate.ledger.pending > 0 or any(phase is Phase.RELEASING for phase in phases)
        )

    def _tell(self, notice: Notice | LinkEvent) -> None:
        if self._notify is None:
            return
        try:
            self._notify(notice)
        except Exception:
            _LOG.exception("a listener failed on %r", notice)

    def _handle(self, event: Event) -> None:
        self._send(self._gate.handle(event))

    def _send(self, cleared: tuple[Cleared, ...]) -> None:
        for one in cleared:
            task = asyncio.get_running_loop().create_task(self._carry(one))
            self._orders.add(task)
            task.add_done_callback(self._orders.discard)

    async def _carry(self, cleared: Cleared) -> None:
        positive: bool | None = None
        detail = "bridge stopped before the answer"
        try:
            answer = await self._client.order(cleared)
            positive, detail = answer.positive, answer.detail
        except Exception as error:
            _LOG.exception("order to %s", cleared.point.name)
            detail = f"{type(error).__name__}: {error}"
        finally:
            following = self._gate.answered(time.monotonic(), cleared, positive, detail)
        self._send(following)

    async def _guard(self, job: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep a task alive; what it missed meanwhile counts as a lost link."""
        while True:
            try:
                await job()
            except Exception:
                _LOG.exception("bridge task failed; points fall back")
                self._link(up=False)
                await asyncio.sleep(self._tick_s)
                self._link(up=self._client.state.watched)

    def _link(self, *, up: bool) -> None:
        if up is not self._up:
            self._up = up
            self._handle(LinkChanged(at_s=time.monotonic(), up=up))

    async def _receive(self) -> None:
        while True:
            event = await self._client.receive()
            match event:
                case Received():
                    self._take(event)
                case StateChanged():
                    self._link(up=event.state.watched)
                    self._link_state = event.state
                    self._gate.record("link", event.detail, event.state.value)
                case PathChanged():
                    self._gate.record(f"path {event.path + 1}", event.detail, event.state.value)
            self._tell(event)

    def _take(self, event: Received) -> None:
        point, now = event.point, time.monotonic()
        self._received += 1
        value, quality = point.to_study(event.wire, event.quality)
        self._readings[point.name] = Reading(
            name=point.name,
            attribute=point.attribute,
            value=value,
            quality=quality,
            at_s=now,
            device_time=event.device_time,
            cause=event.cause,
            received=self._wall(),
        )
        self._handle(Observed(at_s=now, name=point.name, value=value, quality=quality))

    async def _supervise(self) -> None:
        """Tick on an absolute schedule."""
        due = time.monotonic()
        while True:
            now = time.monotonic()
            self._late_s = max(self._late_s, now - due)
            self._handle(Tick(at_s=now))
            self._report_loss()
            due = max(due + self._tick_s, now)
            await asyncio.sleep(due - time.monotonic())

    def _report_loss(self) -> None:
        """Say once a tick, in the audit and to the listener, how many events were dropped since the last time."""
        lost = self._client.lost
        if lost > self._lost_told:
            event = EventsLost(count=lost - self._lost_told, total=lost)
            self._lost_told = lost
            self._gate.record("events", "they came faster than they were taken", f"{event.count} lost")
            self._tell(event)
