"""The bridge in its own process, against the virtual laboratory in another one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import heila_mosaik
from heila_mosaik.bridges.audit import verify_audit
from heila_mosaik.bridges.equipment import EquipmentLostError, EquipmentProcess, NoEquipmentError
from heila_mosaik.bridges.equipment_process import EquipmentConfig
from heila_mosaik.bridges.iec104.client import LinkSettings, LinkState
from heila_mosaik.bridges.lab_child import virtual_lab
from heila_mosaik.bridges.ledger import Entry, State
from heila_mosaik.bridges.point_files import example_points, load_points
from heila_mosaik.bridges.safety_types import Phase, Reason, Refusal

POINTS = Path(heila_mosaik.__file__).parent / "bridges" / "data" / "com600_ref615.csv"
LIMIT_S = 30.0
_STUDY = """
import sys, time
from pathlib import Path
from heila_mosaik.bridges.equipment import EquipmentProcess
from heila_mosaik.bridges.equipment_process import EquipmentConfig
from heila_mosaik.bridges.iec104.client import LinkSettings
from heila_mosaik.bridges.point_files import example_points

if __name__ == "__main__":
    link = LinkSettings(host="127.0.0.1", port=int(sys.argv[1]))
    process = EquipmentProcess(EquipmentConfig(points=example_points(), link=link, audit=Path(sys.argv[2]), who="test"))
    process.open()
    process.wait_ready(30.0)
    process.study_alive()
    process.arm(("der_p_setpoint", "breaker_command"), 600.0, who="test")
    process.request("breaker_command", 1.0, cause="connect")
    while process.readings["breaker_status"].value != 1.0:
        process.study_alive()
        time.sleep(0.05)
    process.request("der_p_setpoint", 0.1, cause="call")
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        process.study_alive()
        if process.readings["der_p"].value > 0.09:
            print("moved", flush=True)
        time.sleep(0.05)
"""


@pytest.fixture(scope="module")
def port():
    with virtual_lab(POINTS) as found:
        yield found


@pytest.fixture
def config(port, tmp_path):
    link = LinkSettings(host="127.0.0.1", port=port)
    return EquipmentConfig(points=example_points(), link=link, audit=tmp_path / "audit.jsonl", who="test")


def _until(condition, process, told):
    end = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end, [one for one in told if isinstance(one, Entry | Refusal)]
        process.study_alive()
        told += [one for _, one in process.drain()]
        process.again()
        time.sleep(0.01)


def _check_for(process, limit_s):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        process.check()
        time.sleep(0.01)


def _arm_and_close(process, told):
    """The relay has opened when the signs of life of an earlier test ended."""
    process.study_alive()
    process.arm(("der_p_setpoint", "breaker_command"), 60.0, who="test")
    _until(lambda: "breaker_command" in process.armed_until, process, told)
    process.request("breaker_command", 1.0, cause="connect")
    _until(lambda: process.readings["breaker_status"].value == 1.0, process, told)


def test_orders_pass_only_when_armed_and_everything_is_let_go_in_the_end(config):
    told = []
    with EquipmentProcess(config) as process:
        process.wait_ready(LIMIT_S)
        assert not process.field.slots.missing()
        process.study_alive()
        process.request("der_p_setpoint", 0.1, cause="dry")
        _until(lambda: any(isinstance(one, Refusal) for one in told), process, told)
        assert [one.reason for one in told if isinstance(one, Refusal)] == [Reason.NOT_ARMED]
        _arm_and_close(process, told)
        process.request("der_p_setpoint", 0.1, cause="call")
        _until(lambda: process.readings["der_p"].value == pytest.approx(0.1, abs=1e-3), process, told)
    told += [one for _, one in process.drain()]
    last = [one for one in told if isinstance(one, Entry) and one.name == "der_p_setpoint"][-1]
    assert (last.cause, last.value, last.state) == ("fallback", 0.0, State.CONFIRMED)
    assert process.status is not None
    assert set(process.status.phases.values()) == {Phase.DISARMED}
    assert verify_audit(config.audit) == []


def test_an_emergency_stop_reaches_the_equipment(config):
    told = []
    with EquipmentProcess(config) as process:
        process.wait_ready(LIMIT_S)
        _arm_and_close(process, told)
        process.request("der_p_setpoint", 0.1, cause="call")
        _until(lambda: process.readings["der_p"].value > 0.09, process, told)
        process.emergency_stop(who="test")
        _until(lambda: process.readings["der_p"].value == 0.0, process, told)
        assert process.status is not None
        assert process.status.emergency_stopped


def test_when_the_study_is_killed_the_points_fall_back(port, tmp_path):
    audit, script = tmp_path / "audit.jsonl", tmp_path / "study.py"
    script.write_text(_STUDY, encoding="utf-8")
    command = [sys.executable, str(script), str(port), str(audit)]
    environment = os.environ | {"PYTHONPATH": str(Path(heila_mosaik.__file__).parents[1])}
    study = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert study.stdout is not None
    assert study.stdout.readline().strip() == "moved"
    os.kill(study.pid, signal.SIGKILL)
    study.wait()
    study.stdout.close()

    def closed() -> bool:
        lines = audit.read_text(encoding="utf-8").splitlines()
        return bool(lines) and json.loads(lines[-1])["what"] == "bridge"

    end = time.monotonic() + LIMIT_S
    while not closed():
        assert time.monotonic() < end, audit.read_text(encoding="utf-8")[-2000:]
        time.sleep(0.05)
    lines = [json.loads(line) for line in audit.read_text(encoding="utf-8").splitlines()]
    gone = next(place for place, line in enumerate(lines) if line["what"] == "study")
    after = [(line["what"], line["values"].get("value"), line["result"].split(":")[0]) for line in lines[gone:]]
    assert ("der_p_setpoint order", 0.0, "confirmed") in after
    assert ("breaker_command order", 0.0, "confirmed") in after
    assert verify_audit(audit) == []


def test_a_bridge_that_dies_is_an_error_that_names_its_log(config):
    process = EquipmentProcess(config)
    process.open()
    try:
        process.wait_ready(LIMIT_S)
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        with pytest.raises(EquipmentLostError, match=r"audit\.log"):
            _check_for(process, LIMIT_S)
    finally:
        process.close(1.0)


def test_equipment_that_does_not_answer_is_an_error_that_says_what_is_missing(tmp_path):
    link = LinkSettings(host="127.0.0.1", port=1, t0_s=0.2, reconnect_s=0.1)
    config = EquipmentConfig(points=load_points(POINTS), link=link, audit=tmp_path / "audit.jsonl", who="test")
    with EquipmentProcess(config) as process, pytest.raises(NoEquipmentError, match=r"no good value yet for") as caught:
        process.wait_ready(0.5)
    assert "der.p_mw" in str(caught.value)
    assert caught.value.exit_code == 1
    assert process.status is None or process.status.link is not LinkState.OPEN
