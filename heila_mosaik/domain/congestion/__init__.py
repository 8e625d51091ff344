"""Congestion management: least-cost use of flexibility under voltage band and thermal limits."""

from heila_mosaik.domain.congestion.cases import Action, Contingency, RedispatchSettings, outages
from heila_mosaik.domain.congestion.harm import Harm, HarmCheck, check_harm
from heila_mosaik.domain.congestion.limits import Limits, Violation, violations
from heila_mosaik.domain.congestion.purchase import PurchaseInterval, PurchasePlan, plan_purchase
from heila_mosaik.domain.congestion.redispatch import Redispatch, optimise

__all__ = [
    "Action",
    "Contingency",
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
    "outages",
    "plan_purchase",
    "violations",
]
