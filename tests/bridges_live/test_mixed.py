"""AMS and an MGMS as processes of their own over MQTT/TLS, grid and DMS in mosaik."""

import time
from pathlib import Path

import pytest

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.broker import BrokerProcess, find_mosquitto
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.study.mixed import actor_processes, run_mixed
from heila_mosaik.study.run import run_scenario
from heila_mosaik.study.site import load_site
from tests.conftest import CONGESTED, scenario

pytestmark = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")

SEQUENCE = {
    "FlexibilityForecast", "Offer", "FlexibilityRequest", "OfferList", "Bid", "ReserveNotification", "OperationPlan",
    "ActivationNotification", "ControlSignal", "VerificationNotification", "SettlementStatement",
}  # fmt: skip
LIVE = ("ams", "mgms_molkerei")


def make_site(folder: Path, actors, **changes):
    import json

    (folder / "scenario.yaml").write_text(json.dumps({**CONGESTED, "grid": str(_grid()), **changes}))
    k.write_lab(folder / "keys", [*actors, "study", "broker"])
    broker = BrokerProcess(keys=folder / "keys", work=folder / "broker")
    site = {
        "scenario": "scenario.yaml", "clock": "study", "broker": {"port": broker.port, "keepalive_s": 2},
        "retry": {"first_s": 0.5}, "registration": {"limit_s": 120}, "actors": {name: {} for name in LIVE},
    }  # fmt: skip
    (folder / "site.yaml").write_text(json.dumps(site))
    return broker, folder / "site.yaml"


def _grid():
    return scenario().grid_folder()


@pytest.fixture
def names(fresh):
    return fresh.names


def data(folder):
    skip = ("manifest.json", "scenario.resolved.yaml")
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and p.name not in skip}  # fmt: skip


def test_lock_step_gives_the_bytes_of_a_run_in_one_process(names, tmp_path):
    broker, site_file = make_site(tmp_path, names)
    site = load_site(site_file)
    whole = run_scenario(scenario(grid=str(_grid())), tmp_path / "whole", baseline=False)
    with broker, actor_processes(site_file, LIVE, tmp_path / "logs") as processes:
        mixed = run_mixed(site, tmp_path / "mixed")
        counts = mixed.coordinator.counts()
        assert processes.running.keys() == set(LIVE)
    assert data(tmp_path / "mixed") == data(whole)
    kinds = set(RunFolder(tmp_path / "mixed").messages["kind"])
    assert kinds >= SEQUENCE
    assert counts["fmp"]["delivered"] > 100, "offers came over the wire"
    assert not any(name.startswith("refused") for each in counts.values() for name in each)


@pytest.mark.slow
def test_real_time_with_a_kill_and_an_outage_of_the_broker(names, tmp_path):
    broker, site_file = make_site(tmp_path, names)
    site = load_site(site_file)
    import threading

    trouble = []

    def cause_trouble():
        try:
            state = tmp_path / "state" / "mgms_molkerei.db"
            while not state.exists() or processes.running["mgms_molkerei"].poll() is not None:
                time.sleep(0.1)
            time.sleep(20)
            processes.running["mgms_molkerei"].kill()
            processes.running["mgms_molkerei"].wait()
            processes.start("mgms_molkerei")
            time.sleep(20)
            broker.kill()
            time.sleep(1)
            broker.start()
        except BaseException as error:
            trouble.append(error)

    with broker, actor_processes(site_file, LIVE, tmp_path / "logs") as processes:
        thread = threading.Thread(target=cause_trouble, daemon=True)
        thread.start()
        run_mixed(site, tmp_path / "mixed", rate=480.0)
        thread.join()
    assert trouble == []
    kinds = set(RunFolder(tmp_path / "mixed").messages["kind"])
    assert kinds >= SEQUENCE
