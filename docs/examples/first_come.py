"""A market rule: first come, first served, up to a cap on the price."""

from collections.abc import Sequence

from heila_mosaik.domain.information import Bid, Offer, Purchase, ReserveNotification
from heila_mosaik.domain.market import Award, Clearing, ClearingRule, Reason, Refusal, remaining, sales_by_offer


def clear(
    offers: Sequence[Offer],
    bids: Sequence[Bid],
    rule: ClearingRule,
    sold: Sequence[ReserveNotification] = (),
    *,
    cap_eur_per_mwh: float = 1000.0,
) -> Clearing:
    """Serve bids in the order in which they were submitted, as far as the offers last; everybody pays as offered.

    Args:
        offers: Admitted offers.
        bids: Admitted bids of one session.
        rule: The scenario's rule (``market.clearing``); this one knows no other price than the offer's.
        sold: Reserves already sold from these offers.
        cap_eur_per_mwh: Dearer offers are not sold. [EUR/MWh]
    """
    sales = sales_by_offer(sold)
    left = {offer.id: remaining(offer, sales.get(offer.id, ())) for offer in offers}
    awards, refusals = [], []
    for bid in sorted(bids, key=lambda each: (each.submitted_at, each.id)):
        for purchase in bid.purchases:
            offer = left.get(purchase.offer)
            if offer is None or offer.session != bid.session:
                refusals.append(_refusal(bid, purchase, Reason.SOLD_TO_ANOTHER, "nothing is left of it"))
            elif offer.price_eur_per_mwh > min(cap_eur_per_mwh, bid.limit_eur_per_mwh):
                price = f"{offer.price_eur_per_mwh:.2f} EUR/MWh is above cap or limit"
                refusals.append(_refusal(bid, purchase, Reason.PRICE_ABOVE_LIMIT, price))
            else:
                award = Award(
                    bid=bid.id,
                    buyer=bid.buyer,
                    offer=offer,
                    ranges=(
                        max(purchase.p_min_mw, offer.p_min_mw),
                        min(purchase.p_max_mw, offer.p_max_mw),
                        max(purchase.q_min_mvar, offer.q_min_mvar),
                        min(purchase.q_max_mvar, offer.q_max_mvar),
                    ),
                    price_eur_per_mwh=offer.price_eur_per_mwh,
                    availability_eur_per_mw_h=offer.availability_eur_per_mw_h,
                    group_energy_mwh=offer.group_energy_mwh,
                )
                awards.append(award)
                left[offer.id] = remaining(offer, [award.reserve("taken")])
    return Clearing(awards=tuple(awards), refusals=tuple(refusals))


def _refusal(bid: Bid, purchase: Purchase, reason: Reason, detail: str) -> Refusal:
    return Refusal(subject=bid.id, offer=purchase.offer, reason=reason, detail=detail)
