"""The fault campaign: its judge accepts what the gate lets through, and notices a gate with a hole in it."""

import json
import math
import os
import random
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from heila_mosaik.bridges.audit import AuditLog
from heila_mosaik.bridges.campaign.evidence import audit_violations, end_violations
from heila_mosaik.bridges.campaign.judge import Judge
from heila_mosaik.bridges.campaign.plan import OF_THE_STATION, Trouble, sessions
from heila_mosaik.bridges.campaign.record import SAFETY, Act, Order, Record, Told, campaign_points
from heila_mosaik.bridges.iec104.frames import decode_order
from heila_mosaik.bridges.points import Role
from heila_mosaik.bridges.safety import SafetyMachine
from heila_mosaik.bridges.safety_equipment import Equipment
from heila_mosaik.bridges.safety_gate import Gate
from heila_mosaik.bridges.safety_types import (
    Arm,
    Disarm,
    EmergencyStop,
    LinkChanged,
    Observed,
    Requested,
    Reset,
    StudyAlive,
    Tick,
)
from heila_mosaik.domain.quantities import Quality

POINTS = campaign_points()
NAMES = [point.name for point in POINTS.controlled]
MONITORS = ("breaker_status", "local_mode", "synchronism_ok", "der_p_setpoint_status", "der_q_setpoint_status")


class Theatre:
    """A gate with a clock of its own, played to by random acts; everything it clears is an order on the wire."""

    def __init__(self, tmp_path, seed):
        self.random = random.Random(seed)
        self.record = Record(points=POINTS)
        self.audit = AuditLog(tmp_path / "audit.jsonl")
        self.gate = Gate(POINTS, self.audit, who="study", wall=lambda: datetime(2030, 1, 1, tzinfo=UTC), safety=SAFETY)
        self.now = 0.0
        self.state = dict(zip(MONITORS, (1.0, 0.0, 1.0), strict=False))
        self.feed(LinkChanged(at_s=0.0, up=True))

    def feed(self, event):
        for cleared in self.gate.handle(event):
            select = [True, False] if cleared.point.select else [False]
            for each in select:
                order = Order(at_s=self.now, name=cleared.point.name, value=cleared.value, select=each)
                self.record.orders.append(order)
            if cleared.point.name == "breaker_command":
                self.state["breaker_status"] = cleared.value
            self.feed_answer(cleared)

    def feed_answer(self, cleared):
        for following in self.gate.answered(self.now, cleared, True, "ok"):
            self.record.orders.append(
                Order(at_s=self.now, name=following.point.name, value=following.value, select=False)
            )
        for entry in self.gate.ledger.unknown:
            self.gate.resolve(self.now, entry.id, "operator")

    def act(self, what, name="", value=math.nan, extra=0.0):
        self.record.acts.append(Act(self.now, what, name, value, extra))

    def tell(self, name, value, good=True):
        self.record.told.append(Told(at_s=self.now, name=name, value=value, good=good))
        self.feed(Observed(at_s=self.now, name=name, value=value, quality=Quality.GOOD if good else Quality.INVALID))

    def usual(self):
        setpoint = self.gate.machine.setpoint
        for name, usual in zip(MONITORS, (1.0, 0.0, 1.0), strict=False):
            if self.random.random() < (0.05 if self.state[name] == usual else 0.15):
                self.state[name] = 1.0 - self.state[name]  # lasts a while
            self.tell(name, self.state[name])
        for axis in "pq":
            self.tell(f"der_{axis}_setpoint_status", setpoint(f"der_{axis}_setpoint") or 0.0)

    def step(self):  # noqa: C901
        self.now += self.random.choice((0.02, 0.05, 0.1, 0.3))
        draw, name = self.random.random(), self.random.choice(NAMES)
        if draw < 0.3:
            value = self.random.choice((0.0, 1.0, 0.3, -0.2, 0.05, 0.9, math.nan, math.inf, -0.6))
            if name == "breaker_command":
                value = self.random.choice((0.0, 1.0, 1.0, 0.3))
            age = self.random.choice((0.0, 0.0, 0.1, 5.0))
            self.act("request", name, value, age)
            self.feed(Requested(at_s=self.now, name=name, value=value, valued_at_s=self.now - age))
        elif draw < 0.4:
            for_s = self.random.choice((0.5, 20.0, 20.0))
            for each in NAMES:
                self.act("arm", each, math.nan, for_s)
            self.feed(Arm(at_s=self.now, names=tuple(NAMES), duration_s=for_s))
        elif draw < 0.43:
            self.act("disarm", name)
            self.feed(Disarm(at_s=self.now, names=(name,)))
        elif draw < 0.45:
            self.act("stop")
            self.feed(EmergencyStop(at_s=self.now))
        elif draw < 0.5:
            self.act("reset")
            self.feed(Reset(at_s=self.now))
        elif draw < 0.55:
            self.tell(self.random.choice(MONITORS[:3]), self.random.choice((0.0, 1.0)), self.random.random() < 0.7)
        elif draw < 0.57:
            self.record.downs.append(self.now)
            self.feed(LinkChanged(at_s=self.now, up=False))
            self.now += 0.2
            self.feed(LinkChanged(at_s=self.now, up=True))
        if self.random.random() < 0.85:
            self.act("alive")
            self.feed(StudyAlive(at_s=self.now))
        if self.random.random() < 0.7:
            self.usual()
        self.feed(Tick(at_s=self.now))

    def play(self, steps=400):
        for _ in range(steps):
            self.step()
        return Judge(self.record).violations()


