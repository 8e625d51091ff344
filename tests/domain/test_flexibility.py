"""What an envelope promises, the resource models must be able to deliver."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.dispatch import Room, spread
from heila_mosaik.domain.flexibility import (
    Envelope,
    ExogenousForecast,
    FlexibilitySettings,
    aggregate,
    ev_expectation,
    forecast_resource,
    shiftable_plan,
)
from heila_mosaik.domain.resources import (
    FREE,
    NEUTRAL,
    BatterySpec,
    EvSpec,
    Exogenous,
    HeatPumpSpec,
    LoadSpec,
    PvSpec,
    ShiftableLoadSpec,
    make_resource,
)
from heila_mosaik.domain.timegrid import TimeGrid

START = datetime(2016, 3, 1, tzinfo=UTC)
GRID = TimeGrid(start=START, step_s=900, count=48)
SPECS = {
    "battery": BatterySpec(p_max_mw=0.5, s_max_mva=0.6, energy_mwh=1.0, self_discharge_percent_per_h=0.2),
    "small": BatterySpec(p_max_mw=0.3, s_max_mva=0.3, energy_mwh=0.2, soc_start_percent=70, wear_eur_per_mwh=5.0),
    "pump": HeatPumpSpec(p_max_mw=0.2, heat_demand_mw_at_minus10=0.6, storage_mwh_thermal=0.8),
    "pv": PvSpec(p_rated_mw=0.6, s_max_mva=0.6),
    "load": LoadSpec(p_mw=0.3, q_mvar=0.1),
    "wash": ShiftableLoadSpec(p_mw=0.05, duration_min=60, starts_per_day=3, window=(1.0, 10.0)),
}


def surroundings(grid=GRID):
    x = np.arange(grid.count) / grid.count
    return ExogenousForecast(
        grid=grid,
        temperature_c=2.0 + 6.0 * np.sin(2 * np.pi * x),
        irradiance_w_per_m2=np.maximum(0.0, 900.0 * np.sin(2 * np.pi * (x - 0.3))),
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=48, max_size=48),
    st.sampled_from([0.25, 1.0, 3.0]),
    st.sampled_from(
        [("battery",), ("pump",), ("battery", "small"), ("battery", "small", "pump", "pv", "load", "wash")]
    ),
    st.booleans(),
)
def test_whole_promise_can_be_delivered(calls, hold_h, names, extreme):
    """Any call inside range and energy is followed to the watt by the models, spread by the dispatcher."""
    exogenous, careful = surroundings(), FlexibilitySettings(hold_h=hold_h)
    envelopes = {name: forecast_resource(name, SPECS[name], {}, exogenous, careful) for name in names}
    whole = aggregate("mg", list(envelopes.values()), careful)
    left_up, left_down = whole.finite_energy()
    used = {name: [e.energy_up_mwh, e.energy_down_mwh] for name, e in envelopes.items()}
    models = {name: make_resource(name, SPECS[name], START, np.random.default_rng(0)) for name in names}
    for k, call in enumerate(calls):
        share = math.copysign(1.0, call) if extreme and call else call
        wish = share * (whole.up_mw[k] if share < 0 else whole.down_mw[k])
        budget = left_up if wish < 0 else left_down
        wish = math.copysign(min(abs(wish), budget / 0.25), wish)
        rooms = [
            Room(
                name=name,
                p_mw=float(e.p_mw[k]),
                up_mw=float(e.up_mw[k]),
                down_mw=float(e.down_mw[k]),
                energy_up_mwh=used[name][0],
                energy_down_mwh=used[name][1],
                cost_eur_per_mwh=e.cost_eur_per_mwh,
            )
            for name, e in envelopes.items()
        ]
        result = spread(wish, 0.0, rooms, owed_mwh=budget, dt_h=0.25)
        assert result.p_mw == pytest.approx(wish, abs=1e-7)
        now, total = START + timedelta(minutes=15 * k), 0.0
        outside = Exogenous(
            temperature_c=float(exogenous.temperature_c[k]),
            irradiance_w_per_m2=float(exogenous.irradiance_w_per_m2[k]),
        )
        for room, adjust in zip(rooms, result.p_adjust_mw, strict=True):
            total += models[room.name].step(now, 900, (room.p_mw + adjust, None), outside)[0]
            used[room.name][0 if wish < 0 else 1] -= abs(adjust) * 0.25
        assert total == pytest.approx(whole.p_mw[k] + wish, abs=1e-6)
        if wish < 0:
            left_up -= abs(wish) * 0.25
        else:
            left_down -= abs(wish) * 0.25


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=48, max_size=48), st.lists(st.floats(-1, 1), min_size=48, max_size=48))
def test_battery_promise_holds_around_any_feasible_plan(plan, calls):
    model = make_resource("battery", SPECS["battery"], START, np.random.default_rng(0))
    feasible = np.array([model.step(START, 900, (p, None), NEUTRAL)[0] for p in plan])
    envelope = forecast_resource("battery", SPECS["battery"], {}, surroundings(), plan_mw=feasible)
    model = make_resource("battery", SPECS["battery"], START, np.random.default_rng(0))
    up, down = envelope.energy_up_mwh, envelope.energy_down_mwh
    for k, call in enumerate(calls):
        wish = call * (envelope.up_mw[k] if call < 0 else envelope.down_mw[k])
        wish = max(-up / 0.25, wish) if wish < 0 else min(down / 0.25, wish)
        up, down = (up + wish * 0.25, down) if wish < 0 else (up, down - wish * 0.25)
        assert model.step(START, 900, (feasible[k] + wish, None), NEUTRAL)[0] == pytest.approx(
            feasible[k] + wish, abs=1e-8
        )


def test_aggregate_does_not_promise_the_sum_of_unequal_durations():
    exogenous = surroundings()
    both = [forecast_resource(name, SPECS[name], {}, exogenous) for name in ("battery", "small")]
    whole = aggregate("mg", both, FlexibilitySettings(hold_h=0.25))
    # Either the energy or the range must fall short of the sum: here the small one's range is cut to its duration.
    assert whole.up_mw.max() < sum(e.up_mw.max() for e in both) - 0.1
    assert whole.energy_up_mwh <= sum(e.energy_up_mwh for e in both) + 1e-9
    assert whole.up_mw[0] <= 0.8 - max(0.0, 0.3 - both[1].energy_up_mwh / 0.25) + 1e-9
    assert whole.up_mw[0] >= 0.5


def test_plans_match_the_models_own_behaviour():
    exogenous = surroundings()
    for name in ("pump", "pv", "wash"):
        plan = forecast_resource(name, SPECS[name], {}, exogenous).p_mw
        model = make_resource(name, SPECS[name], START, np.random.default_rng(0))
        for k in range(GRID.count):
            outside = Exogenous(
                temperature_c=float(exogenous.temperature_c[k]),
                irradiance_w_per_m2=float(exogenous.irradiance_w_per_m2[k]),
            )
            energy = sum(
                model.step(START + timedelta(minutes=15 * k + m), 60, FREE, outside)[0] / 15 for m in range(15)
            )
            assert energy == pytest.approx(plan[k], abs=0.01), (name, k)


def test_ev_expectation_is_the_mean_of_many_days():
    spec, days = EvSpec(chargers=60, sessions_per_day=30), 60
    site = make_resource("ev", spec, START, np.random.default_rng(5))
    power = np.zeros(96)
    for k in range(96 * days):
        power[k % 96] += site.step(START + timedelta(minutes=15 * k), 900, FREE, NEUTRAL)[0] / days
    grid = TimeGrid(start=START, step_s=900, count=96)
    mean, std = ev_expectation(spec, grid)
    assert mean.sum() == pytest.approx(power.sum(), rel=0.08)
    assert np.abs(mean - power).max() < 4 * std.max() / np.sqrt(days) + 0.01


def test_shiftable_plan_counts_all_runs():
    spec = SPECS["wash"]
    grid = TimeGrid(start=START + timedelta(hours=12), step_s=900, count=96)
    assert shiftable_plan(spec, grid).sum() * 0.25 == pytest.approx(0.15)


def test_a_small_store_does_not_limit_the_promise_where_the_large_one_has_no_room():
    grid = TimeGrid(start=START, step_s=900, count=2)
    zero = np.zeros(2)

    def envelope(name, down, energy):
        return Envelope(
            name=name,
            grid=grid,
            p_mw=zero,
            q_mvar=zero,
            p_min_mw=zero,
            p_max_mw=np.array(down),
            q_min_mvar=zero,
            q_max_mvar=zero,
            energy_up_mwh=0.0,
            energy_down_mwh=energy,
        )

    both = aggregate(
        "mg", [envelope("big", [1.0, 0.0], 3.0), envelope("small", [0.1, 0.1], 0.1)], FlexibilitySettings()
    )
    # Proportional to the range of the second interval the promise would be 0.1 MWh.
    assert both.energy_down_mwh > 2.5
    assert both.down_mw[0] > 0.9
    assert both.down_mw[1] == pytest.approx(0.0, abs=1e-9)
