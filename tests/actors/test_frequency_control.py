"""Autonomous frequency control: droop around the plan, verification of what was followed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from heila_mosaik.actors.cems import Cems
from heila_mosaik.actors.field_settings import FieldSettings
from heila_mosaik.actors.frequency_control import FrequencyControl
from heila_mosaik.domain.information import (
    ControlSignal,
    Measurements,
    Message,
    OperationPlan,
    PQProfile,
    ReserveNotification,
)
from heila_mosaik.domain.quantities import Product, Quality, Quantity
from heila_mosaik.domain.resources import BatterySpec

START = datetime(2026, 3, 2, 0, 0, tzinfo=UTC)
SPEC = BatterySpec(p_max_mw=1.0, s_max_mva=1.2, energy_mwh=4.0)


def reserve(product=Product.FCR_N, capacity=0.4, hours=1, **changes):
    both = product is Product.FCR_N
    fields = {
        "id": "fmp/reserve/1/bat", "offer": "o", "buyer": "tso", "seller": "ams", "location": "bat", "product": product,
        "start": START, "stop": START + timedelta(hours=hours), "p_min_mw": -capacity,
        "p_max_mw": capacity if both else 0.0, "price_eur_per_mwh": 40.0, "availability_eur_per_mw_h": 15.0,
    }  # fmt: skip
    return ReserveNotification(**(fields | changes))


def reading(at, hertz, p_mw=0.0, quality=Quality.GOOD):
    return Measurements(
        id="m", source="c", at=at, elements=("bat", "grid"), quantities=(Quantity.ACTIVE_POWER, Quantity.FREQUENCY),
        values=(p_mw, hertz), sigmas=(0.0, 0.001), qualities=(Quality.GOOD, quality), ages_s=(0.0, 0.0),
    )  # fmt: skip


def armed(plan_mw=0.1, **changes):
    cems = Cems("c", FieldSettings(mgms="mgms_a", resources={"bat": SPEC}, effect_s=10.0))
    zero = (0.0,) * 8
    profile = PQProfile(
        start=START - timedelta(hours=1), step_s=900, p_mw=(plan_mw,) * 8, q_mvar=zero, p_min_mw=zero, p_max_mw=zero,
        q_min_mvar=zero, q_max_mvar=zero,
    )  # fmt: skip
    plan = OperationPlan(id="plan", subject="bat", issued_at=profile.start, profile=profile)
    early = START - timedelta(minutes=5)
    inbox = [
        Message(id=f"m{k}", sender="mgms_a", receiver="c", sent_at=early, body=body)
        for k, body in enumerate((plan, reserve(**changes)))
    ]
    cems.step(early, inbox, None)
    return cems


@pytest.mark.parametrize(
    ("hertz", "moved"), [(50.0, 0.0), (50.1, 0.4), (49.9, -0.4), (49.5, -0.4), (49.945, -0.2), (50.005, 0.0)]
)
def test_fcr_n_moves_the_battery_around_its_plan(hertz, moved):
    outcome = armed().step(START, [], reading(START, hertz))
    (point,) = [control for control in outcome.controls if control.cause == "frequency"]
    assert point.p_mw == pytest.approx(0.1 + moved)
    assert point.start <= START + timedelta(seconds=10) < point.stop


@pytest.mark.parametrize(("hertz", "moved"), [(49.95, 0.0), (49.7, -0.2), (49.4, -0.4), (50.4, 0.0)])
def test_fcr_d_only_acts_outside_the_standard_range(hertz, moved):
    outcome = armed(product=Product.FCR_D).step(START, [], reading(START, hertz))
    (point,) = [control for control in outcome.controls if control.cause == "frequency"]
    assert point.p_mw == pytest.approx(0.1 + moved)


def test_nothing_moves_before_and_after_delivery_nor_without_a_reading():
    cems = armed()
    early = START - timedelta(minutes=1)
    assert not [c for c in cems.step(early, [], reading(early, 49.9)).controls if c.cause == "frequency"]
    blind = cems.step(START, [], reading(START, 49.9, quality=Quality.INVALID))
    assert not [c for c in blind.controls if c.cause == "frequency"]
    late = START + timedelta(hours=1)
    assert not [c for c in cems.step(late, [], reading(late, 49.9)).controls if c.cause == "frequency"]


def test_set_points_stay_within_the_battery():
    outcome = armed(plan_mw=0.9).step(START, [], reading(START, 50.1))
    assert [c.p_mw for c in outcome.controls if c.cause == "frequency"] == [1.0]


def test_a_call_between_two_readings_keeps_the_droop_and_its_own_reactive_power():
    cems = armed()
    cems.step(START, [], reading(START, 49.9))
    later = START + timedelta(seconds=1)
    call = ControlSignal(
        id="s", target="bat", start=START, stop=START + timedelta(minutes=15), p_mw=0.3, q_mvar=-0.2, cause="act"
    )
    outcome = cems.step(later, [Message(id="m9", sender="mgms_a", receiver="c", sent_at=later, body=call)], None)
    last = outcome.controls[-1]
    assert last.cause == "frequency"
    assert last.p_mw == pytest.approx(0.3 - 0.4)
    assert last.q_mvar == pytest.approx(-0.2)


def test_every_settlement_period_is_verified_against_the_reading_acted_on():
    cems, sent, power = armed(), [], 0.1
    for k in range(-1, 370):
        now = START + timedelta(seconds=10 * k)
        outcome = cems.step(now, [], reading(now, 49.95 if k % 2 else 50.05, power))
        given = [control.p_mw for control in outcome.controls if control.cause == "frequency"]
        power = given[-1] if given else 0.1
        sent += [m.body for m in outcome.messages if type(m.body).__name__ == "VerificationNotification"]
    assert [body.start for body in sent] == [START + timedelta(minutes=15 * k) for k in range(4)]
    for body in sent:
        assert len(body.requested_p_mw) == 90
        assert body.step_s == 10
        assert {round(value, 9) for value in body.baseline_p_mw} == {0.1}
        moved = [m - b for m, b in zip(body.measured_p_mw, body.baseline_p_mw, strict=True)]
        assert moved == pytest.approx(body.requested_p_mw)


def test_two_reserves_of_one_resource_do_not_count_each_others_power():
    control = FrequencyControl(effect_s=10.0)
    control.arm(reserve())
    control.arm(reserve(Product.FCR_D, id="fmp/reserve/2/bat", capacity=0.3))
    assert not control.arm(reserve(Product.CRP, id="fmp/reserve/3/bat"))
    now = START
    points = control.points(now, 49.7, {"bat": 0.0})
    assert points["bat"] == pytest.approx(-0.4 - 0.15)
    control.sample(now + timedelta(seconds=10), {"bat": -0.55})
    bodies = {body.reserve: body for body in control.verify(START + timedelta(minutes=15))}
    for key, asked in (("fmp/reserve/1/bat", -0.4), ("fmp/reserve/2/bat", -0.15)):
        body = bodies[key]
        assert body.requested_p_mw == pytest.approx((asked,))
        assert body.measured_p_mw[0] - body.baseline_p_mw[0] == pytest.approx(asked)
