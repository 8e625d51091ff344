"""Supply of a run with faults: interruptions, energy not supplied, switching, and where switches stood."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from heila_mosaik.domain.quantities import BoolArray, FloatArray
from heila_mosaik.domain.supply import not_supplied_mwh, reliability
from heila_mosaik.results.folder import RunFolder

_PLANT = "plant"
_TOLD = {
    "dms": (
        "fault_detected",
        "restoration_planned",
        "switching_failed",
        "supply_restored",
        "island_planned",
        "fault_repaired",
        "normal_operation",
    ),
    "mgms": (
        "islanded",
        "island_shedding",
        "island_extended",
        "resynchronising",
        "resources_reconnected",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplied:
    """Supply of every load over time.

    Attributes:
        times: Time of each step. (n,)
        grid: Whether each load of the grid has supply. (n, m)
        grid_demand_mw: Its demand. [MW] (n, m)
        grid_customers: Its customers. (m,)
        own: Whether each plain load of a microgrid has supply. (n, k)
        own_demand_mw: Its demand. [MW] (n, k)
        own_customers: Its customers. (k,)
        step_s: Length of a step. [s]
    """

    times: pd.DatetimeIndex
    grid: BoolArray
    grid_demand_mw: FloatArray
    grid_customers: FloatArray
    own: BoolArray
    own_demand_mw: FloatArray
    own_customers: FloatArray
    step_s: float

    @property
    def interrupted(self) -> FloatArray:
        """Customers without supply. (n,)"""
        found: FloatArray = (~self.grid) @ self.grid_customers + (~self.own) @ self.own_customers
        return found

    @property
    def missing_mw(self) -> FloatArray:
        """Demand without supply. [MW] (n,)"""
        grid = np.where(self.grid, 0.0, self.grid_demand_mw).sum(axis=1)
        found: FloatArray = grid + np.where(self.own, 0.0, self.own_demand_mw).sum(axis=1)
        return found


def supplied(run: RunFolder) -> Supplied | None:
    """Supply of every load of a run; ``None`` where it was not recorded."""
    part = run.grid.get("supply")
    table, demand, unserved = (run.series(n) for n in ("load_supplied", "load_p_mw", "resource_unserved_mw"))
    if part is None or table.empty or demand.empty or unserved.empty:
        return None
    theirs = set(part["microgrid_loads"])
    columns = [column for column in table.columns if f"load.{column}" not in theirs]
    names = list(part["plain_loads"])
    loads = [part["plain_loads"][name].partition(".")[2] for name in names]
    missed = unserved[names].to_numpy(np.float64)
    return Supplied(
        times=pd.DatetimeIndex(table.index),
        grid=table[columns].to_numpy() > 0.5,
        grid_demand_mw=demand[columns].to_numpy(np.float64),
        grid_customers=np.array([part["customers"][f"load.{column}"] for column in columns], np.float64),
        own=missed <= 0.0,
        own_demand_mw=demand[loads].to_numpy(np.float64) + missed,
        own_customers=np.array([part["customers"][f"load.{load}"] for load in loads], np.float64),
        step_s=float((table.index[1] - table.index[0]).total_seconds()) if len(table) > 1 else 60.0,
    )


def supply_figures(run: RunFolder) -> dict[str, Any] | None:
    """Reliability indices (IEEE 1366) and energy not supplied; ``None`` in a run without faults."""
    found = supplied(run)
    if found is None:
        return None
    indices = reliability(
        np.hstack((found.grid, found.own)), np.hstack((found.grid_customers, found.own_customers)), found.step_s
    )
    events = plant_events(run)
    return {
        **asdict(indices),
        "ens_mwh": not_supplied_mwh(found.grid_demand_mw, found.grid, found.step_s),
        "ens_microgrids_mwh": not_supplied_mwh(found.own_demand_mw, found.own, found.step_s),
        "faults": sum(event["event"] == "fault" for event in events),
        "operations": sum(event["event"] == "switched" for event in events),
        "islands": sum(event["event"] == "island_formed" for event in events),
        "islands_lost": sum(event["event"] == "island_lost" for event in events),
        "untouched": run.grid["supply"]["untouched"],
    }


def said_of_supply(after: dict[str, Any], before: dict[str, Any] | None) -> str:
    """Supply in a sentence or two."""
    energy = after["ens_mwh"] + after["ens_microgrids_mwh"]
    said = (
        f"{after['faults']} faults interrupted up to {after['worst_customers']:.0f} of {after['customers']:.0f} "
        "customers. "
        f"{energy:.3f} MWh were not supplied; SAIDI {after['saidi_min']:.2f} min, SAIFI {after['saifi']:.3f}"
    )
    if before is not None:
        was = before["ens_mwh"] + before["ens_microgrids_mwh"]
        said += (
            f" (without microgrids {was:.3f} MWh, {before['saidi_min']:.2f} min, {before['saifi']:.3f}; "
            f"with no switching before the repair SAIDI {after['untouched']['saidi_min']:.2f} min)"
        )
    return said + "."


def plant_events(run: RunFolder) -> list[dict[str, Any]]:
    """What the plant did, in order: ``at``, ``event``, ``detail`` and its values."""
    rows = run.records[run.records["actor"] == _PLANT]
    return [
        {"at": at, "event": event, "detail": detail, **json.loads(values)}
        for at, event, detail, values in zip(rows["at"], rows["event"], rows["detail"], rows["values"], strict=True)
    ]


def switching(run: RunFolder) -> list[dict[str, Any]]:
    """Timeline of faults, protection, plans, switching and islands: ``at``, ``who``, ``what``, ``tone``."""
    told = []
    for at, actor, event, detail in zip(
        *(run.records[name] for name in ("at", "actor", "event", "detail")), strict=True
    ):
        kind = "mgms" if actor.startswith("mgms_") else actor
        if actor == _PLANT or event in _TOLD.get(kind, ()):
            told.append({"at": at, "who": actor, "event": event.replace("_", " "), "what": detail, "tone": kind})
    return told


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A picture of the grid.

    Attributes:
        at: Step shown.
        title: What it shows.
    """

    at: pd.Timestamp
    title: str


