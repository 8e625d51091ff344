"""What an operator has to see of a run with equipment in the loop; filled live or from a recording."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from heila_mosaik.bridges.points import PointList
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    Message,
    ReserveNotification,
    VerificationNotification,
)
from heila_mosaik.domain.realtime import StepTiming

_RECENT = 4096


@dataclass(slots=True)
class Shown:
    """Last value of a monitor point; ``at_s`` on the run's own clock."""

    value: float
    quality: str
    at_s: float


@dataclass(slots=True)
class Ordered:
    """A control point as the operator sees it."""

    phase: str = "disarmed"
    armed_until_s: float | None = None
    wanted: float | None = None
    written: float | None = None
    state: str = ""
    detail: str = ""
    cause: str = ""


@dataclass(slots=True)
class Activation:
    """One message about a call of the laboratory's microgrid."""

    at: datetime
    kind: str
    text: str


@dataclass(slots=True)
class Monitor:
    """State of the run.

    Attributes:
        title: Name of the study.
        address: Where the equipment is.
        points: Point list.
        microgrids: Microgrids in the laboratory; messages of others are left out.
        speed: Simulated time per wall-clock time.
        overrun: Policy.
        steps: Number of steps.
        armed: Points the command names.
        phase: What is being done.
    """

    title: str
    address: str
    points: PointList
    microgrids: tuple[str, ...]
    speed: float
    overrun: str
    steps: int
    armed: tuple[str, ...] = ()
    phase: str = "connect"
    simulated: datetime | None = None
    at_s: float = 0.0
    starts_in_s: float = 0.0
    next_in_s: float = 0.0
    link: str = "closed"
    link_detail: str = ""
    lost: int = 0
    received: int = 0
    emergency: bool = False
    unknown: int = 0
    audit_failure: str = ""
    values: dict[str, Shown] = field(default_factory=dict)
    orders: dict[str, Ordered] = field(default_factory=dict)
    activations: deque[Activation] = field(default_factory=lambda: deque(maxlen=50))
    events: deque[tuple[float, str, str]] = field(default_factory=lambda: deque(maxlen=200))
    counts: Counter[str] = field(default_factory=Counter)
    done: int = 0
    missed: int = 0
    slipped_s: float = 0.0
    lags_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))
    busy_s: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    def __post_init__(self) -> None:
        self.orders = {point.name: Ordered() for point in self.points.controlled}

    def step(self, timing: StepTiming, now: datetime) -> None:
        """A step is complete."""
        self.simulated, self.done = now, timing.step + 1
        self.missed += timing.missed
        self.slipped_s += timing.slipped_s
        self.lags_s.append(timing.lag_s)
        self.busy_s.append(timing.busy_s)

    def lag_ms(self) -> tuple[float, float, float, float]:
        """Last, median, 99th percentile and largest lag of the recent steps. [ms]"""
        if not self.lags_s:
            return (0.0, 0.0, 0.0, 0.0)
        lags = 1000.0 * np.asarray(self.lags_s)
        median, high, worst = (float(value) for value in np.percentile(lags, (50, 99, 100)))
        return float(lags[-1]), median, high, worst

    def event(self, line: Mapping[str, Any]) -> None:
        """A line of the log."""
        kind, at_s = str(line["kind"]), float(line["at_s"])
        match kind:
            case "link":
                self.link, self.link_detail = line["state"], line.get("detail", "")
                self.note(at_s, "link", f"{self.link} {self.link_detail}".strip())
            case "order":
                self._order(at_s, line)
            case "refusal":
                self.counts["refused"] += 1
                control = self.orders.get(line["name"])
                if control is not None:
                    control.state, control.detail = "refused", f"{line['reason']}: {line['detail']}"
                self.note(at_s, "refused", f"{line['name']} {line['value']}: {line['detail']}")
            case "phase":
                control = self.orders.get(line["name"])
                if control is not None:
                    control.phase = line["phase"]
                self.note(at_s, "point", f"{line['name']} {line['phase']}")
            case "lost":
                self.lost += line["count"]
                self.note(at_s, "lost", f"{line['count']} events {line.get('where', '')}".strip())
            case "activation":
                at = datetime.fromisoformat(line["at"])
                self.activations.append(Activation(at=at, kind=line["what"], text=line["text"]))
            case _:
                self.note(at_s, kind, " ".join(f"{v}" for k, v in line.items() if k not in ("at_s", "kind")))

    def note(self, at_s: float, kind: str, text: str) -> None:
        """Something to show in the list of events."""
        self.events.append((at_s, kind, text))

    def _order(self, at_s: float, line: Mapping[str, Any]) -> None:
        self.counts[line["state"]] += 1
        control = self.orders.get(line["name"])
        if control is not None:
            control.state, control.detail, control.cause = line["state"], line.get("detail", ""), line["cause"]
            control.written = line["value"]
        if line["state"] in ("confirmed", "refused", "unknown"):
            self.note(at_s, line["state"], f"{line['name']} {line['value']:g}: {line.get('detail', '')}")


def about(message: Message, microgrids: tuple[str, ...]) -> tuple[str, str] | None:
    """Kind and sentence of a message about calls of the laboratory's microgrids; ``None`` for others."""
    body = message.body
    concerned = any(f"mgms_{name}" in (message.sender, message.receiver) for name in microgrids)
    if not concerned:
        return None
    if isinstance(body, ActivationNotification):
        return "activation", f"{body.p_mw:+.3f} MW {body.q_mvar:+.3f} MVar until {body.stop:%H:%M} ({body.reserve})"
    if isinstance(body, ActivationRefusal):
        return "refusal", f"{body.p_mw:+.3f} MW refused: {body.reason}"
    if isinstance(body, VerificationNotification):
        asked, got = body.requested_p_mw, np.subtract(body.measured_p_mw, body.baseline_p_mw)
        return "verification", f"asked {np.mean(asked):+.3f} MW, delivered {np.mean(got):+.3f} MW, {body.start:%H:%M}"
    if isinstance(body, ReserveNotification):
        return "reserve", f"{body.p_min_mw:+.3f} to {body.p_max_mw:+.3f} MW, {body.start:%d %H:%M} to {body.stop:%H:%M}"
    return None
