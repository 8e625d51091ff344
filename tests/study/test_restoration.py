"""A storm over a feeder, from the fault to normal operation, with and without microgrids."""

from __future__ import annotations

import json
from datetime import timedelta

import numpy as np
import pandapower as pp
import pandas as pd
import pytest

from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.kpis import compute_kpis
from heila_mosaik.results.report import render
from heila_mosaik.results.supply import islands_at, open_switches, plant_events, supplied, switching
from heila_mosaik.study.run import run_scenario

EVENTS = [
    {"line": 44, "at": "2016-08-21T17:15:00+00:00", "repaired_at": "2016-08-21T18:05:00+00:00"},
    {"line": 94, "at": "2016-08-21T17:15:00+00:00", "repaired_at": "2016-08-21T17:45:00+00:00"},
]


@pytest.fixture(scope="module")
def storm(make_scenario, tmp_path_factory):
    """Ninety minutes: line and tie of the southern feeder break together."""
    scenario = make_scenario(
        name="storm",
        start="2016-08-21T17:00:00+00:00",
        duration_h=1.5,
        step_s=60,
        dms={"cycle_s": 60},
        microgrids={"soc_start_percent": 70.0},
        events=EVENTS,
        restoration={"repair_h": 1.0, "priority": {"load.48": 1}},
    )
    return RunFolder(run_scenario(scenario, tmp_path_factory.mktemp("storm") / "run"))


def at(text):
    """Time of the evening."""
    return pd.Timestamp(f"2016-08-21T{text}:00", tz="UTC")


def test_the_story_has_the_right_order(storm):
    told = [(row["who"].split("_")[0], row["event"]) for row in switching(storm)]
    story = [
        ("plant", "fault"),
        ("plant", "tripped"),
        ("plant", "island formed"),
        ("dms", "fault detected"),
        ("dms", "restoration planned"),
        ("plant", "switched"),
        ("dms", "supply restored"),
        ("dms", "island planned"),
        ("mgms", "island extended"),
        ("plant", "island changed"),
        ("plant", "repaired"),
        ("plant", "resynchronised"),
        ("dms", "normal operation"),
    ]
    places = [told.index(step) for step in story]
    assert places == sorted(places)
    assert not {"island lost", "switching failed"} & {event for _, event in told}


def test_afterwards_every_switch_stands_where_it_stood(storm):
    last = storm.series("bus_vm_pu").index[-1]
    assert open_switches(storm, last) == open_switches(storm, at("17:00"))
    assert np.isfinite(storm.series("bus_vm_pu").iloc[-1]).all()
    assert islands_at(storm, last) == {}


def test_microgrids_shorten_the_interruption(storm):
    figures = compute_kpis(storm)
    with_them, without = figures["supply"], figures["baseline"]["supply"]
    energy = [part["ens_mwh"] + part["ens_microgrids_mwh"] for part in (with_them, without)]
    assert 0.0 < energy[0] < 0.6 * energy[1]
    assert with_them["saidi_min"] < without["saidi_min"] < without["untouched"]["saidi_min"]
    assert with_them["saifi"] <= without["saifi"]
    assert with_them["customers"] == without["customers"] > 10_000
    assert without["islands"] == 0
    assert with_them["islands_lost"] == 0


def test_the_load_of_first_priority_is_carried(storm):
    found = storm.series("load_supplied")["48"]
    dark = found.index[found < 0.5]
    assert dark[0] == at("17:15")
    assert dark[-1] < at("17:25")


