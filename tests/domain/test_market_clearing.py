import itertools
from collections import defaultdict
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.information import Purchase, Session
from heila_mosaik.domain.market import ClearingRule, MarketCalendar, Pricing, Reason, check_bid, check_offer, clear
from heila_mosaik.domain.quantities import Product
from tests.domain.market_examples import DELIVERY, NOW, a_bid, an_offer, markets

RULES = [ClearingRule(pricing=pricing, firm_energy=firm) for pricing in Pricing for firm in (False, True)]


def _energy(ranges):
    return max(-ranges[0], ranges[1])


def _welfare(awards, bids):
    limits = {bid.id: bid.limit_eur_per_mwh for bid in bids}
    return sum((limits[each.bid] - each.offer.price_eur_per_mwh) * _energy(each.ranges) for each in awards)


@settings(max_examples=120, deadline=None)
@given(markets(), st.sampled_from(RULES))
def test_nothing_is_sold_twice_or_beyond_its_range(market, rule):
    offers, bids = market
    result = clear(offers, bids, rule)
    book = {offer.id: offer for offer in offers}
    sold = defaultdict(list)
    for award in result.awards:
        sold[award.offer.id].append(award)
    for identity, awards in sold.items():
        offer = book[identity]
        assert sum(each.ranges[0] for each in awards) >= offer.p_min_mw - 1e-6
        assert sum(each.ranges[1] for each in awards) <= offer.p_max_mw + 1e-6
        if not offer.divisible:
            assert len(awards) == 1
            assert awards[0].ranges[0] == pytest.approx(offer.p_min_mw)
        for award in awards:
            assert award.ranges[0] / offer.p_min_mw >= offer.min_share - 1e-6


@settings(max_examples=120, deadline=None)
@given(markets(), st.sampled_from(RULES))
def test_group_energy_is_never_promised_twice(market, rule):
    offers, bids = market
    scheduled, called = defaultdict(float), defaultdict(float)
    for award in clear(offers, bids, rule).awards:
        group = award.offer.group
        if not group:
            continue
        if award.offer.product is Product.SRP:
            scheduled[group] += award.group_energy_mwh
            assert award.group_energy_mwh == pytest.approx(_energy(award.ranges))
        else:
            called[group, award.buyer] = max(called[group, award.buyer], award.group_energy_mwh)
    for group, limit in (("a", 1.5), ("b", 3.0)):
        assert scheduled[group] + sum(v for (name, _), v in called.items() if name == group) <= limit + 1e-6


@settings(max_examples=60, deadline=None)
@given(markets(), st.sampled_from(RULES), st.randoms(use_true_random=False))
def test_order_of_arrival_does_not_matter(market, rule, random):
    offers, bids = market
    expected = clear(offers, bids, rule)
    shuffled_offers, shuffled_bids = list(offers), list(bids)
    random.shuffle(shuffled_offers)
    random.shuffle(shuffled_bids)
    again = clear(shuffled_offers, shuffled_bids, rule)
    assert again.awards == expected.awards
    assert again.refusals == expected.refusals


@settings(max_examples=100, deadline=None)
@given(markets(), st.sampled_from(RULES))
def test_no_price_above_limit_and_none_below_the_offer(market, rule):
    offers, bids = market
    limits = {bid.id: bid.limit_eur_per_mwh for bid in bids}
    for award in clear(offers, bids, rule).awards:
        assert award.offer.price_eur_per_mwh <= award.price_eur_per_mwh + 1e-9
        assert award.price_eur_per_mwh <= limits[award.bid] + 1e-9
        if rule.pricing is Pricing.PAY_AS_BID:
            assert award.price_eur_per_mwh == award.offer.price_eur_per_mwh


@settings(max_examples=60, deadline=None)
@given(markets())
def test_pay_as_clear_price_is_the_dearest_accepted_offer_of_the_bid(market):
    offers, bids = market
    awards = clear(offers, bids, ClearingRule(pricing=Pricing.PAY_AS_CLEAR)).awards
    pools = defaultdict(list)
    for award in awards:
        pools[award.bid, award.offer.product].append(award)
    for pool in pools.values():
        assert {each.price_eur_per_mwh for each in pool} == {max(each.offer.price_eur_per_mwh for each in pool)}


