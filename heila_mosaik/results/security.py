"""N-1 security of a run after the fact: what single outages would have done to the recorded state of the grid."""

from __future__ import annotations

from typing import Any

import numpy as np

from heila_mosaik.domain.congestion import Contingency, Limits, outages
from heila_mosaik.domain.quantities import BoolArray, FloatArray
from heila_mosaik.gridmodel import compile_net
from heila_mosaik.gridmodel.diagnosis import load_net
from heila_mosaik.results.folder import RunFolder

_CHUNK = 512
_POWERS = tuple(f"{table}_{quantity}" for table in ("load", "sgen", "storage") for quantity in ("p_mw", "q_mvar"))


def security_figures(run: RunFolder) -> dict[str, Any] | None:
    """Minutes in which the outage of a line would have broken a limit, all lines and each; ``None`` without N-1.

    Every recorded step is solved again without each line, with the injections of the run and the emergency limits of
    its scenario.  Lines whose outage leaves buses without supply are not counted but named.
    """
    settings = run.scenario.get("dms", {})
    net_path = run.path / "net.json"
    if not settings.get("n_1") or not net_path.is_file():
        return None
    engine = compile_net(load_net(net_path))
    limits = Limits.of(engine.network)
    lines = [f"line.{line}" for line in engine.network.lines.ids.tolist()]
    cases, radial = outages(engine, limits, lines, emergency_percent=settings["n_1_loading_percent"])
    power = _injections(run, engine)
    minutes = _minutes(run)
    broken = {case.outage: np.zeros(len(power[0]), bool) for case in cases}
    for first in range(0, len(power[0]), _CHUNK):
        part = slice(first, first + _CHUNK)
        for case in cases:
            broken[case.outage][part] = _breaks(case, power[0][part], power[1][part])
    any_broken = np.any(list(broken.values()), axis=0) if broken else np.zeros(len(power[0]), bool)
    by_outage = {name: float(found.sum()) * minutes for name, found in broken.items() if found.any()}
    return {
        "insecure_minutes": float(any_broken.sum()) * minutes,
        "outages": len(cases),
        "by_outage": dict(sorted(by_outage.items(), key=lambda pair: (-pair[1], pair[0]))),
        "without_supply": list(radial),
    }


def said_of_security(after: dict[str, Any], before: dict[str, Any] | None) -> str:
    """N-1 security in a sentence."""
    worst = next(iter((before or after)["by_outage"]), "")
    said = f"Of {after['outages']} single outages, at least one would have broken a limit in "
    said += f"{after['insecure_minutes']:.0f} min"
    if before is not None:
        said += f" of the day, against {before['insecure_minutes']:.0f} min without flexibility"
    said += f" (worst: {worst})." if worst else "."
    if after["without_supply"]:
        said += f" The outage of {len(after['without_supply'])} lines cuts supply whatever is bought."
    return said


def _breaks(case: Contingency, p_mw: FloatArray, q_mvar: FloatArray) -> BoolArray:
    """Whether each state breaks a limit after the outage; a state without solution does. (t,)"""
    vm, line, trafo = case.engine.solve_bus_batch(p_mw, q_mvar)
    limits, tolerance = case.limits, 1e-6
    with np.errstate(invalid="ignore"):
        low, high = (vm < limits.v_min_pu - tolerance).any(axis=1), (vm > limits.v_max_pu + tolerance).any(axis=1)
        over = (line > limits.line_percent + 1e-3).any(axis=1) | (trafo > limits.trafo_percent + 1e-3).any(axis=1)
    return np.asarray(low | high | over | np.isnan(vm).all(axis=1))


def _injections(run: RunFolder, engine: Any) -> tuple[FloatArray, FloatArray]:
    """Recorded net consumption per bus in the engine's order. [MW], [MVar] (t, n_bus)"""
    tables = {name: run.series(name).to_numpy(float) for name in _POWERS}
    count = max(len(values) for values in tables.values())
    given = engine.default_input()
    p, q = np.zeros((count, len(engine.network.bus_ids))), np.zeros((count, len(engine.network.bus_ids)))
    for row in range(count):
        for name, values in tables.items():
            if values.shape[1]:
                getattr(given, name)[:] = values[row]
        p[row], q[row] = engine.bus_injection(given)
    return p, q


def _minutes(run: RunFolder) -> float:
    frame = run.series("system")
    return (frame.index[1] - frame.index[0]).total_seconds() / 60.0 if len(frame) > 1 else 1.0
