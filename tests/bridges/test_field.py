from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from heila_mosaik.bridges.endpoint import Reading
from heila_mosaik.bridges.field import Field
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.safety_types import Phase, Reason, Refusal
from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.quantities import Quality, Quantity

T0 = datetime(2026, 5, 4, 12, tzinfo=UTC)
ARMED = dict.fromkeys(("der_p_setpoint", "der_q_setpoint", "breaker_command"), Phase.ARMED)


@pytest.fixture
def asked():
    return []


@pytest.fixture
def field(asked):
    return Field(example_points(), lambda name, value, cause: asked.append((name, value, cause)))


def _at(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def _signal(start, stop, target="der", **values):
    return ControlSignal(id=f"s{start}", target=target, start=_at(start), stop=_at(stop), cause="call", **values)


def _reading(name, value, at_s=0.0, quality=Quality.GOOD):
    return Reading(
        name=name, attribute="", value=value, quality=quality, at_s=at_s, device_time=None, cause=3, received=T0
    )


def _refusal(name, value, reason):
    return Refusal(at_s=0.0, name=name, value=value, reason=reason, detail="")


def test_a_set_point_is_asked_for_when_it_begins_and_let_go_when_it_ends(field, asked):
    field.order([_signal(1, 5, p_mw=0.2)], _at(0), 0.0)
    assert asked == []
    field.advance(_at(1), 60.0)
    field.advance(_at(2), 120.0)
    assert asked == [("der_p_setpoint", 0.2, "call")]
    field.advance(_at(5), 300.0)
    field.advance(_at(6), 360.0)
    assert asked[1:] == [("der_p_setpoint", 0.0, "end of call")]


def test_a_later_signal_covers_an_earlier_one(field, asked):
    field.order([_signal(0, 10, p_mw=0.2, q_mvar=0.1), _signal(1, 10, p_mw=-0.1)], _at(0), 0.0)
    field.advance(_at(1), 60.0)
    assert asked == [
        ("der_p_setpoint", 0.2, "call"),
        ("der_q_setpoint", 0.1, "call"),
        ("der_p_setpoint", -0.1, "call"),
        ("der_q_setpoint", 0.0, "end of call"),
    ]


def test_what_is_the_same_number_on_the_wire_is_not_asked_for_again(field, asked):
    field.order([_signal(0, 10, p_mw=-0.113)], _at(0), 0.0)
    field.order([_signal(1, 10, p_mw=-0.113 + 2e-17)], _at(1), 60.0)
    assert np.float32(-0.113) == np.float32(-0.113 + 2e-17)
    assert -0.113 != -0.113 + 2e-17
    assert asked == [("der_p_setpoint", -0.113, "call")]
    field.order([_signal(2, 10, p_mw=-0.11301)], _at(2), 120.0)
    assert asked[1:] == [("der_p_setpoint", -0.11301, "call")]


def test_a_switching_command_is_asked_for_once_whatever_comes(field, asked):
    field.order([_signal(0, 10, target="feeder_breaker", closed=True)], _at(0), 0.0)
    field.refused(_refusal("breaker_command", 1.0, Reason.TOO_FREQUENT))
    field.again(100.0, ARMED)
    assert asked == [("breaker_command", 1.0, "call")]


def test_an_old_switching_command_is_not_asked_for(field, asked):
    field.order([_signal(-5, 0, target="feeder_breaker", closed=True)], _at(0), 0.0)
    assert asked == []


@pytest.mark.parametrize("reason", [Reason.TOO_FREQUENT, Reason.NOT_ARMED, Reason.EQUIPMENT_STALE])
def test_what_was_refused_for_a_while_is_asked_for_again_when_armed(field, asked, reason):
    field.order([_signal(0, 10, p_mw=0.2)], _at(0), 0.0)
    field.refused(_refusal("der_p_setpoint", 0.2, reason))
    field.again(0.1, ARMED)
    field.again(1.0, ARMED | {"der_p_setpoint": Phase.DISARMED})
    assert len(asked) == 1
    field.again(1.0, ARMED)
    field.again(9.0, ARMED)
    assert asked == [("der_p_setpoint", 0.2, "call")] * 2


@pytest.mark.parametrize("reason", [Reason.OUTSIDE_LIMITS, Reason.STEP_TOO_LARGE, Reason.EMERGENCY_STOPPED])
def test_what_will_be_refused_again_is_not_asked_for(field, asked, reason):
    field.order([_signal(0, 10, p_mw=9.0)], _at(0), 0.0)
    field.refused(_refusal("der_p_setpoint", 9.0, reason))
    field.again(100.0, ARMED)
    assert len(asked) == 1


def test_a_set_point_waits_for_the_breaker(field, asked):
    field.take(_reading("breaker_status", 0.0))
    field.order([_signal(0, 10, p_mw=0.2)], _at(0), 0.0)
    field.refused(_refusal("der_p_setpoint", 0.2, Reason.BREAKER_OPEN))
    field.again(1.0, ARMED)
    assert len(asked) == 1
    field.take(_reading("breaker_status", 1.0, 1.5))
    field.again(2.0, ARMED)
    assert len(asked) == 2


def test_after_being_disarmed_and_armed_again_the_wish_is_repeated(field, asked):
    field.order([_signal(0, 10, p_mw=0.2)], _at(0), 0.0)
    field.forget("der_p_setpoint")
    field.again(5.0, ARMED)
    assert asked == [("der_p_setpoint", 0.2, "call")] * 2


def test_a_refusal_of_something_else_is_not_taken_for_this_one(field, asked):
    field.order([_signal(0, 10, p_mw=0.2)], _at(0), 0.0)
    field.refused(_refusal("der_p_setpoint", 0.4, Reason.TOO_FREQUENT))
    field.again(5.0, ARMED)
    assert len(asked) == 1


def test_measurements_of_a_live_actor_carry_value_quality_and_age(field):
    field.take(_reading("der_p", -0.1, 2.0))
    field.take(_reading("breaker_status", 1.0, 3.0))
    field.take(replace(_reading("breaker_status", 1.0, 4.0), quality=Quality.INVALID))
    found = field.measurements("ied_der", "m1", _at(0), 5.0)
    row = dict(zip(zip(found.elements, found.quantities, strict=True), range(len(found.values)), strict=True))
    power, breaker = row["der", Quantity.ACTIVE_POWER], row["feeder_breaker", Quantity.BREAKER]
    assert (found.values[power], found.qualities[power], found.ages_s[power]) == (-0.1, Quality.GOOD, 3.0)
    assert (found.values[breaker], found.qualities[breaker], found.ages_s[breaker]) == (1.0, Quality.INVALID, 2.0)
    assert found.value("feeder", Quantity.ACTIVE_POWER) is None


def test_signals_for_others_are_left_out(field, asked):
    field.order([_signal(0, 10, target="elsewhere", p_mw=0.1)], _at(0), 0.0)
    assert asked == []
    assert field.targets == {"der", "feeder_breaker"}
