"""``heila bench hil``: the paper's transfer times over IEC 60870-5-104, again."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heila_mosaik.errors import Problem, ProblemsError

if TYPE_CHECKING:
    from heila_mosaik.bridges.iec104.backends import Backend
    from heila_mosaik.study.hil_bench_figures import Leg

_SUBJECT = "bench hil"
_RATES = [2000.0, 20000.0]


def hil(
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="Repetitions; the paper has 10.")] = 10,
    travel: Annotated[
        float, typer.Option(min=0.0, max=60.0, help="Travel time of the laboratory's breaker. [s]")
    ] = 0.0,
    backend: Annotated[str, typer.Option(help="hat or c104.")] = "hat",
    rate: Annotated[
        list[float] | None, typer.Option(help="Send so many values a second for 5 s; repeat. 0: none.")
    ] = None,
    steps: Annotated[int, typer.Option(min=0, help="Steps of the study, one a second, for their lag; 0: none.")] = 60,
    study: Annotated[
        Path | None, typer.Option(help="Scenario for the lag; default scenarios/multipower_hil.yaml.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write an HTML page with the distributions.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Measure database to bridge to relay and back, and an activation from the AMS to its verification.

    AMS and MGMS are live actors with stores, mosquitto with TLS between them; the bridge is armed against the virtual
    laboratory on loopback.
    """
    import asyncio
    import logging

    from heila_mosaik.bridges.iec104.backends import Backend
    from heila_mosaik.cli.actor import log_to_terminal
    from heila_mosaik.cli.bench_hil_tables import as_dict, page, show
    from heila_mosaik.study.hil_bench import run_bench

    rates = [one for one in (rate or _RATES) if one != 0.0]
    problems = list(_problems(backend, rates, plot))
    if problems:
        raise ProblemsError(_SUBJECT, problems)
    scenario = _scenario(study, steps)
    log_to_terminal(logging.ERROR)

    def told(what: str) -> None:
        typer.echo(f"{what} ...", err=True)

    chosen = Backend(backend)
    with tempfile.TemporaryDirectory(prefix="heila-bench-hil-") as work:
        legs, found = asyncio.run(
            run_bench(Path(work), count=count, travel_s=travel, backend=chosen, rates=rates, told=told)
        )
        if scenario is not None:
            told(f"{steps} steps of {scenario}")
            legs.append(_lag(Path(work) / "study", scenario, steps, chosen))
    if as_json:
        typer.echo(json.dumps(as_dict(legs, found, travel, chosen.value), indent=1, ensure_ascii=False))
    else:
        show(legs, found, travel, chosen.value)
    if plot is not None:
        plot.write_text(page(legs, travel, chosen.value), encoding="utf-8")
        typer.echo(f"plot   {plot}", err=as_json)


def _lag(folder: Path, scenario: Path, steps: int, backend: Backend) -> Leg:
    from heila_mosaik.study.hil_bench_lag import measure_lag

    return measure_lag(folder, scenario, steps, backend)


def _scenario(study: Path | None, steps: int) -> Path | None:
    from heila_mosaik.study.hil_bench_lag import check_study, find_scenario

    if steps == 0:
        return None
    scenario = study or find_scenario()
    check_study(scenario)
    return scenario


def _problems(backend: str, rates: Sequence[float], plot: Path | None) -> Iterator[Problem]:
    """Everything that would end the measurement after minutes, said at once."""
    from heila_mosaik.bridges.broker import find_mosquitto
    from heila_mosaik.bridges.iec104.backends import Backend, require

    if backend in [one.value for one in Backend]:
        require(Backend(backend))
    else:
        yield Problem(what=f"no backend {backend!r}", where="--backend", remedy="hat or c104")
    for one in rates:
        if not 1.0 <= one <= 1e6:
            yield Problem(what=f"{one:g} values a second", where="--rate", remedy="give 1 to 1000000, or 0 for none")
    if find_mosquitto() is None:
        yield Problem(what="mosquitto is not installed", where="PATH", remedy="apt-get install mosquitto")
    if plot is not None:
        place = plot if plot.exists() else plot.parent
        if plot.is_dir() or not place.exists() or not os.access(place, os.W_OK):
            yield Problem(what=f"{plot} cannot be written", where="--plot", remedy="give a file in a folder of yours")
