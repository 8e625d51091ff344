"""Settings of the DMS' Volt/VAR control."""

from __future__ import annotations

from dataclasses import dataclass, field

from heila_mosaik.domain.voltvar import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class VoltVarSettings:
    """Settings of the Volt/VAR control.

    Attributes:
        plan: Whether losses and profile are optimised over the day; otherwise devices move only against broken limits.
        cycle_s: Time between set points of the inverters. [s]
        replan_s: Time between plans of the devices. [s]
        horizon_h: Horizon of a plan. [h]
        step_s: Interval of a plan. [s]
        budget: Positions a search may look at for one interval.
        max_steps: Steps of a device over the horizon; ``None``: as wear allows.
        weights: Prices of losses, profile and broken limits.
        gain_eur: Least gain that makes a planned switching worth commanding. [EUR]
        confirm_s: A broken limit must last this long before devices move unplanned. [s]
        last_h: Time a broken limit is expected to last. [h]
        acknowledge_s: A command not seen in telemetry after this is reported. [s]
        setpoints: Whether inverters get reactive set points.
        validity_s: A set point ends by itself after this. [s]
        dead_band_mvar: Smaller changes of a set point are not sent. [MVar]
        lead_s: Time from a command to its effect. [s]
    """

    plan: bool = True
    cycle_s: int = 900
    replan_s: int = 3600
    horizon_h: float = 24.0
    step_s: int = 3600
    budget: int = 40
    max_steps: int | None = None
    weights: Weights = field(default_factory=Weights)
    gain_eur: float = 1.0
    confirm_s: float = 120.0
    last_h: float = 1.0
    acknowledge_s: float = 300.0
    setpoints: bool = True
    validity_s: float = 1800.0
    dead_band_mvar: float = 0.05
    lead_s: float = 0.0
