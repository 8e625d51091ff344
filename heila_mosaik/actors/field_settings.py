"""Settings of the controllers at a customer's site: CEMS and IED."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from heila_mosaik.domain.flexibility import FlexibilitySettings
from heila_mosaik.domain.resources import BatterySpec, HeatPumpSpec, LoadSpec, PvSpec, ResourceSpec, ShiftableLoadSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldSettings:
    """Settings of a CEMS or IED.

    Attributes:
        mgms: Address of the microgrid management system.
        resources: Specification of each resource, by name.
        breakers: Names of the breakers it operates.
        on_call: Whether it closes its breakers for a call and opens them after it.
        distributed: Whether it forecasts, plans and verifies its own resources.
        effect_s: Time from a set point to its effect at the resources; plans are followed this much ahead. [s]
        report_s: Interval of reports. [s]
        active_report_s: Interval of reports while a set point of an activation applies; one that brings nothing new
            is left out (spontaneous transmission with a dead band, as in IEC 60870-5-104). [s]
        report_band: Change that is news, relative to the value reported before. [1]
        forecast_s: Interval of flexibility forecasts in the distributed variant. [s]
        horizon_s: Horizon of these forecasts. [s]
        step_s: Interval of plans and forecasts. [s]
        settlement_s: Settlement period of frequency reserves. [s]
        flexibility: How carefully flexibility is promised.
    """

    mgms: str
    resources: Mapping[str, ResourceSpec]
    breakers: tuple[str, ...] = ()
    on_call: bool = False
    distributed: bool = False
    effect_s: float = 0.0
    report_s: int = 900
    active_report_s: int = 60
    report_band: float = 0.02
    forecast_s: int = 3600
    horizon_s: int = 129600
    step_s: int = 900
    settlement_s: int = 900
    flexibility: FlexibilitySettings = field(default_factory=FlexibilitySettings)


def power_limits(spec: ResourceSpec) -> tuple[float, float]:
    """Rated active power range of a resource. [MW]"""
    match spec:
        case BatterySpec():
            return -spec.p_max_mw, spec.p_max_mw
        case PvSpec():
            return -min(spec.p_rated_mw * 1.2, spec.s_max_mva), 0.0
        case HeatPumpSpec():
            return 0.0, spec.p_max_mw
        case ShiftableLoadSpec():
            return 0.0, spec.p_mw
        case LoadSpec():
            return min(0.0, spec.p_mw), max(0.0, spec.p_mw)
        case _:
            return 0.0, spec.chargers * spec.p_max_mw
