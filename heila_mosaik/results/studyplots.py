"""Figures of a study's report (plotly) and the sentences beside them; one function a kind of analysis."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from heila_mosaik.results.plots import AFTER, BEFORE, LIMIT, QUIET, style
from heila_mosaik.results.sensitivity import hosting_capacity, pareto, sobol_indices, swings
from heila_mosaik.results.study import Study

_COLOURS = (BEFORE, AFTER, "#2b8a57", "#6a4fa3", "#b3202c", "#0e7c86", "#8a6d1f", "#5b6675")
_LABELS = {
    "congested_minutes": "congestion, element-minutes [min]",
    "growth.der": "growth of distributed generation [1]",
    "growth.load": "growth of load [1]",
    "flexibility.cost_eur": "paid for flexibility [EUR]",
    "flexibility.success_share": "called periods within tolerance [1]",
    "network.delay_mean_ms": "mean transfer time of a message [ms]",
    "telemetry.power_noise_percent": "standard uncertainty of power telemetry [%]",
    "telemetry.delay_s": "age of telemetry [s]",
    "network.loss": "loss of messages [1]",
    "worst.line_loading_percent.value": "highest line loading [%]",
    "worst.highest_voltage_pu.value": "highest voltage [pu]",
    "worst.lowest_voltage_pu.value": "lowest voltage [pu]",
    "flexibility.delivered_mwh": "delivered flexibility [MWh]",
    "energy.losses_mwh": "losses [MWh]",
    "reinforcement.capital_eur": "investment [EUR]",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the report: figure, what it says, rows of a table."""

    title: str
    text: str = ""
    findings: tuple[str, ...] = ()
    figure: go.Figure | None = None
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = field(default_factory=tuple)


def make_part(study: Study, analysis: Mapping[str, Any]) -> Part:
    """Carry out one analysis of a study."""
    makers: dict[str, Callable[[Study, Mapping[str, Any]], Part]] = {
        "hosting": _hosting, "curve": _curve, "heatmap": _heatmap, "pareto": _pareto, "tornado": _tornado,
        "sobol": _sobol, "cost": _cost,
    }  # fmt: skip
    return makers[analysis["kind"]](study, analysis)


def label(name: str) -> str:
    """Name of a key or figure on an axis."""
    return _LABELS.get(name, name)


def _name(group: str, value: Any) -> str:
    if group == "flexibility":
        return "with flexibility" if value else "without flexibility"
    return f"{group} {value:g}" if isinstance(value, float) else f"{group} {value}"


def _groups(study: Study, group: str) -> list[tuple[str, pd.DataFrame]]:
    frame = study.frame()
    if not group:
        return [("all runs", frame)]
    study.column(group)
    return [(_name(group, value), part) for value, part in frame.groupby(group, sort=True)]


def _mean_by(part: pd.DataFrame, x: str, figure: str) -> pd.DataFrame:
    grouped = part.groupby(x, sort=True)[figure]
    return pd.DataFrame({"mean": grouped.mean(), "low": grouped.min(), "high": grouped.max(), "runs": grouped.count()})


def _lines(study: Study, analysis: Mapping[str, Any]) -> tuple[go.Figure, dict[str, pd.DataFrame]]:
    x, figure = analysis["x"], analysis["figure"]
    study.column(x), study.column(figure)
    drawn = go.Figure()
    tables: dict[str, pd.DataFrame] = {}
    for number, (name, part) in enumerate(_groups(study, analysis["group"])):
        table = _mean_by(part, x, figure)
        tables[name] = table
        colour = _COLOURS[number % len(_COLOURS)]
        if (table["runs"] > 1).any():
            band = [*table["high"], *table["low"][::-1]]
            drawn.add_scatter(
                x=[*table.index, *table.index[::-1]], y=band, fill="toself", fillcolor=colour, opacity=0.15,
                line={"width": 0}, hoverinfo="skip", showlegend=False,
            )  # fmt: skip
        drawn.add_scatter(x=table.index, y=table["mean"], mode="lines+markers", name=name, line={"color": colour})
    drawn.update_xaxes(title=label(x))
    drawn.update_yaxes(title=label(figure), rangemode="tozero")
    return style(drawn, 420), tables


