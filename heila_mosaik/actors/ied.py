"""Intelligent electronic device of one resource: the smallest customer site."""

from __future__ import annotations

from dataclasses import replace

from heila_mosaik.actors.cems import Cems
from heila_mosaik.actors.field_settings import FieldSettings
from heila_mosaik.domain.resources import ResourceSpec


class Ied(Cems):
    """Controller of a single resource that talks to the MGMS directly.

    It does what a CEMS does for one resource; reporting, limits, plans and the distributed variant are the same.
    """

    def __init__(self, name: str, resource: str, spec: ResourceSpec, settings: FieldSettings) -> None:
        super().__init__(name, replace(settings, resources={resource: spec}))
        self.resource = resource
