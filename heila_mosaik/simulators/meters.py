"""mosaik simulator ``Meters``: the electrical connection of the resources.

It tells CEMS and IEDs what they measure, sums the power at each point of common coupling, and writes the resources'
powers into the grid's bulk vectors - the one place where the sign of generation flips.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from heila_mosaik.actors.cems import FREQUENCY_POINT
from heila_mosaik.domain.frequency import NOMINAL_HZ
from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.streams import stream
from heila_mosaik.simulators.base import Attribute, Model, SingleEntity
from heila_mosaik.simulators.frequency import SIGMA_HZ

_COLUMNS = {
    "P[MW]": Quantity.ACTIVE_POWER,
    "Q[MVar]": Quantity.REACTIVE_POWER,
    "soc[%]": Quantity.STATE_OF_CHARGE,
    "P_min[MW]": Quantity.POWER_MIN,
    "P_max[MW]": Quantity.POWER_MAX,
}
_METERED = ("P[MW]", "Q[MVar]")
MODELS = (
    Model(
        name="Meters",
        attributes=(
            Attribute(name="P[MW]", unit="MW", meaning="Power of the resources, list", direction="in"),
            Attribute(name="Q[MVar]", unit="MVar", meaning="Reactive power of the resources, list", direction="in"),
            Attribute(name="soc[%]", unit="%", meaning="Their state of charge, list", direction="in"),
            Attribute(name="P_min[MW]", unit="MW", meaning="Lowest power of each, list", direction="in"),
            Attribute(name="P_max[MW]", unit="MW", meaning="Highest power of each, list", direction="in"),
            Attribute(
                name="positions",
                unit="",
                meaning="Mapping from switch.N to 1 closed or 0 open; without it breakers count as closed",
                direction="in",
            ),
            Attribute(name="f[Hz]", unit="Hz", meaning="Frequency", direction="in"),
            Attribute(
                name="forming",
                unit="",
                meaning="Storages that the grid carries as sources of an island; left out of the vectors for the grid",
                direction="in",
            ),
            Attribute(
                name="quality",
                unit="",
                meaning="Validity of P, Q and state of charge of each resource; without it good",
                direction="in",
            ),
            Attribute(name="measurements", unit="", meaning="Mapping from controller to Measurements"),
            Attribute(name="pcc_P[MW]", unit="MW", meaning="Power of each microgrid, list"),
            Attribute(name="pcc_Q[MVar]", unit="MVar", meaning="Reactive power of each microgrid, list"),
            Attribute(name="pcc", unit="MW, MVar", meaning="Mapping from (microgrid, quantity) to its value"),
            Attribute(
                name="<table>_P[MW]", unit="MW", meaning="For the grid: list over load, sgen or storage, its own sign"
            ),
            Attribute(name="<table>_Q[MVar]", unit="MVar", meaning="The same, reactive"),
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A CEMS or IED and what it meters.

    Attributes:
        name: Address of the actor.
        microgrid: Microgrid it belongs to.
        positions: Positions of its resources in the order of the resource simulator. (n,)
        breakers: Breakers it watches.
    """

    name: str
    microgrid: str
    positions: tuple[int, ...]
    breakers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Terminals:
    """Where the resources sit in the grid's tables.

    Attributes:
        table: ``load``, ``sgen`` or ``storage`` of each resource. (n,)
        row: Row of each resource in its table. (n,)
        sizes: Number of rows of each table.
        breakers: Switch (pandapower id) behind each breaker's name.
        presence: Whether breakers have a voltage presence indicator on the side of the grid (IEC 61243-5).
    """

    table: tuple[str, ...]
    row: tuple[int, ...]
    sizes: Mapping[str, int]
    breakers: Mapping[str, int] = field(default_factory=dict)
    presence: bool = False

    def vectors(self, name: str, powers: Sequence[float]) -> dict[str, list[float]]:
        """Bulk vectors ``<table>_<name>`` in pandapower's sign, zero where nothing of ours sits."""
        out = {table: [0.0] * size for table, size in self.sizes.items()}
        for table, row, power in zip(self.table, self.row, powers, strict=True):
            out[table][row] += -power if table == "sgen" else power
        return {f"{table}_{name}": values for table, values in out.items()}


