"""``heila bench``: measurements and campaigns that print what they found.  Commands live in modules of their own."""

from __future__ import annotations

import typer

from heila_mosaik.cli.bench_hil import hil
from heila_mosaik.cli.bench_hil_faults import hil_faults
from heila_mosaik.cli.bench_transfer import transfer

bench_app = typer.Typer(name="bench", help="Measurements and campaigns on this machine.", no_args_is_help=True)


@bench_app.callback()
def bench() -> None:
    """Measurements and campaigns on this machine."""


bench_app.command("hil")(hil)
bench_app.command()(transfer)
bench_app.command("hil-faults")(hil_faults)
