"""What the companies of the congested morning were given, and what they answered, inside mosaik."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace

import pytest

from heila_mosaik.study.build import build_study, make_actors, make_exchange
from heila_mosaik.study.microgrids import make_plant
from heila_mosaik.study.run import run_scenario
from tests.conftest import scenario

MOSQUITTO = shutil.which("mosquitto") or shutil.which("/usr/sbin/mosquitto")
REDIS = shutil.which("redis-server")


@dataclass
class Tape:
    """Steps of one actor inside mosaik: (now, inbox, measurements, outcome)."""

    actor: object
    steps: list = field(default_factory=list)

    @property
    def name(self):
        return self.actor.name

    def step(self, now, inbox, measurements):
        outcome = self.actor.step(now, inbox, measurements)
        self.steps.append((now, list(inbox), measurements, outcome))
        return outcome


@pytest.fixture(scope="session")
def tapes(tmp_path_factory):
    """Tapes of all actors of the congested morning, by name."""
    found = {}

    def taped(study, *, flexibility):
        exchange, probes = make_exchange(study, flexibility=flexibility)
        for name, actor in exchange._actors.items():
            exchange._actors[name] = found[name] = Tape(actor)
        return exchange, probes

    run_scenario(scenario(), tmp_path_factory.mktemp("taped") / "run", baseline=False, host=taped)
    return found


@pytest.fixture(scope="session")
def fresh():
    """Makes a fresh actor of the congested morning by name."""
    study = build_study(scenario())

    def make(name):
        plant = make_plant(study.folder.microgrids, None, 900.0)
        actors, _ = make_actors(replace(study, plant=plant), flexibility=False)
        return next(actor for actor in actors if actor.name == name)

    make.names = tuple(actor.name for actor in make_actors(study, flexibility=True)[0])
    return make
