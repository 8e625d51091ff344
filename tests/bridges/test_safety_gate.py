import json
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heila_mosaik.bridges.audit import AuditLog, verify_audit
from heila_mosaik.bridges.ledger import State
from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.safety_gate import Gate
from heila_mosaik.bridges.safety_types import (
    Arm,
    Disarm,
    EmergencyStop,
    Kind,
    LinkChanged,
    Observed,
    Phase,
    Reason,
    Refusal,
    Requested,
    Reset,
    StudyAlive,
    Tick,
)
from heila_mosaik.domain.quantities import Quality

POINTS = example_points()
BREAKER, SETPOINT = "breaker_command", "der_p_setpoint"
WALL = datetime(2026, 1, 1, tzinfo=UTC)


class MemoryAudit:
    """Same face as the audit, lines in memory; can fail like a full disk."""

    def __init__(self):
        self.lines = []
        self.full = False

    def append(self, **line):
        if self.full:
            raise OSError("no space left on device")
        self.lines.append(line)
        return len(self.lines)


def make(audit=None):
    notices = []
    audit = audit or MemoryAudit()
    gate = Gate(POINTS, audit, who="test", wall=lambda: WALL, notify=notices.append)
    return gate, audit, notices


def ready(gate, at=0.0, names=(BREAKER, SETPOINT)):
    gate.handle(LinkChanged(at_s=at, up=True))
    see(gate, at, breaker_status=1.0, local_mode=0.0, synchronism_ok=1.0, der_p_setpoint_status=0.0)
    gate.handle(StudyAlive(at_s=at))
    gate.handle(Arm(at_s=at, names=names, duration_s=600.0))


def see(gate, at, **values):
    return [one for name, value in values.items() for one in observe(gate, at, name, value)]


def observe(gate, at, name, value):
    return gate.handle(Observed(at_s=at, name=name, value=value, quality=Quality.GOOD))


def ask(gate, at, name, value):
    return gate.handle(Requested(at_s=at, name=name, value=value, valued_at_s=at))


def reasons(notices):
    return [notice.reason for notice in notices if isinstance(notice, Refusal)]


def test_breaker_takes_no_second_order_while_one_is_pending_or_unknown():
    gate, audit, notices = make()
    ready(gate)
    (first,) = ask(gate, 0.1, BREAKER, 0.0)
    gate.answered(0.2, first, True, "confirmed")
    assert ask(gate, 1.5, BREAKER, 1.0) == ()
    for at in (2.0, 4.0, 6.0):
        gate.handle(StudyAlive(at_s=at))
    (unknown,) = gate.ledger.unknown
    assert ask(gate, 6.1, BREAKER, 0.0) == ()
    assert reasons(notices) == [Reason.ORDER_PENDING, Reason.ORDER_PENDING]
    gate.resolve(6.2, unknown.id, "operator")
    assert len(ask(gate, 7.5, BREAKER, 0.0)) == 1
    assert any("unknown" in line["result"] for line in audit.lines)


def test_fallback_opens_past_a_pending_closing_but_never_repeats_an_opening():
    gate, _, notices = make()
    ready(gate)
    observe(gate, 0.0, "breaker_status", 0.0)
    (closing,) = ask(gate, 0.1, BREAKER, 1.0)
    (opening,) = gate.handle(LinkChanged(at_s=0.2, up=False)) or gate.handle(LinkChanged(at_s=0.3, up=True)) or [None]
    if opening is None:
        (opening,) = (one for one in gate.handle(Tick(at_s=0.4)) if one.point.name == BREAKER)
    assert (opening.value, opening.kind) == (0.0, Kind.FALLBACK)
    assert closing.revoked
    gate, _, notices = make()
    ready(gate)
    (opening,) = ask(gate, 0.1, BREAKER, 0.0)
    cleared = list(gate.handle(Tick(at_s=5.0)))
    assert all(one.point.name != BREAKER for one in cleared)
    assert Reason.ORDER_PENDING in reasons(notices)


def test_refused_fallback_is_sent_again_within_its_time_only():
    gate, _, _ = make()
    ready(gate)
    (opening,) = (one for one in gate.handle(Tick(at_s=4.0)) if one.point.name == BREAKER)
    sent, at = [opening], 4.0
    while at < 20.0:
        if sent[-1] is not None:
            gate.answered(at, sent[-1], False, "negative")
        at = round(at + 0.25, 2)
        again = [one for one in gate.handle(Tick(at_s=at)) if one.point.name == BREAKER]
        sent.append(again[0] if again else None)
    times = [one.at_s for one in sent if one is not None]
    assert len(times) == 6  # the first, then once a second (min_interval_s) for the 5 s it has
    assert max(times) <= 4.0 + POINTS[BREAKER].fallback_within_s


def test_ramp_waits_for_the_answer_and_starts_again_from_the_readback_after_a_refusal():
    gate, _, _ = make()
    ready(gate)
    (first,) = ask(gate, 0.5, SETPOINT, 0.4)
    assert first.value == pytest.approx(0.1)
    assert gate.handle(Tick(at_s=1.0)) == () or all(one.kind is Kind.WATCHDOG for one in gate.handle(Tick(at_s=1.0)))
    gate.answered(1.1, first, False, "negative")
    assert gate.handle(Tick(at_s=1.3)) == ()
    see(gate, 1.4, der_p_setpoint_status=0.02, breaker_status=1.0, local_mode=0.0)
    gate.handle(StudyAlive(at_s=1.4))
    (again,) = (one for one in ask(gate, 1.5, SETPOINT, 0.4) if one.kind is Kind.REQUEST)
    assert again.value == pytest.approx(0.12)


