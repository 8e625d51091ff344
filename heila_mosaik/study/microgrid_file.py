"""Schema of ``microgrids.yaml``: microgrids with their point of common coupling and resources.

Types and unknown keys are checked here; limits that contradict each other are judged by the specifications of
:mod:`heila_mosaik.domain.resources`, so that there is one rule for a file and for Python.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

from heila_mosaik.domain.resources import SPECS, ResourceSpec

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=60)]


_PRIORITY = {"load": 1, "shiftable_load": 2, "ev": 3, "heat_pump": 3}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=False)


class _Resource(_Part):
    """What every resource has."""

    name: Name = Field(description="Name, unique in the grid folder.")
    managed_by: Literal["cems", "ied"] = Field(
        description="Customer energy management system, or a protection and control device of its own."
    )
    wear_eur_per_mwh: float | None = Field(default=None, ge=0.0, description="Cost of moved energy. [EUR/MWh]")
    priority: int | None = Field(
        default=None, ge=1, le=9, description="Priority when the microgrid is an island, 1 first; default by type."
    )

    @property
    def island_priority(self) -> int:
        """Priority in an island: what is stated, else plain load before what can wait."""
        return self.priority or _PRIORITY.get(str(getattr(self, "type")), 2)  # noqa: B009

    def spec(self) -> ResourceSpec:
        """Specification for the resource model.

        Raises:
            ProblemsError: If limits contradict each other.
        """
        values = self.model_dump(
            exclude={"name", "managed_by", "type", "v2g", "grid_forming", "priority"}, exclude_none=True
        )
        return SPECS[str(getattr(self, "type"))](**values)  # noqa: B009


class BatteryPart(_Resource):
    """Battery storage."""

    type: Literal["battery"]
    p_max_mw: float = Field(description="Largest charging and discharging power. [MW]")
    s_max_mva: float = Field(description="Rating of the inverter. [MVA]")
    energy_mwh: float = Field(description="Content between 0 and 100 %. [MWh]")
    soc_min_percent: float = Field(default=10.0, description="Lowest state of charge. [%]")
    soc_max_percent: float = Field(default=90.0, description="Highest state of charge. [%]")
    soc_start_percent: float = Field(default=50.0, description="State of charge at the start. [%]")
    efficiency_charge: float = Field(default=0.95, description="Stored per drawn energy. [1]")
    efficiency_discharge: float = Field(default=0.95, description="Fed per withdrawn energy. [1]")
    self_discharge_percent_per_h: float = Field(default=0.005, description="Loss of the content. [%/h]")
    grid_forming: bool = Field(default=False, description="Whether it can hold voltage and frequency of an island.")


class PvPart(_Resource):
    """Photovoltaic plant."""

    type: Literal["pv"]
    p_rated_mw: float = Field(description="Rated feed-in. [MW]")
    s_max_mva: float = Field(description="Rating of the inverter. [MVA]")
    cos_phi_min: float = Field(default=0.9, description="Lowest power factor at rated power. [1]")
    profile: str = Field(default="", description="Column of the profiles; empty: power from the weather.")


class EvPart(_Resource):
    """Charging site for electric vehicles."""

    type: Literal["ev"]
    chargers: int = Field(description="Number of charging points.")
    p_max_mw: float = Field(default=0.011, description="Power of one charging point. [MW]")
    sessions_per_day: float = Field(default=1.0, description="Mean charging sessions of a point and day.")
    energy_kwh_mean: float = Field(default=12.0, description="Mean energy of a session. [kWh]")
    arrival_mean_h: float = Field(default=17.0, description="Mean arrival, hour of the day, UTC. [h]")
    arrival_std_h: float = Field(default=2.0, description="Standard deviation of the arrival. [h]")
    stay_mean_h: float = Field(default=10.0, description="Mean stay. [h]")
    v2g: Literal[False] = Field(default=False, description="Feeding back is not modelled: only false.")


class HeatPumpPart(_Resource):
    """Heat pumps with a thermal store."""

    type: Literal["heat_pump"]
    p_max_mw: float = Field(description="Largest electrical power. [MW]")
    cop: float = Field(default=3.5, description="Coefficient of performance at A7/W35 (EN 14511). [1]")
    heat_demand_mw_at_minus10: float = Field(description="Heat demand at -10 °C air. [MW thermal]")
    storage_mwh_thermal: float = Field(default=1.0, description="Usable content of the store. [MWh thermal]")
    storage_start_percent: float = Field(default=50.0, description="Content at the start. [%]")
    loss_percent_per_h: float = Field(default=0.5, description="Standing loss of the store's content. [%/h]")


class ShiftableLoadPart(_Resource):
    """Runs of fixed power and length that may start anywhere in a window."""

    type: Literal["shiftable_load"]
    p_mw: float = Field(description="Power while it runs. [MW]")
    duration_min: float = Field(description="Length of a run. [min]")
    starts_per_day: int = Field(default=1, description="Runs of a day.")
    window: tuple[float, float] = Field(default=(0.0, 24.0), description="Earliest start, latest end, UTC. [h]")


class LoadPart(_Resource):
    """Load that nobody moves."""

    type: Literal["load"]
    p_mw: float = Field(description="Active power at profile value 1. [MW]")
    q_mvar: float = Field(default=0.0, description="Reactive power at profile value 1. [MVar]")
    profile: str = Field(default="", description="Profile: columns <profile>_pload and <profile>_qload; empty: flat.")


ResourcePart: TypeAlias = BatteryPart | PvPart | EvPart | HeatPumpPart | ShiftableLoadPart | LoadPart


class Pcc(_Part):
    """Point of common coupling."""

    breaker: Name = Field(description="Name of the circuit breaker, unique in the grid folder.")
    s_max_mva: float | None = Field(default=None, gt=0.0, description="Agreed power of the connection. [MVA]")
    operation: Literal["closed", "on_call"] = Field(
        default="closed", description="on_call: the controller closes the breaker for a call and opens it after it."
    )
    v_min_pu: float | None = Field(default=None, gt=0.5, lt=1.1, description="Lowest voltage by contract. [pu]")
    v_max_pu: float | None = Field(default=None, gt=0.9, lt=1.5, description="Highest voltage by contract. [pu]")

    @model_validator(mode="after")
    def _band(self) -> Self:
        if self.v_min_pu is not None and self.v_max_pu is not None and self.v_min_pu >= self.v_max_pu:
            raise ValueError(f"v_min_pu {self.v_min_pu} is not below v_max_pu {self.v_max_pu}")
        return self


class MicrogridPart(_Part):
    """One microgrid."""

    name: Name = Field(description="Name, unique in the grid folder.")
    label: str = Field(default="", description="What it is, for the report.")
    bus: int = Field(ge=0, description="pandapower index of the bus it hangs on.")
    control: Literal["centralised", "distributed"] = Field(
        description="centralised: the microgrid's system plans its devices; distributed: each device plans itself."
    )
    pcc: Pcc
    resources: tuple[Annotated[ResourcePart, Field(discriminator="type")], ...] = Field(min_length=1)


class MicrogridFile(_Part):
    """Contents of ``microgrids.yaml``."""

    microgrids: tuple[MicrogridPart, ...] = Field(min_length=1)


def profile_columns(resource: ResourcePart) -> tuple[str, ...]:
    """Columns of the profile table that a resource reads."""
    if isinstance(resource, LoadPart) and resource.profile:
        return (f"{resource.profile}_pload", f"{resource.profile}_qload")
    if isinstance(resource, PvPart) and resource.profile:
        return (resource.profile,)
    return ()
