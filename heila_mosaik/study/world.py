"""The one place that wires simulators: profiles, resources, meters, grid, telemetry, actors, recorder."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from heila_mosaik.domain.profiles import Follower, ProfileTable
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.realtime import Schedule
from heila_mosaik.domain.resources import ResourceSpec
from heila_mosaik.domain.switchgear import Former, Switchgear
from heila_mosaik.domain.telemetry import MeasurementModel
from heila_mosaik.domain.voltvar.means import OwnMeans
from heila_mosaik.simulators.bridge import Binding, Equipment, Iec104Bridge
from heila_mosaik.simulators.composite import Feed, Member
from heila_mosaik.simulators.exchange import Exchange
from heila_mosaik.simulators.meters import Controller, Meters, Terminals
from heila_mosaik.simulators.pacer import Idle
from heila_mosaik.simulators.profiles import Profiles
from heila_mosaik.simulators.recorder import Append, Sink
from heila_mosaik.simulators.resources import Simulator as Resources
from heila_mosaik.simulators.switchgear import SwitchgearSimulator
from heila_mosaik.study.interrupt import Stoppable, interruptible

SIMULATORS: dict[str, Any] = {
    "Field": {"python": "heila_mosaik.simulators.composite:Composite"},
    "Pacer": {"python": "heila_mosaik.simulators.pacer:Pacer"},
    "Grid": {"python": "heila_mosaik.simulators.grid:GridSimulator"},
    "Frequency": {"python": "heila_mosaik.simulators.frequency:Frequency"},
    "Telemetry": {"python": "heila_mosaik.simulators.telemetry:Telemetry"},
    "ActorHost": {"python": "heila_mosaik.simulators.actor:ActorHost"},
    "Recorder": {"python": "heila_mosaik.simulators.recorder:Recorder"},
}
_GRID_TABLES = {
    "bus_vm_pu": "Vm[pu]",
    "line_loading_percent": "line_loading[%]",
    "trafo_loading_percent": "trafo_loading[%]",
    "load_p_mw": "load_P[MW]",
    "load_q_mvar": "load_Q[MVar]",
    "sgen_p_mw": "sgen_P[MW]",
    "sgen_q_mvar": "sgen_Q[MVar]",
    "storage_p_mw": "storage_P[MW]",
    "storage_q_mvar": "storage_Q[MVar]",
    "ext_p_mw": "ext_P[MW]",
    "ext_q_mvar": "ext_Q[MVar]",
    "system": "system",
    "device_position": "steps",
}
_RESOURCE_TABLES = {"resource_p_mw": "P[MW]", "resource_q_mvar": "Q[MVar]", "resource_soc_percent": "soc[%]"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gear:
    """Switchgear of a study.

    Attributes:
        machine: Its state machine.
        formers: Storages that can hold an island.
        loads: Whether the study looks at supply: records which loads are supplied and how much is not.
        appliances: Loads and generators with a switch of their own, ``load.4``.
    """

    machine: Switchgear
    formers: tuple[Former, ...] = ()
    loads: bool = False
    appliances: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Laboratory:
    """Equipment in the loop.

    Attributes:
        equipment: The equipment, or a recording of it.
        binding: What of the study stands in it.
        schedule: Deadlines on the wall; ``None``: as fast as it goes.
        idle: Called while the study waits.
    """

    equipment: Equipment
    binding: Binding
    schedule: Schedule | None = None
    idle: Idle | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything a run is made of, in process.

    Attributes:
        start: Simulated start, aware UTC.
        steps: Number of steps.
        step_s: Length of a step. [s]
        seed: Seed of all random streams.
        net: pandapower net, microgrids attached.
        engine: The same net compiled; ``None`` compiles it.
        on_divergence: ``stop``, ``hold`` or ``skip``.
        failed: Folder for diverged cases.
        table: Profiles, weather included.
        followers: What follows them, by bulk attribute of the grid.
        specs: Resources.
        controllers: Who meters what.
        terminals: Where the resources sit in the grid.
        observed: Switches, taps and capacitor banks whose positions are seen, as ``<table>.<id>``.
        frequency_hz: Frequency at every step; ``None`` if nobody measures it. [Hz] (steps,)
        means: The DSO's own means; its units follow its set points and their characteristic.
        gear: Switches, protection and grid-forming storages.
        buses: Bus position of each resource, in the order of ``specs``.
        measuring: Telemetry of the grid; ``None`` if nobody looks at it.
        exchange: Actors.
        probes: Series read from actors after each step, by table.
        sink: Takes messages and records.
        tables: ``append`` of each series table.
        tick: Called with the simulated time after each step.
        laboratory: Equipment in the loop.
    """

    start: datetime
    steps: int
    step_s: int
    seed: int
    net: Any
    engine: Any = None
    on_divergence: str
    failed: Path
    table: ProfileTable
    followers: Mapping[str, Follower]
    specs: Mapping[str, ResourceSpec]
    controllers: Sequence[Controller]
    terminals: Terminals
    observed: tuple[str, ...]
    frequency_hz: FloatArray | None
    means: OwnMeans
    gear: Gear
    buses: Mapping[str, int]
    measuring: MeasurementModel | None
    exchange: Exchange
    probes: Mapping[str, Callable[[], Sequence[float]]]
    sink: Sink
    tables: Mapping[str, Append]
    tick: Callable[[datetime], None] | None = None
    laboratory: Laboratory | None = None


