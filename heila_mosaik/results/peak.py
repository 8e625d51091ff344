"""Key figures and figures of the power flow optimisation: peak and variation of the exchange, before and after."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heila_mosaik.domain import kpi
from heila_mosaik.domain.powerflowopt import Exchange
from heila_mosaik.results.folder import RunFolder

_METERED = "15min"
_BEFORE, _AFTER, _LEVEL = "#c2571a", "#1f5fa8", "#b3202c"
_EVENTS = ("exchange_forecast", "peak_planned", "level_planned")


def peak_figures(run: RunFolder) -> dict[str, Any] | None:
    """Peaks and variation by day (UTC), metered as quarter-hourly means; ``None`` where nobody lowered them."""
    if not run.records["event"].isin(_EVENTS).any():
        return None
    after, before = metered(run), metered(run.baseline) if run.baseline is not None else None
    days = []
    for day in sorted(set(_day(after))):
        one = Exchange.of(after[_day(after) == day].to_numpy(dtype=np.float64))
        row = {
            "day": day,
            "import_mw": one.peak_import_mw,
            "export_mw": one.peak_export_mw,
            "variation_mw": one.variation_mw,
            "import_before_mw": None,
            "export_before_mw": None,
            "variation_before_mw": None,
        }
        if before is not None:
            other = Exchange.of(before[_day(before) == day].to_numpy(dtype=np.float64))
            row |= {
                "import_before_mw": other.peak_import_mw,
                "export_before_mw": other.peak_export_mw,
                "variation_before_mw": other.variation_mw,
            }
        days.append(row)
    return {"days": days, **_money(run)}


def _day(series: pd.Series) -> pd.Index:
    """Day (UTC) of each value."""
    return pd.DatetimeIndex(series.index).strftime("%Y-%m-%d")


def metered(run: RunFolder) -> pd.Series:
    """Exchange with the overlying grid, quarter-hourly means, import positive. [MW]"""
    return run.series("ext_p_mw").sum(axis=1).resample(_METERED).mean()


def _money(run: RunFolder) -> dict[str, Any]:
    """Reserves bought against the peak, their calls and what was paid for them."""
    bids = [bid for bid in run.bodies("Bid") if "/peak_bid/" in bid["id"]]
    offers = {purchase["offer"] for bid in bids for purchase in bid["purchases"]}
    reserves = {body["id"] for body in run.bodies("ReserveNotification") if body["offer"] in offers}
    calls = [body for body in run.bodies("ActivationNotification") if body["reserve"] in reserves]
    statements = [body for body in run.bodies("SettlementStatement") if body["reserve"] in reserves]
    paid = sum(
        body["availability_eur"] + body["activation_eur"] + body["reactive_eur"] - body["penalty_eur"]
        for body in statements
    )
    return {
        "reserves": len(reserves),
        "calls": len(calls),
        "delivered_mwh": float(sum(abs(body["delivered_mwh"]) for body in statements)),
        "paid_eur": float(paid),
    }


def peak_chart(run: RunFolder) -> go.Figure | None:
    """Exchange over time with the level aimed at, and its duration curve."""
    if peak_figures(run) is None:
        return None
    figure = make_subplots(
        rows=1,
        cols=2,
        column_widths=[0.64, 0.36],
        horizontal_spacing=0.08,
        subplot_titles=("Exchange, quarter-hourly means [MW]", "Duration curve [MW over % of the time]"),
    )
    for part, label, colour in ((run.baseline, "baseline", _BEFORE), (run, "with flexibility", _AFTER)):
        if part is None:
            continue
        series = metered(part)
        line = {"color": colour, "width": 1.8}
        look = {"name": label, "legendgroup": label}
        figure.add_scatter(x=series.index, y=series.round(4), line={**line, "shape": "hv"}, row=1, col=1, **look)
        curve = kpi.duration_curve(series.to_numpy(dtype=np.float64))
        share = (np.arange(len(curve)) + 0.5) / max(len(curve), 1) * 100.0
        figure.add_scatter(x=share, y=curve.round(4), line=line, showlegend=False, row=1, col=2, **look)
    levels = run.records[run.records["event"] == "level_planned"]
    if len(levels):
        planned = [json.loads(text)["import_level_mw"] for text in levels["values"]]
        line = {"color": _LEVEL, "dash": "dot", "width": 1.2, "shape": "hv"}
        figure.add_scatter(x=levels["at"], y=planned, name="import level planned", line=line, row=1, col=1)
    figure.update_annotations(font_size=13)
    figure.update_xaxes(tickformat="%H:%M\n%-d %b", nticks=9, row=1, col=1)
    return figure


def said_of_peak(figures: dict[str, Any] | None) -> list[str]:
    """What became of the peaks, in a sentence with figures."""
    if figures is None:
        return []
    known = [row for row in figures["days"] if row["import_before_mw"] is not None]
    parts = [f"{row['day']} {row['import_before_mw']:.2f} to {row['import_mw']:.2f} MW" for row in known]
    if not parts:
        return []
    return [
        f"Import peak at the substation (quarter-hourly means): {', '.join(parts)}; {figures['calls']} calls of "
        f"{figures['reserves']} reserves for {figures['paid_eur']:.2f} EUR."
    ]
