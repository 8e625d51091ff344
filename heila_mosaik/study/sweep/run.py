"""Carries a sweep out: plan, grids, crew, journal, dataset."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from heila_mosaik.results.sweepstore import SweepStore
from heila_mosaik.study.loader import resolved
from heila_mosaik.study.sweep.drive import Crew, Drive, Tally
from heila_mosaik.study.sweep.inprocess import InProcess
from heila_mosaik.study.sweep.keys import code_version
from heila_mosaik.study.sweep.plan import Plan
from heila_mosaik.study.sweep.work import Job, Order, equip, run_job

_READY_GRIDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a sweep runs.

    Attributes:
        scheduler: Standing scheduler, ``tcp://host:port``; empty: an own cluster.
        cluster: Cluster file; ``None``: this machine.
        jobs: Workers on this machine; 0: one a core; negative: none, the runs are made in this process.
        patience_s: How long a standing scheduler may be gone. [s]
    """

    scheduler: str = ""
    cluster: Path | None = None
    jobs: int = 0
    patience_s: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A crew at work and the address of its page."""

    crew: Crew
    dashboard: str = ""


Notify = Callable[[Tally], None]


def run_sweep(
    plan: Plan,
    out: Path,
    place: Place,
    *,
    retry_failed: bool = False,
    opened: Callable[[Opened], None] | None = None,
    notify: Notify | None = None,
) -> Tally:
    """Make every run of a plan that is not done yet and write the dataset.

    The dataset is written too when the call is interrupted; the same call goes on from there.

    Args:
        plan: Plan.
        out: Study folder, new or of an earlier call.
        place: Where to run.
        retry_failed: Whether runs that an earlier call gave up are tried again.
        opened: Told when the workers are there.
        notify: Told how far it has come.

    Raises:
        HeilaError: If the sweep cannot go on; what is done is kept.
    """
    orders = orders_of(plan, out)
    with SweepStore(out, source=source_of(plan), plan=plan_table(plan)) as store:
        try:
            missing = [order for order in orders if _wanted(store, order.key, retry_failed)]
            if not missing:
                return Drive(orders, store, InProcess(run_job)).run()
            if not place.scheduler and place.cluster is None:
                warm_up(plan)
            shelf = ready_shelf(plan, {order.key for order in missing})
            with open_crew(place, str(out.resolve()), shelf) as found:
                if opened is not None:
                    opened(found)
                retries = plan.sweep.retries
                drive = Drive(orders, store, found.crew, retries=retries, retry_failed=retry_failed, notify=notify)
                return drive.run()
        finally:
            store.publish()


def _wanted(store: SweepStore, key: str, retry_failed: bool) -> bool:
    before = store.entries.get(key)
    return before is None or (retry_failed and before.status != "done")


def orders_of(plan: Plan, out: Path) -> list[Order]:
    """Orders of a plan's runs."""
    study = str(out.resolve())
    return [
        Order(
            key=run.key,
            job=Job(
                scenario=run.scenario.model_dump(mode="json"),
                folder=str(run.scenario.folder.resolve()),
                baseline=plan.sweep.baseline,
                keep=plan.sweep.keep,
                study=study,
            ),
        )
        for run in {run.key: run for run in plan.runs}.values()
    ]


def plan_table(plan: Plan) -> pa.Table:
    """Runs of a plan: key, name of the study, what is varied, seed, repetition."""
    columns: dict[str, list[Any]] = {"key": [run.key for run in plan.runs]}
    for name in plan.varied:
        if name != "seed":
            columns[name] = _uniform([run.point.get(name) for run in plan.runs])
    columns["seed"] = [run.seed for run in plan.runs]
    columns["sample"] = [run.sample for run in plan.runs]
    columns["repetition"] = [run.repetition for run in plan.runs]
    return pa.table(columns)


def _uniform(values: list[Any]) -> list[Any]:
    """Values of one column type: numbers, truth values, or text for anything mixed."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return [None if value is None else float(value) for value in values]
    if kinds in ({bool}, {str}):
        return values
    return [None if value is None else str(value) for value in values]


def source_of(plan: Plan) -> dict[str, Any]:
    """``sweep.json`` of a study folder: what was asked for and of which code."""
    first = plan.runs[0].scenario if plan.runs else None
    return {
        "sweep": plan.sweep.model_dump(mode="json", exclude={"full"}),
        "file": str(plan.path),
        "code": code_version(),
        "varied": list(plan.varied),
        "scenario": resolved(first) if first is not None else {},
    }


def ready_shelf(plan: Plan, keys: set[str]) -> Any:
    """Grids of the runs to make, compiled here once; a sweep with very many grids leaves the rest to its workers."""
    runs = [run for run in plan.runs if run.key in keys]
    for run in runs:
        if len(plan.shelf) >= _READY_GRIDS:
            break
        plan.shelf.grid(run.scenario)
    return plan.shelf.cut([run.scenario for run in runs])


@contextmanager
def open_crew(place: Place, name: str, shelf: Any, work: Any = run_job, code: str | None = None) -> Iterator[Opened]:
    """Workers for the length of the block.

    Args:
        place: Where.
        name: Sweep, as its jobs name it.
        shelf: Grids for the workers.
        work: Makes one run.
        code: Code version the workers must have; by default that of this process.
    """
    if place.jobs < 0:
        equip(name, shelf)
        yield Opened(crew=InProcess(work))
        return
    from heila_mosaik.study.sweep.daskcrew import DaskCrew  # noqa: PLC0415 - extra 'study', slow import

    version = code_version() if code is None else code
    if place.scheduler:
        with DaskCrew(place.scheduler, work, name=name, shelf=shelf, code=version, patience_s=place.patience_s) as crew:
            yield Opened(crew=crew, dashboard=crew.dashboard)
        return
    from heila_mosaik.study.sweep.cluster import ClusterFile, open_cluster, read_cluster  # noqa: PLC0415

    file = read_cluster(place.cluster) if place.cluster is not None else ClusterFile()
    with (
        tempfile.TemporaryDirectory(prefix="heila-sweep-") as scratch,
        open_cluster(file, place.jobs, Path(scratch)) as cluster,
        DaskCrew(
            cluster.scheduler_address, work, name=name, shelf=shelf, code=version, patience_s=place.patience_s
        ) as crew,
    ):
        yield Opened(crew=crew, dashboard=crew.dashboard)


def warm_up(plan: Plan, runs: Sequence[int] = (0,)) -> None:
    """Fill numba's cache on this machine by two steps of some runs, so that workers do not compile all at once."""
    for index in runs:
        if index >= len(plan.runs):
            continue
        scenario = plan.runs[index].scenario
        steps = max(2, -(-scenario.dms.cycle_s // scenario.step_s))
        short = scenario.model_copy(update={"stop": None, "duration_h": steps * scenario.step_s / 3600.0})
        job = Job(
            scenario=short.placed_in(scenario.folder).model_dump(mode="json"),
            folder=str(scenario.folder.resolve()),
            baseline=False,
            keep="none",
            study="warm",
        )
        equip("warm", plan.shelf)
        run_job("warm", job)
