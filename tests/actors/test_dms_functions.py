"""Own means and power flow optimisation of the DMS in a closed loop."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_functions import FunctionSettings
from heila_mosaik.actors.dms_peak_market import PeakSettings
from heila_mosaik.actors.dms_voltvar_settings import VoltVarSettings
from heila_mosaik.domain.powerflowopt import LevelSettings, Meter
from heila_mosaik.domain.timegrid import TimeGrid
from tests.actors.dms_lab import LOCATIONS, START
from tests.actors.own_lab import ELEMENTS, WIND, OwnLab, means, wind_shape

QUICK = VoltVarSettings(horizon_h=4.0, budget=14, lead_s=300.0, acknowledge_s=1200.0)


def outside(lab):
    """Bus-steps outside the band in the plant."""
    low, high = lab.limits.v_min_pu, lab.limits.v_max_pu
    return sum(int(((s.vm_pu < low) | (s.vm_pu > high)).sum()) for s in lab.states)


@pytest.fixture(scope="module")
def days():
    """The same day without control, with Volt/VAR alone and with congestion management beside it."""
    look = {"step_s": 900, "line_percent": 95.0, "band": (0.975, 1.033)}
    quick = replace(QUICK, lead_s=900.0, acknowledge_s=3600.0)
    free = OwnLab(FunctionSettings(means=means(), congestion=False), **look)
    alone = OwnLab(FunctionSettings(means=means(), volt_var=quick, congestion=False), **look)
    both = OwnLab(FunctionSettings(means=means(), volt_var=quick), **look)
    reserves = [both.reserve(name, hour) for hour in range(6, 20) for name in LOCATIONS]
    for lab, inbox in ((free, []), (alone, []), (both, reserves)):
        lab.run(START, 24, inbox)
    return free, alone, both


def test_alone_it_cures_the_voltage_and_lowers_the_losses(days):
    free, alone, _ = days
    assert outside(free) > 100
    assert outside(alone) <= 0.05 * outside(free)
    assert sum(s.losses_mw for s in alone.states) < sum(s.losses_mw for s in free.states)
    assert not free.switchings()


def test_together_they_do_not_hunt(days):
    """Both act for a day: calls are made, devices move rarely and take no move back within their dwell time."""
    _, alone, both = days
    assert both.calls
    assert outside(both) <= 0.05 * outside(days[0])
    for lab in (alone, both):
        moves = lab.switchings()
        assert moves
        assert sum(moves.values()) <= 24
        assert max(moves.values()) <= 12
    assert abs(sum(both.switchings().values()) - sum(alone.switchings().values())) <= 4
    dwell = 1800 // both.step_s
    urgent = {
        (r.values["element"], r.values["position"])
        for r in both.events("switching_commanded")
        if "a broken limit" in r.detail
    }
    for element in ELEMENTS:
        path = [step[element] for step in both.path]
        moved = [k for k in range(1, len(path)) if path[k] != path[k - 1]]
        for first, second in pairwise(moved):
            back = (path[first] - path[first - 1]) * (path[second] - path[second - 1]) < 0
            assert not back or second - first >= dwell or (element, path[second]) in urgent


def test_positions_do_not_depend_on_calls(days):
    """The chain: own means are decided on the grid without calls, so calls hardly change what they do."""
    _, alone, both = days
    same = sum(a == b for a, b in zip(alone.path, both.path, strict=True))
    assert same >= 0.8 * len(alone.path)


def test_every_command_is_confirmed_by_telemetry(days):
    for lab in days[1:]:
        commanded, confirmed = lab.events("switching_commanded"), lab.events("switching_confirmed")
        assert commanded
        assert len(confirmed) >= len(commanded) - 1  # one may still be on its way at midnight
        assert not lab.events("switching_unconfirmed")
        assert all(900 <= record.values["after_s"] <= 1800 for record in confirmed)


def test_a_command_that_is_not_obeyed_is_reported():
    lab = OwnLab(FunctionSettings(means=means(), volt_var=QUICK, congestion=False))
    lab.obeys = False
    lab.run(START + timedelta(hours=10), 2)
    assert lab.events("switching_commanded")
    missed = lab.events("switching_unconfirmed")
    assert missed
    assert not lab.switchings()
    assert "was not seen there" in missed[0].detail
    assert lab.dms.functions.volt_var.pending.keys() <= set(ELEMENTS)


def test_corrective_mode_moves_only_against_broken_limits():
    settings = VoltVarSettings(plan=False, setpoints=False, lead_s=300.0, acknowledge_s=1200.0, budget=30)
    lab = OwnLab(FunctionSettings(means=means(inverters=False), volt_var=settings, congestion=False))
    lab.run(START + timedelta(hours=8), 6)
    assert not lab.events("voltvar_planned")
    commands = lab.events("switching_commanded")
    assert commands
    assert all("a broken limit" in record.detail for record in commands)
    v = [s.vm_pu for s in lab.states[-20:]]
    assert max(np.nanmax(x) for x in v) <= 1.051


def test_a_band_nothing_meets_is_said_once_in_words():
    stuck = tuple(replace(device, low=0, high=0) for device in means().devices)
    settings = VoltVarSettings(plan=False, setpoints=False, lead_s=300.0)
    lab = OwnLab(
        FunctionSettings(means=replace(means(inverters=False), devices=stuck), volt_var=settings, congestion=False),
        band=(1.005, 1.04),
    )
    lab.run(START + timedelta(hours=17), 2)
    left = lab.events("voltage_left")
    assert len(left) == 1
    assert "(1.005 to 1.040 pu)" in left[0].detail
    assert not lab.switchings()


def test_without_functions_nothing_is_commanded():
    lab = OwnLab(FunctionSettings(means=means(curtailment=True), congestion=False))
    lab.run(START + timedelta(hours=11), 1)
    assert not lab.switchings()
    assert not lab.events("switching_commanded")
    assert not lab.events("curtailment")


# ---------------------------------------------------------------------- curtailment


def overload(lab, after=3):
    worst = [float(np.nanmax(s.line_loading_percent)) for s in lab.states]
    return max(worst[after:])


def test_curtailment_is_the_last_resort_and_ends():
    lab = OwnLab(FunctionSettings(means=means(inverters=False, curtailment=True)), line_percent=90.0)
    bare = OwnLab(FunctionSettings(means=means(inverters=False), congestion=False), line_percent=90.0)
    for each in (lab, bare):
        each.run(START + timedelta(hours=8), 9)
    assert overload(bare) > 95.0
    assert overload(lab) < 92.0
    assert lab.events("curtailment")
    assert lab.events("curtailment_ended")
    last = lab.records[-1].at
    assert not lab.dms.functions.curtailment.active
    assert wind_shape(last) < 0.5


def test_reserves_are_called_before_generation_is_curtailed():
    lab = OwnLab(FunctionSettings(means=means(inverters=False, curtailment=True)), line_percent=90.0)
    near = [lab.reserve("south", hour, p_max_mw=4.0, p_min_mw=0.0) for hour in range(8, 17)]
    north = [lab.reserve("north", hour, p_max_mw=4.0, p_min_mw=0.0) for hour in range(8, 17)]
    lab.run(START + timedelta(hours=8), 6, near + north)
    assert lab.calls
    assert any(call.p_mw > 0.1 for call in lab.calls.values())
    alone = OwnLab(FunctionSettings(means=means(inverters=False, curtailment=True)), line_percent=90.0)
    alone.run(START + timedelta(hours=8), 6)
    least = [min((r.values["cap_mw"] for r in each.events("curtailment")), default=9.0) for each in (lab, alone)]
    assert least[0] > least[1]


# ---------------------------------------------------------------------- peak


def peak_lab(**prices):
    settings = PeakSettings(prices=LevelSettings(**({"import_eur_per_mw": 500.0} | prices)))
    lab = OwnLab(FunctionSettings(means=means(inverters=False), peak=settings, congestion=False))
    lab.dms.functions.peak.desk.bought.add("o")
    return lab


def test_peak_is_lowered_by_what_the_reserves_can_sustain():
    lab, bare = peak_lab(), peak_lab()
    inbox = [
        lab.reserve(name, 15.5, hours=5.0, group=f"store {name}", group_energy_mwh=2.0, p_max_mw=0.0)
        for name in LOCATIONS
    ]
    begin = START + timedelta(hours=15)
    lab.run(begin, 6, inbox)
    bare.run(begin, 6)
    quarter = [np.reshape(each.exchange, (-1, 3)).mean(axis=1) for each in (lab, bare)]
    assert quarter[0].max() < quarter[1].max() - 0.8
    used = sum(np.subtract(bare.exchange, lab.exchange)) * 300 / 3600
    assert 2.0 < used < 6.6  # energy of the stores, losses on top
    assert lab.events("level_planned")
    assert not lab.events("activation_withheld")
    assert all(call.p_mw >= -1.5 for call in lab.calls.values())


def test_reserves_of_congestion_management_are_left_alone():
    lab = peak_lab()
    theirs = lab.reserve("north", 15.5, hours=5.0, offer="other")
    lab.run(START + timedelta(hours=15), 2, [theirs])
    assert not lab.calls
    assert not lab.dms.functions.peak.reserves
    assert lab.dms.control.reserves


def test_a_call_that_breaks_a_limit_is_withheld():
    """A voltage just inside its limit that would rise with less consumption."""
    lab = peak_lab()
    lab.run(START + timedelta(hours=17), 0.5)
    now, bus = START + timedelta(hours=17.5), LOCATIONS["south"]
    peak, out = lab.dms.functions.peak, Outbox("dms")
    reserve = lab.reserve("south", 17.0).body
    p, q = peak._without_calls(now, lab.dms.estimate)
    state = lab.dms.estimator.engine.solve_bus(p, q)
    out.begin(now)
    wanted = {reserve.id: -1.5}
    assert peak._released(now, [reserve], wanted, p, q, out) == [reserve]
    peak.limits.v_max_pu[bus] = state.vm_pu[bus] + 1e-4
    assert peak._released(now, [reserve], wanted, p, q, out) == []
    (record,) = out.outcome().records
    assert record.event == "activation_withheld"
    assert "overvoltage" in record.detail
    assert reserve not in peak._ready(now)


def test_metered_peak_is_the_mean_of_a_quarter_of_an_hour_and_starts_anew_each_day():
    meter = Meter(900)
    grid = TimeGrid(start=START, step_s=900, count=96 * 2)
    for minute in range(30):
        meter.read(START + timedelta(minutes=minute), 10.0 if minute == 7 else 4.0)
    meter.read(START + timedelta(minutes=30), -3.0)
    meter.read(START + timedelta(minutes=45), 0.0)
    billing = meter.billing(grid)
    assert billing.reached_import_mw[0] == pytest.approx((14 * 4.0 + 10.0) / 15)
    assert billing.reached_export_mw[0] == pytest.approx(3.0)
    assert billing.reached_import_mw[1] == 0.0
    assert billing.period.tolist() == [0] * 96 + [1] * 96


def test_records_are_json():
    lab = OwnLab(FunctionSettings(means=means(curtailment=True), volt_var=QUICK), line_percent=90.0)
    lab.run(START + timedelta(hours=11), 1)
    assert [json.dumps(dict(record.values)) for record in lab.records]
    assert WIND in {record.values.get("element") for record in lab.records} | {WIND}
