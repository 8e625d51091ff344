"""``heila run --with … --without …``: variants side by side."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

_FIGURES = (
    ("congested_minutes", "congestion [min]"),
    ("worst.line_loading_percent.value", "worst line [%]"),
    ("worst.highest_voltage_pu.value", "highest [pu]"),
    ("worst.lowest_voltage_pu.value", "lowest [pu]"),
    ("flexibility.delivered_mwh", "delivered [MWh]"),
    ("flexibility.cost_eur", "paid [EUR]"),
    ("energy.losses_mwh", "losses [MWh]"),
)


def run_and_compare(
    path: Path,
    settings: Sequence[str],
    wishes: tuple[Sequence[str], Sequence[str]],
    out: Path,
    *,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run the variants of a scenario and print their key figures side by side."""
    from heila_mosaik.cli.display import progress_display
    from heila_mosaik.results.compare import flat
    from heila_mosaik.results.kpis import write_kpis
    from heila_mosaik.results.report import write_report
    from heila_mosaik.study.loader import ScenarioSource
    from heila_mosaik.study.variants import make_variants, run_variants

    variants = make_variants(ScenarioSource(path, settings), *wishes)
    with progress_display(enabled=not quiet and not as_json) as show:
        folders = run_variants(variants, out, show)
    figures: dict[str, dict[str, Any]] = {}
    for name, folder in folders.items():
        figures[name] = flat(write_kpis(folder))
        write_report(folder)
    answer = {"runs": {name: str(folder) for name, folder in folders.items()}, "kpis": figures}
    (out / "variants.json").write_text(json.dumps(answer, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(answer, indent=1, ensure_ascii=False))
        return
    _table(figures)
    for folder in folders.values():
        typer.echo(f"report {folder / 'report.html'}")
    typer.echo(f"everything: heila compare {' '.join(str(folder) for folder in list(folders.values())[:2])}")


def _table(figures: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("variant", show_edge=False)
    for _, title in _FIGURES:
        table.add_column(title, justify="right")
    for name, each in figures.items():
        values = [each.get(key) for key, _ in _FIGURES]
        table.add_row(name, *("–" if value is None else f"{value:.5g}" for value in values))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
