"""mosaik simulator ``Iec104Bridge``: resources of which some stand in a laboratory.

It takes the place of :mod:`heila_mosaik.simulators.resources` and has its attributes, so that a scenario swaps a
simulated device for a real one and no other simulator or actor is touched.  Set points for a bound resource go to the
equipment; its powers are what the equipment measured, sampled at the beginning of the step and held.  A model of the
device runs along with the measured power: it tells the state of charge and the power limits the equipment does not.

The equipment itself is behind a protocol, :class:`Equipment`: a live bridge, or the recording of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.quantities import Quality, Quantity
from heila_mosaik.domain.resources import Exogenous, Resource, ResourceSpec
from heila_mosaik.domain.samplehold import Attribute as Slot
from heila_mosaik.domain.samplehold import Sample
from heila_mosaik.simulators import resources
from heila_mosaik.simulators.base import Attribute, Model, control_signal, meta

TABLE = {
    **resources.TABLE,
    **{
        attribute.name: attribute
        for attribute in (
            Attribute(name="quality", unit="", meaning="Validity of each resource's powers; good when simulated."),
            Attribute(name="age[s]", unit="s", meaning="Age of each resource's powers on the wall; 0 when simulated."),
            Attribute(
                name="switching",
                unit="",
                meaning="Measured positions of bound breakers that have moved, as control signals for the switchgear.",
            ),
        )
    },
}
MODELS = (
    Model(name="Resources", attributes=tuple(TABLE.values()), params=("resources",)),
    Model(
        name="Resource",
        attributes=tuple(TABLE[name] for name in (*resources.OUTPUTS, "quality", "age[s]")),
        public=False,
    ),
)
_WORST = (Quality.GOOD, Quality.QUESTIONABLE, Quality.INVALID, Quality.MISSING)
_LASTS = timedelta(days=1)
_SIMULATED = Sample(value=math.nan, quality=Quality.GOOD, age_s=0.0)


class Equipment(Protocol):
    """What the simulator needs of a laboratory."""

    def order(self, now: datetime, signals: Sequence[ControlSignal]) -> None:
        """Control signals issued for bound resources and breakers; refusals are the equipment's affair."""

    def sample(self, now: datetime) -> Mapping[Slot, Sample]:
        """What all slots hold at the beginning of the step at simulated time ``now``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """How the powers of one resource are read.

    Attributes:
        element: Element of the slots: the resource, or its microgrid when it is what is left behind the meter.
        less: Bound resources whose measured powers are subtracted.
    """

    element: str
    less: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """What of a study stands in the laboratory.

    Attributes:
        resources: Bound resources.
        breakers: Bound breakers.
    """

    resources: Mapping[str, Bound] = field(default_factory=dict)
    breakers: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets of control signals that go to the equipment."""
        return (*self.resources, *self.breakers)


class EquipmentFleet(resources.Fleet):
    """Resources of which some take their powers from slots."""

    def __init__(self, specs: Mapping[str, ResourceSpec], start: datetime, seed: int, binding: Binding) -> None:
        super().__init__(specs, start, seed)
        self._binding = binding
        self.samples: Mapping[Slot, Sample] = {}
        self.quality = [Quality.GOOD] * len(specs)
        self.ages_s = [0.0] * len(specs)

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
        """The measured powers of a bound resource, which its model follows; else the model's."""
        if name not in self._binding.resources:
            return super().move(name, model, now, dt_s, exogenous, dark=dark, forming=forming)
        wanted = (Quantity.ACTIVE_POWER, Quantity.REACTIVE_POWER)
        told = [self._measured(name, quantity).value for quantity in wanted]
        p_mw, q_mvar = (None if math.isnan(value) else value for value in told)
        model_p, model_q = model.step(now, dt_s, (p_mw, q_mvar), exogenous)
        return model_p if p_mw is None else p_mw, model_q if q_mvar is None else q_mvar, 0.0

    def step(
        self, now: datetime, dt_s: float, sun: float, air: float, profiles: list[float | None] | None, **grid: Any
    ) -> None:
        """Advance, then put measured states in the place of those of the models."""
        super().step(now, dt_s, sun, air, profiles, **grid)
        for position, name in enumerate(self.names):
            if name in self._binding.resources:
                self._judge(position, name)

    def _judge(self, position: int, name: str) -> None:
        for column, quantity in zip(resources.OUTPUTS[2:], resources.MEASURED[2:], strict=True):
            told = self.samples.get((name, quantity))
            if told is not None and math.isfinite(told.value):
                self.columns[column][position] = told.value
        powers = [self._measured(name, q) for q in (Quantity.ACTIVE_POWER, Quantity.REACTIVE_POWER)]
        self.quality[position] = max((one.quality for one in powers), key=_WORST.index)
        self.ages_s[position] = max(one.age_s for one in powers)

    def _measured(self, name: str, quantity: Quantity) -> Sample:
        """Sample of a power of a bound resource; simulated where the equipment does not measure it."""
        bound = self._binding.resources[name]
        whole = self.samples.get((bound.element, quantity))
        if whole is None:
            return _SIMULATED
        parts = [self.samples[other, quantity] for other in bound.less if (other, quantity) in self.samples]
        if not parts:
            return whole
        return Sample(
            value=whole.value - sum(part.value for part in parts),
            quality=max((one.quality for one in (whole, *parts)), key=_WORST.index),
            age_s=max(one.age_s for one in (whole, *parts)),
        )


