"""Section of the report about equipment in the loop."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.hil import HilRecord
from heila_mosaik.results.hil_figures import followed, hil_figures, hil_sentences, histogram, latencies, spread_ms

_SHOWN = 200


def hil_section(run: RunFolder) -> dict[str, Any] | None:
    """What the template shows; ``None`` when the run had no equipment."""
    record = HilRecord(run)
    if not record.exists or record.steps.empty:
        return None
    return {
        "sentences": hil_sentences(record),
        "figures": hil_figures(record),
        "latency": [
            {"name": name, **spread} for name, values in latencies(record).items() if (spread := spread_ms(values))
        ],
        "orders": _orders(record),
        "histogram": _html("hil-histogram", histogram(record)),
        "followed": _html("hil-followed", followed(record)),
        "settings": record.settings,
    }


def _orders(record: HilRecord) -> list[dict[str, Any]]:
    """One row an order with its last state, in the order they were sent."""
    rows: dict[int, dict[str, Any]] = {}
    for event in record.events:
        if event["kind"] == "order":
            rows.setdefault(event["id"], {"at_s": event["at_s"]}).update(
                {key: event[key] for key in ("name", "value", "cause", "state", "detail")}
            )
    found = list(rows.values())[:_SHOWN]
    for row, at in zip(found, record.simulated([row["at_s"] for row in found]), strict=True):
        row["at"] = at
    return found


def _html(name: str, figure: go.Figure | None) -> str:
    if figure is None:
        return ""
    config = {"displayModeBar": False, "responsive": True}
    text: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id=name, config=config)
    return text
