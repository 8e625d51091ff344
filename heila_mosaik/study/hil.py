"""Runs a scenario with equipment in the loop: baseline, rehearsal, then the wall clock."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from heila_mosaik.bridges.equipment import EquipmentProcess
from heila_mosaik.bridges.equipment_process import EquipmentConfig
from heila_mosaik.bridges.iec104.backends import Backend
from heila_mosaik.bridges.iec104.client import LinkSettings
from heila_mosaik.bridges.point_files import load_points
from heila_mosaik.bridges.points import PointList
from heila_mosaik.bridges.safety_types import SafetySettings
from heila_mosaik.domain.realtime import Overrun, Schedule, least_period_s, worst_lag_s
from heila_mosaik.errors import HeilaError, Problem, ProblemsError
from heila_mosaik.results.hil import HilLog
from heila_mosaik.results.store import RunStore
from heila_mosaik.simulators.bridge import Binding
from heila_mosaik.study.build import Study, build_study
from heila_mosaik.study.hil_binding import make_binding
from heila_mosaik.study.hil_monitor import Monitor
from heila_mosaik.study.hil_session import Session
from heila_mosaik.study.progress import Progress
from heila_mosaik.study.run import Report, open_store, run_phase
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.world import Laboratory, Parts


@dataclass(frozen=True, slots=True, kw_only=True)
class HilOptions:
    """How a scenario is run with equipment.

    Attributes:
        points: File of the point list.
        link: Connection.
        backend: Implementation of the protocol.
        speed: Simulated time per wall-clock time. [1]
        overrun: What happens when the study is too slow.
        start_at: Wall-clock time of the first step; ``None``: at once.
        arm: Points to arm; none: a dry run that only reads.
        arm_s: For how long. [s]
        who: Operator.
        connect_s: Longest wait for the equipment. [s]
        study_timeout_s: Silence of the study after which armed points fall back. [s]
        baseline: Whether the day without trade is run first.
        rehearsal: Whether the study is run once without equipment first.
    """

    points: Path
    link: LinkSettings
    backend: Backend = Backend.HAT
    speed: float = 1.0
    overrun: Overrun = Overrun.STOP
    start_at: datetime | None = None
    arm: tuple[str, ...] = ()
    arm_s: float = 600.0
    who: str = "operator"
    connect_s: float = 20.0
    study_timeout_s: float = 3.0
    baseline: bool = True
    rehearsal: bool = True


class RehearsalTooSlowError(HeilaError):
    """The study cannot keep this pace; found out before any equipment was touched."""

    def __init__(self, period_s: float, slowest_s: float, mean_s: float, speed: float, possible: float) -> None:
        self.period_s, self.slowest_s, self.mean_s, self.speed, self.possible = (
            period_s, slowest_s, mean_s, speed, possible
        )  # fmt: skip
        super().__init__(
            f"in the rehearsal a step took {mean_s:.3f} s on average and {slowest_s:.3f} s at most, and at --speed "
            f"{speed:g} it has {period_s:g} s: the study would fall more than a step behind. Nothing was sent to the "
            f"equipment. Use --speed {possible:.3g} or less, a larger step_s, or declare --overrun catch_up or slip"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """Scenario, study and point list that fit each other."""

    scenario: Scenario
    study: Study
    points: PointList
    binding: Binding
    microgrids: tuple[str, ...]


def check_hil(scenario: Scenario, options: HilOptions) -> Checked:
    """Read everything and see whether it fits, without touching equipment.

    Raises:
        ProblemsError: With everything that is wrong.
    """
    points = load_points(options.points)
    problems = list(_option_problems(options, points))
    if problems:
        raise ProblemsError("heila hil run", problems)
    study = build_study(scenario)
    binding = make_binding(points, study.folder.microgrids, study.plant.specs, str(options.points))
    inside = [
        part.name
        for part in study.folder.microgrids
        if part.pcc.breaker in binding.breakers or any(r.name in binding.resources for r in part.resources)
    ]
    return Checked(scenario=scenario, study=study, points=points, binding=binding, microgrids=tuple(inside))


def _option_problems(options: HilOptions, points: PointList) -> Iterator[Problem]:
    known = [point.name for point in points.controlled]
    for name in options.arm:
        if name not in known:
            remedy = f"control points of the list: {', '.join(known) or 'none'}"
            yield Problem(what=f"'{name}' cannot be armed", where="--arm", remedy=remedy)
    longest = SafetySettings().arm_max_s
    if not 0.0 < options.arm_s <= longest:
        remedy = f"give more than 0 and at most {longest:g} s; arm again during the run with the key a"
        yield Problem(what=f"{options.arm_s:g} s is no time to arm for", where="--arm-for", remedy=remedy)
    if options.start_at is not None:
        if options.start_at.tzinfo is None:
            yield Problem(what="the time has no zone", where="--start-at", remedy="write for example 14:00:00+02:00")
        elif options.start_at <= datetime.now(UTC):
            yield Problem(what=f"{options.start_at.isoformat()} has passed", where="--start-at", remedy="choose later")


def run_hil(
    checked: Checked,
    out: Path,
    options: HilOptions,
    *,
    progress: Report | None = None,
    operate: Callable[[Session], None] | None = None,
) -> Path:
    """Run a scenario against equipment.

    Args:
        checked: What :func:`check_hil` found.
        out: Run folder to make.
        options: How.
        progress: Told how far baseline and rehearsal have come.
        operate: Handed the session before it starts, for dashboard and keys.

    Raises:
        HeilaError: If equipment or study cannot go on; the folder stays readable.
    """
    study, scenario = checked.study, checked.scenario
    with open_store(study, out) as store:
        if options.baseline and scenario.flexibility:
            with open_store(study, out / "baseline", flexibility=False) as other:
                run_phase(study, other, "baseline", progress, flexibility=False)
        if options.rehearsal:
            _rehearse(study, out / "rehearsal", options, progress)
        _run_live(checked, store, options, operate)
    return out


def _rehearse(study: Study, folder: Path, options: HilOptions, progress: Report | None) -> None:
    """Run the study without equipment and see whether it would keep the pace.

    Raises:
        RehearsalTooSlowError: If it would not and the policy is to stop.
    """
    stamps: list[float] = []

    def clocked(told: Progress) -> None:
        stamps.append(time.monotonic())
        if progress is not None:
            progress(told)

    with open_store(study, folder) as store:
        run_phase(study, store, "rehearsal", clocked, flexibility=study.scenario.flexibility)
    # The first step is left out: it loads compiled code, which then is there.
    busy = [later - earlier for earlier, later in pairwise(stamps[1:])]
    period_s = study.scenario.step_s / options.speed
    if busy and options.overrun is Overrun.STOP and worst_lag_s(busy, period_s) > period_s:
        possible = study.scenario.step_s / least_period_s(busy)
        raise RehearsalTooSlowError(period_s, max(busy), sum(busy) / len(busy), options.speed, 0.8 * possible)


@contextmanager
def _session(checked: Checked, store: RunStore, options: HilOptions, schedule: Schedule) -> Iterator[Session]:
    """Bridge process and log, let go of in order."""
    scenario, link = checked.scenario, options.link
    log = HilLog(store, _settings(checked, options))
    shutil.copyfile(options.points, log.folder / f"points{options.points.suffix}")
    monitor = Monitor(
        title=scenario.name,
        address=f"{link.host}:{link.port} ({options.backend.value})",
        points=checked.points,
        microgrids=checked.microgrids,
        speed=options.speed,
        overrun=options.overrun.value,
        steps=scenario.steps,
        armed=options.arm,
    )
    config = EquipmentConfig(
        points=checked.points,
        link=link,
        backend=options.backend,
        audit=log.folder / "audit.jsonl",
        who=options.who,
        safety=SafetySettings(study_timeout_s=options.study_timeout_s),
    )
    process = EquipmentProcess(config)
    session = Session(process, log, monitor, schedule, who=options.who, arm_s=options.arm_s)
    try:
        with process:
            yield session
            monitor.phase = "let go"
            session.waiting()
    finally:
        session.finish()


def _run_live(
    checked: Checked,
    store: RunStore,
    options: HilOptions,
    operate: Callable[[Session], None] | None,
) -> None:
    scenario = checked.scenario
    schedule = Schedule(scenario.step_s / options.speed, overrun=options.overrun)
    with _session(checked, store, options, schedule) as session:
        if operate is not None:
            operate(session)
        session.process.wait_ready(options.connect_s, session.waiting)
        if options.start_at is not None:
            schedule.start_s = time.monotonic() + (options.start_at - datetime.now(UTC)).total_seconds()
        session.monitor.phase = "run"
        laboratory = Laboratory(equipment=session, binding=checked.binding, schedule=schedule, idle=session.idle)

        def adapt(parts: Parts) -> Parts:
            return replace(parts, laboratory=laboratory, sink=session.sink(parts.sink), tick=session.tick)

        run_phase(checked.study, store, "live", None, flexibility=scenario.flexibility, adapt=adapt)
        session.monitor.phase = "done"


def _settings(checked: Checked, options: HilOptions) -> dict[str, Any]:
    """``hil.json``: enough to say later what was done, and to run it again without the equipment."""
    scenario, link = checked.scenario, options.link
    return {
        "scenario_folder": str(scenario.folder.resolve()),
        "points": f"points{options.points.suffix}",
        "link": {"host": link.host, "port": link.port, "tls": link.tls is not None, "backend": options.backend.value},
        "speed": options.speed,
        "period_s": scenario.step_s / options.speed,
        "overrun": options.overrun.value,
        "start_at": None if options.start_at is None else options.start_at.isoformat(),
        "arm": list(options.arm),
        "arm_s": options.arm_s,
        "who": options.who,
        "study_timeout_s": options.study_timeout_s,
        "binding": {name: asdict(bound) for name, bound in checked.binding.resources.items()},
        "breakers": list(checked.binding.breakers),
        "microgrids": list(checked.microgrids),
    }
