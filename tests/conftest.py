"""Short studies that several test modules look at, each run once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from heila_mosaik.results.folder import RunFolder
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.schema import Scenario

# The suite says the same of the same code every time; `pytest --hypothesis-profile search` looks for new examples.
settings.register_profile("suite", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("suite")

CONGESTED: dict[str, Any] = {
    "name": "windy_morning",
    "grid": "rural_mv",
    "start": "2016-08-22T04:00:00+00:00",
    "duration_h": 8,
    "step_s": 900,
    "growth": {"der": 1.2},
    "dms": {"cycle_s": 900},
    "market": {"zone": "Europe/Berlin"},
}
"""The windy hours of the demo day in quarter hours: the western wind feeder is overloaded."""


def scenario(**changes: Any) -> Scenario:
    """The congested morning with changes to its top-level keys; mappings merge."""
    merged = {**CONGESTED}
    for key, value in changes.items():
        merged[key] = {**merged[key], **value} if isinstance(merged.get(key), dict) else value
    return Scenario.model_validate(merged)


@pytest.fixture(scope="session")
def make_scenario() -> Callable[..., Scenario]:
    """:func:`scenario`."""
    return scenario


@pytest.fixture(scope="session")
def congested(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Baseline and flexibility of the congested morning."""
    return RunFolder(run_scenario(scenario(), tmp_path_factory.mktemp("study") / "run"))


@pytest.fixture(scope="session")
def data_files() -> Callable[[Path], dict[str, bytes]]:
    """Bytes of all data files of a run folder: everything but the manifest, which holds the wall clock."""

    def read(folder: Path) -> dict[str, bytes]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json")
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}

    return read
