"""Schema of a scenario file.

Unknown keys are refused, units stand in the key names, times carry a zone.  ``heila schema`` exports the JSON schema
for editors.  Every key has a default that makes a small study run, except the grid, the start and the length.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from heila_mosaik.study.events_part import FaultPart, Restoration, order_problem
from heila_mosaik.study.extensions_part import Extensions
from heila_mosaik.study.hil_part import Hil
from heila_mosaik.study.microgrid_file import MicrogridPart
from heila_mosaik.study.network_part import Network
from heila_mosaik.study.own_part import OwnMeansPart, PeakPart, VoltVarPart
from heila_mosaik.study.reinforcement_part import Reinforcement
from heila_mosaik.study.reserves_part import Reserves
from heila_mosaik.study.topology_part import Topology

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Percent = Annotated[float, Field(ge=0.0, le=1000.0)]
Positive = Annotated[float, Field(gt=0.0)]
NotNegative = Annotated[float, Field(ge=0.0)]
Seconds = Annotated[int, Field(gt=0, le=86400)]
Table = Literal[
    "bus_vm_pu",
    "line_loading_percent",
    "trafo_loading_percent",
    "load_p_mw",
    "load_q_mvar",
    "sgen_p_mw",
    "sgen_q_mvar",
    "storage_p_mw",
    "storage_q_mvar",
    "ext_p_mw",
    "ext_q_mvar",
    "system",
    "resource_p_mw",
    "resource_q_mvar",
    "resource_soc_percent",
    "estimate_vm_pu",
    "pcc_p_mw",
    "frequency_hz",
    "device_position",
    "load_supplied",
    "resource_unserved_mw",
]


_FORECAST_LEAD_MIN = 15
_SUBMISSION_LEAD_MIN = 10


def _minutes(clock: str) -> int:
    """Minutes of a time of day since midnight. [min]"""
    moment = time.fromisoformat(clock)
    return 60 * moment.hour + moment.minute


def _clock(value: str) -> str:
    try:
        moment = time.fromisoformat(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a time of day; write HH:MM, for example '18:30'") from error
    if moment.tzinfo is not None:
        raise ValueError(f"{value!r} carries a zone; times of day are in market.zone, write HH:MM")
    return moment.strftime("%H:%M")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{value!r} is not a time zone; use an IANA name, for example Europe/Helsinki") from error
    return value


ClockTime = Annotated[str, AfterValidator(_clock)]


class Part(BaseModel):
    """Base of all parts of a scenario: frozen, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Growth(Part):
    """Stated growth over the frozen profiles."""

    der: NotNegative = Field(default=1.0, description="Factor on distributed generation. [1]")
    load: NotNegative = Field(default=1.0, description="Factor on plain load. [1]")


class Limits(Part):
    """Limits that override those of the grid; absent ones keep the grid's."""

    v_min_pu: float | None = Field(default=None, gt=0.5, lt=1.1, description="Lowest voltage. [pu]")
    v_max_pu: float | None = Field(default=None, gt=0.9, lt=1.5, description="Highest voltage. [pu]")
    line_loading_percent: Positive | None = Field(default=None, description="Highest line loading. [%]")
    trafo_loading_percent: Positive | None = Field(default=None, description="Highest transformer loading. [%]")

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.v_min_pu is not None and self.v_max_pu is not None and self.v_min_pu >= self.v_max_pu:
            raise ValueError(f"v_min_pu {self.v_min_pu} is not below v_max_pu {self.v_max_pu}")
        return self


class Telemetry(Part):
    """Measurements on their way to the control centre."""

    voltage_noise_percent: Percent = Field(default=0.2, description="Standard uncertainty of voltages. [%]")
    power_noise_percent: Percent = Field(default=1.0, description="Standard uncertainty of powers. [%]")
    delay_s: NotNegative = Field(default=1.0, description="Age of a value on arrival. [s]")
    dropout: Share = Field(default=0.0, description="Chance that a value does not arrive. [1]")
    meters: tuple[Annotated[str, Field(pattern=r"^(bus|line|trafo)\.\d+$")], ...] = Field(
        default=(),
        description="Further meters: V, P, Q of a secondary substation (bus.7), P, Q of a line (line.3, from end).",
    )


