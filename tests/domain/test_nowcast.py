from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heila_mosaik.domain.forecast import Injections, Knowledge, Nowcast
from heila_mosaik.domain.information import OperationPlan, PQProfile

NOON = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def ramp(moment):
    """One megawatt more every hour."""
    return (moment - NOON).total_seconds() / 3600.0


def knowledge(error=1.0):
    def profile(grid):
        p = np.array([[ramp(grid.at(k)) * error, 2.0] for k in range(grid.count)])
        return p, 0.5 * p

    return Knowledge(
        injections=Injections(
            names=("load.0", "load.1"), bus=np.array([1, 2]), scale_mva=np.array([1.0, 1.0]), profile=profile
        ),
        locations={"mg": 3},
        location_scale_mva={"mg": 1.0},
        ext_vm_pu=np.array([1.0]),
    )


def a_plan(steps):
    zero = (0.0,) * len(steps)
    profile = PQProfile(
        start=NOON, step_s=900, p_mw=steps, q_mvar=zero, p_min_mw=zero, p_max_mw=zero, q_min_mvar=zero, q_max_mvar=zero
    )
    return OperationPlan(id="p", subject="mg", issued_at=NOON, profile=profile)


def test_without_lead_the_estimate_stays():
    p, q = np.ones(3), np.zeros(3)
    ahead = Nowcast(knowledge()).ahead(NOON, NOON, p, q)
    assert ahead[0] is p
    assert ahead[1] is q


@pytest.mark.parametrize("lead_s", [60, 450, 900, 3600])
def test_a_ramp_is_followed_between_and_beyond_the_quarter_hours(lead_s):
    seen = np.array([5.0, 7.0, 0.3])
    p, q = Nowcast(knowledge()).ahead(NOON, NOON + timedelta(seconds=lead_s), seen, np.zeros(3))
    assert p == pytest.approx([5.0 + lead_s / 3600.0, 7.0, 0.3])
    assert q[0] == pytest.approx(0.5 * lead_s / 3600.0)


def test_the_step_of_a_plan_is_taken_over():
    known = knowledge()
    assert known.learn(a_plan((0.2, 0.9)))
    p, _ = Nowcast(known).ahead(NOON, NOON + timedelta(minutes=15), np.zeros(3), np.zeros(3))
    assert p[2] == pytest.approx(0.7)


@given(offset=st.floats(-5, 5), minute=st.integers(0, 24 * 60), lead_s=st.integers(1, 3600))
def test_a_lasting_error_of_the_forecast_cancels(offset, minute, lead_s):
    now = NOON + timedelta(minutes=minute)
    then = now + timedelta(seconds=lead_s)
    seen = np.array([ramp(now) + offset, 2.0, 0.0])
    p, _ = Nowcast(knowledge()).ahead(now, then, seen, np.zeros(3))
    assert p[0] == pytest.approx(ramp(then) + offset, abs=1e-9)
