"""CEMS and IED: limits, plans, return after a set point, reporting."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from heila_mosaik.actors.cems import Cems, resample
from heila_mosaik.actors.field_settings import FieldSettings
from heila_mosaik.actors.ied import Ied
from heila_mosaik.domain.information import ControlSignal, Measurements, Message, OperationPlan, PQProfile
from heila_mosaik.domain.resources import BatterySpec, PvSpec
from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.simulators.resources import Fleet

START = datetime(2016, 6, 1, tzinfo=UTC)
SPEC = BatterySpec(p_max_mw=0.5, s_max_mva=0.6, energy_mwh=1.0)
SETTINGS = FieldSettings(mgms="mgms_a", resources={"bat": SPEC, "sun": PvSpec(p_rated_mw=1, s_max_mva=1)})


def at(minute):
    return START + timedelta(minutes=minute)


def message(body, sent_at=START):
    return Message(id="m", sender="mgms_a", receiver="c", sent_at=sent_at, body=body)


def signal(p_mw, start, stop, target="bat"):
    return ControlSignal(id="s", target=target, start=at(start), stop=at(stop), p_mw=p_mw, cause="act")


def plan(p_mw):
    zeros = (0.0,) * len(p_mw)
    profile = PQProfile(
        start=START,
        step_s=900,
        p_mw=p_mw,
        q_mvar=zeros,
        p_min_mw=zeros,
        p_max_mw=zeros,
        q_min_mvar=zeros,
        q_max_mvar=zeros,
    )
    return OperationPlan(id="plan", subject="bat", issued_at=START, profile=profile)


@pytest.mark.parametrize("actor", [Cems("c", SETTINGS), Ied("i", "bat", SPEC, SETTINGS)])
def test_follows_plan_then_call_then_plan(actor):
    given = []
    for minute in range(31):
        inbox = {0: [message(plan((0.1, 0.2, 0.3)))], 5: [message(signal(-0.9, 5, 20))]}.get(minute, [])
        given += [(minute, c.p_mw, c.stop) for c in actor.step(at(minute), inbox, None).controls]
    assert given == [(0, 0.1, at(15)), (5, -0.5, at(20)), (20, 0.2, at(30)), (30, 0.3, at(45))]


def test_refuses_strangers_and_the_past():
    cems = Cems("c", SETTINGS)
    outcome = cems.step(at(30), [message(signal(0.1, 0, 60, "other")), message(signal(0.1, 0, 20), at(25))], None)
    assert outcome.controls == ()
    assert [record.event for record in outcome.records] == ["control_refused", "control_refused"]


def test_a_signal_that_ended_on_its_way_is_no_news():
    outcome = Cems("c", SETTINGS).step(at(30), [message(signal(0.1, 0, 20), at(19))], None)
    assert outcome.controls == ()
    assert outcome.records == ()


def test_reports_each_quarter_and_each_minute_with_news_while_called():
    cems, fleet, times = Cems("c", SETTINGS), Fleet(SETTINGS.resources, START, 0), []
    for minute in range(46):
        fleet.step(at(minute), 60, 0.0, 10.0, None)
        inbox = [message(signal(0.1, 20, 23))] if minute == 20 else []
        outcome = cems.step(at(minute), inbox, fleet.measurements("c", at(minute), minute))
        # The battery runs up in two steps, holds, and stops at minute 23.
        fleet.take(replace(c, p_mw=0.05 if minute == 20 else c.p_mw) for c in outcome.controls)
        if minute == 21:
            fleet.take([signal(0.1, 21, 23)])
        times += [minute for m in outcome.messages if isinstance(m.body, Measurements)]
    assert times == [0, 15, 21, 22, 30, 45]


def test_resample_persists_the_last_day():
    grid = TimeGrid(start=at(0), step_s=900, count=192)
    values = resample(tuple(range(96)), START, 900, grid, 0.0)
    assert values[:96].tolist() == values[96:].tolist()
    assert resample((), START, 900, grid, 7.0)[0] == 7.0


def test_a_set_point_overtaken_on_its_way_is_void():
    cems = Cems("c", SETTINGS)
    late, early = message(signal(0.4, 0, 30), at(1)), message(signal(-0.2, 0, 30), at(0))
    assert [c.p_mw for c in cems.step(at(2), [late], None).controls] == [0.4]
    assert not cems.step(at(3), [early], None).controls
    assert [c.p_mw for c in cems.step(at(4), [message(signal(0.1, 0, 30), at(4))], None).controls] == [0.1]
