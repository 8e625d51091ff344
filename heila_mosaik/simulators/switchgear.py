"""mosaik simulator ``Switchgear``: switches, protection and grid-forming storages, decided before powers flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from heila_mosaik.actors.base import Record
from heila_mosaik.domain.information import ControlSignal
from heila_mosaik.domain.switchgear import Event, Former, Situation, Switchgear, overload
from heila_mosaik.gridmodel.commands import CommandQueue
from heila_mosaik.simulators.base import Attribute, Model, SingleEntity, control_signal, meta

NAME = "plant"
MODELS = (
    Model(
        name="Switchgear",
        attributes=(
            Attribute(name="controls", unit="", meaning="ControlSignals of the actors", direction="in"),
            Attribute(name="former_P[MW]", unit="MW", meaning="Power of the formers in the last step", direction="in"),
            Attribute(name="former_Q[MVar]", unit="MVar", meaning="The same, reactive", direction="in"),
            Attribute(name="P_min[MW]", unit="MW", meaning="Lowest power of each resource", direction="in"),
            Attribute(name="P_max[MW]", unit="MW", meaning="Highest power of each resource", direction="in"),
            Attribute(name="commands", unit="", meaning="ControlSignals for the grid"),
            Attribute(
                name="positions",
                unit="",
                meaning="Positions; fault indicators (line.7); voltage presence (live.<breaker>)",
            ),
            Attribute(name="dark", unit="", meaning="Resources without voltage, names"),
            Attribute(name="forming", unit="", meaning="Resources that hold an island, names"),
            Attribute(name="records", unit="", meaning="What happened, as records of the actor ``plant``"),
        ),
    ),
)
_FOREVER = timedelta(days=36525)


def _moves(due: Sequence[tuple[str, ControlSignal]]) -> list[tuple[str, bool]]:
    return [(element, bool(signal.closed)) for element, signal in due if signal.closed is not None]


class SwitchgearSimulator(SingleEntity):
    """Takes commands, lets protection act, tells the grid, the resources and the meters."""

    model = "Switchgear"
    eid = "switchgear"

    def __init__(self) -> None:
        super().__init__(meta("time-based", MODELS))

    def init(
        self,
        sid: str,  # noqa: ARG002 - given by mosaik
        time_resolution: float = 1.0,
        *,
        gear: Switchgear,
        breakers: Mapping[str, int],
        formers: Sequence[Former],
        buses: Mapping[str, int],
        appliances: Sequence[str] = (),
        start: datetime,
        step_s: int,
    ) -> Any:
        """Take the switchgear.

        Args:
            sid: Identity of the simulator.
            time_resolution: Length of one mosaik time unit. [s]
            gear: The switchgear.
            breakers: Switch (pandapower id) of each named breaker.
            formers: Grid-forming storages.
            buses: Bus of each resource, in the order of the resource simulator.
            appliances: Loads and generators that have a switch of their own, ``load.4``.
            start: Simulated time at mosaik time 0, aware UTC.
            step_s: Period. [s]
        """
        self._gear, self._formers, self._buses = gear, tuple(formers), dict(buses)
        self.keep_time(start, step_s, time_resolution)
        self._queue = CommandQueue(breakers)
        self._sides = {name: self._grid_side(switch) for name, switch in breakers.items()}
        self._held: dict[str, bool] = {}
        self._appliances = dict.fromkeys(appliances, 1.0)
        self._out: dict[str, Any] = {}
        return self.meta

    def _grid_side(self, switch: int) -> int:
        graph = self._gear.graph
        return int(graph.a[graph.device.index(f"switch.{switch}")])

    def step(self, time: int, inputs: Any, max_advance: int) -> int:  # noqa: ARG002
        """Move what is due."""
        given = inputs.get("switchgear", {})
        now = self.now(time)
        for source in sorted(given.get("controls", {})):
            for item in given["controls"][source] or ():
                self._queue.take(control_signal(item))
        due = [(self._queue.element(signal.target), signal) for signal in self._queue.due(now)]
        situation = self._gear.step(now, _moves(due), self._overloads(given))
        if self._out and not due and not situation.events:
            # nothing has moved: what was said in the last step still holds
            self._out = {**self._out, "commands": [], "records": []}
            return self.following(time)
        self._out = self._say(now, due, situation)
        return self.following(time)

    def _say(self, now: datetime, due: Sequence[tuple[str, ControlSignal]], situation: Situation) -> dict[str, Any]:
        """Everything the other simulators need to know of the situation."""
        commands = [signal for _element, signal in due]
        commands += [self._command(now, device, closed) for device, closed in situation.moved.items()]
        forming = set(situation.forming)
        for former in self._formers:
            on = former.name in forming
            if self._held.get(former.element, False) != on:
                self._held[former.element] = on
                commands.append(self._command(now, former.element, on))
        energised = situation.energised
        positions = {name: float(closed) for name, closed in self._gear.positions.items()}
        self._appliances |= {name: float(closed) for name, closed in _moves(due) if name in self._appliances}
        positions |= self._appliances
        positions |= dict.fromkeys(situation.faulted, 1.0)
        positions |= {f"live.{name}": float(energised[bus]) for name, bus in self._sides.items()}
        positions |= {former.element: float(former.name in forming) for former in self._formers}
        return {
            "commands": commands,
            "positions": positions,
            "dark": [name for name, bus in self._buses.items() if not energised[bus]],
            "forming": sorted(forming),
            "records": [
                Record(at=now, actor=NAME, event=event.kind, detail=event.detail, values=self._values(event))
                for event in situation.events
            ],
        }

    def _values(self, event: Event) -> dict[str, str | bool]:
        names = self._gear.graph.nodes
        values: dict[str, str | bool] = {"element": event.element}
        if event.buses:
            values["buses"] = ", ".join(names[bus] for bus in event.buses)
        return values if event.closed is None else {**values, "closed": event.closed}

    def _overloads(self, given: Mapping[str, Any]) -> dict[str, str]:
        """Formers that carried more than they can in the last step."""
        columns = [next(iter(given.get(name, {}).values()), None) for name in ("former_P[MW]", "former_Q[MVar]")]
        lows, highs = (next(iter(given.get(name, {}).values()), None) for name in ("P_min[MW]", "P_max[MW]"))
        if not columns[0] or not columns[1] or not lows or not highs:
            return {}
        names = list(self._buses)
        found: dict[str, str] = {}
        for former in self._formers:
            if not self._held.get(former.element, False):
                continue
            row = names.index(former.name)
            why = overload(
                former.name,
                columns[0].get(former.name, 0.0),
                columns[1].get(former.name, 0.0),
                (lows[row], highs[row]),
                former.rating_mva,
            )
            if why:
                found[former.name] = why
        return found

    def _command(self, now: datetime, target: str, closed: bool) -> ControlSignal:
        return ControlSignal(
            id=f"{NAME}/{target}/{now.isoformat()}", target=target, start=now, stop=now + _FOREVER, closed=closed
        )

    def get_data(self, outputs: dict[str, list[str]]) -> Any:
        """What was decided in the last step."""
        return {eid: {attr: self._out[attr] for attr in attrs} for eid, attrs in outputs.items()}
