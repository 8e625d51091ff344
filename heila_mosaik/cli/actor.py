"""``heila actor | mixed | broker``: actors as processes of their own."""
# ruff: noqa: PLC0415

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Config = Annotated[Path, typer.Option("--config", help="Site file; see docs/live.md.")]


def log_to_terminal(level: int = logging.INFO) -> None:
    """One line an event on standard error."""
    logging.basicConfig(stream=sys.stderr, level=level, format="%(asctime)s %(levelname)-7s %(message)s")
    for name in ("aiohttp", "asyncio", "numba"):
        logging.getLogger(name).setLevel(logging.WARNING)


def actor(
    name: Annotated[str, typer.Argument(help="Name of the actor, or its role (mgms) if the site has only one.")],
    config: Config,
    arm: Annotated[
        list[str] | None, typer.Option(metavar="POINT", help="Arm a control point of its equipment; repeat.")
    ] = None,
    arm_for: Annotated[float, typer.Option(help="For how long points are armed. [s]")] = 600.0,
    seconds: Annotated[float | None, typer.Option(hidden=True, help="End after so long, for tests. [s]")] = None,
) -> None:
    """Run one actor live on its endpoints, with its store, until it is stopped.

    Ctrl-C or SIGTERM end it after the step under way; started again it goes on where it was.  Equipment the site file
    gives it is only read without --arm.
    """
    import asyncio
    import getpass
    import socket

    from heila_mosaik.study.live_equipment import Arming
    from heila_mosaik.study.site import load_site

    log_to_terminal()
    site = load_site(config)
    arming = Arming(
        points=tuple(dict.fromkeys(arm or ())), for_s=arm_for, who=f"{getpass.getuser()}@{socket.gethostname()}"
    )
    asyncio.run(_run(site, site.find(name), seconds, arming))


async def _run(site: Any, name: str, seconds: float | None, arming: Any) -> None:
    import asyncio
    import signal

    from heila_mosaik.study.live import run_actor

    log, loop = logging.getLogger("heila"), asyncio.get_running_loop()

    def started(node: Any, stoppable: Any) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stoppable.stop)
        if seconds is not None:
            loop.call_later(seconds, stoppable.stop)
        ways = [f"broker {site.broker.host}:{site.broker.port}"] if site.broker is not None else []
        if node.settings.listen is not None:
            ways.append(f"HTTPS {node.settings.listen.host}:{node.settings.listen.port}")
        log.info("%s: store %s, %s", name, node.store.path, ", ".join(ways))

    await run_actor(site, name, started=started, arming=arming)
    log.info("%s: stopped", name)


def mixed(
    config: Config,
    out: Annotated[Path, typer.Option(help="Run folder to make.")],
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Simulated seconds in a second, 1 is real time; default lock-step.")
    ] = None,
    spawn: Annotated[bool, typer.Option("--spawn", help="Start the site's actors and the broker here.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON on standard output.")] = False,
) -> None:
    """Run a scenario with some actors as processes of their own, the others with the grid in mosaik.

    Without --rate time is in lock-step: as fast as it goes, with the results of ``heila run``.
    """
    from contextlib import ExitStack

    from heila_mosaik.bridges.broker import BrokerProcess
    from heila_mosaik.cli.display import progress_display
    from heila_mosaik.results.kpis import write_kpis
    from heila_mosaik.results.report import headline, write_report
    from heila_mosaik.results.store import RunFolderExistsError
    from heila_mosaik.study.mixed import actor_processes, run_mixed
    from heila_mosaik.study.site import load_site

    log_to_terminal(logging.WARNING)
    site = load_site(config)
    if out.exists():
        raise RunFolderExistsError(out)
    with ExitStack() as stack:
        if spawn:
            part, work = site.broker, site.path(site.state) / "broker"
            if part is not None:
                kind = "mosquitto" if part.version == 5 else "embedded"
                broker_ = BrokerProcess(keys=site.path(site.keys), work=work, host=part.host, port=part.port, kind=kind)
                stack.enter_context(broker_)
            stack.enter_context(actor_processes(config, list(site.actors), site.path(site.state) / "logs"))
        with progress_display(enabled=not as_json) as show:
            run = run_mixed(site, out, rate=rate, progress=show)
    figures = write_kpis(out)
    page = write_report(out)
    if as_json:
        typer.echo(json.dumps({"run": str(out), "report": str(page), "late_s": run.late_s, "kpis": figures}, indent=1))
        return
    for sentence in headline(figures):
        typer.echo(sentence)
    if rate is not None:
        typer.echo(f"largest lateness against the clock: {run.late_s:.3f} s")
    typer.echo(f"run    {out}\nreport {page}")


def broker(
    keys: Annotated[Path, typer.Argument(help="Key folder of the laboratory.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="TCP port, TLS.")] = 8883,
    work: Annotated[Path, typer.Option(help="Folder for configuration, queues and log.")] = Path("broker"),
    kind: Annotated[str, typer.Option(help="mosquitto, embedded, or auto.")] = "auto",
    write_only: Annotated[
        bool, typer.Option("--write-only", help="Write mosquitto.conf and acl, start nothing.")
    ] = False,
) -> None:
    """Run the broker of a laboratory: mosquitto with generated TLS and ACL configuration, or the embedded one."""
    import signal
    import threading

    from heila_mosaik.bridges.broker import BrokerProcess, write_config

    if write_only:
        typer.echo(str(write_config(keys, work, host, port)))
        return
    process = BrokerProcess(keys=keys, work=work, host=host, port=port, kind=kind)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with process:
        typer.echo(f"{process.kind} (MQTT {'5' if process.version == 5 else '3.1.1'}) on {host}:{process.port}")
        ended.wait()
