"""The one table behind writing, reading, checking and documenting the messages.

What kind of value a field holds follows from its type in :mod:`heila_mosaik.domain.information`; quantity, unit and
permitted range follow from its name, declared once in :data:`NUMBERS`.  ``docs/messages.md`` is printed from here.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any

from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.domain import information as info


class Kind(StrEnum):
    """How a field is carried."""

    TEXT = "text"
    CODE = "code"
    TIME = "time"
    FLAG = "flag"
    COUNT = "count"
    NUMBER = "value object"
    SERIES = "time series"
    COLUMN = "indexed value objects"
    TEXTS = "indexed texts"
    PARTS = "indexed entities"


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """Meaning of a numeric field.

    Attributes:
        quantity: IRI of the quantity kind.
        units: Unit, or the unit for each value of the field ``kind`` of the same object.
        low: Lowest value permitted, in the unit.
        high: Highest value permitted.
    """

    quantity: str
    units: str | dict[str, str]
    low: float = -math.inf
    high: float = math.inf

    def unit(self, kind: str | None) -> str:
        """Unit of the field in an object of a congestion kind."""
        return self.units if isinstance(self.units, str) else self.units[kind or ""]


P, Q = f"{v.SMARTAPI}ActivePower", f"{v.SMARTAPI}ReactivePower"
ENERGY, PRICE = f"{v.SMARTAPI}ElectricEnergy", f"{v.SMARTAPI}EnergyPrice"
_LIMIT = {"undervoltage": "pu", "overvoltage": "pu", "current": "%", "peak": "MW"}
_PER_P = {kind: f"{unit}/MW" for kind, unit in _LIMIT.items()}
_PER_Q = {kind: f"{unit}/MVar" for kind, unit in _LIMIT.items()}

NUMBERS: dict[str, Number] = {
    "p_mw": Number(quantity=P, units="MW"),
    "q_mvar": Number(quantity=Q, units="MVar"),
    "p_min_mw": Number(quantity=P, units="MW"),
    "p_max_mw": Number(quantity=P, units="MW"),
    "q_min_mvar": Number(quantity=Q, units="MVar"),
    "q_max_mvar": Number(quantity=Q, units="MVar"),
    "baseline_p_mw": Number(quantity=P, units="MW"),
    "measured_p_mw": Number(quantity=P, units="MW"),
    "requested_p_mw": Number(quantity=P, units="MW"),
    "baseline_q_mvar": Number(quantity=Q, units="MVar"),
    "measured_q_mvar": Number(quantity=Q, units="MVar"),
    "requested_q_mvar": Number(quantity=Q, units="MVar"),
    "energy_up_mwh": Number(quantity=ENERGY, units="MWh", low=0.0),
    "energy_down_mwh": Number(quantity=ENERGY, units="MWh", low=0.0),
    "group_energy_mwh": Number(quantity=ENERGY, units="MWh", low=0.0),
    "requested_mwh": Number(quantity=ENERGY, units="MWh"),
    "delivered_mwh": Number(quantity=ENERGY, units="MWh"),
    "price_eur_per_mwh": Number(quantity=PRICE, units="EUR/MWh"),
    "price_up_eur_per_mwh": Number(quantity=PRICE, units="EUR/MWh"),
    "price_down_eur_per_mwh": Number(quantity=PRICE, units="EUR/MWh"),
    "limit_eur_per_mwh": Number(quantity=PRICE, units="EUR/MWh"),
    "spot_eur_per_mwh": Number(quantity=PRICE, units="EUR/MWh"),
    "flexibility_up_eur_per_mwh": Number(quantity=PRICE, units="EUR/MWh"),
    "flexibility_down_eur_per_mwh": Number(quantity=PRICE, units="EUR/MWh"),
    "availability_eur_per_mw_h": Number(quantity=f"{v.HEILA}AvailabilityPrice", units="EUR/(MW·h)"),
    "reactive_eur_per_mvarh": Number(quantity=f"{v.HEILA}ReactiveEnergyPrice", units="EUR/MVarh"),
    "availability_eur": Number(quantity=f"{v.SMARTAPI}Price", units="EUR"),
    "activation_eur": Number(quantity=f"{v.SMARTAPI}Price", units="EUR"),
    "reactive_eur": Number(quantity=f"{v.SMARTAPI}Price", units="EUR"),
    "penalty_eur": Number(quantity=f"{v.SMARTAPI}Price", units="EUR", low=0.0),
    "min_share": Number(quantity=f"{v.QUANTITY}DimensionlessRatio", units="1", low=0.0, high=1.0),
    "probability": Number(quantity=f"{v.QUANTITY}DimensionlessRatio", units="1", low=0.0, high=1.0),
    "relief_per_eur": Number(quantity=f"{v.HEILA}ReliefPerCost", units="1/EUR"),
    "excess": Number(quantity=f"{v.HEILA}LimitExcess", units=_LIMIT, low=0.0),
    "effect_p": Number(quantity=f"{v.HEILA}SensitivityToActivePower", units=_PER_P),
    "effect_q": Number(quantity=f"{v.HEILA}SensitivityToReactivePower", units=_PER_Q),
    "temperature_c": Number(quantity=f"{v.SMARTAPI}AirTemperature", units="°C", low=-273.15),
    "irradiance_w_per_m2": Number(quantity=f"{v.QUANTITY}Irradiance", units="W/m²", low=0.0),
    "wind_m_per_s": Number(quantity=f"{v.SMARTAPI}WindSpeed", units="m/s", low=0.0),
    "position": Number(quantity=f"{v.HEILA}SwitchPosition", units="1"),
    "closed": Number(quantity=f"{v.SMARTAPI}BooleanState", units="bool"),
}
# An adjustment range of these objects holds zero (nothing called is always possible).
RANGES = ("p_min_mw", "p_max_mw", "q_min_mvar", "q_max_mvar")
RANGE_OWNERS = ("Offer", "Purchase", "ReserveNotification")

# CIM type beside smartapi:Entity (empty: none maps), and the message of the flexibility trade (USEF/UFTP) or the
# schedule form (IEC 62325).
ALSO: dict[str, tuple[str, str]] = {
    "Measurements": ("AnalogValue", "CIM AnalogValue, DiscreteValue"),
    "ControlSignal": ("SetPoint", "CIM SetPoint, Command"),
    "OperationPlan": ("RegularIntervalSchedule", "UFTP D-Prognosis; CIM RegularIntervalSchedule"),
    "FlexibilityForecast": ("RegularIntervalSchedule", "HEILA Flexibility; CIM RegularIntervalSchedule"),
    "Offer": ("ReserveBid", "UFTP FlexOffer; IEC 62325-451-7 ReserveBid"),
    "FlexibilityRequest": ("", "UFTP FlexRequest"),
    "OfferList": ("MeritOrderList", "IEC 62325-451-7 MeritOrderList"),
    "Bid": ("ReserveBid", "UFTP FlexOrder; IEC 62325-451-7 ReserveBid"),
    "ReserveNotification": ("ReserveAllocationResult", "IEC 62325-451-7 ReserveAllocationResult"),
    "ActivationNotification": ("Activation", "IEC 62325-451-7 Activation document"),
    "ActivationRefusal": ("Reason", "IEC 62325 Reason of a rejected Activation"),
    "VerificationNotification": ("", "UFTP Metering"),
    "SettlementStatement": ("", "UFTP FlexSettlement"),
    "WeatherForecast": ("", "HEILA Weather Forecast"),
    "PriceForecast": ("RegularIntervalSchedule", "HEILA Flexibility Market Price Forecast"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of an object on the wire.

    Attributes:
        name: Field of the dataclass; also the local name of its IRI in the ``heila`` namespace.
        kind: How it is carried.
        optional: Whether ``None`` is allowed.
        default: Value when absent on the wire (``dataclasses.MISSING``: must be present).
        code: Enumeration of a code.
        part: Class of the parts.
        number: Quantity, unit and range of a number.
    """

    name: str
    kind: Kind
    optional: bool = False
    default: object = dataclasses.MISSING
    code: type[StrEnum] | None = None
    part: type | None = None
    number: Number | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """How a class travels.

    Attributes:
        cls: The class.
        fields: Its fields, those of an inlined PQ profile included.
        profile: Whether it holds a PQ profile whose fields are inlined.
        timed: Whether its series lie on a time grid (``start``, ``step_s``).
    """

    cls: type
    fields: tuple[Field, ...]
    profile: bool
    timed: bool