class Dms(Part):
    """Distribution management system of the DSO."""

    cycle_s: Seconds = Field(default=60, description="Period of the technical process. [s]")
    horizon_h: Positive = Field(default=36.0, le=168.0, description="Horizon of the state forecast. [h]")
    forecast_step_s: Seconds = Field(default=900, description="Step of the state forecast. [s]")
    forecast_error_percent: Percent = Field(default=10.0, description="Standard deviation of the forecast error. [%]")
    price_limit_eur_per_mwh: NotNegative = Field(default=500.0, description="Highest price accepted. [EUR/MWh]")
    voltage_dead_band_pu: NotNegative = Field(
        default=0.002, le=0.05, description="Distance to the limit the DMS keeps. [pu]"
    )
    loading_dead_band_percent: NotNegative = Field(
        default=3.0,
        le=50.0,
        description="Distance to the loading limit the DMS keeps: three standard uncertainties of 1 % telemetry. [%]",
    )
    congestion: bool = Field(default=True, description="Whether flexibility is bought and called against congestion.")
    harm_check: bool = Field(default=True, description="AC check that withholds activations which would harm others.")
    n_1: bool = Field(
        default=False, description="Buy and call flexibility so that the outage of any single line breaks no limit."
    )
    n_1_loading_percent: Positive = Field(
        default=120.0, le=300.0, description="Loading allowed after an outage, of the limit. [%]"
    )


class DayAhead(Part):
    """Day-ahead session, held every day: local times of day, for delivery from the next midnight.

    The weather forecast comes 15 min before ``flexibility_at``; offers and bids leave 10 min before their gates.
    """

    flexibility_at: ClockTime = Field(default="16:00", description="MGMSs forecast their flexibility.")
    offers_at: ClockTime = Field(default="18:30", description="Gate for offers.")
    request_at: ClockTime = Field(default="19:00", description="DMS forecasts, detects and asks for the offer list.")
    bids_at: ClockTime = Field(default="21:00", description="Gate for bids.")
    clearing_at: ClockTime = Field(default="22:00", description="Clearing and reserve notifications.")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if _minutes(self.flexibility_at) < _FORECAST_LEAD_MIN:
            raise ValueError(
                f"flexibility_at {self.flexibility_at} leaves no time for the forecast; use 00:15 or later"
            )
        names = ("flexibility_at", "offers_at", "request_at", "bids_at", "clearing_at")
        for earlier, later in pairwise(names):
            first, second = getattr(self, earlier), getattr(self, later)
            if first >= second:
                raise ValueError(f"{earlier} {first} is not before {later} {second}: the window lies after its gate")
            lead = _SUBMISSION_LEAD_MIN if later in ("offers_at", "bids_at") else 0
            if _minutes(second) - _minutes(first) <= lead:
                raise ValueError(
                    f"{earlier} {first} is less than {lead + 1} min before {later} {second}: "
                    f"submissions leave {lead} min before their gate"
                )
        return self


class Intraday(Part):
    """Intraday sessions, one in every hour: forecast at minute 10, gate at 22, clearing at 32."""

    enabled: bool = Field(default=True, description="Whether the sessions are held.")
    lead_s: Seconds = Field(
        default=1800, description="From the clearing of a session to the start of its delivery. [s]"
    )
    horizon_h: Positive = Field(default=4.0, le=36.0, description="Delivery period a session covers. [h]")


