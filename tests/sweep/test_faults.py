"""Nothing lost, nothing twice: real Dask processes that are killed, restarted and run out of disk under a sweep."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from heila_mosaik.results.study import Study
from heila_mosaik.results.sweepstore import JOURNAL, SweepStore
from heila_mosaik.study.sweep.daskcrew import DaskCrew
from heila_mosaik.study.sweep.drive import Drive, Tally
from heila_mosaik.study.sweep.inprocess import InProcess
from heila_mosaik.study.sweep.plan import make_plan
from heila_mosaik.study.sweep.run import Place, run_sweep
from heila_mosaik.study.sweep.work import Order

_PATIENCE_S = 120.0
_SETTINGS = {
    "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1",
    "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
    "PYTHONPATH": str(Path(__file__).parents[2]),
}


class Site:
    """A scheduler and workers as processes of their own."""

    def __init__(self, place: Path) -> None:
        self.place = place
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.running: list[subprocess.Popen[bytes]] = []

    def start(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        log = (self.place / f"log{len(self.running)}.txt").open("wb")
        command = [*before, sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]]
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **_SETTINGS})
        self.running.append(process)
        return process

    def scheduler(self) -> subprocess.Popen[bytes]:
        return self.start("scheduler", "--host", self.address, "--no-dashboard")

    def worker(self, name: str, before: tuple[str, ...] = (), nanny: str = "--no-nanny") -> subprocess.Popen[bytes]:
        arguments = ("--nthreads", "1", nanny, "--no-dashboard", "--name", name, "--death-timeout", "60")
        return self.start("worker", self.address, *arguments, "--local-directory", str(self.place), before=before)

    def end(self) -> None:
        for process in self.running:
            with contextlib.suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()
        for process in self.running:
            process.wait()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.end()


def dataset(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "results").iterdir())}


def when_done(folder: Path, count: int, action, errors: list[BaseException]) -> threading.Thread:
    """Do something when the journal holds some lines."""

    def wait() -> None:
        try:
            deadline = time.monotonic() + _PATIENCE_S
            path = folder / JOURNAL
            while not path.is_file() or path.read_bytes().count(b"\n") < count:
                assert time.monotonic() < deadline, f"{count} runs were not made in time"
                time.sleep(0.02)
            action()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def light(count: int, folder: Path, crew, retries: int = 2) -> Tally:
    """A sweep of small runs that need no grid, carried out by the same driver, journal and crew."""
    keys = [f"k{n}" for n in range(count)]
    source = {"sweep": {"name": "t", "analysis": [], "description": "", "vary": []}, "varied": [], "code": "c"}
    with SweepStore(folder, source=source, plan=pa.table({"key": keys})) as store:
        orders = [Order(key=key, job=number) for number, key in enumerate(keys)]
        try:
            return Drive(orders, store, crew, retries=retries).run()
        finally:
            store.publish()


def square(key, job):
    time.sleep(0.05)
    return {"y": float(job) ** 0.5, "name": f"run {job}"}


def storm(site: Site, out: Path, first: int, second: int) -> tuple[list[threading.Thread], list[BaseException]]:
    """Two workers; one is killed after some runs, then scheduler and worker are killed and begun anew."""
    scheduler, errors = site.scheduler(), []
    workers = [site.worker("a"), site.worker("b")]

    def kill_worker() -> None:
        workers[0].send_signal(signal.SIGKILL)
        site.worker("c")

    def restart_scheduler() -> None:
        scheduler.send_signal(signal.SIGKILL)
        scheduler.wait()
        for worker in workers[1:]:
            worker.kill()
        site.scheduler()
        site.worker("d")

    return [when_done(out, first, kill_worker, errors), when_done(out, second, restart_scheduler, errors)], errors


def test_killed_workers_and_a_restarted_scheduler_change_no_byte(tmp_path, site):
    light(60, tmp_path / "calm", InProcess(square))
    out = tmp_path / "stormy"
    actions, errors = storm(site, out, 5, 20)
    with DaskCrew(site.address, square, patience_s=_PATIENCE_S) as crew:
        tally = light(60, out, crew)
    for action in actions:
        action.join(_PATIENCE_S)
    assert errors == []
    assert tally.lost > 0  # the storm was one
    assert (tally.done, tally.failed) == (60, 0)
    assert dataset(out) == dataset(tmp_path / "calm")
    lines = (out / JOURNAL).read_text().splitlines()
    assert len(lines) == len(set(lines)) == 60


@pytest.mark.slow
@pytest.mark.skipif("HEILA_SLOW" not in os.environ, reason="minutes of real runs; set HEILA_SLOW=1")
def test_the_same_storm_over_real_runs(tmp_path, sweep_file, site):
    plan = make_plan(sweep_file(12))
    run_sweep(plan, tmp_path / "calm", Place(jobs=-1))
    out = tmp_path / "stormy"
    actions, errors = storm(site, out, 3, 8)
    tally = run_sweep(plan, out, Place(scheduler=site.address, patience_s=_PATIENCE_S))
    for action in actions:
        action.join(_PATIENCE_S)
    assert errors == []
    assert tally.lost > 0
    assert (tally.done, tally.failed) == (24, 0)
    assert dataset(out) == dataset(tmp_path / "calm")
    # Twice in vain: the same call finds everything done and needs no worker.
    site.end()
    again = run_sweep(plan, out, Place(scheduler=site.address, patience_s=1.0))
    assert (again.done, again.skipped) == (0, 24)


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None, reason="a disk of one's own needs root and unshare"
)
def test_a_full_disk_on_one_node_costs_its_worker_alone(tmp_path, sweep_file, site):
    plan = make_plan(sweep_file(4))
    run_sweep(plan, tmp_path / "calm", Place(jobs=-1))
    site.scheduler()
    disk = tmp_path / "disk"
    disk.mkdir()
    # A mount namespace of its own: one megabyte for temporary files, less than a run may need.
    mount = f'mount -t tmpfs -o size=1m none {disk} && export TMPDIR={disk} && exec "$@"'
    full = site.worker("full", before=("unshare", "-m", "sh", "-c", mount, "sh"))
    whole = site.worker("whole")
    tally = run_sweep(plan, tmp_path / "out", Place(scheduler=site.address, patience_s=_PATIENCE_S))
    assert (tally.done, tally.failed, tally.retried) == (8, 0, 0)
    assert dataset(tmp_path / "out") == dataset(tmp_path / "calm")
    full.wait(30)  # it was sent away
    assert whole.poll() is None
    workers = Study(tmp_path / "out").timings()["worker"]
    assert workers.nunique() == 1


def test_a_run_that_kills_its_workers_is_found_and_given_up(tmp_path, site):
    def deadly(key, job):
        if key == "k7":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
        return {"y": float(job)}

    site.scheduler()
    site.worker("nannied", nanny="--nanny")
    with DaskCrew(site.address, deadly, patience_s=_PATIENCE_S) as crew:
        tally = light(20, tmp_path / "out", crew, retries=1)
    assert (tally.done, tally.failed) == (19, 1)
    failures = Study(tmp_path / "out").failures()
    assert list(failures) == ["k7"]
    assert "its worker died in 2 of 2 attempts" in failures["k7"]
