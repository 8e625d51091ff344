"""Key figures of a run folder, computed from its data files by the pure functions of ``domain.kpi``."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heila_mosaik.domain import kpi
from heila_mosaik.domain.codec import from_json_dict
from heila_mosaik.domain.information import ReserveNotification, SettlementStatement
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.results.flows import offers
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.harm import contracts, withheld
from heila_mosaik.results.manifest import Manifest
from heila_mosaik.results.peak import peak_figures
from heila_mosaik.results.reserves import reserve_figures
from heila_mosaik.results.security import security_figures
from heila_mosaik.results.supply import supply_figures
from heila_mosaik.results.trades import congestion_bodies
from heila_mosaik.results.voltvar import volt_var_figures

_PREFIX = {"buses": "bus", "lines": "line", "trafos": "trafo"}


def compute_kpis(run: RunFolder) -> dict[str, Any]:
    """Key figures of a run, and under ``baseline`` those of its baseline; unknown figures are ``None``."""
    figures = {**_grid_figures(run), **_market_figures(run), "messages": _message_figures(run)}
    reserves = reserve_figures(run)
    if reserves is not None:
        figures["reserves"] = reserves
    security = security_figures(run)
    if security is not None:
        figures["security"] = security
    if "reinforcement" in run.grid:
        figures["reinforcement"] = dict(run.grid["reinforcement"])
    own_means, peak = volt_var_figures(run), peak_figures(run)
    figures |= {"volt_var": own_means} if own_means is not None else {}
    figures |= {"peak": peak} if peak is not None else {}
    if run.baseline is not None:
        figures["baseline"] = _grid_figures(run.baseline)
        if security is not None:
            figures["baseline"]["security"] = security_figures(run.baseline)
        figures["energy"]["curtailed_mwh"] = _curtailment(run, run.baseline)
    supply = supply_figures(run)
    if supply is not None:
        figures["supply"] = supply
        if run.baseline is not None:
            figures["baseline"]["supply"] = supply_figures(run.baseline)
    plain: dict[str, Any] = _finite(figures)
    return plain


def write_kpis(folder: Path) -> dict[str, Any]:
    """Compute the key figures of a finished run and write ``kpis.json``."""
    figures = compute_kpis(RunFolder(folder))
    path = folder / "kpis.json"
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    manifest = Manifest.read(folder)
    manifest.add_file(path, folder)
    manifest.write(folder)
    return figures


def limits(run: RunFolder, table: str, field: str, columns: Iterable[str], default: float) -> FloatArray:
    """Limit of each column of a series table; unknown limits are ``default``. (n,)"""
    part = run.grid.get(table, {"id": [], field: []})
    known = {str(key): value for key, value in zip(part["id"], part[field], strict=True)}
    return np.array([default if known.get(c) is None else known[c] for c in columns], dtype=np.float64)


def step_s(frame: pd.DataFrame) -> float:
    """Step of a recorded table. [s]"""
    if len(frame) < 2:
        return 60.0
    return float((frame.index[1] - frame.index[0]).total_seconds())


def _grid_figures(run: RunFolder) -> dict[str, Any]:
    voltages = run.series("bus_vm_pu")
    low_limit = limits(run, "buses", "v_min_pu", voltages.columns, -math.inf)
    high_limit = limits(run, "buses", "v_max_pu", voltages.columns, math.inf)
    values, step = voltages.to_numpy(dtype=np.float64), step_s(voltages)
    low, high = kpi.voltage_congestion(values, low_limit, high_limit, step)
    congestion = {
        "undervoltage": _congestion(low, "bus", voltages),
        "overvoltage": _congestion(high, "bus", voltages),
    }
    worst = {
        "lowest_voltage_pu": _extreme(kpi.worst(values, largest=False), "bus", voltages),
        "highest_voltage_pu": _extreme(kpi.worst(values), "bus", voltages),
    }
    for table, name in (("lines", "line"), ("trafos", "trafo")):
        loading = run.series(f"{name}_loading_percent")
        limit = limits(run, table, "max_loading_percent", loading.columns, 100.0)
        array = loading.to_numpy(dtype=np.float64)
        congestion[f"{name}_current"] = _congestion(kpi.current_congestion(array, limit, step), name, loading)
        worst[f"{name}_loading_percent"] = _extreme(kpi.worst(array), name, loading)
    system, ext = run.series("system"), run.series("ext_p_mw")
    # grid-forming storages appear among the external grids; what they feed is no import
    ext = ext.drop(columns=run.grid.get("supply", {}).get("formers", []), errors="ignore")
    losses = system["losses_mw"].to_numpy() if "losses_mw" in system else np.zeros(0)
    return {
        "steps": len(voltages),
        "congestion": congestion,
        "congested_minutes": sum(part["element_minutes"] for part in congestion.values()),
        "worst": worst,
        "energy": {
            "losses_mwh": kpi.losses_mwh(losses, step),
            "import_mwh": kpi.energy_mwh(ext.to_numpy(dtype=np.float64), step),
        },
        "diverged_steps": int((system["converged"] < 0.5).sum()) if "converged" in system else 0,
        "estimation": _estimation(run, voltages),
    }


def _congestion(found: kpi.Congestion, prefix: str, frame: pd.DataFrame) -> dict[str, Any]:
    minutes = zip(frame.columns, found.element_minutes.tolist(), strict=True)
    elements = {f"{prefix}.{column}": value for column, value in minutes if value > 0}
    ordered = dict(sorted(elements.items(), key=lambda pair: (-pair[1], pair[0])))
    return {"minutes": found.any_minutes, "element_minutes": sum(ordered.values()), "elements": ordered}


def _extreme(found: kpi.Extreme, prefix: str, frame: pd.DataFrame) -> dict[str, Any]:
    if found.step < 0:
        return {"value": None, "element": None, "at": None}
    element = f"{prefix}.{frame.columns[found.element]}"
    return {"value": found.value, "element": element, "at": frame.index[found.step].isoformat()}


def _estimation(run: RunFolder, voltages: pd.DataFrame) -> dict[str, Any]:
    estimate = run.series("estimate_vm_pu")
    shared = [column for column in estimate.columns if column in voltages.columns]
    times = estimate.index.intersection(voltages.index)
    first, second = estimate.loc[times, shared], voltages.loc[times, shared]
    return asdict(kpi.error_figures(first.to_numpy(dtype=np.float64), second.to_numpy(dtype=np.float64)))


def _market_figures(run: RunFolder) -> dict[str, Any]:
    reserves = [from_json_dict("ReserveNotification", body) for body in congestion_bodies(run, "ReserveNotification")]
    statements = [from_json_dict("SettlementStatement", body) for body in run.bodies("SettlementStatement")]
    kept = [r for r in reserves if isinstance(r, ReserveNotification)]
    every = [s for s in statements if isinstance(s, SettlementStatement)]
    ours = {body["id"] for body in congestion_bodies(run, "SettlementStatement")}
    settled = [statement for statement in every if statement.id in ours]
    # A period in which nothing was called cannot fail; counting it would flatter the delivery.
    asked = {body["id"] for body in congestion_bodies(run, "VerificationNotification") if _asked(body)}
    called = [statement for statement in settled if statement.verification in asked]
    found = offers(run)
    offered: dict[str, float] = {}
    for offer in found:
        hours = (pd.Timestamp(offer["stop"]) - pd.Timestamp(offer["start"])).total_seconds() / 3600.0
        volume = (float(offer["p_max_mw"]) - float(offer["p_min_mw"])) * hours
        offered[offer["location"]] = offered.get(offer["location"], 0.0) + volume
    flexibility = kpi.flexibility(kept, settled)
    reserved = flexibility.reserved_up_mwh + flexibility.reserved_down_mwh
    return {
        "market": {
            "requests": len(congestion_bodies(run, "FlexibilityRequest")),
            "offers": len(found),
            "bids": len(congestion_bodies(run, "Bid")),
            "reserves": len({r.id for r in kept}),
            "offered_mwh": sum(offered.values()),
            "liquidity": asdict(kpi.liquidity(offered, reserved)),
        },
        "flexibility": {
            **asdict(flexibility),
            "activations": len(congestion_bodies(run, "ActivationNotification")),
            "withheld": len(withheld(run)),
            "contract_minutes": sum(row["minutes"] or 0.0 for row in contracts(run)),
            "called_periods": len(called),
            "success_share": kpi.flexibility(kept, called).success_share,
            "cost_eur": sum(s.availability_eur + s.activation_eur + s.reactive_eur - s.penalty_eur for s in settled),
        },
        "payments_eur": kpi.payments_eur(every),
    }


def _asked(verification: dict[str, Any]) -> bool:
    return any(any(verification[key]) for key in ("requested_p_mw", "requested_q_mvar"))


def _message_figures(run: RunFolder) -> dict[str, Any]:
    """How many messages there were and what became of them; a second copy of a message is none of its own."""
    repeated = run.messages["status"] == "repeated"
    messages = run.messages[~repeated]
    kinds = messages["kind"].value_counts().sort_index()
    transfer_ms = (messages["delivered_at"] - messages["sent_at"]).dropna().dt.total_seconds() * 1000.0
    return {
        "total": len(messages),
        "lost": int((messages["status"] != "delivered").sum()),
        "repeated": int(repeated.sum()),
        "median_transfer_ms": float(transfer_ms.median()) if len(transfer_ms) else None,
        "by_kind": {str(kind): int(count) for kind, count in kinds.items()},
    }


def _curtailment(run: RunFolder, baseline: RunFolder) -> float:
    """PV energy the baseline fed and the run did not: both see the same sun. [MWh]"""
    grids = run.grid.get("microgrids", [])
    plants = [each["name"] for grid in grids for each in grid["resources"] if each["kind"] == "pv"]
    fed, free = run.series("resource_p_mw"), baseline.series("resource_p_mw")
    names = [name for name in plants if name in fed.columns and name in free.columns]
    times = fed.index.intersection(free.index)
    available, produced = -free.loc[times, names].to_numpy(), -fed.loc[times, names].to_numpy()
    return kpi.curtailment_mwh(available, produced, step_s(fed))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
