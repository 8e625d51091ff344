"""Spreading stays within limits, sums up, and prefers the cheap where that is safe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.dispatch import Room, longest_first, spread

powers = st.floats(0, 2)
rooms = st.lists(
    st.builds(
        Room,
        name=st.just("r"),
        p_mw=st.floats(-1, 1),
        up_mw=powers,
        down_mw=powers,
        energy_up_mwh=st.one_of(powers, st.just(math.inf)),
        energy_down_mwh=powers,
        q_room_mvar=powers,
        s_max_mva=st.floats(3, 5),
        cost_eur_per_mwh=st.sampled_from([0.0, 5.0, 40.0]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200, deadline=None)
@given(rooms, st.floats(-5, 5), st.floats(-5, 5), st.floats(0, 3), st.sampled_from([1 / 60, 0.25]))
def test_within_limits_and_complete(members, p, q, owed, dt_h):
    result = spread(p, q, members, owed, dt_h)
    reachable = 0.0
    for room, moved, q_moved in zip(members, result.p_adjust_mw, result.q_adjust_mvar, strict=True):
        low = -min(room.up_mw, room.energy_up_mwh / dt_h)
        high = min(room.down_mw, room.energy_down_mwh / dt_h)
        assert low - 1e-9 <= moved <= high + 1e-9
        assert abs(q_moved) <= room.q_room_mvar + 1e-12
        assert (room.p_mw + moved) ** 2 + q_moved**2 <= room.s_max_mva**2 + 1e-9
        reachable += -low if p < 0 else high
    assert abs(result.p_mw) == pytest.approx(min(abs(p), reachable), abs=1e-6)


def test_cheap_first_when_it_can_carry_what_is_owed():
    cheap = Room(name="cheap", p_mw=0, up_mw=1, down_mw=1, energy_up_mwh=2, cost_eur_per_mwh=1)
    dear = Room(name="dear", p_mw=0, up_mw=1, down_mw=1, energy_up_mwh=9, cost_eur_per_mwh=50)
    assert spread(-0.8, 0, [dear, cheap], owed_mwh=1.0).p_adjust_mw == (0.0, pytest.approx(-0.8))
    # With more owed than the cheap one holds, the long-lived one goes first.
    assert spread(-0.8, 0, [dear, cheap], owed_mwh=5.0).p_adjust_mw == (pytest.approx(-0.8), 0.0)


def test_longest_first_equalises_durations():
    power, energy = np.array([1.0, 1.0]), np.array([1.0, 0.5])
    given_mw = longest_first(1.0, power, energy, 1.0)
    assert given_mw.tolist() == pytest.approx([0.75, 0.25])
    assert (energy - given_mw).tolist() == pytest.approx([0.25, 0.25])
