"""What a message says about a key comes from the schema, wherever the key stands."""

import pytest

from heila_mosaik.study.fields import describe, keys_at, model_at
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.site import ActorPart, ClockPart, EquipmentPart, HttpsPart, Site
from heila_mosaik.study.sweep.schema import Analysis, Block, Span, SweepFile


@pytest.mark.parametrize(
    ("root", "location", "model"),
    [
        (Site, (), Site),
        (Site, ("actors",), None),
        (Site, ("actors", "mgms"), ActorPart),
        (Site, ("actors", "mgms", "https"), HttpsPart),
        (Site, ("actors", "mgms", "equipment"), EquipmentPart),
        (Site, ("clock",), ClockPart),
        (Site, ("clock", "ClockPart"), ClockPart),
        (SweepFile, ("vary", 0), Block),
        (SweepFile, ("vary", 3, "keys", "growth.der"), Span),
        (SweepFile, ("analysis", 1), Analysis),
        (SweepFile, ("set", "growth.der"), None),
        (Scenario, ("no", "such"), None),
    ],
)
def test_the_model_at_a_place(root, location, model):
    assert model_at(root, location) is model


def test_what_belongs_there():
    assert describe(SweepFile, ("vary", 0, "method")).startswith("method: grid: every combination; zip:")
    assert describe(Site, ("actors", "mgms", "https", "port")) == "port: TCP port, TLS."
    assert describe(Site, ("registration",)) == "add registration"
    assert describe(Site, ()) == describe(Site, ("nothing",)) == describe(Site, ("actors", "a", "b", "c")) == ""
    assert keys_at(SweepFile, ("vary", 0, "keys", "x")) == ["low", "high", "steps", "log", "integer"]
