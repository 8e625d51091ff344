"""Figures of a run with equipment in the loop: pace, orders, latency."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
import plotly.graph_objects as go

from heila_mosaik.results.hil import HilRecord

_MS = 1000.0
_COLOURS = {"lag of a step": "#1f5fa8", "order answered by the station": "#dd7f2e", "order read back": "#2b8a57"}


def spread_ms(values_s: npt.ArrayLike) -> dict[str, float] | None:
    """Least, median, 95th, 99th percentile and largest of some times; ``None`` without any. [ms]"""
    found = _MS * np.asarray(values_s, float)
    if not found.size:
        return None
    p50, p95, p99 = np.percentile(found, (50, 95, 99))
    named = {"min": found.min(), "p50": p50, "p95": p95, "p99": p99, "max": found.max()}
    return {"n": float(found.size), **{name: round(float(value), 3) for name, value in named.items()}}


def orders(record: HilRecord) -> dict[str, dict[int, float]]:
    """Orders by state they went through: number and time since they were sent. [s]"""
    found: dict[str, dict[int, float]] = {}
    for event in record.events:
        if event["kind"] == "order":
            # A late confirmation of an order that was read back already tells its state once more.
            found.setdefault(event["state"], {}).setdefault(event["id"], event["after_s"])
    return found


def answers(record: HilRecord) -> list[float]:
    """From each order to the station's confirmation or refusal, which may follow the read-back. [s]"""
    told = (event for event in record.events if event["kind"] == "order" and event.get("answered_s") is not None)
    return list({event["id"]: event["answered_s"] for event in told}.values())


def latencies(record: HilRecord) -> dict[str, list[float]]:
    """Times of the run by kind. [s]"""
    return {
        "lag of a step": record.steps["lag_s"].tolist(),
        "order answered by the station": answers(record),
        "order read back": list(orders(record).get("confirmed", {}).values()),
    }


def hil_figures(record: HilRecord) -> dict[str, Any]:
    """Key figures, JSON-able."""
    steps, events, settings = record.steps, record.events, record.settings
    refusals = Counter(event["reason"] for event in events if event["kind"] == "refusal")
    return {
        "mode": "armed" if settings["arm"] else "dry run",
        "armed": settings["arm"],
        "speed": settings["speed"],
        "period_s": settings["period_s"],
        "overrun": settings["overrun"],
        "steps": len(steps),
        "missed": int(steps["missed"].sum()),
        "slipped_s": float(steps["slipped_s"].sum()),
        "busy_ms": spread_ms(steps["busy_s"]),
        "latency_ms": {name: spread_ms(values) for name, values in latencies(record).items()},
        "readings": len(record.readings),
        "orders": {state: len(found) for state, found in sorted(orders(record).items())},
        "refused": dict(sorted(refusals.items())),
        "emergency_stops": sum(e["kind"] == "operator" and e["what"] == "emergency stop" for e in events),
    }


def hil_sentences(record: HilRecord) -> list[str]:
    """What happened, in sentences with figures."""
    found = hil_figures(record)
    lag, sent = found["latency_ms"]["lag of a step"], found["orders"]
    steps = "step" if found["steps"] == 1 else "steps"
    said = [
        f"Equipment in the loop ({found['mode']}): {found['steps']} {steps} of {found['period_s']:g} s at "
        f"{found['speed']:g} × real time"
        + (f", lag p50 {lag['p50']:.2f} ms, p99 {lag['p99']:.2f} ms, at most {lag['max']:.2f} ms" if lag else "")
        + f"; {found['missed']} deadlines missed."
    ]
    if found["slipped_s"]:
        said.append(f"Simulated time slipped by {found['slipped_s']:.3f} s against the wall (declared policy: slip).")
    if sent or found["refused"]:
        refused = sum(found["refused"].values())
        said.append(
            f"Orders sent: {sent.get('sent', 0)}, read back: {sent.get('confirmed', 0)}, refused by the station: "
            f"{sent.get('refused', 0)}, UNKNOWN: {sent.get('unknown', 0)}; refused before the wire: {refused}."
        )
    return said


def histogram(record: HilRecord) -> go.Figure | None:
    """Histogram of all latencies over a logarithmic time axis."""
    found = {name: [max(value, 1e-6) for value in values] for name, values in latencies(record).items() if values}
    if not found:
        return None
    figure = go.Figure()
    edges = np.logspace(-2, 4, 73)
    for name, values in found.items():
        counts, _ = np.histogram(_MS * np.asarray(values), edges)
        share = 100.0 * counts / len(values)
        figure.add_bar(
            x=np.sqrt(edges[:-1] * edges[1:]), y=share, width=np.diff(edges), name=f"{name} ({len(values)})",
            marker_color=_COLOURS[name], opacity=0.65, hovertemplate="%{x:.3g} ms: %{y:.1f} %<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        barmode="overlay", template="plotly_white", height=340, margin={"l": 60, "r": 20, "t": 20, "b": 50},
        legend={"orientation": "h", "y": 1.12},
        xaxis={"type": "log", "title": "ms", "range": [-1.5, 4], "dtick": 1},
        yaxis={"title": "share [%]"},
    )  # fmt: skip
    return figure


def followed(record: HilRecord) -> go.Figure | None:
    """What was ordered and what was measured, over simulated time."""
    samples = record.frame_of_samples()
    sent = [one for one in record.events if one["kind"] == "order" and one["state"] == "sent"]
    if samples.empty:
        return None
    figure = go.Figure()
    for name in samples.columns:
        if name.endswith((".p_mw", ".q_mvar", ".closed")) and name.split(".")[0] in record.settings["binding"]:
            figure.add_scatter(x=samples.index, y=samples[name], name=f"measured {name}", mode="lines")
    for breaker in record.settings["breakers"]:
        name = f"{breaker}.closed"
        if name in samples:
            line = {"shape": "hv", "dash": "dot", "color": "#5b6675"}
            figure.add_scatter(x=samples.index, y=samples[name], name=name, mode="lines", line=line, yaxis="y2")
    when = record.simulated([one["at_s"] for one in sent])
    for point in dict.fromkeys(one["name"] for one in sent):
        rows = [(at, one["value"]) for at, one in zip(when, sent, strict=True) if one["name"] == point]
        axis = "y2" if "breaker" in point else "y"
        figure.add_scatter(
            x=[at for at, _ in rows], y=[value for _, value in rows], name=f"order {point}", mode="markers",
            marker={"size": 6, "symbol": "circle-open"}, yaxis=axis,
        )  # fmt: skip
    figure.update_layout(
        template="plotly_white", height=360, margin={"l": 60, "r": 60, "t": 20, "b": 40},
        legend={"orientation": "h", "y": 1.15}, yaxis={"title": "MW, Mvar"},
        yaxis2={"title": "breaker", "overlaying": "y", "side": "right", "range": [-0.05, 1.6], "tickvals": [0, 1],
                "ticktext": ["open", "closed"], "showgrid": False},
    )  # fmt: skip
    return figure
