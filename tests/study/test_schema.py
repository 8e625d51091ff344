"""Scenario model built in Python."""

import ast
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from pydantic import BaseModel, ValidationError

from heila_mosaik.study import schema
from heila_mosaik.study.companies import make_calendar
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


def keys(model):
    """Names of all keys of a part, with those below it."""
    for name, field in model.model_fields.items():
        yield name
        options = [field.annotation, *get_args(field.annotation)]
        for option in options:
            if isinstance(option, type) and issubclass(option, BaseModel):
                yield from keys(option)


def test_no_key_is_ignored():
    """Every key is read somewhere outside the schema, so that setting it does something."""
    package = Path(schema.__file__).parents[1]
    readers = [p for part in ("study", "cli", "results") for p in (package / part).glob("*.py") if p.stem != "schema"]
    read = {
        node.attr
        for path in readers
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    through_the_scenario = {"duration_h", "stop", "start", "grid", "description"}
    assert set(keys(Scenario)) - read - through_the_scenario == set()


@pytest.mark.parametrize(
    "market",
    [
        {"delivery_s": 7200},
        {"delivery_s": 1800, "intraday": {"horizon_h": 0.75}},
        {"day_ahead": {"flexibility_at": "18:25"}},
        {"day_ahead": {"flexibility_at": "00:05"}},
        {"day_ahead": {"bids_at": "19:08"}},
        {"product": "FCR-N"},
    ],
)
def test_market_that_no_calendar_holds_is_refused(market):
    with pytest.raises(ValidationError):
        build(market=market)


@pytest.mark.parametrize(
    "market",
    [
        {},
        {"delivery_s": 900, "intraday": {"horizon_h": 0.25, "lead_s": 60}},
        {"day_ahead": {"flexibility_at": "00:15", "offers_at": "00:26", "request_at": "00:27", "bids_at": "00:38"}},
        {"intraday": {"enabled": False}},
    ],
)
def test_market_accepted_makes_a_calendar(market):
    scenario = build(market=market)
    assert make_calendar(scenario).delivery_s == scenario.market.delivery_s
