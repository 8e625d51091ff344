"""Power flow optimisation: lower the peak and the variation of the exchange at the substation over the day."""

from heila_mosaik.domain.powerflowopt.exchange import Exchange, effects, exchange_of
from heila_mosaik.domain.powerflowopt.levelling import Billing, Levelling, LevelSettings, Lot, level
from heila_mosaik.domain.powerflowopt.metering import Meter
from heila_mosaik.domain.powerflowopt.planning import PeakPlan, plan_level
from heila_mosaik.domain.powerflowopt.sharing import share_out

__all__ = [
    "Billing",
    "Exchange",
    "LevelSettings",
    "Levelling",
    "Lot",
    "Meter",
    "PeakPlan",
    "effects",
    "exchange_of",
    "level",
    "plan_level",
    "share_out",
]
