from datetime import timedelta

import pytest

from heila_mosaik.actors.ams import Ams
from heila_mosaik.actors.fmp import Fmp
from heila_mosaik.domain.bidding import BiddingPolicy, Variant
from heila_mosaik.domain.information import (
    ActivationNotification,
    ActivationRefusal,
    Offer,
    OperationPlan,
    ReserveNotification,
    Session,
    SettlementStatement,
    VerificationNotification,
)
from heila_mosaik.domain.market import MarketCalendar, MarketEvent
from heila_mosaik.domain.quantities import Product
from tests.actors.market_cycle import PostOffice
from tests.actors.test_fmp import a_verification
from tests.domain.market_examples import DELIVERY
from tests.domain.test_bidding import NOW, START, a_forecast, a_price_forecast

CALENDAR = MarketCalendar(intraday=False)
OFFERS = CALENDAR.next_event(NOW - timedelta(hours=1), MarketEvent.OFFERS, Session.DAY_AHEAD)
BEFORE = OFFERS - timedelta(minutes=30)

RESERVE = ReserveNotification(
    id="fmp/reserve/1",
    offer="ams/offer/1",
    buyer="dms",
    seller="ams",
    location="mg1",
    product=Product.CRP,
    start=DELIVERY,
    stop=DELIVERY + timedelta(hours=1),
    p_min_mw=-1.0,
    p_max_mw=0.0,
    price_eur_per_mwh=50.0,
)


def an_activation(identity="dms/activation/1", **changes):
    given = {
        "id": identity,
        "reserve": RESERVE.id,
        "location": "mg1",
        "start": DELIVERY,
        "stop": RESERVE.stop,
        "p_mw": -0.5,
        "q_mvar": 0.0,
    }
    return ActivationNotification(**(given | changes))


def an_office(policy=None):
    return PostOffice(Ams(calendar=CALENDAR, policy=policy))


def test_offers_go_out_before_the_gate_and_are_admitted():
    office = PostOffice(Ams(calendar=CALENDAR), Fmp(calendar=CALENDAR))
    office.post(BEFORE, "spp", "ams", a_price_forecast())
    office.post(BEFORE, "mgms_mg1", "ams", a_forecast())
    office.step(OFFERS, "ams")
    offers = office.bodies("fmp", Offer)
    assert len(offers) == 12
    assert {offer.session for offer in offers} == {Session.DAY_AHEAD}
    assert all(offer.submitted_at == OFFERS for offer in offers)
    assert office.events("offer_refused") == []
    assert office.events("offers_sent")[0].values["lowering_mwh"] == pytest.approx(3.8)


def test_newest_forecast_counts():
    office = an_office()
    office.post(BEFORE, "mgms_mg1", "ams", a_forecast())
    office.post(
        BEFORE, "mgms_mg1", "ams", a_forecast(id="new", issued_at=NOW + timedelta(minutes=1), energy_up_mwh=0.0)
    )
    office.step(OFFERS, "ams")
    assert not [offer for offer in office.bodies("fmp", Offer) if offer.p_min_mw]


def test_microgrid_prices_variant_asks_for_prices():
    office = an_office(BiddingPolicy(variant=Variant.MGMS_PRICES, fee_eur_per_mwh=5.0))
    office.post(BEFORE, "mgms_mg1", "ams", a_forecast())
    priced = a_forecast(id="p", subject="mg2", price_up_eur_per_mwh=(70.0,) * 16, price_down_eur_per_mwh=(30.0,) * 16)
    office.post(BEFORE, "mgms_mg2", "ams", priced)
    office.step(OFFERS, "ams")
    offers = office.bodies("fmp", Offer)
    assert {offer.location for offer in offers} == {"mg2"}
    assert {offer.price_eur_per_mwh for offer in offers if offer.p_min_mw} == {75.0}
    assert len(office.events("offer_withheld")) == 1


def test_reserve_and_lawful_activation_reach_the_microgrid():
    office = an_office()
    office.post(START, "fmp", "ams", RESERVE)
    office.post(DELIVERY, "dms", "ams", an_activation())
    assert office.bodies("mgms_mg1", ReserveNotification) == [RESERVE]
    assert office.bodies("mgms_mg1", ActivationNotification) == [an_activation()]


@pytest.mark.parametrize(
    ("activation", "at", "words"),
    [
        (an_activation(reserve="fmp/reserve/9"), DELIVERY, "not known"),
        (an_activation(p_mw=-1.2), DELIVERY, "P -1.2"),
        (an_activation(p_mw=0.2), DELIVERY, "P 0.2"),
        (an_activation(q_mvar=0.2), DELIVERY, "Q 0.2"),
        (an_activation(p_mw=float("nan")), DELIVERY, "P nan"),
        (an_activation(), RESERVE.stop, "ended"),
        (an_activation(start=RESERVE.stop, stop=RESERVE.stop + timedelta(hours=1)), DELIVERY, "outside delivery"),
        (an_activation(location="mg2"), DELIVERY, "mg1"),
    ],
)
def test_unlawful_activation_goes_back_with_its_reason(activation, at, words):
    office = an_office()
    office.post(START, "fmp", "ams", RESERVE)
    office.post(at, "dms", "ams", activation)
    assert office.bodies("mgms_mg1", ActivationNotification) == []
    (refusal,) = office.bodies("dms", ActivationRefusal)
    assert words in refusal.reason
    assert refusal.refused_by == "ams"


def test_duplicates_and_strangers_are_refused():
    office = an_office()
    office.post(START, "fmp", "ams", RESERVE)
    office.post(DELIVERY, "dms", "ams", an_activation())
    office.post(DELIVERY, "dms", "ams", an_activation())
    office.post(DELIVERY, "tso", "ams", an_activation("tso/activation/1"))
    assert len(office.bodies("mgms_mg1", ActivationNotification)) == 1
    assert "twice" in office.bodies("dms", ActivationRefusal)[0].reason
    assert "did not buy" in office.bodies("tso", ActivationRefusal)[0].reason


def test_reports_pass_on_to_buyer_and_market_and_accounts_are_kept():
    office = an_office()
    office.post(START, "fmp", "ams", RESERVE)
    plan = OperationPlan(id="mgms_mg1/plan/1", subject="mg1", issued_at=NOW, profile=a_forecast().profile)
    office.post(START, "mgms_mg1", "ams", plan)
    office.post(RESERVE.stop, "mgms_mg1", "ams", a_verification(RESERVE.id))
    assert office.bodies("dms", OperationPlan) == [plan]
    assert len(office.bodies("dms", VerificationNotification)) == 1
    assert len(office.bodies("fmp", VerificationNotification)) == 1
    statement = SettlementStatement(
        id="s",
        reserve=RESERVE.id,
        verification="v1",
        payer="dms",
        payee="ams",
        start=DELIVERY,
        stop=RESERVE.stop,
        requested_mwh=-1.0,
        delivered_mwh=-1.0,
        availability_eur=2.0,
        activation_eur=50.0,
        reactive_eur=0.0,
        penalty_eur=1.0,
        success=True,
    )
    office.post(RESERVE.stop, "fmp", "ams", statement)
    assert office.actors["ams"].account_eur == {"mg1": 51.0}


def test_memory_is_pruned():
    office = an_office()
    ams = office.actors["ams"]
    office.post(BEFORE, "mgms_mg1", "ams", a_forecast())
    office.post(START, "fmp", "ams", RESERVE)
    office.post(DELIVERY, "dms", "ams", an_activation())
    office.step(DELIVERY + timedelta(days=5), "ams")
    assert (ams._forecasts, ams._reserves, ams._activations) == ({}, {}, {})