class Meters(SingleEntity):
    """Meters of the microgrids."""

    model = "Meters"
    eid = "meters"

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})

    def init(  # noqa: PLR0913 - mosaik hands parameters one by one
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        resources: Sequence[str],
        controllers: Sequence[Controller],
        terminals: Terminals,
        start: datetime,
        step_s: int,
        noise: float = 0.005,
        seed: int = 0,
        frequency: bool = False,
    ) -> dict[str, Any]:
        """Declare the meters.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            resources: Names in the order of the resource simulator.
            controllers: Who meters what.
            terminals: Where the resources sit in the grid.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period. [s]
            noise: Standard uncertainty of P and Q relative to the reading (0.5 %: class 0.5 meter). [1]
            seed: Root of the meters' random streams.
            frequency: Whether every controller also measures the frequency it is given on ``f[Hz]``.
        """
        self._resources, self._controllers, self._terminals = tuple(resources), tuple(controllers), terminals
        self.keep_time(start, step_s, time_resolution)
        self._noise, self._frequency = noise, frequency
        self._hz = NOMINAL_HZ
        self._streams = {c.name: stream(seed, f"meter {c.name}") for c in controllers}
        self._microgrids = tuple(dict.fromkeys(c.microgrid for c in controllers))
        self._breakers = {name: f"switch.{switch}" for name, switch in terminals.breakers.items()}
        self._breaker_of = {c.microgrid: name for c in controllers for name in c.breakers}
        self._closed: Mapping[str, float] = {}
        self._quality: Sequence[Quality] | None = None
        self._frames = {c.name: self._frame(c) for c in controllers}
        self._out: dict[str, Any] = {}
        self._count = 0
        vectors = [f"{table}_{name}" for table in terminals.sizes for name in _METERED]
        return self.offer([*MODELS[0].fixed, *vectors])

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:  # noqa: ARG002
        """Read all meters."""
        given = inputs["meters"]
        columns = {name: next(iter(given[name].values())) for name in _COLUMNS}
        at = self.now(time)
        for found in given.get("positions", {}).values():
            self._closed = found or {}
        for hertz in given.get("f[Hz]", {}).values():
            self._hz = hertz
        forming = {name for names in given.get("forming", {}).values() for name in names or ()}
        own = [0.0 if name in forming else 1.0 for name in self._resources] if forming else None
        for judged in given.get("quality", {}).values():
            self._quality = judged
        self._count += 1
        p_mw, q_mvar = self._sums(columns["P[MW]"]), self._sums(columns["Q[MVar]"])
        pcc = {(name, Quantity.ACTIVE_POWER): p for name, p in zip(self._microgrids, p_mw, strict=True)}
        pcc |= {(name, Quantity.REACTIVE_POWER): q for name, q in zip(self._microgrids, q_mvar, strict=True)}
        self._out = {
            "measurements": {c.name: self._read(c, columns, at) for c in self._controllers},
            "pcc_P[MW]": p_mw,
            "pcc_Q[MVar]": q_mvar,
            "pcc": pcc,
            **self._terminals.vectors("P[MW]", _masked(columns["P[MW]"], own)),
            **self._terminals.vectors("Q[MVar]", _masked(columns["Q[MVar]"], own)),
        }
        return self.following(time)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Readings of the last step."""
        return {eid: {attr: self._out[attr] for attr in attrs} for eid, attrs in outputs.items()}

    def _frame(self, controller: Controller) -> tuple[tuple[str, ...], tuple[Quantity, ...]]:
        names = tuple(self._resources[p] for p in controller.positions for _ in _COLUMNS) + controller.breakers
        kinds = tuple(_COLUMNS.values()) * len(controller.positions)
        kinds += (Quantity.BREAKER,) * len(controller.breakers)
        if self._terminals.presence:
            names, kinds = names + controller.breakers, kinds + (Quantity.PRESENCE,) * len(controller.breakers)
        return ((*names, FREQUENCY_POINT), (*kinds, Quantity.FREQUENCY)) if self._frequency else (names, kinds)

    def _read(self, controller: Controller, columns: Mapping[str, Sequence[float]], at: datetime) -> Measurements:
        elements, quantities = self._frames[controller.name]
        draws = iter(self._streams[controller.name].standard_normal(2 * len(controller.positions)).tolist())
        values, sigmas = [], []
        for position in controller.positions:
            for name in _COLUMNS:
                value = columns[name][position]
                sigma = self._noise * abs(value) if name in _METERED else 0.0
                values.append(value + (sigma * next(draws) if name in _METERED else 0.0))
                sigmas.append(sigma)
        values += [self._position(name) for name in controller.breakers]
        if self._terminals.presence:
            values += [self._closed.get(f"live.{name}", 1.0) for name in controller.breakers]
        sigmas += [0.0] * (len(values) - len(sigmas))
        if self._frequency:
            values.append(self._hz)
            sigmas.append(SIGMA_HZ)
        return Measurements(
            id=f"{controller.name}/reading/{self._count}",
            source=controller.name,
            at=at,
            elements=elements,
            quantities=quantities,
            values=tuple(values),
            sigmas=tuple(sigmas),
            qualities=self._qualities(controller, values),
            ages_s=(0.0,) * len(values),
        )

    def _qualities(self, controller: Controller, values: Sequence[float]) -> tuple[Quality, ...]:
        judged = [Quality.GOOD] * len(values)
        if self._quality is not None:
            judged = [self._quality[position] for position in controller.positions for _ in _COLUMNS]
            judged += [Quality.GOOD] * len(controller.breakers)
        return tuple(Quality.MISSING if math.isnan(v) else q for v, q in zip(values, judged, strict=True))

    def _sums(self, powers: Sequence[float]) -> list[float]:
        totals = dict.fromkeys(self._microgrids, 0.0)
        for controller in self._controllers:
            totals[controller.microgrid] += sum(powers[position] for position in controller.positions)
        return [total if self._position(self._breaker_of.get(name)) else 0.0 for name, total in totals.items()]

    def _position(self, breaker: str | None) -> float:
        """Position of a breaker, closed where the grid says nothing."""
        return self._closed.get(self._breakers.get(breaker or "", ""), 1.0)


def _masked(values: Sequence[float], share: Sequence[float] | None) -> Sequence[float]:
    return values if share is None else [value * part for value, part in zip(values, share, strict=True)]
