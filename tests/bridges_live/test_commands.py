"""``heila keys | actor | broker | bench transfer`` as a user calls them."""

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pytest

from heila_mosaik.bridges import keys as k
from heila_mosaik.bridges.broker import BrokerProcess, find_mosquitto
from heila_mosaik.bridges.store import Store
from heila_mosaik.cli.app import main
from heila_mosaik.errors import ProblemsError
from heila_mosaik.study.live import settings_id, site_scenario
from heila_mosaik.study.site import load_site
from heila_mosaik.study.transfer import CASES, measure
from tests.bridges_live.lab import until
from tests.conftest import CONGESTED, scenario

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


def call(*arguments):
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code or 0
    return 0


def test_keys_of_a_laboratory(tmp_path, capsys):
    folder = tmp_path / "lab"
    assert call("keys", "make", folder, "ams", "mgms_a", "--host", "lab.example") == 0
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"ams", "mgms_a", "study", "broker"}
    before = (folder / "ams/signing.json").read_bytes()
    assert call("keys", "make", folder, "ams") == 2
    assert "never overwritten" in capsys.readouterr().err
    assert call("keys", "make", tmp_path / "other") == 2
    assert (folder / "ams/signing.json").read_bytes() == before
    certificate = (folder / "ams/tls.pem").read_bytes()
    assert call("keys", "rotate", folder, "ams", "--tls") == 0
    assert (folder / "ams/tls.pem").read_bytes() != certificate
    assert len(k.load(folder, "ams").signing) == 2
    assert call("keys", "show", folder) == 0
    assert "mgms_a" in capsys.readouterr().out
    out = tmp_path / "stick"
    assert call("keys", "export", folder, "mgms_a", out) == 0
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()) == [
        "ca.pem", "mgms_a/encryption.json", "mgms_a/signing.json", "mgms_a/tls.key", "mgms_a/tls.pem", "trust.json",
    ]  # fmt: skip
    assert call("keys", "export", folder, "mgms_a", out) == 2
    assert call("keys", "rotate", out, "mgms_a", "--tls") == 2, "a stick holds no CA key"


BAD = """\
scenario: s.yaml
clock: {rate: 60}
brokr: {}
actors:
  ams: {over_https: [mgms_a]}
  mgms_a: {https: {port: 99999}}
"""


def test_everything_wrong_with_a_site_is_said_at_once(tmp_path):
    path = tmp_path / "site.yaml"
    path.write_text(BAD)
    with pytest.raises(ProblemsError) as caught:
        load_site(path)
    text = str(caught.value)
    assert f"{path}:3" in text
    assert "brokr: unknown key" in text
    assert "needs simulated and wall" in text
    assert f"{path}:6" in text
    path.write_text("scenario: s.yaml\nactors: {ams: {over_https: [mgms_a]}, mgms_a: {}}\n")
    with pytest.raises(ProblemsError, match="mgms_a has no https"):
        load_site(path)
    path.write_text("scenario: s.yaml\nactors: {mgms_a: {}, mgms_b: {}, ams: {}}\n")
    site = load_site(path)
    assert site.find("ams") == site.find("ams")
    with pytest.raises(ProblemsError, match="2 actors have the role 'mgms'"):
        site.find("mgms")
    with pytest.raises(ProblemsError, match="no actor is called 'dms'"):
        site.find("dms")


def write_site(folder, broker, names, **more):
    (folder / "scenario.yaml").write_text(json.dumps({**CONGESTED, "grid": str(scenario().grid_folder().resolve())}))
    site = {
        "scenario": "scenario.yaml",
        "broker": {"port": broker.port},
        "keys": "lab",
        "actors": {key: {} for key in names},
    }
    (folder / "site.yaml").write_text(json.dumps({**site, **more}))
    return folder / "site.yaml"


def start(name, site_file, log):
    code = "from heila_mosaik.cli import main; main()"
    with log.open("ab") as out:
        return subprocess.Popen([sys.executable, "-c", code, "actor", name, "--config", str(site_file)], stderr=out)


@needs_mosquitto
def test_an_actor_runs_live_stops_gracefully_and_goes_on(tmp_path):
    k.write_lab(tmp_path / "lab", ["ams", "mgms_molkerei", "broker"])
    broker = BrokerProcess(keys=tmp_path / "lab", work=tmp_path / "broker", kind="mosquitto")
    clock = {"simulated": "2016-08-22T04:00:00+00:00", "wall": datetime.now(UTC).isoformat(), "rate": 900.0}
    path = write_site(tmp_path, broker, ["ams", "mgms_molkerei"], clock=clock)
    log = tmp_path / "log"
    with broker:
        processes = {name: start(name, path, log) for name in ("ams", "mgms")}
        try:
            until(lambda: "mgms_molkerei registered" in log.read_text() and "ams registered" in log.read_text(), 180)
            until((tmp_path / "state/ams.db").exists, 180)
            time.sleep(2)
            processes["ams"].send_signal(signal.SIGTERM)
            assert processes["ams"].wait(30) == 0
            site = load_site(path)
            ident = settings_id(site_scenario(site), "ams")
            with Store(tmp_path / "state/ams.db", "ams", settings=ident) as store:
                steps, snapshot = store.last_step(), store.snapshot()
            assert steps >= 1
            assert snapshot is not None
            assert snapshot[0] == steps
            processes["ams"] = start("ams", path, log)
            until(lambda: log.read_text().count("mgms_molkerei registered") == 2, 180)
            time.sleep(1)
            processes["ams"].send_signal(signal.SIGINT)
            assert processes["ams"].wait(30) == 0
            with Store(tmp_path / "state/ams.db", "ams", settings=ident) as store:
                assert store.last_step() > steps
        finally:
            for process in processes.values():
                process.terminate()
                process.wait(30)


@needs_mosquitto
def test_transfer_times_are_measured_between_processes(tmp_path):
    found = measure(CASES[2], tmp_path / "x", single=10, burst=50, durable=False)
    assert len(found.ms) == 10
    assert 0.0 < found.quantile(0.5) < 10_000.0
    assert found.lost == 0
    assert found.rate > 0


@needs_mosquitto
def test_bench_transfer_prints_the_table_and_a_page(tmp_path, capsys):
    page = tmp_path / "transfer.html"
    assert (
        call("bench", "transfer", "--only", "Activation", "--single", 10, "--burst", 0, "--plot", page, "--json") == 0
    )
    rows = json.loads(capsys.readouterr().out)
    assert [row["protection"] for row in rows] == ["signature", "signature, TLS", "signature, TLS, encryption"]
    assert {row["published_ms"] for row in rows} == {36.0}
    assert "published mean 36 ms" in page.read_text()
    assert call("bench", "transfer", "--only", "nothing") == 2
