"""What the AC optimum leaves of a day's congestion: perfect knowledge, no delay, the reserves that were bought.

For every step of a run the true injections are read from its folder, the activations in force are taken away, and the
reserves in force are optimised by :func:`heila_mosaik.domain.congestion.optimise` at the grid's own limits.  What is
still broken then, nobody could have prevented with these reserves (their energy limits are not counted).  The named
baseline is the same day without flexibility::

    python -m benchmarks.optimum runs/cigre_congestion [--json]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandapower as pp
import pandas as pd

from heila_mosaik.domain.congestion import Action, Limits, optimise, violations
from heila_mosaik.domain.network import GridEngine
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.gridmodel import compile_net
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.trades import congestion_bodies


def bus_powers(run: RunFolder, engine: GridEngine) -> tuple[pd.DatetimeIndex, FloatArray, FloatArray]:
    """True consumption of every bus at every step. [MW], [MVar] (n_time, n_bus)"""
    network = engine.network
    tables = (("load", network.loads, 1.0), ("storage", network.storages, 1.0), ("sgen", network.sgens, -1.0))
    times = pd.DatetimeIndex(run.series("bus_vm_pu").index)
    powers = []
    for quantity in ("p_mw", "q_mvar"):
        total = np.zeros((len(times), len(network.bus_ids)))
        for name, table, sign in tables:
            if len(table.ids):
                values = run.series(f"{name}_{quantity}").to_numpy(dtype=np.float64)
                np.add.at(total.T, table.bus, sign * values.T)
        powers.append(total)
    return times, powers[0], powers[1]


def reserves_at(run: RunFolder, engine: GridEngine, moment: pd.Timestamp) -> tuple[Action, ...]:
    """Reserves in force as actions."""
    places = location_of(run, engine)
    return tuple(
        Action(
            name=body["id"],
            bus=places[body["location"]],
            p_min_mw=body["p_min_mw"],
            p_max_mw=body["p_max_mw"],
            q_min_mvar=body["q_min_mvar"],
            q_max_mvar=body["q_max_mvar"],
            price_up=body["price_eur_per_mwh"],
            price_down=body["price_eur_per_mwh"],
            price_q=body["reactive_eur_per_mvarh"],
        )
        for body in congestion_bodies(run, "ReserveNotification")
        if pd.Timestamp(body["start"]) <= moment < pd.Timestamp(body["stop"])
    )


def location_of(run: RunFolder, engine: GridEngine) -> dict[str, int]:
    """Bus position of each microgrid."""
    place = {int(bus): position for position, bus in enumerate(engine.network.bus_ids)}
    return {grid["name"]: place[grid["bus"]] for grid in run.grid["microgrids"]}


def asked(run: RunFolder, times: pd.DatetimeIndex, quantity: str) -> dict[str, FloatArray]:
    """Adjustment asked of each microgrid at every step. [MW] or [MVar] (n_time,)"""
    calls: dict[str, list[dict[str, Any]]] = {}
    for body in congestion_bodies(run, "ActivationNotification"):
        calls.setdefault(body["reserve"], []).append(body)
    total: dict[str, FloatArray] = {}
    for group in calls.values():
        one = np.zeros(len(times))
        for call in sorted(group, key=lambda each: (each["start"], each["id"])):
            first, last = (int(times.searchsorted(pd.Timestamp(call[key]))) for key in ("start", "stop"))
            one[first:] = 0.0
            one[first:last] = call[quantity]
        place = group[0]["location"]
        total[place] = total.get(place, np.zeros(len(times))) + one
    return total


def congested_minutes(run: RunFolder, engine: GridEngine, limits: Limits) -> float:
    """Element-minutes beyond the limits in a recorded run. [min]"""
    times, p, q = bus_powers(run, engine)
    step_min = (times[1] - times[0]).total_seconds() / 60.0
    return step_min * sum(
        len(violations(engine.solve_bus(p[k], q[k]), engine.network, limits)) for k in range(len(times))
    )


def measure(folder: Path) -> dict[str, float]:
    """Element-minutes of the day without flexibility, with it, and at the optimum of its reserves. [min]"""
    run = RunFolder(folder)
    engine = compile_net(pp.from_json(str(folder / "net.json")), run.grid["name"])
    limits, places = Limits.of(engine.network), location_of(run, engine)
    times, p, q = bus_powers(run, engine)
    for target, quantity in ((p, "p_mw"), (q, "q_mvar")):
        for name, values in asked(run, times, quantity).items():
            target[:, places[name]] -= values
    step_min = (times[1] - times[0]).total_seconds() / 60.0
    left = free = 0.0
    for k, moment in enumerate(times):
        broken = violations(engine.solve_bus(p[k], q[k]), engine.network, limits)
        free += step_min * len(broken)
        if broken:
            answer = optimise(engine, p[k], q[k], reserves_at(run, engine, moment), limits)
            left += step_min * len(answer.after)
    base = run.baseline
    return {
        "without_flexibility": float("nan") if base is None else congested_minutes(base, engine, limits),
        "with_flexibility": congested_minutes(run, engine, limits),
        "activations_undone": free,
        "optimum_of_the_reserves": left,
    }


def main() -> None:
    """Measure one run folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    figures = measure(given.run)
    if given.json:
        print(json.dumps(figures, indent=1))
        return
    base = figures["without_flexibility"]
    for name, minutes in figures.items():
        print(f"{name:<26}{minutes:8.0f} element-minutes  {minutes / base:7.1%} of the day without flexibility")


if __name__ == "__main__":
    main()
