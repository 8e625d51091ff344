"""Operation planning: buys low, sells high, and keeps what was sold as reserve."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from heila_mosaik.domain.flexibility import battery_envelope
from heila_mosaik.domain.resources import BatterySpec, HeatPumpSpec
from heila_mosaik.domain.scheduling import Obligation, plan_operation, store_of
from heila_mosaik.domain.timegrid import TimeGrid

GRID = TimeGrid(start=datetime(2016, 1, 1, tzinfo=UTC), step_s=900, count=144)
PRICE = 50.0 + 60.0 * np.sin(2 * np.pi * np.arange(144) / 96)
AIR = np.full(144, 2.0)
BATTERY = BatterySpec(p_max_mw=0.5, s_max_mva=0.5, energy_mwh=1.0)
PUMP = HeatPumpSpec(p_max_mw=0.3, heat_demand_mw_at_minus10=0.8, storage_mwh_thermal=2.0)


def stores():
    return [store_of("b", BATTERY, 50.0, 0.25, AIR), store_of("h", PUMP, 50.0, 0.25, AIR)]


def test_buys_low_and_sells_high():
    plan = plan_operation(stores(), GRID, PRICE).p_mw
    bought, sold = plan["b"] > 0.01, plan["b"] < -0.01
    assert PRICE[bought].mean() < PRICE[sold].mean() - 20.0
    assert (PRICE * plan["h"]).sum() < PRICE.mean() * plan["h"].sum()


def test_keeps_reserve_range_and_energy():
    power = np.zeros(144)
    power[60:76] = 0.4
    schedule = plan_operation(stores()[:1], GRID, PRICE, [Obligation(up=True, power_mw=power, energy_mwh=0.5)])
    assert schedule.shortfall_mw == pytest.approx(0.0, abs=1e-6)
    plan = schedule.p_mw["b"]
    assert (plan[60:76] + 0.5 >= 0.4 - 1e-6).all()
    hours = TimeGrid(start=GRID.at(0), step_s=900, count=76)
    contents = 0.5
    decay = BATTERY.decay(0.25)
    for k in range(hours.count):
        contents = contents * decay + 0.25 * (plan[k] * 0.95 if plan[k] > 0 else plan[k] / 0.95)
        if k >= 60:
            assert (contents - 0.1) * 0.95 >= 0.5 - 1e-6
    assert battery_envelope("b", BATTERY, 0.5, GRID, plan).energy_down_mwh >= 0.0


def test_says_what_cannot_be_kept():
    power = np.full(144, 0.9)
    schedule = plan_operation(stores()[:1], GRID, PRICE, [Obligation(up=True, power_mw=power, energy_mwh=0.1)])
    assert schedule.shortfall_mw > 0.3


def test_is_fast():
    plan_operation(stores(), GRID, PRICE)
    begin = time.process_time()
    for _ in range(5):
        plan_operation(stores(), GRID, PRICE)
    assert (time.process_time() - begin) / 5 < 0.15


def test_declared_intervals_do_not_change():
    declared = np.full(144, np.nan)
    declared[40:44] = 0.2
    store = replace(stores()[0], fixed_mw=declared, use_share=0.25, keep_high_share=0.6)
    plan = plan_operation([store], GRID, PRICE).p_mw["b"]
    assert plan[40:44] == pytest.approx(0.2, abs=1e-9)
    assert np.abs(np.delete(plan, range(40, 44))).max() <= 0.125 + 1e-9
