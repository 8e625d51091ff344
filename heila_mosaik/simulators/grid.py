"""mosaik simulator ``Grid``: a compiled power flow that any mosaik scenario can use.

Create one ``Grid`` entity; its children are the elements (``Bus-3``, ``Load-0``, ...).  Scalars go to the children,
vectors (one value per row of the pandapower table, in its order) to the ``Grid`` entity itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import mosaik_api_v3
import numpy as np

from heila_mosaik.domain.network import GridState
from heila_mosaik.domain.quantities import BoolArray, FloatArray
from heila_mosaik.domain.voltvar.field import FieldUnits
from heila_mosaik.errors import HeilaError, Problem, ProblemsError
from heila_mosaik.gridmodel import compile_net
from heila_mosaik.gridmodel.commands import CommandQueue, positions
from heila_mosaik.gridmodel.diagnosis import diagnose_divergence, load_net
from heila_mosaik.simulators.base import Attribute, Model, combine, control_signal, meta

_LOG = logging.getLogger(__name__)
_P = Attribute(name="P[MW]", unit="MW", meaning="Active power, pandapower's sign", reduce="sum", direction="in")
_Q = Attribute(name="Q[MVar]", unit="MVar", meaning="Reactive power, pandapower's sign", reduce="sum", direction="in")
_P_OUT = Attribute(name="P[MW]", unit="MW", meaning="Active power")
_Q_OUT = Attribute(name="Q[MVar]", unit="MVar", meaning="Reactive power")
_LOADING = Attribute(name="loading[%]", unit="%", meaning="Current against rated current")
_VM = Attribute(name="Vm[pu]", unit="pu", meaning="Voltage magnitude")
_VA = Attribute(name="Va[deg]", unit="deg", meaning="Voltage angle")
_TAP = Attribute(name="tap", unit="", meaning="Tap position to set", direction="in")
_CLOSED = Attribute(name="closed", unit="", meaning="Switch position to set and as it is", direction="in")
_VM_IN = Attribute(name="Vm[pu]", unit="pu", meaning="Voltage set point", direction="in")
_TABLES = ("load", "sgen", "storage")
_VECTORS_IN = tuple(
    Attribute(name=f"{t}_{s}", unit=u, meaning=f"{w} of all rows of {t}", reduce="sum", direction="in")
    for t in _TABLES
    for s, u, w in (("P[MW]", "MW", "Active power"), ("Q[MVar]", "MVar", "Reactive power"))
)
_OUTPUTS: dict[str, str] = {
    "Vm[pu]": "vm_pu",
    "Va[deg]": "va_degree",
    "P[MW]": "p_bus_mw",
    "Q[MVar]": "q_bus_mvar",
    "line_loading[%]": "line_loading_percent",
    "line_P[MW]": "line_p_from_mw",
    "line_Q[MVar]": "line_q_from_mvar",
    "line_I[kA]": "line_i_ka",
    "trafo_loading[%]": "trafo_loading_percent",
    "trafo_P[MW]": "trafo_p_hv_mw",
    "trafo_Q[MVar]": "trafo_q_hv_mvar",
    "ext_P[MW]": "ext_p_mw",
    "ext_Q[MVar]": "ext_q_mvar",
}
_VECTORS_OUT = tuple(
    Attribute(name=n, unit=n[n.index("[") + 1 : -1], meaning=f"GridState.{f} of all rows") for n, f in _OUTPUTS.items()
)
_SCALARS_OUT = (
    Attribute(name="losses[MW]", unit="MW", meaning="Active losses"),
    Attribute(name="converged", unit="", meaning="Whether the step converged"),
    Attribute(name="diverged_count", unit="", meaning="Steps that diverged so far"),
    Attribute(name="state", unit="", meaning="The whole GridState, for simulators of the same process"),
    Attribute(name="positions", unit="", meaning="Position of each observed switch, tap or capacitor bank, by element"),
    Attribute(name="steps", unit="", meaning="Position of each observed tap changer and capacitor bank, in order"),
    Attribute(name="units", unit="MW, MVar", meaning="Consumption of each controlled unit by (element, quantity)"),
    Attribute(name="load_supplied", unit="1", meaning="1 for loads in service at a bus with voltage, of all rows"),
    Attribute(name="former_P[MW]", unit="MW", meaning="Consumption of each grid-forming storage, by name"),
    Attribute(name="former_Q[MVar]", unit="MVar", meaning="The same, reactive"),
    Attribute(name="system", unit="", meaning="List of losses [MW], iterations and whether the step converged"),
)
_CONTROLS = Attribute(
    name="controls",
    unit="",
    meaning="ControlSignals, objects or JSON, for switch.N, line.N, load.N, trafo.N, shunt.N and named breakers",
    direction="in",
)
MODELS = (
    Model(
        name="Grid",
        params=(
            "net",
            "path",
            "engine",
            "on_divergence",
            "failed_folder",
            "breakers",
            "observed",
            "inverters",
            "curtailable",
            "formers",
        ),
        attributes=(*_VECTORS_IN, _CONTROLS, *_VECTORS_OUT, *_SCALARS_OUT),
    ),
    Model(name="Bus", public=False, attributes=(_VM, _VA, _P_OUT, _Q_OUT)),
    Model(name="Line", public=False, attributes=(_LOADING, _P_OUT, _Q_OUT)),
    Model(name="Trafo", public=False, attributes=(_TAP, _LOADING, _P_OUT, _Q_OUT)),
    Model(name="Load", public=False, attributes=(_P, _Q)),
    Model(name="Sgen", public=False, attributes=(_P, _Q)),
    Model(name="Storage", public=False, attributes=(_P, _Q)),
    Model(name="ExtGrid", public=False, attributes=(_VM_IN, _P_OUT, _Q_OUT)),
    Model(name="Switch", public=False, attributes=(_CLOSED,)),
)
_INPUTS = {(m.name, a.name): a for m in MODELS for a in m.attributes if a.direction == "in"}
_FIELDS: dict[tuple[str, str], str] = {
    ("Bus", "Vm[pu]"): "vm_pu",
    ("Bus", "Va[deg]"): "va_degree",
    ("Bus", "P[MW]"): "p_bus_mw",
    ("Bus", "Q[MVar]"): "q_bus_mvar",
    ("Line", "loading[%]"): "line_loading_percent",
    ("Line", "P[MW]"): "line_p_from_mw",
    ("Line", "Q[MVar]"): "line_q_from_mvar",
    ("Trafo", "loading[%]"): "trafo_loading_percent",
    ("Trafo", "P[MW]"): "trafo_p_hv_mw",
    ("Trafo", "Q[MVar]"): "trafo_q_hv_mvar",
    ("ExtGrid", "P[MW]"): "ext_p_mw",
    ("ExtGrid", "Q[MVar]"): "ext_q_mvar",
}
_GIVEN = {
    **{(t.capitalize(), "P[MW]"): f"{t}_p_mw" for t in _TABLES},
    **{(t.capitalize(), "Q[MVar]"): f"{t}_q_mvar" for t in _TABLES},
    ("ExtGrid", "Vm[pu]"): "ext_vm_pu",
    **{("Grid", f"{t}_P[MW]"): f"{t}_p_mw" for t in _TABLES},
    **{("Grid", f"{t}_Q[MVar]"): f"{t}_q_mvar" for t in _TABLES},
}
POLICIES = ("stop", "hold", "skip")


class DivergedError(HeilaError):
    """A power flow diverged and the policy is ``stop``."""

    exit_code = 3


class GridSimulator(mosaik_api_v3.Simulator):
    """Power flow every ``step_size`` ticks.

    ``on_divergence``: ``stop`` raises, ``hold`` repeats the last solution, ``skip`` gives NaN for the step.
    """

    def __init__(self) -> None:
        super().__init__(meta("time-based", MODELS))

    def init(
        self,
        sid: str,
        time_resolution: float = 1.0,
        step_size: int = 60,
        start: datetime | None = None,
        **_unused: Any,
    ) -> Any:
        """Start.

        Args:
            sid: Identity given by mosaik.
            time_resolution: Seconds per tick. [s]
            step_size: Length of a step in ticks.
            start: Simulated time at tick 0, aware UTC; with it commands wait for their own start.
        """
        self.sid, self.time_resolution, self.step_size = sid, time_resolution, int(step_size)
        self._start = start
        self._where: dict[str, tuple[str, int, int]] = {}
        self.diverged_count = 0
        return self.meta

    def create(self, num: int, model: str, **params: Any) -> Any:
        """Create the grid (one per simulator) with its elements as children."""
        problems = []
        if model != "Grid" or num != 1 or self._where:
            problems.append(
                Problem(
                    what="one simulator holds exactly one Grid",
                    where=f"{self.sid}.{model}",
                    remedy="start one simulator per grid and create one Grid in it",
                )
            )
        self._policy = params.get("on_divergence", "stop")
        if self._policy not in POLICIES:
            problems.append(
                Problem(what=f"unknown policy {self._policy!r}", where="on_divergence", remedy="use stop, hold or skip")
            )
        if (params.get("net") is None) == (params.get("path") is None):
            problems.append(
                Problem(
                    what="give exactly one of net and path",
                    where="Grid",
                    remedy="pass a pandapower net, or the path of its JSON file",
                )
            )
        if problems:
            raise ProblemsError(f"simulator {self.sid}", problems)
        net = params["net"] if params.get("net") is not None else load_net(params["path"])
        self._failed = params.get("failed_folder")
        # An engine compiled before, of the same net, saves compiling again; a copy, because it is stepped here.
        ready = params.get("engine")
        self._engine = compile_net(net) if ready is None else ready.copy()
        self._given = self._engine.default_input()
        self._closed = {int(i): bool(c) for i, c in net.switch.closed.items()}
        self._commands = CommandQueue(params.get("breakers"))
        rows = {int(element): row for row, element in enumerate(self._engine.network.ext_grids.ids)}
        self._formers = {name: rows[element] for name, element in params.get("formers", {}).items()}
        self._observed = tuple(params.get("observed", ()))
        self._positions = positions(self._engine, self._observed)
        self._stepped = tuple(each for each in self._observed if not each.startswith("switch."))
        units = params.get("inverters", ()), params.get("curtailable", ())
        self._units = FieldUnits(self._engine.network.sgens.ids.tolist(), *units) if any(units) else None
        self._applied = self._given
        self._last: GridState = self._engine.solve(self._given)
        self._state = self._last
        self._lists: dict[str, list[Any]] = {}
        self._loads_on: BoolArray | None = None
        self._special = self._scalars()
        self._where["Grid-0"] = ("Grid", 0, 0)
        return [{"eid": "Grid-0", "type": "Grid", "children": self._children()}]

    def _children(self) -> list[dict[str, Any]]:
        tables = self._engine.network
        ids = {
            "Bus": tables.bus_ids,
            "Line": tables.lines.ids,
            "Trafo": tables.trafos.ids,
            "Load": tables.loads.ids,
            "Sgen": tables.sgens.ids,
            "Storage": tables.storages.ids,
            "ExtGrid": tables.ext_grids.ids,
            "Switch": np.asarray(list(self._closed), np.int64),
        }
        children = []
        for kind, rows in ids.items():
            for place, element in enumerate(rows.tolist()):
                eid = f"{kind}-{element}"
                self._where[eid] = (kind, place, element)
                children.append({"eid": eid, "type": kind})
        return children

    def step(self, time: int, inputs: dict[str, dict[str, dict[str, Any]]], max_advance: int) -> int:  # noqa: ARG002
        """Take inputs, solve, return the next time."""
        for eid in sorted(inputs):
            kind, place, element = self._where[eid]
            for name, sources in inputs[eid].items():
                if name == "controls":
                    self._take(sources)
                    continue
                attribute = _INPUTS.get((kind, name))
                value = None if attribute is None else combine(attribute, sources)
                if value is not None:
                    self._set(kind, place, element, name, value)
        now = None
        if self._start is not None:
            now = self._start + timedelta(seconds=time * self.time_resolution)
        self._command(now)
        if self._units is None:
            state = self._engine.solve(self._given)
        else:
            state, self._applied = self._units.solve(self._engine, self._given, now)
        self._state = self._last = state if state.converged else self._diverged(time, state)
        if not state.converged and self._policy == "skip":
            self._state = state
        self._converged = state.converged
        self._lists = {}
        return int(time + self.step_size)

    def _take(self, sources: Mapping[str, Any]) -> None:
        """Keep commands, by source name so that runs repeat."""
        for source in sorted(sources):
            for item in sources[source] or ():
                signal = control_signal(item)
                if self._units is None or not self._units.take(signal):
                    self._commands.take(signal)

    def _command(self, now: datetime | None) -> None:
        """Carry out the commands that are due."""
        moved = self._commands.execute(self._engine, now)
        if moved:
            self._loads_on = None
            self._closed |= {int(e.split(".")[1]): bool(v) for e, v in moved.items() if e.startswith("switch.")}
            self._positions = positions(self._engine, self._observed)

    def _set(self, kind: str, place: int, element: int, name: str, value: Any) -> None:
        if kind == "Switch":
            self._engine.set_switch(element, bool(value))
            self._closed[element] = bool(value)
            self._positions = positions(self._engine, self._observed)
        elif name == "tap":
            self._engine.set_tap(element, float(value))
            self._positions = positions(self._engine, self._observed)
        elif kind == "Grid":
            into = getattr(self._given, _GIVEN[kind, name])
            if len(value) != len(into):
                raise ProblemsError(
                    f"simulator {self.sid}",
                    [
                        Problem(
                            what=f"vector has {len(value)} values, the table has {len(into)} rows",
                            where=f"Grid-0.{name}",
                            remedy="send one value per row of the pandapower table, in its order",
                        )
                    ],
                )
            into[:] = value
        else:
            getattr(self._given, _GIVEN[kind, name])[place] = value

    def _supplied(self) -> list[float]:
        loads = self._engine.network.loads
        if self._loads_on is None:
            self._loads_on = np.asarray([self._engine.in_service("load", int(load)) for load in loads.ids], bool)
        supplied: list[float] = (self._loads_on & np.isfinite(self._state.vm_pu[loads.bus])).astype(float).tolist()
        return supplied

    def _diverged(self, time: int, state: GridState) -> GridState:
        """Count, save the first case, follow the policy; returns the state that counts as the last good one."""
        self.diverged_count += 1
        if self.diverged_count == 1 or self._policy == "stop":
            folder = Path(self._failed) / f"step-{time}" if self._failed else None
            finding = diagnose_divergence(self._engine.to_pandapower(self._given), self._given, folder)
            _LOG.warning("step %d: %s", time, finding)
            if self._policy == "stop":
                saved = f"; net and inputs saved in {folder}" if folder else ""
                raise DivergedError(f"grid step at {time}: {finding}{saved}")
        return self._last if state is not self._last else state

    def get_data(self, outputs: dict[str, list[str]]) -> dict[str, dict[str, Any]]:
        """Fresh values of the asked attributes."""
        return {eid: {name: self._get(eid, name) for name in names} for eid, names in outputs.items()}

    def _get(self, eid: str, name: str) -> Any:
        kind, place, element = self._where[eid]
        if kind == "Grid":
            return self._get_grid(name)
        if kind == "Switch":
            return self._closed[element]
        if name == "tap":
            return self._engine.tap(element)
        field = _FIELDS.get((kind, name))
        source, field = (self._state, field) if field else (self._applied, _GIVEN[kind, name])
        if field not in self._lists:
            self._lists[field] = getattr(source, field).tolist()
        return self._lists[field][place]

    def _get_grid(self, name: str) -> Any:
        if name in self._special:
            return self._special[name]()
        source = self._state if name in _OUTPUTS else self._applied
        return getattr(source, _OUTPUTS.get(name) or _GIVEN["Grid", name]).tolist()

    def _fed(self, column: FloatArray) -> dict[str, float]:
        """Consumption of each grid-forming storage."""
        return {name: 0.0 - float(np.nan_to_num(column[row])) for name, row in self._formers.items()}

    def _scalars(self) -> dict[str, Callable[[], Any]]:
        """Outputs of the grid that are no column of a table."""
        return {
            "losses[MW]": lambda: self._state.losses_mw,
            "converged": lambda: self._converged,
            "diverged_count": lambda: self.diverged_count,
            "state": lambda: self._state,
            "positions": lambda: dict(self._positions),
            "load_supplied": self._supplied,
            "former_P[MW]": lambda: self._fed(self._state.ext_p_mw),
            "former_Q[MVar]": lambda: self._fed(self._state.ext_q_mvar),
            "steps": lambda: [self._positions[each] for each in self._stepped],
            "units": lambda: self._units.measured(self._applied) if self._units is not None else {},
            "system": lambda: [self._state.losses_mw, float(self._state.iterations), float(self._converged)],
        }
