"""A mixed run: some actors of a scenario as processes of their own, the others with the grid in mosaik."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import Popen, TimeoutExpired

from heila_mosaik.actors.base import Actor
from heila_mosaik.bridges.clock import PacedClock
from heila_mosaik.bridges.coordinator import Coordinator, StandIn
from heila_mosaik.bridges.courier import Retry
from heila_mosaik.bridges.node import NodeSettings
from heila_mosaik.errors import HeilaError, Problem, ProblemsError
from heila_mosaik.simulators.exchange import Exchange
from heila_mosaik.study.build import Probes, Study, make_actors, make_network, probes_of
from heila_mosaik.study.live import broker_link, site_scenario
from heila_mosaik.study.paced import PacedExchange
from heila_mosaik.study.run import Report, run_scenario
from heila_mosaik.study.site import Site

_LEAD_S = 1.0
_STOP_S = 20.0


class ActorProcessError(HeilaError):
    """A process of an actor ended by itself.

    Attributes:
        actor: Its name.
        code: Exit code.
    """

    def __init__(self, actor: str, code: int, log: Path) -> None:
        self.actor, self.code = actor, code
        tail = log.read_text(errors="replace")[-800:] if log.exists() else ""
        super().__init__(f"the process of {actor} ended with {code}; {log} ends with:\n{tail}")


@dataclass(slots=True, kw_only=True)
class Processes:
    """Processes of live actors.

    Attributes:
        site_file: Site file they are started with.
        logs: Folder of their logs.
        running: Process of each actor.
    """

    site_file: Path
    logs: Path
    running: dict[str, Popen[bytes]]

    def start(self, name: str) -> None:
        """Start (again) the process of an actor."""
        code = "from heila_mosaik.cli import main; main()"
        command = [sys.executable, "-c", code, "actor", name, "--config", str(self.site_file)]
        self.logs.mkdir(parents=True, exist_ok=True)
        with (self.logs / f"{name}.log").open("ab") as log:
            self.running[name] = Popen(command, stdout=log, stderr=log)  # noqa: S603 - our own command

    def check(self) -> None:
        """Whether all are running.

        Raises:
            ActorProcessError: If one has ended.
        """
        for name, process in self.running.items():
            code = process.poll()
            if code is not None:
                raise ActorProcessError(name, code, self.logs / f"{name}.log")

    def stop(self) -> None:
        """End them: they end by themselves when the run is over, else they are asked to."""
        for process in self.running.values():
            try:
                process.wait(_STOP_S)
            except TimeoutExpired:
                process.terminate()
        for process in self.running.values():
            try:
                process.wait(_STOP_S)
            except TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def actor_processes(site_file: Path, names: Sequence[str], logs: Path) -> Iterator[Processes]:
    """Processes of live actors for the time of a run."""
    processes = Processes(site_file=site_file, logs=logs, running={})
    try:
        for name in names:
            processes.start(name)
        yield processes
    except BaseException:
        for process in processes.running.values():
            process.terminate()
        raise
    finally:
        processes.stop()


@dataclass(slots=True, kw_only=True)
class MixedRun:
    """How a mixed run went.

    Attributes:
        site: The site; its clock is ``study``.
        rate: Simulated seconds in a second; ``None``: lock-step, as fast as it goes.
        doors: Folder for the stores of the local actors' doors.
        coordinator: Way to the live actors, once the run has begun.
        exchange: What hosts the actors in mosaik.
        registration_s: How long the live actors took to register. [s]
    """

    site: Site
    rate: float | None
    doors: Path
    coordinator: Coordinator | None = None
    exchange: Exchange | None = None
    registration_s: float = float("nan")

    @property
    def late_s(self) -> float:
        """Largest lateness of a step against the clock. [s]"""
        return getattr(self.exchange, "late_s", 0.0)

    def host(self, study: Study, *, flexibility: bool) -> tuple[Exchange, Probes]:
        """Makes the exchange of the run; see :func:`heila_mosaik.study.run.run_scenario`."""
        actors, dms = make_actors(study, flexibility=flexibility)
        if not flexibility:
            return Exchange(actors, make_network(study)), {}
        live = tuple(self.site.actors)
        self._check(live, actors)
        local = [actor.name for actor in actors if actor.name not in live]
        coordinator = self.coordinator = self._coordinator(local, live)
        began = time.monotonic()
        coordinator.start()
        self.registration_s = time.monotonic() - began
        network = make_network(study)
        if self.rate is None:
            coordinator.announce(None)
            mixed = [StandIn(a.name, coordinator, local) if a.name in live else a for a in actors]
            self.exchange = Exchange(mixed, network)
        else:
            hosted = [actor for actor in actors if actor.name not in live]
            self.exchange = PacedExchange(hosted, network, coordinator, self._begin)
        return self.exchange, probes_of(study, dms)

    def _check(self, live: Sequence[str], actors: Sequence[Actor]) -> None:
        names = [actor.name for actor in actors]
        problems = [
            Problem(
                what=f"the scenario has no actor {name!r}", where="actors", remedy=f"name one of {', '.join(names)}"
            )
            for name in live
            if name not in names
        ]
        if self.site.clock != "study":
            problems.append(Problem(what="the site keeps its own time", where="clock", remedy="set clock: study"))
        if problems:
            raise ProblemsError("mixed run", problems)

    def _begin(self, start: datetime) -> PacedClock:
        assert self.coordinator is not None
        assert self.rate is not None
        wall = datetime.now(UTC) + timedelta(seconds=_LEAD_S)
        clock = PacedClock(simulated=start, wall=wall, rate=self.rate)
        self.coordinator.announce(clock)
        return clock

    def _coordinator(self, local: Sequence[str], live: Sequence[str]) -> Coordinator:
        site = self.site
        common = NodeSettings(
            keys=site.path(site.keys),
            store=self.doors,
            registration_s=site.registration.limit_s,
            registration=True,
            encrypt=site.encrypt,
            durable=False,
            retry=Retry(first_s=site.retry.first_s, longest_s=site.retry.longest_s),
        )

        def link(name: str) -> NodeSettings:
            return replace(common, store=self.doors / f"{name}.db", broker=broker_link(site, name))

        return Coordinator(local, live, common, link)

    def close(self) -> None:
        """End the live actors' run and close the doors."""
        if self.coordinator is not None:
            self.coordinator.stop()


def run_mixed(
    site: Site,
    out: Path,
    *,
    rate: float | None = None,
    baseline: bool = False,
    progress: Report | None = None,
    doors: Path | None = None,
) -> MixedRun:
    """Run the scenario of a site with its actors live; they have to be running or to be started meanwhile.

    Args:
        site: The site.
        out: Run folder to make.
        rate: Simulated seconds in a second, 1 is real time; ``None``: lock-step, as fast as it goes.
        baseline: Whether the day without trade is run first.
        progress: Told how far the run has come.
        doors: Folder for the stores of the local actors' doors; by default one that is removed at the end.

    Raises:
        ProblemsError: If site and scenario do not fit together.
        HeilaError: If a live actor does not register or stops to answer.
    """
    scenario = site_scenario(site)
    with ExitStack() as stack:
        place = doors or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heila-doors-")))
        mixed = MixedRun(site=site, rate=rate, doors=place)
        stack.callback(mixed.close)
        run_scenario(scenario, out, baseline=baseline, progress=progress, host=mixed.host)
    return mixed