@settings(max_examples=100, deadline=None)
@given(markets())
def test_every_purchase_is_served_or_refused_with_a_reason(market):
    offers, bids = market
    result = clear(offers, bids, ClearingRule(firm_energy=True))
    answered = {(each.bid, each.offer.id) for each in result.awards}
    answered |= {(each.subject, each.offer) for each in result.refusals}
    assert answered == {(bid.id, purchase.offer) for bid in bids for purchase in bid.purchases}
    assert all(each.detail for each in result.refusals)


@settings(max_examples=80, deadline=None)
@given(markets(max_offers=2))
def test_welfare_is_not_beaten_by_any_brute_force_allocation(market):
    """Enumerate shares on a grid, apply the rules by plain arithmetic, compare."""
    offers, bids = market
    rule = ClearingRule(firm_energy=True)
    reached = _welfare(clear(offers, bids, rule).awards, bids)
    book = {offer.id: offer for offer in offers}
    wanted = [(bid, purchase) for bid in bids for purchase in bid.purchases]
    best = 0.0
    for shares in itertools.product((0.0, 0.25, 0.5, 0.8, 1.0), repeat=len(wanted)):
        taken = [(bid, purchase, share) for (bid, purchase), share in zip(wanted, shares, strict=True) if share]
        if not _feasible(taken, book):
            continue
        worth = sum(
            share * max(-p.p_min_mw, p.p_max_mw) * (bid.limit_eur_per_mwh - book[p.offer].price_eur_per_mwh)
            for bid, p, share in taken
        )
        best = max(best, worth)
    assert reached >= best - 1e-4


def _feasible(taken, book):
    low, high, energy, count = defaultdict(float), defaultdict(float), defaultdict(float), defaultdict(int)
    for bid, purchase, share in taken:
        offer = book[purchase.offer]
        part = share * purchase.p_min_mw / offer.p_min_mw
        if bid.limit_eur_per_mwh < offer.price_eur_per_mwh or purchase.p_min_mw < offer.p_min_mw - 1e-9:
            return False
        if part < offer.min_share - 1e-9 or (not offer.divisible and part != 1.0):
            return False
        low[offer.id] += part
        high[offer.id] += share * purchase.p_max_mw
        count[offer.id] += 1
        if offer.group:
            energy[offer.group] += share * max(-purchase.p_min_mw, purchase.p_max_mw)
    return all(
        low[key] <= 1.0 + 1e-9 and high[key] <= book[key].p_max_mw + 1e-9 and (book[key].divisible or count[key] == 1)
        for key in count
    ) and all(energy[group] <= {"a": 1.5, "b": 3.0}[group] + 1e-9 for group in energy)


@pytest.mark.parametrize(
    ("offer", "bid", "reason"),
    [
        (an_offer(), a_bid(purchases=[("ams/offer/9", -1.0)]), Reason.UNKNOWN_OFFER),
        (an_offer(), a_bid(limit_eur_per_mwh=49.0), Reason.PRICE_ABOVE_LIMIT),
        (an_offer(divisible=False), a_bid(purchases=[("ams/offer/1", -0.5)]), Reason.BLOCK_NOT_WHOLE),
        (an_offer(min_share=0.6), a_bid(purchases=[("ams/offer/1", -0.5)]), Reason.BELOW_MIN_SHARE),
        (an_offer(), a_bid(purchases=[("ams/offer/1", -1.5)]), Reason.BEYOND_RANGE),
        (an_offer(), a_bid(purchases=[("ams/offer/1", 0.0)]), Reason.EMPTY),
        (an_offer(), a_bid(session=Session.INTRADAY), Reason.WRONG_SESSION),
        (an_offer(product=Product.SRP, group="g", group_energy_mwh=0.0), a_bid(), Reason.GROUP_ENERGY),
    ],
)
def test_reasons(offer, bid, reason):
    result = clear([offer], [bid], ClearingRule())
    assert not result.awards
    assert [each.reason for each in result.refusals] == [reason]


def test_an_offer_sold_before_is_not_sold_again():
    first = clear([an_offer(divisible=False)], [a_bid()], ClearingRule())
    reserve = first.awards[0].reserve("fmp/reserve/1")
    again = clear([an_offer(divisible=False)], [a_bid("tso/bid/1")], ClearingRule(), [reserve])
    assert [each.reason for each in again.refusals] == [Reason.SOLD_TO_ANOTHER]
    half = clear([an_offer()], [a_bid(purchases=[("ams/offer/1", -0.4)])], ClearingRule()).awards[0].reserve("r")
    rest = clear([an_offer()], [a_bid("tso/bid/1", [("ams/offer/1", -0.6)])], ClearingRule(), [half])
    assert rest.awards[0].ranges[0] == pytest.approx(-0.6)


