"""What is spread so that a call is delivered against the declared plan as well."""

from __future__ import annotations

import pytest

from heila_mosaik.actors.mgms_rooms import part_of, with_declared
from heila_mosaik.domain.dispatch import Room
from heila_mosaik.domain.quantities import Quantity
from heila_mosaik.domain.resources import BatterySpec, LoadSpec

SPECS = {"bat": BatterySpec(p_max_mw=0.5, s_max_mva=0.6, energy_mwh=1.0), "house": LoadSpec(p_mw=0.2)}
ROOMS = [Room(name="bat", p_mw=0.0, up_mw=0.5, down_mw=0.5), Room(name="house", p_mw=0.2, up_mw=0.0, down_mw=0.0)]


@pytest.mark.parametrize(
    ("asked", "sold", "declared", "wanted"),
    [
        (0.2, 0.4, 0.2, 0.3),  # the house draws 0.1 MW less than declared: made up for
        (0.2, 0.25, 0.2, 0.25),  # but not beyond what was sold
        (0.2, 0.4, 0.0, 0.2),  # it draws more than declared: nothing is taken from the call
        (-0.2, -0.4, 0.0, -0.3),
        (-0.2, -0.4, 0.2, -0.2),
        (0.0, 0.4, 0.5, 0.0),
        (0.2, 0.4, None, 0.2),
    ],
)
def test_makes_up_for_loads_that_leave_the_declared_plan(asked, sold, declared, wanted):
    rows = {"house": {Quantity.ACTIVE_POWER: 0.1}}
    assert with_declared(asked, sold, declared, ROOMS, rows, SPECS) == pytest.approx(wanted)


def test_a_call_answers_for_its_own_part_of_a_shortfall_only():
    assert part_of(0.5, 0.2) == 0.2
    assert part_of(0.1, 0.2) == 0.1
    assert part_of(-0.5, 0.2) == 0.0
    assert part_of(-0.5, -0.2) == -0.2
