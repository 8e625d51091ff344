"""One self-contained HTML page about a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from plotly.offline import get_plotlyjs
from ruamel.yaml import YAML

from heila_mosaik.results import plots
from heila_mosaik.results.folder import RunFolder
from heila_mosaik.results.harm import contracts, withheld
from heila_mosaik.results.hil_report import hil_section
from heila_mosaik.results.kpis import compute_kpis
from heila_mosaik.results.peak import peak_chart, said_of_peak
from heila_mosaik.results.plotmap import grid_map
from heila_mosaik.results.plotsupply import supply_chart, supply_maps
from heila_mosaik.results.reserves import reserve_chart
from heila_mosaik.results.security import said_of_security
from heila_mosaik.results.supply import said_of_supply, switching
from heila_mosaik.results.voltvar import said_of_volt_var, volt_var_chart

_SHOWN_WITHHELD = 40
_KINDS = {
    "undervoltage": "undervoltage",
    "overvoltage": "overvoltage",
    "line_current": "line overload",
    "trafo_current": "transformer overload",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One key figure: value, unit, and what it was in the baseline."""

    title: str
    value: str
    unit: str
    note: str = ""
    tone: str = ""


def write_report(folder: Path) -> Path:
    """Write ``report.html`` into a run folder and return its path.

    Raises:
        NotARunError: If the folder holds no run.
    """
    run = RunFolder(folder)
    path = folder / "report.html"
    path.write_text(render(run), encoding="utf-8")
    return path


