import dataclasses
import itertools
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from heila_mosaik.bridges.point_files import example_points
from heila_mosaik.bridges.points import Fallback, PointList
from heila_mosaik.bridges.safety import SafetyMachine
from heila_mosaik.bridges.safety_types import (
    Answered,
    Arm,
    Disarm,
    EmergencyStop,
    Kind,
    LinkChanged,
    Observed,
    Phase,
    Reason,
    Requested,
    Reset,
    SafetySettings,
    StudyAlive,
    Tick,
)
from heila_mosaik.domain.quantities import Quality

POINTS = example_points()
P, CB = "der_p_setpoint", "breaker_command"
CONTROLS = (P, "der_q_setpoint", CB)


def observe_all(machine, at_s, closed=1.0, local=0.0, permission=1.0):
    writes = []
    for name, value in (
        ("breaker_status", closed),
        ("local_mode", local),
        ("synchronism_ok", permission),
        ("der_p_setpoint_status", 0.0),
        ("der_q_setpoint_status", 0.0),
    ):
        writes += machine.handle(Observed(at_s=at_s, name=name, value=value, quality=Quality.GOOD)).writes
    return writes


def ready(arm=CONTROLS, points=POINTS, **observed):
    machine = SafetyMachine(points)
    machine.handle(LinkChanged(at_s=0.0, up=True))
    machine.handle(StudyAlive(at_s=0.0))
    observe_all(machine, 0.0, **observed)
    if arm:
        assert not machine.handle(Arm(at_s=0.0, names=arm, duration_s=60.0)).refusals
    return machine


def ask(machine, name, value, at_s=0.5, **extra):
    return machine.handle(Requested(at_s=at_s, name=name, value=value, **{"valued_at_s": at_s, **extra}))


def reason(reaction):
    assert not reaction.writes
    (refusal,) = reaction.refusals
    assert refusal.detail
    return refusal.reason


def test_armed_set_point_ramps_to_its_target():
    machine = ready()
    writes = list(ask(machine, P, 0.25).writes)
    for step in range(1, 40):
        at_s = 0.5 + step * 0.1
        machine.handle(StudyAlive(at_s=at_s))
        observe_all(machine, at_s)
        writes += [write for write in machine.handle(Tick(at_s=at_s)).writes if write.kind is not Kind.WATCHDOG]
    assert writes[-1].value == 0.25
    for first, second in itertools.pairwise(writes):
        assert abs(second.value - first.value) <= 0.1 * (second.at_s - first.at_s) + 1e-12
    assert writes[0].kind is Kind.REQUEST
    assert {write.kind for write in writes[1:]} == {Kind.RAMP}


@pytest.mark.parametrize(
    ("name", "value", "observed", "expected"),
    [
        (P, math.nan, {}, Reason.NOT_A_NUMBER),
        (P, -math.inf, {}, Reason.NOT_A_NUMBER),
        (P, 0.6, {}, Reason.OUTSIDE_LIMITS),
        (P, 0.1, {"closed": 0.0}, Reason.BREAKER_OPEN),
        (P, 0.1, {"local": 1.0}, Reason.LOCAL_MODE),
        (CB, 1.0, {"permission": 0.0}, Reason.NO_PERMISSION),
        (CB, 0.0, {"local": 1.0}, Reason.LOCAL_MODE),
        (CB, 0.5, {}, Reason.OUTSIDE_LIMITS),
        ("nobody", 0.5, {}, Reason.UNKNOWN_POINT),
        ("feeder_p", 0.5, {}, Reason.NOT_CONTROLLABLE),
        ("watchdog", 1.0, {}, Reason.NOT_CONTROLLABLE),
    ],
)
def test_refusals(name, value, observed, expected):
    assert reason(ask(ready(**observed), name, value)) is expected


def test_dry_run_is_the_default():
    assert reason(ask(ready(arm=()), P, 0.1)) is Reason.NOT_ARMED


def test_stale_value_and_value_from_the_future():
    assert reason(ask(ready(), P, 0.1, at_s=2.9, valued_at_s=0.0)) is Reason.VALUE_STALE
    assert reason(ask(ready(), P, 0.1, valued_at_s=9.0)) is Reason.VALUE_STALE
    assert reason(ask(ready(), P, 0.1, valued_at_s=math.nan)) is Reason.VALUE_STALE


