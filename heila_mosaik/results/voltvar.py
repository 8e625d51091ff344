"""Key figures and figure of the DSO's own means: positions and switchings, losses, voltage profile, curtailment."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heila_mosaik.domain import kpi
from heila_mosaik.results.folder import RunFolder

_EVENTS = ("switching_commanded", "voltvar_planned", "reactive_set", "curtailment")
_COLOURS = ("#1f5fa8", "#c2571a", "#2b8a57", "#6a4fa3", "#8a94a3", "#b3202c")
_BEFORE, _AFTER = "#c2571a", "#1f5fa8"
_TARGET_PU = 1.0


def volt_var_figures(run: RunFolder) -> dict[str, Any] | None:
    """Key figures of the own means; ``None`` where none of them was used."""
    events = run.records["event"]
    if not events.isin(_EVENTS).any():
        return None
    base = run.baseline
    return {
        "devices": _devices(run),
        "unconfirmed": int((events == "switching_unconfirmed").sum()),
        "set_points": int((events == "reactive_set").sum()),
        "losses_mwh": _losses(run),
        "losses_before_mwh": _losses(base) if base is not None else None,
        "spread_pu": _spread(run),
        "spread_before_pu": _spread(base) if base is not None else None,
        "reactive_mvarh": _reactive(run),
        "curtailed_mwh": _curtailed(run, base) if base is not None else None,
        "caps": int((events == "curtailment").sum()),
    }


def _devices(run: RunFolder) -> list[dict[str, Any]]:
    """Steps and operations of each device, from its true position."""
    positions = run.series("device_position")
    rows = []
    for element in positions.columns:
        moves = np.diff(positions[element].to_numpy(dtype=np.float64))
        rows.append(
            {
                "element": element,
                "first": float(positions[element].iloc[0]),
                "lowest": float(positions[element].min()),
                "highest": float(positions[element].max()),
                "operations": int((moves != 0).sum()),
                "steps": float(np.abs(moves).sum()),
            }
        )
    return rows


def _losses(run: RunFolder) -> float | None:
    system = run.series("system")
    if "losses_mw" not in system:
        return None
    return kpi.losses_mwh(system["losses_mw"].to_numpy(dtype=np.float64), _step_s(system))


def _spread(run: RunFolder) -> float | None:
    """Root mean square distance of all bus voltages from nominal over the run. [pu]"""
    values = run.series("bus_vm_pu").to_numpy(dtype=np.float64)
    return float(np.sqrt(np.nanmean((values - _TARGET_PU) ** 2))) if values.size else None


def _reactive(run: RunFolder) -> float | None:
    """Reactive energy of the generating units, without sign. [MVarh]"""
    q = run.series("sgen_q_mvar")
    return float(np.abs(q.to_numpy(dtype=np.float64)).sum() * _step_s(q) / 3600.0) if len(q) else None


def _curtailed(run: RunFolder, base: RunFolder) -> float:
    """Energy that units with a cap fed less than in the baseline. [MWh]"""
    records = run.records[run.records["event"] == "curtailment"]
    units = sorted({json.loads(text)["element"].partition(".")[2] for text in records["values"]})
    fed, free = run.series("sgen_p_mw"), base.series("sgen_p_mw")
    units = [unit for unit in units if unit in fed.columns and unit in free.columns]
    times = fed.index.intersection(free.index)
    less = (free.loc[times, units] - fed.loc[times, units]).to_numpy(dtype=np.float64)
    return float(less.sum() * _step_s(fed) / 3600.0)


def _step_s(frame: pd.DataFrame) -> float:
    return float((frame.index[1] - frame.index[0]).total_seconds()) if len(frame) > 1 else 60.0


def volt_var_chart(run: RunFolder) -> go.Figure | None:
    """Positions, losses, voltages and reactive power over time."""
    positions = run.series("device_position")
    if volt_var_figures(run) is None:
        return None
    figure = make_subplots(
        rows=4,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.06,
        row_heights=[0.28, 0.24, 0.24, 0.24],
        subplot_titles=(
            "Positions of tap changers and capacitor banks",
            "Losses [MW]",
            "Lowest and highest bus voltage [pu]",
            "Reactive consumption of the generating units together [MVar]",
        ),
    )
    for place, element in enumerate(positions.columns):
        line = {"shape": "hv", "width": 2, "color": _COLOURS[place % len(_COLOURS)]}
        figure.add_scatter(x=positions.index, y=positions[element], name=element, line=line, row=1, col=1)
    for part, label, colour in ((run.baseline, "baseline", _BEFORE), (run, "with control", _AFTER)):
        if part is not None:
            _against(figure, part, label, colour)
    figure.update_annotations(font_size=13, x=0, xanchor="left")
    figure.update_xaxes(tickformat="%H:%M\n%-d %b", nticks=9)
    figure.update_xaxes(title="time [UTC]", row=4, col=1)
    return figure


def _against(figure: go.Figure, part: RunFolder, label: str, colour: str) -> None:
    line = {"color": colour, "width": 1.4}
    losses, volts, reactive = part.series("system"), part.series("bus_vm_pu"), part.series("sgen_q_mvar")
    if "losses_mw" in losses:
        figure.add_scatter(
            x=losses.index, y=losses["losses_mw"].round(5), name=label, legendgroup=label, line=line, row=2, col=1
        )
    for series, row in (
        (volts.min(axis=1).round(5), 3),
        (volts.max(axis=1).round(5), 3),
        (-reactive.sum(axis=1).round(5), 4),
    ):
        figure.add_scatter(
            x=series.index, y=series, name=label, legendgroup=label, showlegend=False, line=line, row=row, col=1
        )


def said_of_volt_var(figures: dict[str, Any] | None) -> list[str]:
    """What the own means did, in a sentence with figures."""
    if figures is None:
        return []
    steps, moves = sum(row["steps"] for row in figures["devices"]), sum(row["operations"] for row in figures["devices"])
    text = f"Own means: {moves} switchings of taps and capacitor banks ({steps:.0f} steps)"
    before, after = figures["losses_before_mwh"], figures["losses_mwh"]
    if before and after is not None:
        text += f"; losses {before:.2f} MWh before, {after:.2f} MWh with them ({100 * (after / before - 1):+.1f} %)"
    if figures["curtailed_mwh"]:
        text += f"; {figures['curtailed_mwh']:.2f} MWh of generation curtailed as a last resort"
    return [text + "."]
