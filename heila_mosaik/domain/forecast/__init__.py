"""State forecast: injections ahead with their uncertainty, and the congestion they would cause."""

from heila_mosaik.domain.forecast.detection import Congestion, Detection, detect, needs_of
from heila_mosaik.domain.forecast.injections import ErrorModel, InjectionForecast, blend
from heila_mosaik.domain.forecast.knowledge import InjectionProfile, Injections, Knowledge
from heila_mosaik.domain.forecast.nowcast import Nowcast

__all__ = [
    "Congestion",
    "Detection",
    "ErrorModel",
    "InjectionForecast",
    "InjectionProfile",
    "Injections",
    "Knowledge",
    "Nowcast",
    "blend",
    "detect",
    "needs_of",
]