def test_stale_equipment_blocks_set_points_and_closing_but_not_opening():
    def late():
        machine = ready()
        for second in range(1, 13):
            machine.handle(StudyAlive(at_s=float(second)))
        return machine

    assert reason(ask(late(), P, 0.1, at_s=12.0)) is Reason.EQUIPMENT_STALE
    assert reason(ask(late(), CB, 1.0, at_s=12.0)) is Reason.EQUIPMENT_STALE
    assert [write.value for write in ask(late(), CB, 0.0, at_s=12.0).writes] == [0.0]


def test_rate_and_step():
    machine = ready()
    assert ask(machine, CB, 0.0, at_s=0.5).writes
    assert reason(ask(machine, CB, 1.0, at_s=1.0)) is Reason.TOO_FREQUENT
    machine = ready()
    assert ask(machine, P, 0.5).writes
    machine.handle(Tick(at_s=0.8))
    assert reason(ask(machine, P, -0.5, at_s=0.9)) is Reason.STEP_TOO_LARGE


def test_clock_that_runs_backwards():
    machine = ready()
    machine.handle(Tick(at_s=2.0))
    assert reason(ask(machine, P, 0.1, at_s=1.0)) is Reason.CLOCK_BACKWARDS
    assert reason(machine.handle(Tick(at_s=math.nan))) is Reason.CLOCK_BACKWARDS


def drive(machine, start, stop, *, alive=False):
    writes = []
    for step in range(round((stop - start) * 10) + 1):
        at_s = start + step * 0.1
        writes += observe_all(machine, at_s)
        if alive:
            machine.handle(StudyAlive(at_s=at_s))
        reaction = machine.handle(Tick(at_s=at_s))
        writes += [write for write in reaction.writes if write.kind is not Kind.WATCHDOG]
    return writes


def test_silent_study_leads_to_the_declared_fallbacks_in_time():
    machine = ready()
    ask(machine, P, 0.4)
    drive(machine, 0.6, 5.0, alive=True)
    assert machine.setpoint(P) == 0.4
    # The first event after the timeout releases; observations are events too, so the writes of both are gathered.
    seen = []
    for step in range(1, 200):
        at_s = 5.0 + step * 0.1
        for name in ("breaker_status", "local_mode"):
            value = 1.0 if name == "breaker_status" else 0.0
            seen += machine.handle(Observed(at_s=at_s, name=name, value=value, quality=Quality.GOOD)).writes
        seen += machine.handle(Tick(at_s=at_s)).writes
    fallback = [write for write in seen if write.kind is Kind.FALLBACK]
    limit = 5.0 + SafetySettings().study_timeout_s
    opened = [write for write in fallback if write.name == CB]
    assert [write.value for write in opened] == [0.0]
    assert limit < opened[0].at_s <= limit + POINTS[CB].fallback_within_s
    ramp = [write for write in fallback if write.name == P]
    assert ramp[-1].value == 0.0
    assert ramp[-1].at_s <= limit + POINTS[P].fallback_within_s
    assert machine.phase(P) is machine.phase(CB) is Phase.DISARMED


@pytest.mark.parametrize(
    "event",
    [StudyAlive, EmergencyStop, LinkChanged],
    ids=["silent study", "emergency stop", "link lost and back"],
)
def test_set_points_go_to_zero_before_their_breaker_opens(event):
    machine = ready()
    ask(machine, P, 0.05)
    writes = []
    if event is LinkChanged:
        writes += machine.handle(LinkChanged(at_s=1.0, up=False)).writes
        assert not writes
        observe_all(machine, 1.5)
        writes += machine.handle(LinkChanged(at_s=1.5, up=True)).writes
        writes += machine.handle(Tick(at_s=1.51)).writes
    elif event is EmergencyStop:
        writes += machine.handle(EmergencyStop(at_s=1.0)).writes
    else:
        writes += machine.handle(Tick(at_s=4.0)).writes
    assert [(write.name, write.value) for write in writes] == [(P, 0.0), (CB, 0.0)]


def test_a_set_point_whose_breaker_stays_ramps():
    machine = ready(arm=(P,))
    ask(machine, P, 0.4)
    drive(machine, 0.6, 5.0, alive=True)
    seen = []
    for step in range(1, 80):
        observe_all(machine, 5.0 + step * 0.1)
        seen += machine.handle(Tick(at_s=5.0 + step * 0.1)).writes
    fallback = [write.value for write in seen if write.kind is Kind.FALLBACK]
    assert len(fallback) > 10
    assert fallback == sorted(fallback, reverse=True)
    assert fallback[-1] == 0.0