def _hosting(study: Study, analysis: Mapping[str, Any]) -> Part:
    drawn, tables = _lines(study, analysis)
    limit = float(analysis["limit"])
    drawn.add_hline(y=limit, line={"color": LIMIT, "dash": "dot", "width": 1})
    rows, findings = [], []
    found: dict[str, float] = {}
    for name, table in tables.items():
        # The worst seed decides: a grid hosts what it carries in every repetition.
        capacity = hosting_capacity(table.index.to_numpy(np.float64), table["high"].to_numpy(np.float64), limit)
        rows.append((name, "below the first point" if capacity is None else f"{capacity:.3f}"))
        if capacity is not None:
            found[name] = capacity
            drawn.add_vline(x=capacity, line={"color": QUIET, "dash": "dash", "width": 1})
    end = max((float(t.index.max()) for t in tables.values()), default=0.0)
    findings = [
        f"{name}: {label(analysis['x'])} up to {value:.3f}"
        + (" (the end of the range: it may be more)." if value == end else ".")
        for name, value in found.items()
    ]
    if len(found) == 2:
        first, second = found.values()
        findings.append(f"Difference: {second - first:+.3f}, or {100.0 * (second / first - 1.0):+.1f} %.")
    return Part(
        title=analysis["title"] or "Hosting capacity",
        text=analysis["text"]
        or f"Largest value up to which {label(analysis['figure'])} stays at or below {limit:g} in every repetition; "
        "between two points the crossing is interpolated. Lines are means, bands span the repetitions.",
        findings=tuple(findings),
        figure=drawn,
        columns=("curve", label(analysis["x"])),
        rows=tuple(rows),
    )


def _curve(study: Study, analysis: Mapping[str, Any]) -> Part:
    drawn, tables = _lines(study, analysis)
    rows = tuple(
        (name, f"{x:g}" if isinstance(x, float) else str(x), f"{row['mean']:.4g}", f"{row['low']:.4g}",
         f"{row['high']:.4g}", f"{row['runs']:.0f}")
        for name, table in tables.items()
        for x, row in table.iterrows()
    )  # fmt: skip
    columns = ("curve", label(analysis["x"]), "mean", "lowest", "highest", "runs")
    title = analysis["title"] or f"{label(analysis['figure'])} over {label(analysis['x'])}"
    return Part(title=title, text=analysis["text"], figure=drawn, columns=columns, rows=rows)


def _heatmap(study: Study, analysis: Mapping[str, Any]) -> Part:
    x, y, figure = analysis["x"], analysis["y"], analysis["figure"]
    for name in (x, y, figure):
        study.column(name)
    table = study.frame().pivot_table(index=y, columns=x, values=figure, aggfunc="mean").sort_index()
    drawn = go.Figure(
        go.Heatmap(
            x=[str(value) for value in table.columns],
            y=[str(value) for value in table.index],
            z=table.to_numpy(),
            texttemplate="%{z:.3~g}",
            colorscale="Blues",
            colorbar={"title": {"text": ""}},
        )
    )
    drawn.update_xaxes(title=label(x), type="category")
    drawn.update_yaxes(title=label(y), type="category")
    style(drawn, 440).update_layout(hovermode="closest")
    return Part(
        title=analysis["title"] or label(figure), text=analysis["text"] or f"Mean of {label(figure)}.", figure=drawn
    )


def _pareto(study: Study, analysis: Mapping[str, Any]) -> Part:
    x, y = analysis["x"], analysis["y"]
    study.column(x), study.column(y)
    keys = [key for key in study.varied if key in study.frame().columns and key != "seed"]
    frame = study.frame()
    frame[keys] = frame[keys].astype(object).where(frame[keys].notna(), "–")
    points = frame.groupby(keys, sort=True)[[x, y]].mean().reset_index() if keys else frame
    front = pareto(points[x].to_numpy(np.float64), points[y].to_numpy(np.float64))
    texts = [", ".join(f"{key}={row[key]}" for key in keys) for _, row in points.iterrows()]
    drawn = go.Figure()
    drawn.add_scatter(x=points[x], y=points[y], mode="markers", name="points", marker={"color": QUIET}, text=texts)
    best = points.iloc[front]
    drawn.add_scatter(
        x=best[x], y=best[y], mode="lines+markers", name="Pareto front", line={"color": AFTER, "shape": "hv"},
        text=[texts[row] for row in front],
    )  # fmt: skip
    drawn.update_xaxes(title=label(x))
    drawn.update_yaxes(title=label(y))
    style(drawn, 440).update_layout(hovermode="closest")
    rows = tuple((texts[row], f"{points[x].iloc[row]:.4g}", f"{points[y].iloc[row]:.4g}") for row in front)
    return Part(
        title=analysis["title"] or "Pareto front",
        text=analysis["text"] or "Points that no other beats in both figures, smaller being better; means over seeds.",
        figure=drawn,
        columns=("point", label(x), label(y)),
        rows=rows,
    )


