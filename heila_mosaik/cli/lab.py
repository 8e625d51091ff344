"""``heila lab``: the virtual laboratory, a station that behaves like a COM600 with a REF615 and a feeder behind it."""
# ruff: noqa: PLC0415

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from heila_mosaik.errors import Problem, ProblemsError

if TYPE_CHECKING:
    from heila_mosaik.bridges.iec104.tls import TlsSettings


class Server(StrEnum):
    """Implementation of the protocol the laboratory runs on."""

    HAT = "hat"
    C104 = "c104"


def lab(  # noqa: PLR0913, PLR0917  # every option is an argument
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="TCP port; 0 takes a free one.")] = 2404,
    second_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="TCP port of a second path to the same station.")
    ] = None,
    points: Annotated[Path | None, typer.Option(help="Point list; default: the example for COM600 and REF615.")] = None,
    backend: Annotated[Server, typer.Option(help="Implementation of the protocol.")] = Server.HAT,
    faults: Annotated[Path | None, typer.Option(help="YAML list of at_s, fault, for_s, size.")] = None,
    fault: Annotated[
        list[str] | None, typer.Option(metavar="AT_S:FAULT[:FOR_S[:SIZE]]", help="One fault; can be repeated.")
    ] = None,
    scan: Annotated[float, typer.Option(min=0.0, help="Period at which the gateway reads the relay. [s]")] = 0.0,
    tls_ca: Annotated[Path | None, typer.Option(help="Certificate of the authority, PEM; turns TLS on.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate of the laboratory, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Private key of the laboratory, PEM.")] = None,
    for_s: Annotated[float, typer.Option("--for", min=0.0, help="End after so many seconds; 0: never.")] = 0.0,
    menu: Annotated[bool, typer.Option("--menu", help="Print the menu of faults and end.")] = False,
) -> None:
    """Run the virtual laboratory; faults also by name on standard input ("help" lists them)."""
    import asyncio
    import time

    from heila_mosaik.bridges.iec104.backends import Backend, require
    from heila_mosaik.bridges.lab.faults import menu as fault_menu

    if menu:
        typer.echo(fault_menu())
        return
    require(Backend(backend.value))
    from heila_mosaik.bridges.lab.runner import collect_faults, run_lab
    from heila_mosaik.bridges.lab.server import ServerSettings
    from heila_mosaik.bridges.lab.station import StationSettings
    from heila_mosaik.bridges.point_files import example_points, load_points

    settings = StationSettings(
        host=host, port=port, second_port=second_port, backend=Backend(backend.value), scan_s=scan,
        server=ServerSettings(tls=_tls(tls_ca, tls_cert, tls_key)),
    )  # fmt: skip
    listed = load_points(points) if points else example_points()
    script = collect_faults(faults, fault or [])
    begun = time.monotonic()

    def say(sentence: str) -> None:
        typer.echo(f"{time.monotonic() - begun:9.3f}  {sentence}")

    asyncio.run(run_lab(listed, settings, script, say, for_s))


def _tls(ca: Path | None, certificate: Path | None, key: Path | None) -> TlsSettings | None:
    from heila_mosaik.bridges.iec104.tls import TlsSettings, tls_problems

    given = {"--tls-ca": ca, "--tls-cert": certificate, "--tls-key": key}
    if not any(given.values()):
        return None
    missing = [
        Problem(what=f"{name} is missing", where=name, remedy="TLS takes authority, certificate and key")
        for name, path in given.items()
        if path is None
    ]
    if missing or ca is None or certificate is None or key is None:
        raise ProblemsError("TLS of the laboratory", missing)
    tls = TlsSettings(ca=ca, certificate=certificate, key=key)
    problems = list(tls_problems(tls, "command line"))
    if problems:
        raise ProblemsError("TLS of the laboratory", problems)
    return tls
