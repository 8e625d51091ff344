"""Scenario model built in Python."""

from datetime import UTC, datetime

import pytest
from pydantic import BaseModel, ValidationError

from heila_mosaik.study import schema
from heila_mosaik.study.progress import Progress
from heila_mosaik.study.schema import Scenario

START = datetime(2024, 3, 31, tzinfo=UTC)


def build(**changes):
    return Scenario.model_validate({"name": "x", "grid": "cigre_mv", "start": START, "duration_h": 1.0, **changes})


def test_defaults_make_a_study():
    scenario = build()
    assert scenario.steps == 60
    assert scenario.stop_utc == datetime(2024, 3, 31, 1, tzinfo=UTC)
    assert set(scenario.results.record) >= {"bus_vm_pu", "pcc_p_mw"}


@pytest.mark.parametrize("changes", [{"step_s": 7}, {"duration_h": None}, {"stop": START}, {"dms": {"cycle_s": 90}}])
def test_contradictions_are_refused(changes):
    with pytest.raises(ValidationError):
        build(**changes)


def test_baseline_needs_no_matching_cycle():
    assert build(flexibility=False, dms={"cycle_s": 90}).steps == 60


def test_scenario_is_frozen():
    with pytest.raises(ValidationError):
        build().seed = 2


def test_every_number_with_a_unit_is_described():
    models = [m for m in vars(schema).values() if isinstance(m, type) and issubclass(m, BaseModel)]
    for model in models:
        for name, field in model.model_fields.items():
            if name.endswith(("_s", "_h", "_ms", "_pu", "_percent", "_mwh")):
                assert "[" in (field.description or ""), f"{model.__name__}.{name}"


def test_progress_share():
    told = Progress(phase="run", simulated=START, start=START, stop=START)
    assert told.share == 1.0
