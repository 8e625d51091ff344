"""Flexibility of resources and microgrids: PQ envelopes with energy that can really be delivered.

An :class:`Envelope` promises: *any* call that stays within the power range of every interval and, in all, within
``energy_up_mwh`` (consumption lowered) and ``energy_down_mwh`` (consumption raised) can be followed, in any order.

* Storage-like resources (battery, heat pump) are linear systems with non-negative memory: what was added can only
  help later withdrawals, so the energy above the floor along the plan, taken at the worst conversion, is a safe budget.
* A sum of resources cannot promise the sum of the energies: called at full power, the one with the shortest duration
  runs dry first (Evans, Tindemans and Angeli 2018, doi 10.1109/TPWRS.2018.2849858).  :func:`aggregate` therefore first
  narrows each power range to what can be held for ``hold_h`` and promises only the energy that the shares of the
  members allow; :mod:`heila_mosaik.domain.dispatch` spreads calls so that the promise holds.
"""

from heila_mosaik.domain.flexibility.aggregation import aggregate
from heila_mosaik.domain.flexibility.envelope import Envelope, ExogenousForecast, FlexibilitySettings
from heila_mosaik.domain.flexibility.forecast import battery_envelope, ev_expectation, forecast_resource, shiftable_plan

__all__ = [
    "Envelope",
    "ExogenousForecast",
    "FlexibilitySettings",
    "aggregate",
    "battery_envelope",
    "ev_expectation",
    "forecast_resource",
    "shiftable_plan",
]
