"""Prints ``docs/messages.md`` and the SHACL shapes from the table, so that neither can drift."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from heila_mosaik.bridges.smartapi import vocabulary as v
from heila_mosaik.bridges.smartapi.table import ALSO, BY_NAME, MESSAGES, NUMBERS, Field, Kind, spec
from heila_mosaik.domain.information import Measurements

_INTRODUCTION = """# Messages on the wire

Printed from `heila_mosaik.bridges.smartapi.table` by `python -m heila_mosaik.bridges.smartapi.documentation`.

A message is a `smartapi:Notification` in Turtle with one activity, one entity (the information object) and its time
series. Text, time and code fields are `heila:<field>` of the entity; numbers are `smartapi:valueObject`, series
`smartapi:timeSeries` of the activity, each naming its field by `heila:field`. A peer that leaves `heila:field` out is
understood when only one field has the quantity. Fields equal to their default are left out. Prefixes do not matter.

- Old QUDT IRIs (`data.nasa.gov`) are written, current ones (`qudt.org`) are accepted. Unknown units are refused.
- Reactive power is written in var, active power in MW or, if asked for, in kW; digits are shifted, never rounded.
- Series: `rdf:List` up to 900 items, longer ones as `smartapi:indexedArray`; `rawArray` is read, the unordered `array`
  is refused beyond one item.
- JSON-LD (inline context only) and RDF/XML (no DOCTYPE) are read. Bytes are ASCII.
- Limits: 256 KiB, nesting 32, 64 prefixes, typed literals of 64 characters, times with offset.
- Signature: detached JWS (Ed25519, `b64: false`) over the exact bytes with `iss aud iat exp jti` in its header;
  MQTT 5 user property `jws`. Encryption: JWE `ECDH-ES` + `A256GCM`, signed as ciphertext, user property `enc: 1`.
- Topics, HTTPS, receipts and registration: [live.md](live.md).
"""


def markdown() -> str:
    """Text of ``docs/messages.md``."""
    parts = [_INTRODUCTION, "\n## Units\n\n| unit | written | accepted (power of ten to the unit) |\n|---|---|---|\n"]
    for unit in v.UNITS.values():
        accepted = ", ".join(f"`{iri}` (10^{-power})" for iri, power in unit.accepted) or "–"
        parts.append(f"| {unit.name} | `{unit.iri}` | {accepted} |\n")
    parts += [_section(cls) for cls in (*MESSAGES, *(part for part in BY_NAME.values() if part not in MESSAGES))]
    return "".join(parts)


def _section(cls: type) -> str:
    summary = (cls.__doc__ or "").strip().splitlines()[0]
    also = ALSO.get(cls.__name__, ("", ""))[1]
    head = f"\n## {cls.__name__}\n\n{summary}\n\n" + (f"Corresponds to: {also}.\n\n" if also else "")
    if cls is Measurements:
        return head + (
            "`heila:source`, `heila:at`, and one `smartapi:valueObject` a point with `heila:index`, `heila:element`, "
            "`heila:quantity`, quantity kind, unit, `rdf:value` (absent when missing), `heila:sigma`, "
            "`heila:quality` and `heila:ageSeconds`.\n"
        )
    rows = [
        f"| `{field.name}` | {field.kind.value} | {_meaning(field)} | {'yes' if _required(field) else 'no'} |\n"
        for field in spec(cls).fields
    ]
    return head + "| field | carried as | unit or values | required |\n|---|---|---|---|\n" + "".join(rows)


def _required(field: Field) -> bool:
    return field.default is dataclasses.MISSING and not field.optional


def _meaning(field: Field) -> str:
    if field.code is not None:
        return ", ".join(field.code)
    if field.part is not None:
        return field.part.__name__
    if field.number is None:
        return "s" if field.kind is Kind.COUNT else ""
    units = field.number.units
    return units if isinstance(units, str) else " or ".join(dict.fromkeys(units.values()))


def shacl() -> str:
    """Text of ``shapes/messages.ttl``."""
    head = "".join(f"@prefix {name}: <{iri}> .\n" for name, iri in v.PREFIXES.items())
    parts = [head, "@prefix sh: <http://www.w3.org/ns/shacl#> .\n", _COMMON]
    for cls in BY_NAME.values():
        if cls is Measurements:
            parts.append("heila:MeasurementsShape a sh:NodeShape ; sh:targetClass heila:Measurements"
                         f"{_property('source', 'xsd:string', 1)}{_property('at', 'xsd:dateTime', 1)} .\n")  # fmt: skip
            continue
        shown = "".join(_shape(field) for field in spec(cls).fields)
        parts.append(f"heila:{cls.__name__}Shape a sh:NodeShape ; sh:targetClass heila:{cls.__name__}{shown} .\n")
    return "".join(parts)


_DATATYPES = {Kind.TEXT: "xsd:string", Kind.CODE: "xsd:string", Kind.TIME: "xsd:dateTime", Kind.FLAG: "xsd:boolean",
              Kind.COUNT: "xsd:integer"}  # fmt: skip


def _property(name: str, datatype: str, least: int, extra: str = "") -> str:
    message = f"heila:{name} must be {'exactly' if least else 'at most'} one {datatype}"
    message += " with its offset" if "pattern" in extra else " of those in docs/messages.md" if "sh:in" in extra else ""
    return (f' ;\n  sh:property [ sh:path heila:{name} ; sh:datatype {datatype} ; sh:minCount {least} ; sh:maxCount 1 ;'
            f'{extra} sh:message "{message}" ]')  # fmt: skip


def _shape(field: Field) -> str:
    datatype = _DATATYPES.get(field.kind)
    if datatype is None:
        return ""
    zoned = f' sh:pattern "{_ZONED}" ;' if field.kind is Kind.TIME else ""
    codes = zoned if field.code is None else f" sh:in ( {' '.join(f'{chr(34)}{c}{chr(34)}' for c in field.code)} ) ;"
    return _property(field.name, datatype, int(_required(field) and field.name not in ("start", "step_s")), codes)


_ZONED = "(Z|[+-][0-9][0-9]:[0-9][0-9])$"


def _choice(iris: Iterable[str]) -> str:
    return " ".join(f"<{iri}>" for iri in sorted(set(iris)))


def _units() -> str:
    return _choice(iri for unit in v.UNITS.values() for iri in (unit.iri, *(other for other, _ in unit.accepted)))


def _kinds() -> str:
    ours = {number.quantity for number in NUMBERS.values()} | {iri for iri, _ in v.QUANTITIES.values()}
    return _choice(ours | set(v.ACCEPTED_KINDS))


_COMMON = f"""heila:NotificationShape a sh:NodeShape ;
  sh:targetClass smartapi:Notification , smartapi:Request , smartapi:Response ;
  sh:property [ sh:path smartapi:generatedAt ; sh:datatype xsd:dateTime ; sh:minCount 1 ; sh:maxCount 1 ;
    sh:message "exactly one xsd:dateTime" ] ;
  sh:property [ sh:path smartapi:generatedAt ; sh:pattern "{_ZONED}" ;
    sh:message "a time with its offset, for example +00:00" ] ;
  sh:property [ sh:path smartapi:generatedBy ; sh:minCount 1 ; sh:message "who sent it" ] ;
  sh:property [ sh:path smartapi:activity ; sh:minCount 1 ; sh:maxCount 1 ; sh:message "exactly one activity" ] .
