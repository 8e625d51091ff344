"""mosaik simulator ``Meters``: what CEMS and IEDs measure at the resources, and the power at each connection point."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import mosaik_api_v3
import numpy as np

from heila_mosaik.domain.information import Measurements
from heila_mosaik.domain.quantities import Quality, Quantity

_COLUMNS = {
    "P[MW]": Quantity.ACTIVE_POWER,
    "Q[MVar]": Quantity.REACTIVE_POWER,
    "soc[%]": Quantity.STATE_OF_CHARGE,
    "P_min[MW]": Quantity.POWER_MIN,
    "P_max[MW]": Quantity.POWER_MAX,
}
_METERED = ("P[MW]", "Q[MVar]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Controller:
    """A CEMS or IED and what it meters.

    Attributes:
        name: Address of the actor.
        microgrid: Microgrid it belongs to.
        positions: Positions of its resources in the order of the resource simulator. (n,)
        breakers: Breakers it watches; reported closed as long as the grid says so.
    """

    name: str
    microgrid: str
    positions: tuple[int, ...]
    breakers: tuple[str, ...] = ()


class Meters(mosaik_api_v3.Simulator):
    """Meters of the microgrids.

    Entity ``Meters``: inputs ``P[MW]``, ``Q[MVar]``, ``soc[%]``, ``P_min[MW]``, ``P_max[MW]`` (lists over resources);
    outputs ``measurements`` (mapping from controller to
    :class:`~heila_mosaik.domain.information.Measurements`), ``pcc_P[MW]`` and ``pcc_Q[MVar]`` (list over microgrids).
    """

    def __init__(self) -> None:
        super().__init__({"api_version": "3.0", "type": "time-based", "models": {}})

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        resources: Sequence[str],
        controllers: Sequence[Controller],
        start: datetime,
        step_s: int,
        noise: float = 0.005,
        seed: int = 0,
    ) -> dict[str, Any]:
        """Declare the meters.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            resources: Names in the order of the resource simulator.
            controllers: Who meters what.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period. [s]
            noise: Standard uncertainty of P and Q relative to the reading (0.5 %: class 0.5 meter). [1]
            seed: Root of the meters' random streams.
        """
        self._resources, self._controllers = tuple(resources), tuple(controllers)
        self._start, self._step_s, self._noise, self._resolution = start, step_s, noise, time_resolution
        self._streams = {c.name: _stream(seed, f"meter {c.name}") for c in controllers}
        self._microgrids = tuple(dict.fromkeys(c.microgrid for c in controllers))
        self._frames = {c.name: self._frame(c) for c in controllers}
        self._given: dict[str, list[float]] = {}
        self._out: dict[str, Any] = {"measurements": {}, "pcc_P[MW]": [], "pcc_Q[MVar]": []}
        self._count = 0
        attrs = [*_COLUMNS, "measurements", "pcc_P[MW]", "pcc_Q[MVar]"]
        self.meta["models"] = {"Meters": {"public": True, "params": [], "attrs": attrs}}
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> list[dict[str, Any]]:  # noqa: ARG002
        """Create the one entity ``Meters``."""
        if num != 1:
            raise ValueError(f"Meters has exactly one entity {model}, not {num}")
        return [{"eid": "meters", "type": model}]

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:  # noqa: ARG002
        """Read all meters."""
        given = inputs["meters"]
        columns = {name: next(iter(given[name].values())) for name in _COLUMNS}
        at = self._start + timedelta(seconds=time * self._resolution)
        self._count += 1
        self._out = {
            "measurements": {c.name: self._read(c, columns, at) for c in self._controllers},
            "pcc_P[MW]": self._sums(columns["P[MW]"]),
            "pcc_Q[MVar]": self._sums(columns["Q[MVar]"]),
        }
        return time + round(self._step_s / self._resolution)

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, Any]:
        """Readings of the last step."""
        return {eid: {attr: self._out[attr] for attr in attrs} for eid, attrs in outputs.items()}

    def _frame(self, controller: Controller) -> tuple[tuple[str, ...], tuple[Quantity, ...]]:
        names = tuple(self._resources[p] for p in controller.positions for _ in _COLUMNS) + controller.breakers
        kinds = tuple(_COLUMNS.values()) * len(controller.positions)
        return names, kinds + (Quantity.BREAKER,) * len(controller.breakers)

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
        values += [1.0] * len(controller.breakers)
        sigmas += [0.0] * len(controller.breakers)
        return Measurements(
            id=f"{controller.name}/reading/{self._count}",
            source=controller.name,
            at=at,
            elements=elements,
            quantities=quantities,
            values=tuple(values),
            sigmas=tuple(sigmas),
            qualities=tuple(Quality.MISSING if value != value else Quality.GOOD for value in values),  # noqa: PLR0124
            ages_s=(0.0,) * len(values),
        )

    def _sums(self, powers: Sequence[float]) -> list[float]:
        totals = dict.fromkeys(self._microgrids, 0.0)
        for controller in self._controllers:
            totals[controller.microgrid] += sum(powers[position] for position in controller.positions)
        return list(totals.values())


def _stream(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(entropy=seed, spawn_key=tuple(name.encode())))