def render(run: RunFolder) -> str:
    """HTML text of the report."""
    figures, refused = compute_kpis(run), withheld(run)
    environment = Environment(
        loader=PackageLoader("heila_mosaik.results"), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(
        run=run,
        status=run.status,
        figures=figures,
        plotly=get_plotlyjs(),
        headline=headline(figures),
        cards=cards(figures),
        congestion=_congestion_rows(figures, _element_names(run)),
        charts={name: _html(name, figure) for name, figure in _charts(run).items()},
        sequence=_sequence(run),
        hil=hil_section(run),
        payments=sorted(figures["payments_eur"].items(), key=lambda pair: (-pair[1], pair[0])),
        withheld=refused[:_SHOWN_WITHHELD],
        withheld_total=len(refused),
        contracts=contracts(run),
        switching=switching(run) if "supply" in figures else [],
        description=_description(run),
    )


def headline(figures: dict[str, Any]) -> list[str]:
    """What happened, in sentences with figures."""
    after, before = figures["congested_minutes"], figures.get("baseline", {}).get("congested_minutes")
    said: list[str] = []
    if before is None:
        said.append(f"This run saw {_span(after)} of congestion, summed over elements; no baseline was made.")
    elif before == 0:
        said.append("The baseline had no congestion, so flexibility had nothing to remove.")
    else:
        said.append(
            f"Without flexibility the grid would have seen {_span(before)} of congestion, summed over elements "
            f"({_parts(figures['baseline'])}). With flexibility {_span(after)} remained"
            + (f" ({_parts(figures)}): {_change(before, after)}." if after else ": all of it was removed.")
        )
    if figures.get("supply") is not None:
        said.append(said_of_supply(figures["supply"], (figures.get("baseline") or {}).get("supply")))
    market, flexibility = figures["market"], figures["flexibility"]
    if market["reserves"]:
        said.append(
            f"Requests of the DSO: {market['requests']}; offers: {market['offers']}; "
            f"reserves cleared: {market['reserves']}; set points called: {flexibility['activations']}. "
            f"{flexibility['delivered_mwh']:.2f} MWh of {flexibility['requested_mwh']:.2f} MWh called were delivered, "
            f"for {flexibility['cost_eur']:.2f} EUR; "
            f"{round((flexibility['success_share'] or 0.0) * flexibility['called_periods'])} of "
            f"{flexibility['called_periods']} settlement periods with a call were within tolerance."
        )
    said += _said_of_reserves(figures.get("reserves"))
    if figures.get("security") is not None:
        said.append(said_of_security(figures["security"], (figures.get("baseline") or {}).get("security")))
    said += said_of_volt_var(figures.get("volt_var")) + said_of_peak(figures.get("peak"))
    if flexibility["withheld"]:
        said.append(
            f"Activations withheld or withdrawn because of harm, or refused: {flexibility['withheld']}; "
            "the reasons are listed below."
        )
    if figures["diverged_steps"]:
        said.append(f"The power flow diverged in {figures['diverged_steps']} steps; see failed/ in the run folder.")
    return said


def _said_of_reserves(reserves: dict[str, Any] | None) -> list[str]:
    """The reserve market in a sentence for each product."""
    said = []
    for product, part in (reserves or {"products": {}})["products"].items():
        if part["reserves"]:
            said.append(
                f"The TSO bought {part['capacity_mw_h']:.1f} MW·h of {product} at "
                f"{part['mean_price_eur_per_mw_h']:.2f} EUR/(MW·h) on average"
                + (
                    f"; {100.0 * part['success_share']:.1f} % of {part['periods']} settlement periods were within "
                    f"tolerance, {part['capacity_eur']:.2f} EUR were paid for capacity and {part['energy_eur']:.2f} "
                    "EUR for energy."
                    if part["periods"]
                    else "; none was settled yet."
                )
            )
    return said


def cards(figures: dict[str, Any]) -> list[Card]:
    """Key figures of the top row."""
    base = figures.get("baseline")
    made: list[Card] = []

    def add(title: str, value: Any, unit: str, digits: int, before: Any = None, tone: str = "") -> None:
        note = f"baseline {before:.{digits}f}" if isinstance(before, int | float) else ""
        text = f"{value:.{digits}f}" if isinstance(value, int | float) else "–"
        made.append(Card(title=title, value=text, unit=unit, note=note, tone=tone))

    def worst(name: str) -> tuple[Any, Any]:
        return figures["worst"][name]["value"], base["worst"][name]["value"] if base else None

    minutes, before = figures["congested_minutes"], base["congested_minutes"] if base else None
    add("Congestion, element-minutes", minutes, "min", 0, before, "good" if minutes == 0 else "bad")
    for title, name, unit, digits in (
        ("Lowest voltage", "lowest_voltage_pu", "pu", 4),
        ("Highest voltage", "highest_voltage_pu", "pu", 4),
        ("Worst line loading", "line_loading_percent", "%", 1),
        ("Worst transformer loading", "trafo_loading_percent", "%", 1),
    ):
        add(title, *worst(name)[:1], unit, digits, worst(name)[1])
    security = figures.get("security")
    if security is not None:
        after, was = security["insecure_minutes"], (base or {}).get("security")
        add("Not N-1 secure", after, "min", 0, was and was["insecure_minutes"], "good" if after == 0 else "bad")
    _add_supply(add, figures.get("supply"), (base or {}).get("supply"))
    flexibility = figures["flexibility"]
    success = flexibility["success_share"]
    add("Delivered flexibility", flexibility["delivered_mwh"], "MWh", 2)
    add("Called periods within tolerance", None if success is None else 100 * success, "%", 1)
    add("Paid for flexibility", flexibility["cost_eur"], "EUR", 2)
    add("Grid losses", figures["energy"]["losses_mwh"], "MWh", 2, base["energy"]["losses_mwh"] if base else None)
    add("PV curtailed against baseline", figures["energy"].get("curtailed_mwh"), "MWh", 3)
    rms = figures["estimation"]["rms"]
    add("Voltage estimation error, RMS", None if rms is None else 1000 * rms, "10⁻³ pu", 2)
    return made


def _add_supply(add: Callable[..., None], after: dict[str, Any] | None, before: dict[str, Any] | None) -> None:
    """Key figures of supply, in a run with faults."""
    if after is None:
        return
    for title, name, unit, digits in (
        ("Energy not supplied", "ens_mwh", "MWh", 3),
        ("Microgrids' energy not supplied", "ens_microgrids_mwh", "MWh", 3),
        ("SAIDI", "saidi_min", "min", 2),
        ("SAIFI", "saifi", "1", 3),
        ("MAIFI", "maifi", "1", 3),
    ):
        add(title, after[name], unit, digits, before and before[name])


def _charts(run: RunFolder) -> dict[str, go.Figure | None]:
    return {
        "timeline": plots.timeline(run),
        "supply": supply_chart(run),
        "supply_map": supply_maps(run),
        "voltage": plots.voltage_band(run),
        "duration": plots.duration(run),
        "merit": plots.merit_order(run),
        "map": grid_map(run),
        "estimation": plots.estimation_error(run),
        "reserves": _styled(reserve_chart(run), 720, 1.05),
        "volt_var": _styled(volt_var_chart(run), 860, 1.04),
        "peak": _styled(peak_chart(run), 420, 1.1),
    }


def _styled(figure: go.Figure | None, height: int, legend_y: float) -> go.Figure | None:
    if figure is None:
        return None
    return plots.style(figure, height).update_layout(legend={"y": legend_y}, margin={"t": 80})


def _html(name: str, figure: go.Figure | None) -> str:
    if figure is None:
        return ""
    config = {"displayModeBar": False, "responsive": True}
    text: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{name}", config=config)
    return text


def _element_names(run: RunFolder) -> dict[str, str]:
    """Name of each bus, line and transformer by its identity in the data files."""
    return {
        f"{kind}.{element}": str(name)
        for table, kind in (("buses", "bus"), ("lines", "line"), ("trafos", "trafo"))
        for element, name in zip(
            run.grid.get(table, {}).get("id", []), run.grid.get(table, {}).get("name", []), strict=False
        )
    }


def _congestion_rows(figures: dict[str, Any], names_of: dict[str, str]) -> list[dict[str, Any]]:
    base = figures.get("baseline", {}).get("congestion", {})
    rows = []
    for kind, label in _KINDS.items():
        after, before = figures["congestion"][kind], base.get(kind)
        names = sorted({*after["elements"], *(before["elements"] if before else {})})
        for name in names:
            first = before["elements"].get(name, 0.0) if before else None
            rows.append(
                {
                    "kind": label,
                    "element": name,
                    "name": names_of.get(name, ""),
                    "before": first,
                    "after": after["elements"].get(name, 0.0),
                }
            )
    return sorted(rows, key=lambda row: (-(row["before"] or 0.0), -row["after"], row["element"]))


def _sequence(run: RunFolder) -> list[dict[str, Any]]:
    rows = []
    messages = run.messages[run.messages["status"] != "repeated"]
    for (kind, sender, receiver), part in messages.groupby(["kind", "sender", "receiver"], sort=True):
        transfer = (part["delivered_at"] - part["sent_at"]).dropna().dt.total_seconds() * 1000.0
        rows.append(
            {
                "kind": kind, "sender": sender, "receiver": receiver, "count": len(part),
                "lost": int((part["status"] != "delivered").sum()),
                "first": part["sent_at"].min(), "last": part["sent_at"].max(),
                "median_ms": float(transfer.median()) if len(transfer) else None,
            }
        )  # fmt: skip
    return sorted(rows, key=lambda row: (row["first"], row["kind"], row["sender"], row["receiver"]))


def _description(run: RunFolder) -> str:
    settings = YAML(typ="safe", pure=True).load(run.scenario_yaml)
    return str(settings.get("description", "")) if isinstance(settings, dict) else ""


def _change(before: float, after: float) -> str:
    if after == before:
        return "no change"
    return f"{1 - after / before:.1%} less" if after < before else f"{after / before - 1:.1%} more"


def _span(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes < 180 else f"{minutes / 60:.1f} h"


def _parts(figures: dict[str, Any]) -> str:
    parts = [(label, figures["congestion"][kind]["element_minutes"]) for kind, label in _KINDS.items()]
    return ", ".join(f"{label} {_span(minutes)}" for label, minutes in parts if minutes)