MESSAGES: tuple[type[info.InformationObject], ...] = (
    info.Measurements, info.ControlSignal, info.OperationPlan, info.FlexibilityForecast, info.FlexibilityRequest,
    info.Offer, info.OfferList, info.Bid, info.ReserveNotification, info.ActivationNotification,
    info.ActivationRefusal, info.VerificationNotification, info.SettlementStatement, info.WeatherForecast,
    info.PriceForecast,
)  # fmt: skip
BY_NAME: dict[str, type] = {cls.__name__: cls for cls in (*MESSAGES, info.Need, info.Purchase)}
_SCALARS = {str: Kind.TEXT, datetime: Kind.TIME, bool: Kind.FLAG, int: Kind.COUNT, float: Kind.NUMBER}


def _field(field: dataclasses.Field[object], hint: object, *, timed: bool) -> Field:
    arguments = typing.get_args(hint)
    optional = isinstance(hint, types.UnionType) and types.NoneType in arguments
    base = arguments[0] if optional else hint
    number = NUMBERS.get(field.name)
    if typing.get_origin(base) is tuple:
        item = typing.get_args(base)[0]
        if item is float:
            kind = Kind.SERIES if timed else Kind.COLUMN
            return Field(name=field.name, kind=kind, default=(), number=number)
        if item is str:
            return Field(name=field.name, kind=Kind.TEXTS, default=())
        return Field(name=field.name, kind=Kind.PARTS, default=(), part=item)
    if isinstance(base, type) and issubclass(base, StrEnum):
        return Field(name=field.name, kind=Kind.CODE, default=field.default, code=base)
    assert isinstance(base, type)
    kind = Kind.NUMBER if number is not None else _SCALARS[base]
    return Field(name=field.name, kind=kind, optional=optional, default=field.default, number=number)