class Market(Part):
    """Flexibility market place."""

    zone: Annotated[str, AfterValidator(_zone)] = Field(
        default="Europe/Helsinki", description="Zone of the times of day."
    )
    delivery_s: Seconds = Field(default=3600, description="Length of a delivery product, a part of an hour. [s]")
    clearing: Literal["pay_as_bid", "pay_as_clear"] = Field(default="pay_as_bid", description="What sellers are paid.")
    commercial: Literal["ams_prices", "mgms_prices"] = Field(
        default="ams_prices", description="Who prices flexibility."
    )
    product: Literal["CRP", "CRP-2", "SRP"] = Field(
        default="CRP", description="Flexibility product that microgrids offer."
    )
    day_ahead: DayAhead = Field(default_factory=DayAhead, description="Day-ahead session.")
    intraday: Intraday = Field(default_factory=Intraday, description="Intraday sessions.")

    @model_validator(mode="after")
    def _periods(self) -> Self:
        if 3600 % self.delivery_s:
            raise ValueError(f"delivery_s {self.delivery_s} does not divide an hour; use 900, 1800 or 3600")
        horizon_s = round(self.intraday.horizon_h * 3600)
        if self.intraday.enabled and (horizon_s < self.delivery_s or horizon_s % self.delivery_s):
            raise ValueError(
                f"intraday.horizon_h {self.intraday.horizon_h:g} is no whole number of delivery products "
                f"of {self.delivery_s} s"
            )
        return self


class VoltageBand(Part):
    """Voltage a customer has by contract at its point of common coupling."""

    v_min_pu: float | None = Field(default=None, gt=0.5, lt=1.1, description="Lowest voltage. [pu]")
    v_max_pu: float | None = Field(default=None, gt=0.9, lt=1.5, description="Highest voltage. [pu]")

    @model_validator(mode="after")
    def _order(self) -> Self:
        if self.v_min_pu is not None and self.v_max_pu is not None and self.v_min_pu >= self.v_max_pu:
            raise ValueError(f"v_min_pu {self.v_min_pu} is not below v_max_pu {self.v_max_pu}")
        return self


class Microgrids(Part):
    """What holds for every microgrid of the grid folder."""

    control: Literal["centralised", "distributed"] | None = Field(
        default=None, description="Overrides the control variant of the grid folder."
    )
    baseline_method: Literal["operation_plan", "meter_before"] = Field(
        default="operation_plan", description="Declared baseline for verification."
    )
    settlement_s: Seconds = Field(default=900, description="Settlement period. [s]")
    tolerance_percent: Percent = Field(default=10.0, description="Shortfall that still counts as delivered. [%]")
    voltage_bands: dict[str, VoltageBand] = Field(
        default_factory=dict, description="Contracted voltage by microgrid; goes before the grid folder's."
    )
    soc_start_percent: float | None = Field(
        default=None, ge=0.0, le=100.0, description="State of charge of batteries at the start, within their band. [%]"
    )
    also: tuple[MicrogridPart, ...] = Field(
        default=(), description="Microgrids besides those of the grid folder, written as in its microgrids.yaml."
    )


class Spp(Part):
    """Service provider for weather and price forecasts."""

    horizon_h: Positive = Field(default=48.0, le=240.0, description="Horizon of a forecast. [h]")
    weather_error_percent: Percent = Field(default=10.0, description="Standard deviation of the irradiance error. [%]")
    price_error_percent: Percent = Field(default=10.0, description="Standard deviation of the price error. [%]")


class SeriesFiles(Part):
    """The user's own series instead of the seeded generator; CSV or Parquet beside the scenario file."""

    weather: str | None = Field(default=None, description="time, temperature_c, irradiance_w_per_m2, wind_m_per_s")
    prices: str | None = Field(default=None, description="time, spot_eur_per_mwh")
    frequency: str | None = Field(default=None, description="time, frequency_hz; read where reserves are bought")


class Results(Part):
    """What is recorded and how."""

    series_part_rows: int = Field(default=480, ge=1, le=100_000, description="Rows in one Parquet part.")
    record: tuple[Table, ...] = Field(default=get_args(Table), description="Series tables to record.")


