"""Clearing of bids against offers: who gets which part of which offer at what price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from heila_mosaik.domain.information import Bid, Offer, Purchase, ReserveNotification
from heila_mosaik.domain.market.admission import Reason, Refusal
from heila_mosaik.domain.market.awards import TINY, Award, Candidate, ClearingRule, priced
from heila_mosaik.domain.market.welfare import best_shares
from heila_mosaik.domain.quantities import FloatArray, Product
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS
from heila_mosaik.errors import Problem, ProblemsError


@dataclass(frozen=True, slots=True, kw_only=True)
class Clearing:
    """Result: awards in merit order, and everything refused with its reason."""

    awards: tuple[Award, ...]
    refusals: tuple[Refusal, ...]


class ClearingMethod(Protocol):
    """A way to clear one session; :func:`clear` is the standard one."""

    def __call__(
        self, offers: Sequence[Offer], bids: Sequence[Bid], rule: ClearingRule, sold: Sequence[ReserveNotification] = ()
    ) -> Clearing:
        """Clear the bids of one session; see :func:`clear`."""
        ...


def require_sound(result: Clearing, offers: Sequence[Offer], sold: Sequence[ReserveNotification]) -> None:
    """Refuse a clearing that sells what nobody offered, or more than is left of an offer.

    Args:
        result: What a clearing method answered.
        offers: Admitted offers.
        sold: Reserves already sold from them.

    Raises:
        ProblemsError: With every award that is not covered.
    """
    book, sales = {offer.id: offer for offer in offers}, sales_by_offer(sold)
    taken: dict[str, list[float]] = {}
    problems: list[Problem] = []
    remedy = "an award takes from an admitted offer no more than remaining() leaves of it"
    for award in result.awards:
        offer = book.get(award.offer.id)
        left = remaining(offer, sales.get(offer.id, ())) if offer is not None else None
        if offer is None or left is None:
            what = f"awards {award.offer.id}, which is not on offer"
            problems.append(Problem(what=what, where="clearing", remedy=remedy))
            continue
        total = taken.setdefault(offer.id, [0.0] * 4)
        for direction, size in enumerate(_sizes(award.ranges)):
            total[direction] += size
        if any(size > room + 1e-6 for size, room in zip(total, _sizes(_ranges(left)), strict=True)):
            what = f"awards {total} MW, MVar of {offer.id}, of which {_sizes(_ranges(left))} is left"
            problems.append(Problem(what=what, where="clearing", remedy=remedy))
    if problems:
        raise ProblemsError("own clearing", problems)


def sales_by_offer(sold: Sequence[ReserveNotification]) -> dict[str, list[ReserveNotification]]:
    """Reserves by the offer they come from."""
    sales: dict[str, list[ReserveNotification]] = {}
    for reserve in sold:
        sales.setdefault(reserve.offer, []).append(reserve)
    return sales


def remaining(offer: Offer, sold: Sequence[ReserveNotification]) -> Offer | None:
    """What is left of an offer after earlier sales; ``None`` if nothing."""
    mine = [reserve for reserve in sold if reserve.offer == offer.id]
    if not mine:
        return offer
    if not offer.divisible:
        return None
    left = replace(
        offer,
        p_min_mw=min(0.0, offer.p_min_mw - sum(each.p_min_mw for each in mine)),
        p_max_mw=max(0.0, offer.p_max_mw - sum(each.p_max_mw for each in mine)),
        q_min_mvar=min(0.0, offer.q_min_mvar - sum(each.q_min_mvar for each in mine)),
        q_max_mvar=max(0.0, offer.q_max_mvar - sum(each.q_max_mvar for each in mine)),
    )
    return left if max(_sizes(_ranges(left))) > TINY else None


def group_energy_left(offers: Sequence[Offer], sold: Sequence[ReserveNotification]) -> dict[str, float]:
    """Energy of each group that is not yet promised. [MWh]"""
    left = {
        offer.group: offer.group_energy_mwh for offer in offers if offer.group and offer.group_energy_mwh is not None
    }
    shared: dict[tuple[str, str], float] = {}
    for reserve in sold:
        if reserve.group not in left or reserve.group_energy_mwh is None:
            continue
        if reserve.product is Product.SRP:
            left[reserve.group] -= reserve.group_energy_mwh
        else:
            key = (reserve.group, reserve.buyer)
            shared[key] = max(shared.get(key, 0.0), reserve.group_energy_mwh)
    for (group, _), energy in shared.items():
        left[group] -= energy
    return {group: max(0.0, energy) for group, energy in left.items()}


def clear(
    offers: Sequence[Offer],
    bids: Sequence[Bid],
    rule: ClearingRule,
    sold: Sequence[ReserveNotification] = (),
) -> Clearing:
    """Clear the bids of one session.

    The accepted purchases maximise welfare (buyer's limit minus offer price, times energy), then volume; ties go by
    offer price, submission time and identity, then by the buyer's limit, submission time and identity.  The result
    does not depend on the order of ``offers`` and ``bids``.  Reactive power and availability carry no limit in a bid:
    they enter by volume.

    Args:
        offers: Admitted offers.
        bids: Admitted bids of one session.
        rule: Rules.
        sold: Reserves already sold from these offers or their groups.
    """
    book = {offer.id: offer for offer in offers}
    energy_left = group_energy_left(offers, sold)
    sales = sales_by_offer(sold)
    candidates: list[Candidate] = []
    refusals: list[Refusal] = []
    for bid in sorted(bids, key=lambda each: (each.submitted_at, each.id)):
        for purchase in _merged(bid.purchases):
            offer = book.get(purchase.offer)
            left = remaining(offer, sales.get(offer.id, ())) if offer is not None else None
            refused = _screen(bid, purchase, offer, left, energy_left, rule)
            if refused is not None:
                refusals.append(refused)
            elif left is not None:
                asked = (purchase.p_min_mw, purchase.p_max_mw, purchase.q_min_mvar, purchase.q_max_mvar)
                candidates.append(Candidate(bid, left, asked, bid.submitted_at))
    candidates.sort(key=lambda each: each.key)
    shares = _choose(candidates, book, energy_left, rule)
    for candidate, share in zip(candidates, shares, strict=True):
        if share < 1.0 - TINY:
            refusals.append(_explain(candidate, share, energy_left, rule))
    accepted = [(each, float(share)) for each, share in zip(candidates, shares, strict=True) if share > 0.0]
    return Clearing(awards=priced(accepted, energy_left, rule), refusals=tuple(refusals))


def _merged(purchases: Sequence[Purchase]) -> list[Purchase]:
    """One purchase per offer: a buyer that names an offer twice in one bid asks for the sum."""
    merged: dict[str, Purchase] = {}
    for each in purchases:
        known = merged.get(each.offer)
        merged[each.offer] = (
            each
            if known is None
            else Purchase(
                offer=each.offer,
                p_min_mw=known.p_min_mw + each.p_min_mw,
                p_max_mw=known.p_max_mw + each.p_max_mw,
                q_min_mvar=known.q_min_mvar + each.q_min_mvar,
                q_max_mvar=known.q_max_mvar + each.q_max_mvar,
            )
        )
    return list(merged.values())


def _screen(
    bid: Bid,
    purchase: Purchase,
    offer: Offer | None,
    left: Offer | None,
    energy_left: Mapping[str, float],
    rule: ClearingRule,
) -> Refusal | None:
    """Reason to refuse a purchase whatever the others ask for."""

    def refuse(reason: Reason, detail: str) -> Refusal:
        return Refusal(subject=bid.id, offer=purchase.offer, reason=reason, detail=detail)

    if offer is None:
        return refuse(Reason.UNKNOWN_OFFER, f"no open offer {purchase.offer}")
    if offer.session != bid.session or left is None:
        wrong = offer.session != bid.session
        detail = f"offer is {offer.session}, bid is {bid.session}" if wrong else "offer was sold before"
        return refuse(Reason.WRONG_SESSION if wrong else Reason.SOLD_TO_ANOTHER, detail)
    asked = (purchase.p_min_mw, purchase.p_max_mw, purchase.q_min_mvar, purchase.q_max_mvar)
    price, limit = offer.price_eur_per_mwh, bid.limit_eur_per_mwh
    if max(-asked[0], asked[1]) > TINY and price > limit and offer.product not in RESERVE_PRODUCTS:
        return refuse(Reason.PRICE_ABOVE_LIMIT, f"offer costs {price:.2f}, limit is {limit:.2f} EUR/MWh")
    shape = _shape_reason(asked, offer, left)
    if shape is not None:
        return refuse(*shape)
    if offer.group in energy_left and energy_left[offer.group] <= TINY and max(-asked[0], asked[1]) > TINY:
        return refuse(Reason.GROUP_ENERGY, f"no energy left in group {offer.group} (firm: {rule.firm_energy})")
    return None


def _shape_reason(asked: tuple[float, float, float, float], offer: Offer, left: Offer) -> tuple[Reason, str] | None:
    """Reason why the asked ranges do not fit the offer by themselves."""
    sizes, available, whole = _sizes(asked), _sizes(_ranges(left)), _sizes(_ranges(offer))
    if asked[0] > 0.0 or asked[1] < 0.0 or asked[2] > 0.0 or asked[3] < 0.0 or not max(sizes) > TINY:
        return Reason.EMPTY, f"nothing asked for, or a range without 0: {asked}"
    if any(size > room + 1e-6 for size, room in zip(sizes, available, strict=True)):
        return Reason.BEYOND_RANGE, f"asked for {asked}, offered {_ranges(left)}"
    if not offer.divisible and any(size < room - 1e-6 for size, room in zip(sizes, whole, strict=True)):
        return Reason.BLOCK_NOT_WHOLE, f"block of {_ranges(offer)} must be bought whole, asked for {asked}"
    share = _share(sizes, whole)
    if share < offer.min_share - 1e-9:
        return Reason.BELOW_MIN_SHARE, f"asked for {share:.1%} of the offer, at least {offer.min_share:.1%}"
    return None


def _ranges(offer: Offer) -> tuple[float, float, float, float]:
    return (offer.p_min_mw, offer.p_max_mw, offer.q_min_mvar, offer.q_max_mvar)


def _sizes(ranges: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return (-ranges[0], ranges[1], -ranges[2], ranges[3])


def _share(sizes: Sequence[float], whole: Sequence[float]) -> float:
    """Largest part of the offer asked for in any direction. [1]"""
    return max((size / room for size, room in zip(sizes, whole, strict=True) if room > TINY), default=0.0)


def _counts_energy(product: Product, rule: ClearingRule) -> bool:
    return product is Product.SRP or rule.firm_energy


def _choose(
    candidates: Sequence[Candidate], book: Mapping[str, Offer], energy_left: Mapping[str, float], rule: ClearingRule
) -> FloatArray:
    """Accepted share of each candidate; parts that share no offer and no group are solved apart."""
    shares = np.zeros(len(candidates))
    clusters: dict[str, list[int]] = {}
    for position, each in enumerate(candidates):
        firm = each.offer.group in energy_left and _counts_energy(each.offer.product, rule)
        clusters.setdefault(f"group {each.offer.group}" if firm else f"offer {each.offer.id}", []).append(position)
    for members in clusters.values():
        chosen = [candidates[position] for position in members]
        capacity_rows: dict[tuple[str, int], tuple[float, dict[int, float]]] = {}
        for column, each in enumerate(chosen):
            for direction, size in enumerate(_sizes(each.asked)):
                room = _sizes(_ranges(each.offer))[direction]
                row = capacity_rows.setdefault((each.offer.id, direction), (room, {}))
                row[1][column] = min(size, room)
            if not each.offer.divisible:
                # Two blocks of the same offer exclude each other even where a range is zero.
                capacity_rows.setdefault((each.offer.id, 4), (1.0, {}))[1][column] = 1.0
            if each.offer.group in energy_left and _counts_energy(each.offer.product, rule):
                limit = energy_left[each.offer.group]
                capacity_rows.setdefault((each.offer.group, 5), (limit, {}))[1][column] = each.energy_mwh
        rows = np.zeros((len(capacity_rows), len(chosen)))
        for index, (_, entries) in enumerate(capacity_rows.values()):
            for column, use in entries.items():
                rows[index, column] = use
        shares[members] = best_shares(
            np.array([_welfare(each) for each in chosen]),
            np.array([sum(_sizes(each.asked)) * each.hours for each in chosen]),
            rows,
            np.array([limit for limit, _ in capacity_rows.values()]),
            np.array([_min_accept(each, book[each.offer.id]) for each in chosen]),
        )
    return shares


def _welfare(candidate: Candidate) -> float:
    if candidate.offer.product in RESERVE_PRODUCTS:
        return 0.0
    surplus = candidate.bid.limit_eur_per_mwh - candidate.offer.price_eur_per_mwh
    return max(0.0, surplus) * candidate.energy_mwh


def _min_accept(candidate: Candidate, offer: Offer) -> float:
    """Smallest share of the purchase that still is a lawful share of the offer. [1]"""
    if not offer.divisible:
        return 1.0
    return min(1.0, offer.min_share / _share(_sizes(candidate.asked), _sizes(_ranges(offer))))


def _explain(candidate: Candidate, share: float, energy_left: Mapping[str, float], rule: ClearingRule) -> Refusal:
    offer = candidate.offer
    firm = offer.group in energy_left and _counts_energy(offer.product, rule)
    reason = Reason.GROUP_ENERGY if firm else Reason.SOLD_TO_ANOTHER
    why = f"group {offer.group} holds {energy_left[offer.group]:.3f} MWh" if firm else "a better purchase took the rest"
    taken = "refused" if share <= 0.0 else f"only {share:.1%} taken"
    return Refusal(subject=candidate.bid.id, offer=offer.id, reason=reason, detail=f"{taken}: {why}")
