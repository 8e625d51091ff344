from dataclasses import replace
from datetime import UTC, datetime, timedelta

from heila_mosaik.actors.fmp import Fmp
from heila_mosaik.domain.information import (
    CongestionKind,
    FlexibilityRequest,
    Need,
    OfferList,
    ReserveNotification,
    Session,
    SettlementStatement,
    VerificationNotification,
)
from heila_mosaik.domain.market import MarketCalendar, MarketEvent
from tests.actors.market_cycle import PostOffice
from tests.domain.market_examples import DELIVERY, NOW, a_bid, an_offer

CALENDAR = MarketCalendar()
CLEAR = CALENDAR.next_event(NOW, MarketEvent.CLEAR, Session.DAY_AHEAD)


def an_office(**options):
    return PostOffice(Fmp(calendar=CALENDAR, **options))


def a_request():
    need = Need(
        element="line.1",
        kind=CongestionKind.CURRENT,
        start=DELIVERY,
        stop=DELIVERY + timedelta(hours=1),
        excess=10.0,
        locations=("mg1",),
        effect_p=(-10.0,),
        effect_q=(0.0,),
    )
    return FlexibilityRequest(
        id="dms/request/1",
        buyer="dms",
        session=Session.DAY_AHEAD,
        start=DELIVERY,
        stop=DELIVERY + timedelta(hours=1),
        needs=(need,),
    )


def test_request_is_answered_and_bid_cleared_at_the_session():
    office = an_office()
    office.post(NOW, "ams", "fmp", an_offer())
    office.post(NOW + timedelta(hours=1), "dms", "fmp", a_request())
    (answer,) = office.bodies("dms", OfferList)
    assert [offer.id for offer in answer.offers] == ["ams/offer/1"]
    office.post(NOW + timedelta(hours=2), "dms", "fmp", a_bid())
    assert office.bodies("dms", ReserveNotification) == []
    office.step(CLEAR, "fmp")
    (bought,), (sold,) = office.bodies("dms", ReserveNotification), office.bodies("ams", ReserveNotification)
    assert bought == sold
    assert (bought.id, bought.buyer, bought.seller, bought.p_min_mw) == ("fmp/reserve/1", "dms", "ams", -1.0)
    office.step(CLEAR + timedelta(hours=1), "fmp")
    assert len(office.bodies("dms", ReserveNotification)) == 1


def test_clearing_that_falls_between_two_steps_is_not_missed_and_takes_no_later_bid():
    office = an_office()
    office.post(NOW, "ams", "fmp", an_offer())
    office.post(NOW + timedelta(hours=2), "dms", "fmp", a_bid())
    office.post(CLEAR + timedelta(minutes=1), "tso", "fmp", a_bid("tso/bid/1", limit_eur_per_mwh=900.0))
    assert [each.buyer for each in office.bodies("ams", ReserveNotification)] == ["dms"]
    assert [record.values["reason"] for record in office.events("bid_refused")] == ["after_gate"]


def test_clear_at_once():
    office = an_office(clear_at_once=True)
    office.post(NOW, "ams", "fmp", an_offer())
    office.post(NOW + timedelta(hours=2), "dms", "fmp", a_bid())
    assert len(office.bodies("dms", ReserveNotification)) == 1
    office.post(NOW + timedelta(hours=2), "tso", "fmp", a_bid("tso/bid/1"))
    assert office.events("purchase_refused")[0].values["reason"] == "sold_to_another"


def test_late_offers_and_used_identities_are_refused_with_reason():
    office = an_office()
    gate = CALENDAR.gate(Session.DAY_AHEAD, DELIVERY)
    office.post(NOW, "ams", "fmp", an_offer())
    office.post(NOW, "ams", "fmp", an_offer())
    office.post(gate + timedelta(seconds=1), "ams", "fmp", an_offer("ams/offer/2"))
    assert [record.values["reason"] for record in office.events("offer_refused")] == ["bad_offer", "after_gate"]


def test_newer_submission_replaces_older_open_offers_but_not_those_of_its_own_batch():
    office = an_office()
    for identity, later in (("a", 0), ("b", 0), ("c", 5)):
        office.post(NOW, "ams", "fmp", an_offer(identity, submitted_at=NOW + timedelta(minutes=later)))
    office.post(NOW, "dms", "fmp", a_request())
    assert [offer.id for offer in office.bodies("dms", OfferList)[0].offers] == ["c"]
    office = an_office()
    for identity in ("a", "b"):
        office.post(NOW, "ams", "fmp", an_offer(identity))
    office.post(NOW, "dms", "fmp", a_request())
    assert [offer.id for offer in office.bodies("dms", OfferList)[0].offers] == ["a", "b"]


def a_verification(reserve, identity="v1"):
    return VerificationNotification(
        id=identity,
        reserve=reserve,
        location="mg1",
        start=DELIVERY,
        stop=DELIVERY + timedelta(hours=1),
        step_s=3600,
        baseline_method="operation_plan",
        baseline_p_mw=(2.0,),
        measured_p_mw=(1.0,),
        requested_p_mw=(-1.0,),
        baseline_q_mvar=(0.0,),
        measured_q_mvar=(0.0,),
        requested_q_mvar=(0.0,),
    )


def test_verified_delivery_is_settled_once_and_balances():
    office = an_office(clear_at_once=True)
    office.post(NOW, "ams", "fmp", an_offer(availability_eur_per_mw_h=2.0))
    office.post(NOW, "dms", "fmp", a_bid())
    done = DELIVERY + timedelta(hours=1)
    for identity in ("v1", "v2"):
        office.post(done, "ams", "fmp", a_verification("fmp/reserve/1", identity))
    office.post(done, "ams", "fmp", a_verification("fmp/reserve/9", "v3"))
    (paid,), (earned,) = office.bodies("dms", SettlementStatement), office.bodies("ams", SettlementStatement)
    assert paid == earned
    assert office.actors["fmp"].payments_eur == {"dms": -52.0, "ams": 52.0}
    assert len(office.events("verification_refused")) == 2


def test_memory_stays_bounded_over_many_days():
    office = an_office(clear_at_once=True)
    fmp = office.actors["fmp"]
    for day in range(40):
        shift = timedelta(days=day)
        offer = an_offer(
            f"o{day}", start=DELIVERY + shift, stop=DELIVERY + shift + timedelta(hours=1), submitted_at=NOW + shift
        )
        office.post(NOW + shift, "ams", "fmp", offer)
        bid = replace(a_bid(f"dms/bid/{day}", [(offer.id, -1.0)]), submitted_at=NOW + shift)
        office.post(NOW + shift, "dms", "fmp", bid)
    assert len(office.bodies("dms", ReserveNotification)) == 40
    assert len(fmp._offers) <= 2
    assert len(fmp._sold) <= 4


def test_wakes_at_the_next_clearing():
    outcome = Fmp(calendar=MarketCalendar(intraday=False)).step(datetime(2024, 1, 15, tzinfo=UTC), (), None)
    assert outcome.wake_at == CLEAR
