"""A live actor with equipment: its measurements come from there, its set points and commands go there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from heila_mosaik.bridges.equipment_process import EquipmentConfig, Told
from heila_mosaik.bridges.field_live import LiveField
from heila_mosaik.bridges.iec104.backends import Backend, require
from heila_mosaik.bridges.iec104.client import EventsLost, LinkSettings, PathChanged, StateChanged
from heila_mosaik.bridges.iec104.tls import TlsSettings
from heila_mosaik.bridges.ledger import Entry
from heila_mosaik.bridges.node import LiveNode
from heila_mosaik.bridges.point_files import load_points
from heila_mosaik.bridges.points import PointList
from heila_mosaik.bridges.safety_types import Refusal, SafetySettings
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.site import Site

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arming:
    """What an operator arms at the start; nothing is moved without.

    Attributes:
        points: Control points.
        for_s: For how long. [s]
        who: Operator.
    """

    points: tuple[str, ...] = ()
    for_s: float = 600.0
    who: str = "operator"


def make_field(site: Site, name: str, now: Callable[[], datetime], arming: Arming) -> LiveField | None:
    """Equipment of an actor, not connected yet; ``None`` when the site names none.

    Raises:
        ProblemsError: With what is wrong with point list and arming.
    """
    part = site.actors[name].equipment
    if part is None:
        if arming.points:
            remedy = f"give actors.{name}.equipment in the site file, see docs/live.md"
            raise ProblemsError("site", [Problem(what="there is nothing to arm", where="--arm", remedy=remedy)])
        return None
    require(Backend(part.backend))
    points = load_points(site.path(part.points))
    _check_arming(points, arming)
    tls = None if part.tls is None else TlsSettings(
        ca=site.path(part.tls.ca), certificate=site.path(part.tls.certificate), key=site.path(part.tls.key)
    )  # fmt: skip
    config = EquipmentConfig(
        points=points,
        link=LinkSettings(host=part.host, port=part.port, tls=tls),
        audit=site.path(site.state) / f"{name}.audit.jsonl",
        who=arming.who,
        backend=Backend(part.backend),
        safety=SafetySettings(study_timeout_s=part.silence_s),
    )
    return LiveField(config, name, now, listener=_tell, every_s=part.every_s)


def _check_arming(points: PointList, arming: Arming) -> None:
    known = [point.name for point in points.controlled]
    remedy = f"control points of the list: {', '.join(known) or 'none'}"
    problems = [
        Problem(what=f"'{name}' cannot be armed", where="--arm", remedy=remedy)
        for name in arming.points
        if name not in known
    ]
    longest = SafetySettings().arm_max_s
    if not 0.0 < arming.for_s <= longest:
        what = f"{arming.for_s:g} s is no time to arm for"
        problems.append(Problem(what=what, where="--arm-for", remedy=f"give more than 0 and at most {longest:g} s"))
    if problems:
        raise ProblemsError("site", problems)


def _tell(told: Told) -> None:
    match told:
        case StateChanged() | PathChanged():
            _log.info("equipment: link %s %s", told.state.value, told.detail)
        case EventsLost():
            _log.warning("equipment: %d events lost %s", told.count, told.where)
        case Entry():
            _log.info("equipment: %s %g %s %s (%s)", told.name, told.value, told.state.value, told.detail, told.cause)
        case Refusal():
            _log.warning("equipment: %s %g refused: %s (%s)", told.name, told.value, told.detail, told.cause)


async def run_with(node: LiveNode, field: LiveField, arming: Arming, connect_s: float) -> None:
    """Run an actor with its equipment until it is stopped; the equipment is let go in order.

    Raises:
        NoEquipmentError: If the equipment does not answer in time.
        EquipmentLostError: If the bridge ends by itself.
    """
    await field.start(node.host.measure)
    try:
        await asyncio.to_thread(field.process.wait_ready, connect_s)
        if arming.points:
            field.process.arm(arming.points, arming.for_s, who=arming.who)
        running, bridge = asyncio.create_task(node.run()), asyncio.create_task(field.lost())
        await asyncio.wait({running, bridge}, return_when=asyncio.FIRST_COMPLETED)
        node.host.stop()
        await running
        if bridge.done():
            bridge.result()
        bridge.cancel()
    finally:
        await field.stop()
