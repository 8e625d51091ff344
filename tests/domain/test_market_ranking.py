from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.information import CongestionKind, FlexibilityRequest, Need, Session
from heila_mosaik.domain.market import rank
from heila_mosaik.domain.quantities import Product
from tests.domain.market_examples import DELIVERY, an_offer


def _need(**changes):
    given = {
        "element": "line.1",
        "kind": CongestionKind.CURRENT,
        "start": DELIVERY,
        "stop": DELIVERY + timedelta(hours=1),
        "excess": 10.0,
        "locations": ("mg1", "mg2"),
        "effect_p": (-10.0, -5.0),
        "effect_q": (-1.0, 0.0),
    }
    return Need(**(given | changes))


def _request(*needs, session=Session.DAY_AHEAD):
    return FlexibilityRequest(
        id="dms/request/1",
        buyer="dms",
        session=session,
        start=DELIVERY,
        stop=DELIVERY + timedelta(hours=4),
        needs=needs,
    )


def test_relief_per_euro_by_hand():
    # 1 MW lowered relieves 10 % of 10 % excess: whole need, for 1 MWh at 50 EUR.
    _, relief = rank([an_offer()], _request(_need()))
    assert relief == (pytest.approx(1.0 / 50.0),)
    # Half of the need's time is covered by the delivery.
    _, half = rank([an_offer()], _request(_need(stop=DELIVERY + timedelta(hours=2), probability=0.5)))
    assert half == (pytest.approx(0.25 / 50.0),)


def test_effect_outweighs_price_and_wrong_direction_is_left_out():
    strong, weak = an_offer("a"), an_offer("b", location="mg2", price_eur_per_mwh=40.0)
    wrong = an_offer("c", p_min_mw=0.0, p_max_mw=1.0, price_eur_per_mwh=1.0)
    elsewhere = an_offer("d", location="mg9")
    ordered, _ = rank([weak, wrong, elsewhere, strong], _request(_need()))
    assert [offer.id for offer in ordered] == ["a", "b"]


def test_an_offer_that_worsens_another_need_more_is_left_out():
    harmed = _need(element="bus.3", kind=CongestionKind.OVERVOLTAGE, excess=0.01, effect_p=(0.02, 0.0), effect_q=(0, 0))
    assert rank([an_offer()], _request(_need(), harmed)) == ((), ())


def test_reactive_offers_rank_by_reactive_effect():
    offer = an_offer(p_min_mw=0.0, q_min_mvar=-2.0, q_max_mvar=2.0, reactive_eur_per_mvarh=1.0)
    _, relief = rank([offer], _request(_need()))
    assert relief == (pytest.approx(0.2 / 2.0),)


def test_equal_offers_rank_by_price_then_time_then_identity():
    twin = [an_offer("b"), an_offer("a"), an_offer("c", submitted_at=DELIVERY - timedelta(days=2))]
    ordered, _ = rank(twin, _request(_need()))
    assert [offer.id for offer in ordered] == ["c", "a", "b"]


def test_a_request_without_needs_lists_frequency_reserves_only():
    fcr = [an_offer(f"f{k}", product=Product.FCR_N, availability_eur_per_mw_h=20.0 - k) for k in range(3)]
    ordered, _ = rank([an_offer(), *fcr], _request())
    assert [offer.id for offer in ordered] == ["f2", "f1", "f0"]
    assert rank(fcr, _request(_need())) == ((), ())


@given(st.permutations([an_offer(f"o{k}", price_eur_per_mwh=float(k % 3)) for k in range(5)]))
def test_ranking_does_not_depend_on_order(offers):
    ordered, relief = rank(offers, _request(_need()))
    assert [offer.id for offer in ordered] == ["o0", "o3", "o1", "o4", "o2"]
    assert list(relief) == sorted(relief, reverse=True)
