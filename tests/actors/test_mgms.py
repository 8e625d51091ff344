"""MGMS, CEMS and resource models in a closed loop of one-minute steps."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from heila_mosaik.actors.cems import Cems
from heila_mosaik.actors.field_settings import FieldSettings
from heila_mosaik.actors.mgms import Mgms, MgmsSettings
from heila_mosaik.domain.flexibility import FlexibilitySettings
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    ControlSignal,
    FlexibilityForecast,
    Measurements,
    Message,
    OperationPlan,
    PriceForecast,
    ReserveNotification,
    VerificationNotification,
    WeatherForecast,
)
from heila_mosaik.domain.quantities import Product, Quality, Quantity
from heila_mosaik.domain.resources import BatterySpec, EvSpec, HeatPumpSpec, LoadSpec, PvSpec
from heila_mosaik.simulators.resources import Fleet

START = datetime(2016, 6, 1, tzinfo=UTC)
SPECS = {
    "bat": BatterySpec(p_max_mw=0.5, s_max_mva=0.6, energy_mwh=1.0),
    "pump": HeatPumpSpec(p_max_mw=0.2, heat_demand_mw_at_minus10=0.5, storage_mwh_thermal=1.0),
    "sun": PvSpec(p_rated_mw=0.4, s_max_mva=0.4),
    "cars": EvSpec(chargers=5, sessions_per_day=8),
    "house": LoadSpec(p_mw=0.2),
}


class Loop:
    """Fleet, CEMS and MGMS; messages arrive one minute later."""

    def __init__(self, distributed=False, **settings):
        self.fleet = Fleet(SPECS, START, 3)
        self.cems = Cems(
            "cems_a", FieldSettings(mgms="mgms_a", resources=SPECS, distributed=distributed, breakers=("pcc",))
        )
        controllers = dict.fromkeys(SPECS, "cems_a")
        self.mgms = Mgms(
            "mgms_a",
            MgmsSettings(
                microgrid="a",
                resources=SPECS,
                controllers=controllers,
                breaker="pcc",
                distributed=distributed,
                **settings,
            ),
        )
        self.minute, self.count, self.sent, self.to_ams, self.records = 0, 0, [], [], []
        self.power = []
        self.plans_below = 0
        n = 96 * 3
        sun = np.maximum(0, np.sin((np.arange(n) / 96 - 0.25) * 2 * np.pi)) * 800
        self.sun = sun
        price = 50 + 30 * np.sin(np.arange(n) / 96 * 2 * np.pi)
        self.send(
            "spp",
            WeatherForecast(
                id="w",
                issued_at=START,
                start=START,
                step_s=900,
                temperature_c=(5.0,) * n,
                irradiance_w_per_m2=tuple(sun),
                wind_m_per_s=(3.0,) * n,
            ),
        )
        self.send(
            "spp",
            PriceForecast(
                id="p",
                issued_at=START,
                start=START,
                step_s=900,
                spot_eur_per_mwh=tuple(price),
                flexibility_up_eur_per_mwh=(60.0,) * n,
                flexibility_down_eur_per_mwh=(20.0,) * n,
            ),
        )

    def send(self, sender, body, receiver="mgms_a"):
        self.count += 1
        identity = f"{sender}-{self.count}"
        self.sent.append(Message(id=identity, sender=sender, receiver=receiver, sent_at=START, body=body))

    def run(self, minutes, breaker=None):
        for _ in range(minutes):
            now = START + timedelta(minutes=self.minute)
            inbox, self.sent = self.sent, []
            self.fleet.step(now, 60, float(self.sun[self.minute // 15]), 5.0, None)
            self.power.append(sum(self.fleet.columns["P[MW]"]))
            seen = self.fleet.measurements("a", now, self.minute)
            own = None
            if breaker is not None:
                own = Measurements(
                    id="b",
                    source="pcc",
                    at=now,
                    elements=("pcc",),
                    quantities=(Quantity.BREAKER,),
                    values=(float(breaker),),
                    sigmas=(0.0,),
                    qualities=(Quality.GOOD,),
                    ages_s=(0.0,),
                )
            low = self.cems.step(now, [m for m in inbox if m.receiver == "cems_a"], seen)
            high = self.mgms.step(now, [m for m in inbox if m.receiver == "mgms_a"], own)
            for outcome in (low, high):
                assert outcome.wake_at is None or outcome.wake_at > now
                self.records += outcome.records
                self.sent += [m for m in outcome.messages if m.receiver != "ams"]
            self.plans_below += sum(m.receiver == "cems_a" and isinstance(m.body, OperationPlan) for m in high.messages)
            self.to_ams += [m.body for m in high.messages if m.receiver == "ams"]
            self.fleet.take(low.controls)
            self.minute += 1

    def bodies(self, cls):
        return [body for body in self.to_ams if isinstance(body, cls)]


def reserve(start_h, stop_h, low, high, product=Product.CRP, energy=None):
    return ReserveNotification(
        id="r1",
        offer="o1",
        buyer="dms",
        seller="ams",
        location="a",
        product=product,
        start=START + timedelta(hours=start_h),
        stop=START + timedelta(hours=stop_h),
        p_min_mw=low,
        p_max_mw=high,
        q_min_mvar=-0.1,
        q_max_mvar=0.1,
        price_eur_per_mwh=50.0,
        group_energy_mwh=energy,
    )


def activation(start_min, stop_min, p, q=0.0, name="r1"):
    return ActivationNotification(
        id=f"act{start_min}",
        reserve=name,
        location="a",
        start=START + timedelta(minutes=start_min),
        stop=START + timedelta(minutes=stop_min),
        p_mw=p,
        q_mvar=q,
    )


@pytest.mark.parametrize("distributed", [False, True])
def test_crp_from_forecast_to_verification(distributed):
    loop = Loop(distributed=distributed, keep_low_share=0.3, flexibility=FlexibilitySettings(hold_h=0.5))
    loop.run(70)
    forecast = loop.bodies(FlexibilityForecast)[-1]
    assert forecast.energy_up_mwh > 0.15
    assert len(forecast.profile.p_mw) == 144
    loop.send("ams", reserve(2, 3, -0.3, 0.0, energy=0.15))
    loop.run(55)
    plan = loop.bodies(OperationPlan)[-1].profile
    assert plan.p_min_mw[plan.grid.position(START + timedelta(hours=2))] <= plan.p_mw[8] - 0.2
    loop.send("ams", activation(126, 150, -0.3, 0.05))
    loop.run(65)
    verified = loop.bodies(VerificationNotification)
    assert [v.start.minute for v in verified] == [0, 15, 30, 45]
    assert not loop.bodies(ActivationRefusal)
    second = verified[1]
    delivered = np.subtract(second.measured_p_mw, second.baseline_p_mw)
    assert delivered == pytest.approx([-0.3] * 15, abs=0.06)
    assert second.requested_p_mw == (-0.3,) * 15
    assert np.mean(second.measured_q_mvar) == pytest.approx(0.05, abs=0.01)
    assert verified[3].requested_p_mw == (0.0,) * 15
    if distributed:
        assert any(record.event == "resource_verified" for record in loop.records)


def test_refusals_give_the_reason():
    loop = Loop()
    loop.run(20)
    loop.send("ams", reserve(1, 2, -0.2, 0.0, energy=0.02))
    loop.run(45)
    loop.send("ams", activation(66, 80, -0.2, name="r9"))
    loop.send("ams", activation(66, 80, -0.4))
    loop.send("ams", activation(10, 30, -0.1))
    loop.run(2)
    reasons = [refusal.reason for refusal in loop.bodies(ActivationRefusal)]
    assert ["unknown" in reasons[0], "outside the reserved" in reasons[1], "expired" in reasons[2]] == [True] * 3
    loop.send("ams", activation(68, 78, -0.2))
    loop.run(12)
    loop.send("ams", activation(80, 90, -0.2))
    loop.run(2)
    assert "exhausted" in loop.bodies(ActivationRefusal)[-1].reason


def test_open_breaker_means_no_flexibility():
    loop = Loop()
    loop.run(10)
    loop.send("ams", reserve(1, 2, -0.2, 0.0))
    loop.run(50)
    loop.run(2, breaker=False)
    loop.send("ams", activation(63, 80, -0.2))
    loop.run(61)
    assert "islanded" in loop.bodies(ActivationRefusal)[0].reason
    assert loop.bodies(FlexibilityForecast)[-1].energy_up_mwh == 0.0


def test_scheduled_reserve_is_delivered_without_a_call():
    loop = Loop(arbitrage=False)
    loop.run(20)
    loop.send("ams", reserve(1, 1.5, -0.2, 0.0, product=Product.SRP))
    loop.run(80)
    verified = loop.bodies(VerificationNotification)[0]
    delivered = np.subtract(verified.measured_p_mw, verified.baseline_p_mw)
    assert np.mean(delivered[2:]) == pytest.approx(-0.2, abs=0.05)


def test_meter_before_and_own_prices():
    loop = Loop(baseline_method="meter_before", prices=True)
    loop.run(20)
    loop.send("ams", reserve(1, 1.25, -0.1, 0.0))
    loop.run(70)
    verified = loop.bodies(VerificationNotification)[0]
    assert verified.baseline_method == "meter_before"
    assert len({round(p, 9) for p in verified.baseline_p_mw}) == 1
    forecast = loop.bodies(FlexibilityForecast)[-1]
    assert min(forecast.price_up_eur_per_mwh) >= 0.0
    assert len(forecast.price_down_eur_per_mwh) == 144


def test_two_days_stay_bounded():
    loop = Loop()
    loop.run(1440 * 2)
    book = loop.mgms._book
    assert len(book.plans) < 10
    assert len(book.meter) < 500
    counts = Counter(type(body).__name__ for body in loop.to_ams)
    assert counts["FlexibilityForecast"] >= 47


@pytest.mark.parametrize("distributed", [False, True])
def test_what_was_offered_is_delivered_for_the_whole_period(distributed):
    """Range and energy of a forecast, sold and called to the last, through six hours of replanning."""
    loop = Loop(distributed=distributed)
    loop.run(60)
    offered = loop.bodies(FlexibilityForecast)[-1]
    profile = offered.profile
    span = range(profile.grid.position(START + timedelta(hours=6)), profile.grid.position(START + timedelta(hours=7)))
    high = min(profile.p_max_mw[k] - profile.p_mw[k] for k in span)
    q_high = min(profile.q_max_mvar[k] - profile.q_mvar[k] for k in span)
    energy = min(offered.energy_down_mwh, high)
    assert high > 0.2
    assert q_high > 0.3
    loop.send("ams", replace(reserve(6, 7, 0.0, high, energy=energy), q_min_mvar=-q_high, q_max_mvar=q_high))
    loop.run(2)
    declared = loop.bodies(OperationPlan)[-1].profile
    loop.run(299)
    newest = loop.bodies(OperationPlan)[-1].profile
    for k in range(4):
        moment = START + timedelta(hours=6, minutes=15 * k)
        old, new = declared.p_mw[declared.grid.position(moment)], newest.p_mw[newest.grid.position(moment)]
        assert new == pytest.approx(old, abs=1e-9)
    free = loop.bodies(FlexibilityForecast)[-1].profile
    k = free.grid.position(START + timedelta(hours=6))
    assert free.q_max_mvar[k] - free.q_mvar[k] < 0.3 * q_high  # the rest of the inverters' range is sold
    minutes = int(60 * min(1.0, energy / high))
    loop.send("ams", activation(361, 360 + minutes, high, q_high))
    loop.run(70)
    assert not loop.bodies(ActivationRefusal)
    assert not [record for record in loop.records if record.event == "reserve_short"]
    moved = np.concatenate(
        [np.subtract(v.measured_p_mw, v.baseline_p_mw) for v in loop.bodies(VerificationNotification)]
    )
    called = slice(4, minutes - 1)
    assert moved[called].mean() == pytest.approx(high, rel=0.15)


def test_a_call_about_to_end_is_not_spread_and_set_points_are_not_repeated():
    loop = Loop(arbitrage=False)
    loop.run(20)
    loop.send("ams", reserve(1, 2, -0.2, 0.0))
    loop.run(45)
    call = activation(66, 80, -0.1)
    loop.send("ams", replace(call, stop=call.stop + timedelta(milliseconds=40)))
    before = loop.minute
    signals = []
    for _ in range(20):
        loop.run(1)
        signals += [(loop.minute, m.body) for m in loop.sent if isinstance(m.body, ControlSignal)]
    assert signals
    assert all((signal.stop - signal.start).total_seconds() > 5 for _, signal in signals)
    given = [(signal.target, signal.p_mw, signal.q_mvar, signal.stop) for _, signal in signals]
    assert len(set(given)) == len(given)
    assert loop.minute == before + 20
    assert not [record for record in loop.records if record.event == "control_refused"]


def test_distributed_waits_for_the_controllers_forecasts():
    loop = Loop(distributed=True)
    loop.run(60)
    # Nobody charges for arbitrage: a battery rests until it is called.
    column = loop.fleet.names.index("bat")
    assert loop.fleet.columns["P[MW]"][column] == 0.0
    assert loop.fleet.columns["soc[%]"][column] == pytest.approx(50.0, abs=0.1)


def test_plans_are_sent_only_when_they_change():
    loop = Loop(distributed=False, arbitrage=False)
    loop.run(600)
    assert len(loop.bodies(FlexibilityForecast)) == 10
    assert loop.plans_below <= 12  # the battery rests: only the heat pump gets a plan each hour
