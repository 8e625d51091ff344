"""What surrounds a study: profiles, weather and prices, and what is known of them beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from heila_mosaik.actors.spp import Truth
from heila_mosaik.domain.network import Appliances, Network
from heila_mosaik.domain.opportunity import break_even
from heila_mosaik.domain.profiles import Follower, ProfileTable
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.resources import LoadSpec
from heila_mosaik.domain.streams import stream
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.domain.weather import Weather, forecast_error, generate_prices, generate_weather
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.gridmodel.study_net import Ratings, StudyNet
from heila_mosaik.study.gridfolder import GridFolder
from heila_mosaik.study.microgrids import Plant
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.series import PRICE_COLUMNS, WEATHER_COLUMNS, coverage_problems, read_series

_HISTORY = timedelta(days=28)
_SLOTS = 96


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Series of a study.

    Attributes:
        table: Profiles of the grid and the resources, and the weather, from start to stop and beyond.
        followers: Powers of the grid's own elements by bulk attribute.
        truth: Weather and prices that will come true.
        typical: Mean day of each plain load over the four weeks before the start, relative to its rating; what its
            owner knows beforehand. (96,)
    """

    table: ProfileTable
    followers: dict[str, Follower]
    truth: Truth
    typical: dict[str, tuple[float, ...]] = field(default_factory=dict)


def make_environment(scenario: Scenario, folder: GridFolder, study_net: StudyNet, plant: Plant) -> Environment:
    """Read profiles, then weather and prices from the user's files or the seeded generator.

    Raises:
        ProblemsError: If a table does not cover the study.
    """
    columns = _columns(study_net, plant)
    grid, values = folder.profiles.read(columns, *_window(scenario, folder))
    weather = _weather(scenario, grid, dict(zip(columns, values.T, strict=True)))
    spot = _prices(scenario, weather)
    names = (*columns, *WEATHER_COLUMNS)
    table = ProfileTable(
        grid=grid,
        names=names,
        values=np.column_stack([values, *(getattr(weather, name) for name in WEATHER_COLUMNS)]).astype(np.float64),
    )
    followers: dict[str, Follower] = {}
    for kind, ratings in (("load", study_net.loads), ("sgen", study_net.sgens)):
        followers[f"{kind}_P[MW]"] = _follower(ratings.p_mw, ratings, names, "_pload" if kind == "load" else "")
        followers[f"{kind}_Q[MVar]"] = _follower(ratings.q_mvar, ratings, names, "_qload" if kind == "load" else "")
    up, down = break_even(spot, grid.step_s)
    truth = Truth(
        grid=grid,
        temperature_c=weather.temperature_c,
        irradiance_w_per_m2=weather.irradiance_w_per_m2,
        wind_m_per_s=weather.wind_m_per_s,
        spot_eur_per_mwh=spot,
        flexibility_up_eur_per_mwh=up,
        flexibility_down_eur_per_mwh=down,
    )
    return Environment(table=table, followers=followers, truth=truth, typical=_typical(scenario, folder, plant))


def _typical(scenario: Scenario, folder: GridFolder, plant: Plant) -> dict[str, tuple[float, ...]]:
    """Mean day of each plain load before the start; none where the profiles hold less than a day of history."""
    loads = {name: spec.profile for name, spec in plant.specs.items() if isinstance(spec, LoadSpec) and spec.profile}
    stop = scenario.start_utc
    start = max(folder.profiles.grid.start, stop - _HISTORY)
    if not loads or stop - start < timedelta(days=1):
        return {}
    columns = tuple(dict.fromkeys(loads.values()))
    grid, values = folder.profiles.read(columns, start, stop)
    seconds = (grid.start.hour * 3600 + grid.start.minute * 60 + np.arange(grid.count) * grid.step_s) % 86400
    slots = seconds * _SLOTS // 86400
    counts = np.bincount(slots, minlength=_SLOTS)
    if not counts.all():
        return {}
    days = {column: np.bincount(slots, values[:, place], _SLOTS) / counts for place, column in enumerate(columns)}
    return {name: tuple(days[column].tolist()) for name, column in loads.items()}


def series_problems(scenario: Scenario, folder: GridFolder) -> list[Problem]:
    """Everything that is wrong with the profiles' period and with the user's own series."""
    start, stop = _window(scenario, folder)
    needed = TimeGrid(start=start, step_s=int((stop - start).total_seconds()), count=1)
    problems = coverage_problems(folder.profiles.path, folder.profiles.grid, needed)
    for written, columns in ((scenario.series.weather, WEATHER_COLUMNS), (scenario.series.prices, PRICE_COLUMNS)):
        if written is None:
            continue
        try:
            read_series(scenario.path(written), columns, needed)
        except ProblemsError as error:
            problems.extend(error.problems)
    return problems


