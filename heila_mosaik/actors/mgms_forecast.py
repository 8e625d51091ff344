"""What an MGMS expects of its resources: learnt load and PV, weather, prices, and from them envelopes and plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.cems import resample
from heila_mosaik.actors.mgms_settings import MgmsSettings
from heila_mosaik.domain.flexibility import (
    Envelope,
    ExogenousForecast,
    FlexibilitySettings,
    aggregate,
    forecast_resource,
)
from heila_mosaik.domain.information import PriceForecast, Series, WeatherForecast
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.resources import BatterySpec, HeatPumpSpec, LoadSpec, PvSpec, ResourceSpec
from heila_mosaik.domain.resources.pv import relative_output
from heila_mosaik.domain.scheduling import Obligation, Schedule, plan_operation, store_of
from heila_mosaik.domain.timegrid import TimeGrid, floor_to

SLOTS = 96
LEARNING_RATE = 0.3
PRIOR_LOAD_FACTOR = 0.5
MIN_SUN_W_PER_M2 = 100.0


class Expectation:
    """Learns load shapes and PV yield from measurements and forecasts the microgrid.

    Loads: mean of each quarter of an hour, working days and week-ends apart, by exponential smoothing.  PV: ratio of
    available to modelled output.  Memory does not grow with time.
    """

    def __init__(self, resources: Mapping[str, ResourceSpec], typical: Mapping[str, Sequence[float]]) -> None:
        self.resources = resources
        self.weather: WeatherForecast | None = None
        self.prices: PriceForecast | None = None
        self.soc: dict[str, float] = {}
        self._ratio: dict[str, float] = {name: 1.0 for name, spec in resources.items() if isinstance(spec, PvSpec)}
        self._shape: dict[str, FloatArray] = {}
        for name, spec in resources.items():
            if isinstance(spec, LoadSpec):
                default = PRIOR_LOAD_FACTOR if spec.profile else 1.0
                day = np.asarray(typical.get(name, (default,) * SLOTS), dtype=np.float64)
                position = np.arange(SLOTS) * len(day) // SLOTS
                self._shape[name] = np.stack([day[position], day[position]])

    def learn(self, name: str, at: datetime, p_mw: float, available_mw: float | None) -> None:
        """Take in a measured power, for PV also what the sun offered (>= 0). [MW]"""
        spec = self.resources.get(name)
        if isinstance(spec, LoadSpec) and spec.p_mw:
            slot, kind = (at.hour * 60 + at.minute) * SLOTS // 1440, int(at.weekday() >= 5)
            shape = self._shape[name]
            shape[kind, slot] += LEARNING_RATE * (p_mw / spec.p_mw - shape[kind, slot])
        elif isinstance(spec, PvSpec) and available_mw is not None and self.weather is not None:
            sun, air = self._weather_at(TimeGrid(start=at, step_s=900, count=1))
            if sun[0] >= MIN_SUN_W_PER_M2:
                modelled = float(relative_output(sun, air)[0]) * spec.p_rated_mw
                ratio = min(1.5, max(0.0, available_mw / max(modelled, 1e-9)))
                self._ratio[name] += 0.05 * (ratio - self._ratio[name])

    def _weather_at(self, grid: TimeGrid) -> tuple[FloatArray, FloatArray]:
        """Irradiance and temperature. [W/m²], [°C] (n,)"""
        weather = self.weather
        if weather is None:
            return np.zeros(grid.count), np.full(grid.count, 10.0)
        return (
            resample(weather.irradiance_w_per_m2, weather.start, weather.step_s, grid, 0.0),
            resample(weather.temperature_c, weather.start, weather.step_s, grid, 10.0),
        )

    def exogenous(self, grid: TimeGrid) -> ExogenousForecast:
        """Surroundings expected over ``grid``."""
        sun, air = self._weather_at(grid)
        profiles: dict[str, FloatArray] = {}
        minutes = np.array([(grid.at(k).hour * 60 + grid.at(k).minute) for k in range(grid.count)], dtype=np.int64)
        weekend = np.array([int(grid.at(k).weekday() >= 5) for k in range(grid.count)], dtype=np.int64)
        for name, shape in self._shape.items():
            profiles[name] = shape[weekend, minutes * SLOTS // 1440]
        for name, ratio in self._ratio.items():
            profiles[name] = np.maximum(0.0, relative_output(sun, air) * ratio)
        return ExogenousForecast(grid=grid, temperature_c=air, irradiance_w_per_m2=sun, profiles=profiles)

    def spot(self, grid: TimeGrid) -> FloatArray:
        """Spot price; flat 50 EUR/MWh while none is known (no arbitrage then). [EUR/MWh] (n,)"""
        prices = self.prices
        if prices is None:
            return np.full(grid.count, 50.0)
        return resample(prices.spot_eur_per_mwh, prices.start, prices.step_s, grid, 50.0)

    def envelopes(
        self, exogenous: ExogenousForecast, settings: FlexibilitySettings, plans: Mapping[str, FloatArray]
    ) -> dict[str, Envelope]:
        """Envelope of every resource around its plan."""
        found = {}
        for name, spec in self.resources.items():
            state = {"soc_percent": self.soc[name]} if name in self.soc else {}
            found[name] = forecast_resource(name, spec, state, exogenous, settings, plans.get(name))
        return found

    def schedule(
        self,
        exogenous: ExogenousForecast,
        duties: Sequence[Obligation],
        settings: MgmsSettings,
        declared: Mapping[str, FloatArray],
    ) -> Schedule:
        """Operation plan of the stores at spot price that keeps the reserves.

        Args:
            exogenous: Expected surroundings.
            duties: Reserves to keep.
            settings: How much arbitrage may use.
            declared: Power of each store that must not change; NaN elsewhere. [MW] (n,) each
        """
        stores = []
        for name, spec in self.resources.items():
            if isinstance(spec, BatterySpec | HeatPumpSpec):
                start = spec.soc_start_percent if isinstance(spec, BatterySpec) else spec.storage_start_percent
                soc = self.soc.get(name, start)
                store = store_of(name, spec, soc, exogenous.grid.hours, exogenous.temperature_c)
                stores.append(
                    replace(
                        store,
                        keep_low_share=settings.keep_low_share,
                        keep_high_share=settings.keep_high_share,
                        use_share=settings.use_share,
                        fixed_mw=declared.get(name),
                    )
                )
        spot = self.spot(exogenous.grid)
        if not settings.arbitrage:
            spot = np.full_like(spot, float(spot.mean()))
        return plan_operation(stores, exogenous.grid, spot, duties)


def whole(name: str, envelopes: Mapping[str, Envelope], settings: FlexibilitySettings) -> Envelope:
    """Envelope of the microgrid."""
    return aggregate(name, list(envelopes.values()), settings)


def asking_prices(cost_eur_per_mwh: float, spot: FloatArray, margin: float) -> tuple[Series, Series]:
    """Prices asked for lowering and raising consumption. [EUR/MWh] (n,), [EUR/MWh] (n,)

    Energy moved now is bought back, or sold again, at the mean spot price of the horizon: the price is wear plus that
    loss, with a margin on top.

    Args:
        cost_eur_per_mwh: Wear of the resources. [EUR/MWh]
        spot: Spot price. [EUR/MWh] (n,)
        margin: Added share. [1]
    """
    mean = float(spot.mean())
    up = (cost_eur_per_mwh + np.maximum(0.0, mean - spot)) * (1.0 + margin)
    down = (cost_eur_per_mwh + np.maximum(0.0, spot - mean)) * (1.0 + margin)
    return tuple(up.tolist()), tuple(down.tolist())


def forecast_after(settings: MgmsSettings, now: datetime) -> datetime:
    """Time of the forecast that follows the one made at ``now``."""
    later = [floor_to(now, settings.intraday_s) + timedelta(seconds=settings.intraday_s)]
    for hour in settings.day_ahead_h:
        moment = floor_to(now, 86400) + timedelta(hours=hour)
        later.append(moment if moment > now else moment + timedelta(days=1))
    return min(later)