def run_world(parts: Parts) -> None:
    """Build the mosaik world and run it to the end."""
    import mosaik  # noqa: PLC0415 - slow import, needed only for a run

    world: Any = mosaik.World(SIMULATORS, cache=False, skip_greetings=True)
    _quiet()  # after the world is made: mosaik enables its own log then
    with interruptible(parts.tick) as tick:
        try:
            _wire(world, replace(parts, tick=tick, laboratory=_interruptible(parts.laboratory, tick)))
            world.run(until=parts.steps * parts.step_s, print_progress=False)
        finally:
            _end_tasks(world.loop)
            world.shutdown()


def _interruptible(laboratory: Laboratory | None, stop: Stoppable) -> Laboratory | None:
    """A study that waits for the wall stops at once, not after its step."""
    if laboratory is None or laboratory.idle is None:
        return laboratory
    wait = laboratory.idle

    def idle(left_s: float) -> None:
        stop(None)
        wait(left_s)

    return replace(laboratory, idle=idle)


def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel what an error left waiting; asyncio complains of forgotten tasks on the terminal."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def _quiet() -> None:
    from loguru import logger  # noqa: PLC0415 - mosaik's logger

    logger.disable("mosaik")
    logger.disable("mosaik_api_v3")
    warnings.filterwarnings("ignore", message=".*print_progress.*")


def _wire(world: Any, parts: Parts) -> None:
    clock = {"start": parts.start, "step_s": parts.step_s}
    profiles, gear, resources, meters = _field(world, parts)
    grid = world.start("Grid", step_size=parts.step_s, start=parts.start).Grid(
        net=parts.net,
        engine=parts.engine,
        on_divergence=parts.on_divergence,
        failed_folder=parts.failed,
        breakers=parts.terminals.breakers,
        observed=parts.observed,
        inverters=parts.means.inverters,
        curtailable=parts.means.curtailable,
        formers={former.name: int(former.element.partition(".")[2]) for former in parts.gear.formers},
    )
    recorder = world.start("Recorder", sink=parts.sink, tables=parts.tables, tick=parts.tick, **clock).Recorder()
    _pace(world, parts, profiles, recorder)
    world.connect(profiles, grid, *parts.followers)
    world.connect(meters, grid, *(f"{table}_{q}" for table in parts.terminals.sizes for q in ("P[MW]", "Q[MVar]")))
    world.connect(gear, grid, ("commands", "controls"))
    if parts.gear.formers:
        _wire_islands(world, gear, resources, grid)
    _wire_records(world, parts, (resources, meters, grid, gear), recorder)
    host = _wire_actors(world, parts, (resources, meters, grid, gear), recorder)
    if parts.frequency_hz is not None:
        given = {"values_hz": parts.frequency_hz.tolist(), "receivers": ("tso",), **clock}
        frequency = world.start("Frequency", **given).Frequency()
        world.connect(frequency, meters, "f[Hz]")
        world.connect(frequency, host, "measurements")
        if "frequency_hz" in parts.tables:
            world.connect(frequency, recorder, ("row", "frequency_hz"))