@pytest.mark.parametrize("seed", range(12))
def test_judge_accepts_what_the_gate_clears(tmp_path, seed):
    theatre = Theatre(tmp_path, seed)
    assert theatre.play() == []
    moved = [o for o in theatre.record.orders if POINTS[o.name].role is Role.PROCESS]
    assert len(moved) > 10
    assert list(audit_violations(theatre.record, tmp_path / "audit.jsonl", killed=False)) == []


def nothing(*args, **kwargs):
    return None


HOLES = {
    "limits": [(SafetyMachine, "_plausible", nothing), (SafetyMachine, "_too_far", nothing)],
    "disarmed": [(SafetyMachine, "_permission", nothing)],
    "never asked for": [(SafetyMachine, "_timely", nothing)],
    "stale or repeated": [(SafetyMachine, "_timely", nothing)],
    "interlock": [(Equipment, "interlock", nothing)],
}


@pytest.mark.parametrize("rule", HOLES)
def test_judge_notices_a_hole_in_the_gate(tmp_path, monkeypatch, rule):
    for owner, name, instead in HOLES[rule]:
        monkeypatch.setattr(owner, name, instead)
    found = set()
    for seed in range(6):
        (tmp_path / str(seed)).mkdir()
        found |= {violation.rule for violation in Theatre(tmp_path / str(seed), seed).play(300)}
    assert rule in found


def test_judge_notices_a_missing_ramp_a_repeated_operation_and_a_silent_study(tmp_path):
    def record(*orders, silent=False):
        acts = [Act(0.1 * step, "alive") for step in range(100) if not (silent and step > 10)]
        acts += [Act(0.5, "arm", name, math.nan, 50.0) for name in NAMES]
        acts += [Act(1.0, "request", "der_p_setpoint", 0.4), Act(1.0, "request", "breaker_command", 0.0)]
        told = [Told(at_s=0.1 * step, name=name, value=float(name != "local_mode"), good=True)
                for step in range(100) for name in MONITORS[:3]]  # fmt: skip
        told += [Told(at_s=0.1 * step, name=name, value=0.0, good=True) for step in range(100) for name in MONITORS[3:]]
        many = [Order(at_s=at_s, name=name, value=value, select=False) for at_s, name, value in orders]
        return Record(points=POINTS, acts=sorted(acts, key=lambda act: act.at_s), orders=many, told=told)

    def rules(made):
        return [violation.rule for violation in Judge(made).violations()]

    p, breaker = "der_p_setpoint", "breaker_command"
    assert rules(record((1.0, p, 0.05), (1.1, p, 0.1))) == []
    assert rules(record((1.0, p, 0.05), (1.1, p, 0.4))) == ["ramp"]
    assert rules(record((1.0, breaker, 0.0))) == []
    assert rules(record((1.0, breaker, 0.0), (1.2, breaker, 0.0))) == ["stale or repeated"]
    assert rules(record((3.0, breaker, 0.0))) == ["stale or repeated"]
    assert rules(record((5.0, p, 0.3), silent=True)) == ["disarmed"]
    assert rules(record((1.0, "", 0.0))) == ["unknown address"]


def test_lost_audit_lines_and_leaks_are_noticed(tmp_path):
    theatre = Theatre(tmp_path, 3)
    theatre.play()
    path = tmp_path / "audit.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    sending = [number for number, line in enumerate(lines) if b'"result":"sending"' in line]
    path.write_bytes(b"".join(line for number, line in enumerate(lines) if number != sending[5]))
    rules = {violation.what for violation in audit_violations(theatre.record, path, killed=False)}
    assert any("not in the audit" in what for what in rules)
    assert any("chain is broken" in what for what in rules)
    path.write_bytes(b"".join(lines) + b'{"seq": 9')  # torn by the kill: allowed then, and only then
    assert list(audit_violations(theatre.record, path, killed=True)) == []
    assert list(audit_violations(theatre.record, path, killed=False)) != []
    usage = {"tasks": 1, "files": 9, "threads": 1, "memory_kb": 100}
    fine = {"reopened": True, "before": usage, "half": usage, "after": usage}
    assert list(end_violations(fine)) == []
    assert {v.rule for v in end_violations({**fine, "after": {**usage, "tasks": 2}, "reopened": False})} == {
        "leak",
        "hang",
    }


def test_plan_is_the_same_for_the_same_seed_and_draws_every_fault():
    first, again = list(sessions(7, 2000, 0.25)), list(sessions(7, 2000, 0.25))
    assert first == again
    assert sum(len(session.trials) for session in first) == 2000
    drawn = {str(trial.trouble) for session in first for trial in session.trials}
    assert drawn == {*map(str, Trouble), *map(str, OF_THE_STATION)}
    assert {(s.client, s.server) for s in first} == {("hat", "hat"), ("c104", "hat"), ("hat", "c104")}


def test_orders_are_read_from_frames():
    select = bytes.fromhex("680e04000c002e0106000100b90b0081")
    assert decode_order(select) == {"station": 1, "address": 3001, "value": 1.0, "select": True}
    setpoint = bytes.fromhex("681206000e00320106000100a10f000000604000")
    assert decode_order(setpoint) == {"station": 1, "address": 4001, "value": 3.5, "select": False}
    assert decode_order(bytes.fromhex("680407000000")) is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="studies run in processes that are forked, killed and suspended")
def test_small_campaign_end_to_end():
    code = "from heila_mosaik.cli import main; main()"
    arguments = ["bench", "hil-faults", "--trials", "40", "--seed", "5", "--parallel", "3", "--json"]
    answer = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=280, check=False
    )
    found = json.loads(answer.stdout)
    assert found["violations"] == []
    assert answer.returncode == 0
    assert found["trials"] == 40
    assert found["counts"]["orders on the wire"] > 5
    assert found["counts"]["confirmed"] > 0
