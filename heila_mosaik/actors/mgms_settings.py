"""Settings of an MGMS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from heila_mosaik.actors.mgms_fcr import FcrSettings
from heila_mosaik.actors.mgms_island import IslandSettings
from heila_mosaik.domain.flexibility import FlexibilitySettings
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.resources import ResourceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class MgmsSettings:
    """Settings of an MGMS.

    Attributes:
        microgrid: Name of the microgrid, the subject of its forecasts and plans.
        resources: Specification of each resource, by name.
        controllers: Address of the CEMS or IED of each resource.
        ams: Address of the aggregator.
        breaker: Name of the breaker at the point of common coupling; empty: none.
        on_call: Whether that breaker is closed for calls only.
        product: Product the flexibility is meant for.
        day_ahead_h: Times of day of the day-ahead forecasts, UTC, ahead of the gates. [h]
        intraday_s: Interval of the intraday forecasts. [s]
        horizon_s: Horizon of forecasts and plans. [s]
        step_s: Interval of forecasts and plans. [s]
        control_s: Interval of dispatch while an activation applies. [s]
        settlement_s: Settlement period. [s]
        verification_delay_s: Wait for late measurements before a period is verified. [s]
        distributed: Whether the controllers forecast their own resources.
        prices: Whether this MGMS prices its flexibility (else the aggregator does).
        margin: Added to the cost when pricing. [1]
        arbitrage: Whether stores follow the spot price; otherwise they stay on their own behaviour unless reserved.
        keep_low_share: Share of the stores' band, at its lower end, that arbitrage leaves for lowering consumption. [1]
        keep_high_share: The same at its upper end, for raising consumption; larger, as feed-in is what congests grids
            with much distributed generation. [1]
        use_share: Share of the stores' power that arbitrage uses, so that range stays to be sold. [1]
        lead_s: A call that ends earlier than this from now is not spread any more: signals need time to arrive. [s]
        effect_s: Time from a set point to its effect at the resources; calls are spread this much ahead. [s]
        baseline_method: ``operation_plan`` or ``meter_before`` (mean of the quarter before the reserve began).
        net_of_reserves: Whether forecasts leave out what is already reserved.
        typical: Daily load shape known beforehand, by resource, relative to its rating. [1]
        flexibility: How carefully flexibility is promised.
        fcr: Part in the reserve market; ``None``: none.
        island: How it behaves without the grid; ``None``: it does nothing about it.
    """

    microgrid: str
    resources: Mapping[str, ResourceSpec]
    controllers: Mapping[str, str]
    ams: str = "ams"
    breaker: str = ""
    on_call: bool = False
    product: Product = Product.CRP
    day_ahead_h: tuple[float, ...] = (10.0,)
    intraday_s: int = 3600
    horizon_s: int = 129600
    step_s: int = 900
    control_s: int = 60
    settlement_s: int = 900
    verification_delay_s: int = 120
    distributed: bool = False
    prices: bool = False
    margin: float = 0.1
    arbitrage: bool = True
    keep_low_share: float = 0.15
    keep_high_share: float = 0.6
    use_share: float = 0.25
    lead_s: float = 5.0
    effect_s: float = 0.0
    baseline_method: str = "operation_plan"
    net_of_reserves: bool = True
    typical: Mapping[str, Sequence[float]] = field(default_factory=dict)
    flexibility: FlexibilitySettings = field(default_factory=FlexibilitySettings)
    fcr: FcrSettings | None = None
    island: IslandSettings | None = None
