"""A microgrid without the grid: holds its island, sheds by priority, offers what is left, comes back with voltage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.domain.flexibility import Envelope
from heila_mosaik.domain.information import ControlSignal, FlexibilityForecast, PQProfile
from heila_mosaik.domain.quantities import FloatArray, Product, Quantity
from heila_mosaik.domain.resources import BatterySpec, PvSpec, ResourceSpec
from heila_mosaik.domain.restoration import Demand, pick_up
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

if TYPE_CHECKING:  # the settings hold ours
    from heila_mosaik.actors.mgms_settings import MgmsSettings

_FOREVER = timedelta(days=365)
_FULL = 1.0
_AT_LEAST_H = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IslandSettings:
    """How a microgrid behaves without the grid.

    Attributes:
        former: Storage that can hold the island; empty: it waits in the dark.
        priority: Priority of each resource, 1 first.
        operator: Address of the breaker's controller.
        dms: Address of the control room.
        outlast_h: Time the island shall last, from its beginning; an hour at least is always kept. [h]
        review_s: Time between two looks at the balance. [s]
        resync_s: Voltage must have been back for this long. [s]
        share: Part of the storage's energy that is spent; the rest is kept for what the forecast missed. [1]
    """

    former: str = ""
    priority: Mapping[str, int] = field(default_factory=dict)
    operator: str = ""
    dms: str = "dms"
    outlast_h: float = 4.0
    review_s: int = 300
    resync_s: float = 60.0
    share: float = 0.9


class Islanding:
    """Island part of an MGMS.

    Args:
        microgrid: Name.
        settings: Settings.
        resources: Specification of each resource.
        controllers: Address of the controller of each resource.
        product: Product of its forecasts.
    """

    def __init__(
        self,
        microgrid: str,
        settings: IslandSettings,
        resources: Mapping[str, ResourceSpec],
        controllers: Mapping[str, str],
        product: Product,
    ) -> None:
        self.microgrid, self.settings, self.product = microgrid, settings, product
        self.resources, self.controllers = resources, controllers
        self.feeding = False
        self._presence = True
        self._permitted = True
        self._back_since: datetime | None = None
        self._since: datetime | None = None
        self._reviewed: datetime | None = None
        self._asked: datetime | None = None
        self._off: set[str] = set()

    @classmethod
    def of(cls, settings: MgmsSettings) -> Islanding | None:
        """Island part of an MGMS with these settings; ``None`` without."""
        if settings.island is None:
            return None
        return cls(settings.microgrid, settings.island, settings.resources, settings.controllers, settings.product)

    def presence(self, now: datetime, energised: bool) -> None:
        """Take the voltage presence indicator of the grid side."""
        if energised and not self._presence:
            self._back_since = now
        self._presence = energised

    def order(self, now: datetime, signal: ControlSignal, breaker: str, out: Outbox) -> None:
        """Take an order of the control room."""
        if signal.target == breaker and not signal.grid_forming and signal.closed is not None:
            # permission to return, or its withdrawal (IEEE 1547 "permit service")
            self._permitted = signal.closed
            self._back_since = now if self._presence else None
        elif signal.target == breaker and signal.closed is not None:
            self.feeding = bool(signal.closed and signal.grid_forming)
            if self.feeding:
                out.record("island_extended", f"{self.microgrid} takes in grid zones on order of the control room")
            self._breaker(now, breaker, signal.closed, out)
        elif signal.target == self.settings.former and signal.grid_forming is False:
            self.feeding = False

    def step(
        self,
        now: datetime,
        breaker: str,
        closed: bool,
        envelopes: Mapping[str, Envelope],
        latest: Mapping[str, Mapping[Quantity, float]],
        out: Outbox,
    ) -> datetime | None:
        """Advance; returns when it wants to be called again.

        Args:
            now: Time.
            breaker: Name of the breaker at the point of common coupling.
            closed: Its position.
            envelopes: Plan of each resource.
            latest: Latest measurements of each resource.
            out: Takes messages and records.
        """
        own = self.settings
        if closed and not self.feeding:
            self._reviewed = self._back_since = self._asked = None
            self._reconnect(now, out)
            return None
        if not closed and self._presence and self._permitted:
            return self._come_back(now, breaker, out)
        if own.former and (self._reviewed is None or (now - self._reviewed).total_seconds() >= own.review_s - 0.5):
            if self._reviewed is None:
                self._since = now
                out.record("islanded", f"{self.microgrid} runs on {own.former}", former=own.former)
            self._reviewed = now
            self._balance(now, envelopes, latest, out)
        return now + timedelta(seconds=own.review_s) if own.former else None

    def _come_back(self, now: datetime, breaker: str, out: Outbox) -> datetime:
        """Close the breaker once the grid has had voltage for a while."""
        self._back_since = self._back_since or now
        ready = self._back_since + timedelta(seconds=self.settings.resync_s)
        if now < ready:
            return ready
        again = self._asked is None or (now - self._asked).total_seconds() >= self.settings.review_s
        if again:
            self._asked = now
            out.record("resynchronising", f"the grid has voltage again; {breaker} closes", breaker=breaker)
            self._breaker(now, breaker, True, out)
        return now + timedelta(seconds=self.settings.review_s)

    def _breaker(self, now: datetime, breaker: str, closed: bool, out: Outbox) -> None:
        signal = ControlSignal(
            id=out.identity("control"), target=breaker, start=now, stop=now + _FOREVER, closed=closed
        )
        out.send(self.settings.operator, signal)

    def _contactor(self, now: datetime, name: str, closed: bool, out: Outbox) -> None:
        signal = ControlSignal(id=out.identity("control"), target=name, start=now, stop=now + _FOREVER, closed=closed)
        out.send(self.controllers[name], signal)

    def _reconnect(self, now: datetime, out: Outbox) -> None:
        for name in sorted(self._off):
            self._contactor(now, name, True, out)
        if self._off:
            out.record("resources_reconnected", f"with the grid again: {', '.join(sorted(self._off))}")
        self._off = set()

    def _balance(
        self,
        now: datetime,
        envelopes: Mapping[str, Envelope],
        latest: Mapping[str, Mapping[Quantity, float]],
        out: Outbox,
    ) -> None:
        """Shed by priority what storage and sun cannot carry; tell the control room what is left."""
        spec = self.resources[self.settings.former]
        assert isinstance(spec, BatterySpec)
        assert self._since is not None
        left_h = max(_AT_LEAST_H, self.settings.outlast_h - (now - self._since).total_seconds() / 3600.0)
        grid = TimeGrid(start=floor_to(now, 900), step_s=900, count=math.ceil(left_h * 4))
        soc = latest.get(self.settings.former, {}).get(Quantity.STATE_OF_CHARGE, spec.soc_min_percent)
        content = max(0.0, soc - spec.soc_min_percent) / 100.0 * spec.energy_mwh * spec.efficiency_discharge
        expected = {name: _expected(name, envelopes, latest, grid) for name in self.resources}
        sun = np.zeros(grid.count)
        demands = []
        for name, kind in self.resources.items():
            if isinstance(kind, PvSpec):
                sun -= np.minimum(expected[name], 0.0)
            elif name != self.settings.former:
                priority = self.settings.priority.get(name, 2)
                power = np.maximum(expected[name], 0.0)
                demands.append(Demand(name=name, p_mw=power, q_mvar=0.0 * power, priority=priority))
        full = soc >= spec.soc_max_percent - _FULL
        energy = content * self.settings.share + float(sun.sum()) * grid.hours
        power = spec.p_max_mw + sun
        kept = pick_up(demands, power, spec.s_max_mva + float(sun.max()), energy, grid.hours)
        used = np.sum([demand.p_mw for demand in demands if demand.name in kept], axis=0) + np.zeros(grid.count)
        surplus = full and bool((sun > used)[0])
        off = {demand.name for demand in demands} - set(kept)
        off |= {name for name, kind in self.resources.items() if isinstance(kind, PvSpec)} if surplus else set()
        self._switch(now, off, out)
        if not self.feeding:
            self._offer(now, grid, np.maximum(power - used, 0.0), max(0.0, energy - used.sum() * grid.hours), out)

    def _switch(self, now: datetime, off: set[str], out: Outbox) -> None:
        for name in sorted(off ^ self._off):
            self._contactor(now, name, name not in off, out)
        if off != self._off:
            out.record(
                "island_shedding",
                f"{self.microgrid} as an island leaves off: {', '.join(sorted(off)) or 'nothing'}",
                shed=", ".join(sorted(off)),
            )
        self._off = off

    def _offer(self, now: datetime, grid: TimeGrid, p_mw: FloatArray, energy_mwh: float, out: Outbox) -> None:
        """What the island can export to grid zones around it."""
        nothing = (0.0,) * grid.count
        profile = PQProfile(
            start=grid.start,
            step_s=grid.step_s,
            p_mw=nothing,
            q_mvar=nothing,
            p_min_mw=tuple((-p_mw).tolist()),
            p_max_mw=nothing,
            q_min_mvar=nothing,
            q_max_mvar=nothing,
        )
        out.send(
            self.settings.dms,
            FlexibilityForecast(
                id=out.identity("island_offer"),
                subject=self.microgrid,
                issued_at=now,
                product=self.product,
                profile=profile,
                energy_up_mwh=energy_mwh,
                energy_down_mwh=0.0,
            ),
        )


def _expected(
    name: str, envelopes: Mapping[str, Envelope], latest: Mapping[str, Mapping[Quantity, float]], grid: TimeGrid
) -> FloatArray:
    """Planned power of a resource, at least what it draws now at first. [MW] (k,)"""
    now = latest.get(name, {}).get(Quantity.ACTIVE_POWER, 0.0)
    envelope = envelopes.get(name)
    if envelope is None:
        return np.full(grid.count, now)
    rows = [envelope.grid.position(grid.at(k)) if grid.at(k) in envelope.grid else -1 for k in range(grid.count)]
    return np.array([envelope.p_mw[row] if row >= 0 else now for row in rows], float)
