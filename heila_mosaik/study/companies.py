"""The companies of a study: their settings from the scenario, wired to the same calendar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

import numpy as np

from heila_mosaik.actors.ams import Ams
from heila_mosaik.actors.base import Actor
from heila_mosaik.actors.dms import Dms
from heila_mosaik.actors.dms_functions import FunctionSettings
from heila_mosaik.actors.dms_restoration import RestorationSettings
from heila_mosaik.actors.dms_settings import DmsSettings
from heila_mosaik.actors.fmp import Fmp
from heila_mosaik.actors.mgms import Mgms
from heila_mosaik.actors.mgms_fcr import FcrSettings
from heila_mosaik.actors.mgms_island import IslandSettings
from heila_mosaik.actors.mgms_settings import MgmsSettings
from heila_mosaik.actors.sau import Sau
from heila_mosaik.actors.spp import ForecastError, Spp, Truth
from heila_mosaik.actors.tso import Tso
from heila_mosaik.domain.bidding import BiddingPolicy, Variant
from heila_mosaik.domain.forecast import ErrorModel, InjectionProfile, Injections, Knowledge
from heila_mosaik.domain.information import Session
from heila_mosaik.domain.market import ClearingRule, MarketCalendar, clear
from heila_mosaik.domain.market.awards import Pricing
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.streams import stream
from heila_mosaik.domain.verification import Tolerance
from heila_mosaik.study.contracts import voltage_bands
from heila_mosaik.study.extensions import own_clearing, with_own_actors
from heila_mosaik.study.microgrid_file import MicrogridPart
from heila_mosaik.study.microgrids import Plant
from heila_mosaik.study.schema import Scenario


def _clock(text: str, minus_min: int = 0) -> time:
    moment = datetime.combine(date(2000, 1, 2), time.fromisoformat(text)) - timedelta(minutes=minus_min)
    return moment.time()


def make_calendar(scenario: Scenario) -> MarketCalendar:
    """Market calendar of a scenario: forecasts come 15 min before flexibility, offers 10 min before their gate."""
    market, day = scenario.market, scenario.market.day_ahead
    return MarketCalendar(
        zone=market.zone,
        forecast_at=_clock(day.flexibility_at, 15),
        flexibility_at=_clock(day.flexibility_at),
        offers_at=_clock(day.offers_at, 10),
        day_ahead_gate=_clock(day.offers_at),
        request_at=_clock(day.request_at),
        bid_at=_clock(day.bids_at, 10),
        clear_at=_clock(day.clearing_at),
        intraday=market.intraday.enabled,
        intraday_lead_s=market.intraday.lead_s,
        intraday_horizon_s=round(market.intraday.horizon_h * 3600),
        delivery_s=market.delivery_s,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What companies do about an interruption of supply.

    Attributes:
        restoration: What the DMS does.
        islands: What each microgrid does.
    """

    restoration: RestorationSettings
    islands: Mapping[str, IslandSettings]


@dataclass(frozen=True, slots=True, kw_only=True)
class GridKnowledge:
    """What the DSO knows of its grid.

    Attributes:
        engine: Compiled grid of its own.
        names, bus, scale_mva: Injections. (n,)
        profile: Its forecast of them.
        locations: Bus position of each microgrid.
        restoration: What it does about faults; ``None``: nothing.
        trade: Whether it buys flexibility.
    """

    engine: GridEngine
    names: tuple[str, ...]
    bus: Sequence[int]
    scale_mva: Sequence[float]
    profile: InjectionProfile
    locations: Mapping[str, int]
    restoration: RestorationSettings | None = None
    trade: bool = True


def make_dms(
    scenario: Scenario,
    known: GridKnowledge,
    microgrids: Sequence[MicrogridPart],
    calendar: MarketCalendar,
    functions: FunctionSettings | None = None,
) -> Dms:
    """The DMS with its own copy of the grid."""
    dms, bands = scenario.dms, voltage_bands(scenario, microgrids)
    knowledge = Knowledge(
        injections=Injections(
            names=known.names,
            bus=np.asarray(known.bus, np.int64),
            scale_mva=np.asarray(known.scale_mva, float),
            profile=known.profile,
        ),
        locations=dict(known.locations),
        location_scale_mva={part.name: part.pcc.s_max_mva or 1.0 for part in microgrids},
        ext_vm_pu=known.engine.default_input().ext_vm_pu,
        error=ErrorModel(relative=dms.forecast_error_percent / 100.0),
    )
    settings = DmsSettings(
        cycle_s=dms.cycle_s,
        horizon_h=dms.horizon_h,
        forecast_step_s=dms.forecast_step_s,
        price_limit_eur_per_mwh=dms.price_limit_eur_per_mwh,
        voltage_margin_pu=dms.voltage_dead_band_pu,
        loading_margin_percent=dms.loading_dead_band_percent,
        harm_check=dms.harm_check,
        n_1_percent=dms.n_1_loading_percent if dms.n_1 else None,
        pcc_v_min_pu={name: low for name, (low, _) in bands.items() if low is not None},
        pcc_v_max_pu={name: high for name, (_, high) in bands.items() if high is not None},
        lead_s=float(scenario.step_s),
        settle_s=max(120.0, 2.0 * scenario.step_s),
        validity_s=max(900.0, 2.0 * dms.cycle_s),
        telemetry_limit_s=max(300.0, 2.0 * scenario.step_s),
        record_every_s=max(900, dms.cycle_s),
        trade=known.trade,
    )
    return Dms(settings, known.engine, knowledge, calendar, functions=functions, restoration=known.restoration)


