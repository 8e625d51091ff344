"""The restoration of the DMS step by step: it believes positions, not commands."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower as pp
import pytest

from heila_mosaik.actors.base import Outbox
from heila_mosaik.actors.dms_restoration import Carrier, Restoration, RestorationSettings, Stage
from heila_mosaik.domain.estimation import Estimator
from heila_mosaik.domain.forecast import Injections, Knowledge
from heila_mosaik.domain.information import FlexibilityForecast, PQProfile
from heila_mosaik.domain.quantities import Product
from heila_mosaik.domain.switchgear import Fault, Switchgear
from heila_mosaik.domain.topology import make_graph
from heila_mosaik.gridmodel import compile_net
from tests.domain.switched_net import feeders

START = datetime(2016, 8, 21, 17, tzinfo=UTC)


class Desk:
    """Control room, switches and protection of the two feeders; commands arrive one minute later."""

    def __init__(self, line, repaired=60, stuck=(), **settings):
        net = feeders()
        pp.create_ext_grid(net, 5, in_service=False)
        engine = compile_net(net)
        network = engine.network
        given = engine.default_input()
        names = tuple(f"load.{load}" for load in network.loads.ids)

        def profile(grid):
            ones = np.ones((grid.count, 1))
            return ones * given.load_p_mw, ones * given.load_q_mvar

        injections = Injections(names=names, bus=network.loads.bus, scale_mva=network.loads.scale, profile=profile)
        knowledge = Knowledge(injections=injections, locations={}, location_scale_mva={}, ext_vm_pu=given.ext_vm_pu)
        graph = make_graph(network)
        fault = Fault(element=f"line.{line}", at=START, repaired_at=START + timedelta(minutes=repaired))
        self.plant = Switchgear(graph, [0], [], [fault])
        chosen = {"customers": dict.fromkeys(names, 10.0), "locate_s": 60.0, "confirm_s": 180.0} | settings
        self.desk = Restoration(
            RestorationSettings(graph=graph, sources=(0,), **chosen),
            Estimator(engine, names, network.loads.bus),
            knowledge,
        )
        self.stuck, self.minute, self.controls, self.records, self.messages = set(stuck), 0, [], [], []

    def run(self, minutes):
        """Advance; returns the events recorded meanwhile."""
        seen = len(self.records)
        for _ in range(minutes):
            now = START + timedelta(minutes=self.minute)
            moves = [(c.target, c.closed) for c in self.controls if c.target not in self.stuck]
            situation = self.plant.step(now, moves)
            for name, closed in self.plant.positions.items():
                self.desk.see(name, float(closed))
            for line in range(10):
                self.desk.see(f"line.{line}", float(f"line.{line}" in situation.faulted))
            out = Outbox("dms")
            out.begin(now)
            self.desk.step(now, out)
            outcome = out.outcome()
            self.controls, self.messages = list(outcome.controls), [*self.messages, *outcome.messages]
            self.records += outcome.records
            self.minute += 1
        return [record.event for record in self.records[seen:]]

    @property
    def dark(self):
        """Buses without supply."""
        return {int(bus) for bus in np.flatnonzero(~self.plant.situation.energised[:11])}


def test_locate_isolate_supply_wait_and_go_back():
    desk = Desk(line=1, repaired=20)
    assert desk.run(1) == ["fault_detected"]
    assert desk.dark == {2, 3, 4, 5, 10}
    assert desk.run(1) == ["restoration_planned"]
    assert {(c.target, c.closed) for c in desk.controls} == {("switch.2", False), ("switch.3", False)}
    assert desk.run(1) == []  # opened and seen: now it closes
    assert {c.target for c in desk.controls} == {"switch.0", "switch.18"}
    assert desk.run(1) == ["supply_restored"]
    assert desk.dark == set()
    assert desk.run(16) == []
    assert desk.run(3) == ["fault_repaired", "normal_operation"]
    assert desk.plant.positions == make_graph(compile_net(feeders()).network).devices
    assert desk.desk.stage is Stage.NORMAL


def test_a_switch_that_does_not_move_is_reported_and_done_without():
    desk = Desk(line=1, stuck=["switch.3"])
    events = desk.run(10)
    assert events[:3] == ["fault_detected", "restoration_planned", "switching_failed"]
    assert events[3:] == ["restoration_planned", "supply_restored"]
    assert "switch.3" in desk.records[2].detail
    # the next switch behind it isolates instead; station 3 stays dark
    assert desk.plant.positions["switch.4"] is False
    assert desk.dark == {3}


def test_watching_only_leaves_everything_to_the_repair():
    desk = Desk(line=1, repaired=10, enabled=False)
    assert desk.run(10) == ["fault_detected"]
    assert desk.controls == []
    assert desk.dark == {2, 3, 4, 5, 10}
    desk.run(2)
    assert desk.dark == set()


def test_a_second_fault_is_planned_together_with_the_first():
    desk = Desk(line=1)
    desk.plant._faults = (
        *desk.plant._faults,
        Fault(element="line.5", at=START + timedelta(minutes=6), repaired_at=START + timedelta(hours=2)),
    )
    events = desk.run(12)
    assert events.count("fault_detected") == 2
    assert events[-1] == "supply_restored"
    # between the two faults and the open tie nobody can be supplied but the heads of the feeders
    assert desk.dark == {3, 4, 5, 7, 8, 9}


@pytest.mark.parametrize("energy", [0.0, 2.0])
def test_a_microgrid_in_the_dark_is_asked_only_if_it_has_energy(energy):
    carrier = Carrier(
        name="mg",
        mgms="mgms_mg",
        breaker="mg_pcc",
        device="switch.19",
        bus=5,
        storage="battery",
        former="ext_grid.1",
        s_mva=2.0,
    )
    desk = Desk(line=3, carriers=(carrier,))
    # the tie belongs to the microgrid here, so that nothing else reaches the last station
    desk.plant.positions["switch.19"] = False
    desk.run(5)
    assert desk.dark == {5}
    profile = PQProfile(
        start=START, step_s=900, p_mw=(0.0,) * 4, q_mvar=(0.0,) * 4, p_min_mw=(-1.0,) * 4, p_max_mw=(0.0,) * 4,
        q_min_mvar=(0.0,) * 4, q_max_mvar=(0.0,) * 4,
    )  # fmt: skip
    desk.desk.offer(
        FlexibilityForecast(
            id="o", subject="mg", issued_at=START, product=Product.CRP, profile=profile, energy_up_mwh=energy,
            energy_down_mwh=0.0,
        )
    )  # fmt: skip
    events = desk.run(2)
    assert ("island_planned" in events) == (energy > 0)
    orders = [message.body for message in desk.messages if message.receiver == "mgms_mg"]
    assert [(order.target, order.closed, order.grid_forming) for order in orders] == (
        [("mg_pcc", True, True)] if energy > 0 else []
    )
