"""AMS and an MGMS as processes of their own over MQTT/TLS, grid and DMS in mosaik."""

import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.broker import BrokerProcess, find_mosquitto
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.study.mixed import actor_processes, run_mixed
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.site import load_site
from tests.bridges_live.lab import until
from tests.conftest import CONGESTED, scenario

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")

SEQUENCE = {
    "FlexibilityForecast", "Offer", "FlexibilityRequest", "OfferList", "Bid", "ReserveNotification", "OperationPlan",
    "ActivationNotification", "ControlSignal", "VerificationNotification", "SettlementStatement",
}  # fmt: skip
LIVE = ("ams", "mgms_molkerei")
MORNING = {"start": "2016-08-22T07:00:00+00:00", "duration_h": 3.25}
"""Intraday market at 07:20, delivery from 09:00, call at 09:15, settled at 10:00."""


def make_site(folder: Path, actors):
    (folder / "scenario.yaml").write_text(json.dumps({**CONGESTED, "grid": str(_grid()), **MORNING}))
    k.write_lab(folder / "keys", [*actors, "study", "broker"])
    broker = BrokerProcess(keys=folder / "keys", work=folder / "broker")
    site = {
        "scenario": "scenario.yaml", "clock": "study", "broker": {"port": broker.port, "keepalive_s": 2},
        "retry": {"first_s": 0.5}, "registration": {"limit_s": 120}, "actors": {name: {} for name in LIVE},
    }  # fmt: skip
    (folder / "site.yaml").write_text(json.dumps(site))
    return broker, folder / "site.yaml"


def _grid():
    return scenario().grid_folder().resolve()


@pytest.fixture
def names(fresh):
    return fresh.names


def data(folder):
    skip = ("manifest.json", "scenario.resolved.yaml")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name not in skip}  # fmt: skip


def steps_of(store):
    """Steps in a store that another process writes."""
    try:
        with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as db:
            return db.execute("SELECT max(step) FROM steps").fetchone()[0] or 0
    except sqlite3.Error:
        return 0


def test_lock_step_gives_the_bytes_of_a_run_in_one_process_whatever_dies_meanwhile(names, tmp_path):
    broker, site_file = make_site(tmp_path, names)
    site = load_site(site_file)
    whole = run_scenario(scenario(grid=str(_grid()), **MORNING), tmp_path / "whole", baseline=False)
    died = []

    def cause_trouble(processes):
        store = tmp_path / "state" / "mgms_molkerei.db"
        until(lambda: steps_of(store) >= 15, 120)
        processes.running["mgms_molkerei"].kill()
        processes.running["mgms_molkerei"].wait()
        processes.start("mgms_molkerei")
        died.append("mgms")
        until(lambda: steps_of(store) >= 30, 120)
        broker.kill()
        broker.start()
        died.append("broker")

    with broker, actor_processes(site_file, LIVE, tmp_path / "logs") as processes:
        thread = threading.Thread(target=cause_trouble, args=(processes,), daemon=True)
        thread.start()
        mixed = run_mixed(site, tmp_path / "mixed")
        counts = mixed.coordinator.counts()
        thread.join()
    assert died == ["mgms", "broker"]
    assert data(tmp_path / "mixed") == data(whole)
    assert set(RunFolder(tmp_path / "mixed").messages["kind"]) >= SEQUENCE
    assert counts["fmp"]["delivered"] > 50, "offers came over the wire"
    assert not any(name.startswith("refused") for each in counts.values() for name in each)


@pytest.mark.slow
def test_on_a_clock_the_sequence_is_completed_too(names, tmp_path):
    broker, site_file = make_site(tmp_path, names)
    with broker, actor_processes(site_file, LIVE, tmp_path / "logs"):
        run_mixed(load_site(site_file), tmp_path / "mixed", rate=300.0)
    messages = RunFolder(tmp_path / "mixed").messages
    assert set(messages["kind"]) >= SEQUENCE
    # what live actors say to each other is in the log as well
    between = messages[(messages["sender"] == "mgms_molkerei") & (messages["receiver"] == "ams")]
    assert {"FlexibilityForecast", "OperationPlan", "VerificationNotification"} <= set(between["kind"])
    assert (messages["delivered_at"] >= messages["sent_at"]).all()
