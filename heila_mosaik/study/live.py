"""From a site file to a live actor: the same class with the same settings that a study would host."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Any

from heila_mosaik.actors.base import Actor
from heila_mosaik.bridges.clock import Clock, ManualClock, PacedClock
from heila_mosaik.bridges.controls import ControlSink
from heila_mosaik.bridges.courier import Retry
from heila_mosaik.bridges.https import Listen
from heila_mosaik.bridges.lockstep import Follower
from heila_mosaik.bridges.mqtt import Broker
from heila_mosaik.bridges.node import LiveNode, NodeSettings
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.study.build import build_study, make_actors
from heila_mosaik.study.live_equipment import Arming, make_field, run_with
from heila_mosaik.study.loader import dump_scenario, load_scenario
from heila_mosaik.study.schema import Scenario
from heila_mosaik.study.site import COORDINATOR, ClockPart, Site


def site_scenario(site: Site) -> Scenario:
    """Scenario of a site.

    Raises:
        ProblemsError: With what is wrong with it.
    """
    return load_scenario(site.path(site.scenario), list(site.settings)).scenario


def make_actor(scenario: Scenario, name: str) -> Actor:
    """Fresh actor of a scenario.

    Raises:
        ProblemsError: If the scenario has none of that name.
    """
    actors, _ = make_actors(build_study(scenario), flexibility=scenario.flexibility)
    for actor in actors:
        if actor.name == name:
            return actor
    names = ", ".join(actor.name for actor in actors)
    problem = Problem(
        what=f"scenario {scenario.name} has no actor {name!r}", where="actors", remedy=f"name one of {names}"
    )
    raise ProblemsError("site", [problem])


def settings_id(scenario: Scenario, name: str) -> str:
    """Identity of an actor's settings: a store made with other ones is refused."""
    return hashlib.sha256(f"{name}\n{dump_scenario(scenario)}".encode()).hexdigest()[:16]


def broker_link(site: Site, name: str) -> Broker | None:
    """How an actor reaches the broker."""
    part, keys = site.broker, site.path(site.keys)
    if part is None:
        return None
    return Broker(
        host=part.host,
        port=part.port,
        ca=keys / "ca.pem",
        certificate=keys / name / "tls.pem",
        key=keys / name / "tls.key",
        version=part.version,
        keepalive_s=part.keepalive_s,
        reconnect_s=(1, part.reconnect_max_s),
    )


def node_settings(site: Site, name: str, settings: str) -> NodeSettings:
    """Settings of a live actor."""
    keys, part = site.path(site.keys), site.actors[name]
    listen = None
    if part.https is not None:
        listen = Listen(
            host=part.https.host,
            port=part.https.port,
            ca=keys / "ca.pem",
            certificate=keys / name / "tls.pem",
            key=keys / name / "tls.key",
        )
    others = [other for other in site.actors if other != name]
    if site.clock == "study":
        others.append(COORDINATOR)
    return NodeSettings(
        keys=keys,
        store=site.path(site.state) / f"{name}.db",
        broker=broker_link(site, name),
        listen=listen,
        https={other: site.address(other) for other in part.over_https},
        redis=site.redis,
        registration=site.registration.keys == "registration",
        partners=tuple(others),
        registration_s=site.registration.limit_s,
        encrypt=site.encrypt,
        durable=site.durable,
        settings_id=settings,
        about={"role": name.split("_", maxsplit=1)[0]},
        retry=Retry(first_s=site.retry.first_s, longest_s=site.retry.longest_s),
    )


def make_clock(part: ClockPart) -> Clock:
    """Clock of a site without a study."""
    if part.simulated is None or part.wall is None:
        return PacedClock.real()
    return PacedClock(simulated=part.simulated, wall=part.wall, rate=part.rate)


async def run_actor(
    site: Site,
    name: str,
    *,
    control: ControlSink | None = None,
    started: Callable[[LiveNode, Any], None] | None = None,
    arming: Arming | None = None,
) -> None:
    """Run one actor of a site until it is stopped.

    Args:
        site: The site.
        name: Name of the actor.
        control: Way for its set points; without one, and without equipment, they are only written down.
        arming: What of its equipment is armed at the start; nothing by default.
        started: Given the node and what has ``stop()``.

    Raises:
        HeilaError: If it cannot start, or its partners stay away.
    """
    scenario = await asyncio.to_thread(site_scenario, site)
    actor = await asyncio.to_thread(make_actor, scenario, name)
    settings = node_settings(site, name, settings_id(scenario, name))
    if isinstance(site.clock, ClockPart):
        clock, arms = make_clock(site.clock), arming or Arming()
        field = await asyncio.to_thread(make_field, site, name, clock.now, arms)
        node = LiveNode(actor, clock, settings, control=field or control)
        if started is not None:
            started(node, node.host)
        equipment = site.actors[name].equipment
        if field is None or equipment is None:
            await node.run()
        else:
            await run_with(node, field, arms, equipment.connect_s)
        return

    def make(heard: Callable[[str, dict[str, Any]], None], clock: ManualClock) -> LiveNode:
        return LiveNode(actor, clock, settings, control=control, on_sync=heard)

    follower = Follower(make, COORDINATOR)
    if started is not None:
        started(follower.node, follower)
    await follower.run()
