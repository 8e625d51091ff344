"""Volt/VAR optimisation: transformer taps, capacitor banks and inverter Q for losses, voltage profile and wear."""

from heila_mosaik.domain.voltvar.characteristic import QV_DEFAULT, Characteristic, Inverter, Response, respond
from heila_mosaik.domain.voltvar.day import DayPlan, plan_day
from heila_mosaik.domain.voltvar.devices import Device, place, present
from heila_mosaik.domain.voltvar.objective import Assessment, Weights, assess
from heila_mosaik.domain.voltvar.reactive import ReactivePlan, optimise_reactive
from heila_mosaik.domain.voltvar.search import Snapshot, search

__all__ = [
    "QV_DEFAULT",
    "Assessment",
    "Characteristic",
    "DayPlan",
    "Device",
    "Inverter",
    "ReactivePlan",
    "Response",
    "Snapshot",
    "Weights",
    "assess",
    "optimise_reactive",
    "place",
    "plan_day",
    "present",
    "respond",
    "search",
]
