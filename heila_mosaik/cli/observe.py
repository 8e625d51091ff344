"""``heila observe``: what the telemetry of a scenario lets the control room see, and which meters would help."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from heila_mosaik.study.observe import Observation

_WORST = 5


def observe(
    path: Annotated[Path, typer.Argument(help="Scenario file.")],
    at: Annotated[str | None, typer.Option(help="Moment, ISO 8601 with zone; default the start.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key, for example telemetry.meters=[bus.12]."),
    ] = None,
    meters: Annotated[int, typer.Option(min=0, max=50, help="How many meters to propose.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Estimate the state of a scenario's grid once and say what its telemetry sees."""
    from heila_mosaik.study.loader import load_scenario
    from heila_mosaik.study.observe import observe as look

    seen = look(load_scenario(path, settings or []).scenario, _moment(at), meters)
    typer.echo(json.dumps(_plain(seen), indent=1, ensure_ascii=False) if as_json else _text(seen))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no time; write 2016-08-22T10:00:00+02:00") from error
    if found.tzinfo is None:
        raise typer.BadParameter(f"{text!r} has no zone; write 2016-08-22T10:00:00+02:00")
    return found


def _plain(seen: Observation) -> dict[str, Any]:
    report, estimate = seen.report, seen.estimate
    return {
        "at": seen.at.isoformat(),
        "measurements": seen.measurements,
        "objective": estimate.objective,
        "limit": estimate.limit,
        "iterations": estimate.iterations,
        "bad_data": [suspect.label for suspect in estimate.suspects],
        "unobservable": list(report.unobservable),
        "critical": list(report.critical),
        "redundant": list(report.redundant),
        "voltage_sigma_pu": {
            f"bus.{bus}": float(sigma) for bus, sigma in zip(seen.bus_ids, report.voltage_sigma_pu, strict=True)
        },
        "advice": [{"meter": meter, "removes_share": share} for meter, share in report.advice],
    }


def _text(seen: Observation) -> str:
    report, estimate = seen.report, seen.estimate
    worst = sorted(zip(report.voltage_sigma_pu.tolist(), seen.bus_ids, strict=True), reverse=True)[:_WORST]
    unseen = f"{len(report.unobservable)} of {len(seen.injections)} injections are hardly better known than forecast"
    lines = [
        f"{seen.at.isoformat()}: {seen.measurements} measurements, J = {estimate.objective:.3g} "
        f"(limit {estimate.limit:.3g}), {estimate.iterations} iterations",
        f"{unseen}{_some(report.unobservable)}",
        "least known voltages: " + ", ".join(f"bus.{bus} ±{100 * sigma:.2f} %" for sigma, bus in worst),
        f"critical (an error in them cannot be found): {', '.join(report.critical) or 'none'}",
        f"redundant: {len(report.redundant)} measurements check each other",
    ]
    if estimate.suspects:
        lines.append("bad data: " + ", ".join(suspect.label for suspect in estimate.suspects))
    lines += [
        f"add {meter}: removes {100 * share:.0f} % of what is left of the variance of voltages and loadings"
        for meter, share in report.advice
    ]
    return "\n".join(lines)


def _some(names: tuple[str, ...]) -> str:
    return f": {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}" if names else ""
