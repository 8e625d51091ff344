"""The one pattern of our mosaik simulators: a declared attribute table gives META, validation and documentation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Literal

import mosaik_api_v3
import numpy as np

from heila_mosaik.domain.information import ControlSignal


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One attribute of a model.

    Attributes:
        name: mosaik name with unit, for example ``P[MW]``.
        unit: Unit, empty for none.
        meaning: What it is, one sentence.
        reduce: How several sources of an input combine.
        direction: ``in`` or ``out``.
        trigger: An input that starts a step (hybrid simulators).
        persistent: Whether an output keeps its value until the next one.
    """

    name: str
    unit: str
    meaning: str
    reduce: Literal["sum", "last"] = "last"
    direction: Literal["in", "out"] = "out"
    trigger: bool = False
    persistent: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model of a simulator.

    Attributes:
        name: Name of the model.
        attributes: Its attributes; a name with angle brackets stands for several that ``init`` names.
        params: Parameters of ``create``.
        public: Whether a scenario may create it; children are not public.
    """

    name: str
    attributes: tuple[Attribute, ...]
    params: tuple[str, ...] = ()
    public: bool = True

    @property
    def fixed(self) -> tuple[str, ...]:
        """Names of the attributes that are always there."""
        return tuple(dict.fromkeys(attribute.name for attribute in self.attributes if "<" not in attribute.name))


def meta(kind: Literal["time-based", "event-based", "hybrid"], models: Iterable[Model]) -> dict[str, Any]:
    """Fresh mosaik META from the tables."""
    described: dict[str, Any] = {}
    for model in models:
        entry: dict[str, Any] = {
            "public": model.public,
            "params": list(model.params),
            "attrs": list(dict.fromkeys(attribute.name for attribute in model.attributes)),
        }
        if kind == "hybrid":
            entry["trigger"] = [attribute.name for attribute in model.attributes if attribute.trigger]
            entry["non-persistent"] = [a.name for a in model.attributes if a.direction == "out" and not a.persistent]
        described[model.name] = entry
    return {"api_version": "3.0", "type": kind, "models": described}


def combine(attribute: Attribute, sources: Mapping[str, Any]) -> Any:
    """Reduce the values of several sources; order is by source name, so that runs repeat.

    Vectors are summed element by element.
    """
    if len(sources) == 1:
        return next(iter(sources.values()))
    values = [sources[key] for key in sorted(sources) if sources[key] is not None]
    if not values:
        return None
    if len(values) == 1 or attribute.reduce == "last":
        return values[-1]
    return np.sum(np.asarray(values, float), axis=0)


def control_signal(given: ControlSignal | Mapping[str, Any]) -> ControlSignal:
    """Control signal from the object or its JSON form (ISO times)."""
    if isinstance(given, ControlSignal):
        return given
    values = {key: value for key, value in given.items() if key in ControlSignal.__slots__ or key == "id"}
    for key in ("start", "stop"):
        if isinstance(values[key], str):
            values[key] = datetime.fromisoformat(values[key])
    return ControlSignal(**values)


class SingleEntity(mosaik_api_v3.Simulator):
    """A time-based simulator with one model, one entity and a fixed period: it keeps the clock and creates the entity.

    Attributes:
        model: Name of the model.
        eid: Identity of the entity.
    """

    model: ClassVar[str]
    eid: ClassVar[str]

    def keep_time(self, start: datetime, step_s: int, time_resolution: float) -> None:
        """Take the clock.

        Args:
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period. [s]
            time_resolution: Length of one mosaik time unit. [s]
        """
        self._start, self._step_s, self._resolution = start, step_s, time_resolution

    def offer(self, attributes: Iterable[str]) -> dict[str, Any]:
        """META with these attributes of the entity, for what is only known at ``init``."""
        self.meta["models"] = {self.model: {"public": True, "params": [], "attrs": list(attributes)}}
        return self.meta

    def create(self, num: int, model: str, **model_params: Any) -> Any:  # noqa: ARG002
        """Create the one entity."""
        if num != 1:
            raise ValueError(f"{type(self).__name__} has exactly one entity {model}, not {num}")
        return [{"eid": self.eid, "type": model}]

    def now(self, time: int) -> datetime:
        """Simulated time of a mosaik time."""
        return self._start + timedelta(seconds=time * self._resolution)

    def following(self, time: int) -> int:
        """Mosaik time of the next step."""
        return time + round(self._step_s / self._resolution)
