"""Scenario parts ``own_means``, ``volt_var`` and ``peak``: what the DSO may move itself, and what for."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_Positive = Annotated[float, Field(gt=0.0)]
_NotNegative = Annotated[float, Field(ge=0.0)]
_Share = Annotated[float, Field(ge=0.0, le=1.0)]
_Seconds = Annotated[int, Field(gt=0, le=86400)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)


class Capacitor(_Part):
    """A switched capacitor bank that the study adds to the grid."""

    name: str = Field(min_length=1, max_length=80, description="Name, unique in the study.")
    bus: int = Field(ge=0, description="Bus of the grid (pandapower index).")
    step_mvar: _Positive = Field(description="Reactive power of one step at nominal voltage. [MVar]")
    steps: int = Field(default=1, ge=1, le=20, description="Number of steps.")
    start: int = Field(default=0, ge=0, description="Steps in at the start.")
    wear_eur: _NotNegative = Field(default=1.0, description="Wear of switching one step. [EUR]")

    @model_validator(mode="after")
    def _steps(self) -> Self:
        if self.start > self.steps:
            raise ValueError(f"start {self.start} is more than the {self.steps} steps of {self.name}")
        return self


class CharacteristicPart(_Part):
    """Q(V): corners of a polyline; beyond the outer ones Q is held."""

    vm_pu: tuple[float, ...] = Field(default=(0.95, 0.98, 1.02, 1.05), description="Corner voltages, rising. [pu]")
    share: tuple[float, ...] = Field(
        default=(-1.0, 0.0, 0.0, 1.0), description="Reactive consumption there, share of the limit. [1]"
    )

    @model_validator(mode="after")
    def _polyline(self) -> Self:
        from heila_mosaik.domain.voltvar import Characteristic  # noqa: PLC0415 - the rules have one home

        Characteristic(vm_pu=self.vm_pu, share=self.share)
        return self


class Inverters(_Part):
    """Generating units of the grid whose reactive power serves it."""

    least_mw: _NotNegative = Field(default=1.0, description="Units from this rated power on take part. [MW]")
    cos_phi_min: float = Field(default=0.95, gt=0.0, lt=1.0, description="Lowest power factor at rated power. [1]")
    control: Literal["q_of_v", "set_point"] = Field(
        default="q_of_v", description="Local characteristic, or set points of the DMS with the characteristic behind."
    )
    characteristic: CharacteristicPart = Field(default_factory=CharacteristicPart)


class CurtailmentPart(_Part):
    """Curtailment of generating units: the last resort of congestion management."""

    least_mw: _NotNegative = Field(default=1.0, description="Units from this rated power on may be curtailed. [MW]")
    price_eur_per_mwh: _Positive = Field(default=450.0, description="Compensation. [EUR/MWh]")


class OwnMeansPart(_Part):
    """The DSO's own means."""

    taps: bool = Field(default=False, description="Whether the DMS moves the tap changers.")
    ganged: bool = Field(default=False, description="Whether all transformers move together.")
    tap_wear_eur: _NotNegative = Field(default=2.0, description="Wear of one tap step. [EUR]")
    dwell_s: _NotNegative = Field(default=1800.0, description="A position is kept at least so long. [s]")
    capacitors: tuple[Capacitor, ...] = Field(default=(), description="Capacitor banks added to the grid.")
    inverters: Inverters | None = Field(default=None, description="Reactive power of generating units; null: none.")
    curtailment: CurtailmentPart | None = Field(default=None, description="Curtailment; null: none.")

    @property
    def any(self) -> bool:
        """Whether anything is there to be moved."""
        return self.taps or bool(self.capacitors) or self.inverters is not None or self.curtailment is not None

    @model_validator(mode="after")
    def _names(self) -> Self:
        names = [bank.name for bank in self.capacitors]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"capacitor names must be unique; repeated: {', '.join(twice)}")
        return self


class VoltVarPart(_Part):
    """Volt/VAR control of the DMS."""

    enabled: bool = Field(default=False, description="Whether it runs.")
    mode: Literal["optimise", "corrective"] = Field(
        default="optimise", description="Losses and profile over the day, or only against broken limits."
    )
    cycle_s: _Seconds = Field(default=900, description="Time between plans and between set points. [s]")
    horizon_h: _Positive = Field(default=24.0, le=48.0, description="Horizon of a plan. [h]")
    step_s: _Seconds = Field(default=3600, description="Interval of a plan. [s]")
    loss_eur_per_mwh: _NotNegative = Field(default=60.0, description="Price of losses. [EUR/MWh]")
    target_vm_pu: float = Field(default=1.0, gt=0.5, lt=1.5, description="Voltage the profile aims at. [pu]")
    profile_eur_per_pu2_h: _NotNegative = Field(
        default=500.0, description="Price of the mean square distance from it. [EUR/(pu²·h)]"
    )
    max_steps: int | None = Field(default=None, ge=0, description="Steps of a device over the horizon; null: any.")


class PeakPart(_Part):
    """Power flow optimisation: a lower peak and less variation of the exchange at the substation."""

    enabled: bool = Field(default=False, description="Whether it runs.")
    import_eur_per_mw: _NotNegative = Field(default=500.0, description="Value of a MW less import peak a day. [EUR/MW]")
    export_eur_per_mw: _NotNegative = Field(default=0.0, description="Value of a MW less export peak a day. [EUR/MW]")
    variation_eur_per_mw: _NotNegative = Field(
        default=0.0, description="Value of a MW less change from quarter hour to quarter hour. [EUR/MW]"
    )
    band: _Share = Field(default=0.25, description="Flexibility is asked for this close to the peak. [1]")
    rebound: _Share = Field(default=0.0, description="Share of an adjustment that comes back afterwards. [1]")
    rebound_h: _Positive = Field(default=2.0, description="Over this time. [h]")

    @model_validator(mode="after")
    def _value(self) -> Self:
        if self.enabled and not (self.import_eur_per_mw or self.export_eur_per_mw or self.variation_eur_per_mw):
            raise ValueError("peak is enabled and nothing it lowers has a value; give one of the prices")
        return self
