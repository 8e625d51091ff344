"""From the microgrid file to resources and their controllers, and their energy over a day in the world."""

from __future__ import annotations

import pytest

from heila_mosaik.actors.cems import Cems
from heila_mosaik.actors.ied import Ied
from heila_mosaik.domain.resources import EvSpec, LoadSpec
from heila_mosaik.simulators import resources as resource_simulator
from heila_mosaik.study.gridfolder import load_grid_folder
from heila_mosaik.study.microgrids import connections, make_plant, rating_mva, specification
from heila_mosaik.study.run import run_scenario


@pytest.fixture(scope="module")
def microgrids(make_scenario):
    return load_grid_folder(make_scenario().grid_folder()).microgrids


def test_every_resource_has_exactly_one_controller(microgrids):
    plant = make_plant(microgrids, None, 60.0)
    positions = [place for controller in plant.controllers for place in controller.positions]
    assert sorted(positions) == list(range(len(plant.specs)))
    assert set(plant.controller_of()) == set(plant.specs) == set(plant.tables)
    assert {actor.name for actor in plant.fields} == {controller.name for controller in plant.controllers}
    assert any(isinstance(actor, Cems) for actor in plant.fields)
    assert any(isinstance(actor, Ied) for actor in plant.fields)
    breakers = [name for controller in plant.controllers for name in controller.breakers]
    assert sorted(breakers) == sorted(part.pcc.breaker for part in microgrids)


@pytest.mark.parametrize("control", ["centralised", "distributed"])
def test_control_variant_can_be_overridden(microgrids, control):
    fields = make_plant(microgrids, control, 60.0).fields
    settings = [getattr(actor, "settings", None) for actor in fields]
    assert {own.distributed for own in settings if own is not None} == {control == "distributed"}


def test_specification_translates_sites_and_columns(microgrids):
    parts = [part for microgrid in microgrids for part in microgrid.resources]
    for part in parts:
        spec = specification(part)
        assert rating_mva(spec) > 0
        if isinstance(spec, EvSpec):
            assert spec.sessions_per_day == pytest.approx(part.sessions_per_day * part.chargers)
        if isinstance(spec, LoadSpec) and spec.profile:
            assert spec.profile.endswith("_pload")


def test_connections_keep_names_and_buses(microgrids):
    found = connections(microgrids)
    assert [(c.name, c.bus) for c in found] == [(part.name, part.bus) for part in microgrids]
    tables = {table for c in found for _, table, _ in c.resources}
    assert tables == {"load", "sgen", "storage"}


def test_no_energy_from_nowhere_over_a_day_of_trade(make_scenario, tmp_path, monkeypatch):
    """Energy book of every resource balances, and its terminals' energy is the one recorded in the run folder."""
    fleets = []
    original = resource_simulator.Fleet

    def keep(*arguments):
        fleets.append(original(*arguments))
        return fleets[-1]

    monkeypatch.setattr(resource_simulator, "Fleet", keep)
    from heila_mosaik.results.folder import RunFolder

    scenario = make_scenario(start="2016-08-22T00:00:00+00:00", duration_h=24)
    run = RunFolder(run_scenario(scenario, tmp_path / "run", baseline=False))
    energy = run.series("resource_p_mw").sum() * 0.25
    (fleet,) = fleets
    assert set(energy.index) == set(fleet.names)
    for name, model in zip(fleet.names, fleet.models, strict=True):
        assert abs(model.book.residual_mwh) < 1e-9, name
        assert model.book.electric_mwh == pytest.approx(energy[name], abs=1e-9), name
    assert run.bodies("ActivationNotification")