def test_the_buyer_with_the_higher_limit_wins_then_the_earlier_then_the_smaller_identity():
    offer = an_offer()
    rich, poor = a_bid("tso/bid/1", limit_eur_per_mwh=90.0), a_bid("dms/bid/1", limit_eur_per_mwh=80.0)
    assert [each.buyer for each in clear([offer], [poor, rich], ClearingRule()).awards] == ["tso"]
    late = a_bid("dms/bid/1", submitted_at=NOW + timedelta(hours=4))
    assert [each.buyer for each in clear([offer], [late, a_bid("tso/bid/1")], ClearingRule()).awards] == ["tso"]
    assert [each.buyer for each in clear([offer], [a_bid("tso/bid/1"), a_bid()], ClearingRule()).awards] == ["dms"]


def test_two_conditional_reserves_of_one_buyer_share_the_energy_of_their_group():
    offers = [
        an_offer(
            f"ams/offer/{k}",
            group="g",
            group_energy_mwh=1.2,
            start=DELIVERY + timedelta(hours=k),
            stop=DELIVERY + timedelta(hours=k + 1),
        )
        for k in range(2)
    ]
    bid = a_bid(purchases=[("ams/offer/0", -1.0), ("ams/offer/1", -1.0)])
    loose = clear(offers, [bid], ClearingRule())
    assert [each.group_energy_mwh for each in loose.awards] == [pytest.approx(1.2)] * 2
    firm = clear(offers, [bid], ClearingRule(firm_energy=True))
    assert sum(_energy(each.ranges) for each in firm.awards) == pytest.approx(1.2)
    assert [each.reason for each in firm.refusals] == [Reason.GROUP_ENERGY]


def test_reactive_only_purchase_is_cleared():
    offer = an_offer(p_min_mw=0.0, q_min_mvar=-0.3, q_max_mvar=0.3, price_eur_per_mwh=0.0, reactive_eur_per_mvarh=1.0)
    purchase = Purchase(offer=offer.id, p_min_mw=0.0, p_max_mw=0.0, q_max_mvar=0.2)
    assert clear([offer], [a_bid(purchases=[purchase])], ClearingRule()).awards[0].ranges == (0.0, 0.0, 0.0, 0.2)


def test_fcr_gets_the_marginal_availability_price_of_the_hour():
    offers = [
        an_offer(
            f"ams/offer/{k}",
            product=Product.FCR_N,
            p_max_mw=1.0,
            price_eur_per_mwh=0.0,
            availability_eur_per_mw_h=10.0 + k,
        )
        for k in range(3)
    ]
    taken = [Purchase(offer=f"ams/offer/{k}", p_min_mw=-1.0, p_max_mw=1.0) for k in range(2)]
    awards = clear(offers, [a_bid("tso/bid/1", taken)], ClearingRule()).awards
    assert [each.availability_eur_per_mw_h for each in awards] == [11.0, 11.0]


def test_gates_and_contradictory_offers():
    calendar = MarketCalendar()
    gate = calendar.gate(Session.DAY_AHEAD, DELIVERY)
    assert check_offer(an_offer(), calendar, gate) is None
    late = check_offer(an_offer(), calendar, gate + timedelta(seconds=1))
    assert late is not None
    assert late.reason is Reason.AFTER_GATE
    for offer, reason in (
        (an_offer(p_min_mw=0.0), Reason.BAD_OFFER),
        (an_offer(p_min_mw=float("nan")), Reason.BAD_OFFER),
        (an_offer(min_share=2.0), Reason.BAD_OFFER),
        (an_offer(stop=DELIVERY + timedelta(minutes=30)), Reason.DELIVERY_LENGTH),
        (an_offer(stop=DELIVERY + timedelta(hours=2)), Reason.DELIVERY_LENGTH),
    ):
        refusal = check_offer(offer, calendar, NOW)
        assert refusal is not None
        assert refusal.reason is reason
    assert check_offer(an_offer(stop=DELIVERY + timedelta(hours=2), divisible=False), calendar, NOW) is None
    closed = calendar.bid_gate(Session.DAY_AHEAD, DELIVERY)
    assert check_bid(a_bid(), calendar, closed, DELIVERY) is None
    assert check_bid(a_bid(), calendar, closed + timedelta(seconds=1), DELIVERY).reason is Reason.AFTER_GATE