def _field(world: Any, parts: Parts) -> tuple[Any, Any, Any, Any]:
    """Profiles, switchgear, resources and meters as one simulator: they step together and feed forward only."""
    clock = {"start": parts.start, "step_s": parts.step_s}
    members = (
        Member(make=Profiles, given={"table": parts.table, "followers": parts.followers, **clock}),
        Member(
            make=SwitchgearSimulator,
            given={
                "gear": parts.gear.machine,
                "breakers": parts.terminals.breakers,
                "formers": parts.gear.formers,
                "buses": parts.buses,
                "appliances": parts.gear.appliances,
                **clock,
            },
        ),
        _resources(parts),
        Member(
            make=Meters,
            given={
                "resources": tuple(parts.specs),
                "controllers": parts.controllers,
                "terminals": parts.terminals,
                "seed": parts.seed,
                "frequency": parts.frequency_hz is not None,
                **clock,
            },
        ),
    )
    same = ("P[MW]", "Q[MVar]", "soc[%]", "P_min[MW]", "P_max[MW]")
    feeds = [
        Feed(source="Profiles", target="Resources", attributes=(("exogenous", "exogenous"),)),
        Feed(source="Switchgear", target="Resources", attributes=(("dark", "dark"),)),
        Feed(source="Switchgear", target="Meters", attributes=(("positions", "positions"),)),
        Feed(source="Resources", target="Meters", attributes=tuple((name, name) for name in same)),
    ]
    if parts.gear.formers:
        forming = (("forming", "forming"),)
        feeds += [Feed(source="Switchgear", target=into, attributes=forming) for into in ("Resources", "Meters")]
        room: dict[str, list[float]] = {"P_min[MW]": [], "P_max[MW]": []}
        limits = tuple((name, name) for name in room)
        feeds.append(Feed(source="Resources", target="Switchgear", attributes=limits, initial=room))
    if parts.laboratory is not None:
        # Orders to a breaker of the laboratory reach the grid as the position that was measured after them.
        moved: dict[str, list[Any]] = {"switching": []}
        feeds.append(
            Feed(source="Resources", target="Switchgear", attributes=(("switching", "controls"),), initial=moved)
        )
        feeds.append(Feed(source="Resources", target="Meters", attributes=(("quality", "quality"),)))
    plant = world.start("Field", members=members, feeds=tuple(feeds))
    return (
        plant.Profiles(),
        plant.Switchgear(),
        plant.Resources(resources=dict(parts.specs)),
        plant.Meters(),
    )


def _wire_records(world: Any, parts: Parts, plant: tuple[Any, Any, Any, Any], recorder: Any) -> None:
    """Series tables of the plant."""
    resources, meters, grid, gear = plant
    for table, attr in _GRID_TABLES.items():
        if table in parts.tables:
            world.connect(grid, recorder, (attr, table))
    for table, attr in _RESOURCE_TABLES.items():
        if table in parts.tables:
            world.connect(resources, recorder, (attr, table))
    if parts.gear.loads:
        for source, attr, table in ((grid, "load_supplied", ""), (resources, "unserved[MW]", "resource_unserved_mw")):
            if (table or attr) in parts.tables:
                world.connect(source, recorder, (attr, table or attr))
        world.connect(gear, recorder, "records")
    if "pcc_p_mw" in parts.tables:
        world.connect(meters, recorder, ("pcc_P[MW]", "pcc_p_mw"))


def _resources(parts: Parts) -> Member:
    """Resources, some of them in the laboratory if there is one."""
    given: dict[str, Any] = {"start": parts.start, "step_size": parts.step_s, "seed": parts.seed}
    laboratory = parts.laboratory
    if laboratory is None:
        return Member(make=Resources, given=given)
    return Member(make=Iec104Bridge, given={**given, "equipment": laboratory.equipment, "binding": laboratory.binding})


def _pace(world: Any, parts: Parts, profiles: Any, recorder: Any) -> None:
    """Let the one simulator without other inputs, and so all of them, wait for the wall."""
    laboratory = parts.laboratory
    if laboratory is None or laboratory.schedule is None:
        return
    pacer = world.start("Pacer", schedule=laboratory.schedule, step_s=parts.step_s, idle=laboratory.idle).Pacer()
    world.connect(pacer, profiles, "pace")
    world.connect(recorder, pacer, "done", time_shifted=True, initial_data={"done": 0})


def _wire_islands(world: Any, gear: Any, resources: Any, grid: Any) -> None:
    """Who holds voltage is known before the step, what it costs after it."""
    last: dict[str, dict[str, float]] = {"former_P[MW]": {}, "former_Q[MVar]": {}}
    world.connect(grid, gear, *last, time_shifted=True, initial_data=last)
    world.connect(grid, resources, "former_P[MW]", time_shifted=True, initial_data={"former_P[MW]": {}})


def _wire_actors(world: Any, parts: Parts, plant: tuple[Any, Any, Any, Any], recorder: Any) -> Any:
    resources, meters, grid, gear = plant
    clock = {"start": parts.start, "step_s": parts.step_s}
    elsewhere = parts.laboratory.binding.breakers if parts.laboratory is not None else ()
    host = world.start("ActorHost", exchange=parts.exchange, probes=parts.probes, elsewhere=elsewhere, **clock).Host()
    if parts.measuring is not None:
        telemetry = world.start("Telemetry", model=parts.measuring, receiver="sau", **clock).Telemetry()
        world.connect(grid, telemetry, "state", "positions")
        world.connect(meters, telemetry, "pcc")
        if parts.means.inverters or parts.means.curtailable:
            world.connect(grid, telemetry, ("units", "pcc"))
        world.connect(gear, telemetry, "positions")
        world.connect(telemetry, host, "measurements")
    world.connect(meters, host, "measurements")
    world.connect(host, resources, "controls", time_shifted=True, initial_data={"controls": []})
    world.connect(host, gear, ("own_controls", "controls"), time_shifted=True, initial_data={"own_controls": []})
    world.connect(host, recorder, "deliveries", "records", *(name for name in parts.probes if name in parts.tables))
    return host
