"""A composite gives what its members give when mosaik connects them one by one."""

from __future__ import annotations

from typing import ClassVar

import mosaik
import mosaik_api_v3
import pytest

from heila_mosaik.simulators.composite import Composite, Feed, Member


class Count(mosaik_api_v3.Simulator):
    """Adds its inputs of the step to a running sum; a model of its own name."""

    def __init__(self, model="First", step=1):
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})
        self.model, self.size, self.seen, self.total = model, step, [], 0

    def init(self, sid, time_resolution=1.0, *, model=None, step=1):
        self.model, self.size = model or self.model, step
        self.meta["models"] = {self.model: {"public": True, "params": [], "attrs": ["in", "back", "sum"]}}
        return self.meta

    def create(self, num, model):
        return [{"eid": f"{model}-0", "type": model}]

    def step(self, time, inputs, max_advance):
        given = inputs.get(f"{self.model}-0", {})
        self.total += 1 + sum(value for name in ("in", "back") for value in given.get(name, {}).values())
        self.seen.append(self.total)
        return time + self.size

    def get_data(self, outputs):
        return {eid: dict.fromkeys(names, self.total) for eid, names in outputs.items()}


class Sink(Count):
    """Keeps what it gets."""

    kept: ClassVar[list] = []

    def step(self, time, inputs, max_advance):
        Sink.kept.append((time, dict(inputs["Sink-0"]["in"])))
        return time + 1


CONFIG = {"Count": {"python": f"{__name__}:Count"}, "Sink": {"python": f"{__name__}:Sink"},
          "Composite": {"python": "heila_mosaik.simulators.composite:Composite"}}  # fmt: skip


def run(wire):
    Sink.kept = []
    with mosaik.World(CONFIG, cache=False, skip_greetings=True) as world:
        last = wire(world)
        sink = world.start("Sink", model="Sink").Sink()
        for entity in last:
            world.connect(entity, sink, ("sum", "in"))
        world.run(until=6, print_progress=False)
    return [(time, sorted(values.values())) for time, values in Sink.kept]


def apart(world):
    first = world.start("Count", model="First").First()
    second = world.start("Count", model="Second").Second()
    third = world.start("Count", model="Third").Third()
    world.connect(first, second, ("sum", "in"))
    world.connect(second, third, ("sum", "in"))
    world.connect(third, first, ("sum", "back"), time_shifted=True, initial_data={"sum": 5})
    return first, second, third


def as_one(world):
    plant = world.start(
        "Composite",
        members=[Member(make=Count, given={"model": name}) for name in ("First", "Second", "Third")],
        feeds=[
            Feed(source="First", target="Second", attributes=[("sum", "in")]),
            Feed(source="Second", target="Third", attributes=[("sum", "in")]),
            Feed(source="Third", target="First", attributes=[("sum", "back")], initial={"sum": 5}),
        ],
    )
    return plant.First(), plant.Second(), plant.Third()


def test_the_same_as_its_members_apart():
    assert run(as_one) == run(apart)


def started(members, feeds=()):
    return Composite().init("Plant-0", members=members, feeds=feeds)


def test_what_cannot_be_together_is_refused():
    first, second = Member(make=Count, given={"model": "First"}), Member(make=Count, given={"model": "Second"})
    with pytest.raises(ValueError, match="two members of composite Plant-0 have a model First"):
        started([first, first])
    with pytest.raises(ValueError, match="goes backwards; give it initial values"):
        started([first, second], [Feed(source="Second", target="First", attributes=[("sum", "in")])])
    with pytest.raises(ValueError, match="both must be models of members"):
        started([first], [Feed(source="First", target="Other", attributes=[])])
    composite = Composite()
    composite.init("Plant-0", members=[first, Member(make=Count, given={"model": "Second", "step": 2})])
    composite.create(1, "First")
    composite.create(1, "Second")
    with pytest.raises(ValueError, match=r"must step together; next steps: \['1', '2'\]"):
        composite.step(0, {}, 10)
