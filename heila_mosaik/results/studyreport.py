"""One self-contained HTML page about a study of many runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from plotly.offline import get_plotlyjs

from heila_mosaik.errors import HeilaError
from heila_mosaik.results.study import Study
from heila_mosaik.results.studyplots import Part, label, make_part

_SHOWN = 200
_FIGURES = (
    "congested_minutes",
    "worst.line_loading_percent.value",
    "worst.highest_voltage_pu.value",
    "worst.lowest_voltage_pu.value",
    "flexibility.delivered_mwh",
    "flexibility.cost_eur",
    "reinforcement.capital_eur",
    "energy.losses_mwh",
)


def write_study_report(folder: Path) -> Path:
    """Write ``report.html`` into a study folder and return its path.

    Raises:
        NotAStudyError: If the folder holds no study.
    """
    study = Study(folder)
    path = folder / "report.html"
    path.write_text(render(study), encoding="utf-8")
    return path


def render(study: Study) -> str:
    """HTML text of the report."""
    environment = Environment(
        loader=PackageLoader("heila_mosaik.results"), autoescape=select_autoescape(default=True),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    frame, sweep = study.frame(), study.source["sweep"]
    parts = [_part(study, analysis) for analysis in sweep["analysis"]] if len(frame) else []
    timings = study.timings()
    return environment.get_template("study.html.j2").render(
        name=study.name,
        description=sweep["description"],
        code=study.source["code"],
        scenario=json.dumps(study.source["scenario"], indent=1, ensure_ascii=False),
        plotly=get_plotlyjs(),
        planned=len(study.plan()),
        done=len(frame),
        failures=study.failures(),
        facts=_facts(frame, timings),
        parts=[(number, part, _html(number, part)) for number, part in enumerate(parts)],
        columns=[label(name) for name in _columns(study, frame)],
        rows=_rows(frame[_columns(study, frame)].head(_SHOWN)),
        shown=min(len(frame), _SHOWN),
    )


def _part(study: Study, analysis: dict[str, Any]) -> Part:
    try:
        return make_part(study, analysis)
    except HeilaError as error:
        return Part(title=analysis["title"] or str(analysis["kind"]), text=f"Not drawn: {error}")


def _facts(frame: pd.DataFrame, timings: pd.DataFrame) -> list[tuple[str, str]]:
    worked = float(timings["wall_s"].sum())
    facts = [
        ("seeds", str(frame["seed"].nunique()) if len(frame) else "0"),
        ("work", f"{worked / 3600:.2f} h" if worked > 3600 else f"{worked:.0f} s"),
    ]
    if len(timings):
        facts.append(("mean of a run", f"{timings['wall_s'].mean():.2f} s"))
        facts.append(("slowest run", f"{timings['wall_s'].max():.2f} s"))
        facts.append(("workers", str(timings["worker"].nunique())))
    return facts


def _columns(study: Study, frame: pd.DataFrame) -> list[str]:
    wanted = [*(key for key in study.varied if key != "seed"), "seed", *_FIGURES]
    return [name for name in wanted if name in frame.columns]


def _rows(frame: pd.DataFrame) -> list[list[str]]:
    return [[_text(value) for value in row] for row in frame.itertuples(index=False)]


def _text(value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - not a number
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _html(number: int, part: Part) -> str:
    if part.figure is None:
        return ""
    config = {"displayModeBar": False, "responsive": True}
    text: str = part.figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure-{number}", config=config)
    return text
