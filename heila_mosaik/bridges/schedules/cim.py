"""PQ profiles as CIM schedules (IEC 61970-301): ``RegularIntervalSchedule`` with ``RegularTimePoint`` in RDF/XML."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from xml.etree import ElementTree as ET

from heila_mosaik.bridges.schedules.codes import instant, number
from heila_mosaik.bridges.schedules.document import xml_bytes, xml_text
from heila_mosaik.domain.information import FlexibilityForecast, OperationPlan, PQProfile

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_CIM = "http://iec.ch/TC57/CIM100#"
_NAMES = uuid.uuid5(uuid.NAMESPACE_URL, "http://heila.example/vocabulary/1")
_PAIRS = (("planned", "p_mw", "q_mvar"), ("lowest", "p_min_mw", "q_min_mvar"), ("highest", "p_max_mw", "q_max_mvar"))


def cim_schedules(body: OperationPlan | FlexibilityForecast) -> bytes:
    """Three schedules: planned power, its lowest and its highest value; value1 is active, value2 reactive power.

    Units are W and VAr with multiplier M, consumption positive; identities are UUIDs made from the object's own, so
    that the same object gives the same bytes.
    """
    ET.register_namespace("rdf", _RDF)
    ET.register_namespace("cim", _CIM)
    root = ET.Element(f"{{{_RDF}}}RDF")
    for name, active, reactive in _PAIRS:
        root.extend(_schedule(body, name, active, reactive))
    return xml_bytes(root)


def _schedule(body: OperationPlan | FlexibilityForecast, name: str, active: str, reactive: str) -> Iterator[ET.Element]:
    profile: PQProfile = body.profile
    own = f"urn:uuid:{uuid.uuid5(_NAMES, f'{body.id} {name}')}"
    schedule = ET.Element(f"{{{_CIM}}}RegularIntervalSchedule", {f"{{{_RDF}}}about": own})
    for key, text in (
        ("IdentifiedObject.mRID", own.removeprefix("urn:uuid:")),
        ("IdentifiedObject.name", xml_text(f"{body.subject} {name}")),
        ("BasicIntervalSchedule.startTime", instant(profile.start)),
        ("RegularIntervalSchedule.endTime", instant(profile.stop)),
        ("RegularIntervalSchedule.timeStep", str(profile.step_s)),
    ):
        ET.SubElement(schedule, f"{{{_CIM}}}{key}").text = text
    for key, value in (
        ("value1Unit", "UnitSymbol.W"), ("value1Multiplier", "UnitMultiplier.M"),
        ("value2Unit", "UnitSymbol.VAr"), ("value2Multiplier", "UnitMultiplier.M"),
    ):  # fmt: skip
        ET.SubElement(schedule, f"{{{_CIM}}}BasicIntervalSchedule.{key}", {f"{{{_RDF}}}resource": f"{_CIM}{value}"})
    yield schedule
    values = zip(getattr(profile, active), getattr(profile, reactive), strict=True)
    for place, (p_mw, q_mvar) in enumerate(values):
        point = ET.Element(f"{{{_CIM}}}RegularTimePoint", {f"{{{_RDF}}}about": f"{own}-{place}"})
        ET.SubElement(point, f"{{{_CIM}}}RegularTimePoint.IntervalSchedule", {f"{{{_RDF}}}resource": own})
        ET.SubElement(point, f"{{{_CIM}}}RegularTimePoint.sequenceNumber").text = str(place)
        ET.SubElement(point, f"{{{_CIM}}}RegularTimePoint.value1").text = number(p_mw)
        ET.SubElement(point, f"{{{_CIM}}}RegularTimePoint.value2").text = number(q_mvar)
        yield point
