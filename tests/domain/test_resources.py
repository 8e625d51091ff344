"""Every resource over a day: energy balance, limits, own behaviour."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.resources import (
    FREE,
    NEUTRAL,
    Battery,
    BatterySpec,
    EvSpec,
    Exogenous,
    HeatPumpSpec,
    LoadSpec,
    PvSpec,
    ShiftableLoadSpec,
    kind_of,
    make_resource,
)
from heila_mosaik.errors import ProblemsError

START = datetime(2016, 2, 1, tzinfo=UTC)
SPECS = {
    "battery": BatterySpec(p_max_mw=0.5, s_max_mva=0.6, energy_mwh=1.0, self_discharge_percent_per_h=0.5),
    "pv": PvSpec(p_rated_mw=0.4, s_max_mva=0.42, cos_phi_min=0.9),
    "ev": EvSpec(chargers=8, sessions_per_day=10),
    "heat_pump": HeatPumpSpec(p_max_mw=0.2, heat_demand_mw_at_minus10=0.5, storage_mwh_thermal=0.6),
    "shiftable_load": ShiftableLoadSpec(p_mw=0.05, duration_min=90, starts_per_day=3, window=(6.0, 22.0)),
    "load": LoadSpec(p_mw=0.3, q_mvar=0.1),
}


def make(kind, seed=1):
    return make_resource(kind, SPECS[kind], START, np.random.default_rng(seed))


def weather(k, steps=1440):
    sun = max(0.0, np.sin((k / steps - 0.25) * 2 * np.pi)) * 800.0
    return Exogenous(temperature_c=-8.0 + sun / 100, irradiance_w_per_m2=float(sun))


def stored(resource):
    return resource.state().get("e_mwh", 0.0) if kind_of(resource.spec) in ("battery", "heat_pump") else 0.0


@pytest.mark.parametrize("kind", list(SPECS))
@pytest.mark.parametrize("dt_s", [60, 900])
@pytest.mark.parametrize("called", [False, True])
def test_no_energy_from_nowhere(kind, dt_s, called):
    resource, draw = make(kind), np.random.default_rng(7)
    begin, drawn, sun = stored(resource), 0.0, 0.0
    for k in range(86400 // dt_s):
        now, exogenous = START + timedelta(seconds=k * dt_s), weather(k, 86400 // dt_s)
        setpoint = (draw.uniform(-1, 1), draw.uniform(-1, 1)) if called else FREE
        p_mw, q_mvar = resource.step(now, dt_s, setpoint, exogenous)
        drawn += p_mw * dt_s / 3600
        sun += exogenous.irradiance_w_per_m2 / 1000 * 0.4 * 1.15 * dt_s / 3600
        assert p_mw**2 + q_mvar**2 <= getattr(SPECS[kind], "s_max_mva", 9.0) ** 2 + 1e-12
    book = resource.book
    assert book.residual_mwh == pytest.approx(0.0, abs=1e-10)
    assert book.electric_mwh == pytest.approx(drawn, abs=1e-10)
    assert book.stored_mwh == pytest.approx(stored(resource) - begin, abs=1e-10)
    assert book.losses_mwh >= -1e-12
    assert book.useful_mwh >= 0.0
    if kind == "pv":
        assert 0.0 < book.harvested_mwh + book.curtailed_mwh <= sun
    elif kind != "heat_pump":
        assert book.harvested_mwh == 0.0
    if kind == "shiftable_load":
        assert drawn == pytest.approx(3 * 1.5 * 0.05)
    if kind in ("ev", "heat_pump"):
        assert book.unserved_mwh == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(list(SPECS)), st.lists(st.floats(-2, 2), min_size=5, max_size=60), st.sampled_from([60, 300, 900])
)
def test_limits_are_reachable_and_respected(kind, wanted, dt_s):
    resource = make(kind)
    resource.step(START, dt_s, FREE, weather(720))
    for k, p_wanted in enumerate(wanted, 1):
        now = START + timedelta(seconds=k * dt_s)
        low, high, q_low, q_high = resource.limits(now)
        assert low <= high + 1e-12
        assert q_low <= q_high
        p_mw, _ = resource.step(now, dt_s, (p_wanted, None), weather(720))
        if kind == "ev":
            continue  # vehicles may come and go between the question and the answer
        assert low - 1e-9 <= p_mw <= high + 1e-9
        if kind in ("battery", "heat_pump", "pv"):
            assert p_mw == pytest.approx(min(max(p_wanted, low), high), abs=1e-9)


def test_battery_round_trip_and_stop_at_limits():
    battery = make("battery")
    for k in range(300):
        battery.step(START + timedelta(minutes=k), 60, (0.5, None), NEUTRAL)
    assert battery.state()["soc_percent"] == pytest.approx(90.0, abs=0.05)
    lossless = Battery("b", BatterySpec(p_max_mw=1, s_max_mva=1, energy_mwh=2, self_discharge_percent_per_h=0.0))
    lossless.step(START, 1800, (0.8, None), NEUTRAL)
    assert lossless.e_mwh == pytest.approx(1.0 + 0.4 * 0.95)
    p_mw, q_mvar = lossless.step(START, 1800, (-1.0, 1.0), NEUTRAL)
    assert (p_mw, q_mvar) == (-1.0, 0.0)
    assert lossless.e_mwh == pytest.approx(1.38 - 0.5 / 0.95)


def test_pv_curtails_and_keeps_reactive_power():
    pv = make("pv")
    sunny = Exogenous(profile=0.9)
    assert pv.step(START, 60, FREE, sunny) == (pytest.approx(-0.36), 0.0)
    p_mw, q_mvar = pv.step(START, 60, (-0.1, 0.5), sunny)
    assert p_mw == -0.1
    assert q_mvar == pytest.approx(0.4 * np.tan(np.arccos(0.9)))
    assert pv.step(START, 60, (None, 0.5), Exogenous(profile=0.0)) == (0.0, 0.0)


def test_heat_pump_survives_a_cold_night_without_free_heat():
    pump = make("heat_pump")
    for k in range(1440):
        pump.step(START + timedelta(minutes=k), 60, (0.0, None), Exogenous(temperature_c=-10.0))
    assert pump.book.useful_mwh == pytest.approx(12.0, rel=1e-6)  # 0.5 MW for a day, whatever the set point
    assert pump.state()["soc_percent"] == pytest.approx(0.0, abs=1e-6)


def test_ev_sessions_get_their_energy_when_held_back():
    free, held = make("ev"), make("ev")
    for k in range(4 * 1440):
        now = START + timedelta(minutes=k)
        free.step(now, 60, FREE, NEUTRAL)
        held.step(now, 60, (0.0, None), NEUTRAL)
    assert free.book.electric_mwh > 0.2
    assert held.book.unserved_mwh == pytest.approx(0.0, abs=1e-9)
    assert held.book.electric_mwh + held.state()["e_mwh"] == pytest.approx(
        free.book.electric_mwh + free.state()["e_mwh"], abs=1e-9
    )


def test_same_seed_same_sessions():
    rows = []
    for _ in range(2):
        site = make("ev", seed=3)
        rows.append([site.step(START + timedelta(minutes=15 * k), 900, FREE, NEUTRAL)[0] for k in range(96)])
    assert rows[0] == rows[1]


def test_all_mistakes_of_a_battery_at_once():
    with pytest.raises(ProblemsError) as caught:
        BatterySpec(p_max_mw=1, s_max_mva=0.5, energy_mwh=0, soc_min_percent=90, soc_max_percent=20)
    fields = [problem.where for problem in caught.value.problems]
    assert fields == ["battery.energy_mwh", "battery.s_max_mva", "battery.soc_min_percent", "battery.soc_start_percent"]


def test_twenty_resources_a_day_are_fast():
    kinds = [*SPECS] * 3 + ["load", "pv"]
    resources = [make(kind, k) for k, kind in enumerate(kinds)]
    moments = [START + timedelta(minutes=k) for k in range(1440)]
    surroundings = [weather(k) for k in range(1440)]
    begin = time.process_time()
    for now, exogenous in zip(moments, surroundings, strict=True):
        for resource in resources:
            resource.step(now, 60, FREE, exogenous)
    assert time.process_time() - begin < 0.5


def test_pv_reactive_capability_of_a_series_is_that_of_each_value():
    spec = PvSpec(p_rated_mw=0.8, s_max_mva=0.9)
    available = np.linspace(0.0, 0.9, 19)
    series = spec.q_capabilities(0.8 * available, available)
    assert series == pytest.approx([spec.q_capability(0.8 * a, a) for a in available.tolist()], abs=1e-12)
    assert series[0] == 0.0