def _tornado(study: Study, analysis: Mapping[str, Any]) -> Part:
    figure = analysis["figure"]
    study.column(figure)
    keys = [key for key in study.varied if key != "seed"]
    frame = study.frame()
    found = swings(frame, keys, figure)
    middle = float(frame[figure].mean())
    drawn = go.Figure()
    for attribute, name, colour in (
        ("at_low", "key at its lower end", QUIET),
        ("at_high", "key at its upper end", AFTER),
    ):
        drawn.add_bar(
            y=[swing.key for swing in found], x=[getattr(swing, attribute) - middle for swing in found], base=middle,
            orientation="h", name=name, marker={"color": colour},
        )  # fmt: skip
    drawn.update_yaxes(autorange="reversed")
    drawn.update_xaxes(title=label(figure))
    style(drawn, 160 + 55 * len(found)).update_layout(barmode="overlay", hovermode="closest", margin={"l": 230})
    rows = tuple((s.key, f"{s.low}", f"{s.high}", f"{s.at_low:.4g}", f"{s.at_high:.4g}") for s in found)
    return Part(
        title=analysis["title"] or f"What moves {label(figure)}",
        text=analysis["text"] or "Mean at the lower and upper end of each key (of ranges: lowest and highest fifth).",
        figure=drawn,
        columns=("key", "low", "high", "mean at low", "mean at high"),
        rows=rows,
    )


def _sobol(study: Study, analysis: Mapping[str, Any]) -> Part:
    figure = analysis["figure"]
    study.column(figure)
    block = next(block for block in study.source["sweep"]["vary"] if block["method"] == "sobol")
    keys = list(block["keys"])
    found = sobol_indices(study.frame(), keys, figure, second_order=block["second_order"])
    drawn = go.Figure()
    for name, colour in (("first", QUIET), ("total", AFTER)):
        drawn.add_bar(
            x=[index.key for index in found], y=[getattr(index, name) for index in found], name=f"{name} order"
            if name == "first" else "total", marker={"color": colour},
            error_y={"type": "data", "array": [getattr(index, f"{name}_conf") for index in found]},
        )  # fmt: skip
    drawn.update_yaxes(title="share of the variance [1]")
    rows = tuple((i.key, f"{i.first:.3f} ± {i.first_conf:.3f}", f"{i.total:.3f} ± {i.total_conf:.3f}") for i in found)
    return Part(
        title=analysis["title"] or f"Sobol indices of {label(figure)}",
        text=analysis["text"] or "Share of the variance each key explains alone and with its interactions; bars: 95 %.",
        figure=style(drawn, 420),
        columns=("key", "first order", "total"),
        rows=rows,
    )


def _cost(study: Study, analysis: Mapping[str, Any]) -> Part:
    x, per_year = analysis["x"], float(analysis["per_year"])
    frame = study.frame()
    study.column(x), study.column("reinforcement.annual_eur")
    rows, drawn = [], go.Figure()
    built = frame[frame["reinforcement.annual_eur"].notna() | ~frame["flexibility"].astype(bool)]
    plan = built.groupby(x, sort=True)["reinforcement.annual_eur"].mean().fillna(0.0)
    traded = frame[frame["flexibility"].astype(bool)].groupby(x, sort=True)
    paid = traded["flexibility.cost_eur"].mean() * per_year
    left = traded["congested_minutes"].mean()
    drawn.add_scatter(x=plan.index, y=plan, mode="lines+markers", name="reinforcement, annuity", line={"color": BEFORE})
    drawn.add_scatter(x=paid.index, y=paid, mode="lines+markers", name="flexibility", line={"color": AFTER})
    drawn.update_xaxes(title=label(x))
    drawn.update_yaxes(title="cost [EUR/a]", rangemode="tozero")
    capital = built.groupby(x, sort=True)["reinforcement.capital_eur"].mean().fillna(0.0)
    findings = []
    for value in plan.index.intersection(paid.index):
        days = plan[value] / (paid[value] / per_year) if paid[value] > 0 else float("inf")
        rows.append(
            (f"{value:g}", f"{capital[value]:,.0f}", f"{plan[value]:,.0f}", f"{paid[value] / per_year:,.2f}",
             f"{paid[value]:,.0f}", f"{days:,.0f}" if np.isfinite(days) else "–", f"{left[value]:.0f}")
        )  # fmt: skip
        if plan[value] > 0 and np.isfinite(days):
            findings.append(
                f"At {label(x)} {value:g} flexibility costs less than reinforcement as long as fewer than "
                f"{days:,.0f} days a year are like this one"
                + (f", but it does not do the same: {left[value]:.0f} min of congestion stay." if left[value] else ".")
            )
    return Part(
        title=analysis["title"] or "Flexibility against reinforcement",
        text=analysis["text"],
        findings=tuple(findings),
        figure=style(drawn, 420),
        columns=(label(x), "investment [EUR]", "annuity [EUR/a]", "flexibility [EUR/day]",
                 f"flexibility, {per_year:g} such days [EUR/a]", "break-even [days/a]", "congestion left [min]"),
        rows=tuple(rows),
    )  # fmt: skip
