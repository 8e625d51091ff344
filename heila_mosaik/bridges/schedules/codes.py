"""Codes of the ENTSO-E code list that the documents use, and how names of actors become party and area codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fnmatch import fnmatchcase

from heila_mosaik.bridges.schedules.document import Element
from heila_mosaik.domain.information import Session
from heila_mosaik.domain.quantities import Product
from heila_mosaik.errors import Problem

UP, DOWN = "A01", "A02"  # direction: more production or less consumption, and the reverse
YES, NO = "A01", "A02"
MEGAWATT, MEGAVAR, MEGAWATT_HOUR, MEGAVAR_HOUR = "MAW", "MAR", "MWH", "MAH"
ACTIVE_POWER, REACTIVE_POWER = "8716867000016", "8716867000023"
PRODUCTION, CONSUMPTION, OFFER = "A01", "A04", "B74"
AVAILABLE, ORDERED, UNAVAILABLE = "A06", "A10", "A11"
INTERNAL_CONGESTION, PROVIDER_UNAVAILABLE = "B46", "B59"
REDISPATCH, CONTAINMENT, SCHEDULE_DAY = "A41", "A52", "A17"
BUSINESS = {
    Product.CRP: "A85", Product.CRP2: "A85", Product.SRP: "A85", Product.FCR_N: "C26", Product.FCR_D: "C27",
}  # fmt: skip
"""Business type of a reserve: internal redispatch, FCR-N, FCR-D."""
CONTRACT = {Session.DAY_AHEAD: "A01", Session.INTRADAY: "A07"}
_ROLES = (
    ("dms", "A50"), ("tso", "A49"), ("fmp", "A11"), ("ams", "A52"), ("mgms*", "A27"), ("cems*", "A27"),
    ("ied*", "A27"), ("spp", "A39"),
)  # fmt: skip
PARTY_MAX, AREA_MAX, RESOURCE_MAX, IDENTITY_MAX, TEXT_MAX = 16, 18, 18, 60, 512


def process_of(product: Product) -> str:
    """Process a product belongs to."""
    return CONTAINMENT if product in (Product.FCR_N, Product.FCR_D) else REDISPATCH


@dataclass(slots=True, kw_only=True)
class Codes:
    """Official codes for the names of a study, and everything that does not fit the forms.

    Attributes:
        scheme: Coding scheme of the codes (``A01`` EIC, ``A10`` GS1, ``NFI`` national codes of Finland …).
        domain: Code of the area in which the flexibility is delivered and used.
        codes: Code by name of actor or microgrid; a name without one is its own code.
        problems: What does not fit, in order of the document.
    """

    scheme: str = "NFI"
    domain: str = "DSO-AREA"
    codes: Mapping[str, str] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def party(self, name: str, actor: str) -> Element:
        """A market participant."""
        return Element(name, self._code(actor, PARTY_MAX, name), {"codingScheme": self.scheme})

    def resource(self, name: str, resource: str) -> Element:
        """A registered resource."""
        return Element(name, self._code(resource, RESOURCE_MAX, name), {"codingScheme": self.scheme})

    def area(self, name: str) -> Element:
        """The area."""
        return Element(name, self._code(self.domain, AREA_MAX, name), {"codingScheme": self.scheme})

    def identity(self, name: str, identity: str) -> Element:
        """An identification."""
        if len(identity) > IDENTITY_MAX:
            self._too_long(identity, IDENTITY_MAX, name, "make identities shorter")
        return Element(name, identity)

    def _code(self, name: str, longest: int, where: str) -> str:
        code = self.codes.get(name, name)
        if not 1 <= len(code) <= longest:
            self._too_long(code, longest, where, f"give it a code: --code {name}=CODE")
        return code

    def _too_long(self, text: str, longest: int, where: str, remedy: str) -> None:
        problem = Problem(what=f"{text!r} has not 1 to {longest} characters", where=where, remedy=remedy)
        if problem not in self.problems:
            self.problems.append(problem)


def role_of(actor: str) -> str:
    """Market role of an actor by its name: DSO, TSO, market operator, aggregator, resource provider, data provider."""
    return next((role for pattern, role in _ROLES if fnmatchcase(actor.lower(), pattern)), "A33")


def number(value: float) -> str:
    """Decimal without exponent, every digit kept."""
    return format(Decimal(repr(float(value) + 0.0)).normalize() + 0, "f")


def instant(moment: datetime) -> str:
    """Time with seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def widened(start: datetime, stop: datetime) -> tuple[datetime, datetime]:
    """The interval widened to whole minutes, the precision of the documents."""
    first = start.astimezone(UTC).replace(second=0, microsecond=0)
    last = stop.astimezone(UTC)
    if last.second or last.microsecond:
        last = last.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return first, last


def interval(name: str, start: datetime, stop: datetime) -> Element:
    """Time interval in whole minutes."""
    edges = [edge.strftime("%Y-%m-%dT%H:%MZ") for edge in widened(start, stop)]
    return Element(name, (Element("start", edges[0]), Element("end", edges[1])))


def resolution(start: datetime, stop: datetime, count: int = 1) -> str:
    """Length of one of ``count`` equal points that fill the interval."""
    first, last = widened(start, stop)
    seconds = round((last - first).total_seconds() / max(1, count))
    return f"PT{seconds // 60}M" if seconds % 60 == 0 else f"PT{seconds}S"