def moments(run: RunFolder, limit: int = 2) -> list[list[Moment]]:
    """For each incident: after the trip, when switching was done, and shortly before the first repair."""
    found = supplied(run)
    if found is None:
        return []
    times = found.times
    shown: list[list[Moment]] = []
    rows = run.records
    for at in rows[(rows["actor"] == "dms") & (rows["event"] == "fault_detected")]["at"]:
        later = rows[rows["at"] > at]
        repairs = later[later["event"] == "repaired"]["at"]
        end = repairs.iloc[0] if len(repairs) else times[-1]
        step = times.searchsorted(at, side="right") - 1
        last = max(step, times.searchsorted(end, side="left") - 1)
        clock = "%H:%M"
        shown.append(
            [
                Moment(
                    at=times[max(0, step - 1)], title=f"before the fault, {times[max(0, step - 1)].strftime(clock)}"
                ),
                Moment(at=times[step], title=f"after the trip, {times[step].strftime(clock)}"),
                Moment(at=times[last], title=f"until the repair, {times[last].strftime(clock)}"),
            ]
        )
    return shown[:limit]


def open_switches(run: RunFolder, at: pd.Timestamp) -> list[dict[str, Any]]:
    """Switches that stand open at a time: ``id``, ``bus``, ``other``."""
    table = run.grid["supply"]["switches"]
    closed = dict(zip(table["id"], table["closed"], strict=True))
    for event in plant_events(run):
        if event["at"] <= at and "closed" in event and event["element"].startswith("switch."):
            closed[int(event["element"].partition(".")[2])] = event["closed"]
    rows = zip(table["id"], table["bus"], table["other"], strict=True)
    return [{"id": key, "bus": bus, "other": other} for key, bus, other in rows if not closed[key]]


def islands_at(run: RunFolder, at: pd.Timestamp) -> dict[str, list[int]]:
    """Buses of each island at a time, by microgrid."""
    found: dict[str, list[int]] = {}
    for event in plant_events(run):
        if event["at"] > at:
            break
        if event["event"] in ("island_formed", "island_changed"):
            found[event["element"]] = [int(bus.partition(".")[2]) for bus in event["buses"].split(", ")]
        elif event["event"] in ("resynchronised", "island_lost"):
            found.pop(event["element"], None)
    return found
