"""Schedule forms of the market (IEC 62325-451-7) and of CIM for offers, reserves, activations and plans.

What a form has no place for is left out; ``docs/message-forms.md`` names it field by field.
"""

from __future__ import annotations

from heila_mosaik.bridges.schedules.cim import cim_schedules
from heila_mosaik.bridges.schedules.codes import Codes
from heila_mosaik.bridges.schedules.document import to_json, to_xml
from heila_mosaik.bridges.schedules.documents import FORMS, market_document

__all__ = ["FORMS", "Codes", "cim_schedules", "market_document", "to_json", "to_xml"]