@pytest.mark.parametrize("positive", [False, None])
def test_a_request_refused_after_disarming_opens_nothing(positive):
    """Found by ``heila bench hil-faults``: the breaker opened although its arming had only been ended."""
    machine = ready()
    assert ask(machine, CB, 0.0).writes
    machine.hold(CB)
    machine.handle(Disarm(at_s=0.6))
    assert machine.phase(CB) is Phase.DISARMED
    machine.handle(Answered(at_s=0.7, name=CB, positive=positive))
    assert machine.phase(CB) is Phase.DISARMED
    assert not machine.handle(Tick(at_s=0.8)).writes


def test_a_refused_fallback_is_sent_again_within_its_time():
    machine = ready(arm=(CB,))
    (opening,) = machine.handle(Tick(at_s=4.0)).writes
    assert opening.kind is Kind.FALLBACK
    machine.hold(CB)
    machine.handle(Answered(at_s=4.1, name=CB, positive=False))
    assert machine.phase(CB) is Phase.RELEASING
    again = [write for step in range(12) for write in machine.handle(Tick(at_s=4.2 + step * 0.1)).writes]
    assert [(write.name, write.value, write.kind) for write in again] == [(CB, 0.0, Kind.FALLBACK)]


def test_expired_arming_ramps_down_but_keeps_the_breaker():
    machine = SafetyMachine(POINTS)
    machine.handle(LinkChanged(at_s=0.0, up=True))
    machine.handle(StudyAlive(at_s=0.0))
    observe_all(machine, 0.0)
    machine.handle(Arm(at_s=0.0, names=CONTROLS, duration_s=2.0))
    ask(machine, P, 0.1)
    writes = drive(machine, 0.6, 8.0, alive=True)
    assert machine.setpoint(P) == 0.0
    assert {write.name for write in writes} == {P}
    assert reason(ask(machine, P, 0.1, at_s=9.0)) is Reason.NOT_ARMED


def test_fallback_that_comes_too_late_is_not_sent():
    machine = ready()
    ask(machine, P, 0.1)
    machine.handle(LinkChanged(at_s=1.0, up=False))
    assert machine.phase(P) is Phase.RELEASING
    machine.handle(Tick(at_s=30.0))
    machine.handle(LinkChanged(at_s=31.0, up=True))
    assert machine.phase(P) is Phase.DISARMED
    assert not machine.handle(Tick(at_s=32.0)).writes


def test_emergency_stop_is_immediate_and_latched():
    machine = ready()
    ask(machine, P, 0.1)
    writes = machine.handle(EmergencyStop(at_s=0.6)).writes
    assert {(write.name, write.value, write.kind) for write in writes} == {
        (P, 0.0, Kind.EMERGENCY),
        (CB, 0.0, Kind.EMERGENCY),
    }
    assert reason(ask(machine, P, 0.1, at_s=0.7)) is Reason.EMERGENCY_STOPPED
    assert reason(machine.handle(Arm(at_s=0.8, names=(P,), duration_s=9.0))) is Reason.EMERGENCY_STOPPED
    machine.handle(Reset(at_s=0.9))
    assert reason(ask(machine, P, 0.1, at_s=1.0)) is Reason.NOT_ARMED


def test_emergency_stop_of_a_dry_run_writes_nothing():
    assert not ready(arm=()).handle(EmergencyStop(at_s=1.0)).writes


def test_hold_writes_nothing():
    points = PointList(tuple(dataclasses.replace(point, fallback=Fallback.HOLD) for point in POINTS))
    machine = ready(points=points)
    ask(machine, P, 0.1)
    assert not machine.handle(Tick(at_s=20.0)).writes
    assert machine.phase(P) is Phase.DISARMED


def test_interlock_stops_a_ramp_half_way():
    machine = ready()
    ask(machine, P, 0.4)
    machine.handle(Observed(at_s=0.6, name="breaker_status", value=0.0, quality=Quality.GOOD))
    assert [refusal.reason for refusal in machine.handle(Tick(at_s=0.7)).refusals] == [Reason.BREAKER_OPEN]
    assert not [write for write in machine.handle(Tick(at_s=0.8)).writes if write.kind is not Kind.WATCHDOG]


