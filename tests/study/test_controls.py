"""Commands of actors on their way to the plant and back: one step later, and seen by telemetry."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pytest

from heila_mosaik.actors.base import Outcome
from heila_mosaik.domain.information import ControlSignal, Message
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.study import run as study_run
from heila_mosaik.study.build import make_exchange

OPENED, TAPPED, CLOSED = 2, 3, 5


@dataclass
class Operator:
    """Opens and closes a breaker through the microgrid's controller and moves a tap itself."""

    start: datetime
    name: str = "operator"

    def step(self, now, inbox, measurements):
        """Act by the minute."""
        del inbox, measurements
        minute = round((now - self.start).total_seconds() / 60)
        span = {"start": now, "stop": now + timedelta(days=1)}
        wake = now + timedelta(minutes=1)
        if minute in (OPENED, CLOSED):
            body = ControlSignal(id=f"operator/{minute}", target="windhof_pcc", closed=minute == CLOSED, **span)
            message = Message(id=f"op-{minute}", sender=self.name, receiver="cems_windhof", sent_at=now, body=body)
            return Outcome(messages=(message,), wake_at=wake)
        if minute == TAPPED:
            tap = ControlSignal(id="operator/tap", target="trafo.0", position=1.0, **span)
            return Outcome(controls=(tap,), wake_at=wake)
        return Outcome(wake_at=wake)


@pytest.fixture(scope="module")
def run(make_scenario, tmp_path_factory):
    """Ten minutes with the operator among the actors."""
    scenario = make_scenario(duration_h=0.2, step_s=60, dms={"cycle_s": 60}, growth={"der": 1.0})

    def with_operator(study, *, flexibility):
        exchange, probes = make_exchange(study, flexibility=flexibility)
        actors = [*exchange._actors.values(), Operator(scenario.start_utc)]
        return type(exchange)(actors, exchange._network), probes

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study_run, "make_exchange", with_operator)
        return RunFolder(study_run.run_scenario(scenario, tmp_path_factory.mktemp("c") / "run", baseline=False))


def telemetry(run, element):
    """Positions of one element in the telemetry, in order."""
    rows = run.messages[(run.messages["kind"] == "Measurements") & (run.messages["sender"] == "sau")]
    bodies = [json.loads(body) for body in rows.sort_values("sent_at")["body"]]
    points = list(zip(bodies[0]["elements"], bodies[0]["quantities"], strict=True))
    place = points.index((element, "closed" if element.startswith("switch") else "tap_pos"))
    return [body["values"][place] for body in bodies]


def test_the_breaker_moves_one_step_after_the_command(run):
    bus = next(part["bus"] for part in run.grid["microgrids"] if part["name"] == "windhof")
    dead = run.series("bus_vm_pu")[str(bus)].isna().to_numpy()
    expected = np.zeros(len(dead), bool)
    expected[OPENED + 1 : CLOSED + 1] = True
    np.testing.assert_array_equal(dead, expected)
    power = run.series("pcc_p_mw")["windhof"].to_numpy()
    assert np.abs(power[~expected][:2]).min() > 0


def test_telemetry_shows_positions_and_the_dms_follows(run):
    name = next(e for e in run.records["values"].map(json.loads).map(lambda v: v.get("element")) if e)
    assert name.startswith("switch.")
    seen = telemetry(run, name)
    assert seen[OPENED + 1 : CLOSED + 1] == [0.0] * (CLOSED - OPENED)
    assert set(seen[: OPENED + 1] + seen[CLOSED + 1 :]) == {1.0}
    taps = telemetry(run, "trafo.0")
    assert taps[: TAPPED + 1] == [taps[0]] * (TAPPED + 1)
    assert set(taps[TAPPED + 1 :]) == {1.0}
    assert (run.records["event"] == "topology_changed").sum() == 3
    assert not (run.records["event"] == "estimation_failed").any()


def test_the_microgrid_knows_its_breaker(run):
    told = run.records[(run.records["event"] == "pcc_breaker") & (run.records["actor"] == "mgms_windhof")]
    assert [json.loads(values)["closed"] for values in told["values"]] == [False, True]
