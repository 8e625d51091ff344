"""Activations that were not released or had to end, and the contracts of customers they protect."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from heila_mosaik.results.folder import RunFolder

_EVENTS = ("activation_withheld", "activation_withdrawn")
_DONE = {"activation_withheld": "withheld", "activation_withdrawn": "withdrawn"}


def withheld(run: RunFolder) -> list[dict[str, Any]]:
    """Activations withheld, withdrawn or refused, in order of time.

    Each row has ``at`` (when), ``by`` (who), ``what`` (``withheld`` before release, ``withdrawn`` while running, or
    ``refused`` because it could not be followed), ``location`` (whose activation), ``element`` (where the harm would
    have been; empty if there was none), ``p_mw``, ``q_mvar`` and ``why``.  An actor that sends refusals also records
    each of them; the record counts only where no message was sent.
    """
    places = {body["id"]: body["location"] for body in run.bodies("ReserveNotification")}
    events = run.records[run.records["event"].isin(_EVENTS)].to_dict("records")
    known = {}
    for record in events:
        values = json.loads(record["values"])
        known[record["actor"], values.get("reserve"), record["at"].floor("s")] = (_DONE[record["event"]], values)
    rows = []
    for body in run.bodies("ActivationRefusal"):
        moment = _seconds(body["start"])
        done, values = known.get((body["refused_by"], body["reserve"], moment), ("refused", {}))
        rows.append(
            {
                "at": moment.strftime("%Y-%m-%d %H:%M"),
                "by": body["refused_by"],
                "what": done,
                "location": places.get(body["reserve"], ""),
                "element": str(values.get("element", "")),
                "p_mw": body["p_mw"],
                "q_mvar": body["q_mvar"],
                "why": body["reason"],
            }
        )
    senders = {row["by"] for row in rows}
    for record in events:
        if record["actor"] in senders:
            continue
        values = json.loads(record["values"])
        rows.append(
            {
                "at": record["at"].strftime("%Y-%m-%d %H:%M"),
                "by": record["actor"],
                "what": _DONE[record["event"]],
                "location": str(values.get("location", "")),
                "element": str(values.get("element", "")),
                "p_mw": values.get("p_mw"),
                "q_mvar": values.get("q_mvar"),
                "why": record["detail"],
            }
        )
    return sorted(rows, key=lambda row: (row["at"], row["by"], row["why"]))


def contracts(run: RunFolder) -> list[dict[str, Any]]:
    """Voltage at the connection of every customer with a contracted band.

    Each row has ``name``, ``bus``, ``v_min_pu``, ``v_max_pu``, ``minutes`` outside the band, ``lowest`` and ``highest``
    voltage, and the last three again under ``baseline`` (``None`` without one).
    """
    rows = []
    for grid in run.grid.get("microgrids", []):
        low, high = grid.get("v_min_pu"), grid.get("v_max_pu")
        if low is None and high is None:
            continue
        bus = str(grid["bus"])
        rows.append(
            {
                "name": grid["name"],
                "bus": bus,
                "v_min_pu": low,
                "v_max_pu": high,
                **_outside(run, bus, low, high),
                "baseline": _outside(run.baseline, bus, low, high) if run.baseline is not None else None,
            }
        )
    return rows


def _outside(run: RunFolder, bus: str, low: float | None, high: float | None) -> dict[str, Any]:
    voltages = run.series("bus_vm_pu")
    if bus not in voltages.columns or not len(voltages):
        return {"minutes": None, "lowest": None, "highest": None}
    values = voltages[bus].to_numpy(dtype=np.float64)
    step_min = (voltages.index[1] - voltages.index[0]).total_seconds() / 60.0 if len(voltages) > 1 else 1.0
    outside = (values < (low if low is not None else -np.inf)) | (values > (high if high is not None else np.inf))
    return {
        "minutes": float(outside.sum() * step_min),
        "lowest": float(np.nanmin(values)),
        "highest": float(np.nanmax(values)),
    }


def _seconds(text: str) -> pd.Timestamp:
    return pd.Timestamp(text).floor("s")
