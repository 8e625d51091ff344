"""Key figures and figures of the reserve market: capacity, price, frequency, response, settlement."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from heila_mosaik.domain.frequency import NOMINAL_HZ, minutes_outside
from heila_mosaik.domain.quantities import FloatArray
from heila_mosaik.domain.reserves import RESERVE_PRODUCTS
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.trades import frequency_reserves

_COLOURS = {"FCR-N": "#1f5fa8", "FCR-D": "#c2571a"}


def reserve_figures(run: RunFolder) -> dict[str, Any] | None:
    """Key figures of the reserve market; ``None`` where nobody bought reserves."""
    frequency = run.series("frequency_hz")
    if frequency.empty:
        return None
    values = frequency["hz"].to_numpy(dtype=np.float64)
    step_s = (frequency.index[1] - frequency.index[0]).total_seconds() if len(frequency) > 1 else 60.0
    return {
        "frequency": {
            "mean_hz": float(values.mean()),
            "std_mhz": 1000.0 * float(values.std()),
            "minutes_outside": minutes_outside(values, step_s),
        },
        "products": {str(product): _product(run, str(product)) for product in RESERVE_PRODUCTS},
    }


def _product(run: RunFolder, product: str) -> dict[str, Any]:
    reserves = {body["id"]: body for body in frequency_reserves(run) if body["product"] == product}
    statements = [body for body in run.bodies("SettlementStatement") if body["reserve"] in reserves]
    checks = [body for body in run.bodies("VerificationNotification") if body["reserve"] in reserves]
    hours = {key: _hours(body) for key, body in reserves.items()}
    capacity = sum(_capacity(body) * hours[key] for key, body in reserves.items())
    priced = sum(_capacity(body) * hours[key] * body["availability_eur_per_mw_h"] for key, body in reserves.items())
    settled = sum(_capacity(reserves[body["reserve"]]) * _hours(body) for body in statements)
    at_price = sum(
        _capacity(reserves[body["reserve"]]) * _hours(body) * reserves[body["reserve"]]["availability_eur_per_mw_h"]
        for body in statements
    )
    paid = sum(body["availability_eur"] for body in statements)
    errors = [
        np.subtract(np.subtract(body["measured_p_mw"], body["baseline_p_mw"]), body["requested_p_mw"])
        for body in checks
    ]
    moved = [body["requested_mwh"] for body in statements]
    return {
        "reserves": len(reserves),
        "capacity_mw_h": capacity,
        "mean_price_eur_per_mw_h": priced / capacity if capacity else None,
        "settled_mw_h": settled,
        "maintained_share": paid / at_price if at_price else None,
        "periods": len(statements),
        "success_share": sum(body["success"] for body in statements) / len(statements) if statements else None,
        "net_energy_mwh": sum(moved) if moved else 0.0,
        "response_error_rms_kw": 1000.0 * float(np.sqrt(np.mean(np.concatenate(errors) ** 2))) if errors else None,
        "capacity_eur": paid,
        "energy_eur": sum(body["activation_eur"] for body in statements),
    }


def _capacity(body: dict[str, Any]) -> float:
    low, high = -body["p_min_mw"], body["p_max_mw"]
    return float(min(low, high) if body["product"] == "FCR-N" else max(low, high))


def _hours(body: dict[str, Any]) -> float:
    return float((pd.Timestamp(body["stop"]) - pd.Timestamp(body["start"])).total_seconds() / 3600.0)


def reserve_chart(run: RunFolder) -> go.Figure | None:
    """Frequency, capacity sold with its price, and the response of all sites against the droop."""
    frequency = run.series("frequency_hz")
    reserves = frequency_reserves(run)
    if frequency.empty or not reserves:
        return None
    figure = make_subplots(
        rows=3,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.07,
        row_heights=[0.3, 0.25, 0.45],
        specs=[[{}], [{"secondary_y": True}], [{}]],
        subplot_titles=(
            "Frequency [Hz]; dotted: standard range",
            "Capacity bought [MW] and marginal price [EUR/(MW·h)]",
            "Response of all sites [MW]: asked by the droop, and measured",
        ),
    )
    shown = frequency["hz"].resample("1min").mean()
    line = {"color": "#5b6675", "width": 1}
    figure.add_scatter(x=shown.index, y=shown.round(4), name="frequency", line=line, row=1, col=1)
    for level in (NOMINAL_HZ - 0.1, NOMINAL_HZ + 0.1):
        figure.add_hline(y=level, line={"color": "#b3202c", "dash": "dot", "width": 1}, row=1, col=1)
    _capacities(figure, reserves)
    times = pd.DatetimeIndex(frequency.index)
    asked, given = _response(run, {body["id"] for body in reserves}, times)
    for values, name, colour in ((asked, "asked", "#8a94a3"), (given, "measured", "#1f5fa8")):
        row = pd.Series(values, index=frequency.index).resample("1min").mean()
        figure.add_scatter(x=row.index, y=row.round(4), name=name, line={"color": colour, "width": 1.2}, row=3, col=1)
    figure.update_annotations(font_size=13, x=0, xanchor="left")
    figure.update_xaxes(range=[frequency.index[0], frequency.index[-1]], tickformat="%H:%M\n%-d %b", nticks=9)
    return figure


def _capacities(figure: go.Figure, reserves: list[dict[str, Any]]) -> None:
    for product, colour in _COLOURS.items():
        hourly: dict[pd.Timestamp, float] = defaultdict(float)
        prices: dict[pd.Timestamp, float] = {}
        for body in reserves:
            if body["product"] == product:
                start = pd.Timestamp(body["start"])
                hourly[start] += _capacity(body)
                prices[start] = body["availability_eur_per_mw_h"]
        moments = sorted(hourly)
        step = {"shape": "hv", "color": colour, "width": 2}
        figure.add_scatter(x=moments, y=[hourly[each] for each in moments], name=product, line=step, row=2, col=1)
        figure.add_scatter(
            x=moments, y=[prices[each] for each in moments], name=f"{product} price",
            line={**step, "dash": "dot", "width": 1.2}, row=2, col=1, secondary_y=True,
        )  # fmt: skip


def _response(run: RunFolder, reserves: set[str], times: pd.DatetimeIndex) -> tuple[FloatArray, FloatArray]:
    """Asked and measured adjustment of all reserves, NaN where none was verified. [MW] (n,), [MW] (n,)"""
    asked, given = np.full(len(times), np.nan), np.full(len(times), np.nan)
    for body in run.bodies("VerificationNotification"):
        if body["reserve"] not in reserves:
            continue
        span = slice(
            int(times.searchsorted(pd.Timestamp(body["start"]))), int(times.searchsorted(pd.Timestamp(body["stop"])))
        )
        passed = (times[span] - pd.Timestamp(body["start"])).total_seconds().to_numpy()
        place = np.minimum((passed // body["step_s"]).astype(int), len(body["requested_p_mw"]) - 1)
        wanted = np.array(body["requested_p_mw"])[place]
        moved = np.subtract(body["measured_p_mw"], body["baseline_p_mw"])[place]
        asked[span] = np.nan_to_num(asked[span]) + wanted
        given[span] = np.nan_to_num(given[span]) + moved
    return asked, given