def test_no_request_without_audit_but_the_way_to_safety_stays_open():
    gate, audit, notices = make()
    ready(gate)
    (first,) = ask(gate, 0.5, SETPOINT, 0.05)
    gate.answered(0.6, first, True, "")
    audit.full = True
    assert ask(gate, 1.0, SETPOINT, 0.1) == ()
    assert Reason.AUDIT_FAILED in reasons(notices)
    assert {one.kind for one in gate.handle(Tick(at_s=2.0))} <= {Kind.FALLBACK}  # no sign of life
    stopped = gate.handle(EmergencyStop(at_s=2.1))
    assert {one.point.name for one in stopped} == {BREAKER, SETPOINT}
    audit.full = False


def test_clearance_is_revoked_when_disarmed_or_old():
    for event in (Disarm(at_s=0.3), EmergencyStop(at_s=0.3), Tick(at_s=2.9)):
        gate, _, _ = make()
        ready(gate)
        observe(gate, 0.0, "breaker_status", 0.0)
        (closing,) = ask(gate, 0.1, BREAKER, 1.0)
        gate.handle(event)
        assert closing.revoked


def test_audit_file_holds_every_step_of_an_order(tmp_path):
    with AuditLog(tmp_path / "audit.jsonl") as audit:
        gate, _, _ = make(audit)
        ready(gate)
        (one,) = ask(gate, 0.1, BREAKER, 0.0)
        gate.answered(0.2, one, True, "confirmed")
        observe(gate, 0.3, "breaker_status", 0.0)
    lines = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [line["result"].split(":")[0] for line in lines] == ["sending", "acknowledged", "confirmed"]
    assert verify_audit(tmp_path / "audit.jsonl") == []


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "see", "alive", "arm", "disarm", "stop", "reset", "link", "tick", "answer", "clock"]),
        st.sampled_from([BREAKER, SETPOINT, "der_q_setpoint"]),
        st.sampled_from(["breaker_status", "local_mode", "synchronism_ok", "der_p_setpoint_status"]),
        st.sampled_from([0.0, 1.0, -0.4, 0.3, 0.05, 0.51, 7.0, float("nan"), float("inf")]),
        st.floats(0.0, 3.0),
        st.sampled_from([True, True, False, None]),
    ),
    max_size=60,
)


class Trial:
    """Random life of a gate, every clearance checked at birth."""

    def __init__(self):
        self.gate, self.audit, _ = make()
        self.now, self.flying, self.last_seen = 0.0, [], {}
        ready(self.gate)

    def check(self, cleared, armed):
        names = [one.point.name for one in cleared]
        assert len(names) == len(set(names))
        for one in cleared:
            if one.kind is Kind.WATCHDOG:
                continue
            point = one.point
            if point.type.is_setpoint:
                assert point.minimum <= one.value <= point.maximum
            else:
                assert one.value in (0.0, 1.0)
            if one.kind in (Kind.REQUEST, Kind.RAMP):
                assert armed[point.name] is Phase.ARMED
                assert not self.gate.machine.emergency_stopped
            sending = [line for line in self.audit.lines if line["result"] == "sending"]
            assert any(line["what"] == f"{point.name} order" for line in sending)
            self.no_repeat(one)
            self.flying.append(one)

    def no_repeat(self, one):
        earlier = [entry for entry in self.gate.ledger.entries if entry.name == one.point.name][:-1]
        if one.kind is Kind.EMERGENCY or not one.point.type.is_switch_command or not earlier:
            return
        unsettled = earlier[-1].state in (State.SENT, State.ACKNOWLEDGED, State.UNKNOWN, State.SUPERSEDED)
        assert not (unsettled and earlier[-1].value == one.value)

    def play(self, what, name, monitor, value, elapsed, positive):
        self.now += elapsed
        now, gate = self.now, self.gate
        armed = {point.name: gate.machine.phase(point.name) for point in POINTS.controlled}
        events = {
            "ask": Requested(at_s=now, name=name, value=value, valued_at_s=now - elapsed),
            "see": Observed(at_s=now, name=monitor, value=value, quality=Quality.GOOD),
            "alive": StudyAlive(at_s=now),
            "arm": Arm(at_s=now, names=(name,), duration_s=20.0),
            "disarm": Disarm(at_s=now, names=(name,)),
            "stop": EmergencyStop(at_s=now),
            "reset": Reset(at_s=now),
            "link": LinkChanged(at_s=now, up=bool(positive)),
            "tick": Tick(at_s=now),
            "clock": Tick(at_s=now - 2.0),
        }
        if what == "answer":
            if self.flying:
                self.check(gate.answered(now, self.flying.pop(0), positive, "test"), armed)
            return
        self.check(gate.handle(events[what]), armed)


@settings(max_examples=400, deadline=None)
@given(EVENTS)
def test_nothing_forbidden_is_ever_cleared(events):
    trial = Trial()
    for event in events:
        trial.play(*event)
