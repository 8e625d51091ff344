"""Actors of a study and their settings."""

from __future__ import annotations

import numpy as np
import pytest

from heila_mosaik.domain.streams import stream
from heila_mosaik.study.build import build_study, make_exchange
from heila_mosaik.study.companies import make_calendar


@pytest.fixture(scope="module")
def study(make_scenario):
    return build_study(make_scenario())


def test_every_company_takes_part(study):
    exchange, probes = make_exchange(study, flexibility=True)
    names = exchange.names
    assert {"spp", "sau", "ams", "dms", "fmp"} < set(names)
    assert {f"mgms_{part.name}" for part in study.folder.microgrids} < set(names)
    assert names.index("spp") < names.index("ams") < names.index("dms") < names.index("fmp")
    values = probes["estimate_vm_pu"]()
    assert len(values) == len(study.network.bus_ids)
    assert np.isnan(values).all()


def test_a_baseline_has_every_company_but_the_dso(study):
    exchange, probes = make_exchange(study, flexibility=False)
    assert set(make_exchange(study, flexibility=True)[0].names) - set(exchange.names) == {"dms", "sau"}
    assert not probes


def test_calendar_follows_the_scenario(make_scenario):
    calendar = make_calendar(make_scenario(market={"day_ahead": {"flexibility_at": "15:30", "offers_at": "18:00"}}))
    assert calendar.forecast_at.strftime("%H:%M") == "15:15"
    assert calendar.offers_at.strftime("%H:%M") == "17:50"
    assert calendar.day_ahead_gate.strftime("%H:%M") == "18:00"
    assert calendar.zone == "Europe/Berlin"


def test_streams_are_named_and_repeat():
    assert stream(1, "weather").random() == stream(1, "weather").random()
    assert len({stream(seed, name).random() for seed in (1, 2) for name in ("weather", "prices")}) == 4