class Scenario(Part):
    """A study: one grid, one period, everything that differs from the defaults."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=80, description="Short name of the study.")
    description: str = Field(default="", description="What the study shows, for the report.")
    grid: str = Field(min_length=1, description="Folder name under grids/, or a path to a grid folder.")
    start: AwareDatetime = Field(description="Start, ISO 8601 with zone.")
    duration_h: Positive | None = Field(default=None, description="Length; give this or stop. [h]")
    stop: AwareDatetime | None = Field(default=None, description="End, ISO 8601 with zone; give this or duration_h.")
    step_s: Seconds = Field(default=60, description="Step of the grid. [s]")
    seed: int = Field(default=1, ge=0, description="Seed of all random streams.")
    flexibility: bool = Field(default=True, description="false: nobody trades, the run is a baseline.")
    divergence: Literal["stop", "hold", "skip"] = Field(default="stop", description="When a power flow diverges.")
    messages: Literal["object", "json", "wire"] = Field(
        default="object",
        description="How information objects travel: as they are, as JSON, or as signed Smart API bytes.",
    )
    growth: Growth = Field(default_factory=Growth)
    limits: Limits = Field(default_factory=Limits)
    topology: Topology = Field(default_factory=Topology)
    network: Network = Field(default_factory=Network)
    telemetry: Telemetry = Field(default_factory=Telemetry)
    dms: Dms = Field(default_factory=Dms)
    own_means: OwnMeansPart = Field(default_factory=OwnMeansPart)
    volt_var: VoltVarPart = Field(default_factory=VoltVarPart)
    peak: PeakPart = Field(default_factory=PeakPart)
    market: Market = Field(default_factory=Market)
    microgrids: Microgrids = Field(default_factory=Microgrids)
    spp: Spp = Field(default_factory=Spp)
    reserves: Reserves = Field(default_factory=Reserves)
    series: SeriesFiles = Field(default_factory=SeriesFiles)
    reinforcement: Reinforcement = Field(default_factory=Reinforcement)
    results: Results = Field(default_factory=Results)
    events: tuple[FaultPart, ...] = Field(default=(), description="What happens to the grid: faults and their repair.")
    restoration: Restoration = Field(default_factory=Restoration)
    extensions: Extensions = Field(default_factory=Extensions)
    hil: Hil | None = Field(default=None, description="Equipment in the loop, for 'heila hil run'.")

    _folder: Path = PrivateAttr(default_factory=Path)

    @model_validator(mode="after")
    def _period(self) -> Self:
        if (self.duration_h is None) == (self.stop is None):
            raise ValueError("give either duration_h or stop")
        if self.stop is not None and self.stop <= self.start:
            raise ValueError(f"stop {self.stop.isoformat()} is not after start {self.start.isoformat()}")
        seconds = (self.stop_utc - self.start_utc).total_seconds()
        if seconds % self.step_s:
            raise ValueError(f"the period of {seconds:g} s is no multiple of step_s {self.step_s}")
        if self.flexibility and self.dms.cycle_s % self.step_s:
            raise ValueError(f"dms.cycle_s {self.dms.cycle_s} is no multiple of step_s {self.step_s}")
        wrong = order_problem(self.events, self.start_utc, self.stop_utc)
        if wrong:
            raise ValueError(wrong)
        return self

    @property
    def start_utc(self) -> datetime:
        """Start in UTC."""
        return self.start.astimezone(UTC)

    @property
    def stop_utc(self) -> datetime:
        """End in UTC."""
        if self.stop is not None:
            return self.stop.astimezone(UTC)
        assert self.duration_h is not None
        return self.start_utc + timedelta(seconds=round(self.duration_h * 3600))

    @property
    def steps(self) -> int:
        """Number of grid steps."""
        return int((self.stop_utc - self.start_utc).total_seconds()) // self.step_s

    @property
    def folder(self) -> Path:
        """Folder that relative paths of the scenario start from."""
        return self._folder

    def placed_in(self, folder: Path) -> Scenario:
        """The same scenario with relative paths starting from ``folder``."""
        moved = self.model_copy()
        moved._folder = folder  # noqa: SLF001 - our own copy
        return moved

    def path(self, written: str) -> Path:
        """Path of a file named in the scenario."""
        return self._folder / written

    def grid_folders(self) -> tuple[Path, ...]:
        """Places where the grid folder may be, in order of preference."""
        if "/" in self.grid or self.grid.startswith("."):
            return (self.path(self.grid),)
        package = Path(__file__).resolve().parents[2]
        roots = (self._folder, self._folder.parent, Path.cwd(), package)
        return tuple(root / "grids" / self.grid for root in roots)

    def grid_folder(self) -> Path:
        """Folder of the grid: the first existing one of :meth:`grid_folders`, else the first."""
        places = self.grid_folders()
        return next((place for place in places if place.is_dir()), places[0])
