"""Grids from the shelf: the same bytes as grids made anew, also after a pickle and without the grid folder."""

from __future__ import annotations

from distributed.protocol.pickle import dumps, loads

from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.shelf import Shelf


def test_runs_from_a_shipped_shelf_have_the_bytes_of_runs_without(tmp_path, make_scenario, data_files):
    short = {"duration_h": 2, "start": "2016-08-22T09:00:00+00:00"}
    first, second = make_scenario(**short), make_scenario(**short, growth={"der": 1.3}, seed=2)
    shelf = Shelf()
    shelf.grid(first)
    shipped = loads(dumps(shelf.cut([first, second])))
    assert shipped.folder(first).profiles.values is not None  # nothing is read from disk
    # In this order a run that left traces in the shelf would be noticed by the one after it.
    for number, scenario in enumerate((first, second, first)):
        fresh = run_scenario(scenario, tmp_path / f"fresh{number}", baseline=False)
        warm = run_scenario(scenario, tmp_path / f"warm{number}", baseline=False, shelf=shipped)
        assert data_files(fresh) == data_files(warm)
    assert len(shipped) == 2


def test_a_shelf_gives_copies(make_scenario):
    shelf = Shelf()
    one, other = shelf.grid(make_scenario()), shelf.grid(make_scenario(seed=5))
    assert len(shelf) == 1
    one.net.net.line["max_i_ka"] = 0.0
    assert one.engine is not other.engine
    assert other.net.net.line["max_i_ka"].min() > 0.0


def test_a_warm_run_compiles_nothing(tmp_path, make_scenario, monkeypatch):
    from heila_mosaik.gridmodel.engine import CompiledGrid

    scenario, shelf = make_scenario(duration_h=1), Shelf()
    shelf.grid(scenario)

    def compiled(*_given):
        raise AssertionError("compiled again")

    monkeypatch.setattr(CompiledGrid, "__init__", compiled)
    run_scenario(scenario, tmp_path / "run", shelf=shelf)
