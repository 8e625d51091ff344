"""Congestion management: least-cost use of flexibility under voltage band and thermal limits."""

from heila_mosaik.domain.congestion.harm import Harm, HarmCheck, check_harm
from heila_mosaik.domain.congestion.limits import Limits, Violation, violations
from heila_mosaik.domain.congestion.purchase import PurchaseInterval, PurchasePlan, plan_purchase
from heila_mosaik.domain.congestion.redispatch import Action, Redispatch, RedispatchSettings, optimise

__all__ = [
    "Action",
    "Harm",
    "HarmCheck",
    "Limits",
    "PurchaseInterval",
    "PurchasePlan",
    "Redispatch",
    "RedispatchSettings",
    "Violation",
    "check_harm",
    "optimise",
    "plan_purchase",
    "violations",
]
