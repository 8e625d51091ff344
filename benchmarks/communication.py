"""What delay, loss and outages of the communication do to congestion: one windy morning, one network after another.

Every case is the scenario ``scenarios/communication_study.yaml`` with another network; everything else, the weather
included, is the same for the same seed.  Reported is what was left of the congestion, as a mean over the seeds.

Run ``python -m benchmarks.communication [--seeds 1 2 3 4] [--cases delay loss] [--jobs 2] [--out runs/communication]``;
it writes ``communication.csv`` and ``communication.html`` and prints the table.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

SCENARIO = Path(__file__).parents[1] / "scenarios" / "communication_study.yaml"
START, STOP = "2016-08-22T12:00:00+02:00", "2016-08-22T13:00:00+02:00"
_BROKER = {"start": START, "stop": STOP, "broker": True}
_ACTIVATION = {"start": START, "stop": STOP, "sender": "ams", "receiver": "mgms_*"}
_TELEMETRY = {"start": START, "stop": STOP, "sender": "sau", "receiver": "dms"}


def _delay(mean_s: float) -> dict[str, Any]:
    return {"delay_mean_ms": 1000.0 * mean_s}


NETWORKS: dict[str, dict[str, Any]] = {
    "none: no trade": {},
    "delay: 1 ms": _delay(0.001),
    "delay: published": {},
    "delay: 1 s": _delay(1.0),
    "delay: 10 s": _delay(10.0),
    "delay: 30 s": _delay(30.0),
    "delay: 60 s": _delay(60.0),
    "delay: 120 s": _delay(120.0),
    "delay: 300 s": _delay(300.0),
    "loss: 1 %": {"loss": 0.01},
    "loss: 5 %": {"loss": 0.05},
    "loss: 10 %": {"loss": 0.1},
    "loss: 30 %": {"loss": 0.3},
    "loss: 5 %, 3 attempts": {"loss": 0.05, "attempts": 3},
    "loss: 30 %, 3 attempts": {"loss": 0.3, "attempts": 3},
    "outage: broker 1 h, lost": {"outages": [_BROKER]},
    "outage: broker 1 h, held": {"outages": [{**_BROKER, "messages": "held"}]},
    "outage: AMS to MGMS 1 h, lost": {"outages": [_ACTIVATION]},
    "outage: telemetry 1 h, lost": {"outages": [_TELEMETRY]},
    "order: all twice, 20 % held back 30 s": {"duplication": 1.0, "reordering": 0.2, "hold_ms": 30_000},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Figures of one run.

    Attributes:
        case: Network.
        seed: Seed.
        congested_min: Congestion summed over elements. [min]
        overload_percent_h: Loading above the limit, integrated and summed over lines. [% h]
        worst_loading_percent: Highest line loading. [%]
        activations: Set points sent by the DSO.
        success_share: Settlement periods with a call that were within tolerance. [1]
        lost: Messages that never arrived.
        messages: Messages sent.
        median_transfer_ms: Median transfer time. [ms]
    """

    case: str
    seed: int
    congested_min: float
    overload_percent_h: float
    worst_loading_percent: float
    activations: int
    success_share: float
    lost: int
    messages: int
    median_transfer_ms: float


def run(case: str, seed: int) -> Outcome:
    """Run one case."""
    from heila_mosaik.results.folder import RunFolder  # noqa: PLC0415 - a worker imports what it needs
    from heila_mosaik.results.kpis import compute_kpis  # noqa: PLC0415
    from heila_mosaik.study.loader import load_scenario  # noqa: PLC0415
    from heila_mosaik.study.run import run_scenario  # noqa: PLC0415
    from heila_mosaik.study.schema import Scenario  # noqa: PLC0415

    loaded = load_scenario(SCENARIO).scenario
    trade = not case.startswith("none")
    given = loaded.model_dump(mode="json") | {"seed": seed, "network": NETWORKS[case], "flexibility": trade}
    scenario = Scenario.model_validate(given).placed_in(loaded.folder)
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(run_scenario(scenario, Path(place) / "run", baseline=False))
        figures = compute_kpis(folder)
        over = (folder.series("line_loading_percent") - 100.0).clip(lower=0.0)
        flexibility, messages = figures.get("flexibility") or {}, figures["messages"]
        return Outcome(
            case=case,
            seed=seed,
            congested_min=figures["congested_minutes"],
            overload_percent_h=float(over.to_numpy().sum()) * scenario.step_s / 3600.0,
            worst_loading_percent=figures["worst"]["line_loading_percent"]["value"],
            activations=int(flexibility.get("activations", 0)),
            success_share=float(flexibility.get("success_share") or 0.0),
            lost=messages["lost"],
            messages=messages["total"],
            median_transfer_ms=messages["median_transfer_ms"] or 0.0,
        )


