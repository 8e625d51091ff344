from __future__ import annotations

import asyncio

import mosaik
import mosaik_api_v3
import pytest

from heila_mosaik.domain.realtime import Overrun, Schedule, TooSlowError
from heila_mosaik.simulators.pacer import Pacer

PERIOD = 0.5


class Wall:
    """A clock that moves only when it is waited for or when work is done."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Work(mosaik_api_v3.Simulator):
    """Takes a declared time for each step."""

    def __init__(self):
        super().__init__(
            {
                "api_version": "3.0",
                "type": "time-based",
                "models": {"Work": {"public": True, "params": [], "attrs": ["pace", "done"]}},
            }
        )

    def init(self, sid, time_resolution=1.0, *, wall, busy, begun, schedule, timings):
        self.wall, self.busy, self.begun, self.schedule, self.timings = wall, busy, begun, schedule, timings
        return self.meta

    def create(self, num, model):
        return [{"eid": "work", "type": model}]

    def step(self, time, inputs, max_advance):
        self.begun.append(self.wall.now)
        self.wall.now += self.busy[len(self.timings)]
        self.timings.append(self.schedule.end(self.wall.now))
        return time + 60

    def get_data(self, outputs):
        return {eid: dict.fromkeys(names, len(self.timings)) for eid, names in outputs.items()}


@pytest.fixture
def run(monkeypatch):
    def run(busy, overrun=Overrun.STOP, idle=None):
        wall, begun, timings = Wall(), [], []
        real = asyncio.sleep

        async def sleep(seconds):
            wall.now += seconds
            await real(0)

        monkeypatch.setattr("heila_mosaik.simulators.pacer.asyncio.sleep", sleep)
        schedule = Schedule(PERIOD, overrun=overrun)
        here = f"{__name__}:Work"
        world = mosaik.World(
            {"Pacer": {"python": f"{Pacer.__module__}:Pacer"}, "Work": {"python": here}},
            cache=False,
            skip_greetings=True,
        )
        try:
            pacer = world.start("Pacer", schedule=schedule, step_s=60, clock=wall, idle=idle and idle(wall)).Pacer()
            work = world.start("Work", wall=wall, busy=busy, begun=begun, schedule=schedule, timings=timings).Work()
            world.connect(pacer, work, "pace")
            world.connect(work, pacer, "done", time_shifted=True, initial_data={"done": 0})
            world.run(until=60 * len(busy), print_progress=False)
        finally:
            world.shutdown()
        return begun, timings

    return run


def test_every_step_begins_at_its_deadline(run):
    begun, timings = run([0.1] * 6)
    assert begun == pytest.approx([100.0 + PERIOD * step for step in range(6)])
    assert not any(t.missed for t in timings)


def test_a_slow_step_is_made_up_for_and_the_grid_stays(run):
    begun, timings = run([0.1, 0.9, 0.1, 0.1, 0.1])
    assert begun == pytest.approx([100.0, 100.5, 101.4, 101.5, 102.0])
    assert [t.missed for t in timings] == [False, True, False, False, False]
    assert timings[2].lag_s == pytest.approx(0.4)


def test_slower_than_the_step_is_an_error_that_says_so(run):
    with pytest.raises(TooSlowError, match="--speed"):
        run([1.2] * 4)


def test_slipping_is_counted(run):
    begun, timings = run([1.2, 0.1, 0.1], Overrun.SLIP)
    assert timings[1].slipped_s == pytest.approx(0.7)
    assert begun[2] - begun[1] == pytest.approx(PERIOD)


def test_idle_is_called_only_while_the_study_waits(run):
    calls = []

    def idle(wall):
        return lambda left_s: calls.append((wall.now, left_s))

    begun, _ = run([0.1, 0.1], idle=idle)
    assert calls
    assert all(left > 0 for _, left in calls)
    assert not any(start <= now < start + 0.1 for start in begun for now, _ in calls)
