"""Namespaces, quantities and the closed unit table of the Smart API messages.

The old QUDT IRIs (``data.nasa.gov``) are written because the Smart API library 1.1.0 loses quantity and unit
otherwise; the current ones (``qudt.org``) are accepted too.  A unit that is not in the table is refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from heila_mosaik.bridges.smartapi_refusal import Refusal, RefusedError
from heila_mosaik.domain.quantities import Quantity

SMARTAPI = "http://smart-api.io/ontology/1.0/smartapi#"
QUDT = "http://data.nasa.gov/qudt/owl/qudt#"
UNIT = "http://data.nasa.gov/qudt/owl/unit#"
QUANTITY = "http://data.nasa.gov/qudt/owl/quantity#"
QUDT_NOW = "http://qudt.org/schema/qudt/"
UNIT_NOW = "http://qudt.org/vocab/unit/"
QUANTITY_NOW = "http://qudt.org/vocab/quantitykind/"
GR = "http://purl.org/goodrelations/v1#"
CIM = "http://iec.ch/TC57/CIM100#"
CIM_ACCEPTED = (CIM, "http://iec.ch/TC57/2013/CIM-schema-cim16#", "https://cim.ucaiug.io/ns#")
RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XSD = "http://www.w3.org/2001/XMLSchema#"
DCT = "http://purl.org/dc/terms/"
HEILA = "http://heila.example/vocabulary/1#"  # the Smart API library takes only http IRIs for quantities and units
OBJECT = "urn:heila:object:"
MESSAGE = "urn:heila:message:"
ACTIVITY = "urn:heila:activity:"
ACTOR = "urn:heila:actor:"

PREFIXES = {"smartapi": SMARTAPI, "qudt": QUDT, "unit": UNIT, "quantity": QUANTITY, "cim": CIM, "rdf": RDF,
            "xsd": XSD, "heila": HEILA}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit of the library and how it is written.

    Attributes:
        name: Name in the field table, for example ``MW``.
        iri: IRI that is written.
        exponent: Power of ten from the field's unit to the written one (6 for MVar written as var).
        accepted: Other IRIs with the power of ten from the field's unit to theirs.
    """

    name: str
    iri: str
    exponent: int = 0
    accepted: tuple[tuple[str, int], ...] = ()


