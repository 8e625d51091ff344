"""What surrounds a study and what is known of it beforehand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from heila_mosaik.domain.timegrid import TimeGrid
from heila_mosaik.study.build import Study, build_study, element_map, terminals


@pytest.fixture(scope="module")
def study(make_scenario) -> Study:
    return build_study(make_scenario())


def test_loads_know_their_mean_day(study):
    typical = study.environment.typical
    assert len(typical["molkerei_load"]) == 96
    spec = study.plant.specs["molkerei_load"]
    start = study.scenario.start_utc - timedelta(days=28)
    grid, values = study.folder.profiles.read((spec.profile,), start, study.scenario.start_utc)
    noon = [values[k, 0] for k in range(grid.count) if (grid.at(k).hour, grid.at(k).minute) == (12, 15)]
    assert len(noon) == 28
    assert typical["molkerei_load"][49] == pytest.approx(np.mean(noon))


def test_profiles_reach_beyond_the_study(study):
    grid = study.environment.table.grid
    assert grid.start <= study.scenario.start_utc
    assert grid.stop >= study.scenario.stop_utc + timedelta(days=2)
    assert np.isfinite(study.environment.table.values).all()


def test_followers_leave_the_rows_of_the_microgrids_alone(study):
    row = study.environment.table.at(study.scenario.start_utc)
    where = terminals(study)
    for table, places in (("load", study.network.loads), ("sgen", study.network.sgens)):
        powers = study.environment.followers[f"{table}_P[MW]"].power(row)
        ours = [place for kind, place in zip(where.table, where.row, strict=True) if kind == table]
        assert ours
        assert len(powers) == len(places.ids)
        assert np.all(powers[ours] == 0.0)
        assert np.abs(powers).sum() > 1.0


def test_terminals_name_the_elements_of_the_net(study):
    where, network = terminals(study), study.network
    ids = {"load": network.loads.ids, "sgen": network.sgens.ids, "storage": network.storages.ids}
    found = [(table, int(ids[table][row])) for table, row in zip(where.table, where.row, strict=True)]
    assert found == [element_map(study)[name] for name in study.plant.specs]
    assert len(set(found)) == len(found)


def test_weather_and_prices_follow_the_seed(study, make_scenario):
    other = build_study(make_scenario(seed=2)).environment.truth
    same = build_study(make_scenario()).environment.truth
    truth = study.environment.truth
    assert np.array_equal(truth.spot_eur_per_mwh, same.spot_eur_per_mwh)
    assert not np.array_equal(truth.spot_eur_per_mwh, other.spot_eur_per_mwh)


def test_forecast_of_the_dso_repeats_itself_and_has_the_declared_error(study, make_scenario):
    from heila_mosaik.study.build import _knowledge

    known = _knowledge(build_study(make_scenario(dms={"forecast_error_percent": 10.0})))
    start = datetime(2016, 8, 22, 4, tzinfo=UTC)
    long = known.profile(TimeGrid(start=start, step_s=900, count=48))[0]
    short = known.profile(TimeGrid(start=start + timedelta(hours=3), step_s=900, count=4))[0]
    np.testing.assert_array_equal(long[12:16], short)
    exact = _knowledge(build_study(make_scenario(dms={"forecast_error_percent": 0.0}))).profile(
        TimeGrid(start=start, step_s=900, count=48)
    )[0]
    busy = np.abs(exact) > 0.01
    error = (long[busy] / exact[busy]) - 1.0
    assert 0.07 < error.std() < 0.13
    assert abs(error.mean()) < 0.04


def test_the_dso_has_an_engine_of_its_own(study):
    from heila_mosaik.study.build import _knowledge

    known = _knowledge(study)
    assert known.engine is not study.engine
    given = study.engine.default_input()
    before = study.engine.solve(given).vm_pu.copy()
    known.engine.set_in_service("line", int(study.network.lines.ids[-1]), False)
    np.testing.assert_array_equal(study.engine.solve(given).vm_pu, before)
    assert not set(known.names) & {f"{t}.{e}" for t, e in element_map(study).values()}