class Iec104Bridge(resources.Simulator):
    """Resources with equipment among them; see the module's text."""

    def __init__(self) -> None:
        super().__init__()
        self.meta["models"] = meta("time-based", MODELS)["models"]
        self._told: dict[str, bool] = {}
        self._switching: dict[str, list[ControlSignal]] = {}
        self._count = 0

    def init(
        self,
        sid: str,
        time_resolution: float = 1.0,
        *,
        start: str | datetime,
        equipment: Equipment,
        binding: Binding,
        step_size: int = 60,
        seed: int = 0,
    ) -> Any:
        """As for resources, and:

        Args:
            sid: Identity given by mosaik.
            time_resolution: Seconds per unit of mosaik time. [s]
            start: Time of mosaik time 0, ISO with zone.
            equipment: The laboratory.
            binding: What of the study stands in it.
            step_size: Length of a step in units of mosaik time.
            seed: Root of all random streams.
        """
        self._equipment, self._binding = equipment, binding
        return super().init(sid, time_resolution, start=start, step_size=step_size, seed=seed)

    def make_fleet(self, specs: Mapping[str, ResourceSpec]) -> EquipmentFleet:
        """Resources of one bulk entity, bound ones among them.

        Raises:
            ValueError: If the binding names a resource that is not there.
        """
        strange = sorted(set(self._binding.resources) - set(specs))
        if strange:
            raise ValueError(f"bound to equipment but no resource of the study: {', '.join(strange)}")
        return EquipmentFleet(specs, self._start, self._seed, self._binding)

    def step(self, time: int, inputs: dict[str, Any], max_advance: int) -> int:
        """Send set points out, sample the slots, advance the rest."""
        now = self._start + timedelta(seconds=time * self._resolution)
        for eid, fleet in self._fleets.items():
            given = inputs.get(eid, {}).get("controls", {})
            signals = [control_signal(item) for source in sorted(given) for item in given[source] or ()]
            self._equipment.order(now, [one for one in signals if one.target in self._binding.targets])
            assert isinstance(fleet, EquipmentFleet)
            fleet.samples = self._equipment.sample(now)
            self._switching[eid] = self._positions(now, fleet.samples)
        return super().step(time, inputs, max_advance)

    def _positions(self, now: datetime, samples: Mapping[Slot, Sample]) -> list[ControlSignal]:
        """Measured positions that differ from what the grid was told last; it begins with closed breakers."""
        found = []
        for breaker in self._binding.breakers:
            held = samples.get((breaker, Quantity.BREAKER))
            if held is None or math.isnan(held.value):
                continue
            closed = held.value >= 0.5
            if closed is not self._told.get(breaker, True):
                self._count += 1
                stop = now + _LASTS
                identity = f"{self._sid}/position/{self._count}"
                found.append(
                    ControlSignal(id=identity, target=breaker, start=now, stop=stop, closed=closed, cause="measured")
                )
            self._told[breaker] = closed
        return found

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
        """Powers, states, qualities and ages of the step."""
        own = ("quality", "age[s]", "switching")
        data = super().get_data({eid: [n for n in names if n not in own] for eid, names in outputs.items()})
        for eid, names in outputs.items():
            fleet, place = (self._fleets[eid], None) if eid in self._fleets else self._owners[eid]
            assert isinstance(fleet, EquipmentFleet)
            for name in names:
                if name == "switching":
                    data[eid][name] = [replace(one) for one in self._switching.get(eid, [])]
                elif name in own:
                    column: list[Any] = list(fleet.quality if name == "quality" else fleet.ages_s)
                    data[eid][name] = column if place is None else column[place]
        return data