UNITS: dict[str, Unit] = {
    unit.name: unit
    for unit in (
        Unit(name="MW", iri=f"{SMARTAPI}Megawatt",
             accepted=((f"{UNIT}Kilowatt", 3), (f"{UNIT}Watt", 6), (f"{UNIT_NOW}MegaW", 0), (f"{UNIT_NOW}KiloW", 3),
                       (f"{UNIT_NOW}W", 6))),
        Unit(name="MVar", iri=f"{SMARTAPI}VoltAmpereReactive", exponent=6,
             accepted=((f"{UNIT_NOW}V-A_Reactive", 6), (f"{UNIT_NOW}KiloV-A_Reactive", 3),
                       (f"{UNIT_NOW}MegaV-A_Reactive", 0))),
        Unit(name="MWh", iri=f"{SMARTAPI}Megawatthour",
             accepted=((f"{UNIT}Kilowatthour", 3), (f"{UNIT}Watthour", 6), (f"{UNIT_NOW}MegaW-HR", 0),
                       (f"{UNIT_NOW}KiloW-HR", 3), (f"{UNIT_NOW}W-HR", 6))),
        Unit(name="EUR/MWh", iri=f"{SMARTAPI}EuroPerMegawatthour",
             accepted=((f"{SMARTAPI}EuroPerKilowatthour", -3), (f"{SMARTAPI}EuroCentPerMegawatthour", 2),
                       (f"{SMARTAPI}EuroCentPerKilowatthour", -1))),
        Unit(name="EUR/(MW·h)", iri=f"{HEILA}EuroPerMegawattAndHour"),
        Unit(name="EUR/MVarh", iri=f"{HEILA}EuroPerMegavarhour"),
        Unit(name="EUR", iri=f"{UNIT}Euro", accepted=((f"{UNIT_NOW}CCY_EUR", 0),)),
        Unit(name="pu", iri=f"{UNIT}Unitless", accepted=((f"{UNIT}Number", 0), (f"{UNIT_NOW}UNITLESS", 0))),
        Unit(name="1", iri=f"{UNIT}Unitless",
             accepted=((f"{UNIT}Number", 0), (f"{UNIT}Percent", 2), (f"{UNIT_NOW}UNITLESS", 0))),
        Unit(name="%", iri=f"{UNIT}Percent", accepted=((f"{UNIT_NOW}PERCENT", 0),)),
        Unit(name="pu/MW", iri=f"{HEILA}PerMegawatt"),
        Unit(name="%/MW", iri=f"{HEILA}PercentPerMegawatt"),
        Unit(name="pu/MVar", iri=f"{HEILA}PerMegavar"),
        Unit(name="%/MVar", iri=f"{HEILA}PercentPerMegavar"),
        Unit(name="MW/MW", iri=f"{HEILA}MegawattPerMegawatt"),
        Unit(name="MW/MVar", iri=f"{HEILA}MegawattPerMegavar"),
        Unit(name="1/EUR", iri=f"{HEILA}PerEuro"),
        Unit(name="kA", iri=f"{SMARTAPI}Kiloampere",
             accepted=((f"{UNIT}Ampere", 3), (f"{UNIT_NOW}A", 3), (f"{UNIT_NOW}KiloA", 0))),
        Unit(name="°", iri=f"{UNIT}DegreeAngle", accepted=((f"{UNIT_NOW}DEG", 0),)),
        Unit(name="°C", iri=f"{UNIT}DegreeCelsius", accepted=((f"{UNIT_NOW}DEG_C", 0),)),
        Unit(name="Hz", iri=f"{UNIT}Hertz", accepted=((f"{UNIT_NOW}HZ", 0),)),
        Unit(name="W/m²", iri=f"{UNIT}WattPerSquareMeter", accepted=((f"{UNIT_NOW}W-PER-M2", 0),)),
        Unit(name="m/s", iri=f"{UNIT}MeterPerSecond", accepted=((f"{UNIT_NOW}M-PER-SEC", 0),)),
        Unit(name="bool", iri=f"{SMARTAPI}BooleanUnit"),
    )
}  # fmt: skip

KILOWATT = Unit(name="MW", iri=f"{UNIT}Kilowatt", exponent=3)