@cache
def spec(cls: type[Any]) -> Spec:
    """Table of a class, derived once.

    Args:
        cls: A class of :mod:`heila_mosaik.domain.information` other than ``Measurements`` (which has columns of
            points and a table of its own in the writer and the reader).
    """
    hints = typing.get_type_hints(cls)
    profile = hints.get("profile") is info.PQProfile
    timed = profile or "step_s" in hints
    declared = [
        _field(f, hints[f.name], timed=timed) for f in dataclasses.fields(cls) if f.name not in ("profile", "id")
    ]
    if profile:
        inner = typing.get_type_hints(info.PQProfile)
        declared += [_field(f, inner[f.name], timed=True) for f in dataclasses.fields(info.PQProfile)]
    return Spec(cls=cls, fields=tuple(declared), profile=profile, timed=timed)


def check_ranges(values: dict[str, object], owner: str) -> None:
    """Whether adjustment ranges are ranges.

    Args:
        values: Fields of an object.
        owner: Name of its class.

    Raises:
        RefusedError: If one is not.
    """
    for low_name, high_name in (RANGES[:2], RANGES[2:]):
        low, high = values.get(low_name), values.get(high_name)
        pairs = zip(low, high, strict=False) if isinstance(low, tuple) and isinstance(high, tuple) else [(low, high)]
        for least, most in pairs:
            if isinstance(least, float) and isinstance(most, float):
                zero = owner not in RANGE_OWNERS or least <= 0.0 <= most
                if least > most or not zero:
                    raise RefusedError(
                        Refusal.OUT_OF_RANGE,
                        f"range {least} … {most}",
                        where=f"{owner}.{low_name}",
                        remedy="minimum <= maximum, and an adjustment range holds zero",
                    )