@pytest.mark.parametrize("moment", ["17:10", "17:16", "17:22", "17:40", "17:50", "18:20"])
def test_the_switched_state_is_what_pandapower_finds(storm, moment):
    net, now = pp.from_json(str(storm.path / "net.json")), at(moment)
    # replay every command of the plant
    for event in plant_events(storm):
        if event["at"] <= now and "closed" in event:
            net.switch.loc[int(event["element"].partition(".")[2]), "closed"] = event["closed"]
    supply = storm.series("load_supplied").loc[now].to_numpy() > 0.5
    for table in ("load", "sgen", "storage"):
        for column in ("p_mw", "q_mvar"):
            net[table][column] = storm.series(f"{table}_{column}").loc[now].to_numpy()
    net.load["in_service"] = net.load["in_service"] & _connected(storm, net, "load", now)
    net.sgen["in_service"] = _connected(storm, net, "sgen", now)
    holders = islands_at(storm, now)
    for name in holders:
        former = net.ext_grid.index[net.ext_grid.name == f"{name}_battery"]
        net.ext_grid.loc[former, "in_service"] = True
    pp.runpp(net, numba=False, tolerance_mva=1e-9)
    np.testing.assert_allclose(storm.series("bus_vm_pu").loc[now], net.res_bus.vm_pu, rtol=0, atol=1e-6)
    live = net.res_bus.vm_pu.notna()[net.load.bus].to_numpy() & net.load.in_service.to_numpy()
    np.testing.assert_array_equal(supply, live)
    for name in holders:
        (former,) = net.ext_grid.index[net.ext_grid.name == f"{name}_battery"]
        recorded = storm.series("ext_p_mw").loc[now][str(former)]
        assert recorded == pytest.approx(net.res_ext_grid.p_mw[former], abs=1e-6)


def _connected(run, net, table, now):
    """Loads or generators that were not sent off by a command in force."""
    sent = run.records[(run.records["actor"] == "dms") & (run.records["event"] == "island_planned")]
    off = set()
    for time, values in zip(sent["at"], sent["values"].map(json.loads), strict=True):
        if time + timedelta(minutes=1) <= now < at("17:47"):
            off |= {name for name in values["disconnect"].split(", ") if name.startswith(f"{table}.")}
    return ~net[table].index.map(lambda element: f"{table}.{element}" in off).to_numpy(bool)


def test_what_an_island_takes_leaves_its_battery(storm):
    """Energy fed as the source of the island, over the efficiency, is what the content lost."""
    part = next(grid for grid in storm.grid["microgrids"] if grid["name"] == "siedlung")
    assert any(resource["name"] == "siedlung_battery" for resource in part["resources"])
    net = pp.from_json(str(storm.path / "net.json"))
    (former,) = net.ext_grid.index[net.ext_grid.name == "siedlung_battery"]
    fed = storm.series("ext_p_mw")[str(former)].fillna(0.0)
    held = fed.index[fed.abs() > 0]
    assert len(held) > 25
    soc = storm.series("resource_soc_percent")["siedlung_battery"]
    followed = storm.series("storage_p_mw")[
        str(next(r["element"] for r in part["resources"] if r["name"] == "siedlung_battery"))
    ]
    assert (followed[held].abs() < 1e-9).all()
    # the step after the last one settles it; in between the battery has no set point
    before, after = soc[held[0] - pd.Timedelta(minutes=1)], soc[held[-1] + pd.Timedelta(minutes=1)]
    plan = followed[held[-1] + pd.Timedelta(minutes=1)]
    drawn = fed[held].sum() / 60.0 / 0.95 - max(plan, 0.0) / 60.0 * 0.95 - min(plan, 0.0) / 60.0 / 0.95
    lost = (1.0 - 0.005 / 100.0) ** ((len(held) + 1) / 60.0)
    assert before / 100.0 * 4.5 * lost - drawn == pytest.approx(after / 100.0 * 4.5, abs=2e-4)


def test_nothing_is_drawn_where_there_is_no_voltage(storm):
    base = storm.baseline
    own = next(grid for grid in base.grid["microgrids"] if grid["name"] == "siedlung")
    dark = base.series("bus_vm_pu")[str(own["bus"])].isna()
    assert dark.sum() > 20
    names = [resource["name"] for resource in own["resources"]]
    assert (base.series("resource_p_mw").loc[dark.index[dark], names].abs() == 0).all(axis=None)
    assert (base.series("resource_unserved_mw").loc[dark.index[dark], "siedlung_load"] > 0).all()
    found = supplied(base)
    assert found.interrupted.max() > supplied(storm).interrupted.min()


def test_the_report_tells_it(storm):
    page = render(storm)
    for text in (
        "Faults, switching and islands",
        "Energy not supplied",
        "figure-supply_map",
        "short circuit on line.44",
    ):
        assert text in page