QUANTITIES: dict[str, tuple[str, str]] = {
    Quantity.ACTIVE_POWER: (f"{SMARTAPI}ActivePower", "MW"),
    Quantity.REACTIVE_POWER: (f"{SMARTAPI}ReactivePower", "MVar"),
    Quantity.VOLTAGE: (f"{SMARTAPI}ElectricVoltage", "pu"),
    Quantity.CURRENT: (f"{SMARTAPI}ElectricAlternatingCurrent", "kA"),
    Quantity.ANGLE: (f"{QUANTITY}Angle", "°"),
    Quantity.LOADING: (f"{HEILA}Loading", "%"),
    Quantity.STATE_OF_CHARGE: (f"{HEILA}StateOfCharge", "%"),
    Quantity.ENERGY: (f"{SMARTAPI}ElectricEnergy", "MWh"),
    Quantity.TEMPERATURE: (f"{QUANTITY}ThermodynamicTemperature", "°C"),
    Quantity.POWER_MIN: (f"{HEILA}ActivePowerMinimum", "MW"),
    Quantity.POWER_MAX: (f"{HEILA}ActivePowerMaximum", "MW"),
    Quantity.BREAKER: (f"{SMARTAPI}BooleanState", "bool"),
    Quantity.TAP: (f"{HEILA}TapPosition", "1"),
    Quantity.FREQUENCY: (f"{QUANTITY}Frequency", "Hz"),
    Quantity.PRESENCE: (f"{HEILA}VoltagePresence", "bool"),
    Quantity.FAULT: (f"{HEILA}FaultPassage", "bool"),
}
_QUANTITY_BY_IRI = {iri: Quantity(name) for name, (iri, _) in QUANTITIES.items()} | {
    f"{QUANTITY_NOW}Voltage": Quantity.VOLTAGE,
    f"{QUANTITY_NOW}ElectricCurrent": Quantity.CURRENT,
    f"{QUANTITY_NOW}Angle": Quantity.ANGLE,
    f"{QUANTITY_NOW}PlaneAngle": Quantity.ANGLE,
    f"{QUANTITY_NOW}StateOfCharge": Quantity.STATE_OF_CHARGE,
    f"{QUANTITY_NOW}Frequency": Quantity.FREQUENCY,
    f"{SMARTAPI}AirTemperature": Quantity.TEMPERATURE,
}
# Current QUDT for the kinds that are written in the old vocabulary or in that of the Smart API.
_CANONICAL_KIND = {
    **{f"{QUANTITY_NOW}{name}": f"{SMARTAPI}{name}" for name in ("ActivePower", "ReactivePower")},
    **{f"{QUANTITY_NOW}{name}": f"{SMARTAPI}ElectricEnergy" for name in ("ActiveEnergy", "Energy")},
    **{f"{QUANTITY_NOW}{name}": f"{QUANTITY}{name}" for name in ("DimensionlessRatio", "Irradiance")},
    f"{QUANTITY_NOW}Temperature": f"{SMARTAPI}AirTemperature",
    f"{QUANTITY_NOW}ThermodynamicTemperature": f"{SMARTAPI}AirTemperature",
    f"{QUANTITY_NOW}WindSpeed": f"{SMARTAPI}WindSpeed",
    f"{QUANTITY_NOW}Speed": f"{SMARTAPI}WindSpeed",
}
ACCEPTED_KINDS = tuple(sorted({*_QUANTITY_BY_IRI, *_CANONICAL_KIND}))
"""Quantity kinds that are read, current ones included."""
_EXPONENTS = {name: {unit.iri: unit.exponent, **dict(unit.accepted)} for name, unit in UNITS.items()}


def quantity_of(iri: str) -> Quantity | None:
    """Quantity of a measured point behind an IRI, old or current."""
    return _QUANTITY_BY_IRI.get(iri)


def canonical_kind(iri: str) -> str:
    """The written quantity kind for an accepted one."""
    return _CANONICAL_KIND.get(iri, iri)


def to_wire(value: float, exponent: int) -> str:
    """Lexical xsd:double of ``value`` scaled by a power of ten, digit for digit (no float arithmetic)."""
    text = repr(value) if exponent == 0 else str(Decimal(repr(value)).scaleb(exponent)).replace("E+", "e").lower()
    return text if "e" in text else f"{text}e0"


def from_wire(number: str, unit_iri: str, unit: str, where: str) -> float:
    """Value in the table's unit of a lexical number with the unit the sender wrote.

    Args:
        number: Lexical number.
        unit_iri: IRI of the sender's unit.
        unit: Name of the unit the field has, a key of :data:`UNITS`.
        where: Place, for the error.

    Raises:
        RefusedError: If the unit is not one of the accepted ones or the number is not finite.
    """
    exponent = _EXPONENTS[unit].get(unit_iri)
    if exponent is None:
        accepted = ", ".join(sorted(iri.rpartition("#")[2].rpartition("/")[2] for iri in _EXPONENTS[unit]))
        raise RefusedError(
            Refusal.UNKNOWN_UNIT,
            f"unit <{unit_iri}> is not accepted for a value in {unit}",
            where=where,
            remedy=f"send one of: {accepted}",
        )
    try:
        exact = Decimal(number)
        value = float(exact) if exponent == 0 or not exact.is_finite() else float(exact.scaleb(-exponent))
    except (InvalidOperation, OverflowError, ValueError):
        value = float("nan")
    if not math.isfinite(value):
        raise RefusedError(
            Refusal.NOT_FINITE, f"{number!r} is not a finite number", where=where, remedy="send a finite number"
        )
    return value