def _work(task: tuple[str, int]) -> Outcome:
    return run(*task)


def mean(outcomes: Sequence[Outcome], name: str) -> float:
    """Mean of a figure."""
    return sum(getattr(each, name) for each in outcomes) / len(outcomes)


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown table, a row a case; the range over the seeds in brackets."""
    lines = [
        "| network | congestion left [min] | overload left [% h] | worst line [%] | activations | in tolerance | lost |",  # noqa: E501
        "|---|---|---|---|---|---|---|",
    ]
    for case in dict.fromkeys(each.case for each in outcomes):
        rows = [each for each in outcomes if each.case == case]
        low, high = min(each.congested_min for each in rows), max(each.congested_min for each in rows)
        share = f"{100 * mean(rows, 'success_share'):.0f} %" if mean(rows, "activations") else "–"
        lines.append(
            f"| {case} | {mean(rows, 'congested_min'):.0f} ({low:.0f}–{high:.0f}) "
            f"| {mean(rows, 'overload_percent_h'):.2f} | {max(each.worst_loading_percent for each in rows):.1f} "
            f"| {mean(rows, 'activations'):.0f} | {share} "
            f"| {_share(rows)} |"
        )
    return "\n".join(lines)


def _share(rows: Sequence[Outcome]) -> str:
    """Share of messages lost; without trade the DSO's actors are missing and there is nothing to say."""
    return f"{100 * mean(rows, 'lost') / mean(rows, 'messages'):.1f} %" if mean(rows, "activations") else "–"


def plot(outcomes: Sequence[Outcome], path: Path) -> None:
    """Congestion left by case, one dot a seed."""
    import plotly.graph_objects as go  # noqa: PLC0415

    cases = list(dict.fromkeys(each.case for each in outcomes))
    figure = go.Figure()
    means = [mean([each for each in outcomes if each.case == case], "congested_min") for case in cases]
    figure.add_bar(y=cases, x=means, orientation="h", marker_color="#9db8d2", name="mean")
    figure.add_scatter(
        y=[each.case for each in outcomes], x=[each.congested_min for each in outcomes], mode="markers",
        marker={"color": "#1f3d5c", "size": 6}, name="one seed",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(title="congestion left, summed over elements [min]", rangemode="tozero")
    figure.update_layout(template="plotly_white", height=120 + 26 * len(cases), margin={"l": 260})
    figure.write_html(path, include_plotlyjs=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--cases", nargs="*", default=[], help="beginnings of the names of the cases")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/communication"))
    options = parser.parse_args()
    chosen = [case for case in NETWORKS if not options.cases or case.startswith(tuple(options.cases))]
    tasks = [(case, seed) for case in chosen for seed in options.seeds]
    with multiprocessing.get_context("spawn").Pool(options.jobs) as pool:
        outcomes = []
        for outcome in pool.imap(_work, tasks):
            outcomes.append(outcome)
            print(f"{len(outcomes)}/{len(tasks)} {outcome.case}, seed {outcome.seed}: "
                  f"{outcome.congested_min:.0f} min left", flush=True)  # fmt: skip
    options.out.mkdir(parents=True, exist_ok=True)
    with (options.out / "communication.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [each.name for each in fields(Outcome)])
        writer.writeheader()
        writer.writerows(asdict(each) for each in outcomes)
    plot(outcomes, options.out / "communication.html")
    print(table(outcomes))


if __name__ == "__main__":
    main()
