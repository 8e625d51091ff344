"""The loop of a sweep with the crew of one: what is skipped, tried again, given up, and what is left on disk."""

from __future__ import annotations

import errno
import json

import pyarrow as pa
import pytest

from heila_mosaik.errors import HeilaError
from heila_mosaik.results.study import Study
from heila_mosaik.results.sweepstore import Entry, NotAStudyError, OtherResultError, StudyInUseError, SweepStore
from heila_mosaik.study.sweep.drive import Drive, NoWorkersError, Report
from heila_mosaik.study.sweep.inprocess import InProcess
from heila_mosaik.study.sweep.work import Order, Outcome

SOURCE = {"sweep": {"name": "t", "analysis": [], "description": "", "vary": []}, "varied": ["x"], "code": "c"}


class Counting:
    """A work function that notes its calls and does what it is told for some keys."""

    def __init__(self, troubles: dict[str, list[Exception]] | None = None) -> None:
        self.calls: list[str] = []
        self.troubles = troubles or {}

    def __call__(self, key, job):
        self.calls.append(key)
        if self.troubles.get(key):
            raise self.troubles[key].pop(0)
        return {"y": job * 2.0, "name": f"n{job:g}"}


def orders(count: int) -> list[Order]:
    return [Order(key=f"k{n}", job=float(n)) for n in range(count)]


def store(folder, count: int) -> SweepStore:
    keys = [f"k{n}" for n in range(count)]
    return SweepStore(folder, source=SOURCE, plan=pa.table({"key": keys, "x": [float(n) for n in range(count)]}))


def drive(folder, work, count=6, **more):
    with store(folder, count) as opened:
        try:
            return Drive(orders(count), opened, InProcess(work), **more).run()
        finally:
            opened.publish()


def test_done_runs_are_skipped(tmp_path):
    work = Counting()
    assert drive(tmp_path, work, 3).done == 3
    tally = drive(tmp_path, work, 6)
    assert (tally.done, tally.skipped) == (3, 3)
    assert sorted(work.calls) == [f"k{n}" for n in range(6)]
    assert Study(tmp_path).frame()["y"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_failed_runs_are_tried_again_up_to_the_limit_and_kept_with_their_cause(tmp_path):
    trouble = {"k1": [ValueError("once")], "k2": [ValueError("always")] * 9, "k3": [HeilaError("wrong input")] * 9}
    work = Counting(trouble)
    tally = drive(tmp_path, work, retries=2)
    assert (tally.done, tally.failed, tally.retried) == (4, 2, 3)
    assert [work.calls.count(f"k{n}") for n in range(4)] == [1, 2, 3, 1]  # our own errors would only come again
    study = Study(tmp_path)
    assert study.failures() == {"k2": "ValueError: always", "k3": "HeilaError: wrong input"}
    assert "Traceback" in (tmp_path / "failures" / "k2.txt").read_text()
    assert study.frame()["key"].tolist() == ["k0", "k1", "k4", "k5"]

    assert drive(tmp_path, Counting()).failed == 2  # given up stays given up ...
    tally = drive(tmp_path, Counting(), retry_failed=True)  # ... until asked for
    assert (tally.done, tally.failed) == (2, 0)
    assert Study(tmp_path).failures() == {}


def test_the_dataset_does_not_tell_how_it_came_about(tmp_path):
    drive(tmp_path / "a", Counting())
    drive(tmp_path / "b", Counting(), 4)
    drive(tmp_path / "b", Counting({"k5": [ValueError("x")]}))
    parts = [(tmp_path / n / "results" / "part-00000.parquet").read_bytes() for n in "ab"]
    assert parts[0] == parts[1]


def test_a_node_that_cannot_work_ends_the_call_and_blames_no_run(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(NoWorkersError, match="No space left"):
        drive(tmp_path, Counting({"k2": [full]}))
    tally = drive(tmp_path, Counting())
    assert (tally.failed, tally.done + tally.skipped) == (0, 6)


class Dying:
    """Two workers that are handed two tasks each; some runs kill theirs, and the crew blames what it held."""

    def __init__(self, killers: set[str]) -> None:
        self.killers, self.tasks = killers, {}

    def size(self) -> int:
        return 2

    def submit(self, tasks) -> None:
        self.tasks.update(tasks)

    def reports(self, timeout_s: float) -> list[Report]:
        held, self.tasks = dict(list(self.tasks.items())[:2]), dict(list(self.tasks.items())[2:])
        if any(order.key in self.killers for orders in held.values() for order in orders):
            return [Report(task=task, lost="worker", detail="it is gone") for task in held]
        return [
            Report(task=task, outcomes=[Outcome(key=o.key, status="done", figures={"y": o.job}) for o in orders])
            for task, orders in held.items()
        ]

    def dismiss(self, worker: str) -> None:
        raise AssertionError(worker)


@pytest.mark.parametrize("killers", [{"k0"}, {"k7"}, {"k7", "k8"}, {"k0", "k19"}])
def test_only_what_kills_a_worker_by_itself_is_blamed(tmp_path, killers):
    with store(tmp_path, 20) as opened:
        tally = Drive(orders(20), opened, Dying(killers), retries=1).run()
        opened.publish()
    assert (tally.done, tally.failed) == (20 - len(killers), len(killers))
    failures = Study(tmp_path).failures()
    assert set(failures) == killers
    assert set(failures.values()) == {"its worker died in 2 of 2 attempts (it is gone)"}


def test_an_interrupt_leaves_a_state_that_goes_on(tmp_path):
    class Stop(Counting):
        def __call__(self, key, job):
            if key == "k3":
                raise KeyboardInterrupt
            return super().__call__(key, job)

    with pytest.raises(KeyboardInterrupt):
        drive(tmp_path, Stop())
    done = len(Study(tmp_path).frame())
    assert 0 < done < 6
    work = Counting()
    assert drive(tmp_path, work).skipped == done
    assert len(work.calls) == 6 - done


def test_a_line_cut_short_by_a_crash_is_made_again(tmp_path):
    drive(tmp_path, Counting())
    journal = tmp_path / "journal.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    work = Counting()
    drive(tmp_path, work)
    assert len(work.calls) == 1
    assert [json.loads(line)["status"] for line in journal.read_text().splitlines()] == ["done"] * 6


def test_a_run_with_two_results_is_an_error(tmp_path):
    with store(tmp_path, 1) as opened:
        opened.add([Entry(key="k0", status="done", figures={"y": 1.0})])
        opened.add([Entry(key="k0", status="done", figures={"y": 1.0})])
        with pytest.raises(OtherResultError, match="y"):
            opened.add([Entry(key="k0", status="done", figures={"y": 1.5})])


def test_one_process_at_a_time_and_no_foreign_folders(tmp_path):
    with store(tmp_path / "s", 1), pytest.raises(StudyInUseError):
        store(tmp_path / "s", 1)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(NotAStudyError, match="holds no study"):
        store(tmp_path / "other", 1)


def test_many_runs_go_into_one_task_when_they_are_short(tmp_path):
    told = []
    tally = drive(tmp_path, Counting(), 400, notify=lambda t: told.append(t.done))
    assert tally.done == 400
    assert len(told) < 40
