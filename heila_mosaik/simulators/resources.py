"""mosaik simulator of the resources of all microgrids: set points and weather in, powers and states out.

One entity per resource and one bulk entity ``Resources`` that takes and gives lists in the order of its children.

Example:
    >>> world.start("Resources", start="2016-06-01T00:00:00+00:00", step_size=60)  # doctest: +SKIP
    >>> bulk = sim.Resources(resources={"bat": {"kind": "battery", "p_max_mw": 1, ...}})  # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import mosaik_api_v3

from heila_mosaik.domain.information import ControlSignal, Measurements
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.resources import (
    FREE,
    SPECS,
    Battery,
    Exogenous,
    Resource,
    ResourceSpec,
    Setpoint,
    make_resource,
)
from heila_mosaik.domain.streams import stream
from heila_mosaik.domain.timegrid import require_aware
from heila_mosaik.errors import Problem, ProblemsError
from heila_mosaik.simulators.base import Attribute, Model, combine, control_signal, meta

UNSERVED = "unserved[MW]"
OUTPUTS = ("P[MW]", "Q[MVar]", "soc[%]", "P_min[MW]", "P_max[MW]")
TABLE = {
    attribute.name: attribute
    for attribute in (
        Attribute(
            name="irradiance[W/m2]", unit="W/m2", meaning="Irradiance in the plane of the arrays.", direction="in"
        ),
        Attribute(name="temperature[C]", unit="C", meaning="Air temperature.", direction="in"),
        Attribute(
            name="exogenous",
            unit="",
            meaning="Mapping from profile name to value; also temperature_c and irradiance_w_per_m2.",
            direction="in",
        ),
        Attribute(
            name="profiles",
            unit="1",
            meaning="Profile value per resource in order; None or NaN where it has no profile.",
            direction="in",
        ),
        Attribute(
            name="controls",
            unit="",
            meaning="Control signals, objects or JSON; the latest valid applies.",
            direction="in",
        ),
        Attribute(name="dark", unit="", meaning="Names of the resources without voltage.", direction="in"),
        Attribute(name="forming", unit="", meaning="Names of the storages that hold an island.", direction="in"),
        Attribute(
            name="former_P[MW]",
            unit="MW",
            meaning="Power each island took from its storage in the last step, by name.",
            direction="in",
        ),
        Attribute(name="unserved[MW]", unit="MW", meaning="Power not supplied during the step, for want of voltage."),
        Attribute(name="P[MW]", unit="MW", meaning="Active power during the step, consumption positive."),
        Attribute(name="Q[MVar]", unit="MVar", meaning="Reactive power during the step."),
        Attribute(name="soc[%]", unit="%", meaning="State of charge at the end of the step; NaN without a store."),
        Attribute(name="P_min[MW]", unit="MW", meaning="Lowest power for the next step."),
        Attribute(name="P_max[MW]", unit="MW", meaning="Highest power for the next step."),
        Attribute(name="names", unit="", meaning="Names of the resources in order."),
        Attribute(name="measurements", unit="", meaning="The same values as one Measurements object, exact."),
    )
}
MODELS = (
    Model(name="Resources", attributes=tuple(TABLE.values()), params=("resources",)),
    Model(name="Resource", attributes=tuple(TABLE[name] for name in OUTPUTS), public=False),
)
MEASURED = (
    Quantity.ACTIVE_POWER,
    Quantity.REACTIVE_POWER,
    Quantity.STATE_OF_CHARGE,
    Quantity.POWER_MIN,
    Quantity.POWER_MAX,
)


def specification(name: str, given: ResourceSpec | Mapping[str, Any]) -> ResourceSpec:
    """Specification from a mapping with ``kind`` and the fields of that kind.

    Raises:
        ProblemsError: If the kind or a field is unknown or a value is impossible.
    """
    if not isinstance(given, Mapping):
        return given
    values = dict(given)
    kind = values.pop("kind", None)
    if kind not in SPECS:
        problem = Problem(what=f"unknown kind {kind!r}", where=f"{name}.kind", remedy=f"use one of {', '.join(SPECS)}")
        raise ProblemsError(f"resource {name}", [problem])
    if "window" in values:
        values["window"] = tuple(values["window"])
    try:
        return SPECS[kind](**values)
    except TypeError as error:
        problem = Problem(what=str(error), where=name, remedy=f"use the fields of {SPECS[kind].__name__}")
        raise ProblemsError(f"resource {name}", [problem]) from error


class Fleet:
    """Resources with the set points in force; no mosaik inside."""

    def __init__(self, specs: Mapping[str, ResourceSpec], start: datetime, seed: int) -> None:
        self.names = tuple(specs)
        self.models: tuple[Resource, ...] = tuple(
            make_resource(name, spec, start, stream(seed, name)) for name, spec in specs.items()
        )
        self.profiles = tuple(str(getattr(spec, "profile", "")) for spec in specs.values())
        self._held: dict[str, list[ControlSignal]] = {name: [] for name in specs}
        self.columns: dict[str, list[float]] = {key: [math.nan] * len(specs) for key in OUTPUTS}
        self.columns[UNSERVED] = [0.0] * len(specs)
        self._disconnected: set[str] = set()
        self._elements = tuple(name for name in self.names for _ in MEASURED)
        self._quantities = MEASURED * len(self.names)
        self._zeros = (0.0,) * len(self._elements)

    def take(self, signals: Iterable[ControlSignal]) -> None:
        """Hold set points; a later one covers earlier ones for its time.  Unknown targets belong to others."""
        for signal in signals:
            held = self._held.get(signal.target)
            if held is not None and signal.closed is not None:
                # a contactor keeps its position; it has no set point that ends
                (self._disconnected.discard if signal.closed else self._disconnected.add)(signal.target)
            elif held is not None:
                held[:] = [old for old in held if old.stop > signal.stop or old.start < signal.start]
                held.append(signal)

    def _setpoint(self, name: str, now: datetime) -> Setpoint:
        """Latest set point that applies; the resource's own behaviour without."""
        held = self._held[name]
        if not held:
            return FREE
        held[:] = [signal for signal in held if signal.stop > now]
        for signal in reversed(held):
            if signal.start <= now:
                return signal.p_mw, signal.q_mvar
        return FREE

    def settle(self, powers: Mapping[str, float], dt_s: float) -> None:
        """Book what grid-forming storages gave in the last step, by name. [MW]"""
        for model in self.models:
            power = powers.get(model.name, 0.0)
            if power and isinstance(model, Battery):
                model.settle(power, dt_s)

    def step(
        self,
        now: datetime,
        dt_s: float,
        sun: float,
        air: float,
        profiles: list[float | None] | None,
        *,
        dark: Collection[str] = (),
        forming: Mapping[str, float] | None = None,
    ) -> None:
        """Advance all resources over ``[now, now + dt_s)``.

        Args:
            now: Start of the step.
            dt_s: Its length. [s]
            sun: Irradiance. [W/m2]
            air: Air temperature. [°C]
            profiles: Profile value of each resource.
            dark: Resources without voltage.
            forming: Storages that hold an island, with the power they gave in the last step: what they report, because
                this step's is known when the grid has been solved. [MW]
        """
        forming = forming or {}
        out = {*dark, *self._disconnected}
        calm = Exogenous(temperature_c=air, irradiance_w_per_m2=sun)
        after = now + timedelta(seconds=dt_s)
        rows = []
        for position, (name, model) in enumerate(zip(self.names, self.models, strict=True)):
            value = profiles[position] if profiles is not None else None
            own = calm
            if value is not None and not math.isnan(value):
                own = Exogenous(temperature_c=air, irradiance_w_per_m2=sun, profile=value)
            p_mw, q_mvar, missed = self.move(name, model, now, dt_s, own, dark=name in out, forming=forming)
            low, high, _, _ = model.limits(after)
            rows.append((p_mw, q_mvar, model.state().get("soc_percent", math.nan), low, high, missed))
        names = (*OUTPUTS, UNSERVED)
        self.columns = {key: list(column) for key, column in zip(names, zip(*rows, strict=True), strict=True)}

    def move(
        self,
        name: str,
        model: Resource,
        now: datetime,
        dt_s: float,
        exogenous: Exogenous,
        *,
        dark: bool,
        forming: Mapping[str, float],
    ) -> tuple[float, float, float]:
        """Advance one resource; active, reactive and unserved power during the step. [MW], [MVar], [MW]"""
        if name in forming:
            model.step(now, dt_s, (0.0, 0.0), exogenous)
            return forming[name], 0.0, 0.0
        if dark:
            return 0.0, 0.0, model.off(now, dt_s, exogenous)
        return (*model.step(now, dt_s, self._setpoint(name, now), exogenous), 0.0)

    def measurements(self, source: str, at: datetime, number: int) -> Measurements:
        """Exact values of all resources as one object (add noise where it is wanted)."""
        values = tuple(v for row in zip(*(self.columns[key] for key in OUTPUTS), strict=True) for v in row)
        return Measurements(
            id=f"{source}/measurements/{number}",
            source=source,
            at=at,
            elements=self._elements,
            quantities=self._quantities,
            values=values,
            sigmas=self._zeros,
            qualities=tuple(Quality.MISSING if math.isnan(v) else Quality.GOOD for v in values),
            ages_s=self._zeros,
        )