def _fcr(scenario: Scenario, calendar: MarketCalendar) -> FcrSettings | None:
    """Part of a microgrid in the reserve market."""
    reserves = scenario.reserves
    if not reserves.enabled:
        return None
    shares = {Product.FCR_N: reserves.fcr_n_share, Product.FCR_D: reserves.fcr_d_share}
    return FcrSettings(shares=shares, clears_at=lambda start: calendar.bid_gate(Session.DAY_AHEAD, start))


def make_tso(scenario: Scenario, calendar: MarketCalendar) -> Tso:
    """The transmission system operator; its sites control frequency by themselves."""
    reserves = scenario.reserves
    return Tso(
        calendar=calendar,
        demand_mw={Product.FCR_N: reserves.fcr_n_mw, Product.FCR_D: reserves.fcr_d_mw},
        limit_eur_per_mw_h=reserves.limit_eur_per_mw_h,
    )


def make_mgms(
    scenario: Scenario,
    part: MicrogridPart,
    plant: Plant,
    typical: Mapping[str, Sequence[float]],
    calendar: MarketCalendar,
    supply: Supply | None = None,
) -> Mgms:
    """The MGMS of one microgrid."""
    controllers = plant.controller_of()
    names = [resource.name for resource in part.resources]
    settings = MgmsSettings(
        microgrid=part.name,
        resources={name: plant.specs[name] for name in names},
        controllers={name: controllers[name] for name in names},
        breaker=part.pcc.breaker,
        on_call=part.pcc.operation == "on_call",
        product=Product(scenario.market.product),
        day_ahead_h=(_utc_hour(scenario, scenario.market.day_ahead.flexibility_at),),
        intraday_s=3600,
        control_s=max(60, scenario.step_s),
        effect_s=float(scenario.step_s),
        settlement_s=max(scenario.microgrids.settlement_s, scenario.step_s),
        verification_delay_s=max(120, 2 * scenario.step_s),
        distributed=(scenario.microgrids.control or part.control) == "distributed",
        prices=scenario.market.commercial == "mgms_prices",
        baseline_method=scenario.microgrids.baseline_method,
        typical={name: typical[name] for name in names if name in typical},
        fcr=_fcr(scenario, calendar),
        island=supply.islands.get(part.name) if supply is not None else None,
    )
    return Mgms(f"mgms_{part.name}", settings)


def _utc_hour(scenario: Scenario, clock: str) -> float:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - only here

    local = datetime.combine(
        scenario.start_utc.date(), time.fromisoformat(clock), tzinfo=ZoneInfo(scenario.market.zone)
    )
    offset = local.utcoffset()
    assert offset is not None
    return (local.hour + local.minute / 60 - offset.total_seconds() / 3600) % 24


def make_companies(
    scenario: Scenario,
    microgrids: Sequence[MicrogridPart],
    plant: Plant,
    truth: Truth,
    known: GridKnowledge | None,
    typical: Mapping[str, Sequence[float]],
    functions: FunctionSettings | None = None,
    supply: Supply | None = None,
) -> tuple[tuple[Actor, ...], Dms | None]:
    """All actors of a study in the order in which they act at equal times, and the standard DMS.

    Without flexibility the DSO takes no part: microgrids plan and offer just the same, and nobody buys.  In a study
    with faults it restores supply all the same.
    """
    calendar = make_calendar(scenario)
    market = scenario.market
    dms = make_dms(scenario, known, microgrids, calendar, functions) if known is not None else None
    controllers = [f"mgms_{part.name}" for part in microgrids]
    spp = Spp(
        calendar=calendar,
        truth=truth,
        subscribers=("ams", *controllers),
        generator=stream(scenario.seed, "spp"),
        error=ForecastError(
            irradiance_share=scenario.spp.weather_error_percent / 100.0,
            price_share=scenario.spp.price_error_percent / 100.0,
        ),
        horizon_h=round(scenario.spp.horizon_h),
    )
    fmp = Fmp(
        calendar=calendar,
        rule=ClearingRule(pricing=Pricing(market.clearing)),
        clearing=own_clearing(scenario) or clear,
        tolerance=Tolerance(share=scenario.microgrids.tolerance_percent / 100.0),
    )
    policy = BiddingPolicy(variant=Variant(market.commercial), fcr_eur_per_mw_h=scenario.reserves.offer_eur_per_mw_h)
    ams = Ams(calendar=calendar, policy=policy)
    actors: tuple[Actor, ...] = (
        spp,
        *((Sau(),) if dms is not None else ()),
        *plant.fields,
        *(make_mgms(scenario, part, plant, typical, calendar, supply) for part in microgrids),
        ams,
        *((dms,) if dms is not None else ()),
        *((make_tso(scenario, calendar),) if scenario.reserves.enabled else ()),
        fmp,
    )
    own = with_own_actors(
        scenario,
        actors,
        calendar=calendar,
        microgrids=[part.name for part in microgrids],
        flexibility=known is not None and known.trade,
    )
    return own, dms
