"""Charging site for electric vehicles: sessions with arrival, departure and energy need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from heila_mosaik.domain.resources.base import Exogenous, Limits, Resource, Setpoint, clip, demand, positive

EPSILON_MWH = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class EvSpec:
    """Charging site.

    Attributes:
        chargers: Number of charging points.
        p_max_mw: Power of one charging point. [MW]
        sessions_per_day: Sessions a day, the whole site.
        energy_kwh_mean: Mean energy need of a session (gamma distributed, shape 4). [kWh]
        arrival_mean_h: Mean time of arrival, UTC. [h]
        arrival_std_h: Standard deviation of the time of arrival. [h]
        stay_mean_h: Mean length of stay (gamma distributed, shape 9). [h]
        wear_eur_per_mwh: Cost of delaying a session. [EUR/MWh]
    """

    chargers: int
    p_max_mw: float = 0.011
    sessions_per_day: float = 1.0
    energy_kwh_mean: float = 12.0
    arrival_mean_h: float = 17.0
    arrival_std_h: float = 2.0
    stay_mean_h: float = 10.0
    wear_eur_per_mwh: float = 10.0

    def __post_init__(self) -> None:
        demand(
            "ev",
            [
                positive(self.chargers, "chargers"),
                positive(self.p_max_mw, "p_max_mw"),
                positive(self.energy_kwh_mean, "energy_kwh_mean"),
                positive(self.stay_mean_h, "stay_mean_h"),
                (
                    self.sessions_per_day >= 0 and self.arrival_std_h >= 0,
                    "sessions_per_day",
                    "sessions_per_day and arrival_std_h must not be negative",
                    "give 0 or more",
                ),
                (
                    0.0 <= self.arrival_mean_h < 24.0,
                    "arrival_mean_h",
                    f"must lie in [0, 24), got {self.arrival_mean_h}",
                    "give the hour of the day in UTC",
                ),
            ],
        )


@dataclass(slots=True)
class ChargingSession:
    """One vehicle on a charging point.

    Attributes:
        arrival: Moment of arrival.
        departure: Moment of departure.
        need_mwh: Energy still wanted. [MWh]
    """

    arrival: datetime
    departure: datetime
    need_mwh: float


class Ev(Resource):
    """Charges at once without a set point; with one, the vehicle with the least slack first.

    A vehicle whose slack is used up charges whatever the set point says, so every session that found a charging point
    gets its energy.  Sessions of a day are drawn from the site's own generator when the day begins, so memory stays
    bounded and one site's draws never depend on another's.
    """

    __slots__ = ("_day", "_expected", "_rng", "_sessions", "_started", "spec", "turned_away")

    def __init__(self, name: str, spec: EvSpec, start: datetime, rng: np.random.Generator) -> None:
        super().__init__(name)
        self.spec = spec
        self.turned_away = 0
        self._started = False
        self._rng = rng
        self._sessions: list[ChargingSession] = []
        self._expected: list[ChargingSession] = []
        # The day before the start fills the site with those who stay overnight.
        self._day = start.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=2)

    def _draw(self, day: datetime) -> list[ChargingSession]:
        spec, rng = self.spec, self._rng
        count = int(rng.poisson(spec.sessions_per_day))
        arrivals = np.sort(np.clip(rng.normal(spec.arrival_mean_h, spec.arrival_std_h, count), 0.0, 23.999))
        stays = np.maximum(0.5, rng.gamma(9.0, spec.stay_mean_h / 9.0, count))
        needs = rng.gamma(4.0, spec.energy_kwh_mean / 4000.0, count)
        drawn = []
        for arrival_h, stay_h, need in zip(arrivals.tolist(), stays.tolist(), needs.tolist(), strict=True):
            # Whole seconds, and never more than the stay allows: the need of a session is always feasible.
            arrival = day + timedelta(seconds=round(arrival_h * 3600))
            departure = arrival + timedelta(seconds=round(stay_h * 3600))
            feasible = spec.p_max_mw * (departure - arrival).total_seconds() / 3600.0
            drawn.append(ChargingSession(arrival, departure, min(need, 0.95 * feasible)))
        return drawn

    def _update(self, now: datetime) -> None:
        """Draw days, let vehicles arrive and leave."""
        first, self._started = not self._started, True
        while now >= self._day + timedelta(days=1):
            self._day += timedelta(days=1)
            self._expected.extend(self._draw(self._day))
        staying = [session for session in self._sessions if session.departure > now]
        for session in self._sessions:
            if session.departure <= now:
                self.book.unserved_mwh += session.need_mwh
        while self._expected and self._expected[0].arrival <= now:
            session = self._expected.pop(0)
            if session.departure <= now:
                continue
            if first and session.arrival < now:
                charged = self.spec.p_max_mw * (now - session.arrival).total_seconds() / 3600.0
                session.need_mwh = max(0.0, session.need_mwh - charged)
            if len(staying) < self.spec.chargers:
                staying.append(session)
            else:
                self.turned_away += 1
        self._sessions = staying

    def _bounds(self, now: datetime) -> list[tuple[float, float, float]]:
        """(must, may, slack) of each session for one step. [MW], [MW], [h]"""
        p_max, hours = self.spec.p_max_mw, self._dt_h
        bounds = []
        for session in self._sessions:
            left_h = max(0.0, (session.departure - now).total_seconds() / 3600.0)
            may = min(p_max, session.need_mwh / hours, p_max * left_h / hours)
            must = (session.need_mwh - p_max * max(0.0, left_h - hours)) / hours
            bounds.append((clip(must, 0.0, may), may, left_h - session.need_mwh / p_max))
        return bounds

    def step(self, now: datetime, dt_s: float, setpoint: Setpoint, exogenous: Exogenous) -> tuple[float, float]:
        """Advance; see :meth:`Resource.step`."""
        del exogenous
        self._dt_h = hours = dt_s / 3600.0
        self._update(now)
        bounds = self._bounds(now)
        wanted = setpoint[0]
        powers = [may for _, may, _ in bounds]
        if wanted is not None and wanted < sum(powers):
            powers = [must for must, _, _ in bounds]
            room = wanted - sum(powers)
            for position in sorted(range(len(bounds)), key=lambda k: (bounds[k][2], k)):
                if room <= 0.0:
                    break
                extra = min(room, bounds[position][1] - bounds[position][0])
                powers[position] += extra
                room -= extra
        for session, power in zip(self._sessions, powers, strict=True):
            left = session.need_mwh - power * hours
            session.need_mwh = left if left > EPSILON_MWH else 0.0
        self.p_mw = sum(powers)
        self.book.electric_mwh += self.p_mw * hours
        self.book.useful_mwh += self.p_mw * hours
        return self.p_mw, 0.0

    def off(self, now: datetime, dt_s: float, exogenous: Exogenous) -> float:
        """Advance without voltage; what a vehicle misses shows when it leaves."""
        del exogenous
        self._dt_h = dt_s / 3600.0
        self._update(now)
        self.p_mw = 0.0
        return 0.0

    def limits(self, now: datetime) -> Limits:
        """From what must be charged to what may be charged in one step."""
        bounds = self._bounds(now)
        return sum(must for must, _, _ in bounds), sum(may for _, may, _ in bounds), 0.0, 0.0

    def state(self) -> Mapping[str, float]:
        """Vehicles present and the energy they still want."""
        need = sum(session.need_mwh for session in self._sessions)
        return {"e_mwh": need, "vehicles": float(len(self._sessions))}
