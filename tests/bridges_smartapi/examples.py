# ruff: noqa: E501
"""One message of every kind."""

import math
from datetime import UTC, datetime, timedelta

from heila_mosaik.domain import information as info
from heila_mosaik.domain.quantities import Product, Quality, Quantity

T = datetime(2026, 1, 15, tzinfo=UTC)
E = T + timedelta(hours=1)
PROFILE = info.PQProfile(
    start=T, step_s=900, p_mw=(0.5, -0.25), q_mvar=(0.1, 0.0), p_min_mw=(-1.0, -1.0), p_max_mw=(2.0, 2.0),
    q_min_mvar=(-0.5, -0.5), q_max_mvar=(0.5, 0.5),
)  # fmt: skip
OFFER = info.Offer(
    id="AMS/offer/1", seller="AMS", location="mg-1", product=Product.CRP, session=info.Session.DAY_AHEAD, start=T,
    stop=E, submitted_at=T, p_min_mw=-1.0, p_max_mw=0.0, price_eur_per_mwh=55.0, min_share=0.25,
)  # fmt: skip
BODIES = [
    info.Measurements(
        id="m", source="ied", at=T, elements=("bus.1", "cb", "load.2"),
        quantities=(Quantity.VOLTAGE, Quantity.BREAKER, Quantity.REACTIVE_POWER), values=(1.01, 1.0, 0.3),
        sigmas=(0.002, 0.0, 0.01), qualities=(Quality.GOOD, Quality.GOOD, Quality.QUESTIONABLE), ages_s=(0.0, 1.0, 2.5)),
    info.ControlSignal(id="c", target="cb", start=T, stop=E, closed=False, p_mw=1.0),
    info.OperationPlan(id="p", subject="mg-1", issued_at=T, profile=PROFILE),
    info.FlexibilityForecast(id="f", subject="mg-1", issued_at=T, product=Product.CRP2, profile=PROFILE,
                             energy_up_mwh=1.0, energy_down_mwh=0.5, price_up_eur_per_mwh=(50.0, 51.5)),
    info.FlexibilityRequest(id="r", buyer="DMS", session=info.Session.INTRADAY, start=T, stop=E, needs=(
        info.Need(element="bus.7", kind=info.CongestionKind.OVERVOLTAGE, start=T, stop=E, excess=0.01,
                  locations=("mg-1", "mg-2"), effect_p=(0.02, 0.01), effect_q=(0.03, 0.0), probability=0.75),
        info.Need(element="line.3", kind=info.CongestionKind.CURRENT, start=T, stop=E, excess=12.0,
                  locations=("mg-1",), effect_p=(-8.0,), effect_q=(-1.0,)),
        info.Need(element="ext_grid", kind=info.CongestionKind.PEAK, start=T, stop=E, excess=1.5,
                  locations=("mg-1",), effect_p=(-1.02,), effect_q=(0.0,)))),
    OFFER,
    info.OfferList(id="l", request="r", session=info.Session.DAY_AHEAD, offers=(OFFER, OFFER), relief_per_eur=(2.0, 1.5)),
    info.Bid(id="b", buyer="DMS", request="r", session=info.Session.DAY_AHEAD, submitted_at=T, limit_eur_per_mwh=90.0,
             purchases=(info.Purchase(offer="AMS/offer/1", p_min_mw=-0.5, p_max_mw=0.0),)),
    info.ReserveNotification(id="n", offer="o", buyer="DMS", seller="AMS", location="mg-1", product=Product.SRP, start=T,
                             stop=E, p_min_mw=-0.5, p_max_mw=0.0, price_eur_per_mwh=55.0, group="g", group_energy_mwh=2.0),
    info.ActivationNotification(id="a", reserve="n", location="mg-1", start=T, stop=E, p_mw=-0.3, q_mvar=0.1),
    info.ActivationRefusal(id="x", reserve="n", refused_by="DMS", p_mw=-0.3, q_mvar=0.1, start=T, stop=E,
                           reason='line "3" 104 % > 100 %'),
    info.VerificationNotification(id="v", reserve="n", location="mg-1", start=T, stop=E, step_s=1800,
                                  baseline_method="operation_plan", baseline_p_mw=(1.0, 1.0), measured_p_mw=(0.7, 0.71),
                                  requested_p_mw=(-0.3, -0.3), baseline_q_mvar=(0.0, 0.0), measured_q_mvar=(0.1, 0.1),
                                  requested_q_mvar=(0.1, 0.1)),
    info.SettlementStatement(id="s", reserve="n", verification="v", payer="DMS", payee="AMS", start=T, stop=E,
                             requested_mwh=-0.3, delivered_mwh=-0.29, availability_eur=1.0, activation_eur=16.0,
                             reactive_eur=0.0, penalty_eur=0.5, success=True),
    info.WeatherForecast(id="w", issued_at=T, start=T, step_s=3600, temperature_c=(-12.5, -13.0),
                         irradiance_w_per_m2=(0.0, 20.0), wind_m_per_s=(3.0, 4.0)),
    info.PriceForecast(id="q", issued_at=T, start=T, step_s=3600, spot_eur_per_mwh=tuple(map(float, range(1000))),
                       flexibility_up_eur_per_mwh=(1.0,) * 1000, flexibility_down_eur_per_mwh=(2.0,) * 1000),
]  # fmt: skip
EXAMPLES = [
    info.Message(id=f"AMS-{i}", sender="AMS", receiver="MGMS", sent_at=T, body=b) for i, b in enumerate(BODIES, 1)
]
assert not math.isnan(PROFILE.p_mw[0])


def offer():
    return next(message for message in EXAMPLES if isinstance(message.body, info.Offer))