values = st.one_of(
    st.floats(-0.7, 0.7), st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf, 1e30]), st.floats(width=64)
)
names = st.sampled_from([*CONTROLS, "watchdog", "feeder_p", "nobody"])
gaps = st.one_of(st.floats(0.0, 2.0), st.sampled_from([0.0, 0.1, 5.0, -1.0, math.nan, math.inf]))
qualities = st.sampled_from([Quality.GOOD, Quality.GOOD, Quality.GOOD, Quality.INVALID, Quality.QUESTIONABLE])
moves = st.one_of(
    st.tuples(st.just("ask"), names, values, st.floats(-1.0, 4.0)),
    st.tuples(st.just("ask"), st.sampled_from(CONTROLS), st.floats(-0.5, 0.5), st.just(0.0)),
    st.tuples(
        st.just("see"),
        st.sampled_from(["breaker_status", "local_mode", "synchronism_ok", "der_p_setpoint_status"]),
        st.sampled_from([0.0, 1.0, 0.7, math.nan]),
        qualities,
    ),
    st.tuples(st.just("ready")),
    st.tuples(st.just("tick")),
    st.tuples(st.just("alive")),
    st.tuples(st.just("link"), st.booleans()),
    st.tuples(st.just("arm"), st.lists(names, min_size=1, max_size=3), st.floats(-1.0, 20.0)),
    st.tuples(st.just("disarm"), st.lists(names, max_size=2)),
    st.tuples(st.just("answer"), st.sampled_from(CONTROLS), st.sampled_from([True, False, None])),
    st.tuples(st.just("late answer"), st.sampled_from(CONTROLS), st.sampled_from([True, False, None])),
    st.tuples(st.just("stop")),
    st.tuples(st.just("reset")),
)


