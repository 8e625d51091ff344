"""``heila observe``: what a scenario's telemetry sees, and that a meter it advises helps as it says."""

from __future__ import annotations

import json

import pytest

from heila_mosaik.cli import main

SCENARIO = ["scenarios/cigre_congestion.yaml", "--at", "2016-05-29T10:00:00+00:00"]


def call(*more):
    with pytest.raises(SystemExit) as stop:
        main(["observe", *SCENARIO, *more])
    return stop.value.code or 0


def look(capsys, *more):
    assert call("--json", *more) == 0
    return json.loads(capsys.readouterr().out)


def test_the_meter_it_advises_lowers_the_uncertainty(capsys):
    before = look(capsys)
    meter = before["advice"][0]["meter"]
    after = look(capsys, "--set", f"telemetry.meters=[{meter}]")
    assert after["measurements"] > before["measurements"]
    assert meter not in [one["meter"] for one in after["advice"]]
    assert max(after["voltage_sigma_pu"].values()) < max(before["voltage_sigma_pu"].values())
    assert len(after["unobservable"]) <= len(before["unobservable"])


def test_a_meter_that_does_not_exist_is_named(capsys):
    assert call("--set", "telemetry.meters=[bus.77]") == 2
    said = capsys.readouterr().err
    assert "bus.77" in said
    assert "the grid has no such element" in said
