"""Builders and strategies shared by the market tests."""

from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from heila_mosaik.domain.information import Bid, Offer, Purchase, Session
from heila_mosaik.domain.quantities import Product

DELIVERY = datetime(2024, 1, 16, 6, 0, tzinfo=UTC)
NOW = datetime(2024, 1, 15, 16, 0, tzinfo=UTC)


def an_offer(identity="ams/offer/1", **changes):
    given = {
        "id": identity,
        "seller": "ams",
        "location": "mg1",
        "product": Product.CRP,
        "session": Session.DAY_AHEAD,
        "start": DELIVERY,
        "stop": DELIVERY + timedelta(hours=1),
        "submitted_at": NOW,
        "p_min_mw": -1.0,
        "p_max_mw": 0.0,
        "price_eur_per_mwh": 50.0,
    }
    return Offer(**(given | changes))


def a_bid(identity="dms/bid/1", purchases=(("ams/offer/1", -1.0),), **changes):
    made = tuple(
        each if isinstance(each, Purchase) else Purchase(offer=each[0], p_min_mw=each[1], p_max_mw=0.0)
        for each in purchases
    )
    given = {
        "id": identity,
        "buyer": identity.split("/")[0],
        "request": "r",
        "session": Session.DAY_AHEAD,
        "submitted_at": NOW + timedelta(hours=3),
        "purchases": made,
        "limit_eur_per_mwh": 200.0,
    }
    return Bid(**(given | changes))


@st.composite
def markets(draw, max_offers=4):
    """Offers in two energy groups and bids of two or three buyers."""
    offers = []
    for number in range(draw(st.integers(1, max_offers))):
        block = draw(st.booleans())
        group = draw(st.sampled_from(["", "a", "b"]))
        offers.append(
            an_offer(
                f"ams/offer/{number}",
                p_min_mw=-draw(st.sampled_from([0.5, 1.0, 2.0])),
                p_max_mw=draw(st.sampled_from([0.0, 1.0])),
                price_eur_per_mwh=float(draw(st.integers(0, 4)) * 20),
                product=draw(st.sampled_from([Product.CRP, Product.SRP, Product.CRP2])),
                divisible=not block,
                min_share=0.0 if block else draw(st.sampled_from([0.0, 0.5])),
                group=group,
                group_energy_mwh={"": None, "a": 1.5, "b": 3.0}[group],
            )
        )
    bids = []
    for number in range(draw(st.integers(2, 3))):
        purchases = []
        for offer in offers:
            share = draw(st.sampled_from([0.0, 0.4, 0.8, 1.0, 1.0, 1.5]))
            if share:
                purchases.append(
                    Purchase(offer=offer.id, p_min_mw=share * offer.p_min_mw, p_max_mw=share * offer.p_max_mw)
                )
        bids.append(
            a_bid(
                f"buyer{number}/bid/1",
                purchases,
                limit_eur_per_mwh=float(draw(st.integers(2, 7)) * 20),
                submitted_at=NOW + timedelta(minutes=draw(st.integers(0, 2))),
            )
        )
    return offers, bids
