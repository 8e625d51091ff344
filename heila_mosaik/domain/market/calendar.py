"""When the flexibility market does what: gate times, sessions and delivery windows.

Day-ahead times are local times of day in a named zone, so they follow daylight saving as a real market does; a local
day may therefore hold 23 or 25 delivery hours.  Intraday events repeat every hour at fixed minutes (UTC hours).
Defaults follow the published HEILA cycle (flexibility before 18:30, offers, bids and notifications by 22:00, first
operating hour 00:00) and the hourly intraday gate of European markets (60 min before delivery).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from itertools import pairwise
from zoneinfo import ZoneInfo

from heila_mosaik.domain.information import Session
from heila_mosaik.domain.timegrid import TimeGrid, require_aware
from heila_mosaik.errors import Problem, ProblemsError

_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)


class MarketEvent(StrEnum):
    """Steps of a market session, in the order in which they happen."""

    FORECAST = "forecast"
    FLEXIBILITY = "flexibility"
    OFFERS = "offers"
    GATE = "gate"
    REQUEST = "request"
    BID = "bid"
    CLEAR = "clear"


_DAY_AHEAD_FIELDS = {
    MarketEvent.FORECAST: "forecast_at",
    MarketEvent.FLEXIBILITY: "flexibility_at",
    MarketEvent.OFFERS: "offers_at",
    MarketEvent.GATE: "day_ahead_gate",
    MarketEvent.REQUEST: "request_at",
    MarketEvent.BID: "bid_at",
    MarketEvent.CLEAR: "clear_at",
}
_INTRADAY_FIELDS = {
    MarketEvent.FORECAST: "intraday_forecast_minute",
    MarketEvent.FLEXIBILITY: "intraday_flexibility_minute",
    MarketEvent.OFFERS: "intraday_offers_minute",
    MarketEvent.GATE: "intraday_gate_minute",
    MarketEvent.REQUEST: "intraday_request_minute",
    MarketEvent.BID: "intraday_bid_minute",
    MarketEvent.CLEAR: "intraday_clear_minute",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketCalendar:
    """Times of the flexibility market.

    Attributes:
        zone: IANA time zone of the local times of day.
        forecast_at: Weather and price forecasts for the next day are issued (SPP).
        flexibility_at: MGMSs send flexibility forecasts for the next day to the AMS.
        offers_at: AMS sends its day-ahead offers.
        day_ahead_gate: Last moment for a day-ahead offer to arrive.
        request_at: DMS asks for the offer list.
        bid_at: DMS bids.
        clear_at: FMP clears; bids must have arrived before.
        intraday: Whether hourly intraday sessions are held.
        intraday_forecast_minute .. intraday_clear_minute: Minute of each hour of the same events. [min]
        intraday_lead_s: Gate of an intraday product: this long before its delivery begins. [s]
        intraday_horizon_s: Length of the delivery window that one intraday session trades. [s]
        delivery_s: Length of a delivery product. [s]

    Raises:
        ProblemsError: With every contradiction, such as offers that are sent after their gate.
    """

    zone: str = "Europe/Helsinki"
    forecast_at: time = time(16, 5)
    flexibility_at: time = time(17, 50)
    offers_at: time = time(18, 20)
    day_ahead_gate: time = time(18, 30)
    request_at: time = time(19, 0)
    bid_at: time = time(20, 0)
    clear_at: time = time(20, 15)
    intraday: bool = True
    intraday_forecast_minute: int = 10
    intraday_flexibility_minute: int = 15
    intraday_offers_minute: int = 20
    intraday_gate_minute: int = 22
    intraday_request_minute: int = 25
    intraday_bid_minute: int = 30
    intraday_clear_minute: int = 32
    intraday_lead_s: int = 3600
    intraday_horizon_s: int = 3 * 3600
    delivery_s: int = 3600

    def __post_init__(self) -> None:
        problems = [*self._zone_problems(), *self._order_problems(), *self._length_problems()]
        if problems:
            raise ProblemsError("market calendar", problems)

    def _zone_problems(self) -> list[Problem]:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError):
            return [
                Problem(
                    what=f"time zone {self.zone!r} is not known",
                    where="market.zone",
                    remedy="give an IANA name such as Europe/Helsinki or UTC",
                )
            ]
        return []

    def _order_problems(self) -> list[Problem]:
        problems: list[Problem] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, time) and value.tzinfo is not None:
                problems.append(
                    Problem(
                        what=f"{value.isoformat()} carries an offset, but times of day are in market.zone",
                        where=f"market.{field.name}",
                        remedy="drop the offset and set market.zone instead",
                    )
                )
        if problems:
            return problems
        chains = [list(_DAY_AHEAD_FIELDS.values())]
        if self.intraday:
            chains.append(list(_INTRADAY_FIELDS.values()))
        for earlier, later in (pair for chain in chains for pair in pairwise(chain)):
            before, after = getattr(self, earlier), getattr(self, later)
            # Offers may leave at the very gate; every other step needs the one before it to have ended.
            if before > after or (before == after and later != "day_ahead_gate"):
                problems.append(
                    Problem(
                        what=f"{later} ({after}) does not come after {earlier} ({before})",
                        where=f"market.{later}",
                        remedy=f"set {later} later than {earlier}",
                    )
                )
        return problems

    def _length_problems(self) -> list[Problem]:
        problems: list[Problem] = []
        if self.delivery_s <= 0 or 86400 % self.delivery_s or (self.delivery_s > 3600):
            problems.append(
                Problem(
                    what=f"delivery_s = {self.delivery_s} does not divide an hour evenly",
                    where="market.delivery_s",
                    remedy="use 900, 1800 or 3600",
                )
            )
        elif self.intraday_horizon_s < self.delivery_s or self.intraday_horizon_s % self.delivery_s:
            problems.append(
                Problem(
                    what=f"intraday_horizon_s = {self.intraday_horizon_s} is not a whole number of delivery products",
                    where="market.intraday_horizon_s",
                    remedy=f"use a multiple of delivery_s ({self.delivery_s})",
                )
            )
        if self.intraday_lead_s < 0:
            problems.append(
                Problem(what="lead is negative", where="market.intraday_lead_s", remedy="use 0 or more seconds")
            )
        problems.extend(
            Problem(what="not a minute of an hour", where=f"market.{name}", remedy="use a number from 0 to 59")
            for name in _INTRADAY_FIELDS.values()
            if not 0 <= getattr(self, name) <= 59
        )
        return problems

    @property
    def sessions(self) -> tuple[Session, ...]:
        """Sessions that are held."""
        return (Session.DAY_AHEAD, Session.INTRADAY) if self.intraday else (Session.DAY_AHEAD,)

    def local_date(self, now: datetime) -> date:
        """Local calendar day of a moment."""
        return now.astimezone(ZoneInfo(self.zone)).date()

    def midnight(self, day: date) -> datetime:
        """Start of a local day, in UTC."""
        return self._at(day, time(0, 0))

    def next_event(self, now: datetime, kind: MarketEvent, session: Session | None = None) -> datetime:
        """First time strictly after ``now`` at which an event happens.

        Args:
            now: Aware moment.
            kind: Event.
            session: Session; ``None`` takes the earliest of all sessions held.

        Raises:
            ValueError: If intraday is asked for and not held.
        """
        now = require_aware(now, "now")
        if session is None:
            return min(self.next_event(now, kind, each) for each in self.sessions)
        if session is Session.DAY_AHEAD:
            moment_of_day: time = getattr(self, _DAY_AHEAD_FIELDS[kind])
            day = self.local_date(now)
            moment = self._at(day, moment_of_day)
            return moment if moment > now else self._at(day + _DAY, moment_of_day)
        if not self.intraday:
            raise ValueError("no intraday sessions are held (market.intraday is false)")
        moment = _hour(now) + timedelta(minutes=getattr(self, _INTRADAY_FIELDS[kind]))
        return moment if moment > now else moment + _HOUR

    def due(self, after: datetime | None, now: datetime, kind: MarketEvent) -> tuple[tuple[datetime, Session], ...]:
        """Events with ``after < time <= now`` in order of time, day-ahead before intraday at equal times.

        ``after=None`` looks at ``now`` alone, which suits the first step of an actor.
        """
        after = now - timedelta(microseconds=1) if after is None else after
        found: list[tuple[datetime, int, Session]] = []
        for order, session in enumerate(self.sessions):
            moment = self.next_event(after, kind, session)
            while moment <= now:
                found.append((moment, order, session))
                moment = self.next_event(moment, kind, session)
        return tuple((moment, session) for moment, _, session in sorted(found, key=lambda each: each[:2]))

    def delivery_window(self, session: Session, now: datetime) -> TimeGrid:
        """Delivery products that the session held at ``now`` trades.

        Day-ahead: the next local day.  Intraday: the session of the current clock hour trades products that begin at
        least ``intraday_lead_s`` after its clearing.
        """
        now = require_aware(now, "now")
        if session is Session.DAY_AHEAD:
            day = self.local_date(now) + _DAY
            start, stop = self.midnight(day), self.midnight(day + _DAY)
        else:
            earliest = _hour(now) + timedelta(minutes=self.intraday_clear_minute, seconds=self.intraday_lead_s)
            hour = _hour(earliest)
            products = -((hour - earliest) // timedelta(seconds=self.delivery_s))
            start = hour + timedelta(seconds=self.delivery_s * products)
            stop = start + timedelta(seconds=self.intraday_horizon_s)
        count = int((stop - start).total_seconds()) // self.delivery_s
        return TimeGrid(start=start, step_s=self.delivery_s, count=count)

    def gate(self, session: Session, start: datetime) -> datetime:
        """Last moment at which an offer for delivery from ``start`` may arrive."""
        if session is Session.DAY_AHEAD:
            return self._at(self.local_date(start) - _DAY, self.day_ahead_gate)
        return start - timedelta(seconds=self.intraday_lead_s)

    def bid_gate(self, session: Session, start: datetime) -> datetime:
        """Last moment at which a bid for delivery from ``start`` may arrive."""
        if session is Session.DAY_AHEAD:
            return self._at(self.local_date(start) - _DAY, self.clear_at)
        return start - timedelta(seconds=self.intraday_lead_s)

    def _at(self, day: date, moment: time) -> datetime:
        return datetime.combine(day, moment, tzinfo=ZoneInfo(self.zone)).astimezone(UTC)


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)
