"""Which messages of a run belong to the DSO's congestion market and which to the TSO's reserve market."""

from __future__ import annotations

from typing import Any

from heila_mosaik.domain.reserves import RESERVE_PRODUCTS
from heila_mosaik.results.folder import RunFolder

_PRODUCTS = frozenset(map(str, RESERVE_PRODUCTS))


def is_reserve(body: dict[str, Any]) -> bool:
    """Whether an offer or reserve notification is of a frequency reserve."""
    return body.get("product") in _PRODUCTS


def frequency_reserves(run: RunFolder) -> list[dict[str, Any]]:
    """Frequency reserves bought, once each; the parts handed to single resources are left out."""
    bodies = [body for body in run.bodies("ReserveNotification") if is_reserve(body)]
    known = {body["id"] for body in bodies}
    return [body for body in bodies if body["id"].rpartition("/")[0] not in known]


def congestion_bodies(run: RunFolder, kind: str) -> list[dict[str, Any]]:
    """Bodies of one kind that belong to the congestion market."""
    bodies = run.bodies(kind)
    if kind == "ReserveNotification":
        return [body for body in bodies if not is_reserve(body)]
    if kind == "FlexibilityRequest":
        return [body for body in bodies if body["needs"]]
    if kind == "OfferList":
        return [body for body in bodies if not any(is_reserve(offer) for offer in body["offers"])]
    foreign = {body["id"] for body in run.bodies("ReserveNotification") if is_reserve(body)}
    if kind == "Bid":
        wanted = {body["id"] for body in run.bodies("FlexibilityRequest") if body["needs"]}
        return [body for body in bodies if body["request"] in wanted]
    return [body for body in bodies if body["reserve"] not in foreign]
