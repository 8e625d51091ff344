"""Settings of the distribution management system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DmsSettings:
    """Settings of the DMS.

    Attributes:
        name: Address.
        market: Address of the flexibility market platform.
        cycle_s: Period of the technical process. [s]
        horizon_h: Horizon of the state forecast. [h]
        forecast_step_s: Step of the state forecast. [s]
        risk: Chance of violation accepted when reserve is bought. [1]
        price_limit_eur_per_mwh: What the DSO's alternative costs. [EUR/MWh]
        reserve_factor: Ranges bought, over the ranges the forecast needs. [1]
        voltage_margin_pu: Distance to the voltage limit kept by activations. [pu]
        loading_margin_percent: Distance to the loading limit kept by activations. [%]
        dead_band_mw, dead_band_mvar: Smaller changes of a set point are not sent. [MW], [MVar]
        release_s: A set point is lowered only after a lower one has sufficed for this long. [s]
        lead_s: Time from a decision to its effect at the resources; the next reserve is called this much ahead. [s]
        settle_s: Time a microgrid takes to follow; its baseline is held meanwhile. [s]
        validity_s: An activation ends by itself after this unless renewed. [s]
        telemetry_limit_s: Silence after which loss of telemetry is reported. [s]
        harm_check: Whether activations are checked for harm before release.
        withhold_s: A withheld reserve is not tried again before. [s]
        rebound: Share of an adjustment expected back after the reserve ends. [1]
        n_1_percent: Loading allowed after the outage of any single line; ``None``: outages are not looked at. [%]
        pcc_v_min_pu, pcc_v_max_pu: Voltage other actors need at their point of coupling, by location. [pu]
        record_every_s: Time between records of the estimate. [s]
        trade: Whether it buys flexibility.
    """

    name: str = "dms"
    market: str = "fmp"
    cycle_s: int = 60
    horizon_h: float = 36.0
    forecast_step_s: int = 900
    risk: float = 0.05
    price_limit_eur_per_mwh: float = 500.0
    reserve_factor: float = 1.2
    voltage_margin_pu: float = 0.002
    loading_margin_percent: float = 2.0
    dead_band_mw: float = 0.02
    dead_band_mvar: float = 0.02
    release_s: float = 300.0
    lead_s: float = 0.0
    settle_s: float = 120.0
    validity_s: float = 900.0
    telemetry_limit_s: float = 300.0
    harm_check: bool = True
    withhold_s: float = 900.0
    rebound: float = 0.0
    n_1_percent: float | None = None
    pcc_v_min_pu: Mapping[str, float] = field(default_factory=dict)
    pcc_v_max_pu: Mapping[str, float] = field(default_factory=dict)
    record_every_s: int = 60
    trade: bool = True