class Watcher:
    """Independent account of what may be on the wire, kept beside the machine."""

    def __init__(self):
        self.machine = SafetyMachine(POINTS)
        self.now = 0.0
        self.seen = {}
        self.last = {}
        self.armed = {}
        self.link = False
        self.alive_at = -math.inf
        self.why = {}
        self.flying = set()

    def feed(self, event):
        before = {name: self.machine.phase(name) for name in CONTROLS}
        if math.isfinite(event.at_s):
            self.now = max(self.now, event.at_s)
        if isinstance(event, Observed) and math.isfinite(event.at_s):
            self.seen[event.name] = (event.at_s, event.value, event.quality)
        reaction = self.machine.handle(event)
        for name in CONTROLS:
            if before[name] is Phase.ARMED and self.machine.phase(name) is not Phase.ARMED:
                down = isinstance(event, LinkChanged) and not event.up
                silent = self.now - self.alive_at > SafetySettings().study_timeout_s
                self.why[name] = "lost" if down or silent else "ended"
        if isinstance(event, Requested):
            # A request right after a fallback waits for the next tick: its target is kept, nothing is dropped.
            pending = reaction.writes or reaction.refusals or self.machine._controls[event.name].target is not None
            assert pending or self.machine.setpoint(event.name) is not None
        for refusal in reaction.refusals:
            assert refusal.detail
        if isinstance(event, LinkChanged) and math.isfinite(event.at_s):
            self.link = event.up
        for write in reaction.writes:
            self.check(write, event, before)
        if isinstance(event, StudyAlive) and math.isfinite(event.at_s):
            self.alive_at = self.now

    def good(self, name):
        at_s, value, quality = self.seen.get(name, (-math.inf, math.nan, Quality.MISSING))
        return value if quality is Quality.GOOD and self.now - at_s <= POINTS[name].stale_after_s else None

    def check(self, write, event, before):
        point = POINTS[write.name]
        assert math.isfinite(write.value)
        assert self.link
        if write.kind is Kind.WATCHDOG:
            assert any(phase is Phase.ARMED for phase in before.values())
            return
        # A fallback the station refused is tried again; nothing else leaves a disarmed point.
        again = isinstance(event, Answered) and event.positive is False and write.kind is Kind.FALLBACK
        assert before[write.name] is not Phase.DISARMED or again
        if point.type.is_switch_command and write.kind is Kind.FALLBACK:
            assert self.why[write.name] == "lost"  # ended watching opens no breaker
        self.machine.hold(write.name)
        self.flying.add(write.name)
        assert point.minimum <= write.value <= point.maximum
        if write.kind in (Kind.REQUEST, Kind.RAMP):
            assert before[write.name] is Phase.ARMED
            assert self.now - self.alive_at <= SafetySettings().study_timeout_s
            assert not self.machine.emergency_stopped
        opening = point.type.is_switch_command and write.value == 0.0
        assert self.good("local_mode") != 1.0
        if write.kind is Kind.EMERGENCY:
            assert write.value == 0.0
            self.last[write.name] = write
            return
        if point.type.is_setpoint:
            assert self.good("breaker_status") == 1.0
            last = self.last.get(write.name)
            if last is not None and self.machine.phase(write.name) is not None and self.armed.get(write.name):
                elapsed = min(write.at_s - last.at_s, SafetySettings().ramp_credit_s)
                opens = write.kind is Kind.FALLBACK and write.value == 0.0 and before[CB] is not Phase.DISARMED
                assert opens or abs(write.value - last.value) <= point.ramp_per_s * elapsed + 1e-9
        elif not opening:
            assert self.good("synchronism_ok") == 1.0
            assert self.good("breaker_status") is not None
        self.armed[write.name] = True
        self.last[write.name] = write

    def play(self, move, gap):  # noqa: C901
        at_s = self.now + gap
        match move:
            case ("ask", name, value, age):
                self.feed(Requested(at_s=at_s, name=name, value=value, valued_at_s=at_s - age))
            case ("see", name, value, quality):
                self.feed(Observed(at_s=at_s, name=name, value=value, quality=quality))
            case ("tick",):
                self.feed(Tick(at_s=at_s))
            case ("alive",):
                self.feed(StudyAlive(at_s=at_s))
            case ("link", up):
                self.feed(LinkChanged(at_s=at_s, up=up))
            case ("arm", wanted, duration):
                self.arm(at_s, tuple(wanted), duration)
            case ("disarm", wanted):
                self.feed(Disarm(at_s=at_s, names=tuple(wanted)))
            case ("late answer", name, positive):
                self.play(("ask", name, 0.0, 0.0), gap)
                self.play(("disarm", [name]), 0.01)
                self.play(("answer", name, positive), 0.01)
                self.play(("tick",), 0.2)
            case ("answer", name, positive):
                if name in self.flying:
                    self.flying.discard(name)
                    if positive is not True and POINTS[name].type.is_setpoint:
                        self.armed[name] = False  # what the equipment took is not known: the ramp starts anew
                    self.feed(Answered(at_s=at_s, name=name, positive=positive))
            case ("stop",):
                self.feed(EmergencyStop(at_s=at_s))
            case ("reset",):
                self.feed(Reset(at_s=at_s))
            case ("ready",):
                self.make_ready(at_s)

    def arm(self, at_s, wanted, duration):
        for name in wanted:
            # A new arming starts its ramp where the equipment stands, not at our last write.
            if name in CONTROLS and self.machine.phase(name) is Phase.DISARMED:
                self.armed[name] = False
        self.feed(Arm(at_s=at_s, names=wanted, duration_s=duration))
        for name in CONTROLS:
            if self.machine.phase(name) is Phase.DISARMED:
                self.armed[name] = False

    def make_ready(self, at_s):
        self.feed(LinkChanged(at_s=at_s, up=True))
        self.feed(StudyAlive(at_s=at_s))
        for name, value in (
            ("breaker_status", 1.0),
            ("local_mode", 0.0),
            ("synchronism_ok", 1.0),
            ("der_p_setpoint_status", 0.0),
            ("der_q_setpoint_status", 0.1),
        ):
            self.feed(Observed(at_s=at_s, name=name, value=value, quality=Quality.GOOD))
        self.arm(at_s, CONTROLS, 20.0)


@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(moves, gaps), min_size=5, max_size=60))
def test_no_sequence_of_events_breaks_a_rule(script):
    watcher = Watcher()
    watcher.make_ready(0.0)
    for move, gap in script:
        watcher.play(move, gap)


@settings(max_examples=100, deadline=None)
@given(st.floats(-0.5, 0.5), st.floats(0.05, 1.0))
def test_fallback_is_complete_within_its_declared_time(setpoint, period):
    machine = ready(arm=(P,))
    ask(machine, P, setpoint)
    at_s = 0.5
    while machine.setpoint(P) != setpoint and at_s < 30.0:
        at_s += 0.5
        machine.handle(StudyAlive(at_s=at_s))
        observe_all(machine, at_s)
        machine.handle(Tick(at_s=at_s))
    lost_at = at_s
    machine.handle(LinkChanged(at_s=lost_at, up=False))
    machine.handle(LinkChanged(at_s=lost_at, up=True))
    while machine.phase(P) is not Phase.DISARMED:
        at_s += period
        observe_all(machine, at_s)
        machine.handle(Tick(at_s=at_s))
    assert machine.setpoint(P) == pytest.approx(0.0, abs=1e-12)
    assert at_s - lost_at <= POINTS[P].fallback_within_s
