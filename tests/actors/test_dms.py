"""The DMS in a small closed loop: relief, stability, blindness to the plant, harm check, market process."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import numpy as np
import pytest

from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    Bid,
    FlexibilityRequest,
    Measurements,
    Offer,
    OfferList,
    Session,
    SettlementStatement,
)
from heila_mosaik.domain.quantities import Product, Quality, Quantity
from tests.actors.dms_lab import LOCATIONS, START, Lab

EVENING = START + timedelta(hours=15)


def prepared(**settings):
    """A laboratory whose DMS holds reserves in the evening."""
    lab = Lab(**settings)
    inbox = lab.plan(START)
    for hour in (15, 16, 17):
        for name in LOCATIONS:
            wide = lab.reserve(name, hour, p_min_mw=-3.0, p_max_mw=1.0)
            inbox.append(lab.letter(EVENING, wide))
    return lab, inbox


def events(lab, event):
    return [record for record in lab.records if record.event == event]


def test_activations_hold_the_limit_and_do_not_chatter():
    lab, inbox = prepared()
    lab.run(EVENING, 120, inbox)
    assert lab.sent
    assert not lab.sent[0][1].p_mw > 0
    passed = sum(value > 95.0 for value in lab.trafo)
    bare, _ = prepared()
    bare.run(EVENING, 120, bare.plan(START))
    assert sum(value > 95.0 for value in bare.trafo) > 30
    assert passed <= 3
    per_reserve: dict[str, int] = {}
    for _, activation in lab.sent:
        per_reserve[activation.reserve] = per_reserve.get(activation.reserve, 0) + 1
    assert max(per_reserve.values()) < 30


def test_the_dms_does_not_see_the_plant():
    """Changing the hidden truth without changing telemetry changes nothing the DMS does."""
    first, inbox = prepared(seed=5)
    second, other = prepared(seed=5)
    second.plant.set_in_service("line", 3, False)
    outcomes = []
    for lab, letters in ((first, inbox), (second, other)):
        said = []
        for minute in range(30):
            now = EVENING + timedelta(minutes=minute)
            if lab is first:
                state, handed = lab.truth(now)
                said.append(lab.meter.measure(now, state, handed))
            else:
                lab.truth(now)
                said.append(outcomes[0][1][minute])
        bodies = []
        for minute, measured in enumerate(said):
            now = EVENING + timedelta(minutes=minute)
            outcome = lab.dms.step(now, letters if minute == 0 else [], measured)
            bodies.append((outcome.messages, outcome.records))
        outcomes.append((bodies, said))
    assert outcomes[0][0] == outcomes[1][0]


def test_activations_are_renewed_and_lie_inside_the_reserve():
    lab, inbox = prepared()
    lab.run(EVENING + timedelta(minutes=30), 60, inbox)
    for now, activation in lab.sent:
        assert activation.start == now < activation.stop <= now + timedelta(seconds=900)
        assert -3.0 <= activation.p_mw <= 1.0
        assert -0.3 <= activation.q_mvar <= 0.3
    by_reserve: dict[str, list[ActivationNotification]] = {}
    for _, activation in lab.sent:
        by_reserve.setdefault(activation.reserve, []).append(activation)
    held = max(by_reserve.values(), key=len)
    for before, after in pairwise(held):
        assert after.start <= before.stop or before.p_mw == before.q_mvar == 0.0


def test_a_call_starts_when_its_set_point_takes_effect():
    lab, inbox = prepared(cycle_s=300, lead_s=300.0)
    for minute in range(0, 90, 5):
        lab.run(EVENING + timedelta(minutes=30 + minute), 1, inbox if minute == 0 else None)
    assert lab.sent
    for now, activation in lab.sent:
        assert activation.start == now + timedelta(seconds=300)
    # a rising evening is met before it breaks the limit, not five minutes after
    first_call = lab.sent[0][1].start
    broken = [EVENING + timedelta(minutes=30 + 5 * k) for k, value in enumerate(lab.trafo) if value > 95.0]
    assert not broken or first_call <= broken[0]


def test_no_congestion_no_activation():
    lab, inbox = prepared()
    lab.run(START + timedelta(hours=2), 30, inbox)
    assert not lab.sent


def test_harmful_activation_is_withheld_with_reason_and_refusal():
    """Another actor needs a low voltage at its point of coupling; relief would raise it."""
    lab, inbox = prepared(pcc_v_max_pu={"south": 0.5})
    lab.run(EVENING + timedelta(minutes=20), 30, inbox)
    withheld = events(lab, "activation_withheld")
    refusals = [m for m in lab.messages if isinstance(m.body, ActivationRefusal)]
    assert withheld
    assert len(refusals) == len(withheld)
    assert refusals[0].receiver == "ams"
    assert "overvoltage" in refusals[0].body.reason
    free, letters = prepared(pcc_v_max_pu={"south": 0.5}, harm_check=False)
    free.run(EVENING + timedelta(minutes=20), 30, letters)
    assert not events(free, "activation_withheld")


def test_lost_telemetry_is_reported_and_nothing_is_sent():
    lab, inbox = prepared()
    lab.run(EVENING, 5, inbox)
    quiet = [lab.dms.step(EVENING + timedelta(minutes=5 + k), [], None) for k in range(10)]
    assert [record.event for outcome in quiet for record in outcome.records].count("telemetry_lost") == 1
    assert not any(outcome.messages for outcome in quiet)


def test_failed_estimation_is_named_once_and_recovers():
    lab, inbox = prepared()
    lab.run(EVENING, 3, inbox)
    state, handed = lab.truth(EVENING)
    measured = lab.meter.measure(EVENING + timedelta(minutes=3), state, handed)
    dead = replace(measured, qualities=(Quality.INVALID,) * len(measured.values))
    first = lab.dms.step(EVENING + timedelta(minutes=3), [], dead)
    assert [record.event for record in first.records] == ["estimation_failed"]
    again = replace(dead, at=EVENING + timedelta(minutes=4))
    assert not lab.dms.step(EVENING + timedelta(minutes=4), [], again).records
    lab.run(EVENING + timedelta(minutes=5), 1)
    assert events(lab, "estimation_recovered")


def test_dropout_is_survived():
    lab, inbox = prepared(dropout=0.2)
    lab.run(EVENING, 40, inbox)
    assert not events(lab, "estimation_failed")
    assert len(events(lab, "state_estimated")) == 40


def test_reported_tap_is_followed():
    lab, inbox = prepared()
    lab.run(EVENING, 2, inbox)
    state, handed = lab.truth(EVENING)
    now = EVENING + timedelta(minutes=2)
    measured = lab.meter.measure(now, state, handed)

    def with_tap(position, at):
        return Measurements(
            id="t", source="sau", at=at, elements=(*measured.elements, "trafo.0"),
            quantities=(*measured.quantities, Quantity.TAP), values=(*measured.values, position),
            sigmas=(*measured.sigmas, 1.0), qualities=(*measured.qualities, Quality.GOOD),
            ages_s=(*measured.ages_s, 0.0),
        )  # fmt: skip

    lab.dms.step(now, [], with_tap(0.0, now))
    later = now + timedelta(minutes=1)
    outcome = lab.dms.step(later, [], with_tap(2.0, later))
    assert "topology_changed" in [record.event for record in outcome.records]


def offer_for(request, lab, name, hour):
    return Offer(
        id=f"o/{name}/{hour}", seller="ams", location=name, product=Product.CRP2, session=request.session,
        start=START + timedelta(days=1, hours=hour), stop=START + timedelta(days=1, hours=hour + 1),
        submitted_at=START, p_min_mw=-3.0, p_max_mw=0.5, q_min_mvar=-0.5, q_max_mvar=0.5, price_eur_per_mwh=70.0,
        availability_eur_per_mw_h=4.0,
    )  # fmt: skip


def test_market_process_from_forecast_to_bid():
    lab = Lab()
    at = START + timedelta(hours=18, minutes=59)
    inbox = lab.plan(START)
    lab.run(at, 2, inbox)
    requests = [m for m in lab.messages if isinstance(m.body, FlexibilityRequest)]
    assert len(requests) == 1
    assert requests[0].receiver == "fmp"
    request = requests[0].body
    assert request.session is Session.DAY_AHEAD
    assert request.needs
    assert all(request.start <= need.start < need.stop <= request.stop for need in request.needs)
    assert all(need.excess > 0 and 0 < need.probability <= 1 for need in request.needs)
    offers = tuple(offer_for(request, lab, name, hour) for name in LOCATIONS for hour in range(13, 24))
    answer = OfferList(
        id="l", request=request.id, session=request.session, offers=offers, relief_per_eur=(1.0,) * len(offers)
    )
    now = START + timedelta(hours=19, minutes=5)
    outcome = lab.dms.step(now, [lab.letter(now, answer, "fmp")], None)
    assert not outcome.messages  # bids are due at 20:00
    planned = next(record for record in outcome.records if record.event == "purchase_planned")
    assert planned.values["cured"] > 0
    bid_at = START + timedelta(hours=20)
    bids = [m.body for m in lab.dms.step(bid_at, [], None).messages if isinstance(m.body, Bid)]
    assert len(bids) == 1
    assert bids[0].limit_eur_per_mwh == 500.0
    known = {offer.id: offer for offer in offers}
    for purchase in bids[0].purchases:
        offer = known[purchase.offer]
        assert offer.p_min_mw <= purchase.p_min_mw <= 0.0 <= purchase.p_max_mw <= offer.p_max_mw


def test_reserves_bought_before_are_not_bought_again():
    lab = Lab()
    at = START + timedelta(hours=18, minutes=59)
    inbox = lab.plan(START)
    for name in LOCATIONS:
        reserve = lab.reserve(name, 24, hours=24, p_min_mw=-9.0, q_min_mvar=-3.0, q_max_mvar=3.0)
        inbox.append(lab.letter(at, reserve))
    lab.run(at, 2, inbox)
    assert not [m for m in lab.messages if isinstance(m.body, FlexibilityRequest)]
    assert events(lab, "congestion_forecast")[0].values["covered_intervals"] > 0


def test_statements_are_booked_and_unknown_messages_recorded():
    lab = Lab()
    statement = SettlementStatement(
        id="s", reserve="r", verification="v", payer="dms", payee="ams", start=START, stop=EVENING,
        requested_mwh=-1.0, delivered_mwh=-0.9, availability_eur=5.0, activation_eur=50.0, reactive_eur=1.0,
        penalty_eur=6.0, success=True,
    )  # fmt: skip
    stray = lab.reserve("nowhere", 15)
    outcome = lab.dms.step(START, [lab.letter(START, statement), lab.letter(START, stray)], None)
    assert lab.dms.account.paid_eur == pytest.approx(50.0)
    assert [record.event for record in outcome.records if record.event == "message_ignored"]


def test_memory_stays_bounded():
    lab, inbox = prepared()
    lab.run(EVENING, 200, inbox)
    control = lab.dms.control
    assert not control.reserves
    assert not control.active
    assert not control._used_mwh
    assert not control._lower_since
    assert all(np.allclose(pair, 0.0) for pair in control.adjustments(EVENING).values())
