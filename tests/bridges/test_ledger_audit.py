import json
import math
from datetime import UTC, datetime

import pytest

from heila_mosaik.bridges.audit import AuditLog, verify_audit
from heila_mosaik.bridges.ledger import CommandLedger, State
from heila_mosaik.bridges.point_files import example_points

POINTS = example_points()
CB, P = POINTS["breaker_command"], POINTS["der_p_setpoint"]
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_only_the_read_back_confirms():
    ledger = CommandLedger(readback_timeout_s=5.0)
    (entry,) = ledger.sent(1.0, CB, 0.0, "plan")
    assert ledger.answered(1.1, entry.id, True, "ACT_CON").state is State.ACKNOWLEDGED
    assert ledger.observed(1.2, "breaker_status", 1.0) == ()
    assert ledger.observed(0.9, "breaker_status", 0.0) == ()
    assert ledger.observed(1.3, "breaker_status", math.nan) == ()
    (confirmed,) = ledger.observed(1.4, "breaker_status", 0.0)
    assert confirmed.state is State.CONFIRMED
    assert ledger.blocked(CB) is None


def test_unknown_blocks_the_breaker_until_resolved():
    ledger = CommandLedger(readback_timeout_s=5.0)
    (entry,) = ledger.sent(1.0, CB, 1.0, "plan")
    assert ledger.blocked(CB) is not None
    ledger.answered(2.0, entry.id, None, "no answer")
    assert ledger.expire(6.0) == ()
    assert [late.state for late in ledger.expire(6.1)] == [State.UNKNOWN]
    assert ledger.observed(7.0, "breaker_status", 1.0) == ()
    assert ledger.blocked(CB).id == entry.id
    assert ledger.resolve(8.0, entry.id, "operator").state is State.RESOLVED
    assert ledger.blocked(CB) is None
    with pytest.raises(ValueError, match="not unknown"):
        ledger.resolve(9.0, entry.id, "operator")


def test_newer_set_point_supersedes_and_tolerance_counts():
    ledger = CommandLedger()
    (first,) = ledger.sent(1.0, P, 0.1, "")
    second, superseded = ledger.sent(1.1, P, 0.2, "")
    assert (superseded.id, superseded.state) == (first.id, State.SUPERSEDED)
    assert ledger.observed(1.2, P.feedback, 0.1) == ()
    assert ledger.observed(1.2, P.feedback, 0.2009)[0].id == second.id
    assert ledger.answered(1.3, second.id, False, "late").state is State.CONFIRMED


def fill(path, count=3):
    with AuditLog(path) as audit:
        for number in range(count):
            audit.append(at=NOW, who="Mgms", what=f"order {number}", why="activation", result="sent", values={"v": 1.0})


def test_chain_survives_restart_and_shows_tampering(tmp_path):
    path = tmp_path / "audit.jsonl"
    fill(path)
    fill(path)
    assert verify_audit(path) == []
    lines = path.read_text().splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5, 6]
    path.write_text("\n".join([*lines[:2], lines[2].replace("order 2", "order 9"), *lines[3:]]) + "\n")
    assert ["changed after" in problem.what for problem in verify_audit(path)] == [True]
    path.write_text("\n".join([*lines[:2], *lines[3:]]) + "\n")
    assert ["chain is broken" in problem.what for problem in verify_audit(path)] == [True]


def test_torn_line_is_kept_and_reported(tmp_path):
    path = tmp_path / "audit.jsonl"
    fill(path)
    path.write_bytes(path.read_bytes()[:-20])
    fill(path, 1)
    problems = verify_audit(path)
    assert len(problems) == 1
    assert problems[0].where.endswith(":3")


def test_not_a_number_is_written_as_text(tmp_path):
    path = tmp_path / "audit.jsonl"
    with AuditLog(path, durable=True) as audit:
        audit.append(at=NOW, who="x", what="y", why="", result="refused", values={"v": math.nan, "w": math.inf})
    assert json.loads(path.read_text())["values"] == {"v": "nan", "w": "inf"}
    assert verify_audit(path) == []