heila:ActivityShape a sh:NodeShape ; sh:targetObjectsOf smartapi:activity ;
  sh:property [ sh:path smartapi:entity ; sh:minCount 1 ; sh:maxCount 1 ; sh:message "exactly one entity" ] ;
  sh:property [ sh:path smartapi:method ; sh:in ( smartapi:Read smartapi:Write ) ;
    sh:message "smartapi:Read or smartapi:Write" ] .
heila:TemporalContextShape a sh:NodeShape ; sh:targetClass smartapi:TemporalContext ;
  sh:property [ sh:path smartapi:start ; sh:datatype xsd:dateTime ; sh:pattern "{_ZONED}" ;
    sh:message "an xsd:dateTime with its offset" ] ;
  sh:property [ sh:path smartapi:end ; sh:datatype xsd:dateTime ; sh:pattern "{_ZONED}" ;
    sh:message "an xsd:dateTime with its offset" ] .
heila:ValueObjectShape a sh:NodeShape ; sh:targetClass smartapi:ValueObject ;
  sh:property [ sh:path rdf:value ; sh:maxCount 1 ; sh:nodeKind sh:Literal ; sh:message "at most one literal" ] ;
  sh:property [ sh:path heila:index ; sh:datatype xsd:integer ; sh:maxCount 1 ; sh:message "one xsd:integer" ] ;
  sh:property [ sh:path qudt:quantityKind ; sh:maxCount 1 ; sh:message "the IRI of one quantity of the table" ;
    sh:in ( {_kinds()} ) ] ;
  sh:property [ sh:path qudt:unit ; sh:maxCount 1 ; sh:message "the IRI of one unit of the table" ;
    sh:in ( {_units()} ) ] .
heila:TimeSeriesShape a sh:NodeShape ; sh:targetClass smartapi:TimeSeries ;
  sh:property [ sh:path qudt:unit ; sh:maxCount 1 ; sh:message "the IRI of one unit of the table" ;
    sh:in ( {_units()} ) ] ;
  sh:property [ sh:path smartapi:timeStep ; sh:datatype xsd:duration ; sh:minCount 1 ; sh:maxCount 1 ;
    sh:message "exactly one xsd:duration" ] ;
  sh:property [ sh:path smartapi:list ; sh:minCount 1 ; sh:maxCount 1 ; sh:message "exactly one list" ] ;
  sh:property [ sh:path smartapi:temporalContext ; sh:minCount 1 ; sh:message "where the series begins" ] .
"""

if __name__ == "__main__":
    import sys

    sys.stdout.write(shacl() if sys.argv[1:] == ["shapes"] else markdown())
