"""Runs a study again on a recording of its equipment, and compares the results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

from heila_mosaik.bridges.point_files import load_points
from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.realtime import Overrun, Schedule, StepTiming
from heila_mosaik.domain.samplehold import Attribute, Sample
from heila_mosaik.errors import HeilaError
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.hil import HilRecord
from heila_mosaik.results.manifest import checksum
from heila_mosaik.simulators.bridge import Binding, Bound
from heila_mosaik.study.build import build_study
from heila_mosaik.study.hil_monitor import Monitor, Shown
from heila_mosaik.study.hil_session import Draw
from heila_mosaik.study.loader import load_scenario
from heila_mosaik.study.run import open_store, run_phase
from heila_mosaik.study.world import Laboratory, Parts

_FOLDERS = ("series", "messages", "records")


class NothingToReplayError(HeilaError):
    """A run folder without a recording of equipment."""

    exit_code = 2

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        super().__init__(f"{folder}: holds no recording of equipment (hil/); give a folder of 'heila hil run'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Data files of recording and replay.

    Attributes:
        same: Files with the same bytes.
        different: Files that differ or are missing in one of them.
    """

    same: tuple[str, ...]
    different: tuple[str, ...]


class Recording:
    """Equipment out of a run folder: samples by step, events by time; orders go nowhere.

    Args:
        record: The recording.
        monitor: What to show.
        draw: Shows it; ``None``: nobody looks.
    """

    def __init__(self, record: HilRecord, monitor: Monitor, draw: Draw | None) -> None:
        self.steps = record.samples()
        shown = draw is not None
        self._timings: list[Any] = record.steps.to_dict("records") if shown else []
        self._readings: list[Any] = record.readings.to_dict("records") if shown else []
        self._events = record.events if shown else []
        self._monitor, self._draw = monitor, draw
        self._step = self._told = self._read = 0
        self._drawn_s = 0.0

    def order(self, now: datetime, signals: Sequence[ControlSignal]) -> None:
        """Nothing: what came of it is in the samples."""

    def sample(self, now: datetime) -> Mapping[Attribute, Sample]:  # noqa: ARG002 - the order of steps decides
        """What the study saw then."""
        self._step += 1
        return self.steps[self._step - 1]

    def tick(self, now: datetime) -> None:
        """Show what was known at the end of this step."""
        if self._draw is None or self._step > len(self._timings):
            return
        row, monitor = self._timings[self._step - 1], self._monitor
        monitor.at_s = row.pop("at_s")
        while self._told < len(self._events) and self._events[self._told]["at_s"] <= monitor.at_s:
            monitor.event(self._events[self._told])
            self._told += 1
        while self._read < len(self._readings) and self._readings[self._read]["at_s"] <= monitor.at_s:
            one = self._readings[self._read]
            monitor.values[one["point"]] = Shown(value=one["value"], quality=one["quality"], at_s=one["at_s"])
            self._read += 1
        monitor.received = self._read
        monitor.step(StepTiming(**{key: value for key, value in row.items() if key != "time"}), now)
        if monotonic() - self._drawn_s > 0.1:
            self._drawn_s = monotonic()
            self._draw(monitor)


def replay_hil(folder: Path, out: Path, *, speed: float | None = None, draw: Draw | None = None) -> Comparison:
    """Run a study again without its equipment.

    Args:
        folder: Run folder of ``heila hil run``; one that was cut short is replayed as far as it goes.
        out: Run folder to make.
        speed: Simulated time per wall-clock time; ``None``: as fast as it goes.
        draw: Shows what the operator saw.

    Raises:
        NothingToReplayError: If the folder holds no recording.
    """
    run = RunFolder(folder)
    record = HilRecord(run)
    if not record.exists:
        raise NothingToReplayError(folder)
    settings = record.settings
    scenario = load_scenario(folder / "scenario.resolved.yaml").scenario.placed_in(Path(settings["scenario_folder"]))
    study = build_study(scenario)
    binding = Binding(
        resources={name: Bound(element=b["element"], less=tuple(b["less"])) for name, b in settings["binding"].items()},
        breakers=tuple(settings["breakers"]),
    )
    monitor = Monitor(
        title=f"{scenario.name} (replay)",
        address=str(folder),
        points=load_points(record.points),
        microgrids=tuple(settings["microgrids"]),
        speed=speed or float(settings["speed"]),
        overrun=settings["overrun"],
        steps=scenario.steps,
        armed=tuple(settings["arm"]),
        phase="run",
    )
    recording = Recording(record, monitor, draw)
    schedule = None if speed is None else Schedule(scenario.step_s / speed, overrun=Overrun.SLIP)
    laboratory = Laboratory(equipment=recording, binding=binding, schedule=schedule)
    done = min(len(recording.steps), len(record.steps)) if run.status != "complete" else scenario.steps

    def adapt(parts: Parts) -> Parts:
        def tick(now: datetime) -> None:
            if schedule is not None:
                schedule.end(monotonic())
            recording.tick(now)

        return replace(parts, laboratory=laboratory, steps=done, tick=tick)

    with open_store(study, out) as store:
        run_phase(study, store, "replay", None, flexibility=scenario.flexibility, adapt=adapt)
    return compare(folder, out)


def compare(first: Path, second: Path) -> Comparison:
    """Data files of two run folders by their bytes."""
    names = sorted(
        {
            path.relative_to(root).as_posix()
            for root in (first, second)
            for part in _FOLDERS
            for path in (root / part).rglob("*.parquet")
        }
    )
    same = [name for name in names if _sum(first / name) == _sum(second / name) != ""]
    return Comparison(same=tuple(same), different=tuple(name for name in names if name not in same))


def _sum(path: Path) -> str:
    return checksum(path) if path.is_file() else ""