def _window(scenario: Scenario, folder: GridFolder) -> tuple[datetime, datetime]:
    """Period of the series: the study, an hour before it, and what forecasts see beyond it."""
    start = max(folder.profiles.grid.start, scenario.start_utc - timedelta(hours=1))
    stop = min(folder.profiles.grid.stop, scenario.stop_utc + timedelta(days=3))
    return min(start, scenario.start_utc), max(stop, scenario.stop_utc)


def _columns(study_net: StudyNet, plant: Plant) -> tuple[str, ...]:
    loads = [f"{name}{suffix}" for name in study_net.loads.profile if name for suffix in ("_pload", "_qload")]
    sgens = [name for name in study_net.sgens.profile if name]
    own = [name for spec in plant.specs.values() if (name := getattr(spec, "profile", ""))]
    return tuple(dict.fromkeys([*loads, *sgens, *own]))


def _follower(rating: FloatArray, ratings: Ratings, names: tuple[str, ...], suffix: str) -> Follower:
    place = {name: position for position, name in enumerate(names)}
    column = [place[f"{name}{suffix}"] if name else -1 for name in ratings.profile]
    return Follower(rating=rating, column=np.asarray(column, np.int64))


def _weather(scenario: Scenario, grid: TimeGrid, profiles: Mapping[str, FloatArray]) -> Weather:
    if scenario.series.weather is not None:
        series = read_series(scenario.path(scenario.series.weather), WEATHER_COLUMNS, grid)
        rows = _rows(series.grid, grid)
        return Weather(grid=grid, **{n: series.values[rows, series.columns.index(n)] for n in WEATHER_COLUMNS})
    suns = [name for name in profiles if name.startswith("PV")]
    winds = [name for name in profiles if name.startswith("WP")]
    return generate_weather(
        grid,
        stream(scenario.seed, "weather"),
        pv_relative=profiles[min(suns)].astype(float) if suns else None,
        wind_relative=profiles[min(winds)].astype(float) if winds else None,
    )


def _prices(scenario: Scenario, weather: Weather) -> FloatArray:
    if scenario.series.prices is not None:
        series = read_series(scenario.path(scenario.series.prices), PRICE_COLUMNS, weather.grid)
        return series.values[_rows(series.grid, weather.grid), series.columns.index("spot_eur_per_mwh")]
    return generate_prices(weather, stream(scenario.seed, "prices"))


def _rows(have: TimeGrid, want: TimeGrid) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.asarray([have.position(want.at(k)) for k in range(want.count)], np.int64)


@dataclass(slots=True)
class DsoForecast:
    """The DSO's own forecast of every injection: the profiles with a declared, correlated error.

    The error of an injection is one draw of its own stream over the whole study, so that two looks at the same
    interval agree.
    """

    environment: Environment
    network: Network
    rows: Mapping[str, tuple[int, ...]]
    relative: float
    seed: int
    _errors: FloatArray | None = None

    def __call__(self, grid: TimeGrid) -> tuple[FloatArray, FloatArray]:
        """Expected consumption in every interval. [MW] (t, n), [MVar] (t, n)"""
        table = self.environment.table
        values = table.window(grid.start, grid.step_s, grid.count)
        followers = self.environment.followers
        load, sgen = list(self.rows["load"]), list(self.rows["sgen"])
        p = np.hstack([followers["load_P[MW]"].power(values)[:, load], -followers["sgen_P[MW]"].power(values)[:, sgen]])
        q = np.hstack(
            [followers["load_Q[MVar]"].power(values)[:, load], -followers["sgen_Q[MVar]"].power(values)[:, sgen]]
        )
        factor = 1.0 + self._error(grid, p.shape[1])
        return p * factor, q * factor

    def _error(self, grid: TimeGrid, count: int) -> FloatArray:
        table = self.environment.table.grid
        if self._errors is None:
            streams = [stream(self.seed, f"dso forecast {position}") for position in range(count)]
            self._errors = np.column_stack(
                [forecast_error(table.count, table.step_s, self.relative, 3.0, rng) for rng in streams]
            )
        seconds = (grid.start - table.start).total_seconds() + np.arange(grid.count) * grid.step_s
        rows = np.clip((seconds // table.step_s).astype(np.int64), 0, table.count - 1)
        return np.clip(self._errors[rows], -0.9, 0.9)


def own_rows(ratings: Ratings, microgrid_rows: frozenset[int]) -> tuple[int, ...]:
    """Rows of a table that are the DSO's to forecast: not those of the microgrids."""
    return tuple(row for row in range(len(ratings.p_mw)) if row not in microgrid_rows)


def injection_names(kind: str, table: Appliances, rows: tuple[int, ...]) -> list[str]:
    """Element names of some rows of a table."""
    return [f"{kind}.{int(table.ids[row])}" for row in rows]
