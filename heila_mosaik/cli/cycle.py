"""``heila cycle``: the unsupervised test cycle, again and again."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from heila_mosaik.study.cycle import CycleResult


def cycle(
    scenario: Annotated[Path, typer.Option(help="Scenario file.")] = Path("scenarios/test_cycle.yaml"),
    out: Annotated[Path, typer.Option(help="Folder of the cycles; cycles.jsonl grows in it.")] = Path("runs/cycle"),
    cycles: Annotated[int, typer.Option(min=0, help="How many; 0: until Ctrl-C.")] = 1,
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Simulated seconds in a second, 1 is real time; default lock-step.")
    ] = None,
    https: Annotated[bool, typer.Option("--https", help="Microgrids and aggregator talk over HTTPS.")] = False,
    encrypt: Annotated[bool, typer.Option("--encrypt", help="Encrypt message bodies.")] = False,
    broker: Annotated[str, typer.Option(help="mosquitto, embedded, or auto.")] = "auto",
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the folder of every cycle, not only of failed ones.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Run the unsupervised test cycle: registration, the whole sequence over the wire, verification; measured.

    Every cycle makes a laboratory from nothing: CA, keys, broker, one process an actor.  Exit code 1 if a cycle failed
    or missed a step of the sequence.
    """
    from heila_mosaik.cli.actor import log_to_terminal
    from heila_mosaik.cli.display import progress_display
    from heila_mosaik.study.cycle import CycleSettings, run_cycle

    log_to_terminal(logging.ERROR)
    settings = CycleSettings(scenario=scenario, rate=rate, https=https, broker=broker,
                             encrypt=encrypt)  # fmt: skip
    results: list[CycleResult] = []
    out.mkdir(parents=True, exist_ok=True)
    first = _next_number(out)
    try:
        while not cycles or len(results) < cycles:
            number = first + len(results)
            folder = out / f"cycle-{number:04d}"
            with progress_display(enabled=not as_json) as show:
                result = run_cycle(settings, folder, number, show)
            results.append(result)
            with (out / "cycles.jsonl").open("a", encoding="utf-8") as log:
                log.write(result.to_json() + "\n")
            if not keep and result.complete:
                shutil.rmtree(folder)
    except KeyboardInterrupt:
        typer.secho("interrupted", err=True, fg="yellow")
    if as_json:
        typer.echo(json.dumps([json.loads(result.to_json()) for result in results], indent=1))
    else:
        _show(results, out)
    if not results or not all(result.complete for result in results):
        raise typer.Exit(1)


def _next_number(out: Path) -> int:
    taken = [int(path.name[6:]) for path in out.glob("cycle-*") if path.name[6:].isdigit()]
    log = out / "cycles.jsonl"
    if log.exists():
        taken += [json.loads(line)["number"] for line in log.read_text(encoding="utf-8").splitlines()]
    return max(taken, default=0) + 1


def _show(results: Sequence[CycleResult], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from heila_mosaik.study.cycle import total

    console = Console(width=120)
    table = Table("cycle", "registration [s]", "run [s]", "sequence", "verified", "within tolerance")
    for one in results:
        state = (
            "complete"
            if one.complete
            else one.failure.splitlines()[0]
            if one.failure
            else "misses " + ", ".join(one.missing)
        )
        table.add_row(str(one.number), f"{one.registration_s:.1f}", f"{one.run_s:.1f}", state, str(one.verifications),
                      str(one.successful))  # fmt: skip
    console.print(table)
    wire = Table("over the wire", "sent", "delivered", "confirmed", "given up", "p50 [ms]", "p95 [ms]", "p99 [ms]")
    for row in total(results):
        times = [f"{row.quantile(q):.1f}" for q in (0.5, 0.95, 0.99)]
        wire.add_row(row.kind, str(row.sent), str(row.delivered), str(row.confirmed), str(row.expired), *times)
    console.print(wire)
    done = sum(result.complete for result in results)
    typer.echo(f"{done} of {len(results)} cycles complete; every cycle is a line of {out / 'cycles.jsonl'}")
