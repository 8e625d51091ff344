"""Quantities, units and the one sign convention.

**Consumption is positive everywhere** (pandapower's load convention): a load draws ``p_mw > 0``, a PV plant
feeds ``p_mw < 0``, a battery charges with ``p_mw > 0``.  Only the grid's own ``sgen``/``gen`` tables keep
pandapower's generator sign; the flip happens where a resource is written into such a table.

*Up-regulation* (more generation or less consumption) is therefore a **negative** adjustment of ``p_mw``.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.int64]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
ComplexArray: TypeAlias = npt.NDArray[np.complex128]


class Quantity(StrEnum):
    """What a number means; the value is also the field suffix, unit included."""

    ACTIVE_POWER = "p_mw"
    REACTIVE_POWER = "q_mvar"
    VOLTAGE = "vm_pu"
    CURRENT = "i_ka"
    ANGLE = "va_degree"
    LOADING = "loading_percent"
    STATE_OF_CHARGE = "soc_percent"
    ENERGY = "e_mwh"
    TEMPERATURE = "temperature_c"
    POWER_MIN = "p_min_mw"
    POWER_MAX = "p_max_mw"
    BREAKER = "closed"
    TAP = "tap_pos"
    FREQUENCY = "f_hz"
    PRESENCE = "energised"
    FAULT = "fault"


class Quality(StrEnum):
    """Validity of a measured value (IEC 61850-7-3 ``Quality.validity``; ``missing`` = nothing arrived)."""

    GOOD = "good"
    QUESTIONABLE = "questionable"
    INVALID = "invalid"
    MISSING = "missing"


class Product(StrEnum):
    """Flexibility product.

    CRP: conditional re-profiling, one direction, called in real time.  CRP2: conditional, both directions.
    SRP: scheduled re-profiling, delivered without a call.  FCR_N, FCR_D: frequency containment reserves.
    """

    CRP = "CRP"
    CRP2 = "CRP-2"
    SRP = "SRP"
    FCR_N = "FCR-N"
    FCR_D = "FCR-D"
