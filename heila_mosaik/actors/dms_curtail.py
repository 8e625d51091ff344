"""Curtailment of generating units as the congestion management's last resort: caps that are held, renewed, relaxed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.base import Outbox
from heila_mosaik.domain.congestion import Action
from heila_mosaik.domain.estimation.prior import Prior
from heila_mosaik.domain.forecast import Knowledge
from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.voltvar.means import Curtailable


@dataclass(frozen=True, slots=True, kw_only=True)
class CurtailmentSettings:
    """Settings of the curtailment.

    Attributes:
        validity_s: A cap ends by itself after this unless renewed. [s]
        release_s: A cap is relaxed only after less curtailment has sufficed for this long. [s]
        dead_band_mw: Smaller changes of a cap are not sent. [MW]
    """

    validity_s: float = 900.0
    release_s: float = 300.0
    dead_band_mw: float = 0.02


@dataclass(slots=True)
class _Cap:
    """A cap in force."""

    cap_mw: float
    ratio: float
    stop: datetime
    lower_since: datetime | None = None


class Curtailment:
    """Keeps the caps of the DSO.

    What a curtailed unit could feed is not measured.  It is reckoned as the forecast times the ratio of measured to
    expected generation when the cap was set; a unit below its cap is believed to feed what it can.

    Args:
        units: Units that may be curtailed. (k,)
        knowledge: Names of the injections.
        settings: Settings.
    """

    def __init__(
        self, units: tuple[Curtailable, ...], knowledge: Knowledge, settings: CurtailmentSettings | None = None
    ) -> None:
        self.units, self.settings = units, settings or CurtailmentSettings()
        names = {name: column for column, name in enumerate(knowledge.names)}
        self._columns = np.array([names[unit.element] for unit in units], np.int64)
        self._caps: dict[str, _Cap] = {}
        self._expected = np.zeros(len(units))

    @property
    def active(self) -> bool:
        """Whether any unit is curtailed."""
        return bool(self._caps)

    @property
    def capped(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Columns of the units that are curtailed."""
        return np.array(
            [
                column
                for unit, column in zip(self.units, self._columns.tolist(), strict=True)
                if unit.element in self._caps
            ],
            np.int64,
        )

    def expect(self, p_mw: FloatArray) -> None:
        """Take the consumption the DSO expected of every injection at this moment. [MW] (n,)"""
        self._expected = -p_mw[self._columns]

    def informed(self, prior: Prior) -> Prior:
        """The prior with the caps in it."""
        if not self._caps:
            return prior
        p = prior.p_mw.copy()
        for unit, column in zip(self.units, self._columns.tolist(), strict=True):
            cap = self._caps.get(unit.element)
            if cap is not None:
                p[column] = max(p[column], -cap.cap_mw)
        return replace(prior, p_mw=p)

    def available(self, p_mw: FloatArray) -> FloatArray:
        """Generation each unit could feed, given the consumption of every injection. [MW] (k,)"""
        found = np.maximum(-p_mw[self._columns], 0.0)
        for k, unit in enumerate(self.units):
            cap = self._caps.get(unit.element)
            if cap is not None and found[k] > 0.95 * cap.cap_mw:
                found[k] = min(max(found[k], cap.ratio * self._expected[k]), unit.rated_mw)
        return found

    def uncurtailed(self, p_mw: FloatArray) -> FloatArray:
        """Consumption of every injection as it would be without caps. [MW] (n,)"""
        if not self._caps:
            return p_mw
        free = p_mw.copy()
        free[self._columns] = -self.available(p_mw)
        return free

    def actions(self, p_mw: FloatArray) -> tuple[Action, ...]:
        """Curtailment as actions; ``p_mw`` is the consumption without caps. (k,)"""
        return tuple(
            Action(
                name=unit.element,
                bus=unit.bus,
                p_min_mw=0.0,
                p_max_mw=float(max(-p_mw[column], 0.0)),
                price_up=unit.price_eur_per_mwh,
                price_down=unit.price_eur_per_mwh,
            )
            for unit, column in zip(self.units, self._columns.tolist(), strict=True)
        )

    def take(self, now: datetime, wanted_mw: FloatArray, p_mw: FloatArray, out: Outbox) -> None:
        """Turn the curtailment wanted into caps.

        Args:
            now: Time.
            wanted_mw: Curtailment of each unit. [MW] (k,)
            p_mw: Consumption of every injection without caps. [MW] (n,)
            out: Outbox.
        """
        for k, unit in enumerate(self.units):
            available = max(-float(p_mw[self._columns[k]]), 0.0)
            wanted = float(wanted_mw[k])
            held = self._caps.get(unit.element)
            if wanted < self.settings.dead_band_mw:
                if held is not None:
                    self._relax(now, unit, held, unit.rated_mw, out)
                continue
            cap = round(max(available - wanted, 0.0), 3)
            if held is None:
                expected = max(float(self._expected[k]), 1e-3)
                self._caps[unit.element] = _Cap(cap, available / expected, now)
                self._send(now, unit, cap, out, f"{wanted:.3f} of {available:.3f} MW curtailed as a last resort")
            elif cap < held.cap_mw - self.settings.dead_band_mw:
                held.lower_since = None
                self._send(now, unit, cap, out, f"cap lowered to {cap:.3f} MW")
            else:
                self._relax(now, unit, held, cap, out)

    def _relax(self, now: datetime, unit: Curtailable, held: _Cap, cap: float, out: Outbox) -> None:
        """Raise a cap once a higher one has sufficed for a while; renew it meanwhile."""
        if cap <= held.cap_mw + self.settings.dead_band_mw:
            held.lower_since = None
        else:
            held.lower_since = held.lower_since or now
            if (now - held.lower_since).total_seconds() >= self.settings.release_s:
                held.lower_since = None
                if cap >= unit.rated_mw:
                    del self._caps[unit.element]
                    self._signal(now, unit, unit.rated_mw, out)
                    out.record("curtailment_ended", f"{unit.element} may feed freely again", element=unit.element)
                    return
                self._send(now, unit, cap, out, f"cap raised to {cap:.3f} MW")
                return
        if (held.stop - now).total_seconds() <= self.settings.validity_s / 3:
            held.stop = self._signal(now, unit, held.cap_mw, out)

    def _send(self, now: datetime, unit: Curtailable, cap: float, out: Outbox, why: str) -> None:
        held = self._caps[unit.element]
        held.cap_mw, held.stop = cap, self._signal(now, unit, cap, out)
        out.record("curtailment", f"{unit.element}: {why}", element=unit.element, cap_mw=cap)

    def _signal(self, now: datetime, unit: Curtailable, cap: float, out: Outbox) -> datetime:
        stop = now + timedelta(seconds=self.settings.validity_s)
        out.control(
            ControlSignal(
                id=out.identity("command"),
                target=unit.element,
                start=now,
                stop=stop,
                p_mw=-cap,
                cause="curtailment",
            )
        )
        return stop
