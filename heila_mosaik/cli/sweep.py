"""Command ``heila sweep``."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from heila_mosaik.study.sweep.plan import Plan

INTERRUPTED = 130


def sweep(  # noqa: PLR0913, PLR0917 - one parameter an option
    path: Annotated[Path, typer.Argument(help="Sweep file.")],
    out: Annotated[Path | None, typer.Option(help="Study folder; default runs/<name>. An earlier one goes on.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the sweep file, e.g. repetitions=5."),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="The full study: keys under full: replace those above.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Workers on this machine; 0: one a core.")] = 0,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="No workers: one run after the other, here.")
    ] = False,
    scheduler: Annotated[str, typer.Option(metavar="ADDRESS", help="Standing Dask scheduler, tcp://host:port.")] = "",
    cluster: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Cluster file: SLURM, PBS, Kubernetes ..., see docs/sweeps.md.")
    ] = None,
    show_job: Annotated[
        bool, typer.Option("--show-job", help="Print the job script of the cluster, run nothing.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, run nothing.")] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try runs again that were given up.")] = False,
    patience_s: Annotated[float, typer.Option(help="How long a scheduler may be gone. [s]")] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")] = False,
) -> None:
    """Run a scenario many times: varied, sampled, repeated; on this machine or a cluster."""
    if show_job:
        typer.echo(_job_script(cluster))
        return
    from heila_mosaik.study.sweep.plan import make_plan

    plan = make_plan(path, settings or [], full=full)
    folder = out if out is not None else Path("runs") / plan.sweep.name
    if dry_run:
        _show_plan(plan, folder, as_json=as_json)
        return
    from heila_mosaik.study.sweep.run import Place, run_sweep

    place = Place(scheduler=scheduler, cluster=cluster, jobs=-1 if in_process else jobs, patience_s=patience_s)
    try:
        with _display(plan, enabled=not quiet and not as_json) as (opened, notify):
            tally = run_sweep(plan, folder, place, retry_failed=retry_failed, opened=opened, notify=notify)
    except KeyboardInterrupt:
        typer.secho(f"interrupted; what is done is kept in {folder}: the same command goes on", err=True, fg="yellow")
        raise typer.Exit(INTERRUPTED) from None
    _finish(plan, folder, tally, as_json=as_json)
    if tally.failed:
        raise typer.Exit(1)


def _finish(plan: Plan, folder: Path, tally: Any, *, as_json: bool) -> None:
    from heila_mosaik.results.studyreport import write_study_report

    page = write_study_report(folder)
    answer = {
        "study": str(folder),
        "report": str(page),
        "runs": tally.total,
        "done": tally.done,
        "skipped": tally.skipped,
        "failed": tally.failed,
        "retried": tally.retried,
        "lost": tally.lost,
        "doubles": plan.doubles,
        "elapsed_s": round(tally.elapsed_s, 3),
    }
    if as_json:
        typer.echo(json.dumps(answer, indent=1))
        return
    typer.echo(
        f"{tally.total} runs: {tally.done} made in {tally.elapsed_s:.0f} s, {tally.skipped} done before, "
        f"{tally.failed} failed, {tally.retried} attempts repeated, {tally.lost} tasks lost and handed out again"
    )
    if tally.failed:
        typer.secho(f"causes of the failed runs: {folder}/failures; again with --retry-failed", fg="red")
    typer.echo(f"study  {folder}\nreport {page}")


def _job_script(cluster: Path | None) -> str:
    from heila_mosaik.study.sweep.cluster import ClusterError, make_cluster, read_cluster

    file = read_cluster(cluster) if cluster is not None else None
    if file is None or file.kind in ("local", "kubernetes"):
        raise ClusterError("--show-job needs --cluster with a batch system (kind: slurm, pbs, ...)")
    made = make_cluster(file)
    try:
        return str(made.job_script())
    finally:
        made.close()


def _show_plan(plan: Plan, folder: Path, *, as_json: bool) -> None:
    from heila_mosaik.results.sweepstore import read_journal

    known = read_journal(folder)
    done = sum(1 for run in plan.runs if run.key in known and known[run.key].status == "done")
    if as_json:
        runs = [{"key": run.key, "seed": run.seed, **run.point} for run in plan.runs]
        typer.echo(json.dumps({"runs": runs, "doubles": plan.doubles, "done": done}, indent=1))
        return
    from rich.console import Console
    from rich.table import Table

    shown = 30
    table = Table("run", *plan.varied, "seed", title=f"{plan.sweep.name}: {len(plan.runs)} runs, {done} done")
    for run in plan.runs[:shown]:
        table.add_row(run.key[:8], *(str(run.point.get(key, "")) for key in plan.varied), str(run.seed))
    Console().print(table)
    if len(plan.runs) > shown:
        typer.echo(f"and {len(plan.runs) - shown} more; --json prints all")
    if plan.doubles:
        typer.echo(f"{plan.doubles} points stand for a run that is there already")


@contextmanager
def _display(plan: Plan, *, enabled: bool) -> Iterator[tuple[Any, Any]]:
    if not enabled:
        yield None, None
        return
    from heila_mosaik.cli.sweep_display import sweep_display

    with sweep_display(plan) as callbacks:
        yield callbacks
