"""Protection, islands and the return, on a small grid with two grid-forming storages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandapower as pp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.domain.switchgear import Fault, Former, Switchgear, overload
from heila_mosaik.domain.topology import make_graph
from heila_mosaik.gridmodel import compile_net
from tests.domain.switched_net import feeders

START = datetime(2016, 8, 21, 17, tzinfo=UTC)


def minute(count):
    return START + timedelta(minutes=count)


@pytest.fixture(scope="module")
def net():
    """The two feeders with a microgrid behind a breaker at the end of A and one at the middle of B."""
    net = feeders()
    for bus in (5, 7):
        behind = pp.create_bus(net, 20.0)
        pp.create_switch(net, bus, behind, "b", type="CB")
        pp.create_load(net, behind, 0.3, 0.05)
        pp.create_ext_grid(net, behind, vm_pu=1.0, in_service=False)
    return net


@pytest.fixture(scope="module")
def engine(net):
    return compile_net(net)


def gear(engine, *faults):
    graph = make_graph(engine.network)
    formers = [
        Former(name=f"storage_{k}", microgrid=f"mg_{k}", bus=11 + k, element=f"ext_grid.{1 + k}", rating_mva=1.0 + k)
        for k in range(2)
    ]
    return Switchgear(
        graph, [0], formers, [Fault(element=e, at=minute(a), repaired_at=minute(b)) for e, a, b in faults]
    )


def kinds(situation):
    return [event.kind for event in situation.events]


def test_a_fault_opens_the_nearest_breakers_and_the_microgrid_holds_its_island(engine):
    machine = gear(engine, ("line.2", 1, 9))
    assert kinds(machine.step(minute(0), [])) == []
    situation = machine.step(minute(1), [])
    assert kinds(situation) == ["fault", "tripped", "tripped", "island_formed"]
    assert situation.moved == {"switch.0": False, "switch.20": False}
    assert situation.forming == ("storage_0",)
    assert situation.islands["storage_0"] == (11,)
    live = {bus for bus in range(13) if situation.energised[bus]}
    assert live == {0, 1, 6, 7, 8, 9, 11, 12}
    assert machine.step(minute(2), []).events == []
    # closing onto the fault trips again
    again = machine.step(minute(3), [("switch.0", True)])
    assert kinds(again) == ["switched", "tripped"]
    assert again.moved == {"switch.0": False}


def test_the_island_grows_and_follows_the_grid_when_it_meets_it(engine):
    machine = gear(engine, ("line.1", 1, 9))
    machine.step(minute(1), [])
    # isolate line 1, let the microgrid take buses 4 and 5 (lines 2 and 3 stay closed)
    machine.step(minute(2), [("switch.2", False), ("switch.3", False), ("switch.4", False)])
    grown = machine.step(minute(3), [("switch.20", True)])
    assert kinds(grown) == ["switched", "island_changed"]
    assert grown.islands["storage_0"] == (4, 5, 11)
    met = machine.step(minute(4), [("switch.18", True)])  # the tie
    assert kinds(met) == ["switched", "resynchronised"]
    assert met.forming == ()
    assert met.energised[[4, 5, 11]].all()


def test_two_storages_share_no_island_the_larger_one_holds_it(engine):
    machine = gear(engine, ("line.0", 1, 99), ("line.4", 1, 99))
    machine.step(minute(1), [])
    machine.step(minute(2), [("switch.1", False), ("switch.9", False)])
    machine.step(minute(3), [("switch.20", True), ("switch.21", True)])
    joined = machine.step(minute(4), [("switch.18", True)])
    assert joined.forming == ("storage_1",)
    assert len(joined.islands) == 1


def test_an_overloaded_storage_trips_and_stays_off_until_the_grid_is_back(engine):
    machine = gear(engine, ("line.2", 1, 5))
    machine.step(minute(1), [])
    lost = machine.step(minute(2), [], {"storage_0": "too much"})
    assert kinds(lost) == ["island_lost"]
    assert not lost.energised[11]
    assert machine.step(minute(3), []).forming == ()
    machine.step(minute(5), [("switch.0", True)])
    back = machine.step(minute(6), [("switch.20", True)])
    assert back.energised[11]
    machine.step(minute(7), [("switch.20", False)])
    assert machine.situation.forming == ("storage_0",)


def test_overload_in_words():
    assert overload("b", -0.9, 0.0, (-1.0, 1.0), 1.2) == ""
    assert "give 1.200 MW and can give 1.000 MW" in overload("b", -1.2, 0.0, (-1.0, 1.0), 1.5)
    assert "take 0.500 MW" in overload("b", 0.5, 0.0, (-1.0, 0.2), 1.5)
    assert "MVA" in overload("b", -0.9, 1.2, (-1.0, 1.0), 1.2)


def solved(net, engine, machine):
    """State of the plant with the formers in service, by our engine and by pandapower."""
    plant = engine.copy()
    plant.set_switches({int(n.partition(".")[2]): c for n, c in machine.positions.items()})
    for k in range(2):
        plant.set_in_service("ext_grid", 1 + k, f"storage_{k}" in machine.situation.forming)
    state = plant.solve(plant.default_input())
    truth = plant.to_pandapower(plant.default_input())
    pp.runpp(truth, numba=False)
    return plant, state, truth


@given(
    moves=st.lists(st.tuples(st.integers(0, 21), st.booleans()), max_size=12),
    faults=st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 4), st.integers(5, 12)), max_size=2, unique_by=lambda f: f[0]
    ),
)
@settings(max_examples=25, deadline=None)
def test_no_fault_is_fed_and_every_island_is_balanced_in_every_step(net, engine, moves, faults):
    machine = gear(engine, *((f"line.{line}", a, b) for line, a, b in faults))
    graph = machine.graph
    for count in range(13):
        situation = machine.step(minute(count), [(f"switch.{s}", c) for s, c in moves[count : count + 1]])
        closed = graph.links(machine.positions)
        part = graph.parts(closed)
        for element in situation.faulted:
            assert not situation.energised[graph.place(element)]
        for bus in (11, 12):
            holders = [name for name, island in situation.islands.items() if bus in island]
            assert len(holders) <= 1
            assert not (holders and part[bus] == part[0])
    plant, state, truth = solved(net, engine, machine)
    np.testing.assert_array_equal(np.isfinite(state.vm_pu), machine.situation.energised[:13])
    np.testing.assert_allclose(state.vm_pu, truth.res_bus.vm_pu, rtol=0, atol=1e-6)
    p, _q = plant.bus_injection(plant.default_input())
    n = len(state.vm_pu)
    line_part = part[n : n + len(state.line_p_from_mw)]
    losses = (truth.res_line.p_from_mw + truth.res_line.p_to_mw).to_numpy()
    for k in range(2):
        if f"storage_{k}" in machine.situation.forming:
            here = part[:n] == part[11 + k]
            demand = p[here].sum() + np.nansum(losses[line_part == part[11 + k]])
            assert state.ext_p_mw[1 + k] == pytest.approx(demand, abs=1e-5)