class Simulator(mosaik_api_v3.Simulator):
    """Resources in mosaik; see the module's text."""

    def __init__(self) -> None:
        super().__init__(meta("time-based", MODELS))
        self._fleets: dict[str, Fleet] = {}
        self._owners: dict[str, tuple[Fleet, int]] = {}
        self._last: dict[str, tuple[float, float, list[float | None] | None]] = {}
        self._time = 0

    def init(
        self,
        sid: str,
        time_resolution: float = 1.0,
        *,
        start: str | datetime,
        step_size: int = 60,
        seed: int = 0,
    ) -> Any:
        """Set clock and seed.

        Args:
            sid: Identity given by mosaik.
            time_resolution: Seconds per unit of mosaik time. [s]
            start: Time of mosaik time 0, ISO with zone.
            step_size: Length of a step in units of mosaik time.
            seed: Root of all random streams.
        """
        self._sid, self._resolution, self._step_size, self._seed = sid, time_resolution, int(step_size), seed
        moment = datetime.fromisoformat(start) if isinstance(start, str) else start
        self._start = require_aware(moment, "Resources.start")
        return self.meta

    def create(self, num: int, model: str, **params: Any) -> Any:
        """Create bulk entities, each with its resources as children."""
        if model != "Resources":
            raise ValueError(f"only Resources can be created, not {model}")
        created = []
        for _ in range(num):
            specs = {name: specification(name, given) for name, given in params["resources"].items()}
            taken = sorted(name for name in specs if name in self._owners)
            if taken:
                raise ValueError(f"resource names must be unique in one simulator; repeated: {', '.join(taken)}")
            fleet = self.make_fleet(specs)
            eid = f"Resources-{len(self._fleets)}"
            self._fleets[eid] = fleet
            self._last[eid] = (0.0, 10.0, None)
            self._owners.update({name: (fleet, position) for position, name in enumerate(specs)})
            children = [{"eid": name, "type": "Resource", "rel": []} for name in specs]
            created.append({"eid": eid, "type": model, "rel": [], "children": children})
        return created

    def make_fleet(self, specs: Mapping[str, ResourceSpec]) -> Fleet:
        """Resources of one bulk entity."""
        return Fleet(specs, self._start, self._seed)

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """Advance all resources by one step."""
        del max_advance
        self._time = time
        now = self._start + timedelta(seconds=time * self._resolution)
        for eid, fleet in self._fleets.items():
            given = inputs.get(eid, {})
            sun, air, profiles = self._last[eid]
            values = _single("exogenous", given, None)
            if values is not None:
                sun, air = values.get("irradiance_w_per_m2", sun), values.get("temperature_c", air)
                profiles = [values.get(name) if name else None for name in fleet.profiles]
            sun = _single("irradiance[W/m2]", given, sun)
            air = _single("temperature[C]", given, air)
            profiles = _single("profiles", given, profiles)
            if profiles is not None and len(profiles) != len(fleet.names):
                raise ValueError(f"{eid}: {len(profiles)} profile values for {len(fleet.names)} resources")
            self._last[eid] = (sun, air, profiles)
            for source in sorted(given.get("controls", {})):
                fleet.take(control_signal(item) for item in given["controls"][source] or ())
            dt_s = self._step_size * self._resolution
            given_powers = _single("former_P[MW]", given, {})
            fleet.settle(given_powers, dt_s)
            forming = {name: given_powers.get(name, 0.0) for name in _single("forming", given, ())}
            fleet.step(now, dt_s, sun, air, profiles, dark=_single("dark", given, ()), forming=forming)
        return int(time + self._step_size)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
        """Powers and states of the step."""
        data: dict[str, dict[str, Any]] = {}
        now = self._start + timedelta(seconds=self._time * self._resolution)
        for eid, attributes in outputs.items():
            if eid in self._fleets:
                fleet = self._fleets[eid]
                row: dict[str, Any] = {key: list(fleet.columns[key]) for key in attributes if key in fleet.columns}
                if "names" in attributes:
                    row["names"] = list(fleet.names)
                if "measurements" in attributes:
                    row["measurements"] = [fleet.measurements(eid, now, self._time)]
            else:
                fleet, position = self._owners[eid]
                row = {key: fleet.columns[key][position] for key in attributes}
            data[eid] = row
        return data


def _single(name: str, given: Mapping[str, Any], default: Any) -> Any:
    """Value of an input, the last one known without."""
    value = combine(TABLE[name], given.get(name, {}))
    return default if value is None else value
