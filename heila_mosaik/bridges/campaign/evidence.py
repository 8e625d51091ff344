"""What is left of a session: its audit, its processes, what it leaked."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from heila_mosaik.bridges.audit import verify_audit
from heila_mosaik.bridges.campaign.judge import Violation
from heila_mosaik.bridges.campaign.record import Record

_TOLERANCE = 1e-5
_GROWTH_KB = 30_000
_SLACK = {"tasks": 0, "files": 2, "threads": 1}


def audit_violations(record: Record, path: Path, *, killed: bool) -> Iterator[Violation]:
    """Every order on the wire and every confirmation the study heard of must be in the audit, in order and whole."""
    lines = _lines(path)
    problems = verify_audit(path)
    torn_end = killed and problems and "torn" in problems[-1].what
    for problem in problems[:-1] if torn_end else problems:
        yield Violation(rule="audit", at_s=0.0, what=str(problem))
    for point in record.points.controlled:
        sent = [order for order in record.orders if order.name == point.name and not order.select]
        written = [
            float(line["values"]["value"])
            for line in lines
            if line["what"] == f"{point.name} order" and line["result"] == "sending"
        ]
        rest = iter(written)
        for order in sent:
            if not any(abs(value - order.value) <= _TOLERANCE for value in rest):
                what = f"{point.name} {order.value:g} on the wire and not in the audit"
                yield Violation(rule="audit", at_s=order.at_s, what=what)
                break
    confirmed = {int(line["values"]["order"]) for line in lines if line["result"].startswith("confirmed")}
    for act in record.acts:
        if act.what == "confirmed" and int(act.extra) not in confirmed:
            what = f"order {int(act.extra)} was confirmed, the audit does not say so"
            yield Violation(rule="audit", at_s=act.at_s, what=what)


def _lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for raw in path.read_bytes().splitlines():
        try:
            lines.append(json.loads(raw))
        except ValueError:
            continue
    return lines


def end_violations(result: dict[str, Any]) -> Iterator[Violation]:
    """A session that ended by itself must have reconnected, stopped in time and let go of everything."""
    if not result["reopened"]:
        yield Violation(rule="hang", at_s=0.0, what="the link did not open again after the last fault")
    for name, slack in _SLACK.items():
        before, after = result["before"][name], result["after"][name]
        if after > before + slack:
            yield Violation(rule="leak", at_s=0.0, what=f"{after - before} {name} left behind")
    growth = result["after"]["memory_kb"] - result["half"]["memory_kb"]
    if growth > _GROWTH_KB:
        yield Violation(rule="leak", at_s=0.0, what=f"memory grew by {growth} kB while stopping")


def group_is_empty(group: int) -> bool:
    """Whether no process of a session is left."""
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return True
    return False
