"""Network restoration: isolate a fault, supply the rest over ties within limits, let microgrids carry islands."""

from heila_mosaik.domain.restoration.islands import IslandPlan, IslandSource, check_island, plan_island
from heila_mosaik.domain.restoration.pickup import Demand, pick_up
from heila_mosaik.domain.restoration.plan import Plan, Question, Unserved, plan_restoration, way_back

__all__ = [
    "Demand",
    "IslandPlan",
    "IslandSource",
    "Plan",
    "Question",
    "Unserved",
    "check_island",
    "pick_up",
    "plan_island",
    "plan_restoration",
    "way_back",
]
